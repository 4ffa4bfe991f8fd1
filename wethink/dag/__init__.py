"""Pipeline DAG: stage tables, stage runner, scratch folders, publishing and import closures."""
