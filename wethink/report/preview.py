"""Preview of the configured sources and rows (`wethink preview`): how each will be read, before anything runs.

Images are opened but not decoded, so that thousands take seconds; `ingest` finds damaged pixels. Near-duplicates and
held-out shares are not computed: an image is shown in the split that its table gives, or in `train`.
"""

import base64
import hashlib
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from textwrap import wrap

from PIL import Image

from wethink.common.jsonl import Record, write_json
from wethink.common.progress import track
from wethink.config.data import Source
from wethink.config.params import Params
from wethink.data.given_rows import GivenRows
from wethink.data.image_decoding import Unusable, accept, check_shape
from wethink.data.image_readers import Found, candidates
from wethink.data.image_store import ImageRecord
from wethink.data.schema import SPLITS, row_images
from wethink.data.tables.files import TEXT_SUFFIXES
from wethink.evaluation.summary import FEW
from wethink.report.render import render
from wethink.synthesis.import_rows import Declared, declared, import_given, import_rows, rows_table
from wethink.synthesis.paths import divide_paths
from wethink.synthesis.pipeline import has_path
from wethink.synthesis.rejections import reasons, remedy

SHOWN = 10  # rows of a source
THUMBNAIL = 160  # pixels of the longer side
TEXT_CHARS = 300


@dataclass
class _Read:
    """One source as far as it was read."""

    name: str
    kind: str
    path: str
    columns: dict[str, str] = field(default_factory=dict)  # table → its columns by role
    images_dropped: Counter[str] = field(default_factory=Counter)
    records: list[ImageRecord] = field(default_factory=list)
    names: list[Record] = field(default_factory=list)
    given: GivenRows = field(default_factory=GivenRows)
    thumbnails: dict[str, str] = field(default_factory=dict)
    note: str = ""


def preview(params: Params, drawn: Path, out: Path) -> Record:
    """Read every source and the configured file of rows; write `preview.json` and `preview.html` to a folder.

    Args:
        params: the configuration.
        drawn: the folder of the drawn sources; it need not exist.
        out: where the files are written.

    Returns:
        What `preview.json` holds.

    Raises:
        UserError: a source or the file of rows is missing, unreadable, or lacks a named column.
    """
    own = declared(params.rewards.functions)
    read = [
        _read(source, f"params.yaml, ingest.sources[{i}]", params) for i, source in enumerate(params.ingest.sources)
    ]
    rows = {one.name: import_given(one.given.rows, one.records, own) for one in read}
    if params.synthesize.rows is not None:
        rows[Path(params.synthesize.rows).name] = _of_file(params, read, own)
    every = [row for part in rows.values() for row in part]
    divided = divide_paths(every, lambda image: has_path(image, params.synthesize.path_share, params.seed))
    thumbnails = {image: data for one in read for image, data in one.thumbnails.items()}
    sources = [_summary(one, rows[one.name], thumbnails) for one in read]
    if params.synthesize.rows is not None:
        path = Path(params.synthesize.rows)
        file = _Read(path.name, "rows", str(path), {path.name: rows_table(path, params.synthesize.columns)[1].shown()})
        sources.append(_summary(file, rows[path.name], thumbnails))
    found: Record = {"sources": sources, "totals": _totals(every), "notes": _notes(params, read, every, divided)}
    write_json(out / "preview.json", {**found, "sources": [_without_pictures(source) for source in sources]})
    (out / "preview.html").write_text(render("preview.html.jinja", **found), encoding="utf-8")
    return found


def _read(source: Source, key: str, params: Params) -> _Read:
    """Read one source; a drawn one is counted by its configuration."""
    one = _Read(source.name, source.kind, source.path or "")
    if source.path is None:
        one.note = "drawn by the `draw` stage; its rows are written by the annotator"
        return one
    reading = candidates(source, Path(), key, params.ingest.max_file_mb)
    one.columns = {table: roles.shown() for table, roles in reading.roles.items()}
    if any(not roles.has_rows for roles in reading.roles.values()) and source.rows:
        one.note = "no columns look like question and answer: only the images are read (name them in `columns`)"
    if not reading.roles:
        one.note = "a folder of pictures; rows come from synthesize.rows or from an annotator"
    for found in track(reading.found, f"preview {source.name}", reading.steps):
        _look(found, source, params, one)
    return one


