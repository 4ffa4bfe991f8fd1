"""Sources of the user's own are measured: held-out rows become items, swapped within their source, shown apart."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageDraw

from tasks import ROOT
from tests.synthesis.test_pipeline import REWARDS, settings
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.config.params import load_params
from wethink.curation.held_out import held_out
from wethink.data.image_store import ImageSet
from wethink.data.ingest import ingest
from wethink.data.schema import ITEM_KEYS, held_out_items
from wethink.evaluation.evaluate import headline, own_sources, shuffled
from wethink.evaluation.summary import few_scenes, summarise
from wethink.synthesis.synthesize import synthesize

RULES = load_params(ROOT / "profiles/tiny.yaml").validate_
ROW = {"category": "FIB", "abilities": ["counting"], "refined_cot": "i see it", "reward": "rule"}


def photo(path: Path, number: int) -> None:
    rng = np.random.default_rng(number)
    image = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    ImageDraw.Draw(image).text((4, 4), str(number))
    image.save(path)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos with two questions each, ingested and imported."""
    home = tmp_path_factory.mktemp("own")
    for name in ("photos", "images", "rows", "drawn/truth"):
        (home / name).mkdir(parents=True)
    rows = []
    for number in range(40):
        photo(home / f"photos/{number}.png", number)
        rows += [
            ROW | {"problem": f"how many {what} ?", "answer": str(number % 5), "image_path": f"{number}.png"}
            for what in ("cats", "dogs")
        ]
    rows.append(ROW | {"problem": "what ?", "answer": "3", "image_path": "absent.png"})
    (home / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    source = Source(name="mine", kind="folder", path=str(home / "photos"), tuning=0.2, reporting=0.3)
    config = Ingest(sources=(source,), max_pixels=10**6, max_file_mb=5, shard_images=100)
    ingest(drawn=home / "drawn", run=StageRun(config, out=home / "images", scratch=home, seed=0))
    written(home)
    return home


def written(home: Path, out: str = "rows") -> None:
    config = settings(annotator="rows", rows=str(home / "rows.jsonl"), path_share=1.0)
    run = StageRun(config, out=home / out, scratch=home, seed=0)
    synthesize(images=home / "images", drawn=home / "drawn", rewards=REWARDS, run=run)


def test_rows_of_held_out_images_become_items_and_every_row_is_accounted_for(made: Path) -> None:
    splits = {record.id: record.split for record in ImageSet(made / "images").records}
    rows, metrics = list(read_jsonl(made / "rows/rows.jsonl")), read_json(made / "rows/metrics.json")
    assert {splits[row["image"]] for row in rows} == {"train"}
    total = 0
    for split in ("tuning", "reporting"):
        items = list(read_jsonl(made / f"rows/items/{split}.jsonl"))
        assert items and {splits[item["image"]] for item in items} == {split}
        assert all(set(item) - {"columns"} == set(ITEM_KEYS) for item in items)
        total += len(items)
    assert metrics["items"] == total and metrics["candidates"] == 81 == len(rows) + total + 1
    assert metrics["rejected"] == {"image_path names no ingested image": 1}
    learned, asked = (
        {r["scene"] for r in found} for found in (rows, held_out_items([made / "rows"], "reporting", {"mine"}))
    )
    assert not learned & asked


def test_a_source_that_declares_nothing_holds_out_a_tenth() -> None:
    assert Source(name="mine", kind="folder", path="photos").reporting == 0.1


def test_a_row_about_a_drawn_held_out_image_is_no_item(made: Path, tmp_path: Path) -> None:
    held = [record for record in ImageSet(made / "images").records if record.split == "reporting"]
    for name in ("rows", "drawn/images"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "drawn/images/mine.parquet").touch()  # where `draw` puts the pictures of a source
    (tmp_path / "images").symlink_to(made / "images")
    (tmp_path / "rows.jsonl").symlink_to(made / "rows.jsonl")
    written(tmp_path)
    assert read_json(tmp_path / "rows/metrics.json")["rejected"]["image is held out (reporting)"] == 2 * len(held)
    assert not (tmp_path / "rows/items").exists()


def test_validation_keeps_sound_items_and_names_what_the_others_lack(tmp_path: Path) -> None:
    item = dict.fromkeys(ITEM_KEYS, "x") | {"category": "FIB", "reward": "rule", "answer": "3", "abilities": []}
    given = [
        item | {"id": "good"},
        item | {"id": "letter", "category": "MC", "problem": "which ? A red B blue", "answer": "C"},
        item | {"id": "empty", "answer": " "},
        item | {"id": "long", "problem": "y" * 9000},
        item | {"id": "own", "category": "SKETCH", "reward": "sketch"},
    ]
    (tmp_path / "rows/items").mkdir(parents=True)
    (tmp_path / "out").mkdir()
    write_jsonl(tmp_path / "rows/items/reporting.jsonl", given)
    found = held_out(tmp_path / "rows", tmp_path / "out", RULES)
    assert [i["id"] for i in read_jsonl(tmp_path / "out/items/reporting.jsonl")] == ["good", "own"]
    assert found["kept"] == {"reporting": 2} and found["quarantined"] == 3 == sum(found["reasons"].values())
    assert {i["id"] for i in read_jsonl(tmp_path / "out/items/quarantine.jsonl")} == {"letter", "empty", "long"}
    (tmp_path / "none").mkdir()
    assert held_out(tmp_path / "none", tmp_path / "none", RULES) == {}
    assert not (tmp_path / "none/items").exists()


def test_items_of_all_folders_are_asked_and_none_at_all_is_a_sentence(made: Path, tmp_path: Path) -> None:
    (tmp_path / "items").mkdir()
    write_jsonl(tmp_path / "items/reporting.jsonl", [{"id": "drawn", "source": "scenes"}])
    both = held_out_items([tmp_path, made / "rows"], "reporting", {"mine", "scenes"})
    assert both[0]["id"] == "drawn" and len(both) > 1
    assert own_sources(made / "rows", "reporting") == {"mine"} and own_sources(tmp_path / "x", "reporting") == set()
    with pytest.raises(UserError, match=r"no held-out item in .*raise draw\.tuning, or tuning of a source"):
        held_out_items([tmp_path], "tuning", {"mine"})


def item(source: str, scene: int, image: int, question: int = 0) -> Any:
    number = f"{source}-{scene}-{image}"
    return {"id": f"{number}-{question}", "source": source, "scene": f"{source}-{scene}", "image": number}


def test_an_item_is_shown_another_scene_of_its_source_and_never_a_copy_of_its_own() -> None:
    items = [item("mine", scene, image, question) for scene in range(6) for image in range(3) for question in range(2)]
    items += [item("one", 0, image) for image in range(4)] + [item("two", scene, 0) for scene in range(2)]
    other = shuffled(items, 0)
    assert {i["id"] for i in items} - set(other) == {i["id"] for i in items if i["source"] == "one"}
    for asked in items:
        if asked["id"] in other:
            (shown,) = other[asked["id"]]
            source, scene, _ = shown.split("-")
            assert source == asked["source"] and f"{source}-{scene}" != asked["scene"]


def test_one_scene_an_image_is_permuted_as_ever() -> None:
    items = [item("a", scene, 0) for scene in range(5)]
    order = [items[i]["image"] for i in np.random.default_rng([7, 0]).permutation(5)]
    expected = dict(zip(order, order[1:] + order[:1], strict=True))
    assert shuffled(items, 7) == {asked["id"]: (expected[asked["image"]],) for asked in items}


def records(source: str, share: float, scenes: int = 20) -> list[dict[str, Any]]:
    found = []
    for n in range(scenes):
        for pixels in ("true", "blank", "shuffled"):
            if pixels == "shuffled" and n % 4 == 0:
                continue
            right = pixels == "true" and n < share * scenes
            base = {"id": f"{source}{n}", "scene": f"{source}{n}", "source": source, "kind": "k", "category": "FIB"}
            base |= {"reward": "rule", "problem": "?", "answer": ("yes", "no")[n % 2], "abilities": [], "image": "i"}
            base |= {"checkpoint": "grpo", "temperature": 0.0, "pixels": pixels, "tokens": 3, "strict": True}
            base |= {"extracted": "no" if not right else ("yes", "no")[n % 2]}
            found.append(base | {"verdict": "correct" if right else "wrong"})
    return found


def test_the_headline_is_over_the_users_sources_and_drawn_ones_stand_apart() -> None:
    every = records("scenes", 0.9) + records("mine", 0.5)
    found = summarise(every, 50, 0, frozenset({"mine"}))
    assert found["own"] == ["mine"] and found["items"] == 20 and found["grpo"]["accuracy"] == 0.5
    assert found["drawn"]["grpo"]["accuracy"] == 0.9 and set(found["sources"]) == {"mine", "scenes"}
    assert headline(found)["grpo"]["accuracy"] == 0.5 and headline(found)["drawn"]["grpo"]["accuracy"] == 0.9
    alone = summarise(every, 50, 0)
    assert alone["grpo"]["accuracy"] == 0.7 and "own" not in alone and "drawn" not in alone
    assert summarise(records("mine", 0.5), 50, 0, frozenset({"mine"}))["drawn"] is None


def test_a_handful_of_held_out_scenes_is_named_beside_the_figures() -> None:
    every = records("scenes", 0.9) + records("mine", 0.6, scenes=5) + records("many", 0.5, scenes=30)
    [sentence] = few_scenes(summarise(every, 50, 0, frozenset({"mine", "many"})))
    assert sentence.startswith("'mine' has 5 held-out scenes only") and "Raise `reporting`" in sentence
    assert few_scenes(summarise(every, 50, 0)) == [], "drawn sources alone: the smoke profile draws few on purpose"


def test_each_source_has_its_controls_and_the_distribution_of_its_answers() -> None:
    group = summarise(records("mine", 0.5), 50, 0, frozenset({"mine"}))["sources"]["mine"]
    assert group["constant"] == {"answer": "no", "accuracy": 0.5} and group["majority"] == 0.5
    assert group["grpo"]["blank"]["accuracy"] == 0.0 and group["grpo"]["shuffled"]["left_out"] == 5
    assert group["grpo"]["answers"] == {
        "distance": 0.25,
        "most": [{"answer": "no", "share": 0.75, "gold": 0.5}, {"answer": "yes", "share": 0.25, "gold": 0.5}],
    }


def test_items_of_sources_that_are_not_ingested_are_passed_over(tmp_path: Path) -> None:
    """`ingest.sources` may leave the drawn sources out; their items stay where they were drawn."""
    item = dict.fromkeys(ITEM_KEYS, "x")
    for name, source in (("drawn", "scenes"), ("valid", "mine")):
        (tmp_path / name / "items").mkdir(parents=True)
        write_jsonl(tmp_path / name / "items/reporting.jsonl", [item | {"source": source, "columns": {"box": [1]}}])
    folders = (tmp_path / "drawn", tmp_path / "valid")
    (mine,) = held_out_items(folders, "reporting", {"mine"})
    assert mine["source"] == "mine" and mine["columns"] == {"box": [1]}
    assert len(held_out_items(folders, "reporting", {"mine", "scenes"})) == 2
    with pytest.raises(UserError, match="there is no held-out item"):
        held_out_items(folders, "reporting", {"other"})


def test_an_item_about_several_images_is_shown_as_many_of_another_scene_and_one_about_none_is_in_no_control() -> None:
    def about(number: int, *images: str) -> Any:
        named = {"images": list(images)} if len(images) != 1 else {"image": images[0]}
        return {"id": str(number), "source": "s", "scene": f"scene {number}"} | named

    items = [about(0, "a"), about(1, "b"), about(2, "c", "d"), about(3, "e", "f"), about(4), about(5, *"ghijk")]
    swapped = {"0": ("b",), "1": ("a",), "2": ("e", "f"), "3": ("c", "d")}  # no other item is about five
    assert shuffled(items, 0) == swapped


def test_items_that_a_control_cannot_ask_are_counted_beside_it() -> None:
    every = records("mine", 0.5)
    asked = [r for r in every if not (r["pixels"] == "blank" and r["id"] in ("mine0", "mine1"))]  # about no image
    found = summarise(asked, 50, 0, frozenset({"mine"}))["grpo"]
    assert found["blank"]["left_out"] == 2 and found["blank"]["n"] == 18
    assert "left_out" not in summarise(every, 50, 0, frozenset({"mine"}))["grpo"]["blank"], "as ever"
