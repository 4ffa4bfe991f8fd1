"""`evaluate` and `report` sections of `params.yaml`: split, decoding, cluster bootstrap, gallery."""

from typing import Literal

from wethink.config.base import Positive, Section


class Evaluate(Section):
    split: Literal["tuning", "reporting"]
    temperatures: tuple[float, ...]  # 0 = greedy
    max_new_tokens: Positive
    sampler: Literal["in_process", "vllm"] = "in_process"  # also of the commands `ask` and `benchmark`
    batch_size: Positive  # questions in a pass of the sampler in this process
    bootstrap: Positive  # resamples of clusters


class Report(Section):
    gallery: Positive  # held-out images shown per source