def _look(found: Found, source: Source, params: Params, one: _Read) -> None:
    image, fault = None, ""
    if found.read is None:
        one.given.add(replace(found, split=found.split or "train"), source.name, None, fault)
        return
    try:
        data = found.read()
        image = hashlib.sha256(data).hexdigest()
        if (found.split or "train") not in SPLITS:
            raise Unusable(f"unknown split: '{found.split}' is none of {', '.join(SPLITS)}")
        if len(one.thumbnails) < SHOWN and image not in one.thumbnails:
            data = accept(data, params.ingest.max_pixels, source.animated == "first").data
            one.thumbnails[image] = _thumbnail(data)
        width, height = _size(data, params.ingest.max_pixels, source.animated == "first")
        record = ImageRecord(image, source.name, found.split or "train", image, width, height, found.origin)
        one.records.append(record)
        names = (*found.names, *found.again)
        one.names += [{"image": image, "source": source.name, "name": name} for name in names]
    except Unusable as reason:
        image, fault = None, str(reason).split(":")[0]
        one.images_dropped[str(reason).split(":")[0]] += 1
    one.given.add(found, source.name, image, fault)


def _size(data: bytes, max_pixels: int, first_frame: bool) -> tuple[int, int]:
    """Read an image's header; one that cannot be read is decoded as `ingest` does, which may repair it.

    Raises:
        Unusable: `ingest` would refuse it.
    """
    try:
        with Image.open(io.BytesIO(data)) as opened:
            check_shape(opened, first_frame)
            return opened.size
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        found = accept(data, max_pixels, first_frame)
        return found.width, found.height


def _thumbnail(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as opened:
        small = opened.convert("RGB")
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "PNG")
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()


def _of_file(params: Params, read: Sequence[_Read], own: Declared) -> list[Record]:
    records = [record for one in read for record in one.records]
    names = [name for one in read for name in one.names]
    return import_rows(Path(str(params.synthesize.rows)), records, names, params.synthesize.columns, own)


def _summary(one: _Read, rows: list[Record], thumbnails: dict[str, str]) -> Record:
    kept = [row for row in rows if row["reason"] is None]
    first = _varied(kept, thumbnails)
    return {
        "name": one.name,
        "kind": one.kind,
        "path": one.path,
        "columns": one.columns,
        "images": len({record.id for record in one.records}),
        "images_dropped": dict(one.images_dropped.most_common()),
        "note": one.note,
        **_totals(rows),
        "dropped": [{"reason": why, "count": count, "remedy": remedy(why)} for why, count in reasons(rows)],
        "shown": [_shown(row) | {"pictures": _pictures(row, thumbnails)} for row in first],
        "shown_dropped": [_shown(row) | {"reason": row["reason"]} for row in rows if row["reason"]][:SHOWN],
    }


def _pictures(row: Record, thumbnails: Mapping[str, str]) -> list[str]:
    return [thumbnails[image] for image in row_images(row) if image in thumbnails]


def _varied(rows: Sequence[Record], thumbnails: Mapping[str, str]) -> list[Record]:
    """Choose rows to show: those with a thumbnail first, and of each image one after the other."""
    turns: Counter[str] = Counter()
    ranked: list[tuple[bool, int, int]] = []
    for row in rows:
        shown = " ".join(row_images(row))
        turns[shown] += 1
        ranked.append((not _pictures(row, thumbnails), turns[shown], len(ranked)))
    return [rows[place] for _, _, place in sorted(ranked)[:SHOWN]]


def _totals(rows: Sequence[Record]) -> Record:
    kept = [row for row in rows if row["reason"] is None]
    answers = Counter(row["answer"] for row in kept)
    return {
        "rows": len(rows),
        "kept": len(kept),
        "with_path": sum(bool(row["refined_cot"]) for row in kept),
        "categories": dict(Counter(row["category"] for row in kept).most_common()),
        "rewards": dict(Counter(row["reward"] for row in kept).most_common()),
        "answers": dict(answers.most_common(5)),
        "columns_kept": sorted({name for row in kept for name in row.get("columns", {})}),
    }


def _shown(row: Record) -> Record:
    keys = ("problem", "answer", "category", "reward", "refined_cot", "image_path")
    return {key: row[key][:TEXT_CHARS] for key in keys} | {"line": row["provenance"]["line"]}


def _without_pictures(source: Record) -> Record:
    return source | {"shown": [{k: v for k, v in row.items() if k != "pictures"} for row in source["shown"]]}


