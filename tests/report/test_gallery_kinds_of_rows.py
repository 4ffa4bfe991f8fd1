"""The gallery shows every row once for each of its images, and those about none apart."""

from pathlib import Path

from tests.report.test_data_gallery import choose, count, made, published
from tests.support.browser import opened, until
from wethink.common.jsonl import write_jsonl


def test_rows_about_several_images_stand_at_each_and_those_about_none_apart(tmp_path: Path) -> None:
    made(tmp_path, 2, 1)
    names = [f"{number:064d}" for number in range(2)]
    row = {"problem": "both ?", "answer": "x", "category": "FIB", "source": "mine"}
    text = [row | {"id": f"t{n:02}", "images": [], "problem": f"what is {n} + 1 ?"} for n in range(45)]
    write_jsonl(tmp_path / "rows/rows.jsonl", [row | {"id": "both", "images": names}, *text])
    lost = row | {
        "id": "lost",
        "images": ["gone", ""],
        "problem": "lost ?",
        "reason": "one of its images cannot be used",
    }
    for name, rejected in (("rejected", [lost]), ("failed", [])):
        write_jsonl(tmp_path / f"rows/{name}.jsonl", rejected)
    assert published(tmp_path) == {"images": 2, "rows": 48, "without_image": 46}
    with opened(tmp_path / "gallery" / "index.html") as (page, said):
        page.wait_for_selector("#rows .row")
        assert count(page) == "image 1 of 2 · 48 of 48 rows" and "about 2 images" in page.inner_text("#rows")
        page.keyboard.press("End")
        until(page, "document.querySelector('#shown').textContent.includes('about no image')")
        assert count(page) == "without image, page 3 of 3 · 48 of 48 rows" and page.locator("#rows .row").count() == 6
        choose(page, decision="rejected")
        until(page, "document.querySelector('#rows .row:not(.dimmed)').textContent.includes('lost ?')")
        assert count(page) == "without image, page 1 of 1 · 1 of 48 rows" and not said
