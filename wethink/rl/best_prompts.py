"""Prompt selection by pass rate: the share of GRPO prompts with pass rates nearest to 1/2."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from wethink.common.jsonl import read_json, write_json
from wethink.config.grpo import Grpo
from wethink.data.schema import Row
from wethink.generation.sampler import Sampler
from wethink.models.batching import Images
from wethink.rewards.hybrid import Scorer
from wethink.rl.rollouts import generate_rollouts
from wethink.training.ranks import Ranks, gather_objects


def nearest_half(rows: Sequence[Row], rates: Mapping[str, float], share: float) -> list[Row]:
    """Return the share of rows with pass rates nearest to 1/2, in the given order; rows without a rate come last."""
    # A group's rewards vary most at pass rate 1/2.
    count = max(1, round(share * len(rows)))
    best = sorted(rows, key=lambda row: (abs(rates.get(row["id"], math.inf) - 0.5), row["id"]))[:count]
    kept = {row["id"] for row in best}
    return [row for row in rows if row["id"] in kept]


def best_rows(
    rows: Sequence[Row],
    sampler: Sampler,
    images: Images,
    config: Grpo,
    scorer: Scorer,
    scratch: Path,
    seed: int,
    ranks: Ranks,
) -> list[Row]:
    """Select `prompt_share` of the rows by pass rates of the starting policy.

    Pass rates are sampled once and cached in `scratch`; all rows are returned if the share is 1.
    """
    if config.prompt_share == 1:
        return list(rows)
    store = scratch / "pass_rates.json"  # sampled once: a resumed run must keep its selection
    there = gather_objects(store.exists(), ranks)[0]
    if not there:
        found: dict[str, float] = {}
        mine = list(rows[ranks.rank :: ranks.world])
        for begin in range(0, len(mine), config.optim.train_batch_size):
            part = mine[begin : begin + config.optim.train_batch_size]
            for group in generate_rollouts(sampler, part, images, config, scorer, -1, seed):
                known = [s.verdict.outcome == "correct" for s in group.scores if s.total is not None]
                if known:
                    found[group.row["id"]] = float(np.mean(known))
        everyone = gather_objects(found, ranks)
        if ranks.first:
            write_json(store, {key: rate for part_rates in everyone for key, rate in part_rates.items()})
        gather_objects(None, ranks)  # barrier: the first rank has written the file
    return nearest_half(rows, read_json(store), config.prompt_share)
