"""Given rows: paths serve SFT, answers GRPO; nothing is lost in silence; own columns and categories stay."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.test_ingest import encoded, photo, run
from tests.synthesis.test_pipeline import REWARDS, settings
from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Columns, Source
from wethink.config.rewards import RewardFunction
from wethink.data.image_store import ImageSet
from wethink.data.schema import split_train_rows
from wethink.rewards.functions import Call, FunctionProcess
from wethink.synthesis.import_rows import declared, import_rows
from wethink.synthesis.paths import divide_paths
from wethink.synthesis.rejections import unusable
from wethink.synthesis.synthesize import synthesize


def source(tmp_path: Path, rows: list[dict[str, Any]]) -> ImageSet:
    home = tmp_path / "mine"
    home.mkdir()
    for n in range(4):
        (home / f"{n}.png").write_bytes(encoded(photo(n)))
    write_jsonl(home / "qa.jsonl", rows)
    return run(tmp_path, Source(name="mine", kind="dataset", path=str(home / "qa.jsonl")))[1]


def written(tmp_path: Path, images: ImageSet, **changes: Any) -> list[dict[str, Any]]:
    out = tmp_path / f"rows{len(list(tmp_path.glob('rows*')))}"
    out.mkdir()
    stage = StageRun(settings(**changes), out=out, scratch=tmp_path, seed=0)
    synthesize(images=images.folder, drawn=tmp_path, rewards=REWARDS, run=stage)
    return list(read_jsonl(out / "rows.jsonl"))


def pairs(count: int, with_path: int) -> list[dict[str, Any]]:
    return [
        {
            "image": f"{n % 4}.png",
            "question": f"how many of {n} ?",
            "answer": n,
            "cot": "I see it" if n < with_path else "",
        }
        for n in range(count)
    ]


def test_a_path_is_for_sft_and_a_row_without_one_for_grpo_whatever_path_share_says(tmp_path: Path) -> None:
    rows = written(tmp_path, source(tmp_path, pairs(20, 8)), annotator="rows", rows=None, path_share=0.0)
    sft, grpo = split_train_rows(rows)  # type: ignore[arg-type]
    assert (len(sft), len(grpo)) == (8, 12)


def test_where_all_rows_have_a_path_path_share_divides_and_no_path_is_lost(tmp_path: Path) -> None:
    rows = written(tmp_path, source(tmp_path, pairs(20, 20)), annotator="rows", rows=None, path_share=0.5)
    sft, grpo = split_train_rows(rows)  # type: ignore[arg-type]
    assert sft and grpo and len(sft) + len(grpo) == 20
    assert all(row["columns"]["refined_cot"] == "I see it" for row in grpo)


def test_rows_that_sources_bring_are_used_whatever_the_annotator(tmp_path: Path) -> None:
    rows = written(tmp_path, source(tmp_path, pairs(6, 0)), annotator="embedded")
    assert len(rows) == 6 and {row["provenance"]["given"] for row in rows} == {"mine/qa.jsonl"}


def test_an_annotator_of_rows_without_any_says_where_they_may_come_from(tmp_path: Path) -> None:
    home = tmp_path / "plain"
    home.mkdir()
    (home / "0.png").write_bytes(encoded(photo()))
    images = run(tmp_path, Source(name="plain", kind="folder", path=str(home)))[1]
    with pytest.raises(UserError, match=r"there are none: name a file in synthesize\.rows, or a source whose table"):
        written(tmp_path, images, annotator="rows", rows=None)


def test_rows_of_which_none_can_be_used_fail_with_the_reason_and_the_remedy(tmp_path: Path) -> None:
    rows = [one | {"answer": None} for one in pairs(9, 0)]
    with pytest.raises(UserError, match=r"none of the 9 rows is usable; most often: no answer \(9\)\. Name the column"):
        written(tmp_path, source(tmp_path, rows), annotator="rows", rows=None)


def test_the_sentence_names_the_commonest_reason_first() -> None:
    found = [{"reason": "no question"}, {"reason": "empty answer"}, {"reason": "empty answer"}]
    assert unusable(found).startswith(
        "none of the 3 rows is usable; most often: empty answer (2); no question (1). Name"
    )


def test_a_file_in_any_form_finds_ingested_images_by_their_names(tmp_path: Path) -> None:
    images = source(tmp_path, pairs(4, 0))
    names = list(read_jsonl(images.folder / "names.jsonl"))
    (tmp_path / "more.csv").write_text(
        "Bild,Frage,Antwort\n0.png,what ?,red\nmine/1.png,what ?,blue\nqa.jsonl#3,what ?,x\n"
    )
    columns = Columns(image="Bild", question="Frage", answer="Antwort")
    found = import_rows(tmp_path / "more.csv", images.records, names, columns)
    assert [row["reason"] for row in found] == [None] * 3 and len({row["image"] for row in found}) == 3


def test_own_categories_and_routes_are_taken_as_they_are(tmp_path: Path) -> None:
    functions = (
        RewardFunction(function="mine.py:schema", route="json"),
        RewardFunction(function="mine.py:short", categories=("LETTER",)),
    )
    row = {"image": "0.png", "question": "what ?", "answer": "{}", "reward": "json", "category": "LETTER"}
    images = source(tmp_path, pairs(4, 0))
    names = list(read_jsonl(images.folder / "names.jsonl"))
    path = tmp_path / "own.jsonl"
    path.write_text(json.dumps(row) + "\n" + json.dumps(row | {"reward": "xml", "question": "else ?"}))
    first, second = import_rows(path, images.records, names, own=declared(functions))
    assert (first["reason"], first["category"], first["reward"]) == (None, "LETTER", "json")
    assert second["reason"] == "unknown reward 'xml'"


def test_a_reward_function_gets_the_users_columns_beside_the_rows_keys(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "def same(page, answers, rows):\n    return [float(p == int(a)) for p, a in zip(page, answers)]\n"
    )
    row = {"problem": "q", "answer": "3", "category": "FIB", "reward": "rule", "columns": {"page": 7, "answer": "no"}}
    process = FunctionProcess(RewardFunction(function="mine.py:same"))
    try:
        assert process.score([Call("<answer>7</answer>", "7", row)]) == [(1.0, "")]
    finally:
        process.close()


def test_paths_of_a_pretrain_image_are_kept_in_the_columns() -> None:
    row = {"reason": None, "split": "pretrain", "refined_cot": "seen", "image": "a", "decisions": {"path": "kept"}}
    assert divide_paths([row], lambda image: True) is None
    assert row["refined_cot"] == "" and row["columns"] == {"refined_cot": "seen"}
