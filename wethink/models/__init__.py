"""Policies: model families, packing, batching, log-probs, vision fast paths."""
