"""Unanswerable questions: never about an image that may answer, every chosen row counted, and measured."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tasks import ROOT
from tests.curation.test_validate import CONFIG
from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.curation.unanswerable import swap
from wethink.curation.validate import validate
from wethink.data.image_store import SCHEMA
from wethink.data.schema import ITEM_KEYS, Item, Row, split_train_rows
from wethink.evaluation.evaluate import evaluate_checkpoints
from wethink.rewards.hybrid import check

PARAMS = load_params(ROOT / "profiles/tiny.yaml")


def row(number: int, source: str, **changes: Any) -> Row:
    made: dict[str, Any] = {
        "id": f"{source}{number:04d}",
        "image": f"{source}-image{number % 20}",
        "image_path": f"{source}/{number % 20}.png",
        "source": source,
        "split": "train",
        "scene": f"{source}-scene{number % 10}",
        "kind": "written FIB",
        "problem": f"what is written on sign {number} of the {source} ?",
        "answer": f"word {number}",
        "category": "FIB",
        "abilities": ["reasoning", "ocr"],
        "refined_cot": "I read it",
        "reward": "rule",
        "provenance": {"annotator": "rows"},
        "decisions": {"path": "kept"},
        "columns": {"note": 1},
    }
    return made | changes  # type: ignore[return-value]


ROWS = [row(number, source) for number in range(100) for source in ("roads", "shops")]


def test_the_share_is_asked_about_images_that_cannot_answer_and_the_rows_stay() -> None:
    found = swap(ROWS, 0.2, 0)
    by_id = {one["id"]: one for one in ROWS}
    assert 20 < len(found.made) == found.counts["made"] < 60
    assert len({made["id"] for made in found.made} | set(by_id)) == len(found.made) + 200
    for made in found.made:
        origin = by_id[made["provenance"]["row"]]
        assert made["problem"] == origin["problem"] and made["source"] != origin["source"]
        assert made["scene"] != origin["scene"] and made["image_path"].startswith(made["source"])
        assert (made["refined_cot"], made["kind"], made["reward"]) == ("", "unanswerable", "rule")
        assert "columns" not in made and made["provenance"]["image"] == origin["image"]
        good, bad = (
            check(said, made["problem"], made["answer"], made["category"], made["reward"], 0.0).outcome
            for said in ("not enough information", origin["answer"])
        )
        assert (good, bad) == ("correct", "wrong")
    assert swap(ROWS, 0.2, 0) == found and swap(ROWS, 0.2, 1) != found
    assert swap(ROWS, 0.0, 0).made == [] and swap(ROWS, 0.0, 0).counts == {}
    assert swap([], 0.5, 0).made == []


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"category": "DES", "reward": "model"}, "not checked by rules"),
        ({"images": ["a", "b"]}, "not about one image"),
        ({"images": []}, "not about one image"),
        ({"answer": "yes"}, "answered by yes or no"),
        ({"category": "MC", "problem": "Is it ?\nA. yes\nB. no", "answer": "A"}, "answered by yes or no"),
        ({"abilities": ["reasoning", "counting"]}, "can be asked of any image"),
        ({"problem": "How many signs hang left of the door ?"}, "can be asked of any image"),
        ({"problem": "What colour is the background ?"}, "can be asked of any image"),
        ({"answer": "unanswerable"}, "can be declined already"),
        ({"category": "MC", "problem": "Which ?\nA. red\nB. none of these", "answer": "A"}, "can be declined already"),
    ],
)
def test_a_question_that_another_image_may_answer_is_not_made_and_counted(changes: dict[str, Any], reason: str) -> None:
    rows = [row(number, "roads", **changes) for number in range(50)] + ROWS
    found = swap(rows, 1.0, 0)
    assert found.counts[reason] == 50 and sum(found.counts.values()) == len(rows)


def test_a_question_that_the_other_source_asks_too_is_not_put_to_it() -> None:
    rows = [row(number, source, problem="what is written on the door ?") for number in range(9) for source in "ab"]
    rows += [row(number, "c") for number in range(5)]
    found = swap(rows, 1.0, 0)
    assert all(made["source"] == "c" for made in found.made if made["problem"] == "what is written on the door ?")
    assert found.counts["the same question about the same image"] + found.counts["made"] == len(rows)


def test_a_scene_that_spans_two_sources_is_not_swapped_into_itself() -> None:
    rows = [row(0, "a", scene="x"), row(1, "b", scene="x"), row(2, "b", scene="y")]
    made = [swap([one | {"id": f"{n}{one['id']}"} for one in rows], 1.0, n).made for n in range(40)]  # type: ignore[misc]
    assert {m["image"] for some in made for m in some if m["provenance"]["image"].startswith("a")} == {"b-image2"}


def test_one_source_alone_cannot_be_swapped_and_says_so() -> None:
    with pytest.raises(UserError, match=r"validate\.unanswerable is 0\.5, and none of \d+ .* images of two sources"):
        swap([row(number, "roads") for number in range(40)], 0.5, 0)


def records(items: list[Item], answers: dict[str, str], pixels: str) -> list[dict[str, Any]]:
    """Records of a pass: what was said to each item by id; its answer where nothing else is named."""
    fixed = {"checkpoint": "grpo", "temperature": 0.0, "pixels": pixels, "reason": "", "tokens": 3, "strict": True}
    found = []
    for item in items:
        said = answers.get(item["id"], item["answer"])
        verdict = check(said, item["problem"], item["answer"], item["category"], item["reward"], 0.0).outcome
        found.append({**item, **fixed, "extracted": said, "response": said, "verdict": verdict})
    return found


def test_held_out_items_are_swapped_in_the_same_share_and_measured_apart(tmp_path: Path) -> None:
    """Every pass has been made; `evaluate` divides its records."""
    for name in ("images", "items", "out"):
        (tmp_path / name).mkdir()
    known = [
        {"id": image, "source": source, "cluster": scene, "origin": image, "split": "reporting"}
        | {"bytes": b"", "width": 1, "height": 1}
        for image, source, scene in sorted({(one["image"], one["source"], one["scene"]) for one in ROWS})
    ]
    pq.write_table(pa.Table.from_pylist(known, SCHEMA), tmp_path / "images" / "shard-00000.parquet")
    items: list[Item] = [{key: one[key] for key in ITEM_KEYS} for one in ROWS]  # type: ignore[literal-required, misc]
    write_jsonl(tmp_path / "items" / "reporting.jsonl", items)
    swapped = swap(items, 0.3, 0).made
    assert 30 < len(swapped) < 90 and set(swapped[0]) == set(ITEM_KEYS)
    astray = {one["id"]: "red" for one in swapped[::4]}
    astray |= {one["id"]: "cannot be answered" for one in items[:20]}
    passes = {"grpo-t0.0-true": [*items, *swapped], "grpo-t0.0-blank": items, "grpo-t0.0-shuffled": items}
    for name, asked in passes.items():
        write_jsonl(tmp_path / f"{name}.jsonl", records(asked, astray, name.rpartition("-")[2]))
    config = PARAMS.evaluate.model_copy(update={"temperatures": (0.0,), "bootstrap": 50})
    run = StageRun(config, out=tmp_path / "out", scratch=tmp_path, seed=0)
    given = (tmp_path / "images", tmp_path, PARAMS.rewards, PARAMS.launch, run, None, 0.3)
    found = evaluate_checkpoints({"grpo": tmp_path}, *given)
    apart = found["unanswerable"]
    assert apart["items"] == len(swapped) and apart["grpo"]["refused"] == 0.1
    assert apart["grpo"]["accuracy"] == pytest.approx(1 - len(swapped[::4]) / len(swapped), abs=1e-5)
    assert found["items"] == 200 and found["grpo"]["accuracy"] == 0.9, "refusals count among the answerable items"
    assert "unanswerable" not in found["kinds"]
    assert len(list(read_jsonl(tmp_path / "out" / "unanswerable.jsonl"))) == len(swapped)
    assert all(record["kind"] != "unanswerable" for record in read_jsonl(tmp_path / "out" / "items.jsonl"))


def test_validate_adds_them_behind_the_checks_and_counts_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("images", "rows", "off", "on"):
        (tmp_path / name).mkdir()
    known = [
        {"id": image, "source": source, "cluster": scene, "origin": image, "split": "train"}
        | {"bytes": b"", "width": 1, "height": 1}
        for image, source, scene in sorted({(one["image"], one["source"], one["scene"]) for one in ROWS})
    ]
    pq.write_table(pa.Table.from_pylist(known, SCHEMA), tmp_path / "images" / "shard-00000.parquet")
    write_jsonl(tmp_path / "rows" / "rows.jsonl", ROWS)
    write_jsonl(tmp_path / "rows" / "descriptions.jsonl", [])
    for name, share in (("off", 0.0), ("on", 0.2)):
        run = StageRun(
            CONFIG.model_copy(update={"unanswerable": share}), out=tmp_path / name, scratch=tmp_path / "s", seed=0
        )
        metrics = validate(images=tmp_path / "images", rows=tmp_path / "rows", run=run)
        assert ("unanswerable" in metrics) == bool(share) and metrics["kept"] == 200
    off, on = (list(read_jsonl(tmp_path / name / "rows.jsonl")) for name in ("off", "on"))
    assert on[:200] == off and {one["kind"] for one in on[200:]} == {"unanswerable"}
    assert len(on) - 200 == metrics["unanswerable"]["made"] > 20
    assert f"{len(on) - 200} unanswerable rows are made by swapping images." in capsys.readouterr().err
    _, grpo = split_train_rows(on)
    assert {one["id"] for one in on[200:]} <= {one["id"] for one in grpo}
