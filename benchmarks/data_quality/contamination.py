"""`make contamination`: recall and false positives of the benchmark contamination gate.

    python -m benchmarks.data_quality.contamination [FOLDER …]

Writes reports/contamination.json. Each image is written to a TSV file in VLMEvalKit's format and checked by the gate
itself against a collection.

* photos: images of scikit-learn, Matplotlib and the given folders (yours; scikit-image's `skimage/data`), cut into
  tiles that do not overlap. Every other tile is in the collection.
* drawings: the three drawn sources. Every other scene is in the collection.

Recall is the share of the collection's images that are found again, per disguise; a false positive is any other image
that the gate matches. Intervals: cluster bootstrap over photos (tiles of one are alike) or scenes; Wilson's if all
outcomes are equal.
"""

import base64
import csv
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageEnhance, UnidentifiedImageError

from wethink.common.jsonl import Record, write_json
from wethink.common.progress import track
from wethink.common.statistics import cluster_bootstrap, wilson
from wethink.curation.contamination import Benchmark, Collection, collected, contaminated
from wethink.data.drawn import SOURCES

OUT = Path("reports/contamination.json")
TILE = 150  # pixels at least
SCENES = 100  # of each drawn source
Picture = tuple[str, Image.Image]  # the photo or scene that it is part of, and the picture


def jpeg(quality: int) -> Callable[[Image.Image, Random], Image.Image]:
    def encoded(image: Image.Image, rng: Random) -> Image.Image:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", quality=quality)
        return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")

    return encoded


def resized(scale: float) -> Callable[[Image.Image, Random], Image.Image]:
    return lambda image, rng: image.resize((round(image.width * scale), round(image.height * scale)))


def cropped(share: float) -> Callable[[Image.Image, Random], Image.Image]:
    """Return a disguise that crops a share of width and height at random sides."""

    def cut(image: Image.Image, rng: Random) -> Image.Image:
        width, height = round(image.width * (1 - share)), round(image.height * (1 - share))
        x, y = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
        return image.crop((x, y, x + width, y + height))

    return cut


def all_three(image: Image.Image, rng: Random) -> Image.Image:
    return jpeg(70)(resized(0.7)(cropped(0.05)(image, rng), rng), rng)


DISGUISES: dict[str, Callable[[Image.Image, Random], Image.Image]] = {
    "unchanged": lambda image, rng: image,
    "re-encoded, JPEG 75": jpeg(75),
    "re-encoded, JPEG 30": jpeg(30),
    "resized to 1/2": resized(0.5),
    "resized to 2": resized(2.0),
    "cropped by 5 %": cropped(0.05),
    "cropped by 10 %": cropped(0.1),
    "cropped by 5 %, resized to 0.7, JPEG 70": all_three,
}


