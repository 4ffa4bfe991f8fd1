"""MLflow: runs, model registry, lineage and traces."""
