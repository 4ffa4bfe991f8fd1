"""The gallery in a real browser: ten thousand rows, filters, keys, pictures, and text that stays text."""

import io
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from PIL import Image

from tests.support.browser import opened, until
from wethink.common.errors import UserError
from wethink.common.jsonl import write_jsonl
from wethink.data.drawn import SOURCES
from wethink.data.image_shards import Shards
from wethink.data.image_store import ImageRecord
from wethink.report.data_gallery import gallery

HOSTILE = (
    "</script><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\"> \u2028 {{ style }}"
)
REASONS = ("answers disagree", "asks about something absent or ambiguous", "the adjudicator agrees with neither answer")
ABILITIES = ("counting", "spatial", "ocr", "comparison")


def some_pictures(rng: Random) -> list[bytes]:
    """Boards and, at odd places, photo-like JPEG files."""
    found = []
    for number in range(12):
        buffer = io.BytesIO()
        if number % 2:
            Image.linear_gradient("L").resize((180, 120)).convert("RGB").save(buffer, "JPEG")
        else:
            SOURCES["scenes"].render(SOURCES["scenes"].sample(rng, []), rng, 56).save(buffer, "PNG")
        found.append(buffer.getvalue())
    return found


def made(folder: Path, images: int, each: int) -> Counter[str]:
    """Rows of every decision about drawn pictures; returns how many there are of each."""
    rng, counts = Random(0), Counter[str]()
    for name in ("images", "rows", "valid"):
        (folder / name).mkdir()
    shards = Shards(folder / "images", 5000)
    described, kept, rejected, failed, quarantined = [], [], [], [], []
    pictures = some_pictures(rng)
    for number in range(images):
        image, source = f"{number:064d}", ("boards", "photos")[number % 2]
        record = ImageRecord(image, source, "train", image, 56, 56, f"{number}.png")
        shards.add(record, pictures[number % len(pictures)])
        turns = [{"question": f"what of {number} ?", "answer": "a red circle"}] if number % 3 else []
        described.append({"image": image, "source": source, "split": "train", "text": f"picture {number}"})
        described[-1] |= {"coarse": "some things", "turns": turns} if number % 2 else {}
        for place in range(each):
            row: dict[str, Any] = {
                "id": f"{number}-{place}",
                "image": image,
                "problem": HOSTILE if number == 0 else f"how many things are in picture {number} , {place} ?",
                "answer": HOSTILE if number == 0 else str(place),
                "category": ("MC", "FIB", "DES")[place % 3],
                "abilities": ["reasoning", rng.choice(ABILITIES)],
                "refined_cot": "red circle . so 1",
                "reward": "rule",
                "provenance": {"annotator": "embedded"},
                "decisions": {"description": "1", "vision": "2", "adjudicator": "1", "agreed": False},
            }
            end = rng.choice(["kept"] * 6 + ["rejected", "rejected", "failed", "quarantined"])
            counts[end] += 1
            counts[f"{end} {source}"] += 1
            if end == "rejected":
                rejected.append(row | {"reason": rng.choice(REASONS)})
            elif end == "failed":
                failed.append(row | {"reason": "timeout: look", "retryable": True})
            else:
                kept.append(row)
            if end == "quarantined":
                quarantined.append(row | {"reasons": ["answer has 1 to 1000 characters"]})
    shards.close()
    for name, records in (("descriptions", described), ("rows", kept), ("rejected", rejected), ("failed", failed)):
        write_jsonl(folder / "rows" / f"{name}.jsonl", records)
    write_jsonl(folder / "valid" / "quarantine.jsonl", quarantined)
    return counts


def published(folder: Path, out: str = "gallery") -> dict[str, int]:
    return gallery(folder / "images", folder / "rows", folder / "valid", folder / out)


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Counter[str]]:
    """2,500 images, 10,000 rows."""
    folder = tmp_path_factory.mktemp("large")
    counts = made(folder, 2500, 4)
    assert published(folder) == {"images": 2500, "rows": 10_000, "without_image": 0}
    return folder, counts


@pytest.fixture(scope="module")
def view(large: tuple[Path, Counter[str]]) -> Iterator[tuple[Any, list[str], Counter[str]]]:
    with opened(large[0] / "gallery" / "index.html") as (page, said):
        page.wait_for_selector("#rows .row")
        yield page, said, large[1]


def count(page: Any) -> str:
    return page.inner_text("#count")


def choose(page: Any, **wanted: str) -> None:
    page.keyboard.press("Escape")
    page.keyboard.press("c")
    for facet, name in wanted.items():
        labels = page.eval_on_selector_all(f"#filter-{facet} option", "all => all.map(one => one.label)")
        [label] = [label for label in labels if label.rsplit(" (", 1)[0] == name]
        page.select_option(f"#filter-{facet}", label=label)