def _notes(params: Params, read: Sequence[_Read], rows: Sequence[Record], divided: str | None) -> list[str]:
    """Collect what a person should know before a run."""
    notes = [f"{divided}."] if divided else []
    kept = [row for row in rows if row["reason"] is None]
    bringing = {one.name for one in read if one.given.rows}
    if rows and not kept:
        notes.append("No row can be used; `synthesize` would stop.")
    writes = [one.name for one in read if one.name not in bringing]
    if params.synthesize.annotator == "rows":
        if not rows:
            notes.append("synthesize.annotator is rows, and no source or file brings any; `synthesize` would stop.")
        writes = []
    train = [row for row in kept if row["split"] == "train"]
    if train and not writes and not any(row["refined_cot"] for row in train):
        if params.grpo.start == "base":
            notes.append("No row has a reasoning path: `sft` passes the base policy on, and GRPO starts from it.")
        else:
            notes.append(
                "No row has a reasoning path, so `sft` would stop: set grpo.start: base, or give paths (columns.path)."
            )
    if further := sum("further_turns" in row.get("columns", {}) for row in kept):
        notes.append(f"{further:,} rows are dialogues with further turns; the first question and its answer are read.")
    if kept and not writes and len(kept) < params.validate_.min_rows:
        notes.append(
            f"{len(kept):,} rows can be used, fewer than validate.min_rows ({params.validate_.min_rows:,}): `validate` "
            "would stop. Bring more rows, or lower the limit to try the pipeline out."
        )
    if several := sum("alternatives" in row for row in kept):
        notes.append(
            f"{several:,} rows have several different answers: any of them is right, and those that repeat are votes "
            "(docs/rewards.md)."
        )
    notes += [
        f"{one.path} lies in the project's own folder, so a picture that changes later is not noticed: put the table "
        "and its pictures into a folder of their own."
        for one in read
        if one.path.casefold().endswith(TEXT_SUFFIXES) and Path(one.path).parent.resolve() == Path.cwd().resolve()
    ]
    notes += [note for source, one in zip(params.ingest.sources, read, strict=True) if (note := _held_out(source, one))]
    if writes:
        notes.append(f"The annotator '{params.synthesize.annotator}' writes rows about: {', '.join(writes)}.")
    return notes


def _held_out(source: Source, one: _Read) -> str:
    """Tell how much of a source is held out, and whether that is enough to measure it; `draw` splits its own."""
    if source.kind == "drawn" or not (share := source.tuning + source.reporting):
        return ""
    note = f"About {share:.0%} of the scenes of '{source.name}' are held out; their rows become items."
    given = sum(record.split == "reporting" for record in one.records)
    expected = given or round(source.reporting * len({record.id for record in one.records}))
    if expected < FEW:
        note += (
            f" That is about {expected} to evaluate by, and fewer than {FEW} measure little: raise `reporting` of the "
            "source, or bring more images."
        )
    return note


def lines(found: Record, out: Path, width: int = 80, height: int = 24) -> list[str]:
    """Return a preview as lines of a terminal that fit its width and height; notes are not cut."""
    head: list[str] = []
    for source in found["sources"]:
        head.append(f"{source['name']} ({source['kind']}{' ' + source['path'] if source['path'] else ''})")
        head += [f"  {table}: {columns}" for table, columns in list(source["columns"].items())[:1]]
        dropped = ", ".join(f"{count:,} {reason}" for reason, count in list(source["images_dropped"].items())[:2])
        images = [f"{source['images']:,} images"] if source["kind"] not in ("rows", "drawn") else []
        images += [f"not usable: {dropped}"] if dropped else []
        if source["rows"]:
            kinds = ", ".join(f"{count:,} {name}" for name, count in source["categories"].items())
            images += [
                f"{source['kept']:,} of {source['rows']:,} rows ({kinds or 'none'}; {source['with_path']:,} with path)"
            ]
        head += [f"  {'; '.join(images)}"] if images else []
        head += [f"  dropped: {d['count']:,} {d['reason']} - {d['remedy']}" for d in source["dropped"][:2]]
        head += [f"  {source['note']}"] if source["note"] else []
    head = [line for text in head for line in wrap(text, width, subsequent_indent="    ")]
    where = f"page: {out / 'preview.html'} (or `wethink open`); figures: {out / 'preview.json'}"
    tail = [line for text in (*found["notes"], where) for line in wrap(text, width)]
    room = max(0, height - len(head) - len(tail) - 1)
    with_rows = [source for source in found["sources"] if source["shown"]]
    rows = [
        f"  {row['image_path'][-24:]:<24} {' '.join(row['problem'].split())} -> {row['answer']}"[:width]
        for source in with_rows
        for row in source["shown"][: max(1, room // max(1, len(with_rows)))]
    ]
    return [*head, *rows[:room], *tail]
