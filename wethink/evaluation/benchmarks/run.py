"""Benchmark runs: one record per item and pass, resumable and sharded.

Command `python -m wethink benchmark`; it writes

    reports/benchmarks/<table>/<label>-<key>/run.json              what was run: model, engine, versions, budgets
                                             items-<i>of<n>.jsonl  appended as answers come

The key is a hash of all that the answers depend on, so runs of different settings never mix. A killed run resumes; a
half-written last line is dropped, and calls that failed are asked again. Passes: greedy, greedy with a blank and with
another item's image (accuracy without seeing is no vision), and, if asked for, k samples.
"""

import io
import json
import os
import re
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, dumps, file_sha256, read_jsonl, write_json, write_jsonl
from wethink.common.progress import track
from wethink.config.response_format import ResponseFormat
from wethink.data.benchmark_table import Item, NoImage, Table
from wethink.evaluation.benchmarks.answer_extraction import KIT, OURS
from wethink.evaluation.benchmarks.engines import Engine, Query, Reply, System
from wethink.evaluation.benchmarks.registry import Benchmark, Family, entry_of, has_kit_protocol
from wethink.evaluation.benchmarks.scoring import GRADED, SCORERS, gold_of, prompt, score
from wethink.rewards.format import DEFAULT

if TYPE_CHECKING:
    from PIL import Image

HOME = Path("reports/benchmarks")
FAILED = "endpoint: "  # a record's reason begins so if its call failed: the next start asks it again
MAX_PIXELS = 1280 * 28 * 28  # as `ingest` and `ask`
Pixels = Literal["true", "blank", "shuffled"]


@dataclass(frozen=True)
class Pass:
    """One pass over all items: image variant, temperature and sample number."""

    pixels: Pixels
    temperature: float
    sample: int = 0


@dataclass(frozen=True)
class Settings:
    """Settings that the caller chooses."""

    label: str
    system: System = "own"
    samples: int = 0
    temperature: float = 1.0
    max_new_tokens: int = 1024
    max_pixels: int = MAX_PIXELS
    batch: int = 64
    seed: int = 0
    controls: bool = True
    family: Family | None = None  # declared for the table; None: by its name, columns and golds
    form: ResponseFormat = DEFAULT  # response format that the model was taught

    def passes(self) -> list[Pass]:
        controls = [Pass("blank", 0.0), Pass("shuffled", 0.0)] if self.controls else []
        return [Pass("true", 0.0), *controls, *(Pass("true", self.temperature, n) for n in range(self.samples))]


