"""The sections of `params.yaml` as frozen, validated models, one file per section."""
