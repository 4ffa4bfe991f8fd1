"""Accuracies of checkpoints with cluster-bootstrap intervals, per source and setting."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record
from wethink.common.statistics import cluster_bootstrap, paired_bootstrap
from wethink.evaluation.answers import best_constant, distance, shares
from wethink.rewards.unanswerable import refuses

CHECKPOINTS = ("base", "sft", "grpo")
VERDICTS = ("correct", "wrong", "unknown")
FEW = 30  # scenes; a bootstrap of fewer is too narrow to be trusted
MOST = 5  # answers listed of a distribution


def majority(items: Iterable[Record]) -> float:
    """Compute the accuracy of the best constant answer per question kind.

    The answers are chosen on these very items, so it bounds from above a guesser who knows a question's kind, but
    neither its words nor its image. Open answers (category DES) are compared verbatim, so theirs is nearly nothing.
    """
    answers: dict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        answers[item["kind"]][str(item["answer"]).strip()] += 1
    total = sum(counts.total() for counts in answers.values())
    return sum(max(counts.values()) for counts in answers.values()) / total if total else 0.0


def summarise(records: list[Record], resamples: int, seed: int, own: Set[str] = frozenset()) -> dict[str, Any]:
    """Summarise evaluation records: accuracies, baselines, paired differences.

    There is one record per item, checkpoint, temperature and pixels. Overall and per source, category, kind and
    ability, the summary has an entry for each checkpoint (by its name), the majority baseline, the best constant answer
    and the paired differences SFT − base and GRPO − SFT. A source is `at_majority` if neither SFT nor GRPO is shown to
    beat the majority there: both intervals reach down to it.

    If the user has sources of their own (`own`), all figures are over these alone; `drawn` has those over the others,
    and `sources` lists every source.

    Raises:
        UserError: a record occurs twice or holds an unknown verdict.
    """
    _check(records)
    everything, records = records, [record for record in records if not own or record["source"] in own]

    def grouped(names: Callable[[Record], Iterable[str]], of: Sequence[Record] = records) -> dict[str, dict[str, Any]]:
        groups: dict[str, list[Record]] = defaultdict(list)
        for record in of:
            for name in sorted(set(names(record))):
                groups[name].append(record)
        return {name: _group(groups[name], resamples, seed) for name in sorted(groups)}

    sources = grouped(lambda record: [record["source"]], everything)
    for group in sources.values():
        lows = [group[name]["low"] for name in ("sft", "grpo") if name in group]
        group["at_majority"] = bool(lows) and all(low is not None and low <= group["majority"] for low in lows)
    summary = _group(records, resamples, seed) | {
        "records": len(records),
        "sources": sources,
        "categories": grouped(lambda record: [record["category"]]),
        "kinds": grouped(lambda record: [record["kind"]]),
        "abilities": grouped(lambda record: record["abilities"]),
    }
    if own:
        apart = [record for record in everything if record["source"] not in own]
        summary |= {"own": sorted(own), "drawn": _group(apart, resamples, seed) if apart else None}
    rounded: dict[str, Any] = _rounded(summary)
    return rounded


def few_scenes(summary: Mapping[str, Any]) -> list[str]:
    """Return a sentence for each of the user's own sources that holds out too few scenes for its intervals."""
    counts = {name: int(summary["sources"][name]["scenes"]) for name in summary.get("own", ())}
    return [
        f"'{name}' has {count} held-out scenes only: with fewer than {FEW} an interval is too narrow, and a difference "
        "may be luck. Raise `reporting` of the source in ingest.sources, or bring more images."
        for name, count in counts.items()
        if count < FEW
    ]


