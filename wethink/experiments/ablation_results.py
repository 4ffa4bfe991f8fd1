"""Ablation results: figures per arm, and statistical tests of the paper's claims.

A claim is stated in the direction that it has in the paper. Its verdict here is `shows`, `the contrary`, or `not shown`
(its p-value, adjusted for all comparisons, is above LEVEL). A miniature is no evidence about the paper's setting.
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wethink.common.jsonl import Record, read_json, read_jsonl
from wethink.common.paths import WORK
from wethink.common.statistics import holm, paired_test
from wethink.evaluation.summary import accuracy_difference, by_setting, summarise
from wethink.experiments.arms import ARMS, MAIN, RESULTS, folder

SMOOTH = 10  # steps of the moving average in which the target is sought
LEVEL = 0.05
TARGET = 0.95  # of the reference arm's last smoothed accuracy of rollouts


@dataclass(frozen=True)
class Claim:
    """A claim that arm `better` beats arm `worse`; `source` is the paper or ours."""

    question: str
    better: str
    worse: str
    text: str
    source: str = "paper"


CLAIMS = (
    Claim("paths", "sft", "sft_raw", "SFT on refined paths beats SFT on raw ones"),
    Claim("paths", "sft", "sft_answers", "SFT on refined paths beats SFT on answers alone"),
    Claim("start", "from_base", "grpo", "RL straight from base beats RL after SFT"),
    Claim("reward", "grpo", "rules_only", "the hybrid reward beats rules alone"),
    Claim("reward", "grpo", "judge_only", "the hybrid reward beats the judge alone"),
    Claim("types", "grpo", "choice_only", "all question types beat one"),
    Claim("sources", "two_sources", "one_source", "two sources beat one", "ours"),
    Claim("sources", "grpo", "two_sources", "all sources beat two", "ours"),
    Claim("sources", "new_source", "two_sources", "a source that lands later still helps"),
    Claim("pass rate", "best_tenth", "grpo", "the best tenth by pass rate beats all, at equal steps", "ours"),
    *(
        Claim(
            "weights",
            "grpo",
            name,
            f"accuracy 0.7, format 0.3, divided by the group's std beats {arm.rewards['accuracy_weight']}, "
            f"{arm.rewards['format_weight']}, {'divided' if arm.changes['scale_rewards'] == 'group' else 'undivided'}",
            "ours",
        )
        for name, arm in ARMS.items()
        if arm.question == "weights"
    ),
    *(
        Claim(
            "control",
            arm,
            control,
            f"{arm.replace('_', ' ')} beats {control.replace('_', ' ')}",
            "ours",
        )
        for arm, controls in (
            ("grpo", ("more_sft", "rejection_sft")),
            ("from_base", ("more_sft", "rejection_sft")),
            ("rules_only", ("more_sft", "rejection_sft")),
            ("judge_only", ("more_sft", "rejection_sft")),
            ("choice_only", ("more_sft", "rejection_sft")),
            ("best_tenth", ("more_sft", "rejection_sft")),
            ("one_source", ("one_source_more_sft",)),
            ("two_sources", ("two_sources_more_sft",)),
            ("new_source", ("new_source_more_sft",)),
        )
        for control in controls
    ),
)


def arm_result(arm: str, seed: int, where: Path, resamples: int) -> dict[str, Any]:
    """Read the results of one arm and seed from the worktree in which it ran.

    `cpu_seconds` is its training over all processes (of the main job's checkpoints, that stage's); None if not
    recorded.
    """
    records = list(read_jsonl(where / RESULTS / arm / "items.jsonl"))
    entry = summarise(records, resamples, seed)
    stage = arm if arm in MAIN else f"arm_{arm}"
    run = where / WORK / "runs" / f"{stage}.run.json"
    spent = read_json(run)["cpu_seconds"] if run.is_file() else None
    named = entry[arm]
    return {
        "name": arm,
        "seed": seed,
        "question": ARMS[arm].question if arm in ARMS else "main job",
        **{key: named[key] for key in ("accuracy", "low", "high", "n", "format", "mean_tokens")},
        "sampled": named.get("sampled"),
        "blank": named.get("blank"),
        "shuffled": named.get("shuffled"),
        "sources": {name: group[arm]["accuracy"] for name, group in entry["sources"].items()},
        "cpu_seconds": spent,
        "curve": curve(where / folder(arm) / "curves.csv"),
        "diversity": diversity(where, arm),
    }


def curve(path: Path) -> list[float]:
    """Read the rollout accuracy of every step; [] for an arm not trained by GRPO."""
    if not path.is_file():
        return []
    with path.open(newline="", encoding="utf-8") as handle:
        return [float(row["accuracy"]) for row in csv.DictReader(handle) if row.get("accuracy")]


def diversity(where: Path, arm: str) -> dict[str, Any]:
    """Measure the diversity of the rows that an arm and its ancestors learned from."""
    sources: set[str] | None = set()
    name: str = arm
    while name in ARMS and sources is not None:
        chosen = ARMS[name].changes.get("sources")
        sources = None if chosen is None else sources | set(chosen)
        name = ARMS[name].start
    everything = sources is None or not sources
    rows = [
        row
        for row in read_jsonl(where / "data" / "valid" / "rows.jsonl")
        if row["split"] == "train" and (everything or row["source"] in (sources or ()))
    ]
    return measures(rows)


def measures(rows: Sequence[Record]) -> dict[str, Any]:
    """Count rows, question kinds, questions and words; measure entropy in bits.

    The entropy is that of (kind, answer).
    """
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["kind"], str(row["answer"]))
        counts[key] = counts.get(key, 0) + 1
    shares = np.array(list(counts.values()), dtype=float) / max(1, len(rows))
    words = {word for row in rows for word in f"{row['problem']} {row['answer']}".split()}
    return {
        "rows": len(rows),
        "kinds": len({row["kind"] for row in rows}),
        "questions": len({row["problem"] for row in rows}),
        "words": len(words),
        "bits": round(float(-(shares * np.log2(shares)).sum()), 3) if len(rows) else 0.0,
    }


def steps_to(values: Sequence[float], target: float) -> int | None:
    """Find the first step at which the smoothed curve reaches the target.

    The moving average is over SMOOTH steps; None if it never reaches the target.

    >>> steps_to([0.0] * 10 + [1.0] * 10, 0.5)
    15
    """
    for end in range(SMOOTH, len(values) + 1):
        if sum(values[end - SMOOTH : end]) / SMOOTH >= target:
            return end
    return None


def result(
    arms: Sequence[Mapping[str, Any]],
    records: Mapping[tuple[int, str], Sequence[Record]],
    resamples: int,
    budget: str,
) -> dict[str, Any]:
    """Build `reports/ablations.json`: arms per seed, and claims over all seeds."""
    targets = {
        arm["seed"]: TARGET * sum(arm["curve"][-SMOOTH:]) / SMOOTH
        for arm in arms
        if arm["name"] == "grpo" and len(arm["curve"]) >= SMOOTH
    }
    listed = [
        {key: value for key, value in arm.items() if key != "curve"}
        | {"steps_to_target": steps_to(arm["curve"], targets[arm["seed"]]) if arm["seed"] in targets else None}
        for arm in arms
    ]
    claims = [made for claim in CLAIMS if (made := _claim(claim, records, resamples)) is not None]
    adjusted = holm({str(i): claim["p"] for i, claim in enumerate(claims)})
    for i, claim in enumerate(claims):
        claim["holm"] = adjusted[str(i)]
        seen = "not shown" if claim["holm"] > LEVEL else "shows" if claim["mean"] > 0 else "the contrary"
        claim["verdict"] = seen
    return {
        "arms": listed,
        "claims": claims,
        "seeds": sorted({arm["seed"] for arm in arms}),
        "budget": budget,
        "cpu_seconds": round(sum(arm["cpu_seconds"] or 0.0 for arm in arms), 1),
    }


def _claim(claim: Claim, records: Mapping[tuple[int, str], Sequence[Record]], resamples: int) -> dict[str, Any] | None:
    """Test a claim over the seeds that have both arms; None if none has."""
    seeds = sorted({seed for seed, arm in records if arm == claim.better} & {s for s, a in records if a == claim.worse})
    if not seeds:
        return None
    sides = [
        by_setting(
            [
                r | {"id": f"{seed}:{r['id']}", "scene": f"{seed}:{r['scene']}"}
                for seed in seeds
                for r in records[seed, arm]
            ]
        )
        for arm in (claim.better, claim.worse)
    ]
    found = {
        s: accuracy_difference(sides[0].get(s, []), sides[1].get(s, []), resamples, 0) for s in ("greedy", "sampled")
    }
    per_seed = [
        accuracy_difference(
            [r for r in sides[0]["greedy"] if r["id"].startswith(f"{seed}:")],
            [r for r in sides[1]["greedy"] if r["id"].startswith(f"{seed}:")],
            200,
            0,
        )["mean"]
        for seed in seeds
    ]
    return {
        "question": claim.question,
        "text": claim.text,
        "source": claim.source,
        "better": claim.better,
        "worse": claim.worse,
        "seeds": len(seeds),
        "per_seed": per_seed,
        "p": _p(sides[0]["greedy"], sides[1]["greedy"], resamples),
        **found["greedy"],
        "sampled": found["sampled"],
    }


def _p(after: Sequence[Record], before: Sequence[Record], resamples: int) -> float:
    earlier = {record["id"]: record["verdict"] for record in before if record["verdict"] != "unknown"}
    pairs = [r for r in after if r["verdict"] != "unknown" and r["id"] in earlier]
    right, was = [r["verdict"] == "correct" for r in pairs], [earlier[r["id"]] == "correct" for r in pairs]
    return paired_test(right, was, [r["scene"] for r in pairs], resamples, 0)
