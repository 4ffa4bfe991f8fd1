"""Classify first: an image that bears no question costs one short call at most, and is counted."""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.data.test_ingest import photo
from tests.support.chat_server import chat_server, stats
from tests.synthesis.test_teams import PARAMS, at, synthesized, work
from wethink.clients.response_store import ResponseStore
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.config.synthesis import Synthesize
from wethink.data.ingest import ingest
from wethink.synthesis import api_run
from wethink.synthesis.constraints import pixel_fault
from wethink.synthesis.dry_run import estimate
from wethink.synthesis.endpoint_team import SORTER_TOKENS

BLANK, SMALL = "blank: nearly one colour", "a side is shorter than 28 pixels"


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_run, "LEDGER", tmp_path / "ledger.json")


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Twenty photos, two blank images and a tiny one."""
    (tmp_path / "photos").mkdir()
    for number in range(20):
        photo(number).save(tmp_path / "photos" / f"{number}.png")
    Image.new("RGB", (60, 40), "white").save(tmp_path / "photos" / "white.png")
    Image.new("RGB", (60, 40), (3, 90, 200)).save(tmp_path / "photos" / "blue.jpg")
    photo(3, (20, 300)).save(tmp_path / "photos" / "tiny.png")
    (tmp_path / "images").mkdir()
    source = Source(name="mine", kind="folder", path=str(tmp_path / "photos"), reporting=0.0)
    config = Ingest(sources=(source,), max_pixels=10**6, max_file_mb=5, shard_images=1000, near_duplicates=False)
    ingest(drawn=tmp_path, run=StageRun(config, out=tmp_path / "images", scratch=tmp_path, seed=0))
    return tmp_path / "images"


def calls(store: Path) -> dict[str, int]:
    with ResponseStore(store) as answers:
        return {str(line["role"]): int(line["calls"]) for line in answers.ledger()}


def test_images_without_a_question_are_left_out_before_anything_dear_is_asked(tmp_path: Path, images: Path) -> None:
    with chat_server(tmp_path) as url:
        off = synthesized(images, tmp_path / "off", at(url, tmp_path / "off.sqlite"))
        out = synthesized(images, tmp_path / "on", at(url, tmp_path / "on.sqlite"), screen=True)
        asked = stats(url)["distinct"]
        again = synthesized(images, tmp_path / "again", at(url, tmp_path / "on.sqlite"), screen=True)
        assert stats(url)["distinct"] == asked, "the first look was bought twice"
    assert (out / "rejected.jsonl").read_bytes() == (again / "rejected.jsonl").read_bytes()
    found = read_json(out / "metrics.json")["image_outcomes"]
    bare = found["rejected"]["bears no question"]
    assert found["rejected"] == {BLANK: 2, SMALL: 1, "bears no question": bare} and 0 < bare < 20
    assert found["annotated"] + sum(found["rejected"].values()) + sum(found["failed"].values()) == 23
    before, after = calls(tmp_path / "off.sqlite"), calls(tmp_path / "on.sqlite")
    assert "classify" not in before and before["describe"] == 23
    assert after["classify"] == 20 and after["describe"] == 20 - bare
    left = [record for record in read_jsonl(out / "rejected.jsonl") if record["reason"] == "bears no question"]
    with ResponseStore(tmp_path / "on.sqlite") as store:
        for record in left:
            assert set(record["provenance"]["steps"]) == {"classify"} and record["kind"] == "image"
            assert store.get(record["provenance"]["steps"]["classify"]["calls"][0])
    kept = {row["id"]: row for row in read_jsonl(out / "rows.jsonl")}
    assert kept and kept.keys() <= {row["id"] for row in read_jsonl(off / "rows.jsonl")}


def test_a_dry_run_prices_the_first_look_and_leaves_blank_images_out(tmp_path: Path, images: Path) -> None:
    with chat_server(tmp_path) as url:
        job = work(images, at(url, tmp_path / "a.sqlite", price_completion=1.0))
        screened = job.config.model_copy(update={"screen": True})
        found = estimate(type(job)(job.stored, job.records, screened, job.rewards, 0, job.launch))
        assert stats(url)["received"] == 0
    assert found["steps"]["classify"]["calls"] == found["steps"]["describe"]["calls"] == 20
    assert found["steps"]["classify"]["completion_tokens"] == 20 * SORTER_TOKENS


def drawn(text: str, size: tuple[int, int] = (1000, 1000)) -> Image.Image:
    page = Image.new("RGB", size, "white")
    ImageDraw.Draw(page).text((400, 500), text, fill="black")
    return page


@pytest.mark.parametrize(
    ("image", "fault"),
    [
        (Image.new("RGB", (300, 27)), SMALL),
        (Image.new("RGB", (300, 300), "grey"), BLANK),
        (Image.effect_noise((300, 300), 3).convert("RGB"), BLANK),
        (drawn("a word on a page"), None),
        (photo(1, (300, 300)), None),
        (Image.effect_noise((300, 300), 60).convert("RGB"), None),
    ],
)
def test_a_blank_or_tiny_image_is_told_from_one_with_a_single_word(image: Image.Image, fault: str | None) -> None:
    assert pixel_fault(image) == fault


def test_the_screen_needs_models() -> None:
    given: dict[str, Any] = PARAMS.synthesize.model_dump() | {"screen": True}
    with pytest.raises(ValueError, match=r"'screen' .* needs 'annotator: endpoints'"):
        Synthesize.model_validate(given)
