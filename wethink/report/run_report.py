"""Stage `report`: one run's results, curves, data funnel and examples as one HTML page.

Accuracies and intervals come from the evaluation's `metrics.json`, counts from the rows themselves, so a reader can
check every figure. The template escapes all text of models and data. The page's content security policy allows its
own script only and no request.
"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Report
from wethink.config.response_format import ResponseFormat
from wethink.data.schema import TRAINING_SPLITS, read_rows
from wethink.evaluation.summary import CHECKPOINTS, few_scenes
from wethink.report.examples import OUTCOMES, cards, choose, pairs, proportions
from wethink.report.plots import Dot, Panel, curves, points, read_curves, strip
from wethink.report.render import direction, render
from wethink.rewards.unanswerable import KIND

ASSETS = (
    "templates/run_report.html.jinja",
    "templates/macros.html.jinja",
    "templates/filters.js",
    "templates/page.css",
)
CATEGORIES = {"MC": "MC · multiple choice", "FIB": "FIB · fill in the blank", "DES": "DES · description"}
REASONS_SHOWN = 8
USES = ("pretraining", "SFT paths", "GRPO answers", "unanswerable, for GRPO")

SFT_PANELS = (
    Panel("Loss per token", {"loss": "loss"}),
    Panel("Learning rate", {"lr": "lr"}),
    Panel("Gradient norm", {"grad_norm": "norm"}),
)
GRPO_PANELS = (
    Panel("Reward", {"reward": "reward"}),
    Panel("Accuracy of rollouts", {"accuracy": "accuracy"}, share=True),
    Panel("Rollouts in the right format", {"format": "format"}, share=True),
    Panel("Length in tokens", {"length": "all", "length_right": "right", "length_wrong": "wrong"}),
    Panel("Entropy per token", {"entropy": "entropy"}),
    Panel("Groups with something to learn", {"kept_groups": "groups"}, share=True),
    Panel("Clipped tokens", {"clip_fraction": "tokens"}, share=True),
    Panel("Rollouts cut off", {"truncated": "rollouts"}, share=True),
    Panel("Unknown verdicts", {"unknown": "rollouts"}, share=True),
    Panel("Gradient norm", {"grad_norm": "norm"}),
)


def report(
    *,
    images: Path,
    rows: Path,
    valid: Path,
    sft: Path,
    grpo: Path,
    evaluation: Path,
    format: ResponseFormat,
    run: StageRun[Report],
) -> dict[str, Any]:
    """Write `index.html` and return how many items and examples it shows.

    Raises:
        UserError: an input is missing, or the evaluation holds no greedy answers to compare.
    """
    config, out, seed = run.config, run.out, run.seed
    from wethink.data.image_store import ImageSet

    summary = read_json(evaluation / "metrics.json")
    records = list(read_jsonl(evaluation / "items.jsonl"))
    start = read_json(grpo / "metrics.json")["start"]
    passed_on = (sft / "metrics.json").is_file() and not read_json(sft / "metrics.json").get("steps", 1)
    before = "Base asked for the format" if passed_on else "SFT"
    names = {"base": "Base", "sft": before, "grpo": "SFT + GRPO" if start == "sft" else "GRPO from base"}
    found = pairs(records, start)
    if not found or "grpo_minus_sft" not in summary:
        raise UserError(
            f"{evaluation} holds no greedy answers of SFT, GRPO and what GRPO started from; "
            "keep 0.0 in evaluate.temperatures and run `python -m wethink evaluate` again."
        )
    chosen = choose(found, config.gallery, seed)
    sources = sorted(summary["sources"])
    html = render(
        "run_report.html.jinja",
        headline=headline(summary, "the base when asked for the format" if passed_on else "SFT"),
        summary=summary,
        own=summary.get("own", []),
        few_scenes=few_scenes(summary),
        names={name: names[name] for name in CHECKPOINTS if name in summary},
        start=names[start],
        sampled_at=_temperatures(records),
        lenient=[names[name] for name in _lenient(records)],
        weak_sources=[name for name in sources if summary["sources"][name]["at_majority"]],
        groups=_groups(summary, names),
        sft_curves=curves(read_curves(sft / "curves.csv"), SFT_PANELS) if (sft / "curves.csv").is_file() else [],
        grpo_curves=curves(read_curves(grpo / "curves.csv"), GRPO_PANELS),
        funnel=funnel(rows, valid),
        outcomes=OUTCOMES,
        proportions=proportions(found),
        by_source={name: proportions([pair for pair in found if pair[0]["source"] == name]) for name in sources},
        pairs=len(found),
        cards=cards(chosen, (names[start], names["grpo"]), ImageSet(images).bytes, format),
    )
    (out / "index.html").write_text(html, encoding="utf-8")
    return {"items": len(found), "gallery": len(chosen)}


def headline(summary: dict[str, Any], before: str = "SFT") -> dict[str, str]:
    """Describe GRPO's effect in two sentences: greedy decoding, then sampling.

    `before` names the checkpoint that stands in SFT's place: with no path to learn from, SFT passes the base on.
    """
    greedy, sampled = summary["grpo_minus_sft"], summary["grpo_minus_sft"]["sampled"]
    effect = direction(greedy)
    mean = points(greedy["mean"])
    interval = f"95 % interval {points(greedy['low'])} to {points(greedy['high'])}"
    main = {
        "unknown": f"GRPO and {before} cannot be compared: no greedy answer has a known verdict of both.",
        "none": f"No effect of GRPO is shown: {mean} points against {before}, and the {interval} "
        "includes 0 (greedy decoding).",
        "gain": f"GRPO adds {mean[1:]} points to the accuracy of {before} on unseen scenes ({interval}, greedy).",
        "loss": f"GRPO costs accuracy on unseen scenes: {mean} points against {before} ({interval}, greedy decoding).",
    }[effect]
    figures = f"{points(sampled['mean'])} points, 95 % interval {points(sampled['low'])} to {points(sampled['high'])}"
    more = {
        "unknown": "Sampled answers were not compared.",
        "none": f"Sampled answers show no effect either way: {figures}, which includes 0.",
        "gain": f"Sampled answers gain as well: {figures}."
        if effect == "gain"
        else f"Sampled answers gain: {figures}.",
        "loss": f"Sampled answers lose accuracy: {figures}.",
    }[direction(sampled)]
    return {"main": main, "more": more}


def _temperatures(records: Iterable[dict[str, Any]]) -> str:
    found = sorted({record["temperature"] for record in records if record["temperature"] > 0})
    return " and ".join(f"T = {temperature:g}" for temperature in found) or "not sampled"


def _lenient(records: Iterable[dict[str, Any]]) -> list[str]:
    """List checkpoints with accepted answers outside the required format.

    The page names them.
    """
    accepted = {r["checkpoint"] for r in records if r["verdict"] == "correct" and not r["strict"]}
    return [name for name in CHECKPOINTS if name in accepted]


def _groups(summary: dict[str, Any], names: dict[str, str]) -> list[dict[str, Any]]:
    """Build tables by source, category, kind and ability, with dots and intervals."""
    titles = {
        "sources": "By image source",
        "categories": "By question type",
        "kinds": "By question kind",
        "abilities": "By ability",
    }
    return [
        {
            "title": title,
            "rows": [
                {
                    "name": CATEGORIES.get(name, name.replace("_", " ")),
                    "items": group["items"],
                    "strip": strip(_dots(group, names), group["majority"]),
                    "majority": group["majority"],
                    "difference": group.get("grpo_minus_sft"),
                    "at_majority": group.get("at_majority", False),
                }
                for name, group in sorted(summary[key].items())
            ],
        }
        for key, title in titles.items()
        if summary[key]
    ]


def _dots(group: dict[str, Any], names: dict[str, str]) -> list[Dot]:
    return [
        Dot(name, names[name], group[name]["accuracy"], group[name]["low"], group[name]["high"])
        for name in CHECKPOINTS
        if name in group and group[name]["accuracy"] is not None
    ]


def funnel(rows: Path, valid: Path) -> dict[str, Any]:
    """Count images and rows after each data step, and the reasons for losses."""
    made = read_json(rows / "metrics.json")
    rejected = Counter[str](made["rejected"])
    quarantined = Counter[str]()
    failed = 0
    for entry in read_jsonl(valid / "quarantine.jsonl"):
        failed += 1
        quarantined.update(entry["reasons"])
    curated = Counter[str](read_json(valid / "metrics.json").get("curated", {}))
    passed = 0
    uses = Counter[str]()
    for row in read_rows(valid / "rows.jsonl"):
        if row["kind"] == KIND:  # made behind the filters
            uses["unanswerable, for GRPO"] += 1
            continue
        passed += 1
        use = "pretraining" if row["split"] == "pretrain" else "SFT paths" if row["refined_cot"] else "GRPO answers"
        uses[use] += 1
    images = sum(made["images"].get(split, 0) for split in TRAINING_SPLITS)
    steps = [
        ("Images to learn from", images, ""),
        ("Candidate rows", made["candidates"], ""),
        ("Kept by the filters", made["kept"], _lost(rejected.total(), "rejected")),
        *([("Held out as items", made["items"], "")] if made.get("items") else []),
        ("Passed validation", passed + curated.total(), _lost(failed, "quarantined")),
        *([("Kept by curation", passed, _lost(curated.total(), "dropped"))] if curated else []),
    ]
    largest = max(1, made["candidates"], images)
    return {
        "steps": [
            {"name": name, "count": count, "width": 100 * count / largest, "lost": lost} for name, count, lost in steps
        ],
        "uses": [(use, uses[use]) for use in USES if uses[use]],
        "reasons": [
            {"title": title, "rows": _most(reasons)}
            for title, reasons in (
                ("Rejected by the filters", rejected),
                ("Quarantined by validation", quarantined),
                ("Dropped by curation", curated),
            )
            if reasons
        ],
    }


def _lost(count: int, word: str) -> str:
    return f"{count:,} {word}"


def _most(reasons: Counter[str]) -> list[dict[str, Any]]:
    """List the most frequent reasons, and the rest as one, so that counts add up."""
    ordered = sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0]))
    shown, rest = ordered[:REASONS_SHOWN], ordered[REASONS_SHOWN:]
    if rest:
        shown.append((f"{len(rest)} further reasons", sum(count for _, count in rest)))
    largest = max(count for _, count in shown)
    return [{"name": name, "count": count, "width": 100 * count / largest, "lost": ""} for name, count in shown]
