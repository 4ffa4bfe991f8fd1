"""No silent pass: a stage that made nothing usable fails, and a missing input names what makes it."""

import json
from pathlib import Path

import pytest

from tasks import ROOT
from tests.data.test_ingest import encoded, photo
from wethink.common.errors import UserError
from wethink.common.jsonl import write_json, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Source
from wethink.config.params import Params, load_params
from wethink.dag import runner
from wethink.dag.all_stages import EXTRA_STAGES
from wethink.dag.main_stages import STAGES
from wethink.dag.stage import Stage
from wethink.evaluation.evaluate import refuse_unreadable


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Params:
    """The tiny profile, in a folder of its own with three photos."""
    monkeypatch.chdir(tmp_path)
    Path("photos").mkdir()
    Path("data/drawn/images").mkdir(parents=True)
    for n in range(3):
        Path("photos", f"{n}.png").write_bytes(encoded(photo(n)))
    loaded = load_params(ROOT / "profiles" / "tiny.yaml")
    mine = Source(name="mine", kind="folder", path="photos")
    return loaded.model_copy(update={"ingest": loaded.ingest.model_copy(update={"sources": (mine,)})})


def with_rows(params: Params, *rows: dict) -> Params:
    write_jsonl(Path("rows.jsonl"), rows)
    changed = params.synthesize.model_copy(update={"annotator": "rows", "rows": "rows.jsonl"})
    return params.model_copy(update={"synthesize": changed})


ROW = {
    "problem": "which ? A red B blue", "answer": "B", "category": "MC", "abilities": ["a"], "refined_cot": "x",
    "image_path": "0.png", "reward": "rule",
}  # fmt: skip


def test_ingest_without_a_usable_image_fails_and_publishes_nothing(params: Params) -> None:
    for path in Path("photos").iterdir():
        path.write_bytes(b"words")
    with pytest.raises(UserError, match=r"no usable image: not an image \(3\)"):
        runner.run_stage("ingest", params)
    assert not Path("data/images").exists()


def test_synthesize_without_a_row_fails_with_the_reasons_and_publishes_nothing(params: Params) -> None:
    runner.run_stage("ingest", params)
    bad = with_rows(params, ROW | {"image_path": "9.png"}, ROW | {"image_path": "8.png"}, ROW | {"answer": ""})
    with pytest.raises(
        UserError,
        match=r"none of the 3 rows.*image_path names no ingested image \(2\); empty answer \(1\)\. Write each",
    ):
        runner.run_stage("synthesize", bad)
    assert not Path("data/rows").exists()
    assert runner.run_stage("synthesize", with_rows(params, ROW))["kept"] == 1  # mended: it goes on


def test_the_images_that_all_failed_are_reasons_too() -> None:
    metrics = {"kept": 0, "rejected": {}, "failed": {}, "image_outcomes": {"failed": {"describe: HTTP 418": 240}}}
    with pytest.raises(UserError, match=r"describe: HTTP 418 \(240\)"):
        runner._refuse_empty("synthesize", STAGES["synthesize"], metrics, Path("x"))


@pytest.mark.parametrize("name", ["synthesize", "validate", "ingest", "union_valid", "new_images"])
@pytest.mark.parametrize("metrics", [{}, {"kept": 0, "images": 0, "samples": 0}])
def test_every_stage_that_hands_on_data_declares_what_it_must_yield(name: str, metrics: dict) -> None:
    with pytest.raises(UserError, match=f"stage '{name}' made nothing usable"):
        runner._refuse_empty(name, (STAGES | EXTRA_STAGES)[name], metrics, Path("x"))


def idle(*, run: StageRun) -> dict:
    """A stage that ends well and makes nothing."""
    write_json(run.out / "metrics.json", {"things": int(Path("busy").exists())})
    return {}


def test_a_stage_that_made_nothing_is_not_taken_for_finished(params: Params, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Stage("a toy", "tests.dag.test_nothing_made:idle", "draw", {}, "toy", yields="things")
    monkeypatch.setattr(runner, "EXTRA_STAGES", {"toy": toy})
    for _ in range(2):
        with pytest.raises(UserError, match="made nothing usable"):
            runner.run_stage("toy", params, once=True)
    Path("busy").touch()
    assert runner.run_stage("toy", params, once=True) == {"things": 1}


def test_an_evaluation_that_judged_nothing_fails_with_the_reasons() -> None:
    unknown = {"verdict": "unknown", "reason": "the judge gave no score"}
    with pytest.raises(UserError, match=r"none of 3 responses could be judged: the judge gave no score \(3\)"):
        refuse_unreadable([unknown] * 3)
    refuse_unreadable([unknown, {"verdict": "wrong", "reason": ""}])


@pytest.mark.parametrize(
    ("stage", "sentence"),
    [
        ("sft", "data/images is missing: run `dvc repro ingest`"),
        ("new_images", "retrain/source is missing: `python -m flows.retrain` puts it"),
        ("union", "retrain/old is missing: `python -m flows.retrain` puts it"),
        ("union_valid", "retrain/union/images is missing: run `python -m wethink retrain union`"),
    ],
)
def test_a_missing_input_names_what_makes_it(stage: str, sentence: str, params: Params) -> None:
    with pytest.raises(UserError, match=sentence):
        runner.run_stage(stage, params)


def test_no_stage_is_blamed_for_what_it_does_not_make() -> None:
    stages = STAGES | EXTRA_STAGES
    for path in {path for stage in stages.values() for path in stage.inputs.values()}:
        advice = runner._advice(path)
        named = [name for name in stages if advice.startswith("run ") and f" {name}`" in advice]
        assert all(Path(path).is_relative_to(stages[name].out) for name in named), (path, advice)
        assert named or "flows." in advice, (path, advice)


def test_the_command_ends_with_another_exit_code_than_zero(
    params: Params, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    from wethink.cli import main

    runner.run_stage("ingest", params)
    bad = with_rows(params, ROW | {"category": "riddle"})
    Path("params.yaml").write_text(json.dumps(bad.model_dump(mode="json", by_alias=True)), encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["wethink", "synthesize"])
    monkeypatch.setattr(main, "die_with_owners", lambda: None)
    assert main.main() == 2
    shown = capsys.readouterr().err.strip().splitlines()[-1]
    assert shown.startswith("wethink synthesize: none of the 1 rows is usable") and "riddle" in shown
