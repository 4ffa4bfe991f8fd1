"""DVC stages and commands as child processes, seen from Prefect tasks."""
