"""Benchmarks: VLMEvalKit's table format, native scoring where no judge is needed, evaluation as a resumable job."""