def test_ten_thousand_rows_open_from_a_file_with_their_pictures(view: tuple[Any, list[str], Counter[str]]) -> None:
    page, said, _ = view
    assert count(page) == "image 1 of 2,500 · 10,000 of 10,000 rows"
    until(page, "document.querySelector('#shown img').naturalWidth > 0")
    until(page, "[...document.querySelectorAll('#strip img')].filter(i => i.naturalWidth > 0).length >= 15")
    assert said == [], "no error, and nothing fetched from elsewhere"


def test_what_a_model_wrote_is_shown_as_text_and_never_runs(view: tuple[Any, list[str], Counter[str]]) -> None:
    page, _, _ = view
    page.keyboard.press("Home")
    until(page, "document.body.dataset.image === '0'.repeat(64)")
    assert "<img src=x onerror=" in page.inner_text("#rows") and "{{ style }}" in page.inner_text("#rows")
    assert page.title() == "Gallery" and page.locator("#rows img").count() == 0


def test_every_filter_counts_what_is_there_and_they_combine(view: tuple[Any, list[str], Counter[str]]) -> None:
    page, _, counts = view
    for decision in ("kept", "rejected", "failed", "quarantined"):
        choose(page, decision=decision)
        assert f"{counts[decision]:,} of 10,000 rows" in count(page)
        assert page.inner_text("#rows .row:not(.dimmed) .chip >> nth=0") == decision
    choose(page, source="photos", decision="rejected")
    assert f" {counts['rejected photos']:,} of 10,000 rows" in count(page)
    seen = 0
    for reason in REASONS:
        choose(page, reason=reason)
        seen += int(count(page).split(" · ")[1].split(" ")[0].replace(",", ""))
    assert seen == counts["rejected"]
    choose(page, category="MC", ability="ocr")
    shown = page.inner_text("#rows .row:not(.dimmed) .chips >> nth=0")
    assert "MC" in shown and "ocr" in shown
    choose(page)
    assert "10,000 of 10,000 rows" in count(page)


def test_a_filter_answers_within_a_blink(view: tuple[Any, list[str], Counter[str]]) -> None:
    page, _, _ = view
    choose(page)
    spent = page.evaluate(
        """() => { const one = document.getElementById('filter-decision'), start = performance.now();
        one.value = '0'; one.onchange(); const spent = performance.now() - start; one.value = '-1'; one.onchange();
        return spent; }"""
    )
    assert spent < 1000, "milliseconds, on a machine that is busy with other tests"


def test_the_keyboard_walks_through_the_images(view: tuple[Any, list[str], Counter[str]]) -> None:
    page, _, _ = view
    choose(page)
    page.keyboard.press("Home")
    for key, place in (("ArrowRight", "2"), ("j", "3"), ("k", "2"), ("End", "2,500"), ("ArrowLeft", "2,499")):
        page.keyboard.press(key)
        assert count(page).startswith(f"image {place} of")
    until(page, "document.querySelector('#shown').textContent.includes('Mined details')")
    shown = page.inner_text("body")
    for part in (
        "Coarse description",
        "Description",
        "Refined reasoning",
        "adjudicator",
        "they disagree",
        "reward: rule",
    ):
        assert part.casefold() in shown.casefold()
    page.keyboard.press("f")
    assert page.evaluate("document.activeElement.id") == "filter-source"


def test_the_page_is_small_and_the_same_inputs_give_the_same_bytes(tmp_path: Path, large: tuple[Path, Any]) -> None:
    assert (large[0] / "gallery" / "index.html").stat().st_size < 5_000_000
    assert (large[0] / "gallery" / "data" / "index.js").stat().st_size < 1_000_000
    made(tmp_path, 90, 2)
    published(tmp_path, "one")
    published(tmp_path, "two")
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*.*"))
    assert len(files) == 5
    assert all((tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes() for name in files)


def test_a_description_may_lack_all_that_the_embedded_team_does_not_write(tmp_path: Path) -> None:
    made(tmp_path, 2, 1)
    write_jsonl(tmp_path / "rows" / "descriptions.jsonl", [])
    (tmp_path / "rows" / "failed.jsonl").unlink()
    (tmp_path / "valid" / "quarantine.jsonl").unlink()
    assert published(tmp_path)["images"] == 2
    for name in ("rows", "rejected"):
        write_jsonl(tmp_path / "rows" / f"{name}.jsonl", [])
    with pytest.raises(UserError, match="has no rows"):
        published(tmp_path)
