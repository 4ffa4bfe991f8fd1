"""`evaluate` and `report` sections of `params.yaml`: split, decoding, cluster bootstrap, gallery."""

from typing import Literal

from wethink.config.base import Positive, Section


class Evaluate(Section):
    split: Literal["tuning", "reporting"]
    temperatures: tuple[float, ...]  # 0 = greedy
    max_new_tokens: Positive
    batch_size: Positive
    bootstrap: Positive  # resamples of clusters


class Report(Section):
    gallery: Positive  # held-out images shown per source
