"""Benchmark decontamination: training rows that share images or questions with a benchmark.

A benchmark is a TSV file in VLMEvalKit's format. Each of its pictures is compared with the collection's. A hit is

* the picture itself, perhaps re-encoded, resized or slightly cropped: all rows about it are dropped; or
* the same question with the same answer about a picture that is at least near: that row is dropped.

Equal words alone are no hit, as templates ("what is the title of this book ?") share them everywhere; their count is
published. Pictures and rows that cannot be read were not compared: they are counted, and a share above a limit is an
error. Memory holds the texts of the rows, one picture and the collection's hashes and signatures.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from wethink.common.jsonl import Record, file_sha256
from wethink.common.progress import track
from wethink.curation import duplicate_questions as questions
from wethink.data.benchmark_table import Item, NoImage, Table
from wethink.data.duplicates.comparison import SAME, confirmed
from wethink.data.duplicates.neighbours import Neighbours
from wethink.data.duplicates.signatures import Signatures, signature, stacked
from wethink.data.image_decoding import Unusable, accept
from wethink.data.image_hashing import Hashes, hashes, neighbours
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, row_images
from wethink.rewards.rules.options import options

NEARBY = 16  # of 64 bits: largest Hamming distance if question and answer agree
EXAMPLES = 5  # published per benchmark
MAX_PIXELS = 1 << 24


@dataclass
class Benchmark:
    """Counts and hits of one TSV file; `as_record` is published."""

    path: Path
    rows: int = 0
    without_picture: int = 0  # rows that have none: nothing to compare
    unreadable_rows: int = 0
    pictures: int = 0
    unreadable: int = 0  # pictures
    words_only: int = 0
    images: set[str] = field(default_factory=set)  # images of the collection that it shows
    questions: set[str] = field(default_factory=set)  # further rows of the collection that it asks
    examples: list[Record] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # the first of what could not be read, and why

    @property
    def unchecked(self) -> int:
        """Number of pictures and rows that could not be read, and so were not compared."""
        return self.unreadable + self.unreadable_rows

    @property
    def checkable(self) -> int:
        return self.pictures + self.unreadable_rows

    def as_record(self) -> Record:
        return {
            "file": self.path.name,
            "sha256": file_sha256(self.path),
            "rows": self.rows,
            "rows_without_picture": self.without_picture,
            "unreadable_rows": self.unreadable_rows,
            "pictures": self.pictures,
            "unreadable_pictures": self.unreadable,
            "unreadable_examples": self.faults,
            "same_words_elsewhere": self.words_only,
            "images_found": len(self.images),
            "questions_found": len(self.questions),
            "examples": self.examples,
        }


@dataclass(frozen=True)
class Collection:
    """The training images with their hashes and signatures, and the rows about each."""

    ids: Sequence[str]
    hashes: Hashes  # [images, views]
    signatures: Signatures  # [images, BYTES]
    neighbours: Neighbours  # of the signatures
    rows: Mapping[str, Sequence[Row]]
    open: Callable[[str], Image.Image]

    def shown_by(self, picture: Image.Image) -> list[str]:
        """Return the images that a picture shows, perhaps re-encoded, resized or slightly cropped."""
        query = signature(picture)[None]
        pairs = self.neighbours.nearest(query)
        ours = (self.signatures, lambda place: self.open(self.ids[place]))
        # A benchmark's picture that is overlooked costs more than a row: flat pictures have no stricter threshold here.
        same = confirmed(pairs, (query, lambda place: picture), ours, flat=SAME)
        return [self.ids[place] for place in pairs[same][:, 1]]


def collection(rows: Sequence[Row], images: ImageSet) -> Collection:
    """Read the images of the rows."""
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        for image in dict.fromkeys(row_images(row)):
            by_image.setdefault(image, []).append(row)
    return collected(sorted(image for image in by_image if image in images), by_image, images.open)


def collected(
    ids: Sequence[str], rows: Mapping[str, Sequence[Row]], open_image: Callable[[str], Image.Image]
) -> Collection:
    """Hash and sign images.

    Args:
        ids: the images.
        rows: image → the rows about it.
        open_image: returns an image by its id.
    """
    hashed: list[Hashes] = []
    signed: list[Signatures] = []
    for image in track(ids, "images to compare with benchmarks", len(ids)):
        picture = open_image(image)
        hashed.append(hashes(picture))
        signed.append(signature(picture))
    signatures = stacked(signed)
    stack = np.stack(hashed) if hashed else np.zeros((0, 1), np.uint64)
    return Collection(ids, stack, signatures, Neighbours(signatures), rows, open_image)


def contaminated(ours: Collection, path: Path) -> Benchmark:
    """Compare one benchmark with the collection, a picture at a time.

    Raises:
        UserError: the file is missing, lacks columns of VLMEvalKit's TSV format, or has no picture at all.
    """
    table, found = Table(path, keep_going=True), Benchmark(path)
    found.without_picture, found.unreadable_rows = table.skipped, len(table.faults)
    found.rows = len(table) + table.skipped + len(table.faults)
    found.faults = table.faults[:EXAMPLES]
    asked = {questions.words(questions.stem(row["problem"])) for rows in ours.rows.values() for row in rows}
    near: dict[str, tuple[list[str], list[str]]] = {}  # row that holds the picture → images shown, images nearby
    for item in table.items.values():
        found.words_only += questions.words(item.get("question")) in asked
        owner = table.owner(item.index)
        if owner not in near:
            near[owner] = _look(table, item, ours, found)
        _judge(item, near[owner], ours, found)
    return found


def _look(table: Table, item: Item, ours: Collection, found: Benchmark) -> tuple[list[str], list[str]]:
    """Return the collection's images that an item shows, and those nearby."""
    shown: list[str] = []
    nearby: list[str] = []
    for data in table.pictures(item.index):
        found.pictures += 1
        try:
            if isinstance(data, NoImage):
                raise data
            accepted = accept(data, MAX_PIXELS).data
        except (Unusable, NoImage) as error:
            found.unreadable += 1
            if len(found.faults) < EXAMPLES:
                found.faults.append(f"index {item.index}: {error}")
            continue
        with Image.open(io.BytesIO(accepted)) as opened:
            picture = opened.convert("RGB")
        if ours.ids:
            nearby += [ours.ids[place] for place in neighbours(hashes(picture), ours.hashes, NEARBY)]
            shown += ours.shown_by(picture)
    return shown, [image for image in nearby if image not in shown]


def _judge(item: Item, near: tuple[list[str], list[str]], ours: Collection, found: Benchmark) -> None:
    shown, nearby = near
    for image in shown:
        if image not in found.images:
            found.images.add(image)
            _example(found, item, image, ours.rows[image][0], "the picture")
    wanted = questions.answers(item.get("answer"), item.options())
    for image in nearby:
        for row in ours.rows[image]:
            agrees = wanted & questions.answers(row["answer"], options(row["problem"]))
            if agrees and questions.same_question(item.get("question"), questions.stem(row["problem"])):
                found.questions.add(row["id"])
                _example(found, item, image, row, "question and answer, and a near picture")


def _example(found: Benchmark, item: Item, image: str, row: Row, what: str) -> None:
    if len(found.examples) < EXAMPLES:
        found.examples.append(
            {
                "index": item.index,
                "image": image,
                "found": what,
                "benchmark_asks": item.get("question")[:300],
                "row": row["id"],
                "row_asks": row["problem"][:300],
            }
        )