def shard_of(text: str) -> tuple[int, int]:
    """Parse a shard `i/n` into (i, n), i from 1.

    Raises:
        UserError: it is not of that form.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 0 < int(found.group(1)) <= int(found.group(2)):
        raise UserError(f"--shard {text}: write i/n with i from 1 to n, for example 1/4.")
    return int(found.group(1)), int(found.group(2))


def run(
    table: Table, engine: Engine, settings: Settings, home: Path = HOME, shard: tuple[int, int] = (1, 1)
) -> dict[str, Any]:
    """Run the unanswered items of a shard; return folder, counts and CPU seconds.

    `failed` counts the calls that failed, by reason; `unasked` is the reason if no item could be asked at all;
    `engine_cpu_seconds` is the engine's part of `cpu_seconds`.

    Raises:
        UserError: the benchmark's items need VLMEvalKit, or the label is no file name.
    """
    benchmark = native(table, settings.family)
    if not re.fullmatch(r"[\w.+-]+", settings.label):
        raise UserError(f"--name '{settings.label}': use letters, digits and . _ + - only; it names a folder.")
    if not benchmark.thinks:
        settings = replace(settings, system="none")
    started, spent = time.process_time(), 0.0
    about = describe(table, benchmark, engine, settings)
    folder = home / table.name / f"{settings.label}-{content_id(about)[:8]}"
    write_json(folder / "run.json", about | {"table": str(table.path)})  # the path is no part of the key
    number, shards = shard
    path = folder / f"items-{number}of{shards}.jsonl"
    earlier = _without_failures(path)
    done = {key_of(record) for record in earlier}
    todo = [
        (item, one)
        for one in settings.passes()
        for item in list(table.items.values())[number - 1 :: shards]
        if (item.index, one.pixels, one.temperature, one.sample) not in done
    ]
    others = other_pictures(table, settings.seed)
    faults = Counter(str(record["reason"]) for record in earlier if "fault" in record)  # broken pictures stay so
    answered = len(earlier) - faults.total()
    batches = [todo[i : i + settings.batch] for i in range(0, len(todo), settings.batch)]
    with path.open("a", encoding="utf-8") as log:
        for batch in track(batches, f"{table.name} {settings.label}"):
            asked = [ask(table, item, benchmark, one, others, settings) for item, one in batch]
            live = [query for query in asked if isinstance(query, Query)]
            before = time.process_time()
            answers = iter(engine.answer(live))
            spent += time.process_time() - before
            for (item, one), query in zip(batch, asked, strict=True):
                reply = next(answers) if isinstance(query, Query) else query
                answered += reply.fault is None
                faults.update([] if reply.fault is None else [reply.fault])
                log.write(dumps(judge(item, one, reply, benchmark, settings)) + "\n")
            log.flush()
            os.fsync(log.fileno())
    return _outcomes(faults, answered) | {
        "folder": str(folder),
        "family": benchmark.family,
        "items": len(table),
        "answered": len(todo),
        "kept": len(done),
        "skipped_without_image": table.skipped,
        "engine_cpu_seconds": round(spent, 3),
        "cpu_seconds": round(time.process_time() - started, 3),
    }


def _outcomes(faults: Counter[str], answered: int) -> dict[str, Any]:
    """Return the failed calls by reason, and the reason if nothing could be asked."""
    failed = {reason: count for reason, count in faults.most_common() if reason.startswith(FAILED)}
    unasked = faults.most_common(1)[0][0] if faults and not answered and not failed else ""
    return {"failed": failed, "unasked": unasked}


def native(table: Table, declared: Family | None = None) -> Benchmark:
    """Return the entry of a table whose items are scored here.

    Raises:
        UserError: VLMEvalKit scores them, or the family does not fit the table.
    """
    benchmark = entry_of(table, declared)
    if benchmark.family not in SCORERS:
        raise UserError(
            f"{table.name} is not scored natively, it needs {benchmark.missing}: `wethink official` runs it, or "
            "declare --family (docs/benchmarks.md)."
        )
    return benchmark


def describe(table: Table, benchmark: Benchmark, engine: Engine, settings: Settings) -> dict[str, Any]:
    """Return the contents of `run.json`: all that the answers depend on."""
    chosen = asdict(settings)
    del chosen["label"], chosen["batch"], chosen["family"], chosen["form"]
    taught = {} if settings.form == DEFAULT else {"format": settings.form.model_dump(mode="json")}
    return {
        "benchmark": table.name,
        "family": benchmark.family,
        "table_sha256": file_sha256(table.path),
        "items": len(table),
        "label": settings.label,
        "settings": chosen,
        **taught,
        **engine.describe(settings.system),
    }


def ask(
    table: Table, item: Item, benchmark: Benchmark, one: Pass, others: dict[str, str], settings: Settings
) -> Query | Reply:
    """Build the query of one item and pass, or a reply with the fault."""
    try:
        source = item.index if one.pixels != "shuffled" else others[item.index]
        pictures = [decoded(data, settings.max_pixels) for data in table.images(source)]
    except NoImage as error:
        return Reply("", None, f"image: {error}")
    except KeyError:
        return Reply("", None, "image: no other item shows as many")
    if one.pixels == "blank":
        pictures = [blank(picture) for picture in pictures]
    try:
        pieces = tuple(pictures[piece] if isinstance(piece, int) else piece for piece in prompt(item, benchmark))
    except IndexError:
        return Reply("", None, "the question refers to an image that is not there")
    return Query(f"{table.name} {item.index}", pieces, one.temperature, one.sample, settings.system)


def decoded(data: bytes, max_pixels: int) -> "Image.Image":
    """Decode an upright RGB image within the pixel budget.

    Raises:
        NoImage: the bytes are no usable image.
    """
    from PIL import Image

    from wethink.data.image_decoding import Unusable, accept

    try:
        return Image.open(io.BytesIO(accept(data, max_pixels).data)).convert("RGB")
    except Unusable as error:
        raise NoImage(str(error)) from None


def blank(picture: "Image.Image") -> "Image.Image":
    """Return a mid-grey image of the same size."""
    from PIL import Image

    return Image.new("RGB", picture.size, (128, 128, 128))


def other_pictures(table: Table, seed: int) -> dict[str, str]:
    """Map each item to one that shows other images, equally many.

    The order is hashed and rotated by one; items without such a partner are left out.
    """
    owners: dict[int, dict[str, str]] = {}
    for item in table.items.values():
        owners.setdefault(item.pictures, {}).setdefault(item.shown, item.index)
    following: dict[str, str] = {}
    for shown in owners.values():
        order = sorted(shown, key=lambda name: content_id("shuffled", seed, name))
        if len(order) > 1:
            following |= {name: shown[other] for name, other in zip(order, order[1:] + order[:1], strict=True)}
    return {item.index: following[item.shown] for item in table.items.values() if item.shown in following}


CELLS = ("category", "l2-category", "split", "g_index", "kind", "abilities", "source", "image_path")


def judge(item: Item, one: Pass, reply: Reply, benchmark: Benchmark, settings: Settings) -> Record:
    """Build the record of one answer, judged by our protocol and VLMEvalKit's (None where it has none)."""
    by_kit = has_kit_protocol(benchmark)
    record: Record = {
        "index": item.index,
        "cluster": item.get("scene") or item.shown,
        "cells": {name: item.cells[name] for name in CELLS if name in item.cells},
        **asdict(one),
        "response": reply.text,
        "tokens": reply.tokens,
        "gold": gold_of(item, benchmark),
    }
    if benchmark.family == "choice":
        record["options"] = len(item.options())
    if reply.thoughts:
        record["thoughts"] = reply.thoughts  # provenance; never judged
    if reply.finish != "stop":
        record["finish"] = reply.finish
    if reply.fault is not None:
        record |= {"extracted": "", "verdict": "unknown", "reason": reply.fault, "fault": True}
        return record | {"kit_verdict": "wrong" if by_kit else None, "kit_extracted": ""}
    lenient = settings.system == "none"
    form = DEFAULT if lenient and benchmark.family != "own" else settings.form
    ours = score(item, reply.text, benchmark, OURS, lenient, form)
    record |= {"extracted": ours.extracted, "verdict": ours.verdict.outcome, "reason": ours.verdict.reason}
    if benchmark.family in GRADED:
        record["score"] = ours.verdict.score
    if not by_kit:
        return record | {"kit_verdict": None}
    kit = score(item, reply.text, benchmark, KIT, lenient, form)
    record |= {"kit_verdict": kit.verdict.outcome, "kit_extracted": kit.extracted}
    return record | ({"kit_score": kit.verdict.score} if benchmark.family in GRADED else {})


