"""Evaluation of checkpoints: held-out items, pass rates, single questions."""
