"""Near-duplicates: the same picture is found in any disguise, a near miss is another picture, clusters do not chain."""

from itertools import pairwise
from pathlib import Path
from random import Random

import numpy as np
import pytest
from PIL import Image

from benchmarks.data_quality.duplicate_pairs import (
    KINDS,
    STEPS,
    chart_pairs,
    document_pairs,
    drawing,
    drawing_pairs,
    encoded,
    photo_pairs,
)
from wethink.common.stage_run import StageRun
from wethink.config.data import Ingest, Source
from wethink.data import ingest as ingestion
from wethink.data.duplicates import comparison, neighbours
from wethink.data.duplicates.clusters import representatives
from wethink.data.duplicates.comparison import same_picture
from wethink.data.duplicates.neighbours import NEIGHBOURS, Neighbours, candidate_pairs
from wethink.data.duplicates.signatures import signature, stacked
from wethink.data.image_store import ImageSet

SOURCES = dict(zip(KINDS, (photo_pairs, chart_pairs, drawing_pairs, document_pairs), strict=True))


def board(shape: str, colour: str = "yellow", x: float = 0.4, size: float = 0.2) -> Image.Image:
    return drawing(64, "white", [{"shape": shape, "colour": colour, "x": x, "y": 0.55, "size": size}])


def sky(number: int) -> Image.Image:
    """A photo's part; parts of different numbers do not overlap."""
    from sklearn.datasets import load_sample_images

    picture = Image.fromarray(load_sample_images().images[number % 2])
    x, y = 150 * (number // 2 % 4), 200 * (number // 8)
    return picture.crop((x, y, x + 150, y + 200))


def clustered(pictures: list[Image.Image], order: list[int] | None = None) -> list[int]:
    table = stacked([signature(picture) for picture in pictures])
    return representatives(table, pictures.__getitem__, order or list(range(len(pictures))))


@pytest.mark.parametrize("kind", KINDS)
def test_labelled_pairs_of_every_kind_are_told_apart(kind: str) -> None:
    pairs = list(SOURCES[kind](0, 30, *([()] if kind == "photos" else [])))
    found = [same_picture(pair.one, pair.other) for pair in pairs]
    wrong = [(pair.same, pair.what) for pair, same in zip(pairs, found, strict=True) if same != pair.same]
    assert len(wrong) <= 1, wrong
    assert found == [same_picture(pair.other, pair.one) for pair in pairs], "the order does not matter"


@pytest.mark.parametrize("shape", ["square", "triangle", "diamond"])
@pytest.mark.parametrize("size", [0.14, 0.25])
def test_a_circle_is_no_other_shape_of_the_same_colour_at_the_same_place(shape: str, size: float) -> None:
    assert not same_picture(board("circle", size=size), board(shape, size=size))


@pytest.mark.parametrize("colour", ["gray", "teal", "orange", "green"])
def test_a_drawing_in_another_colour_is_another(colour: str) -> None:
    assert not same_picture(board("triangle"), board("triangle", colour))
    grounds = [drawing(64, ground, []) for ground in ("#e8fff0", "#ffe8f0")]
    assert not same_picture(*grounds), "pastel grounds of equal brightness"


@pytest.mark.parametrize("shift", [0.05, 0.1, 0.2])
def test_a_shape_that_was_moved_is_no_crop(shift: float) -> None:
    assert not same_picture(board("circle"), board("circle", x=0.4 + shift))


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.5), (0.5, 1.0), (0.97, 0.1)])
def test_shapes_cut_at_the_edge_are_told_apart(x: float, y: float) -> None:
    part = {"colour": "gray", "x": x, "y": y, "size": 0.22}
    one, other, third = (drawing(64, "white", [part | {"shape": name}]) for name in ("circle", "square", "triangle"))
    assert not same_picture(one, other) and not same_picture(other, third) and not same_picture(one, third)


@pytest.mark.parametrize("step", STEPS)
def test_a_drawing_is_known_in_every_disguise(step: str) -> None:
    rng = Random(step)
    for shape in ("circle", "square", "triangle"):
        one = drawing(128, "white", [{"shape": shape, "colour": "teal", "x": 0.5, "y": 0.45, "size": 0.25}])
        assert same_picture(one, STEPS[step](one, rng)) and same_picture(STEPS[step](one, rng), one)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (200, 2), (31, 33), (2000, 40)])
def test_pictures_of_odd_sizes_and_of_one_colour_are_compared(size: tuple[int, int]) -> None:
    white, black = Image.new("RGB", size, "white"), Image.new("L", size)
    assert same_picture(white, white.copy()) and not same_picture(white, black)
    assert clustered([white, black, white.copy()]) == [0, 1, 0]


