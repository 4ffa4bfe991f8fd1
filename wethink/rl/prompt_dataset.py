"""GRPO prompt dataset: row filters, held-out split, prompt stream and pass-rate curriculum.

All ranks draw the same rows in the same order.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, cast

import numpy as np

from wethink.common.errors import UserError
from wethink.common.jsonl import Record
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.data.image_store import ImageSet
from wethink.data.linked import linked
from wethink.data.schema import Row, read_rows, row_images, split_train_rows
from wethink.models.batching import epoch_order
from wethink.models.context_length import context_of, drop_overlong, tell_overlong
from wethink.models.policy import Processor
from wethink.training.ranks import is_first_rank


def answer_rows(rows: Path) -> list[Row]:
    """Read the train rows without a reasoning path; SFT never trains on them."""
    return split_train_rows(read_rows(rows / "rows.jsonl"))[1]


def shuffle_golds(rows: Sequence[Row], seed: int) -> list[Row]:
    """Permute golds, with their alternatives, among rows of the same kind: the negative control."""
    by_kind: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_kind.setdefault(row["kind"], []).append(i)
    golds = [_golds(row) for row in rows]
    for n, kind in enumerate(sorted(by_kind)):
        places = by_kind[kind]
        order = np.random.default_rng([seed, n]).permutation(len(places))
        for place, other in zip(places, order, strict=True):
            golds[place] = _golds(rows[places[other]])
    return [cast(Row, _without_alternatives(row) | gold) for row, gold in zip(rows, golds, strict=True)]


def _golds(row: Row) -> Record:
    return {key: row[key] for key in ("answer", "alternatives") if key in row}


def _without_alternatives(row: Row) -> Record:
    return {key: value for key, value in row.items() if key != "alternatives"}


def hold_out(rows: Sequence[Row], images: ImageSet, clusters: int, seed: int) -> tuple[list[Row], list[Row]]:
    """Split rows by what they show into training rows and probe rows.

    `clusters` near-duplicate clusters of images, chosen by `seed`, go to the probe; those of one row count as one. A
    question about no image counts as a cluster, its `scene`.
    """
    cluster = {record.id: record.cluster for record in images.records}
    shown = [[cluster[image] for image in row_images(row)] or [row["scene"]] for row in rows]
    of = linked(shown)
    there = sorted(set(of.values()), key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    held = set(there[:clusters])
    are_held = [of[names[0]] in held for names in shown]
    return (
        [row for row, is_held in zip(rows, are_held, strict=True) if not is_held],
        [row for row, is_held in zip(rows, are_held, strict=True) if is_held],
    )


class PassRates:
    """Pass rate of each row in this run; a row without rollouts gets the rate of its kind."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])  # right, known

    def add(self, rollouts: Iterable[Record]) -> None:
        """Count rollout records (`row`, `kind`, `reward`, `verdict`), except unknown ones."""
        for rollout in rollouts:
            if rollout["reward"] is not None:
                for key in (("row", rollout["row"]), ("kind", rollout["kind"])):
                    self._counts[key][0] += rollout["verdict"] == "correct"
                    self._counts[key][1] += 1

    def of(self, row: Row) -> float:
        """Return the pass rate of the row, else of its kind, else 0.5."""
        for key in (("row", row["id"]), ("kind", row["kind"])):
            if key in self._counts:
                right, known = self._counts[key]
                return right / known
        return 0.5


class Prompts:
    """Endless stream of rows; its whole state is `cursor`, the number of rows drawn."""

    def __init__(self, rows: Sequence[Row], seed: int, cursor: int) -> None:
        self.rows, self.cursor = rows, cursor
        self._order = islice(epoch_order(len(rows), seed), cursor, None)

    def take(self, count: int, pool: int, rates: PassRates, taken: Collection[str] = ()) -> list[Row]:
        """Draw `count` · `pool` rows and return the `count` nearest to pass rate 1/2.

        Rows come in stream order. Rows in `taken` and rows that repeat at an epoch boundary are skipped; fewer than
        `count` rows are returned if an epoch has no more.
        """
        # A group's reward varies most at pass rate 1/2. A row asked twice in a step is sampled with the same random
        # numbers, so its second group would equal the first.
        drawn: list[Row] = []
        passed = set(taken)
        for index in islice(self._order, max(len(self.rows), 0 if taken else count * pool)):
            self.cursor += 1
            if self.rows[index]["id"] not in passed:
                drawn.append(self.rows[index])
                passed.add(self.rows[index]["id"])
            if len(drawn) == count * pool:
                break
        if pool == 1:
            return drawn
        nearest = sorted(range(len(drawn)), key=lambda i: abs(rates.of(drawn[i]) - 0.5))[:count]
        return [drawn[i] for i in sorted(nearest)]


def chosen_rows(rows: Sequence[Row], config: Grpo) -> list[Row]:
    """Filter rows by configured sources, question types and reward route.

    With `reward_route` 'model' every row is judged by the model.
    """
    kept = [
        row
        for row in rows
        if (config.sources is None or row["source"] in config.sources)
        and (config.categories is None or row["category"] in config.categories)
        and not (config.reward_route == "rule" and row["reward"] != "rule")
    ]
    return [row | {"reward": "model"} for row in kept] if config.reward_route == "model" else kept


def training_rows(
    rows: Path, images: ImageSet, model: Any, processor: Processor, config: Grpo, launch: Launch, seed: int
) -> tuple[list[Row], list[Row], int]:
    """Load the rows to train on and the held-out rows to probe on.

    Returns:
        Training rows, probe rows, and the number of rows dropped because they exceed the context.

    Raises:
        UserError: no training row is left.
    """
    found = chosen_rows(answer_rows(rows), config)
    if not found:
        raise UserError(
            f"{rows / 'rows.jsonl'} has no matching train row without a reasoning path, which GRPO needs; lower "
            "synthesize.path_share below 1, or widen grpo.sources and grpo.categories."
        )
    limit = launch.vllm_context if config.sampler == "vllm" else None
    prompts = drop_overlong(found, images, processor, model, config.max_completion_length, limit=limit)
    dropped = len(found) - len(prompts)
    if is_first_rank():
        kept = {row["id"] for row in prompts}
        left_out = [row for row in found if row["id"] not in kept]
        key = "launch.vllm_context" if limit else "the context, with another base.model,"
        context = context_of(model, limit)
        tell_overlong(left_out, images, processor, "grpo", context, config.max_completion_length, key)
    if not prompts:
        raise UserError(
            f"{rows / 'rows.jsonl'}: all {dropped} questions are too long for the model's context with "
            f"grpo.max_completion_length {config.max_completion_length}; lower it, or ingest.max_pixels."
        )
    if config.gold == "shuffled":
        prompts = shuffle_golds(prompts, seed)
    if not config.probe.every:
        return prompts, [], dropped
    prompts, probed = hold_out(prompts, images, config.probe.images, seed)
    if not prompts:
        raise UserError(f"grpo.probe.images: {config.probe.images} leaves no row to train on; lower it.")
    return prompts, probed, dropped
