"""Label check of a source's own rows: most of them wrong stops it, an honest one passes, and unknown is not wrong."""

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks.promotion_gate.noisy_source import Dose, dosed, write_source, written
from tasks import ROOT
from tasks.tracking.lineage import _label_check as shown
from tests.retraining.test_new_source import DRAWN, bare, images_of, rows_of
from tests.support.chat_script import truth_of
from tests.support.chat_server import chat_server, stats
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.jsonl import Record, file_sha256, read_json
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.config.launch import Endpoint
from wethink.config.params import Params, load_params
from wethink.config.retraining import LabelCheck
from wethink.data.image_store import ImageSet
from wethink.data.ingest import ingest
from wethink.retraining.label_check import check_labels, sentence


@pytest.fixture(scope="module")
def params() -> Params:
    whole = load_params(ROOT / "params.yaml")
    return whole.model_copy(update={"retrain": whole.retrain.model_copy(update={"source": "digits"})})


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory, params: Params) -> tuple[Path, list[Record]]:
    """A source of 400 drawn images with their truth, ingested, and the rows that the annotator writes about them."""
    home = tmp_path_factory.mktemp("drawn")
    source = bare(home / "bare", truth=True, config=DRAWN.model_copy(update={"train": 400}))
    config = Ingest(sources=(Source(name="digits", kind="drawn"),), max_pixels=10**6, max_file_mb=5, shard_images=1000)
    (home / "images").mkdir()
    ingest(drawn=home / "bare/drawn", run=StageRun(config, out=home / "images", scratch=home, seed=0))
    rows = written(home / "bare/drawn", home / "images", "digits", params)
    for path in (source / "images").iterdir():
        path.rename(path.with_name(f"{file_sha256(path)}.png"))
    (home / "scratch").mkdir()
    images_of(source, home / "ingested", params, home / "scratch")
    return home, rows


def arrive(home: Path, rows: list[Record], out: Path, params: Params) -> Record:
    """The step `new_rows` of that source with these rows; its metrics."""
    write_source(home / "bare/source", rows)
    out.mkdir(exist_ok=True)
    rows_of(home / "bare/source", home / "ingested", out, params, home / "scratch")
    found: Record = read_json(out / "metrics.json")
    return found


@pytest.mark.parametrize("dose", [Dose(), Dose(wrong=0.3), Dose(letter=1.0)])
def test_a_source_whose_rows_are_mostly_right_passes_and_its_share_is_told(
    tmp_path: Path, drawn: tuple[Path, list[Record]], params: Params, dose: Dose
) -> None:
    home, rows = drawn
    given = dosed(rows, dose, 3)
    found = arrive(home, given, tmp_path / "rows", params)["label_check"]
    assert found["reader"] == "the embedded adjudicator" and found["unknown"] == 0 and found["rows"] > 300
    wrong = sum(row["answer"] != row["truth"] for row in given) / len(given)
    assert found["share"]["low"] - 0.1 < wrong < found["share"]["high"] < 0.5
    assert f"contradicted {found['contradicted']} of {found['rows']} rows" in shown(tmp_path / "rows/metrics.json")


def test_a_source_most_of_whose_answers_are_wrong_is_stopped_with_examples(
    tmp_path: Path, drawn: tuple[Path, list[Record]], params: Params
) -> None:
    home, rows = drawn
    given = dosed(rows, Dose(wrong=0.6), 3)
    with pytest.raises(UserError, match="label check stops this source") as refused:
        arrive(home, given, tmp_path / "rows", params)
    said = str(refused.value)
    assert said.startswith("source 'digits': ") and "retrain.label_check.max_contradicted allows 50%" in said
    assert sum(row["problem"][:40] in said for row in given) >= 3
    assert not (tmp_path / "rows/rows.jsonl").exists()


