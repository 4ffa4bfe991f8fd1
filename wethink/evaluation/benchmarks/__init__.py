"""Benchmarks in VLMEvalKit's table format: engines, scoring, aggregation."""
