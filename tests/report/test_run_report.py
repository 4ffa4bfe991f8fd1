"""Laws of the report: it says what the figures say, it trusts no text, and it is the same page every time."""

import base64
import hashlib
import io
import json
import random
import re
import sys
import types
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from wethink.common.errors import UserError
from wethink.common.jsonl import content_id, write_json, write_jsonl
from wethink.config.evaluation import Report
from wethink.evaluation.summary import summarise
from wethink.report.examples import choose, outcome, pairs, picture, proportions
from wethink.report.plots import Panel, curves, read_curves
from wethink.report.run_report import headline, report

HOSTILE = '<script src="https://evil.example/x.js"></script><img src=x onerror=alert(1)> {{ 7 * 7 }} ]]>'
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
    report(**folders, out=out, scratch=home / "scratch", config=Report(gallery=gallery), seed=0)
    return (out / "index.html").read_text(encoding="utf-8")


class Tags(HTMLParser):
    """Every start tag of a page with its attributes; balanced says that what opens is closed."""

    VOID = ("meta", "img", "br", "link", "input", "line", "circle", "rect", "polyline")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


@pytest.fixture()
def page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return write_page(tmp_path, fake_run(tmp_path), monkeypatch)


def test_the_page_fetches_nothing_and_its_markup_is_whole(page: str) -> None:
    tags = Tags(page)
    assert tags.open == []
    for tag, attributes in tags.found:
        for name, value in attributes.items():
            if name in ("src", "srcset", "data", "poster", "action", "background", "xlink:href"):
                assert str(value).startswith("data:image/"), (tag, name)
            if name == "href":
                assert tag == "a"
        assert tag not in ("link", "iframe", "object", "embed", "base")
    assert not re.search(r"@import|url\(", page)
    assert "default-src 'none'" in page


def test_every_picture_has_words_and_every_header_a_scope(page: str) -> None:
    tags = Tags(page).found
    assert all(attributes.get("alt") for tag, attributes in tags if tag == "img")
    assert all("scope" in attributes for tag, attributes in tags if tag == "th")
    plots = [attributes for tag, attributes in tags if tag == "svg"]
    assert plots and all(a.get("aria-label") or a.get("aria-hidden") == "true" for a in plots)
    assert any("95 % interval" in str(a.get("aria-label")) for a in plots)


