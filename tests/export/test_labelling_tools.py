"""Labelling tools: rows go out and verdicts come back, by round trip and from exports of the documented form."""

import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from PIL import Image

from tests.export.test_export import ROWS, home
from wethink.cli.main import parser
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json, write_jsonl
from wethink.curation.verdicts import VERDICTS, read_verdicts
from wethink.export.labelling_tools import export_rows, import_verdicts

__all__ = ["home"]


def annotated(task: dict[str, Any], verdict: str | None, correction: str = "", **changes: Any) -> dict[str, Any]:
    """A task as Label Studio exports it: https://labelstud.io/guide/task_format."""
    fixed = {"to_name": "image", "source": "$image", "origin": "manual"}
    result = []
    if verdict:
        result.append({**fixed, "id": "a1", "from_name": "verdict", "type": "choices", "value": {"choices": [verdict]}})
    if correction:
        value = {"text": [correction]}
        result.append({**fixed, "id": "a2", "from_name": "correction", "type": "textarea", "value": value})
    annotation = {"id": 1001, "result": result, "was_cancelled": False, "ground_truth": False, "lead_time": 4.2}
    annotation |= {"created_at": "2026-11-30T08:00:00.1Z", "task": 1, "completed_by": 10, **changes}
    meta = {"id": 1, "project": 83, "created_at": "2026-11-30T07:00:00.1Z", "predictions": [], "meta": {}}
    return {**meta, "data": task["data"], "annotations": [annotation]}


def test_rows_about_several_images_or_none_are_left_out_and_counted(home: Path) -> None:
    first, second, *others = ROWS
    several = {key: value for key, value in first.items() if key != "image"} | {"images": [ROWS[0]["image"]] * 2}
    none = {key: value for key, value in second.items() if key != "image"} | {"images": []}
    write_jsonl(home / "valid/rows.jsonl", [several, none, *others])
    counts = export_rows("fiftyone", home / "images", home / "valid", home / "out", None, 0)
    assert counts["rows"] == len(others) and counts["left_out"] == 2


def test_label_studio_opens_the_rows_and_its_export_comes_back_as_verdicts(home: Path) -> None:
    counts = export_rows("label-studio", home / "images", home / "valid", home / "out/tool", None, 0)
    tasks = read_json(home / "out/tool/tasks.json")
    assert counts == {"rows": len(ROWS), "images": len({row["image"] for row in ROWS}), "left_out": 0}
    assert [task["data"]["id"] for task in tasks] == [row["id"] for row in ROWS]
    for task, row in zip(tasks, ROWS, strict=True):
        root, _, path = task["data"]["image"].partition("?d=")
        assert root == "/data/local-files/" and Image.open(home / "out" / path).size == (40, 30)
        assert all(task["data"][key] == row[key] for key in ("problem", "answer", "refined_cot", "category"))
    view = ElementTree.fromstring((home / "out/tool/config.xml").read_text(encoding="utf-8"))
    used = {tag.get("value", "")[1:] for tag in view.iter() if tag.get("value", "").startswith("$")}
    assert used <= set(tasks[0]["data"]), "the interface shows what no task has"
    assert [choice.get("value") for choice in view.iter("Choice")] == list(VERDICTS)
    done = [
        annotated(tasks[0], "accept"),
        annotated(tasks[1], "corrected", " 42 "),
        annotated(tasks[2], "reject"),
        annotated(tasks[3], "reject", was_cancelled=True),
        annotated(tasks[4], None),
        {**tasks[5], "annotations": []},
    ]
    done[2]["annotations"] += annotated(tasks[2], "accept")["annotations"]
    write_json(home / "export.json", done)
    counts = import_verdicts(home / "export.json", home / "verdicts.json")
    assert counts == {"read": 6, "open": 3, "accept": 2, "corrected": 1, "reject": 1}
    verdicts = read_verdicts([home / "verdicts.json"])
    assert set(verdicts) == {"r0", "r1", "r2"} and len(verdicts["r2"]) == 2, "two annotators who differ are both told"
    [corrected] = verdicts["r1"]
    assert (corrected.verdict, corrected.answer, corrected.correction) == ("corrected", "1", "42")


def test_fiftyone_opens_the_rows_and_its_export_comes_back_as_verdicts(home: Path) -> None:
    export_rows("fiftyone", home / "images", home / "valid", home / "fo", None, 0)
    samples = read_json(home / "fo/samples.json")["samples"]
    assert "version" not in read_json(home / "fo/metadata.json"), "a version binds it to one release"
    assert [sample["row"] for sample in samples] == [row["id"] for row in ROWS]
    for sample in samples:
        assert Image.open(home / "fo" / sample["filepath"]).size == (40, 30)
        assert not any(key == "id" or key.startswith("_") for key in sample), "FiftyOne keeps these for itself"
        assert all(isinstance(value, (str, list)) for value in sample.values())
    # As FiftyOne exports them: ids of its own, a class and a media type, fields beside ours.
    own = {"_media_type": "image", "_rand": 0.5, "metadata": None}
    judged = [{"_id": {"$oid": f"{n:024x}"}, **own, **sample} for n, sample in enumerate(samples)]
    judged[0]["tags"] = ["accept", "seen"]
    judged[1] |= {"tags": ["corrected"], "correction": "42"}
    judged[2]["tags"] = ["reject"]
    (home / "back").mkdir()
    write_json(home / "back/samples.json", {"samples": judged})
    counts = import_verdicts(home / "back", home / "verdicts.json")
    assert counts == {"read": len(ROWS), "open": len(ROWS) - 3, "accept": 1, "corrected": 1, "reject": 1}
    [corrected] = read_verdicts([home / "verdicts.json"])["r1"]
    assert (corrected.verdict, corrected.answer, corrected.correction) == ("corrected", "1", "42")


def test_a_sample_is_stratified_and_a_folder_is_replaced(home: Path) -> None:
    for count in (3, 2):
        export_rows("fiftyone", home / "images", home / "valid", home / "fo", count, 0)
        assert len(read_json(home / "fo/samples.json")["samples"]) == count
    assert not (home / ".fo.publishing").exists()
    with pytest.raises(UserError, match="no rows about one image to export"):
        export_rows("fiftyone", home / "images", home / "valid", home / "fo", 0, 0)


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ({"rows": []}, "neither Label Studio's JSON"),
        ([], "none of 0 entries has a verdict"),
        ({"samples": []}, "none of 0 entries has a verdict"),
        ([3], "entry 1: it is no row"),
        ([{"data": {"image": "x"}, "annotations": [{"result": [{"from_name": "tag"}]}]}], "entry 1: it is no row"),
        ({"samples": [{"filepath": "x", "tags": ["accept"]}]}, "entry 1: it is no row"),
        ([annotated({"data": {"id": "r1", "answer": "1"}}, "maybe")], "entry 1: it is no row"),
        ([annotated({"data": {"id": "r1", "answer": "1"}}, "corrected")], "row r1: it is corrected, but nobody"),
    ],
)
def test_what_is_no_such_export_is_refused_in_a_sentence(tmp_path: Path, value: Any, fault: str) -> None:
    (tmp_path / "export.json").write_text(json.dumps(value))
    with pytest.raises(UserError, match=rf"export\.json.*{fault}"):
        import_verdicts(tmp_path / "export.json", tmp_path / "verdicts.json")
    assert not (tmp_path / "verdicts.json").exists()


def test_the_commands_exist() -> None:
    assert parser().parse_args(["export", "label-studio", "--rows", "9"]).rows == 9
    assert parser().parse_args(["audit", "import", "x.json"]).out == Path("data/verdicts.json")
