"""Verdicts of persons: rejected rows leave, corrected answers enter and are checked, conflicts are told."""

import json
from pathlib import Path
from typing import Any

import pytest

from tasks import ROOT
from tests.curation.test_validate import CONFIG, good, run
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_json
from wethink.config.params import load_params
from wethink.curation.verdicts import read_verdicts
from wethink.dag.runner import own_files

__all__ = ["run"]
MC = {"category": "MC", "problem": "which ? A red B blue", "answer": "A", "abilities": ["reasoning", "spatial"]}


def file(folder: Path, *rows: dict[str, Any], name: str = "verdicts.json") -> str:
    write_json(folder / name, {"rows": list(rows)})
    return str(folder / name)


def judged(verdict: str, row: dict[str, Any], correction: str = "", **changes: Any) -> dict[str, Any]:
    return {"id": row["id"], "verdict": verdict, "answer": row["answer"], "correction": correction} | changes


def test_rejected_rows_leave_corrected_answers_enter_and_the_counts_add_up(
    run: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [good(number) for number in range(12)]
    rows[2] |= MC
    rows[3] |= MC
    given = file(
        tmp_path,
        judged("accept", rows[0]),
        judged("reject", rows[1]),
        judged("corrected", rows[2], "blue"),
        judged("corrected", rows[3], "green"),
        judged("corrected", rows[4], "7"),
        judged("unsure", rows[5]),
        judged("", rows[6]),
        judged("reject", rows[7], answer="another"),
        judged("reject", rows[8]),
        judged("accept", rows[8]),
        judged("reject", rows[9], id="gone"),
        judged("corrected", rows[10], rows[10]["answer"], answer="what it was"),
    )
    plain = run(rows)
    out = run(rows, CONFIG.model_copy(update={"verdicts": (given,)}), "judged")
    before = {row["id"]: row for row in read_jsonl(plain / "rows.jsonl")}
    after = {row["id"]: row for row in read_jsonl(out / "rows.jsonl")}
    curated = {row["id"]: row["reason"] for row in read_jsonl(out / "curated.jsonl")}
    quarantined = {row["id"]: row["reasons"] for row in read_jsonl(out / "quarantine.jsonl")}
    assert curated == {rows[1]["id"]: "rejected by a person"}
    assert list(quarantined) == [rows[3]["id"]], "a corrected answer is checked like any other"
    assert set(before) == set(after) | set(curated) | set(quarantined)
    assert (after[rows[2]["id"]]["answer"], after[rows[4]["id"]]["answer"]) == ("B", "7")
    assert all(after[rows[n]["id"]]["refined_cot"] == "" != before[rows[n]["id"]]["refined_cot"] for n in (2, 4))
    assert after[rows[4]["id"]]["decisions"]["corrected"] == rows[4]["answer"]
    assert all(after[row["id"]] == before[row["id"]] for row in rows if rows.index(row) not in (1, 2, 3, 4))
    metrics = read_json(out / "metrics.json")
    assert metrics["rows"] == metrics["kept"] + metrics["quarantined"] + sum(metrics["curated"].values()) == 12
    assert metrics["verdicts"] == {
        **{"accept": 2, "reject": 1, "corrected": 3, "unsure": 1},
        **{"contradictory": 1, "answer has changed since": 1, "no such row": 1},
    }
    said = capsys.readouterr().err
    assert "verdicts about 10 rows" in said and f"1 contradictory (first: {rows[8]['id']})" in said
    assert "1 no such row (first: gone)" in said and "verdicts" not in read_json(plain / "metrics.json")


def test_two_persons_who_agree_do_not_contradict_and_two_who_correct_differently_do(tmp_path: Path) -> None:
    row = good(0)
    first = file(tmp_path, judged("corrected", row, "5"), name="a.json")
    same = file(tmp_path, judged("corrected", row, " 5 "), name="b.json")
    other = file(tmp_path, judged("corrected", row, "6"), name="c.json")
    assert len(read_verdicts([Path(first), Path(same)])[row["id"]]) == 1
    assert len(read_verdicts([Path(first), Path(other)])[row["id"]]) == 2


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[]", "holds no verdicts"),
        ('{"rows": 3}', "holds no verdicts"),
        ('{"rows": [3]}', "has no id"),
        ('{"rows": [{"id": 3}]}', "has no id"),
        ('{"rows": [{"id": "a", "verdict": "fine"}]}', r"row a: verdict 'fine' is none of accept, reject"),
        ('{"rows": [{"id": "a", "verdict": "corrected", "correction": " "}]}', r"row a: .* has no correction"),
    ],
)
def test_a_file_that_holds_no_verdicts_is_refused_by_name(tmp_path: Path, text: str, fault: str) -> None:
    (tmp_path / "v.json").write_text(text)
    with pytest.raises(UserError, match=rf"v\.json.*{fault}"):
        read_verdicts([tmp_path / "v.json"])


def test_dvc_versions_the_file_with_the_stage(tmp_path: Path) -> None:
    params = load_params(ROOT / "profiles/tiny.yaml")
    name = file(tmp_path)
    judging = params.validate_.model_copy(update={"verdicts": (name,)})
    assert own_files("validate", params.model_copy(update={"validate_": judging})) == [name]
    assert json.loads(Path(name).read_text()) == {"rows": []}
