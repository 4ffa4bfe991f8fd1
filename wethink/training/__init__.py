"""Supervised training, the DeepSpeed engine, ranks, checkpoints and launch."""
