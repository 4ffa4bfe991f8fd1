"""Held-out items as versioned benchmark tables, one per image source.

Command `python -m wethink suite`. A table is a function of its source's items alone, drawn or the user's own. A new
source adds a table, and the others keep their bytes: stored responses stay valid, and only new items are sent to every
model, old or new.
"""

import base64
import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wethink.common.jsonl import Record, file_sha256, read_json, write_json
from wethink.data.image_store import ImageSet
from wethink.data.schema import IMAGE, Item, held_out_items, row_images
from wethink.rewards.rules.options import options

HOME = Path("data/suite")
VERSIONS = "versions.json"
COLUMNS = ("index", "image", "question", "answer", "category", "kind", "abilities", "reward", "scene", "source")
LETTERS = ("A", "B", "C", "D")


def suite(drawn: Path, valid: Path, images: Path, split: str = "reporting", home: Path = HOME) -> dict[str, Any]:
    """Write `WeThink_<source>.tsv` for every source; return the newest version.

    A version is added to `versions.json` if any table has changed. VLMEvalKit's tables of images have no row without
    one, so items without images are left out; the version has their number as `left_out`.

    Raises:
        UserError: there are no items, or an item's image is not among the ingested ones.
    """
    dataset = ImageSet(images)
    every = held_out_items([drawn, valid], split, {record.source for record in dataset.records})
    items = [item for item in every if row_images(item)]
    home.mkdir(parents=True, exist_ok=True)
    tables: dict[str, Any] = {}
    for source in sorted({item["source"] for item in items}):
        mine = [item for item in items if item["source"] == source]
        name = f"WeThink_{source}.tsv"
        text = table(mine, dataset)
        (home / name).write_text(text, encoding="utf-8")
        tables[name] = {
            "sha256": file_sha256(home / name),
            "items": len(mine),
            "scenes": len({item["scene"] for item in mine}),
        }
    versions: list[dict[str, Any]] = read_json(home / VERSIONS) if (home / VERSIONS).exists() else []
    left = len(every) - len(items)
    if not versions or versions[-1]["tables"] != tables or versions[-1].get("left_out", 0) != left:
        made = {"version": len(versions) + 1, "split": split, "tables": tables}
        versions.append(made | ({"left_out": left} if left else {}))
        write_json(home / VERSIONS, versions)
    newest: dict[str, Any] = versions[-1]
    return newest


def _cell(pictures: list[bytes]) -> str:
    """Encode an item's images in VLMEvalKit's form: base64, or a list of it as text."""
    encoded = [base64.b64encode(data).decode() for data in pictures]
    return encoded[0] if len(encoded) == 1 else str(encoded)


def table(items: Iterable[Item], images: ImageSet) -> str:
    """Render items as TSV; later items about an image refer to the first's row.

    A tab in a text becomes a space; a text with line breaks is quoted.
    """
    shown: dict[str, str] = {}
    out = io.StringIO()
    writer = csv.writer(out, delimiter="\t", lineterminator="\n")
    ordered = sorted(items, key=lambda item: str(item["id"]))
    texts_of = (*COLUMNS, *(["alternatives"] if any("alternatives" in item for item in ordered) else []))
    listed = {item["id"]: options(item["problem"]) if item["category"] == "MC" else {} for item in ordered}
    letters = sorted({*LETTERS, *(letter for found in listed.values() for letter in found)})
    writer.writerow((*texts_of, *letters))
    for item in ordered:
        seen = row_images(item)
        first = shown.setdefault(" ".join(seen), item["id"])
        image = first if first != item["id"] else _cell([images.bytes(image) for image in seen])
        cells: Record = {
            **item,
            "index": item["id"],
            "image": image,
            "question": item["problem"].replace(IMAGE, "[image]"),
        }
        cells |= {"abilities": ",".join(item["abilities"])}
        cells["alternatives"] = json.dumps(item["alternatives"], ensure_ascii=False) if "alternatives" in item else ""
        texts = [*(cells[name] for name in texts_of), *(listed[item["id"]].get(letter, "") for letter in letters)]
        writer.writerow([str(text).replace("\t", " ") for text in texts])
    return out.getvalue()
