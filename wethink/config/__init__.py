"""Configuration schema: sections of `params.yaml` as frozen, validated pydantic models."""
