"""Rollout log as Parquet: prompts, completions, verdicts, rewards; step metrics and rescoring.

`python -m wethink rescore FILE` scores a file's texts again with the rewards of the present params.yaml and
writes the result under reports/rescored/.
"""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_jsonl
from wethink.data.schema import image_keys, row_images
from wethink.rewards.hybrid import Scorer
from wethink.rl.rollouts import Group

RESCORED = Path("reports/rescored")  # beside the pipeline: a file in models/ would change the output of a DVC stage
GRADED = ("format", "accuracy", "own", "reward", "verdict", "reason")  # columns that rescoring may change
NEEDED = ("row", "problem", "gold", "category", "route", "text", "format", "accuracy", "reward", "verdict", "reason")


def rollout_records(group: Group, step: int) -> list[Record]:
    """Return one log record per completion."""
    assert group.advantages is not None, "evidence comes after advantages"
    return [
        {
            "step": step,
            "row": group.row["id"],
            **image_keys(row_images(group.row)),
            "kind": group.row["kind"],
            "sample": i,
            "problem": group.row["problem"],
            "gold": group.row["answer"],
            "category": group.row["category"],
            "route": group.row["reward"],
            "text": group.texts[i],
            "format": scored.format,
            "accuracy": scored.accuracy,
            "own": scored.own,
            "overlong": group.penalties[i],
            "reward": scored.total,
            "verdict": scored.verdict.outcome,
            "reason": scored.verdict.reason,
            "advantage": float(group.advantages[i]),
            "kept": group.has_signal,
            "tokens": len(group.completions[i].ids),
            "finish": "stop" if group.completions[i].finished else "length",
        }
        | ({"alternatives": group.row["alternatives"]} if "alternatives" in group.row else {})
        for i, scored in enumerate(group.scores)
    ]


def summarise_step(rollouts: Sequence[Record], learned: Sequence[dict[str, float]]) -> dict[str, float]:
    """Compute a step's metrics from its rollouts and the ranks' `update.SUMS`."""
    known = [r for r in rollouts if r["reward"] is not None]
    right = [r["tokens"] for r in known if r["verdict"] == "correct"]
    wrong = [r["tokens"] for r in known if r["verdict"] != "correct"]
    groups: dict[tuple[str, int], list[float]] = {}
    for r in known:
        groups.setdefault((r["row"], r["step"]), []).append(r["reward"])
    tokens = max(1.0, total(learned, "tokens"))
    scored = max(1.0, total(learned, "scored"))

    def mean(values: Sequence[float]) -> float:
        return float(np.mean(values)) if values else 0.0

    return {
        "reward": mean([r["reward"] for r in known]),
        "accuracy": mean([r["accuracy"] for r in known]),
        "format": mean([r["format"] for r in known]),
        "length": mean([r["tokens"] for r in rollouts]),
        "length_right": mean(right),
        "length_wrong": mean(wrong),
        "truncated": mean([0.0 if r["finish"] == "stop" else 1.0 for r in rollouts]),
        "unknown": 1 - len(known) / max(1, len(rollouts)),
        "completions": len(rollouts),
        "kept_groups": mean([float(kept) for kept in {(r["row"], r["step"]): r["kept"] for r in known}.values()]),
        "all_right": mean([1.0 if min(found) >= 1 - 1e-6 else 0.0 for found in groups.values()]),
        "loss": total(learned, "loss"),
        "entropy": total(learned, "entropy") / tokens,
        "kl": total(learned, "kl") / tokens,
        "clip_fraction": (total(learned, "clipped_low") + total(learned, "clipped_high")) / tokens,
        "clip_low": total(learned, "clipped_low") / tokens,
        "clip_high": total(learned, "clipped_high") / tokens,
        "dlogp_mean": total(learned, "dlogp_sum") / scored,
        "dlogp_max": max((stats["dlogp_max"] for stats in learned), default=0.0),
        # weights exp(trainer − engine) of the sampled tokens: all 1 for an exact sampler
        "is_mean": total(learned, "is_sum") / scored,
        "is_min": min((stats["is_min"] for stats in learned if stats["scored"]), default=0.0),
        "is_max": max((stats["is_max"] for stats in learned), default=0.0),
        "is_effective": total(learned, "is_sum") ** 2 / max(1e-12, scored * total(learned, "is_square")),
        "is_masked": total(learned, "masked") / scored,
    }


def total(stats: Sequence[dict[str, float]], name: str) -> float:
    return sum(entry[name] for entry in stats)


def write_rollouts(log: Path, out: Path) -> None:
    """Convert the JSONL log of rollouts to Parquet."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rollouts = list(read_jsonl(log))
    if any("alternatives" in rollout for rollout in rollouts):  # a table has the columns of its first row
        rollouts = [{"alternatives": [], **rollout} for rollout in rollouts]
    pq.write_table(pa.Table.from_pylist(rollouts), out, compression="zstd")


def rescore(path: Path, scorer: Scorer, out: Path | None = None) -> dict[str, Any]:
    """Score a file of rollouts again and write the result to another file.

    `out` defaults to `reports/rescored/<name>.parquet`. Advantages stay those of the training run.

    Returns:
        The output path, the number of rollouts, the mean known reward, and counts of kept and changed verdicts.

    Raises:
        UserError: `path` is no Parquet file of rollouts (the message names missing columns), or `out` is `path`.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    out = out or RESCORED / f"{path.stem}.parquet"
    if out.resolve() == path.resolve():
        raise UserError(f"{path} would be overwritten; name another file with --out.")
    try:
        table = pq.read_table(path)
    except FileNotFoundError:
        raise UserError(
            f"{path} does not exist; a finished `grpo` stage writes models/grpo/rollouts.parquet."
        ) from None
    except (pa.ArrowException, OSError):
        raise UserError(
            f"{path} is no Parquet file; name the rollouts of a finished `grpo` stage, as models/grpo/rollouts.parquet."
        ) from None
    missing = [name for name in NEEDED if name not in table.column_names]
    if missing:
        raise UserError(f"{path} has no column {', '.join(missing)}; it is not a file of rollouts.")
    records, changes = table.to_pylist(), Counter[str]()
    pairs = [(record["text"], record | {"answer": record["gold"], "reward": record["route"]}) for record in records]
    for record, scored in zip(records, scorer.score(pairs), strict=True):
        before = record["verdict"]
        record |= {
            "format": scored.format,
            "accuracy": scored.accuracy,
            "own": scored.own,
            "reward": scored.total,
            "verdict": scored.verdict.outcome,
            "reason": scored.verdict.reason,
        }
        changes[before if before == record["verdict"] else f"{before} → {record['verdict']}"] += 1
    out.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(records, schema=table.schema), out, compression="zstd")
    known = [record["reward"] for record in records if record["reward"] is not None]
    return {
        "out": str(out),
        "rollouts": len(records),
        "reward": float(np.mean(known)) if known else 0.0,
        "verdicts": dict(sorted(changes.items())),
    }
