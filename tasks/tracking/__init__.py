"""Trackers: MLflow (runs, model registry, lineage, traces), W&B and TensorBoard."""
