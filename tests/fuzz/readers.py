"""Readers under test: each takes bytes from outside and accounts for all of them, or refuses them by name."""

import base64
import contextlib
import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import get_args

from hypothesis import strategies as st
from PIL import Image
from ruamel.yaml import YAML

from tasks import ROOT
from tests.data.test_image_kinds import BESIDE_PIXELS, DEEP, FRAMES, TRANSPARENT
from tests.data.test_ingest import encoded, photo
from tests.fuzz.mutation import TOKENS
from wethink.common.errors import UserError
from wethink.common.jsonl import dumps, json_lines, read_json, read_jsonl
from wethink.common.text_files import UNDECODED, open_text
from wethink.config.params import load_yaml, parse_params
from wethink.config.response_format import Kind, ResponseFormat
from wethink.config.rewards import Rewards
from wethink.curation.contamination import Collection, collected, contaminated
from wethink.data.image_decoding import Unusable, accept
from wethink.data.image_store import ImageRecord
from wethink.evaluation.benchmarks.run import NoImage, Table
from wethink.rewards import format
from wethink.rewards.hybrid import Scorer
from wethink.rewards.judge.model_judge import read_reply
from wethink.rewards.score_lines import score_lines
from wethink.synthesis import reply_schemas
from wethink.synthesis.import_rows import import_rows


class Lost(AssertionError):
    """Some of the input has no outcome."""


@dataclass(frozen=True)
class Reader:
    """A reader, its seeds for mutation, and inputs made from nothing."""

    name: str
    check: Callable[[bytes, Path], None]  # returns for an accounted or refused input
    seeds: Sequence[bytes]
    strategy: st.SearchStrategy[bytes] | None = None
    tokens: Sequence[bytes] = TOKENS
    text: bool = True


def expect(held: bool, what: str) -> None:
    if not held:
        raise Lost(what)


def one_sentence(error: Exception) -> None:
    expect(bool(str(error)) and "\n" not in str(error), f"no sentence: {str(error)[:200]!r}")
    expect(len(str(error)) < 3000, f"a sentence of {len(str(error))} characters")


