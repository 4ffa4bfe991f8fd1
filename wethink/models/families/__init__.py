"""Model families: what each model type needs for exact training."""
