"""A source that arrives without rows: who may annotate it, what becomes of every row, and nothing is bought twice."""

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tasks import ROOT
from tasks.tracking.lineage import writers
from tests.support.chat_server import chat_server, stats
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Draw
from wethink.config.launch import Endpoint
from wethink.config.params import Params, load_params
from wethink.curation.validate import validate
from wethink.data.drawn.draw import draw
from wethink.retraining import new_source
from wethink.synthesis import api_run


@pytest.fixture(scope="module")
def params() -> Params:
    whole = load_params(ROOT / "params.yaml")
    return whole.model_copy(update={"retrain": whole.retrain.model_copy(update={"source": "new"})})


def images_of(source: Path, out: Path, params: Params, scratch: Path) -> None:
    """The step `new_images`."""
    out.mkdir(exist_ok=True)
    new_source.new_images(
        source=source, retrain=params.retrain, run=StageRun(params.ingest, out=out, scratch=scratch, seed=0)
    )


def rows_of(source: Path, images: Path, out: Path, params: Params, scratch: Path) -> None:
    """The step `new_rows`."""
    out.mkdir(exist_ok=True)
    new_source.new_rows(
        source=source,
        images=images,
        synthesize=params.synthesize,
        rewards=params.rewards,
        launch=params.launch,
        run=StageRun(params.retrain, out=out, scratch=scratch, seed=0),
    )


DRAWN = Draw(sources=("digits",), image_size=56, pretrain=0, train=24, tuning=0, reporting=0, questions_per_image=1)


def bare(folder: Path, truth: bool, config: Draw = DRAWN) -> Path:
    """A source of drawn images without rows; with their truth, as the drawer writes it, or without."""
    drawn, source = folder / "drawn", folder / "source"
    for part in (drawn, source / "images"):
        part.mkdir(parents=True)
    draw(run=StageRun(config, out=drawn, scratch=folder, seed=7))
    for number, row in enumerate(pq.read_table(drawn / "images/digits.parquet")["image"].to_pylist()):
        (source / "images" / f"{number}.png").write_bytes(row["bytes"])
    if truth:
        shutil.copytree(drawn / "truth", source / "truth")
    return source


def test_a_source_without_rows_is_annotated_held_out_images_too_and_passes_the_same_validation(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    source = bare(tmp_path, truth=True)
    for name in ("scratch", "valid"):
        (tmp_path / name).mkdir()
    images_of(source, tmp_path / "images", params, tmp_path / "scratch")
    rows_of(source, tmp_path / "images", tmp_path / "rows", params, tmp_path / "scratch")
    counts = read_json(tmp_path / "rows/metrics.json")
    assert counts["candidates"] == counts["rows"] + counts["items"] + counts["rejected"]
    rows, items = (list(read_jsonl(tmp_path / f"rows/{name}.jsonl")) for name in ("rows", "items"))
    assert len(rows) > 15 and len(items) > 3 and {bool(row["refined_cot"]) for row in rows} == {True, False}
    assert not {row["scene"] for row in rows} & {item["scene"] for item in items}
    write_jsonl(tmp_path / "rows/descriptions.jsonl", [])  # a union has them
    limits = params.validate_.model_copy(update={"min_rows": 5, "max_answer_share": 1.0})
    found = validate(
        images=tmp_path / "images",
        rows=tmp_path / "rows",
        run=StageRun(limits, out=tmp_path / "valid", scratch=tmp_path / "scratch", seed=0),
    )
    assert found["quarantined"] == 0 and found["kept"] + sum(found["curated"].values()) == len(rows)


def test_photos_without_rows_need_models_to_annotate_them(tmp_path: Path, params: Params) -> None:
    source = bare(tmp_path, truth=False)
    (tmp_path / "scratch").mkdir()
    images_of(source, tmp_path / "images", params, tmp_path / "scratch")
    with pytest.raises(UserError, match=r"set synthesize\.annotator to 'endpoints'"):
        rows_of(source, tmp_path / "images", tmp_path / "rows", params, tmp_path / "scratch")


def test_models_behind_endpoints_annotate_a_source_and_are_not_asked_twice(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api_run, "LEDGER", tmp_path / "ledger.json")
    source = bare(tmp_path, truth=False)
    (tmp_path / "scratch").mkdir()
    with chat_server(tmp_path) as url:
        where = Endpoint.model_validate({"url": f"{url}/v1", "concurrency": 8, "deadline_seconds": 60.0})
        endpoints = dict.fromkeys(("vision", "reasoner", "adjudicator"), where)
        own = {"endpoints": endpoints, "answers": str(tmp_path / "answers.sqlite")}
        asked = params.model_copy(
            update={
                "synthesize": params.synthesize.model_copy(update={"annotator": "endpoints"}),
                "launch": params.launch.model_copy(update=own),
            }
        )
        images_of(source, tmp_path / "images", params, tmp_path / "scratch")
        rows_of(source, tmp_path / "images", tmp_path / "rows", asked, tmp_path / "scratch")
        bought = stats(url)["distinct"]
        rows_of(source, tmp_path / "images", tmp_path / "again", asked, tmp_path / "scratch")
        assert stats(url)["distinct"] == bought
    counts = read_json(tmp_path / "rows/metrics.json")
    assert counts["candidates"] == counts["rows"] + counts["items"] + counts["rejected"] and counts["rows"] > 3
    assert (tmp_path / "rows/rows.jsonl").read_bytes() == (tmp_path / "again/rows.jsonl").read_bytes()
    written = writers(read_jsonl(tmp_path / "rows/rows.jsonl"))
    assert any(line.startswith("reason by ") and ", prompt " in line for line in written), written


def test_rows_are_checked_before_any_image_is_read(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "source" / "images").mkdir(parents=True)
    (tmp_path / "source" / "images" / "0.png").write_bytes(b"never read")
    monkeypatch.setattr(new_source, "ingest", lambda **_: pytest.fail("images were read"))
    rows = [
        {"problem": "what ?", "answer": None, "image_path": "0.png"},
        {"problem": "?", "answer": "x", "image_path": "1"},
    ]
    write_jsonl(tmp_path / "source" / "rows.jsonl", rows)
    with pytest.raises(UserError, match=r"source 'new': none of the 2 rows is usable.*Mend rows\.jsonl and close"):
        images_of(tmp_path / "source", tmp_path / "images", params, tmp_path / "scratch")


def test_a_row_of_a_source_needs_no_path(tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = bare(tmp_path, truth=False)
    rows = [{"question": "how many ?", "answer": n, "image": f"{n}.png"} for n in range(24)]
    write_jsonl(source / "rows.jsonl", rows)
    images_of(source, tmp_path / "images", params, tmp_path / "scratch")
    rows_of(source, tmp_path / "images", tmp_path / "rows", params, tmp_path / "scratch")
    counts = read_json(tmp_path / "rows/metrics.json")
    assert counts["candidates"] == 24 and counts["rejected"] == 0 and counts["rows"] + counts["items"] == 24