def photos(folders: Sequence[Path]) -> list[Picture]:
    """Cut every available photo into at most twelve tiles."""
    import matplotlib
    from sklearn.datasets import load_sample_images

    files = sorted(Path(matplotlib.get_data_path(), "sample_data").glob("*.jpg"))
    files += [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]
    found = [(f"sklearn-{n}", Image.fromarray(image)) for n, image in enumerate(load_sample_images().images)]
    for path in files:
        try:
            found.append((path.name, Image.open(path).convert("RGB")))
        except (UnidentifiedImageError, OSError):
            continue
    tiles = []
    for name, image in found:
        across, down = min(4, image.width // TILE), min(3, image.height // TILE)
        for x in range(across):
            for y in range(down):
                box = (x * image.width // across, y * image.height // down)
                far = ((x + 1) * image.width // across, (y + 1) * image.height // down)
                tile = image.crop((*box, *far))
                if np.asarray(tile.convert("L")).std() > 8:  # skip empty tiles, which cannot be recognised
                    tiles.append((name, tile))
    return tiles


def drawings() -> list[Picture]:
    found = []
    for name, source in SOURCES.items():
        rng, pool, seen = Random(f"contamination {name}"), sorted(source.material()), set[str]()
        while len(seen) < SCENES:
            truth = source.sample(rng, pool)
            scene = source.scene(truth)
            if scene not in seen:
                seen.add(scene)
                found.append((scene, source.render(truth, rng, 56)))
    return found


def gate(ours: Collection, pictures: Sequence[Image.Image], asked: Callable[[int], Record]) -> Iterator[Benchmark]:
    """Run the gate on each picture, in a TSV file of one row."""
    with tempfile.TemporaryDirectory() as folder:
        for number, picture in enumerate(pictures):
            buffer = io.BytesIO()
            picture.save(buffer, "PNG")
            path = Path(folder, "benchmark.tsv")
            with path.open("w", newline="", encoding="utf-8") as handle:
                writer = csv.DictWriter(handle, ["index", "image", "question", "answer"], delimiter="\t")
                writer.writeheader()
                cell = base64.b64encode(buffer.getvalue()).decode()
                writer.writerow({"index": number, "image": cell, **asked(number)})
            yield contaminated(ours, path)


def measure(kind: str, pictures: Sequence[Picture], resamples: int = 1000) -> Record:
    """Measure recall per disguise, false positives and planted questions for one kind."""
    mine, others = pictures[::2], pictures[1::2]
    ids = [f"{number:04d}" for number in range(len(mine))]
    rows = {
        name: [{"id": f"row {name}", "image": name, "scene": name, "problem": problem(n), "answer": str(n % 7)}]
        for n, name in enumerate(ids)
    }
    by_id = dict(zip(ids, (image for _, image in mine), strict=True))
    ours = collected(ids, rows, by_id.__getitem__)
    groups = [group for group, _ in mine]

    def nothing(number: int) -> Record:
        return {"question": "what is this ?", "answer": "a picture"}

    def copied(number: int) -> Record:
        return {"question": problem(number), "answer": str(number % 7)}

    def share(hits: Sequence[bool], clusters: Sequence[str]) -> Record:
        found = cluster_bootstrap(hits, clusters, resamples, 0)
        low, high = (found.low, found.high) if 0 < sum(hits) < len(hits) else wilson(found.value, len(hits))
        return {"value": round(found.value, 5), "low": round(low, 5), "high": round(high, 5), "n": len(hits)}

    recall = {}
    for name, disguise in track(DISGUISES.items(), f"contamination: {kind}", len(DISGUISES)):
        rng = Random(name)
        hits = [
            ids[n] in found.images for n, found in enumerate(gate(ours, [disguise(i, rng) for _, i in mine], nothing))
        ]
        recall[name] = share(hits, groups)
    wrong = [bool(found.images) for found in gate(ours, [image for _, image in others], nothing)]
    darker = [ImageEnhance.Brightness(image).enhance(0.5) for _, image in mine]
    planted = list(gate(ours, darker, copied))
    elsewhere = list(gate(ours, [image for _, image in others][: len(mine)], copied))
    return {
        "ours": len(mine),
        "others": len(others),
        "pairs": len(mine) * len(others),
        "recall": recall,
        "false_positives": share(wrong, [group for group, _ in others]),
        "planted_questions_found": share(
            [f"row {ids[n]}" in found.questions or ids[n] in found.images for n, found in enumerate(planted)], groups
        ),
        "same_words_about_another_picture": share(
            [bool(found.questions) for found in elsewhere], [group for group, _ in others][: len(mine)]
        ),
    }


def problem(number: int) -> str:
    """Return a question that differs from its neighbours as real image questions do."""
    things = ("boats", "people", "windows", "trees", "cars", "birds", "signs", "lamps", "doors", "tables", "flags")
    places = (
        "left of the tower",
        "near the river",
        "in the front row",
        "under the bridge",
        "on the roof",
        "by the wall",
    )
    return f"how many {things[number % len(things)]} can be seen {places[number % len(places)]} ?"


def table(result: Record) -> str:
    kinds = [kind for kind in result if kind != "pictures"]
    lines = ["| | " + " | ".join(kinds) + " |", "|---|" + "---|" * len(kinds)]

    def cell(found: Any) -> str:
        return f"{found['value']:.1%} [{100 * found['low']:.1f}, {100 * found['high']:.1f}], n = {found['n']}"

    for name in DISGUISES:
        lines.append(f"| found: {name} | " + " | ".join(cell(result[kind]["recall"][name]) for kind in kinds) + " |")
    for key, said in (
        ("planted_questions_found", "found: question copied onto the darkened picture"),
        ("false_positives", "taken for ours, though another picture"),
        ("same_words_about_another_picture", "taken for ours: the same words about another picture"),
    ):
        lines.append(f"| {said} | " + " | ".join(cell(result[kind][key]) for kind in kinds) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    shown = photos([Path(argument) for argument in sys.argv[1:]])
    made: dict[str, Any] = {"photos": measure("photos", shown), "drawings": measure("drawings", drawings())}
    write_json(OUT, made | {"pictures": sorted({name for name, _ in shown})})
    print(table(made))
    print(f"photos from: {', '.join(sorted({name for name, _ in shown}))}\nwritten: {OUT}")
