"""The DAG as data: stages, runner, scratch and publishing, import closures."""
