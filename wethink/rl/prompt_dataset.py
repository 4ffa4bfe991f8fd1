"""Which rows GRPO asks, and in which order: every rank draws the same rows, whatever it then does with them."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_jsonl
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.data.image_store import ImageSet
from wethink.models.batching import epoch_order
from wethink.models.context_length import drop_overlong
from wethink.models.policy import Processor


def answer_rows(rows: Path) -> list[Record]:
    """Train rows without a reasoning path: SFT never sees them."""
    return [row for row in read_jsonl(rows / "rows.jsonl") if row["split"] == "train" and not row["refined_cot"]]


def shuffle_golds(rows: Sequence[Record], seed: int) -> list[Record]:
    """The control that must not gain: golds permuted among rows of the same kind."""
    by_kind: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        by_kind.setdefault(row["kind"], []).append(i)
    golds = [row["answer"] for row in rows]
    for n, kind in enumerate(sorted(by_kind)):
        places = by_kind[kind]
        order = np.random.default_rng([seed, n]).permutation(len(places))
        for place, other in zip(places, order, strict=True):
            golds[place] = rows[places[other]]["answer"]
    return [row | {"answer": gold} for row, gold in zip(rows, golds, strict=True)]


def hold_out(rows: Sequence[Record], images: ImageSet, clusters: int, seed: int) -> tuple[list[Record], list[Record]]:
    """Split rows for training and for the probe by what their images show: `clusters` of these are never trained on."""
    cluster = {record.id: record.cluster for record in images.records}
    there = sorted({cluster[row["image"]] for row in rows}, key=lambda name: sha256(f"{seed} {name}".encode()).digest())
    held = set(there[:clusters])
    return [r for r in rows if cluster[r["image"]] not in held], [r for r in rows if cluster[r["image"]] in held]


class PassRates:
    """How often each row was answered right in this run; a row not asked yet is expected to do as its kind does."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], list[int]] = defaultdict(lambda: [0, 0])  # right, known

    def add(self, rollouts: Iterable[Record]) -> None:
        """Count evidence records (`row`, `kind`, `verdict`); unknown verdicts count neither way."""
        for rollout in rollouts:
            if rollout["reward"] is not None:
                for key in (("row", rollout["row"]), ("kind", rollout["kind"])):
                    self._counts[key][0] += rollout["verdict"] == "correct"
                    self._counts[key][1] += 1

    def of(self, row: Record) -> float:
        for key in (("row", row["id"]), ("kind", row["kind"])):
            if key in self._counts:
                right, known = self._counts[key]
                return right / known
        return 0.5


class Prompts:
    """An endless stream of rows; `cursor`, how many were drawn, is its whole state."""

    def __init__(self, rows: Sequence[Record], seed: int, cursor: int) -> None:
        self.rows, self.cursor = rows, cursor
        self._order = islice(epoch_order(len(rows), seed), cursor, None)

    def take(self, count: int, pool: int, rates: PassRates, taken: Collection[str] = ()) -> list[Record]:
        """`count` rows out of the next `pool` times as many: those whose pass rate is nearest 1/2, in stream order.

        Half right is where a group's reward varies most. Rows in `taken` are passed over, and so is a row that
        comes twice where one epoch ends and the next begins: what a step asks again is sampled with the same
        draws and teaches nothing new. After an epoch's worth of such rows fewer than `count` come back.
        """
        drawn: list[Record] = []
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


def chosen_rows(rows: Sequence[Record], config: Grpo) -> list[Record]:
    """The rows of the configured sources, question types and reward route."""
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
) -> tuple[list[Record], list[Record], int]:
    """Rows to train on, rows to probe on, and how many were dropped because the context is too short.

    Raises:
        UserError: no row is left.
    """
    found = chosen_rows(answer_rows(rows), config)
    if not found:
        raise UserError(
            f"{rows / 'rows.jsonl'} has no such train row without a path; lower synthesize.path_share below 1, or "
            "widen grpo.sources and grpo.categories."
        )
    limit = launch.vllm_context if config.sampler == "vllm" else None
    prompts = drop_overlong(found, images, processor, model, config.max_completion_length, limit=limit)
    dropped = len(found) - len(prompts)
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
