"""Benchmark tables of yes/no and short-answer benchmarks with generated predictions, for VLMEvalKit's own aggregates.

Each table goes through the whole job here (TSV, run, records, figures), with an engine that returns the predictions,
and through the evaluation of VLMEvalKit's dataset of that name. Both must report the same numbers.
"""

import base64
import csv
import io
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.vlmevalkit.predictions import yes_no_row
from wethink.data.benchmark_table import Table
from wethink.evaluation.benchmarks.engines import Query, Reply, System
from wethink.evaluation.benchmarks.results import board
from wethink.evaluation.benchmarks.run import Settings, run

COUNT = 600
POPE_CATEGORIES = ("adversarial", "popular", "random", "adversarial,popular", "adversarial,popular,random")
MME_CATEGORIES = ("OCR", "artwork", "color", "count", "scene", "code_reasoning", "text_translation", "posters")
AMBER_CATEGORIES = (
    "discriminative-attribute-state",
    "discriminative-attribute-number",
    "discriminative-hallucination",
    "relation",
    "another",
)
WORDS = (
    "red",
    "a dog",
    "the two dogs",
    "Don't walk",
    "seven",
    "7",
    "3.5%",
    "0.035",
    "1,200",
    "1200.0",
    "New York",
    "yes",
)
METHODS = ("ChartQA_TEST", "TextVQA_VAL", "DocVQA_VAL", "OCRVQA_TEST", "InfoVQA_VAL", "GQA_TestDev_Balanced")
TABLES = ("POPE", "MME", "AMBER", "VSR-zeroshot", "HallusionBench", *METHODS)


def rows_of(name: str, count: int = COUNT) -> list[dict[str, str]]:
    """Generate the rows of a table, with a `prediction` each."""
    rng = random.Random(f"aggregate {name}")
    return [_row(name, rng, number) for number in range(count)]


def _row(name: str, rng: random.Random, number: int) -> dict[str, str]:
    if name in METHODS:
        return _short(name, rng, number)
    row = {key: str(value) for key, value in yes_no_row(rng, number).items()}
    if name != "HallusionBench":
        row["index"] = str(number)
    if name == "MME":  # two questions on each image
        row["category"], row["image_path"] = MME_CATEGORIES[number // 2 % len(MME_CATEGORIES)], f"{number // 2}.jpg"
    elif name == "POPE":
        row["category"], row["image_path"] = rng.choice(POPE_CATEGORIES), f"{number // 3}.jpg"
    elif name == "AMBER":
        row["category"], row["image_path"] = rng.choice(AMBER_CATEGORIES), f"{number // 4}.jpg"
        row["answer"] = rng.choice([row["answer"], row["answer"].lower()])
    elif name == "HallusionBench":
        row["l2-category"] = ("chart", "map")[number // 6 % 2]
        row["index"] = f"VD_x_{number}_{number // 6}_{number % 6 // 3}_{number % 3}"
    return row


def _short(name: str, rng: random.Random, number: int) -> dict[str, str]:
    annotators = 10 if name.startswith("TextVQA") else rng.randint(1, 3)
    gold = rng.choice(WORDS)
    golds = [gold if rng.random() < 0.5 else rng.choice(WORDS) for _ in range(annotators)]
    said = rng.choice([rng.choice(golds), rng.choice(WORDS)])
    prediction = rng.choice(
        [
            said,
            said.upper(),
            f"{said}.",
            f" {said} ",
            said[:-1],
            f"{said}s",
            f"an {said}",
            f"It is {said}",
            "36",
            "1230",
        ]
    )
    single = name in ("OCRVQA_TEST", "GQA_TestDev_Balanced") or (len(golds) == 1 and rng.random() < 0.5)
    answer = golds[0] if single else repr(golds)
    return {"index": str(number), "question": "what is it", "answer": answer, "prediction": prediction}


def write_table(path: Path, rows: Sequence[dict[str, str]]) -> Path:
    """Write the rows as a benchmark table: one small picture per `image_path`, or per row."""
    names = [name for name in dict.fromkeys(key for row in rows for key in row) if name != "prediction"]
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, [*names, "image"], delimiter="\t", lineterminator="\n", extrasaction="ignore")
        writer.writeheader()
        for number, row in enumerate(rows):
            shade = int(row.get("image_path", str(number)).split(".")[0])
            buffer = io.BytesIO()
            Image.new("RGB", (8, 8), (shade % 251, shade // 251, 7)).save(buffer, "PNG")
            writer.writerow(row | {"image": base64.b64encode(buffer.getvalue()).decode()})
    return path


class Scripted:
    """Engine that returns the prediction of each item."""

    def __init__(self, rows: Sequence[dict[str, str]], name: str) -> None:
        self._said = {f"{name} {row['index']}": row["prediction"] for row in rows}

    def describe(self, system: System) -> dict[str, Any]:
        return {"engine": "scripted", "model": "scripted"}

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        return [Reply(self._said[query.draw], None) for query in queries]

    def close(self) -> None:
        pass


def ours(name: str, rows: Sequence[dict[str, str]], home: Path) -> dict[str, float]:
    """Return this project's figures under VLMEvalKit's protocol, in percent or points."""
    table = Table(write_table(home / f"{name}.tsv", rows))
    run(table, Scripted(rows, name), Settings("scripted", controls=False), home / "out")
    entry = next(found for found in board(home / "out")["benchmarks"] if found["name"] == name)
    figures = entry["rows"][0]["kit"]
    return {key: figure.get("points", 100 * figure["value"]) for key, figure in figures.items()}


# Our figure's name, and the row and column of VLMEvalKit's.
SAME: dict[str, dict[str, tuple[str, float]]] = {
    "POPE": {"F1": ("Overall", 1), "accuracy": ("acc", 1), "precision": ("precision", 1), "recall": ("recall", 1)},
    "MME": {"perception": ("perception", 1), "cognition": ("reasoning", 1)},
    "AMBER": {"mean": ("Avg ACC", 1)},
    "VSR-zeroshot": {"accuracy": ("acc", 1), "F1": ("f1_score", 100), "precision": ("precision", 1)},
    "HallusionBench": {"aAcc": ("aAcc", 1), "fAcc": ("fAcc", 1), "qAcc": ("qAcc", 1)},
    **{name: {"accuracy": ("Overall", 1)} for name in METHODS},
}


def compare(name: str, mine: dict[str, float], theirs: dict[str, float]) -> dict[str, Any]:
    """Return both sides' figures and the largest difference."""
    pairs = {key: (mine[key], factor * theirs[column]) for key, (column, factor) in SAME[name].items()}
    largest = max(abs(a - b) for a, b in pairs.values())
    return {
        "figures": {key: [round(a, 4), round(b, 4)] for key, (a, b) in pairs.items()},
        "largest_difference": largest,
    }
