"""Judge calibration on human-graded answers: `python -m wethink calibrate FILE`.

FILE has JSON lines with `problem`, `gold`, `answer` and `tier` (correct, partial or incorrect). Printed and written
to reports/calibration.json: agreement and Cohen's kappa, the confusion of tiers, and two biases: by length (the mean
of judged minus true score in each third of the answers' lengths) and by position (the change when candidate and
reference swap places; for the lexical judge, its two texts). A model's replies that are no verdict count as incorrect
and are reported: otherwise a malfunctioning judge would pass for a strict one.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl, write_json
from wethink.common.statistics import wilson
from wethink.config.params import Params
from wethink.rewards.judge import lexical_judge, model_judge
from wethink.rewards.judge.model_judge import TIERS, Asked
from wethink.rewards.verdict import Verdict

KEYS = ("problem", "gold", "answer", "tier")


def calibrate(path: Path, params: Params, out: Path) -> dict[str, Any]:
    """Judge a labelled file in both orders, print the figures and write them to `out`.

    Raises:
        UserError: the file is missing, empty or no labelled set; the judge is unavailable.
    """
    rows = list(read_jsonl(path, f"name a file of JSON lines with {', '.join(KEYS)}"))
    for number, row in enumerate(rows, start=1):
        if [key for key in KEYS if not isinstance(row.get(key), str)] or row["tier"] not in TIERS:
            raise UserError(f"{path}, row {number}: needs the texts {', '.join(KEYS)}, tier one of {', '.join(TIERS)}.")
    if not rows:
        raise UserError(f"{path} is empty; write rows with {', '.join(KEYS)}.")
    asked = [(row["problem"], row["gold"], row["answer"]) for row in rows]
    with model_judge.judge_connection(params.rewards, params.launch) as model:
        ask = (lambda swapped: model.ask(asked, swapped)) if model else _lexical(asked)
        found, swapped = ask(False), ask(True)
        replies = {"replies": {"n": model.replies, "unread": model.unread}} if model else {}
    name = "lexical" if params.rewards.judge == "lexical" else params.rewards.judge.model
    figures = (
        {"judge": name}
        | replies
        | measures([row["tier"] for row in rows], found, swapped, [len(row["answer"]) for row in rows])
    )
    write_json(out, figures)
    print(table(figures))
    return figures


def _lexical(asked: Sequence[Asked]) -> Callable[[bool], list[Verdict]]:
    return lambda swapped: [
        lexical_judge.judge(gold, answer) if swapped else lexical_judge.judge(answer, gold) for _, gold, answer in asked
    ]


def measures(
    truth: Sequence[str], found: Sequence[Verdict], swapped: Sequence[Verdict], lengths: Sequence[int]
) -> dict[str, Any]:
    """Compute agreement, confusion and biases of verdicts against true tiers.

    Unknown verdicts are counted separately.

    Args:
        truth: the tiers that people gave.
        found: the judge's verdicts.
        swapped: its verdicts with candidate and reference swapped.
        lengths: the answers' lengths, in characters.
    """
    known = [i for i, verdict in enumerate(found) if verdict.score is not None]
    confusion = {tier: dict.fromkeys([*TIERS, "unknown"], 0) for tier in TIERS}
    for tier, verdict in zip(truth, found, strict=True):
        confusion[tier][_tier(verdict)] += 1
    pairs = [(truth[i], _tier(found[i])) for i in known]
    both = [i for i in known if swapped[i].score is not None]
    flips = [found[i].score != swapped[i].score for i in both]
    thirds = _thirds(sorted(known, key=lambda i: lengths[i]))
    return {
        "n": len(truth),
        "unknown": 1 - len(known) / len(truth),
        "agreement": _share([one == other for one, other in pairs]),
        "kappa": _kappa(pairs),
        "false_correct": _share([judged == "correct" for tier, judged in pairs if tier == "incorrect"]),
        "correct_missed": _share([judged != "correct" for tier, judged in pairs if tier == "correct"]),
        "confusion": confusion,
        "bias": _bias(truth, found, known),
        "bias_by_length": {
            name: {"chars": [lengths[i] for i in (part[0], part[-1])], "bias": _bias(truth, found, part)}
            for name, part in zip(("short", "middle", "long"), thirds, strict=True)
            if part
        },
        "position": {
            "flips": _share(flips),
            "bias": sum((found[i].score or 0.0) - (swapped[i].score or 0.0) for i in both) / max(1, len(both)),
        },
    }


def _tier(verdict: Verdict) -> str:
    return next((name for name, value in TIERS.items() if value == verdict.score), "unknown")


def _thirds(order: list[int]) -> list[list[int]]:
    step = math.ceil(len(order) / 3)
    return [order[:step], order[step : 2 * step], order[2 * step :]]


def _bias(truth: Sequence[str], found: Sequence[Verdict], places: Sequence[int]) -> float:
    """Return the mean of judged minus true score; above 0 is lenient."""
    return sum((found[i].score or 0.0) - TIERS[truth[i]] for i in places) / max(1, len(places))


def _share(flags: Sequence[bool]) -> dict[str, float | int]:
    """Return a share with its 95 % Wilson interval."""
    n = len(flags)
    if n == 0:
        return {"value": 0.0, "low": 0.0, "high": 1.0, "n": 0}
    value = sum(flags) / n
    low, high = wilson(value, n)
    return {"value": value, "low": low, "high": high, "n": n}


def _kappa(pairs: Sequence[tuple[str, str]]) -> float:
    """Return Cohen's kappa, the agreement beyond chance."""
    if not pairs:
        return 0.0
    n = len(pairs)
    chance = (
        sum(sum(one == tier for one, _ in pairs) * sum(other == tier for _, other in pairs) for tier in TIERS) / n**2
    )
    agreed = sum(one == other for one, other in pairs) / n
    return 1.0 if chance == 1 else (agreed - chance) / (1 - chance)


def _interval(entry: dict[str, Any]) -> str:
    return f"{entry['value']:.3f} [{entry['low']:.3f}, {entry['high']:.3f}] (n = {entry['n']})"


def table(figures: dict[str, Any]) -> str:
    """Format the figures as text."""
    columns = [*TIERS, "unknown"]
    lines = [
        f"judge: {figures['judge']}, {figures['n']} graded answers, {figures['unknown']:.1%} unknown",
        *(
            f"replies: {told['unread']} of {told['n']} could not be read as a verdict; they count as incorrect"
            for told in [figures.get("replies")]
            if told
        ),
        f"agreement             {_interval(figures['agreement'])}, kappa {figures['kappa']:.3f}",
        f"incorrect → correct   {_interval(figures['false_correct'])}",
        f"correct → not correct {_interval(figures['correct_missed'])}",
        "true \\ judged " + "".join(f"{name:>11}" for name in columns),
        *(
            f"{tier:>13} " + "".join(f"{row[name]:>11}" for name in columns)
            for tier, row in figures["confusion"].items()
        ),
        f"bias (judged − true)  {figures['bias']:+.3f}",
        *(
            f"  {name:<7} {part['chars'][0]}–{part['chars'][1]} characters: {part['bias']:+.3f}"
            for name, part in figures["bias_by_length"].items()
        ),
        f"in the other order    {_interval(figures['position']['flips'])} flip, "
        f"score {figures['position']['bias']:+.3f} (given − swapped)",
    ]
    return "\n".join(lines)
