"""A new source: only what is new is read, every row counts once, nothing held out is learned from, one decision."""

import hashlib
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tasks import ROOT
from tests.retraining.test_new_source import images_of, rows_of
from tests.support.evaluations import answered, seeing
from tests.support.miniature import NoiseImages
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_json, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.params import Params, load_params
from wethink.dag.publishing import write_manifest
from wethink.data.duplicates import clusters
from wethink.data.duplicates.signatures import SIGNATURES, load_signatures, signature
from wethink.data.image_store import ImageSet
from wethink.retraining import known_images, union
from wethink.retraining.known_images import is_held_out

SHARE = 0.25


@pytest.fixture(scope="module")
def params() -> Params:
    whole = load_params(ROOT / "params.yaml")
    own = whole.retrain.model_copy(update={"source": "new", "held_out": SHARE})
    return whole.model_copy(update={"retrain": own})


def picture(name: str) -> bytes:
    buffer = io.BytesIO()
    NoiseImages().open(name).save(buffer, "PNG")
    return buffer.getvalue()


def arriving(folder: Path, images: list[str]) -> Path:
    """A source with one row an image, and one row about none."""
    (folder / "images").mkdir(parents=True)
    rows: list[dict[str, Any]] = []
    for number, name in enumerate([*images, "nowhere"]):
        if name != "nowhere":
            (folder / "images" / f"{name}.png").write_bytes(picture(name))
        row = {"problem": f"how many {number} ?", "answer": "2", "category": "FIB", "abilities": ["counting"]}
        rows.append(row | {"refined_cot": "two", "image_path": f"{name}.png", "reward": "rule"})
    write_jsonl(folder / "rows.jsonl", rows)
    return folder


def run(folder: Path, params: Params, images: list[str], old: Path) -> Path:
    """The steps up to the union."""
    source = arriving(folder / "source", images)
    for name in ("images", "rows", "union", "scratch"):
        (folder / name).mkdir()
    images_of(source, folder / "images", params, folder / "scratch")
    rows_of(source, folder / "images", folder / "rows", params, folder / "scratch")
    return united(folder, params, old)


def united(folder: Path, params: Params, old: Path) -> Path:
    """The step `union`."""
    union.merge_datasets(
        old=old,
        images=folder / "images",
        rows=folder / "rows",
        ingest=params.ingest,
        evaluate=params.evaluate,
        run=StageRun(params.retrain, out=folder / "union", scratch=folder / "scratch", seed=0),
    )
    return folder / "union"