def test_a_chain_of_crops_is_not_one_cluster() -> None:
    chain = [sky(3)]
    for _ in range(5):
        last = chain[-1]
        chain.append(last.crop((0, 0, round(last.width * 0.93), round(last.height * 0.93))))
    for one, other in pairwise(chain):
        assert same_picture(one, other) and same_picture(other, one), "each is a crop of the one before"
    leaders = clustered(chain)
    assert len(set(leaders)) > 1
    assert all(same_picture(chain[leader], chain[place]) for place, leader in enumerate(leaders) if place != leader)


def test_more_copies_than_neighbours_are_one_cluster_in_any_order() -> None:
    pictures = [encoded(sky(number), "JPEG", quality) for number in (1, 2, 5) for quality in range(50, 95, 2)]
    each = len(pictures) // 3
    assert each > 2 * NEIGHBOURS
    assert clustered(pictures) == [number * each for number in range(3) for _ in range(each)]
    assert clustered(pictures, list(range(len(pictures)))[::-1]) == [
        (n + 1) * each - 1 for n in range(3) for _ in range(each)
    ]


def test_the_number_of_comparisons_is_linear_among_drawings_that_are_all_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = Random(0)
    table = stacked([signature(board("circle", "gray", rng.uniform(0.3, 0.7), 0.2)) for _ in range(600)])
    exact = candidate_pairs(table, "exact")
    assert 600 < len(exact) <= NEIGHBOURS * 600
    monkeypatch.setattr(neighbours, "EXACT", 100)
    listed = candidate_pairs(table, "lists")
    assert (listed == candidate_pairs(table, "again")).all(), "k-means has a fixed seed"
    shared = set(map(tuple, exact.tolist())) & set(map(tuple, listed.tolist()))
    assert len(shared) > 0.8 * len(exact)


def test_a_copy_among_many_is_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "EXACT", 50)
    rng = Random(1)
    pictures = [
        board(rng.choice(("circle", "square")), "blue", rng.uniform(0.3, 0.7), rng.uniform(0.1, 0.25))
        for _ in range(300)
    ]
    index = Neighbours(stacked([signature(picture) for picture in pictures]))
    for number in range(0, 300, 30):
        assert number in index.nearest(signature(encoded(pictures[number], "JPEG", 60))[None])[:, 1]


def test_threads_and_sizes_of_batches_change_no_verdict(monkeypatch: pytest.MonkeyPatch) -> None:
    labelled = [pair for kind in ("drawings", "documents") for pair in SOURCES[kind](0, 14)]
    pictures = [picture for pair in labelled for picture in (pair.one, pair.other)]
    side = (stacked([signature(picture) for picture in pictures]), pictures.__getitem__)
    pairs = np.arange(len(pictures)).reshape(-1, 2)
    at_once = comparison.confirmed(pairs, side, side)
    for name, size in (("BATCH", 3), ("OPENED", 2), ("PIXELS", 1), ("THREADS", 4)):
        monkeypatch.setattr(comparison, name, size)
    assert (comparison.confirmed(pairs, side, side) == at_once).all() and 10 < at_once.sum() < 18


def test_an_empty_collection_has_no_neighbours() -> None:
    none, one = stacked([]), signature(sky(0))[None]
    assert len(Neighbours(none).nearest(one)) == len(Neighbours(one).nearest(none)) == 0
    assert clustered([]) == [] and clustered([sky(0)]) == [0]


def test_the_switch_compares_nothing_and_the_terminal_tells_how_many_are_alike(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(3):
        sky(number).save(folder / f"{number}.png")
        sky(number).resize((120, 160)).save(folder / f"{number} again.png")
    source = Source(name="p", kind="folder", path=str(folder))

    def clusters(name: str, switch: bool) -> int:
        (out := tmp_path / name).mkdir()
        config = Ingest(sources=(source,), max_pixels=10**6, max_file_mb=5, shard_images=10, near_duplicates=switch)
        ingestion.ingest(drawn=out, run=StageRun(config, out=out, scratch=out, seed=0))
        return len({record.cluster for record in ImageSet(out).records})

    assert clusters("on", True) == 3
    assert "6 photos show 3 different pictures" in capsys.readouterr().err
    monkeypatch.setattr(ingestion, "signature", lambda image: pytest.fail("compared"))
    assert clusters("off", False) == 6 and "different pictures" not in capsys.readouterr().err


def test_a_signature_depends_on_the_picture_alone_and_has_one_size() -> None:
    assert (signature(sky(1)) == signature(sky(1).convert("RGBA"))).all()
    assert {signature(Image.new(mode, (5, 9))).shape for mode in ("L", "RGB", "P", "CMYK")} == {signature(sky(0)).shape}
    assert signature(sky(0)).dtype == np.uint8
