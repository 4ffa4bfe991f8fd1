"""Held-out items are held out: no stage that makes or learns from rows reads them, whatever they say."""

import shutil
from pathlib import Path

import pytest

from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Draw, Ingest, Source
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize
from wethink.dag.main_stages import STAGES
from wethink.data.drawn import SOURCES
from wethink.data.drawn.draw import draw
from wethink.data.ingest import ingest
from wethink.synthesis.synthesize import synthesize

HELD_OUT = ("tuning", "reporting")
LEARNERS = ("validate", "base", "sft", "grpo")


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    config = Draw(
        sources=("scenes", "charts", "digits"),
        image_size=56,
        pretrain=12,
        train=30,
        tuning=12,
        reporting=12,
        questions_per_image=1,
    )
    draw(run=StageRun(config, out=folder, scratch=folder, seed=0))
    return folder


def rows_of(drawn: Path, folder: Path) -> bytes:
    """What ingest and synthesize make of the drawn sources."""
    images, rows = folder / "images", folder / "rows"
    images.mkdir(parents=True)
    rows.mkdir()
    sources = tuple(Source(name=name, kind="drawn") for name in SOURCES)
    settings = Ingest(sources=sources, max_pixels=10**6, max_file_mb=5, shard_images=1000)
    ingest(drawn=drawn, run=StageRun(settings, out=images, scratch=folder, seed=0))
    config = Synthesize.model_validate(
        {
            "annotator": "embedded",
            "rows": None,
            "embedded": {"error_rate": 0.1, "hurry_rate": 0.3, "slip_rate": 0.05},
            "questions_per_image": 2,
            "path_share": 0.5,
            "agreement": True,
            "adjudication": True,
        }
    )
    rewards = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")
    synthesize(images=images, drawn=drawn, rewards=rewards, run=StageRun(config, out=rows, scratch=folder, seed=0))
    return b"".join((rows / name).read_bytes() for name in ("rows.jsonl", "rejected.jsonl", "descriptions.jsonl"))


def without_held_out_truth(drawn: Path, copy: Path, splits: tuple[str, ...]) -> Path:
    """A copy of the drawn sources without held-out items, and without the truth of the named splits."""
    shutil.copytree(drawn, copy)
    shutil.rmtree(copy / "items")
    for path in (copy / "truth").glob("*.jsonl"):
        write_jsonl(path, [record for record in list(read_jsonl(path)) if record["split"] not in splits])
    return copy


def test_rows_are_the_same_without_held_out_items_and_their_truth(drawn: Path, tmp_path: Path) -> None:
    stripped = without_held_out_truth(drawn, tmp_path / "stripped", HELD_OUT)
    assert rows_of(stripped, tmp_path / "without") == rows_of(drawn, tmp_path / "with")


def test_a_reader_of_removed_truth_is_caught(drawn: Path, tmp_path: Path) -> None:
    stripped = without_held_out_truth(drawn, tmp_path / "stripped", (*HELD_OUT, "train"))
    with pytest.raises(Exception, match="is not one that we drew"):
        rows_of(stripped, tmp_path / "without")


def test_what_learns_sees_published_rows_and_images_only() -> None:
    allowed = {STAGES[name].out for name in ("ingest", "synthesize", *LEARNERS)}
    for name in LEARNERS:
        assert set(STAGES[name].inputs.values()) <= allowed, f"{name} reads what holds truth or held-out items"
    after = list(STAGES)[list(STAGES).index("evaluate") :]
    for name, stage in STAGES.items():
        if name not in after:
            assert not set(stage.inputs.values()) & {STAGES[later].out for later in after}, (
                "nothing learns from figures"
            )
