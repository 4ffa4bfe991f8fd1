"""Plan of a training run: memory, time and money from params.yaml and a model's config, without weights."""