def written(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


# --- rows and JSON ---------------------------------------------------------------------------------------

IMAGES = [
    ImageRecord(str(n) * 64, "photos", split, f"c{n}", 9, 9, origin)
    for n, (split, origin) in enumerate([("train", "a.png"), ("train", "e\u0301.png"), ("reporting", "b/c.png")])
]
GOOD = {
    "problem": "which ? A red B blue", "answer": "B", "category": "MC", "abilities": ["a"], "refined_cot": "it is blue",
    "image_path": "a.png", "reward": "rule",
}  # fmt: skip
ROW_SEEDS = [
    "".join(json.dumps(GOOD | change, ensure_ascii=False) + "\n" for change in changes).encode()
    for changes in (
        [{}],
        [{}, {"problem": "how many ?", "category": "FIB", "answer": 3}, {"image_path": "é.png", "answer": "(a)"}],
        [{"answer": "<think>x</think><answer>B</answer>"}, {"abilities": "ocr, math"}, {"reward": None}],
    )
]


def filled_lines(path: Path) -> int:
    with open_text(path, "") as handle:
        return sum(bool(line.strip().strip("\ufeff")) for line in handle.read().split("\n"))


def rows(data: bytes, folder: Path) -> None:
    path = written(folder, "rows.jsonl", data)
    try:
        found = import_rows(path, IMAGES)
    except UserError as error:
        return one_sentence(error)
    expect(len(found) == filled_lines(path), f"{len(found)} rows of {filled_lines(path)} lines")
    for row in found:
        dumps(row).encode()
        expect(row["reason"] is None or bool(row["reason"]), "no reason")
        needed = ("problem", "answer", "id") if "images" in row else ("problem", "answer", "id", "image")
        expect(row["reason"] is not None or all(row.get(key) for key in needed), "a bare row")
    return None


def records(data: bytes, folder: Path) -> None:
    path = written(folder, "records.jsonl", data)
    try:
        lines = list(json_lines(path))
    except UserError as error:
        return one_sentence(error)
    expect(len(lines) == filled_lines(path), f"{len(lines)} of {filled_lines(path)} lines")
    for line in lines:
        dumps(line.record).encode()
        expect(UNDECODED not in dumps(line.record), "bytes of another encoding were kept")
    faulty = [line.number for line in lines if line.fault]
    try:
        expect(len(list(read_jsonl(path))) == len(lines) and not faulty, "a faulty line was passed over")
    except UserError as error:
        one_sentence(error)
        expect(bool(faulty) and f"line {faulty[0]}:" in str(error), "the wrong line is named")
    return None


def document(data: bytes, folder: Path) -> None:
    try:
        dumps(read_json(written(folder, "document.json", data))).encode()
    except UserError as error:
        one_sentence(error)


SCORER = Scorer(Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical"))
SCORE_SEEDS = [
    b'{"problem": "how many ?", "gold": "3", "answer": "3"}\n{"gold": "B", "answer": "(b)", "category": "MC"}\n',
    b'{"gold": 3, "response": "<think>x</think><answer>3</answer>", "row": {"a": 1}}\n{"gold": "a", "answer": null}\n',
]


def scores(data: bytes, folder: Path) -> None:
    path = written(folder, "score.jsonl", data)
    try:
        with open_text(path, "") as lines:
            found = list(score_lines(lines, SCORER))
    except UserError as error:
        return one_sentence(error)
    expect(len(found) == filled_lines(path), f"{len(found)} verdicts of {filled_lines(path)} lines")
    for verdict in found:
        dumps(verdict).encode()
        expect(verdict["outcome"] != "unknown" or bool(verdict["reason"]), "unknown without a reason")
    return None


# --- parameters ------------------------------------------------------------------------------------------

TINY = (ROOT / "profiles" / "tiny.yaml").read_bytes()
TREE = YAML(typ="safe", pure=True).load(TINY)


def leaves(value: object, at: str = "") -> dict[str, object]:
    if isinstance(value, dict):
        return {path: leaf for key in value for path, leaf in leaves(value[key], f"{at}.{key}").items()}
    return {at: list(value) if isinstance(value, tuple) else value}


def params(data: bytes, folder: Path) -> None:
    try:
        value = load_yaml(written(folder, "params.yaml", data))
        found = parse_params(value, "params.yaml")
    except UserError as error:
        return one_sentence(error)
    kept = leaves(found.model_dump(mode="json", by_alias=True))
    for path, leaf in leaves(value).items():
        simple = isinstance(leaf, str | int | float | bool)
        read = kept.get(path, kept.get(f"{path}.kind"))  # `rewards.format: tags` is short for a mapping
        expect(not simple or read == leaf, f"{path} is {read!r} and was given as {leaf!r}")
    return None


# --- benchmark tables ------------------------------------------------------------------------------------


@cache
def collection() -> Collection:
    row = {"problem": "which ? A red B blue", "answer": "B", "id": "r", "image": "0"}
    return collected(["0"], {"0": [row]}, lambda image: photo())


PICTURE = base64.b64encode(encoded(photo())).decode()
TABLE_SEEDS = [
    f"index\tquestion\tA\tB\tanswer\timage\n0\tWhich?\tcat\tdog\tB\t{PICTURE}\n1\tAnd?\tx\ty\tA\t0\n".encode(),
    f'index\tquestion\tanswer\timage\n7\t"a ""b""\nc"\t3\t"[\'{PICTURE}\', \'{PICTURE}\']"\n8\tq\t\t7\n'.encode(),
    b"index\tquestion\tanswer\timage_path\n0\tq\ta\tno.png\n1\tq\ta\t['x.png', '../y.png']\n",
]


def table_rows(path: Path) -> int:
    """Count the filled rows behind the header by another way than the product's.

    A row ends with LF or CRLF, or with CR if the first one does; elsewhere a CR is a blank.
    """
    text = path.read_bytes().decode("utf-8-sig")
    first = re.search(r"\r*\n|\r", text)
    text = text.replace("\r", "\n") if first and first.group() == "\r" else re.sub(r"\r(?!\n)", " ", text)
    parsed = csv.reader(io.StringIO(text, newline="\n"), delimiter="\t")
    return sum(any(cell.strip() for cell in row) for row in parsed) - 1


def tables(data: bytes, folder: Path) -> None:
    path = written(folder, "Fuzz.tsv", data)
    try:
        table = Table(path)
    except UserError as error:
        return one_sentence(error)
    expect(len(table) + table.skipped == table_rows(path), f"{len(table)} + {table.skipped} of {table_rows(path)} rows")
    for index in table.items:
        try:
            expect(bool(table.images(index)), "an item without image or reason")
        except NoImage as error:
            expect(bool(str(error)), "no reason")
    return None


def gate(data: bytes, folder: Path) -> None:
    path = written(folder, "Fuzz.tsv", data)
    try:
        found = contaminated(collection(), path)
    except UserError as error:
        return one_sentence(error)
    expect(found.rows == table_rows(path), f"{found.rows} of {table_rows(path)} rows")
    dumps(found.as_record())
    return None


# --- replies ---------------------------------------------------------------------------------------------

FORMS = [
    form for form in vars(reply_schemas).values() if isinstance(form, type) and issubclass(form, reply_schemas.Reply)
]
REPLY_SEEDS = [
    b'{"answer": "3"}',
    b'<think>two and two</think>\n```json\n{"answer": "4"}\n```',
    b'{"tier": "partial"}',
    b"<think>it is blue</think><answer>B</answer>",
    b'{"questions": [{"question": "q", "category": "MC", "options": ["a", "b"],'
    b' "needs": [{"ability": "a", "need": "n"}], "steps": ["s", "t"]}]}',
    b'{"reason": "r", "answerable": true, "unambiguous": false}',
]  # fmt: skip


def replies(data: bytes, folder: Path) -> None:
    text = data.decode("utf-8", "replace")
    with contextlib.suppress(UnicodeDecodeError):
        text = data.decode("utf-8", "surrogatepass")  # a reply in JSON may escape half a character
    for form in FORMS:
        try:
            reply_schemas.parse(text, form)
        except reply_schemas.Malformed as error:
            expect(bool(str(error)), "no reason")
    score = read_reply(text)
    expect(score is None or 0 <= score <= 1, f"a score of {score}")
    for kind in get_args(Kind):
        form = ResponseFormat(kind=kind)
        parsed = format.parse(text, form)
        expect((parsed.fault is None) == bool(parsed.answer), "neither answer nor fault, or both")
        format.lenient(text, form)


# --- pictures --------------------------------------------------------------------------------------------

MAX_PIXELS = 5000


def pictures(data: bytes, folder: Path) -> None:
    for first in (False, True):
        try:
            accepted = accept(data, MAX_PIXELS, first)
        except Unusable as error:
            one_sentence(error)
            expect(":" in str(error), "no detail")
            continue
        image = Image.open(io.BytesIO(accepted.data))
        image.load()
        expect((image.width, image.height) == (accepted.width, accepted.height), "another size")
        expect(image.width * image.height <= MAX_PIXELS and image.convert("RGB").mode == "RGB", "unfit for training")


PICTURE_SEEDS = [
    *(encoded(photo(), kind) for kind in ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF", "PPM", "AVIF", "HEIF")),
    encoded(photo(), "JPEG", progressive=True), encoded(photo(), "JPEG", restart_marker_rows=1),
    encoded(photo(mode="RGBA")),
    *(data for data, _ in DEEP.values()), *TRANSPARENT.values(), *FRAMES.values(),
    *(data for data in BESIDE_PIXELS.values() if len(data) < 20_000),
]  # fmt: skip
PICTURE_TOKENS = (
    b"IEND", b"IDAT", b"tRNS", b"eXIf", b"acTL", b"\xff\xd9", b"\xff\xda", b"\xff\xd0", b"\xff\xff", b"Exif\0\0",
    b"\0" * 9, b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\x01", b"ftypheic", b"ftypavif", b"VP8X", b"ANMF",
    b"II*\0", b"MM\0*",
)  # fmt: skip