def test_text_of_models_and_data_is_never_markup(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = fake_run(tmp_path, scenes=12)
    path = tmp_path / "evaluation" / "items.jsonl"
    fields = ("problem", "answer", "kind", "response", "extracted")
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    records = [
        record | dict.fromkeys(fields, HOSTILE) | {"source": f"s{HOSTILE}", "abilities": [HOSTILE]}
        for record in records
    ]
    write_jsonl(path, records)
    write_json(tmp_path / "evaluation" / "metrics.json", summarise(records, 20, 0))
    write_jsonl(tmp_path / "valid" / "quarantine.jsonl", [{"id": "1", "reasons": [HOSTILE]}])
    made = json.loads((tmp_path / "rows" / "metrics.json").read_text(encoding="utf-8"))
    write_json(tmp_path / "rows" / "metrics.json", made | {"rejected": {HOSTILE: 110}})
    page = write_page(tmp_path, images, monkeypatch)
    tags = Tags(page)
    assert [tag for tag, _ in tags.found].count("script") == 1
    assert not any(name.startswith("on") for _, attributes in tags.found for name in attributes)
    assert "&lt;script src=" in page and "{{ 7 * 7 }}" in page
    assert tags.open == []


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (write_page(home, fake_run(home), monkeypatch) for home in (tmp_path / "a", tmp_path / "b"))
    assert first == second
    assert str(tmp_path) not in first


def difference(mean: float, low: float, high: float) -> dict[str, Any]:
    one = {"mean": mean, "low": low, "high": high, "n": 9}
    return {"grpo_minus_sft": one | {"sampled": one}}


def test_the_headline_says_so_when_the_interval_includes_zero() -> None:
    said = headline(difference(0.008, -0.01, 0.024))
    assert said["main"] == (
        "No effect of GRPO is shown: +0.8 points against SFT, and the 95 % interval −1.0 to +2.4 includes 0 "
        "(greedy decoding)."
    )
    assert "includes 0" in said["more"]
    assert "No effect" in headline(difference(0.02, 0.0, 0.04))["main"]


def test_the_headline_says_gain_and_loss_and_how_it_was_decoded() -> None:
    gain, loss = headline(difference(0.133, 0.101, 0.165)), headline(difference(-0.05, -0.08, -0.02))
    assert gain["main"].startswith("GRPO adds 13.3 points") and "greedy" in gain["main"]
    assert gain["more"].startswith("Sampled answers gain")
    assert loss["main"].startswith("GRPO costs accuracy") and "−8.0 to −2.0" in loss["main"]


def test_the_gallery_mixes_outcomes_and_states_the_true_proportions() -> None:
    records, _ = fake_evaluation(90, 3)
    found = pairs(records, "sft")
    chosen = choose(found, 8, 0)
    for source in KINDS:
        mine = [pair for pair in chosen if pair[0]["source"] == source]
        assert len(mine) == 8 and len({pair[0]["scene"] for pair in mine}) == 8
        assert {outcome(pair) for pair in mine} == {"fixed", "broke", "both right", "both wrong"}
        assert max(sum(outcome(pair) == name for pair in mine) for name in ("fixed", "both right")) <= 4
    shares = proportions(found)
    assert sum(entry["count"] for entry in shares.values()) == len(found)
    assert shares["fixed"]["count"] == sum(a["verdict"] == "wrong" and b["verdict"] == "correct" for a, b in found)
    random.Random(0).shuffle(records)
    assert choose(pairs(records, "sft"), 8, 0) == chosen


def test_no_source_is_left_out_of_the_gallery_for_want_of_an_outcome() -> None:
    records, _ = fake_evaluation(30, 1)
    right = [record | {"verdict": "correct"} for record in records]
    assert len(choose(pairs(right, "sft"), 4, 0)) == 12


def test_a_large_image_is_scaled_down_and_a_small_one_is_kept_as_it_is() -> None:
    data, _ = painted(random.Random(0))
    small = picture(data)
    assert small.pixelated and small.uri.startswith("data:image/png")
    buffer = io.BytesIO()
    Image.effect_noise((1600, 900), 60).save(buffer, "JPEG")
    large = picture(buffer.getvalue())
    assert not large.pixelated and len(large.uri) < len(buffer.getvalue())


def test_curves_draw_the_columns_that_are_there(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,loss,note\n1,2.0,a\n2,1.0,b\n", encoding="utf-8")
    drawn = curves(read_curves(path), [Panel("Loss", {"loss": "loss"}), Panel("Reward", {"reward": "reward"})])
    assert [panel["title"] for panel in drawn] == ["Loss"]
    path.write_text("loss\n1\n", encoding="utf-8")
    with pytest.raises(UserError, match="step"):
        read_curves(path)
    with pytest.raises(UserError, match="does not exist"):
        read_curves(tmp_path / "none.csv")


def test_a_long_constant_curve_is_drawn(tmp_path: Path) -> None:
    path = tmp_path / "curves.csv"
    path.write_text("step,loss\n" + "".join(f"{n},0\n" for n in range(5000)), encoding="utf-8")
    svg = str(curves(read_curves(path), [Panel("Loss", {"loss": "loss"})])[0]["svg"])
    assert "nan" not in svg and len(svg) < 20_000


def test_an_evaluation_without_greedy_answers_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = fake_run(tmp_path, scenes=6)
    records, _ = fake_evaluation(6, 0)
    sampled = [record for record in records if record["temperature"] > 0]
    write_jsonl(tmp_path / "evaluation" / "items.jsonl", sampled)
    write_json(tmp_path / "evaluation" / "metrics.json", summarise(sampled, 20, 0))
    with pytest.raises(UserError, match=r"evaluate\.temperatures"):
        write_page(tmp_path, images, monkeypatch)


def test_the_data_funnel_accounts_for_every_candidate(page: str) -> None:
    for said in ("650", "1,010", "900", "110 rejected", "888", "12 quarantined", "path does not lead to the answer"):
        assert said in page
    for said in ("885", "3 dropped", "asked before"):
        assert said in page


def test_the_page_s_policy_lets_its_own_script_run_and_no_other(page: str) -> None:
    script = page.split("<script>", 1)[1].split("</script>", 1)[0]
    allowed = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{allowed}'" in page


def test_controls_that_were_not_run_are_said_to_be_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = fake_run(tmp_path, scenes=12)
    records = [
        record
        for record in fake_evaluation(12, 0)[0]
        if record["checkpoint"] != "base" and record["pixels"] == "true" and record["temperature"] == 0
    ]
    write_jsonl(tmp_path / "evaluation" / "items.jsonl", records)
    write_json(tmp_path / "evaluation" / "metrics.json", summarise(records, 20, 0))
    page = write_page(tmp_path, images, monkeypatch)
    assert page.count("not run") == 6 and "Sampled answers were not compared." in page


def test_grpo_straight_from_base_is_called_that_and_shown_against_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = fake_run(tmp_path, scenes=12)
    write_json(tmp_path / "grpo" / "metrics.json", {"start": "base"})
    page = write_page(tmp_path, images, monkeypatch)
    assert "GRPO from base" in page and "SFT + GRPO" not in page and "<h4>Base " in page
