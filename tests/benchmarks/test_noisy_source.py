"""The sources of `make gate`: as much is wrong as is said, the truth stays behind, and every row can be followed."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.promotion_gate import arm as arm_module
from benchmarks.promotion_gate import null_rate
from benchmarks.promotion_gate.noisy_source import Dose, dosed, write_source, written, wrong
from benchmarks.promotion_gate.page import NEVER, gate_page
from benchmarks.promotion_gate.study import table
from tasks import ROOT
from tests.retraining.test_new_source import DRAWN, bare, images_of, rows_of
from tests.support.evaluations import ITEM
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, file_sha256, read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.config.params import Params, load_params
from wethink.data.ingest import ingest
from wethink.data.schema import RELEASED_KEYS


@pytest.fixture(scope="module")
def params() -> Params:
    whole = load_params(ROOT / "params.yaml")
    return whole.model_copy(update={"retrain": whole.retrain.model_copy(update={"source": "digits"})})


@pytest.fixture
def rows(tmp_path: Path, params: Params) -> list[Record]:
    """What the annotator writes about two dozen drawn images."""
    bare(tmp_path / "bare", truth=False)
    config = Ingest(sources=(Source(name="digits", kind="drawn"),), max_pixels=10**6, max_file_mb=5, shard_images=1000)
    (tmp_path / "images").mkdir()
    ingest(drawn=tmp_path / "bare/drawn", run=StageRun(config, out=tmp_path / "images", scratch=tmp_path, seed=0))
    return written(tmp_path / "bare/drawn", tmp_path / "images", "digits", params)


def test_a_dose_is_as_wrong_as_it_says_and_holds_every_smaller_one(rows: list[Record]) -> None:
    shares = (0.15, 0.3, 0.6)
    made = [dosed(rows, Dose(wrong=share), 3) for share in shares]
    for share, found in zip(shares, made, strict=True):
        assert len(wrong(found)) == round(share * len(rows)) > 0
        assert [row["id"] for row in found] == [row["id"] for row in rows]
    assert wrong(dosed(rows, Dose(), 3)) < wrong(made[0]) < wrong(made[1]) < wrong(made[2])
    assert wrong(made[1]) != wrong(dosed(rows, Dose(wrong=0.3), 4)), "which ones depends on the seed"
    with pytest.raises(UserError, match="annotator itself"):
        dosed(made[1], Dose(wrong=0.1), 3)


def test_a_bias_touches_multiple_choice_only_and_gives_the_letter(rows: list[Record]) -> None:
    found = dosed(rows, Dose(letter=1.0), 3)
    assert {row["answer"] for row in found if row["category"] == "MC"} == {"A"}
    others = [row["answer"] for row in rows if row["category"] != "MC"]
    assert [row["answer"] for row in found if row["category"] != "MC"] == others
    assert 0 < len(wrong(found)) < len(found)


def test_a_blind_source_is_true_and_its_questions_give_the_answer_away(rows: list[Record]) -> None:
    found = dosed(rows, Dose(blind=True), 3)
    assert 5 < len(found) < len(rows) and not wrong(found)
    answers: dict[tuple[str, str], set[str]] = {}
    for row in found:
        answers.setdefault((row["kind"], row["category"]), set()).add(row["answer"])
    assert len(answers) > 2 and {len(given) for given in answers.values()} == {1}
    assert all(row["category"] != "MC" for row in found), "one letter for every choice is stopped by validation"


def test_shuffled_images_are_others_of_the_source_and_the_truth_is_that_of_the_image_shown(rows: list[Record]) -> None:
    found = dosed(rows, Dose(shuffled=True), 3)
    assert len(found) == len(rows) == len({row["id"] for row in found})
    assert all(a["image_path"] != b["image_path"] for a, b in zip(rows, found, strict=True))
    assert {row["image_path"] for row in found} <= {f"{name}" for name in {row["image_path"] for row in rows}} | {
        row["moved"]["image_path"] for row in rows
    }
    assert [(r["problem"], r["answer"]) for r in found] == [(r["problem"], r["answer"]) for r in rows]
    assert len(wrong(found)) > len(rows) / 3, "most questions have another answer about another image"
    for row in found:
        assert row["id"] == content_id(row["image_path"].removesuffix(".png"), row["problem"])


def test_an_arm_is_decided_with_its_controls_and_each_is_asked_once(
    tmp_path: Path, params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.support.miniature import policy
    from wethink.models.policy import save_policy

    bare(tmp_path / "bare", truth=True, config=DRAWN.model_copy(update={"train": 0, "reporting": 24}))
    monkeypatch.chdir(tmp_path)
    config = Ingest(sources=(Source(name="digits", kind="drawn"),), max_pixels=10**6, max_file_mb=5, shard_images=1000)
    union = tmp_path / "retrain/union"
    for name in ("images", "items"):
        (union / name).mkdir(parents=True)
    ingest(drawn=tmp_path / "bare/drawn", run=StageRun(config, out=union / "images", scratch=tmp_path, seed=0))
    items = list(read_jsonl(tmp_path / "bare/drawn/items/reporting.jsonl"))
    items = [item | {"source": "scenes"} if n % 2 else item for n, item in enumerate(items)]
    write_jsonl(union / "items/reporting.jsonl", items)
    for seed, folder in enumerate((tmp_path / "main" / arm_module.CHAMPION, tmp_path / "retrain/challenger")):
        model, processor = policy(seed)
        save_policy(model, None, processor, folder, "card")
    small = {"evaluate": params.evaluate.model_copy(update={"max_new_tokens": 4})}
    decided = arm_module._decided([], params.model_copy(update=small), tmp_path / "main", tmp_path)
    assert not decided["decision"]["promoted"] and decided["truth"]["new"]["champion"] <= 0.2
    asked = sorted(path.name for path in (tmp_path / "answers").glob("*.jsonl"))
    assert asked == [f"0-challenger-t0.0-{pixels}.jsonl" for pixels in ("blank", "shuffled", "true")]
    assert all(len(list(read_jsonl(tmp_path / "answers" / name))) == len(items) for name in asked)

    moved = [item | {"id": f"moved {item['id']}"} for item in items[:6]]  # a shuffled source has other questions
    write_jsonl(union / "items/reporting.jsonl", [*items[6:], *moved])
    shutil.rmtree(tmp_path / "answers")
    kept = tmp_path / "champion/0-champion-t0.0-true.jsonl"
    before = list(read_jsonl(kept))
    arm_module._decided([], params.model_copy(update=small), tmp_path / "main", tmp_path)
    after = list(read_jsonl(kept))
    assert after[: len(before)] == before and [record["id"] for record in after[len(before) :]] == [
        item["id"] for item in moved
    ]


def test_only_the_source_that_its_reader_cannot_know_goes_unread_to_the_gate(
    tmp_path: Path, rows: list[Record]
) -> None:
    (tmp_path / "main").mkdir()
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "main/params.yaml")
    sampled = {}
    for arm in arm_module.DOSES:
        folder = arm_module._laid_out(arm, rows[:5], tmp_path / "main", tmp_path)
        sampled[arm] = load_params(folder / "params.yaml").retrain.label_check.rows
    assert sampled.pop("shuffled") == 0 and min(sampled.values()) > 0


def test_the_champions_held_out_items_are_asked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(arm_module, "SOURCE", "another")
    bare(tmp_path / "bare", truth=True, config=DRAWN.model_copy(update={"train": 0, "reporting": 24}))
    data = tmp_path / "main/data"
    (data / "images").mkdir(parents=True)
    (tmp_path / "bare/drawn").rename(data / "drawn")
    config = Ingest(sources=(Source(name="digits", kind="drawn"),), max_pixels=10**6, max_file_mb=5, shard_images=1000)
    ingest(drawn=data / "drawn", run=StageRun(config, out=data / "images", scratch=tmp_path, seed=0))
    (data / "valid").mkdir()
    write_jsonl(data / "valid/rows.jsonl", [])
    shutil.copyfile(ROOT / "params.yaml", tmp_path / "main/params.yaml")
    write_jsonl(tmp_path / "source.jsonl", [])
    arm_module.prepare(tmp_path / "main", tmp_path)
    items = [item["id"] for item in read_jsonl(tmp_path / "old/items/reporting.jsonl")]
    assert items and sorted(items) == sorted(item["id"] for item in read_jsonl(data / "drawn/items/reporting.jsonl"))


def test_the_source_tells_nothing_of_the_truth_and_import_gives_its_rows_the_ids_that_are_followed(
    tmp_path: Path,
    rows: list[Record],
    params: Params,
) -> None:
    source = tmp_path / "source"
    write_source(source, dosed(rows, Dose(wrong=0.6), 3))
    assert all(set(row) == set(RELEASED_KEYS) for row in read_jsonl(source / "rows.jsonl"))
    (source / "images").mkdir()
    for path in (tmp_path / "bare/source/images").iterdir():
        (source / "images" / f"{file_sha256(path)}.png").write_bytes(path.read_bytes())
    (tmp_path / "scratch").mkdir()
    images_of(source, tmp_path / "ingested", params, tmp_path / "scratch")
    rows_of(source, tmp_path / "ingested", tmp_path / "rows", params, tmp_path / "scratch")
    imported = {r["id"] for name in ("rows", "items") for r in read_jsonl(tmp_path / f"rows/{name}.jsonl")}
    assert imported == {row["id"] for row in rows}
    assert all(row["slip"] != row["truth"] for row in rows)


def test_the_table_says_what_filters_caught_apart_from_what_the_gate_decided() -> None:
    change = {"mean": 0.05, "low": 0.01, "high": -0.02}
    group = {"name": "source scenes", "passed": False}
    nothing = {name: {"rows": 0, "wrong": 0} for name in ("import", "expectations", "curation", "stopped")}
    truth = {part: {"change": change} for part in ("old", "new")}
    arm: dict[str, Any] = {"arm": "wrong_30", "seed": 1, "stopped": None, "truth": truth}
    arm["label_check"] = {"reader": None, "rows": 0, "unknown": 0, "contradicted": 0, "share": None}
    arm["source"] = {"rows": 100, "wrong": 30, "filters": nothing | {"curation": {"rows": 5, "wrong": 2}}}
    seen = {"part": "new", "comparisons": [{"passed": True}, {"passed": False}], "answers": [{"passed": True}]}
    old = {"part": "old", "comparisons": [{"passed": True}], "answers": [{"passed": True}]}
    arm["decision"] = {"promoted": False, "gain": change, "p": 0.2, "level": 0.004, "groups": [group]}
    arm["decision"] |= {"image_use": [old, seen]}
    stopped = arm | {
        "arm": "letter_100",
        "stopped": {"by": "validation", "reason": "too many A"},
        "decision": None,
        "truth": None,
    }
    lines = table({"arms": [arm, stopped], "equals": None}).splitlines()
    assert "| 30 of 100 | 2 (3 right ones lost) | +5.0 [+1.0, −2.0] | 0.2 |" in lines[2]
    assert "| refused: no gain shown, source scenes, form, not source (new) |" in lines[2]
    assert "stopped by validation" in lines[3]
    promises = {"useful_promoted": {"promoted": 2, "of": 3}}
    promises |= {f"{name}_promoted": {"promoted": 0, "of": 3} for name in NEVER}
    assert set(NEVER) == set(arm_module.NEVER) <= set(arm_module.DOSES)
    page = gate_page({"arms": [arm, stopped], "equals": None, "promises": promises})
    assert "<td>–</td>\n<td>2 + 3</td>" in page
    assert page.count("<svg") == 3 and "too many A" in page and "images shuffled among its rows: in 0 of 3." in page


def test_equals_are_compared_fairly_and_one_that_is_better_would_show(
    params: Params, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = np.random.default_rng(5)
    hard = {(source, scene): rng.random() for source in ("scenes", "digits") for scene in range(60)}
    rounds = [
        {
            f"{source} {scene} {n}": {
                "id": f"{source} {scene} {n}",
                "scene": f"{source} {scene}",
                "source": source,
                "category": "FIB",
                "verdict": "correct" if rng.random() < chance else "wrong",
            }
            for (source, scene), chance in hard.items()
            for n in range(3)
        }
        for _ in range(null_rate.SAMPLINGS)
    ]
    monkeypatch.setattr(null_rate, "RESAMPLES", 300)
    rounds = [
        {item: ITEM | {"answer": "3", "extracted": item} | record for item, record in found.items()} for found in rounds
    ]
    gold = {item: str(n % 23) for n, item in enumerate(sorted(rounds[0]))}
    rounds = [{item: record | {"answer": gold[item]} for item, record in found.items()} for found in rounds]
    blind = {"verdict": "wrong", "extracted": "-1"}
    controls = [{i: r | blind | {"pixels": pixels} for i, r in rounds[0].items()} for pixels in ("blank", "shuffled")]
    one, other = null_rate.resampled(rounds, "digits", np.random.default_rng(0))
    assert [r["id"] for r in one] == [r["id"] for r in other] and len({r["id"] for r in one}) == len(one) == 360
    assert any(a["verdict"] != b["verdict"] for a, b in zip(one, other, strict=True)), "two answers, not one twice"
    assert null_rate.equals(rounds, controls, "digits", params.promotion, trials=30)["promoted"] <= 3
    plain = null_rate.resampled

    def favoured(*given: Any) -> Any:  # the mutant: of each pair the challenger has the better answer
        one, other = plain(*given)
        true = zip(one, other[:: len(controls) + 1], strict=True)
        pairs = [sorted(pair, key=lambda r: str(r["verdict"]), reverse=True) for pair in true]
        rest = [record for record in other if record["pixels"] != "true"]
        return [worse for worse, _ in pairs], [better for _, better in pairs] + rest

    monkeypatch.setattr(null_rate, "resampled", favoured)
    assert null_rate.equals(rounds, controls, "digits", params.promotion, trials=10)["promoted"] == 10
