"""Prefect tasks that run DVC stages and commands as child processes."""
