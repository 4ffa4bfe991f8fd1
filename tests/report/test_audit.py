"""The audit page: what a person judges and writes is in the file, and the estimate counts a correction as an error."""

import json
from pathlib import Path

import pytest

from tests.export.test_export import home
from tests.support.browser import opened
from wethink.common.jsonl import write_json
from wethink.curation.verdicts import read_verdicts
from wethink.report.audit import estimate, sample

__all__ = ["home"]


def test_the_page_saves_verdicts_and_corrections_that_validate_reads(home: Path) -> None:
    count = sample(home / "images", home / "valid", home / "audit.html", 4, 0)
    with opened(home / "audit.html") as (page, said):
        page.click("[data-verdict=corrected]")
        assert page.inner_text("#count").endswith("0 judged"), "a correction without an answer was taken"
        page.fill("#correction", " 42 car ")
        page.press("#correction", "Enter")
        page.keyboard.press("r")
        page.keyboard.press("a")
        page.reload()
        assert page.inner_text("#count").endswith("3 judged"), "verdicts were lost with the page"
        with page.expect_download() as download:
            page.click("#save")
        download.value.save_as(home / "verdicts.json")
    assert not said
    rows = json.loads((home / "verdicts.json").read_text())["rows"]
    assert [row["verdict"] for row in rows] == ["corrected", "reject", "accept", ""][:count]
    verdicts = read_verdicts([home / "verdicts.json"])
    [first] = verdicts[rows[0]["id"]]
    assert (first.correction, first.answer) == ("42 car", rows[0]["answer"]) and len(verdicts) == 3
    found = estimate(home / "verdicts.json", home / "audit.json")
    assert found["error"]["n"] == 3 and found["open"] == count - 3


def test_a_corrected_row_is_an_error(tmp_path: Path) -> None:
    rows = [{"id": str(n), "stratum": "a", "verdict": v} for n, v in enumerate(("accept", "corrected", "unsure"))]
    write_json(tmp_path / "v.json", {"sample": "s", "population": {"a": 9}, "rows": rows})
    assert estimate(tmp_path / "v.json", tmp_path / "out.json")["error"]["value"] == pytest.approx(0.5)