def as_kit(record: Record) -> Record:
    """Return a record with the verdict, extraction and score of VLMEvalKit's protocol."""
    found = record | {"verdict": record["kit_verdict"], "extracted": record.get("kit_extracted", "")}
    return found | {"score": record.get("kit_score")}


def key_of(record: Record) -> tuple[str, str, float, int]:
    return record["index"], record["pixels"], record["temperature"], record["sample"]


def is_failed(record: Record) -> bool:
    """Tell whether a record stands for a call that failed, not for an answer."""
    return record["verdict"] == "unknown" and str(record["reason"]).startswith(FAILED)


def _without_failures(path: Path) -> list[Record]:
    """Read an unfinished file and remove the records of failed calls from it."""
    records = list(salvage(path))
    kept = [record for record in records if not is_failed(record)]
    if len(kept) < len(records):
        write_jsonl(path, kept)
    return kept


def salvage(path: Path) -> Iterator[Record]:
    """Yield the records of an unfinished file; cut off a half-written last line."""
    if not path.exists():
        return
    data = path.read_bytes()
    if data and not data.endswith(b"\n"):
        path.write_bytes(data[: data.rfind(b"\n") + 1])
    yield from read_jsonl(path)


def records_of(folder: Path) -> list[Record]:
    """Read the records of all shards.

    Raises:
        UserError: an item was answered twice in one pass (shards of different counts overlap).
    """
    found: dict[tuple[str, str, float, int], Record] = {}
    for path in sorted(folder.glob("items-*of*.jsonl")):
        for line in path.read_bytes().split(b"\n")[:-1]:  # the last line may be half-written
            record = json.loads(line)
            if key_of(record) in found:
                raise UserError(f"{folder}: item {record['index']} is in two shards; remove the files of one division.")
            found[key_of(record)] = record
    return list(found.values())


def expected(about: dict[str, Any]) -> Sequence[Pass]:
    """Return the passes of a run, from its run.json."""
    return Settings(label=about["label"], **about["settings"]).passes()