@pytest.fixture(scope="module")
def old(tmp_path_factory: pytest.TempPathFactory, params: Params) -> Path:
    """What a first retrain adds to: eight images of `noise`, the first two of them held out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from wethink.data.image_store import SCHEMA

    folder, records, rows, items = tmp_path_factory.mktemp("old"), [], [], []
    for number in range(8):
        blob = picture(f"noise {number}")
        image, split = hashlib.sha256(blob).hexdigest(), "reporting" if number < 2 else "train"
        records.append(
            {"id": image, "bytes": blob, "source": "noise", "split": split, "cluster": image}
            | {"width": 56, "height": 56, "origin": f"{number}.png"}
        )
        (rows if split == "train" else items).append({"id": f"old {number}", "image": image, "scene": image})
    for name in ("images", "rows", "items"):
        (folder / name).mkdir()
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), folder / "images/shard-00000.parquet")
    write_jsonl(folder / "rows/rows.jsonl", rows)
    write_jsonl(folder / "rows/descriptions.jsonl", [])
    write_jsonl(folder / "items" / f"{params.evaluate.split}.jsonl", items)
    write_json(folder / "sources.json", {"noise": "main job"})
    return folder


NEW = [f"new {n}" for n in range(24)]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, params: Params, old: Path) -> Path:
    return run(tmp_path_factory.mktemp("retrain"), params, [*NEW, "noise 0", "noise 5"], old)


def test_every_row_of_the_source_ends_in_one_place(made: Path) -> None:
    rows, found = read_json(made.parent / "rows/metrics.json"), read_json(made / "metrics.json")
    assert rows["candidates"] == 27 == rows["rows"] + rows["items"] + rows["rejected"]
    assert rows["rejected"] == 1, "the row about no image"
    added = [found[name]["new"] + found[name]["dropped_with_known_image"] for name in ("rows", "items")]
    assert added == [rows["rows"], rows["items"]]
    assert (found["images"], found["known_images"]) == (24, 2)
    assert sum(found[name]["dropped_with_known_image"] for name in ("rows", "items")) == 2


def test_the_union_has_all_that_is_old_and_what_is_new_once(made: Path, old: Path) -> None:
    stored = ImageSet(made / "images")
    ids = [record.id for record in stored.records]
    assert len(ids) == len(set(ids)) == 8 + 24
    assert stored.records[:8] == ImageSet(old / "images").records
    assert all(stored.bytes(image) for image in ids)
    assert [r["id"] for r in read_jsonl(made / "rows/rows.jsonl")][:6] == [f"old {n}" for n in range(2, 8)]
    assert set(read_json(made / "sources.json")) == {"noise", "new"}


def test_no_held_out_image_is_learned_from_whatever_the_source_says(made: Path, old: Path) -> None:
    learned = {row["image"] for row in read_jsonl(made / "rows/rows.jsonl")}
    (items,) = (made / "items").iterdir()
    asked = {item["image"] for item in read_jsonl(items)}
    assert learned and asked and not learned & asked
    splits = {record.id: record.split for record in ImageSet(made / "images").records}
    assert {splits[image] for image in learned} == {"train"}
    assert {splits[image] for image in asked} == {items.stem}
    before = {item["image"] for item in read_jsonl(old / "items" / items.name)}
    assert before <= asked, "an old held-out image that came again with a row is still held out"


def test_the_share_of_held_out_images_is_the_declared_one_and_does_not_depend_on_the_run() -> None:
    held = [is_held_out(f"{n:064x}", SHARE) for n in range(4000)]
    assert abs(sum(held) / 4000 - SHARE) < 0.03
    assert held == [is_held_out(f"{n:064x}", SHARE) for n in range(4000)]


def test_the_same_source_is_the_same_bytes(tmp_path: Path, params: Params, old: Path, made: Path) -> None:
    again = run(tmp_path, params, [*NEW, "noise 0", "noise 5"], old)
    for folder in (made, again):
        write_manifest(folder)
    assert (made / "manifest.json").read_bytes() == (again / "manifest.json").read_bytes()


def test_a_source_that_brings_nothing_says_so_in_a_sentence(tmp_path: Path, params: Params, old: Path) -> None:
    with pytest.raises(UserError, match="no image that is not there already"):
        run(tmp_path / "known", params, ["noise 0", "noise 5"], old)
    with pytest.raises(UserError, match="no folder 'images'"):
        images_of(tmp_path, tmp_path / "none", params, tmp_path)
    imported = params.model_copy(update={"synthesize": params.synthesize.model_copy(update={"annotator": "rows"})})
    with pytest.raises(UserError, match=r"no rows\.jsonl, and synthesize.annotator is 'rows'"):
        rows_of(tmp_path, tmp_path, tmp_path / "out", imported, tmp_path)


def recoded(folder: Path, name: str) -> None:
    """The picture of that name again: larger, and as a JPEG."""
    picture = NoiseImages().open(name).resize((140, 140))
    picture.save(folder / "images" / f"{name}.jpg", "JPEG", quality=90)


def coated(folder: Path, params: Params, old: Path) -> Path:
    """A union with a source of new pictures, of one that is held out, and of one that was learned from, recoded."""
    source = arriving(folder / "source", NEW[:8])
    rows = list(read_jsonl(source / "rows.jsonl"))
    for number, name in enumerate(("noise 0", "noise 5")):
        recoded(source, name)
        rows.append(rows[0] | {"problem": f"what is it {number} ?", "image_path": f"{name}.jpg"})
    write_jsonl(source / "rows.jsonl", rows)
    for name in ("union", "scratch"):
        (folder / name).mkdir()
    images_of(source, folder / "images", params, folder / "scratch")
    rows_of(source, folder / "images", folder / "rows", params, folder / "scratch")
    return united(folder, params, old)


def test_a_known_picture_in_another_coat_is_neither_learned_from_nor_asked(
    tmp_path: Path, params: Params, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, taken = {}, {}
    for name in ("as it is", "mutant"):
        if name == "mutant":  # the same bytes are known, another coat is not
            monkeypatch.setattr(union, "shown_already", lambda *given: {})
        made[name] = coated(tmp_path / name, params, old)
        records = [*read_jsonl(made[name] / "rows/rows.jsonl"), *read_jsonl(made[name] / "items/reporting.jsonl")]
        taken[name] = [r["problem"] for r in records if str(r.get("problem", "")).startswith("what is it")]
    assert taken["as it is"] == [] and len(taken["mutant"]) == 2
    found = read_json(made["as it is"] / "metrics.json")
    assert (found["images"], found["known_images"], found["near"]) == (8, 2, 2)
    known = {record.origin: record.id for record in ImageSet(old / "images").records}
    shown = sorted(record["shows"] for record in read_jsonl(made["as it is"] / "near.jsonl"))
    assert shown == sorted([known["0.png"], known["5.png"]])


def test_what_was_signed_once_is_not_read_again(
    made: Path, old: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = load_signatures(made / SIGNATURES)
    assert set(kept) == {record.id for record in ImageSet(made / "images").records}
    counted: list[int] = []
    monkeypatch.setattr(known_images, "signature", lambda image: counted.append(1) or signature(image))
    again = known_images.signed(ImageSet(made / "images"))
    assert len(counted) == len(kept) and all((kept[image] == again[image]).all() for image in kept)
    counted.clear()
    run(tmp_path, params, ["later 1", "later 2", "later 3"], made)
    assert not counted, "the union keeps the signatures of all its images"


def test_a_source_that_lands_decodes_its_own_pictures_alone_and_each_once(
    made: Path, params: Params, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    as_it_is, load = Image.open, union.load_signatures

    def counted(file: Any, *rest: Any, **options: Any) -> Image.Image:
        opened.append(hashlib.sha256(file.getvalue()).hexdigest())
        return as_it_is(file, *rest, **options)

    monkeypatch.setattr(Image, "open", counted)
    known = {record.id for record in ImageSet(made / "images").records}
    later = [f"later {n}" for n in range(5)]
    for name in ("as it is", "mutant"):
        if name == "mutant":  # the signatures of the known pictures are not kept
            monkeypatch.setattr(union, "load_signatures", lambda path: load(path) if "images" in str(path) else {})
        opened.clear()
        source = run(tmp_path / name, params, later, made).parent
        own = {record.id for record in ImageSet(source / "images").records}
        assert len(own) == len(later) and own.isdisjoint(known)
        assert sorted(image for image in opened if image in own) == sorted(own), "each new picture once"
        assert len([image for image in opened if image in known]) == (len(known) if name == "mutant" else 0)


def test_what_is_known_is_not_clustered_again(
    tmp_path: Path, params: Params, old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    within = clusters.candidate_pairs
    monkeypatch.setattr(
        clusters, "candidate_pairs", lambda table, label: sizes.append(len(table)) or within(table, label)
    )
    run(tmp_path, params, ["later 1", "later 2", "later 3"], old)
    assert sizes == [3], "the new images are compared with one another once, the known ones never"


def test_the_switch_leaves_near_duplicates_in(
    tmp_path: Path, params: Params, old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coated(tmp_path / "on", params, old)
    assert "2 of 10 images of 'new' are near-duplicates of known ones" in capsys.readouterr().err
    off = params.model_copy(update={"ingest": params.ingest.model_copy(update={"near_duplicates": False})})
    found = read_json(coated(tmp_path / "off", off, old) / "metrics.json")
    assert (found["images"], found["near"]) == (10, 0) and "near-duplicates" not in capsys.readouterr().err


@pytest.fixture
def decided(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mlflow_database: Path, params: Params) -> tuple[Any, Path]:
    """A champion in a registry of its own, and a worktree in which a much better challenger was evaluated."""
    from tasks.execution import promotion
    from tasks.tracking import model_registry

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{shutil.copy(mlflow_database, tmp_path / 'mlflow.db')}")
    monkeypatch.setattr(promotion, "create_markdown_artifact", lambda *args, **kwargs: None)  # needs a server
    store, work = tmp_path / "checkpoints", tmp_path / "work/retrain"
    for folder in (tmp_path / "old", work / "union", work / "challenger", tmp_path / "champion"):
        folder.mkdir(parents=True)
        (folder / "content").write_text(folder.name, encoding="utf-8")
        (folder / "rows").mkdir()
        write_jsonl(folder / "rows/rows.jsonl", [{"provenance": {"annotator": "rows", "file": "0123456789abcdef"}}])
        write_json(folder / "sources.json", {"noise": "main job"})
        write_manifest(folder)
    dataset = model_registry.keep(tmp_path / "old", tmp_path / "datasets")
    version = model_registry.register(tmp_path / "champion", {"dataset": dataset.name}, store)
    model_registry.promote(version, "the first")
    (work / "evaluation").mkdir()
    records = [
        {"id": f"{source} {n}", "scene": f"{source} {n}", "source": source, "category": "FIB", "temperature": 0.0}
        | {"checkpoint": model, "verdict": "correct" if model == "challenger" or n % 3 else "wrong"}
        for source in ("noise", "new")
        for n in range(60)
        for model in ("champion", "challenger")
    ]
    write_jsonl(work / "evaluation/items.jsonl", seeing(answered(records)))
    for folder in (tmp_path, work.parent):
        (folder / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    (tmp_path / "incoming/new").mkdir(parents=True)
    (tmp_path / "incoming/new/rows.jsonl").write_text("{}", encoding="utf-8")
    return version, work.parent


def test_a_run_that_is_killed_between_decision_and_promotion_ends_as_if_it_had_not_been(
    decided: tuple[Any, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    from tasks.execution import promotion, retraining
    from tasks.tracking import model_registry

    champion, work = decided
    plan = retraining.plan("new", Path("incoming/new").resolve(), champion)
    with monkeypatch.context() as broken:
        broken.setattr(model_registry, "promote", lambda *args: (_ for _ in ()).throw(KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            promotion.decide(plan, champion, work)
    assert model_registry.named("champion") == model_registry.get(champion.number)
    again = retraining.plan("new", Path("incoming/new").resolve(), champion)
    assert again == plan and not again.done, "it must not count as done"
    decision = promotion.decide(plan, champion, work)
    now = model_registry.named("champion")
    assert decision["promoted"] and now is not None and now.number == decision["version"] != champion.number
    assert model_registry.looks("first") == 1, "the same question is one look"
    told = decision["lineage"]
    assert told["programme"] == "first, look 1 of 20" and told["sources"] == "noise (main job)"
    assert told["rows written by"] == "rows 0123456789abcdef (1 rows)"
    assert model_registry.decided(champion, now, "first", told["held-out items"])["lineage"] == told, "it is kept, too"
    model_registry.finish(decision["version"], plan.key)
    assert "nothing has changed" in retraining.plan("new", plan.arrived, champion).done


def test_a_champion_without_its_data_is_told_before_anything_runs(decided: tuple[Any, Path]) -> None:
    from tasks.execution import retraining

    assert retraining.champion().number == decided[0].number
    shutil.rmtree("datasets")
    with pytest.raises(UserError, match="dataset is not at"):
        retraining.champion()


def test_a_row_about_several_images_has_one_role_and_a_known_text_is_not_asked_again(
    tmp_path: Path, params: Params, old: Path
) -> None:
    """A question about no image that was learned from may not become an item, nor the other way round."""
    import shutil

    source, before = tmp_path / "source", tmp_path / "before"
    shutil.copytree(old, before)
    (source / "images").mkdir(parents=True)
    names = [f"pair {n}" for n in range(24)]
    for name in names:
        (source / "images" / f"{name}.png").write_bytes(picture(name))
    given: list[dict[str, Any]] = [
        {"image": [f"{a}.png", f"{b}.png"]} for a, b in zip(names[::2], names[1::2], strict=True)
    ]
    given += [{"question": f"what is {n} + 1 ?", "image": None} for n in range(20)]
    write_jsonl(source / "rows.jsonl", [{"question": "which ?", "answer": "2"} | row for row in given])
    for name in ("images", "rows", "union", "scratch"):
        (tmp_path / name).mkdir()
    images_of(source, tmp_path / "images", params, tmp_path / "scratch")
    rows_of(source, tmp_path / "images", tmp_path / "rows", params, tmp_path / "scratch")
    brought = [*read_jsonl(tmp_path / "rows/rows.jsonl"), *read_jsonl(tmp_path / "rows/items.jsonl")]
    known = next(row for row in brought if row.get("images") == [])
    write_jsonl(before / "rows/rows.jsonl", [*read_jsonl(before / "rows/rows.jsonl"), known | {"id": "known"}])
    made = united(tmp_path, params, before)
    (path,) = (made / "items").iterdir()
    splits = {record.id: record.split for record in ImageSet(made / "images").records}
    rows, items = list(read_jsonl(made / "rows/rows.jsonl")), list(read_jsonl(path))
    assert {splits[image] for item in items for image in item.get("images", ())} == {path.stem}
    assert {splits[image] for row in rows for image in row.get("images", ())} == {"train"}
    assert sum(record["scene"] == known["scene"] for record in [*rows, *items]) == 1
    counts = read_json(made / "metrics.json")
    assert sum(counts[name]["dropped_with_known_image"] for name in ("rows", "items")) == 1
