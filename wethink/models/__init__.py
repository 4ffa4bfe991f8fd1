"""Policies: the miniature Qwen2.5-VL, loading and publishing, and exact fast paths."""
