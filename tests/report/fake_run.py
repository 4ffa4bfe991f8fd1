"""Inputs of the report stage without a run: evaluation records, curves, rows and images, made by chance from a seed."""

import io
import random
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from wethink.common.jsonl import content_id, write_json, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Report
from wethink.evaluation.summary import summarise
from wethink.report.run_report import report
from wethink.rewards.format import DEFAULT

COLOURS = {"red": "#d8402f", "blue": "#3a63d8", "green": "#2f9e54", "yellow": "#e5c431", "purple": "#8b3ab0"}
KINDS = {
    "scenes": (("count_colour", "FIB"), ("same_side", "FIB"), ("which_shape", "MC"), ("describe", "DES")),
    "charts": (("largest_bar", "MC"), ("difference", "FIB"), ("order", "FIB")),
    "digits": (("sum", "FIB"), ("larger", "MC"), ("list_digits", "FIB")),
}
SKILL = {("base", 0.0): 0.45, ("sft", 0.0): 0.62, ("grpo", 0.0): 0.76, ("base", 1.0): 0.35, ("sft", 1.0): 0.5}


def painted(rng: random.Random) -> tuple[bytes, list[str]]:
    """A board of four coloured shapes, and what it shows."""
    board = Image.new("RGB", (56, 56), (128, 128, 128))
    pen = ImageDraw.Draw(board)
    shown = []
    for cell in range(4):
        colour, shape = rng.choice(sorted(COLOURS)), rng.choice(["circle", "square"])
        x, y = 5 + 28 * (cell % 2), 5 + 28 * (cell // 2)
        (pen.ellipse if shape == "circle" else pen.rectangle)((x, y, x + 18, y + 18), fill=COLOURS[colour])
        shown.append(f"{colour} {shape}")
    buffer = io.BytesIO()
    board.save(buffer, "PNG")
    return buffer.getvalue(), shown


def fake_evaluation(scenes: int, seed: int) -> tuple[list[dict[str, Any]], dict[str, bytes]]:
    """Records as an evaluation writes them: two questions a scene, skill shared within a scene."""
    rng = random.Random(seed)
    records: list[dict[str, Any]] = []
    images: dict[str, bytes] = {}
    for number in range(scenes):
        source = sorted(KINDS)[number % 3]
        data, shown = painted(rng)
        image = content_id("image", number) * 4
        images[image] = data
        ease = rng.gauss(0, 0.18)
        for kind, category in rng.sample(KINDS[source], 2):
            answer = {"MC": rng.choice("ABCD"), "FIB": str(rng.randrange(5)), "DES": ", ".join(shown)}[category]
            options = "\nA) circle B) square C) star D) none" if category == "MC" else ""
            item = {
                "id": content_id(image, kind),
                "scene": f"scene-{number}",
                "source": source,
                "kind": kind,
                "category": category,
                "abilities": ["reasoning", *rng.sample(["recognition", "counting", "spatial", "ocr"], 2)],
                "image": image,
                "problem": f"How many of the things in the picture are {shown[0].split()[0]}?{options}",
                "answer": answer,
                "reward": "model" if category == "DES" else "rule",
            }
            luck = rng.random()
            for checkpoint in ("base", "sft", "grpo"):
                for temperature, pixels in ((0.0, "true"), (1.0, "true"), (0.0, "blank"), (0.0, "shuffled")):
                    skill = SKILL.get((checkpoint, temperature), 0.68) if pixels == "true" else 0.27
                    draw = luck if rng.random() < 0.6 and pixels == "true" else rng.random()
                    right = draw < skill + ease - (0.35 if source == "digits" else 0)
                    strict = checkpoint != "base" and rng.random() < 0.99
                    said = answer if right else "none of these"
                    thought = "i see " + " . ".join(shown) + f" . so the answer is {said}"
                    thought = thought if checkpoint == "grpo" or rng.random() < 0.4 else f"it looks like {said}"
                    text = f"<think>{thought}</think><answer>{said}</answer>" if strict else said
                    verdict = "unknown" if rng.random() < 0.004 else "correct" if right else "wrong"
                    records.append(
                        item
                        | {
                            "checkpoint": checkpoint,
                            "temperature": temperature,
                            "pixels": pixels,
                            "response": text,
                            "extracted": said,
                            "verdict": verdict if strict or checkpoint == "base" or verdict == "unknown" else "wrong",
                            "reason": "",
                            "tokens": 8 + len(thought.split()),
                            "strict": strict,
                        }
                    )
    return records, images


def fake_curves(path: Path, columns: dict[str, tuple[float, float]], steps: int, rng: random.Random) -> None:
    lines = [",".join(["step", *columns])]
    for step in range(1, steps + 1):
        share = 1 - 0.97 ** (step * 100 / steps)
        values = [a + (b - a) * share + rng.gauss(0, abs(b - a) * 0.12) for a, b in columns.values()]
        bounds = [1.0 if max(ends) <= 1 else 1e9 for ends in columns.values()]
        shown = [min(bound, max(0.0, value)) for bound, value in zip(bounds, values, strict=True)]
        lines.append(",".join([str(step), *(f"{value:.6f}" for value in shown)]))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def fake_run(home: Path, scenes: int = 60, seed: int = 0, resamples: int = 200) -> dict[str, bytes]:
    """Every input folder of the report under `home`; return the images."""
    rng = random.Random(seed)
    records, images = fake_evaluation(scenes, seed)
    for name in ("rows", "valid", "evaluation"):
        (home / name).mkdir(parents=True)
    rows = [
        {
            "id": str(n),
            "image": str(n // 2),
            "kind": "count",
            "split": "train" if n % 5 < 3 else "pretrain",
            "refined_cot": "x" * (n % 9 == 0),
        }
        for n in range(900)
    ]
    rejected = {
        "the adjudicator agrees with neither answer": 61,
        "path does not lead to the answer": 40,
        "no abilities": 9,
    }
    write_json(
        home / "rows" / "metrics.json",
        {"images": {"pretrain": 260, "train": 390}, "candidates": 1010, "kept": 900, "rejected": rejected},
    )
    write_jsonl(home / "valid" / "rows.jsonl", rows[:885])
    write_json(home / "valid" / "metrics.json", {"curated": {"asked before": 3}})
    write_jsonl(
        home / "valid" / "quarantine.jsonl", [{"id": str(n), "reasons": ["answer is empty"]} for n in range(12)]
    )
    write_jsonl(home / "evaluation" / "items.jsonl", records)
    write_json(home / "evaluation" / "metrics.json", summarise(records, resamples, seed))
    fake_curves(home / "sft" / "curves.csv", {"loss": (2.4, 0.21), "lr": (0.001, 0.0), "grad_norm": (3, 0.8)}, 300, rng)
    grpo = {"reward": (0.62, 0.83), "accuracy": (0.5, 0.76), "format": (0.94, 0.998), "length": (23, 29)}
    grpo |= {"length_right": (24, 29), "length_wrong": (21, 30), "entropy": (0.42, 0.19), "clip_fraction": (0.0, 0.0)}
    grpo |= {"kept_groups": (0.8, 0.45), "unknown": (0.0, 0.0), "truncated": (0.03, 0.004)}
    fake_curves(home / "grpo" / "curves.csv", grpo, 150, rng)
    write_json(home / "grpo" / "metrics.json", {"start": "sft"})
    return images


def write_page(home: Path, images: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, gallery: int = 4) -> str:
    class ImageSet:
        def __init__(self, folder: Path) -> None:
            assert folder == home / "images"

        def bytes(self, image: str) -> bytes:
            return images[image]

    module = types.ModuleType("wethink.data.image_store")
    module.ImageSet = ImageSet  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "wethink.data.image_store", module)
    out = home / "out"
    out.mkdir(exist_ok=True)
    folders = {name: home / name for name in ("images", "rows", "valid", "sft", "grpo", "evaluation")}
    report(**folders, format=DEFAULT, run=StageRun(Report(gallery=gallery), out=out, scratch=home / "scratch", seed=0))
    return (out / "index.html").read_text(encoding="utf-8")