@pytest.mark.parametrize("how", ["no truth", "annotator: rows", "rows: 0"])
def test_where_nobody_can_look_nothing_is_claimed(
    tmp_path: Path, drawn: tuple[Path, list[Record]], params: Params, how: str
) -> None:
    home, rows = drawn
    source = shutil.copytree(home / "bare/source", tmp_path / "source")
    write_source(source, dosed(rows, Dose(wrong=0.6), 3))
    if how == "no truth":
        shutil.rmtree(source / "truth")
    elif how == "annotator: rows":
        own: dict[str, Any] = {"annotator": "rows", "rows": "some.jsonl"}
        params = params.model_copy(update={"synthesize": params.synthesize.model_copy(update=own)})
    else:
        none = params.retrain.model_copy(update={"label_check": LabelCheck(rows=0)})
        params = params.model_copy(update={"retrain": none})
    rows_of(source, home / "ingested", tmp_path, params, home / "scratch")
    found = read_json(tmp_path / "metrics.json")["label_check"]
    assert found["share"] is None and found["contradicted"] == 0 and found["rows"] == found["unknown"]
    assert shown(tmp_path / "metrics.json").startswith("nobody checked, ")


def test_questions_that_the_reader_does_not_know_and_answers_that_only_a_judge_can_check_are_not_held_against_a_source(
    drawn: tuple[Path, list[Record]], params: Params
) -> None:
    home, rows = drawn
    images = ImageSet(home / "ingested")
    given = [row | {"image": row["image_path"].removesuffix(".png")} for row in dosed(rows, Dose(wrong=1.0), 3)]
    given = [row | {"scene": row["image"], "source": "digits"} for row in given]
    more = (home / "bare/source", LabelCheck(rows=100), params.synthesize, params.rewards, params.launch, 0)
    strange = [row | {"problem": f"in this picture, {row['problem']}"} for row in given]
    assert check_labels(strange, images, *lenient(more))["unknown"] == 100
    judged = [row | {"reward": "model"} for row in given]
    found = check_labels(judged, images, *more)
    assert found["rows"] == 0 and found["judge_only"] == len(given)
    assert sentence(found) == f"nobody checked, {len(given)} rows only a judge can check"
    with pytest.raises(UserError, match="label check stops"):
        check_labels([row | {"reward": "rule"} for row in given], images, *more)


def lenient(more: Any) -> Any:
    """The same arguments with no limit to rows without a verdict."""
    return (more[0], more[1].model_copy(update={"max_unknown": 1.0}), *more[2:])


@pytest.mark.parametrize(("unread", "stopped"), [(0.0, False), (0.15, False), (0.3, True), (1.0, True)])
def test_a_source_whose_reader_has_no_verdict_on_too_many_rows_is_stopped_with_their_number(
    drawn: tuple[Path, list[Record]], params: Params, unread: float, stopped: bool
) -> None:
    home, rows = drawn
    right = [row | {"image": row["image_path"].removesuffix(".png"), "answer": row["truth"]} for row in rows]
    given = [row | {"scene": row["image"], "source": "digits"} for row in right if row["reward"] == "rule"][:300]
    strange = {row["id"] for row in given[: round(unread * len(given))]}
    given = [row | ({"problem": f"now, {row['problem']}"} if row["id"] in strange else {}) for row in given]
    sample = LabelCheck(rows=len(given))
    more = (home / "bare/source", sample, params.synthesize, params.rewards, params.launch, 0)
    found = check_labels(given, ImageSet(home / "ingested"), *lenient(more))
    assert found["unknown"] > 0 if unread else found["unknown"] == 0
    if found["unknown"] < found["rows"]:
        assert f"{found['unknown']} of {found['rows']} have no verdict" in sentence(found)
    if stopped:
        with pytest.raises(UserError, match=r"label_check\.max_unknown allows 20% without a verdict") as refused:
            check_labels(given, ImageSet(home / "ingested"), *more)
        assert str(found["rows"]) in str(refused.value)
    else:
        assert check_labels(given, ImageSet(home / "ingested"), *more) == found


def behind(url: str, folder: Path, params: Params) -> tuple[Any, Any]:
    """`synthesize` and `launch` with the team behind this server."""
    where = Endpoint.model_validate({"url": f"{url}/v1", "concurrency": 8, "deadline_seconds": 60.0, "attempts": 1})
    endpoints = dict.fromkeys(("vision", "reasoner", "adjudicator"), where)
    own = {"endpoints": endpoints, "answers": str(folder / "answers.sqlite")}
    return params.synthesize.model_copy(update={"annotator": "endpoints"}), params.launch.model_copy(update=own)


