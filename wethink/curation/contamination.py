"""Benchmark decontamination: training rows that share images or questions with a benchmark.

A benchmark is a TSV file in VLMEvalKit's format. Each of its pictures is compared with the collection's. A hit is

* the picture itself, perhaps re-encoded, resized or slightly cropped: all rows about it are dropped; or
* the same question with the same answer about a picture that is at least near: that row is dropped.

Equal words alone are no hit, as templates ("what is the title of this book ?") share them everywhere; their count is
published. The file is streamed: memory holds one row and the collection's hashes.
"""

import ast
import base64
import binascii
import csv
import io
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, file_sha256
from wethink.curation import duplicate_questions as questions
from wethink.data.image_decoding import Unusable, accept
from wethink.data.image_hashing import NEAR, Hashes, hashes, neighbours, same_picture
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row
from wethink.rewards.rules.options import options

NEARBY = 16  # of 64 bits: largest Hamming distance if question and answer agree
REFERENCE = 64  # characters: an `image` up to this length is the index of the row with the picture (VLMEvalKit)
EXAMPLES = 5  # published per benchmark
MAX_PIXELS = 1 << 24
LETTERS = "ABCDEFGHIJ"


@dataclass
class Benchmark:
    """Counts and hits of one TSV file; `as_record` is published."""

    path: Path
    rows: int = 0
    pictures: int = 0
    unreadable: int = 0
    words_only: int = 0
    images: set[str] = field(default_factory=set)  # images of the collection that it shows
    questions: set[str] = field(default_factory=set)  # further rows of the collection that it asks
    examples: list[Record] = field(default_factory=list)

    def as_record(self) -> Record:
        return {
            "file": self.path.name,
            "sha256": file_sha256(self.path),
            "rows": self.rows,
            "pictures": self.pictures,
            "unreadable_pictures": self.unreadable,
            "same_words_elsewhere": self.words_only,
            "images_found": len(self.images),
            "questions_found": len(self.questions),
            "examples": self.examples,
        }


@dataclass(frozen=True)
class Collection:
    """The training images with their hashes, and the rows about each."""

    ids: Sequence[str]
    hashes: Hashes  # [images, views]
    rows: Mapping[str, Sequence[Row]]
    open: Callable[[str], Image.Image]


def collection(rows: Sequence[Row], images: ImageSet) -> Collection:
    """Hash the images of the rows."""
    by_image: dict[str, list[Row]] = {}
    for row in rows:
        by_image.setdefault(row["image"], []).append(row)
    ids = sorted(image for image in by_image if image in images)
    stacked = np.stack([hashes(images.open(image)) for image in ids]) if ids else np.zeros((0, 1), np.uint64)
    return Collection(ids, stacked, by_image, images.open)


def contaminated(ours: Collection, path: Path) -> Benchmark:
    """Compare one benchmark, streamed, with the collection.

    Raises:
        UserError: the file is missing or lacks columns of VLMEvalKit's TSV format.
    """
    found = Benchmark(path)
    asked = {questions.words(questions.stem(row["problem"])) for rows in ours.rows.values() for row in rows}
    near: dict[str, tuple[list[str], list[str]]] = {}  # index → images shown, images nearby
    waiting: list[tuple[str, Record]] = []  # rows that refer to a later row's picture
    for record in _records(path):
        found.rows += 1
        found.words_only += questions.words(record["question"]) in asked
        cell = record.pop("image")
        if len(cell) <= REFERENCE and cell not in near:
            waiting.append((cell, record))
            continue
        if len(cell) > REFERENCE:
            near[record["index"]] = _look(cell, ours, found)
        _judge(record, near[cell if len(cell) <= REFERENCE else record["index"]], ours, found)
    for cell, record in waiting:
        if cell not in near:
            found.unreadable += 1
        _judge(record, near.get(cell, ([], [])), ours, found)
    return found


def _look(cell: str, ours: Collection, found: Benchmark) -> tuple[list[str], list[str]]:
    """Return the collection's images that a cell shows, and those nearby.

    A cell is base64, or a list of base64 strings.
    """
    shown: list[str] = []
    nearby: list[str] = []
    for encoded in ast.literal_eval(cell) if cell.startswith("[") else [cell]:
        found.pictures += 1
        try:
            data = accept(base64.b64decode(encoded), MAX_PIXELS).data
        except (Unusable, binascii.Error, ValueError):
            found.unreadable += 1
            continue
        with Image.open(io.BytesIO(data)) as opened:
            picture = opened.convert("RGB")
        query = hashes(picture)
        if ours.ids:
            nearby += [ours.ids[place] for place in neighbours(query, ours.hashes, NEARBY)]
            likely = [ours.ids[place] for place in neighbours(query, ours.hashes, NEAR)]
            shown += [image for image in likely if same_picture(picture, ours.open(image))]
    return shown, [image for image in nearby if image not in shown]


def _judge(record: Record, near: tuple[list[str], list[str]], ours: Collection, found: Benchmark) -> None:
    shown, nearby = near
    for image in shown:
        if image not in found.images:
            found.images.add(image)
            _example(found, record, image, ours.rows[image][0], "the picture")
    listed = {letter: record[letter] for letter in LETTERS if record.get(letter)}
    wanted = questions.answers(record["answer"], listed)
    for image in nearby:
        for row in ours.rows[image]:
            agrees = wanted & questions.answers(row["answer"], options(row["problem"]))
            if agrees and questions.same_question(record["question"], questions.stem(row["problem"])):
                found.questions.add(row["id"])
                _example(found, record, image, row, "question and answer, and a near picture")


def _example(found: Benchmark, record: Record, image: str, row: Row, what: str) -> None:
    if len(found.examples) < EXAMPLES:
        found.examples.append(
            {
                "index": record["index"],
                "image": image,
                "found": what,
                "benchmark_asks": record["question"][:300],
                "row": row["id"],
                "row_asks": row["problem"][:300],
            }
        )


def _records(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the rows of a TSV as strings, empty if missing.

    Raises:
        UserError: the file is missing, is no TSV or lacks a column.
    """
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a cell holds a whole picture
    try:
        with path.open(encoding="utf-8", errors="replace", newline="") as handle:
            reader = csv.DictReader(handle, delimiter="\t")
            missing = [name for name in ("index", "image", "question") if name not in (reader.fieldnames or [])]
            if missing:
                raise UserError(
                    f"{path} has no column '{missing[0]}'; validate.curation.benchmarks takes VLMEvalKit's TSV files "
                    "(index, image, question, answer, A, B, …)."
                )
            for row in reader:
                record = {name: value or "" for name, value in row.items() if isinstance(name, str)}
                yield record | {"answer": record.get("answer", "")}
    except FileNotFoundError:
        raise UserError(f"validate.curation.benchmarks: {path} does not exist; mend the path.") from None
    except csv.Error as error:
        raise UserError(f"{path} is no TSV file ({error}); download it again.") from None
