"""The audit: what a person judges and writes is in the file; rows without a verdict are counted and shown."""

import json
from pathlib import Path

import pytest

from tests.export.test_export import home
from tests.support.browser import opened
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json
from wethink.curation.verdicts import read_verdicts
from wethink.report.audit import counts, estimate, sample

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
    found = estimate(home / "verdicts.json", home / "audit.json", 1.0)
    assert found["error"]["n"] == 3 and found["open"] == count - 3


def test_a_corrected_row_is_an_error(tmp_path: Path) -> None:
    rows = [{"id": str(n), "stratum": "a", "verdict": v} for n, v in enumerate(("accept", "corrected", "unsure"))]
    write_json(tmp_path / "v.json", {"sample": "s", "population": {"a": 9}, "rows": rows})
    assert estimate(tmp_path / "v.json", tmp_path / "out.json", 1.0)["error"]["value"] == pytest.approx(0.5)


POPULATION = {"charts, MC": 300, "photos, FIB": 100, "photos, MC": 2}


def saved(folder: Path, verdicts: list[str]) -> Path:
    """A file as the page saves it: these verdicts, three of four in the first stratum."""
    strata = ["charts, MC", "charts, MC", "charts, MC", "photos, FIB"]
    rows = [{"id": str(n), "stratum": strata[n % 4], "verdict": verdict} for n, verdict in enumerate(verdicts)]
    write_json(folder / "verdicts.json", {"sample": "s", "population": POPULATION, "rows": rows})
    return folder / "verdicts.json"


def test_every_row_of_the_sample_is_judged_unsure_or_open_and_the_sentence_has_all_three(tmp_path: Path) -> None:
    verdicts = ["accept"] * 12 + ["reject"] * 4 + ["unsure"] * 3 + [""]
    found = estimate(saved(tmp_path, verdicts), tmp_path / "audit.json", 0.2)
    assert (found["judged"], found["unsure"], found["open"]) == (16, 3, 1)
    assert found["error"]["value"] == pytest.approx(0.25) and found["error"]["n"] == 16
    assert counts(found) == "16 judged, 3 unsure, 1 left open, no verdict in photos, MC"
    assert read_json(tmp_path / "audit.json") == found


@pytest.mark.parametrize("missing", ["", "unsure", "perhaps"])
def test_no_error_rate_is_given_where_too_many_rows_have_no_verdict(tmp_path: Path, missing: str) -> None:
    out = tmp_path / "audit.json"
    estimate(saved(tmp_path, ["accept"] * 16 + [missing] * 4), out, 0.2)
    with pytest.raises(UserError, match=r"15 judged, .* allows 20% of 20 without a verdict, so no error rate") as said:
        estimate(saved(tmp_path, ["accept"] * 15 + [missing] * 5), out, 0.2)
    assert ("5 unsure" if missing == "unsure" else "5 left open") in str(said.value)
    assert read_json(out)["error"] is None, "the figure of an earlier file is still there"
    assert estimate(saved(tmp_path, ["accept"] * 15 + [missing] * 5), out, 0.25)["error"]["n"] == 15