def refusals(swapped: list[Record], records: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    """Summarise refusals: how often a checkpoint rightly refuses, and how often where there is an answer.

    Args:
        swapped: records of unanswerable items, one per item and checkpoint.
        records: those of answerable items.
        resamples: of the bootstrap over scenes.
        seed: of the bootstrap.

    Returns:
        `items`, `scenes`, and per checkpoint `accuracy`, `low`, `high`, `n` and `refused`: the share of its greedy
        answers to answerable items that are refusals.
    """
    found: dict[str, Any] = {
        "items": len({record["id"] for record in swapped}),
        "scenes": len({record["scene"] for record in swapped}),
    }
    for name in sorted({record["checkpoint"] for record in swapped}):
        answered = by_setting([record for record in records if record["checkpoint"] == name]).get("greedy", [])
        wrongly = sum(refuses(str(record["extracted"])) for record in answered)
        mine = [record for record in swapped if record["checkpoint"] == name]
        found[name] = _accuracy(mine, resamples, seed) | {"refused": wrongly / len(answered) if answered else None}
    rounded: dict[str, Any] = _rounded(found)
    return rounded


def _check(records: list[Record]) -> None:
    seen: set[tuple[Any, ...]] = set()
    for record in records:
        key = tuple(record[name] for name in ("id", "checkpoint", "temperature", "pixels"))
        if key in seen:
            raise UserError(f"evaluation record {key} occurs twice; run `python -m wethink evaluate` again.")
        if record["verdict"] not in VERDICTS:
            raise UserError(f"evaluation record {key}: verdict {record['verdict']!r} is none of {', '.join(VERDICTS)}.")
        seen.add(key)


def _group(records: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    """Compute the entries per checkpoint, the baseline and the paired differences."""
    items = {record["id"]: record for record in records}
    names = sorted({record["checkpoint"] for record in records})
    settings = {
        (name, setting): chosen
        for name in names
        for setting, chosen in by_setting([record for record in records if record["checkpoint"] == name]).items()
    }
    group: dict[str, Any] = {
        "items": len(items),
        "scenes": len({record["scene"] for record in records}),
        "majority": majority(items.values()),
        "constant": _constant([items[item] for item in sorted(items)]),
    }
    for name in names:
        if greedy := settings.get((name, "greedy")):
            group[name] = _accuracy(greedy, resamples, seed) | {
                "unknown": sum(record["verdict"] == "unknown" for record in greedy) / len(greedy),
                "format": sum(bool(record["strict"]) for record in greedy) / len(greedy),
                "mean_tokens": sum(record["tokens"] for record in greedy) / len(greedy),
                "answers": distribution(greedy),
            }
            for setting in ("sampled", "blank", "shuffled"):
                if chosen := settings.get((name, setting)):
                    group[name][setting] = _accuracy(chosen, resamples, seed)
            blank = settings.get((name, "blank"))
            if blank and len(blank) < len(greedy):
                group[name]["blank"]["left_out"] = len(greedy) - len(blank)  # about no image
            if swapped := settings.get((name, "shuffled")):
                group[name]["shuffled"]["left_out"] = len(greedy) - len(swapped)  # no other image in their source
    for after, before in (("sft", "base"), ("grpo", "sft")):
        if after in group and before in group:
            pairs = [
                accuracy_difference(
                    settings.get((after, setting), []), settings.get((before, setting), []), resamples, seed
                )
                for setting in ("greedy", "sampled")
            ]
            group[f"{after}_minus_{before}"] = pairs[0] | {"sampled": pairs[1]}
    return group


def _constant(items: Sequence[Record]) -> dict[str, Any]:
    found = best_constant(items)
    return {"answer": found.answer, "accuracy": found.accuracy}


def distribution(records: Sequence[Record]) -> dict[str, Any]:
    """Describe the distribution of one setting's answers: the most frequent ones, and its distance from the golds'.

    The shares are of all records; answers are the same if the rules of the reward call them equal.
    """
    found = shares(records)
    return {
        "distance": distance(found),
        "most": [
            {"answer": share.answer, "share": share.given / share.items, "gold": share.gold / share.items}
            for share in found[:MOST]
            if share.given
        ],
    }


def by_setting(records: list[Record]) -> dict[str, list[Record]]:
    """Group one checkpoint's records by setting; the image controls are greedy."""
    settings: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record["pixels"] != "true":
            settings[record["pixels"]].append(record)
        else:
            settings["sampled" if record["temperature"] > 0 else "greedy"].append(record)
    return settings


def _accuracy(records: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    known = [record for record in records if record["verdict"] != "unknown"]
    if not known:
        return {"accuracy": None, "low": None, "high": None, "n": 0}
    right = [record["verdict"] == "correct" for record in known]
    found = cluster_bootstrap(right, [record["scene"] for record in known], resamples, seed)
    return {"accuracy": found.value, "low": found.low, "high": found.high, "n": found.n}


def accuracy_difference(after: list[Record], before: list[Record], resamples: int, seed: int) -> dict[str, Any]:
    """Compute the paired accuracy difference `after` − `before`.

    Pairs share item and temperature; only pairs with two known verdicts count.
    """
    earlier = {(record["id"], record["temperature"]): record for record in before}
    pairs = [
        (record, other)
        for record in after
        if (other := earlier.get((record["id"], record["temperature"])))
        and "unknown" not in (record["verdict"], other["verdict"])
    ]
    if not pairs:
        return {"mean": None, "low": None, "high": None, "n": 0}
    found = paired_bootstrap(
        [record["verdict"] == "correct" for record, _ in pairs],
        [other["verdict"] == "correct" for _, other in pairs],
        [record["scene"] for record, _ in pairs],
        resamples,
        seed,
    )
    return {"mean": found.mean, "low": found.low, "high": found.high, "n": found.n}


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6)
    if isinstance(value, Mapping):
        return {key: _rounded(entry) for key, entry in value.items()}
    return value
