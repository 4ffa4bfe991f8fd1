"""The whole DAG for real, with the smoke overlay: every stage, every door, and what it leaves behind."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("end-to-end")
ROOT = Path(__file__).resolve().parents[2]
STAGES = ["draw", "ingest", "synthesize", "validate", "base", "sft", "grpo", "evaluate", "report"]


def run(folder: Path, *command: str, code: int = 0, seconds: float = 500) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=seconds,
        env=os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"},
    )
    assert ended.returncode == code, (ended.stdout + ended.stderr)[-4000:]
    return ended.stdout + ended.stderr


def stamps(folder: Path) -> dict[str, int]:
    """When each stage last ran."""
    return {name: (folder / f".wethink/runs/{name}.run.json").stat().st_mtime_ns for name in STAGES}


def copy_of_the_project(folder: Path) -> Path:
    """What git tracks or would track, as a fresh repository without data."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    (folder / "dvc.lock").unlink(missing_ok=True)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = copy_of_the_project(tmp_path_factory.mktemp("smoke") / "wethink")
    run(folder, "wethink", "profile", "smoke")
    run(folder, "flows.pipeline")
    return folder


def test_the_summary_keeps_its_contract(finished: Path) -> None:
    summary = json.loads((finished / "reports/summary.json").read_text())
    for checkpoint in ("base", "sft", "grpo"):
        assert {"accuracy", "low", "high", "n", "sampled", "blank", "shuffled"} <= set(summary[checkpoint])
        assert summary[checkpoint]["low"] <= summary[checkpoint]["accuracy"] <= summary[checkpoint]["high"]
    for difference in ("sft_minus_base", "grpo_minus_sft"):
        assert {"mean", "low", "high"} <= set(summary[difference])
    assert set(summary["sources"]) == {"scenes", "charts", "digits"}
    assert set(summary["seconds"]) == set(STAGES) and summary["peak_pss_mb"] > 0
    assert summary["scenes"] == 24 and summary["base"]["n"] == 48
    assert (finished / "reports/index.html").stat().st_size > 10_000


def test_every_count_in_is_a_count_out(finished: Path) -> None:
    rows = json.loads((finished / "data/rows/metrics.json").read_text())
    valid = json.loads((finished / "data/valid/metrics.json").read_text())
    kept = sum(1 for _ in (finished / "data/rows/rows.jsonl").open())
    rejected = sum(1 for _ in (finished / "data/rows/rejected.jsonl").open())
    passed = sum(1 for _ in (finished / "data/valid/rows.jsonl").open())
    quarantined = sum(1 for _ in (finished / "data/valid/quarantine.jsonl").open())
    curated = sum(1 for _ in (finished / "data/valid/curated.jsonl").open())
    assert rows["candidates"] == kept + rejected and rows["kept"] == kept == passed + quarantined + curated
    assert curated == 0, "no drawn scene is asked the same twice"
    assert valid["kept"] == passed and valid["quarantined"] == quarantined


def test_dvc_is_clean_and_nothing_runs_again_through_either_door(finished: Path) -> None:
    assert "up to date" in run(finished, "dvc", "status")
    before = stamps(finished)
    run(finished, "dvc", "repro")
    run(finished, "flows.pipeline")
    assert stamps(finished) == before


def test_a_changed_grpo_parameter_runs_grpo_and_what_follows_only(finished: Path) -> None:
    params = finished / "params.yaml"
    text = params.read_text()
    before = stamps(finished)
    try:
        params.write_text(text.replace("  temperature: 1.0", "  temperature: 0.7"))
        assert params.read_text() != text
        run(finished, "flows.pipeline")
        after = stamps(finished)
        assert {name for name in STAGES if after[name] != before[name]} == {"grpo", "evaluate", "report"}
    finally:
        params.write_text(text)
        run(finished, "dvc", "repro")  # the run cache has the old outputs


def test_the_published_folder_answers_through_ask_and_plain_transformers(finished: Path) -> None:
    import torch
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

    from wethink.data.image_store import ImageSet

    images = ImageSet(finished / "data/images")
    picture = finished / "question.png"
    images.open(images.records[0].id).save(picture)
    run(finished, "wethink", "ask", "--image", str(picture), "--question", "describe the picture")

    folder = finished / "models/grpo"
    model = AutoModelForImageTextToText.from_pretrained(folder)
    tokenizer, processor = AutoTokenizer.from_pretrained(folder), AutoImageProcessor.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "describe the picture"}]}],
        tokenize=False,
        add_generation_prompt=True,
    )
    pixels = processor(images=[Image.open(picture)], return_tensors="pt")
    count = int(pixels["image_grid_thw"].prod()) // 4
    ids = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * count), return_tensors="pt")["input_ids"]
    kinds = (ids == tokenizer.convert_tokens_to_ids("<|image_pad|>")).int()
    with torch.no_grad():
        out = model.generate(input_ids=ids, mm_token_type_ids=kinds, max_new_tokens=4, **pixels)
    assert out.shape[1] > ids.shape[1]
    assert "think then answer" in text  # the chat template carries the system prompt


def test_ask_tells_a_users_mistake_in_a_sentence(finished: Path) -> None:
    said = run(finished, "wethink", "ask", "--image", "no.png", "--question", "how many", code=2)
    assert "no.png does not exist" in said and "Traceback" not in said
    (finished / "text.png").write_text("not an image")
    said = run(finished, "wethink", "ask", "--image", "text.png", "--question", "how many", code=2)
    assert "cannot be read as an image" in said and "Traceback" not in said


def test_no_reporting_scene_or_image_occurs_in_training(finished: Path) -> None:
    """On the produced files: by the hash of what is drawn, and by exact bytes."""
    held = {}
    for split in ("tuning", "reporting"):
        items = [json.loads(line) for line in (finished / f"data/drawn/items/{split}.jsonl").open()]
        held[split] = {item["scene"] for item in items} | {item["image"] for item in items}
    rows = [json.loads(line) for line in (finished / "data/valid/rows.jsonl").open()]
    described = [json.loads(line) for line in (finished / "data/valid/descriptions.jsonl").open()]
    used = {row["scene"] for row in rows} | {record["image"] for record in [*rows, *described]}
    assert used and not used & held["reporting"] and not used & held["tuning"]
    assert not held["tuning"] & held["reporting"]
