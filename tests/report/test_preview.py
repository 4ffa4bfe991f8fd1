"""Preview: what a person sees is how the rows will be read, and it costs seconds."""

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks import ROOT
from tests.data.tables.test_sources_with_rows import jsonl_of, pictures
from tests.support.browser import opened
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Columns, Ingest, Source
from wethink.config.params import Params, load_params
from wethink.data.image_store import GIVEN_ROWS, ImageSet
from wethink.data.ingest import ingest
from wethink.report.preview import lines, preview


def params_of(*sources: Source, **synthesize: Any) -> Params:
    whole = load_params(ROOT / "profiles" / "tiny.yaml")
    changed = whole.synthesize.model_copy(update=synthesize)
    return whole.model_copy(
        update={"ingest": whole.ingest.model_copy(update={"sources": sources}), "synthesize": changed}
    )


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A table of fifty rows about three pictures, nine of which cannot be used."""
    home = tmp_path / "mine"
    pictures(home)
    rows = [{"image": f"photos/{n % 3}.png", "question": f"what is {n} <b> ?", "answer": n} for n in range(41)]
    rows += [{"image": "photos/0.png", "question": f"or {n} ?", "answer": None} for n in range(5)]
    rows += [{"image": f"photos/gone{n}.png", "question": "where ?", "answer": "x"} for n in range(4)]
    return jsonl_of(home / "qa.jsonl", rows)


def test_a_preview_counts_what_will_be_kept_and_names_what_will_not(table: Path, tmp_path: Path) -> None:
    found = preview(params_of(Source(name="mine", kind="dataset", path=str(table))), tmp_path, tmp_path)
    [source] = read_json(tmp_path / "preview.json")["sources"]
    assert (source["rows"], source["kept"], source["images"]) == (50, 41, 3)
    assert source["columns"] == {
        "qa.jsonl": "image=image (guessed), question=question (guessed), answer=answer (guessed)"
    }
    assert {entry["reason"]: entry["count"] for entry in source["dropped"]} == {
        "no answer": 5,
        "its image cannot be used: missing": 4,
    }
    assert all(entry["remedy"] for entry in source["dropped"]) and len(source["shown"]) == 10
    shown = lines(found, tmp_path, 80, 24)
    assert len(shown) <= 24 and all(len(line) <= 80 for line in shown)
    assert any("set grpo.start: base" in note for note in found["notes"])


def test_too_few_rows_and_held_out_pictures_are_told_before_a_run(table: Path, tmp_path: Path) -> None:
    source = Source(name="mine", kind="dataset", path=str(table), reporting=0.5)
    notes = preview(params_of(source), tmp_path, tmp_path)["notes"]
    assert not any("several different answers" in note for note in notes)
    assert any("41 rows can be used, fewer than validate.min_rows (200)" in note for note in notes)
    [held] = [note for note in notes if "are held out" in note]
    assert "about 2 to evaluate by, and fewer than 30 measure little: raise `reporting`" in held
    none = source.model_copy(update={"reporting": 0.0})
    assert not any("held out" in note for note in preview(params_of(none), tmp_path, tmp_path)["notes"])


def test_rows_that_held_out_scenes_take_with_them_are_not_counted_as_left(table: Path, tmp_path: Path) -> None:
    """As `ingest` draws the lots: a source of a few scenes may lose far more, or fewer, rows than its share."""
    source = Source(name="mine", kind="dataset", path=str(table), reporting=0.5)
    config = Ingest(sources=(source,), max_pixels=10**6, max_file_mb=5, shard_images=100)
    params, told = params_of(source), 0
    rules = params.validate_.model_copy(update={"min_rows": 41})
    for seed in range(6):
        home = tmp_path / str(seed)
        for name in ("out", "scratch"):
            (home / name).mkdir(parents=True)
        ingest(drawn=home, run=StageRun(config, out=home / "out", scratch=home / "scratch", seed=seed))
        train = {record.id for record in ImageSet(home / "out").records if record.split == "train"}
        left = sum(row["image"] in train and not row.get("fault") for row in read_jsonl(home / "out" / GIVEN_ROWS))
        notes = preview(params.model_copy(update={"validate_": rules, "seed": seed}), home, home)["notes"]
        said = any(f"About {left} of the 41 rows are left to train on" in note for note in notes)
        assert said == (left < 41), (seed, left, notes)
        told += said
    assert told


def test_an_animation_and_a_table_in_the_projects_folder_are_told(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    pictures(tmp_path)
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "photos/moving.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "photos/broken.tif").write_bytes(b"II*\0" + b"x" * 40)
    names = ("0.png", "moving.gif", "broken.tif")
    rows = [{"image": f"photos/{name}", "question": "what ?", "answer": ["x", "y"]} for name in names]
    jsonl_of(tmp_path / "qa.jsonl", rows)
    found = preview(params_of(Source(name="mine", kind="dataset", path="qa.jsonl")), tmp_path, tmp_path)
    assert found["sources"][0]["images_dropped"] == {"animated": 1, "damaged": 1} and found["totals"]["kept"] == 1
    assert found["sources"][0]["dropped"][0]["remedy"].startswith("`animated: first` at the source")
    assert any("1 rows have several different answers" in note for note in found["notes"])
    assert any("qa.jsonl lies in the project's own folder" in note for note in found["notes"])


def test_the_page_shows_rows_with_their_pictures_as_text(table: Path, tmp_path: Path) -> None:
    preview(params_of(Source(name="mine", kind="dataset", path=str(table))), tmp_path, tmp_path)
    with opened(tmp_path / "preview.html") as (page, said):
        assert page.locator("h1").inner_text() == "41 of 50 given rows can be used."
        assert page.locator("td img").count() == 10 and page.locator("td b").count() == 0
        assert page.evaluate("[...document.images].every(image => image.naturalWidth > 0)")
        assert "no answer" in page.locator("table").first.inner_text()
        assert not said


def test_a_preview_of_a_file_of_rows_finds_the_images_of_its_folder(tmp_path: Path) -> None:
    pictures(tmp_path / "mine")
    (tmp_path / "qa.csv").write_text("photo,text,label\n0.png,what ?,red\n9.png,what ?,red\n")
    params = params_of(
        Source(name="mine", kind="folder", path=str(tmp_path / "mine" / "photos")),
        annotator="rows",
        rows=str(tmp_path / "qa.csv"),
        columns=Columns(question="text"),
    )
    folder, file = preview(params, tmp_path, tmp_path)["sources"]
    assert (folder["images"], folder["rows"], file["rows"], file["kept"]) == (3, 0, 2, 1)
    assert file["dropped"][0]["reason"] == "image_path names no ingested image"


def test_rows_about_several_images_and_about_none_are_counted_shown_and_joined(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    pictures(home)
    rows: list[dict[str, Any]] = [
        {"image": f"photos/{n % 3}.png", "question": f"what is {n} ?", "answer": n} for n in range(30)
    ]
    rows += [{"image": ["photos/2.png", "photos/1.png"], "question": f"same {n} ?", "answer": n} for n in range(3)]
    rows += [{"image": None, "question": f"{n} + 1 ?", "answer": n} for n in range(40)]
    source = Source(name="mine", kind="dataset", path=str(jsonl_of(home / "qa.jsonl", rows)), reporting=0.5)
    found = preview(params_of(source), tmp_path, tmp_path)
    [mine] = found["sources"]
    assert (mine["kept"], mine["about_several"], mine["about_none"]) == (73, 3, 40)
    assert sorted(row["images"] for row in mine["shown"]) == [0, 0, *[1] * 6, 2, 2]
    assert all(len(row["pictures"]) == row["images"] for row in mine["shown"])
    [held] = [note for note in found["notes"] if "are held out" in note]
    assert "rows about several join 2 images into 1" in held and "about 21 to evaluate by" in held  # 2 + 40 scenes
    shown = "\n".join(lines(found, tmp_path, 200, 40))
    assert "3 about several images; 40 about none" in shown and "(2 images)" in shown and "(no images)" in shown


def test_columns_that_no_guess_fits_are_named_with_what_is_missing(tmp_path: Path) -> None:
    pictures(tmp_path / "mine")
    (tmp_path / "mine/qa.csv").write_text("picture,text,label\nphotos/0.png,what ?,red\n")
    found = preview(
        params_of(Source(name="mine", kind="dataset", path=str(tmp_path / "mine/qa.csv"))), tmp_path, tmp_path
    )
    assert found["sources"][0]["note"] == (
        "no column looks like the question, so only the images are read; name one in columns.question (others: text)"
    )
    assert any(
        "That annotator reads drawn images only, so `synthesize` would stop at: mine." in n for n in found["notes"]
    )


def test_an_answer_that_a_program_wrote_for_a_gap_is_told(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    pictures(home)
    answers = ["nan", "N/A", "3"]
    rows = [{"image": "photos/0.png", "question": f"{n} ?", "answer": answer} for n, answer in enumerate(answers)]
    source = Source(name="mine", kind="dataset", path=str(jsonl_of(home / "qa.jsonl", rows)))
    notes = preview(params_of(source), tmp_path, tmp_path)["notes"]
    assert any(note.startswith("2 rows have an answer such as 'nan'") for note in notes)


def test_every_dropped_row_is_counted_on_the_terminal(tmp_path: Path) -> None:
    home = tmp_path / "mine"
    pictures(home)
    bad: list[dict[str, Any]] = [
        {"answer": None},
        {"question": None},
        {"image": "photos/9.png"},
        {"question": "<image> <image> ?"},
    ]
    rows = [{"image": "photos/0.png", "question": "what ?", "answer": 1} | change for change in ({}, *bad)]
    source = Source(name="mine", kind="dataset", path=str(jsonl_of(home / "qa.jsonl", rows)))
    shown = "\n".join(lines(preview(params_of(source), tmp_path, tmp_path), tmp_path, 200, 40))
    assert "1 of 5 rows" in shown and "dropped: 2 for 2 other reasons (the page has them)" in shown


def test_a_mapped_column_that_is_missing_is_one_sentence(table: Path, tmp_path: Path) -> None:
    source = Source(name="mine", kind="dataset", path=str(table), columns=Columns(answer="reply"))
    with pytest.raises(UserError, match=r"sources\[0\]\.columns\.answer: qa\.jsonl has no column 'reply'"):
        preview(params_of(source), tmp_path, tmp_path)


def test_drawn_sources_need_no_preview_and_are_named(tmp_path: Path) -> None:
    found = preview(params_of(Source(name="scenes", kind="drawn")), tmp_path, tmp_path)
    assert "drawn by" in found["sources"][0]["note"] and json.dumps(found)
    assert not any("held out" in note for note in found["notes"]), "draw has split them"