def test_models_behind_endpoints_look_once_and_contradict_what_is_wrong(
    tmp_path: Path, drawn: tuple[Path, list[Record]], params: Params
) -> None:
    home, _ = drawn
    images = ImageSet(home / "ingested")
    asked = [f"how many red things are there, not counting {number} of them ?" for number in range(80)]
    plain = {"category": "FIB", "reward": "rule", "kind": "imported FIB", "abilities": [], "source": "digits"}
    rows = [
        plain | {"id": str(n), "image": record.id, "scene": record.id, "problem": problem, "image_path": f"{n}.png"}
        for n, (record, problem) in enumerate(zip(images.records, asked, strict=False))
    ]
    right = [row | {"answer": truth_of(row["problem"])} for row in rows]
    wrong = [row | {"answer": str(int(row["answer"]) + 3)} for row in right]
    with chat_server(tmp_path) as url:
        synthesize, launch = behind(url, tmp_path, params)
        given = (images, tmp_path, LabelCheck(rows=60), synthesize, params.rewards, launch, 0)
        found = check_labels(right, *given)
        assert found["rows"] == 60 and found["unknown"] == 0 and found["share"]["high"] < 0.4
        bought = stats(url)["distinct"]
        assert bought == 60
        with pytest.raises(UserError, match=r"gemini-2.5-pro contradicted 60 of 60 rows"):
            check_labels(wrong, *given)
        assert stats(url)["distinct"] == bought, "the answers were bought twice"


def test_a_busy_server_is_no_reason_against_a_source_but_one_to_come_again(
    tmp_path: Path, drawn: tuple[Path, list[Record]], params: Params
) -> None:
    home, rows = drawn
    images = ImageSet(home / "ingested")
    record = images.records[0]
    row = rows[0] | {"image": record.id, "scene": record.id, "source": "digits", "reward": "rule", "kind": "imported"}
    with chat_server(tmp_path, status=503) as url:
        synthesize, launch = behind(url, tmp_path, params)
        with pytest.raises(UserError, match="failed for a passing reason") as refused:
            check_labels([row], images, tmp_path, LabelCheck(), synthesize, params.rewards, launch, 0)
        assert refused.value.exit_code == TRY_AGAIN_LATER
        patient = synthesize.model_copy(update={"max_failed": 1.0})
        found = check_labels([row], images, tmp_path, LabelCheck(max_unknown=1.0), patient, params.rewards, launch, 0)
        assert found["unknown"] == 1 and found["contradicted"] == 0 and found["share"] is None


@pytest.mark.parametrize(("status", "sentence"), [(402, "has no credit"), (400, "refuses every call")])
def test_a_reader_that_is_refused_to_everybody_stops_the_check_and_marks_no_row_unknown(
    tmp_path: Path, drawn: tuple[Path, list[Record]], params: Params, status: int, sentence: str
) -> None:
    home, rows = drawn
    images = ImageSet(home / "ingested")
    record = images.records[0]
    row = rows[0] | {"image": record.id, "scene": record.id, "source": "digits", "reward": "rule", "kind": "imported"}
    with chat_server(tmp_path, status=status, words="not today") as url:
        synthesize, launch = behind(url, tmp_path, params)
        with pytest.raises(UserError, match=rf"{sentence} .*HTTP {status}: “not today”"):
            check_labels([row], images, tmp_path, LabelCheck(), synthesize, params.rewards, launch, 0)


def test_rows_about_several_images_or_none_are_not_sampled_and_counted(
    tmp_path: Path, drawn: tuple[Path, list[Record]], params: Params
) -> None:
    """The reader is shown one image: rows that it cannot read must not stop a source as unreadable."""
    home, rows = drawn
    given = [row | {"image": row["image_path"].removesuffix(".png")} for row in dosed(rows, Dose(), 3)[:40]]
    known = [row | {"id": f"r{n}", "scene": row["image"], "source": "digits"} for n, row in enumerate(given)]
    others = [
        known[0] | {"id": f"o{n}", "images": [row["image"] for row in known[:2]] if n % 2 else []} for n in range(40)
    ]
    more = (home / "bare/source", LabelCheck(rows=100), params.synthesize, params.rewards, params.launch, 0)
    whole, mixed = (check_labels(part, ImageSet(home / "images"), *more) for part in (known, [*others, *known]))
    assert mixed == whole | {"unshown": 40} and whole["rows"] > 10  # one of each scene
    assert "40 rows about several images or none were not sampled" in sentence(mixed)
