"""Data gallery (`wethink gallery`): page with filters over every image, question, answer and verdict.

`index.html` holds the page alone, `data/index.js` the values that the filters need, and each `data/chunk-….js` the
texts and thumbnails of some images, loaded when one of them is shown. The page works without a server.
Text of models and data travels as JSON and is shown as text: it cannot become markup or script.
"""

import base64
import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_jsonl
from wethink.common.progress import track
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.schema import row_images
from wethink.report.examples import picture

TEMPLATES = Path(__file__).resolve().parent / "templates"
CHUNK = 40  # images
TEXTS = 20  # rows without an image that are shown together
THUMBNAIL = 400  # pixels of the longer side
FACETS = ("source", "category", "ability", "decision", "reason")


def gallery(images: Path, rows: Path, valid: Path, out: Path) -> dict[str, int]:
    """Write the gallery of a `data/rows` folder to `out`.

    Args:
        images: the ingested images.
        rows: kept, rejected and failed rows and the descriptions.
        valid: the output of validation; need not exist yet.
        out: a folder, which is replaced.

    Returns:
        Counts: `images` shown, `rows` shown (one about several images at each), and `without_image`, those of them that
        stand apart, by source, since they are about none or their image was not ingested.

    Raises:
        UserError: there are no rows.
    """
    stored = ImageSet(images)
    entries, texts = _entries(rows, valid, stored)
    if not entries and not texts:
        raise UserError(f"{rows} has no rows; run `python -m wethink synthesize` first.")
    described = {record["image"]: record for record in _optional(rows / "descriptions.jsonl")}
    ordered = [record for record in stored.records if record.id in entries]
    ordered.sort(key=lambda record: (record.source, record.id))
    staged = out.with_name(f".{out.name}.publishing")
    shutil.rmtree(staged, ignore_errors=True)
    (staged / "data").mkdir(parents=True)
    shown = [(record.source, entries[record.id]) for record in ordered] + texts
    for number, start in enumerate(track(range(0, len(shown), CHUNK), "gallery", -(-len(shown) // CHUNK))):
        chunk = [
            _shown(record, stored.bytes(record.id), described.get(record.id, {}), entries[record.id])
            for record in ordered[start : start + CHUNK]
        ]
        chunk += [_without_image(*shown[place]) for place in range(start, min(start + CHUNK, len(shown)))[len(chunk) :]]
        _script(staged / "data" / f"chunk-{number:05d}.js", f"gallery.chunk({number}, %s);", chunk)
    index = _index(shown) | {"pictures": len(ordered)}
    _script(staged / "data" / "index.js", "gallery.start(%s);", index)
    (staged / "index.html").write_text(_page(), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    staged.rename(out)
    return {
        "images": len(ordered),
        "rows": len(index["rows"]["image"]),
        "without_image": sum(len(mine) for _, mine in texts),
    }


def _optional(path: Path) -> Iterator[Record]:
    return read_jsonl(path) if path.is_file() else iter(())


def _entries(
    rows: Path, valid: Path, stored: ImageSet
) -> tuple[dict[str, list[Record]], list[tuple[str, list[Record]]]]:
    """Map each stored image to its rows, each with its decision and the reason.

    Returns:
        That, and the rows without a stored image, by source, at most `TEXTS` together.
    """
    after = {row["id"]: ("quarantined", "; ".join(row["reasons"])) for row in _optional(valid / "quarantine.jsonl")} | {
        row["id"]: ("curated", row["reason"]) for row in _optional(valid / "curated.jsonl")
    }
    found: dict[str, list[Record]] = {}
    texts: dict[str, list[Record]] = {}
    for name, decision in (("rows", "kept"), ("rejected", "rejected"), ("failed", "failed")):
        for row in _optional(rows / f"{name}.jsonl"):
            verdict, reason = after.get(row["id"], (decision, row.get("reason") or ""))
            decided = row | {"decision": verdict, "reason": reason}
            there = [image for image in dict.fromkeys(row_images(row)) if image in stored]
            for image in there:  # a row stands beside each of its images
                found.setdefault(image, []).append(decided)
            if not there:
                texts.setdefault(_text(row.get("source")), []).append(decided)
    apart = [
        (source, mine[start : start + TEXTS])
        for source, mine in sorted((source, _by_id(mine)) for source, mine in texts.items())
        for start in range(0, len(mine), TEXTS)
    ]
    return {image: _by_id(mine) for image, mine in found.items()}, apart


def _by_id(rows: Sequence[Record]) -> list[Record]:
    return sorted(rows, key=lambda row: str(row["id"]))


def _shown(record: ImageRecord, data: bytes, described: Record, rows: Sequence[Record]) -> Record:
    """Build one image's entry. Every field that a model wrote becomes text."""
    thumbnail = picture(data, THUMBNAIL)
    return {
        "id": record.id,
        "source": record.source,
        "split": record.split,
        "origin": record.origin,
        "width": record.width,
        "height": record.height,
        "thumb": thumbnail.uri,
        "pixelated": thumbnail.pixelated,
        "coarse": _text(described.get("coarse")),
        "turns": [
            {"question": _text(turn.get("question")), "answer": _text(turn.get("answer"))}
            for turn in described.get("turns") or []
        ],
        "text": _text(described.get("text")),
        "rows": [_row(row) for row in rows],
    }


def _without_image(source: str, rows: Sequence[Record]) -> Record:
    """Build the entry of rows without an image."""
    empty = dict.fromkeys(("id", "split", "origin", "thumb", "coarse", "text"), "")
    return empty | {"source": source, "turns": [], "pixelated": False, "rows": [_row(row) for row in rows]}


def _row(row: Record) -> Record:
    decisions = row.get("decisions") or {}
    answers = {
        name: None if decisions.get(key) is None else _text(decisions[key])
        for name, key in (("described", "description"), ("seen", "vision"), ("third", "adjudicator"))
    }
    return answers | {
        "id": _text(row["id"]),
        "problem": _text(row.get("problem")),
        "answer": _text(row.get("answer")),
        "category": _text(row.get("category")),
        "abilities": [_text(name) for name in row.get("abilities") or []],
        "among": f"about {count} images" if (count := len(row_images(row))) > 1 else "",
        "route": f"reward: {_text(row['reward'])}" if row.get("reward") else "",
        "path": _text(row.get("refined_cot")),
        "decision": row["decision"],
        "reason": _text(row["reason"]),
        "agreed": decisions.get("agreed") if isinstance(decisions.get("agreed"), bool) else None,
        "provenance": _text(row.get("provenance")),
    }


def _index(shown: Sequence[tuple[str, Sequence[Record]]]) -> Record:
    """Encode every row's facets as indices into value names, most frequent first."""
    columns: dict[str, list[Any]] = {"image": [], **{facet: [] for facet in FACETS}}
    for image, (source, rows) in enumerate(shown):
        for row in rows:
            columns["image"].append(image)
            columns["source"].append(source)
            columns["category"].append(_text(row.get("category")))
            columns["ability"].append([_text(name) for name in row.get("abilities") or []])
            columns["decision"].append(row["decision"])
            columns["reason"].append(_text(row["reason"]).split(": ")[0])
    values: dict[str, list[str]] = {}
    for facet in FACETS:
        counts: dict[str, int] = {}
        for value in columns[facet]:
            for name in value if isinstance(value, list) else [value]:
                counts[name] = counts.get(name, 0) + 1
        values[facet] = sorted((name for name in counts if name), key=lambda name: (-counts[name], name))
        numbers = {name: number for number, name in enumerate(values[facet])} | {"": -1}
        columns[facet] = [
            [numbers[name] for name in value] if isinstance(value, list) else numbers[value] for value in columns[facet]
        ]
    return {"chunk": CHUNK, "values": values, "rows": columns}


def _text(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _script(path: Path, call: str, value: object) -> None:
    """Write JSON inside a script, with `<` escaped: no text can end the script."""
    text = json.dumps(value, ensure_ascii=True, sort_keys=True, separators=(",", ":")).replace("<", "\\u003c")
    path.write_text(call.replace("%s", text) + "\n", encoding="utf-8")


def _page() -> str:
    script = (TEMPLATES / "data_gallery.js").read_text(encoding="utf-8")
    parts = {
        "style": (TEMPLATES / "data_gallery.css").read_text(encoding="utf-8"),
        "script_hash": base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        "script": script,
    }
    page = (TEMPLATES / "data_gallery.html").read_text(encoding="utf-8")
    for name, text in parts.items():
        page = page.replace("{{ " + name + " }}", text)
    return page
