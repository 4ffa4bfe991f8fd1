"""Preview of the configured sources and rows (`wethink preview`): how each will be read, before anything runs.

Images are opened but not decoded, so that thousands take seconds; `ingest` finds damaged pixels. Near-duplicates and
held-out shares are not computed: an image is shown in the split that its table gives, or in `train`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

from wethink.common.jsonl import Record, write_json
from wethink.config.data import Source
from wethink.config.params import Params
from wethink.data.linked import linked
from wethink.data.photo_clusters import HELD_OUT, placed_text
from wethink.data.schema import TRAINING_SPLITS, row_images
from wethink.data.tables.files import TEXT_SUFFIXES
from wethink.evaluation.summary import FEW
from wethink.report.preview_reading import SEVERAL, SHOWN, Read, read_file, read_source
from wethink.report.render import render
from wethink.synthesis.import_rows import declared, import_given, rows_table
from wethink.synthesis.paths import divide_paths
from wethink.synthesis.pipeline import has_path
from wethink.synthesis.rejections import reasons, remedy

TEXT_CHARS = 300
NO_ANSWER = ("nan", "null", "n/a", "<na>", "nat")  # as programs write a gap


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
        read_source(source, f"params.yaml, ingest.sources[{i}]", params)
        for i, source in enumerate(params.ingest.sources)
    ]
    rows = {one.name: import_given(one.given.rows, one.records, own) for one in read}
    if params.synthesize.rows is not None:
        rows[Path(params.synthesize.rows).name] = read_file(params, read, own)
    every = [row for part in rows.values() for row in part]
    divided = divide_paths(every, lambda image: has_path(image, params.synthesize.path_share, params.seed))
    thumbnails = {image: data for one in read for image, data in one.thumbnails.items()}
    sources = [_summary(one, rows[one.name], thumbnails) for one in read]
    if params.synthesize.rows is not None:
        path = Path(params.synthesize.rows)
        file = Read(path.name, "rows", str(path), {path.name: rows_table(path, params.synthesize.columns)[1].shown()})
        sources.append(_summary(file, rows[path.name], thumbnails))
    found: Record = {"sources": sources, "totals": _totals(every), "notes": _notes(params, read, every, divided)}
    write_json(out / "preview.json", {**found, "sources": [_without_pictures(source) for source in sources]})
    (out / "preview.html").write_text(render("preview.html.jinja", **found), encoding="utf-8")
    return found


def _summary(one: Read, rows: list[Record], thumbnails: dict[str, str]) -> Record:
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
    """Choose rows to show: some about several images and some about none, the others of each image in turn.

    Rows whose images all have a thumbnail come first.
    """
    turns: Counter[str] = Counter()
    ranked: dict[int, list[tuple[bool, int, int]]] = {0: [], 1: [], 2: []}  # about none, one, several
    for place, row in enumerate(rows):
        images = row_images(row)
        turns[" ".join(images)] += 1
        lacks = len(_pictures(row, thumbnails)) < len(images)
        ranked[min(2, len(images))].append((lacks, turns[" ".join(images)], place))
    others = [place for kind in (2, 0) for _, _, place in sorted(ranked[kind])[:SEVERAL]]
    singles = [place for _, _, place in sorted(ranked[1])[: SHOWN - len(others)]]
    return [rows[place] for place in (*singles, *others)]


def _totals(rows: Sequence[Record]) -> Record:
    kept = [row for row in rows if row["reason"] is None]
    answers = Counter(row["answer"] for row in kept)
    return {
        "rows": len(rows),
        "kept": len(kept),
        "with_path": sum(bool(row["refined_cot"]) for row in kept),
        "about_several": sum(len(row_images(row)) > 1 for row in kept),
        "about_none": sum(not row_images(row) for row in kept),
        "categories": dict(Counter(row["category"] for row in kept).most_common()),
        "rewards": dict(Counter(row["reward"] for row in kept).most_common()),
        "answers": dict(answers.most_common(5)),
        "columns_kept": sorted({name for row in kept for name in row.get("columns", {})}),
    }


def _shown(row: Record) -> Record:
    keys = ("problem", "answer", "category", "reward", "refined_cot", "image_path")
    shown = {"images": len(row_images(row)), "line": row["provenance"]["line"]}
    return {key: row[key][:TEXT_CHARS] for key in keys} | shown


def _without_pictures(source: Record) -> Record:
    return source | {"shown": [{k: v for k, v in row.items() if k != "pictures"} for row in source["shown"]]}


def _notes(params: Params, read: Sequence[Read], rows: Sequence[Record], divided: str | None) -> list[str]:
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
    elif kept and not writes and (left := _left_to_train(params, kept)) < params.validate_.min_rows:
        notes.append(
            f"About {left:,} of the {len(kept):,} rows are left to train on when whole scenes are held out, fewer than "
            f"validate.min_rows ({params.validate_.min_rows:,}): `validate` would stop. Bring more rows, or lower the "
            "limit to try the pipeline out."
        )
    if several := sum("alternatives" in row for row in kept):
        notes.append(
            f"{several:,} rows have several different answers: any of them is right, and those that repeat are votes "
            "(docs/rewards.md)."
        )
    if absent := sum(row["answer"].casefold() in NO_ANSWER for row in kept):
        notes.append(
            f"{absent:,} rows have an answer such as 'nan', 'null' or 'N/A', which is read as that word: leave the "
            "cell empty where there is no answer."
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
    photos = [one.name for one in read if one.name in writes and one.kind != "drawn"]
    if photos and params.synthesize.annotator == "embedded":
        notes.append(
            f"That annotator reads drawn images only, so `synthesize` would stop at: {', '.join(photos)}. Name the "
            "columns of their questions and answers, or set synthesize.annotator to endpoints or rows."
        )
    return notes


def _left_to_train(params: Params, kept: Sequence[Record]) -> int:
    """Count the rows that are not held out, by the lots that `ingest` draws; it joins near-duplicates as well."""
    shares = {source.name: {split: getattr(source, split) for split in HELD_OUT} for source in params.ingest.sources}
    together = linked(row_images(row) for row in kept if len(row_images(row)) > 1)
    lots = [
        placed_text(str(together.get(row["scene"], row["scene"])), shares.get(row["source"], {}), params.seed)
        for row in kept
        if row["split"] in TRAINING_SPLITS
    ]
    return lots.count("train")


def _held_out(source: Source, one: Read) -> str:
    """Tell how much of a source is held out, and whether that is enough to measure it; `draw` splits its own."""
    if source.kind == "drawn" or not (share := source.tuning + source.reporting):
        return ""
    note = f"About {share:.0%} of the scenes of '{source.name}' are held out; their rows become items."
    together = linked(row["images"] for row in one.given.rows if len(row.get("images", ())) > 1 and all(row["images"]))
    scenes = {together.get(record.id, record.id): record.split for record in one.records}
    texts = {row["scene"]: row["split"] for row in one.given.rows if row.get("images") == []}
    given = sum(split == "reporting" for split in (*scenes.values(), *texts.values()))
    expected = given or round(source.reporting * (len(scenes) + len(texts)))
    if joined := len(together) - len(set(together.values())):
        note += (
            f" Images of one row are of one scene: rows about several join {len(together):,} images into "
            f"{len(together) - joined:,}."
        )
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
            kinds += f"; {source['about_several']:,} about several images" if source["about_several"] else ""
            kinds += f"; {source['about_none']:,} about none" if source["about_none"] else ""
            images += [
                f"{source['kept']:,} of {source['rows']:,} rows ({kinds or 'none'}; {source['with_path']:,} with path)"
            ]
        head += [f"  {'; '.join(images)}"] if images else []
        head += [f"  dropped: {d['count']:,} {d['reason']} - {d['remedy']}" for d in source["dropped"][:2]]
        if others := source["dropped"][2:]:
            head += [
                f"  dropped: {sum(d['count'] for d in others):,} for {len(others)} other reasons (the page has them)"
            ]
        head += [f"  {source['note']}"] if source["note"] else []
    head = [line for text in head for line in wrap(text, width, subsequent_indent="    ")]
    where = f"page: {out / 'preview.html'} (or `wethink open`); figures: {out / 'preview.json'}"
    tail = [line for text in (*found["notes"], where) for line in wrap(text, width)]
    room = max(0, height - len(head) - len(tail) - 1)
    with_rows = [source for source in found["sources"] if source["shown"]]
    rows = [
        f"  {_named(row):<24} {' '.join(row['problem'].split())} -> {row['answer']}"[:width]
        for source in with_rows
        for row in source["shown"][: max(1, room // max(1, len(with_rows)))]
    ]
    return [*head, *rows[:room], *tail]


def _named(row: Record) -> str:
    return str(row["image_path"][-24:]) if row["images"] == 1 else f"({row['images'] or 'no'} images)"
