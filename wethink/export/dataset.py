"""Export of the rows as a Hugging Face dataset, with embedded images and a card.

Command `python -m wethink export dataset`. `datasets.load_dataset(folder)` returns rows with decoded images;
`rows/*.jsonl` are the same rows as text, joined by `image_id`. Where a row has several images or none, all rows have
`images` and `image_ids`, which are lists. The card states the origin of the rows and the outcome of the others.
"""

import shutil
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, write_jsonl
from wethink.data.image_store import ImageSet
from wethink.data.schema import RELEASED_KEYS, Row, read_rows, row_images
from wethink.export.dataset_card import card
from wethink.export.parquet import as_text, picture, shown, splits, write_shards

TEXTS = ("id", "source", "split", "scene", "kind", "decisions", "provenance", "columns")


def export_dataset(images: Path, rows: Path, valid: Path, out: Path, name: str, licences: dict[str, str]) -> Record:
    """Write the dataset to `out` (replaced) and return its counts.

    Args:
        images: the ingested images.
        rows: the output of synthesis; the card shows its funnel.
        valid: the rows to export.
        out: the folder to write.
        name: the dataset's name in the card.
        licences: 'dataset' → the licence of rows and card; a source's name → the licence of its images.

    Raises:
        UserError: there are no rows, or a licence is given for a source that is not there.
    """
    every = list(read_rows(valid / "rows.jsonl"))
    if not every:
        raise UserError(f"{valid / 'rows.jsonl'} has no rows; run `python -m wethink validate` first.")
    stored = ImageSet(images)
    about = shown(stored.records, every)
    sources = sorted({record.source for record in about})
    unknown = sorted(set(licences) - {"dataset", *sources})
    if unknown:
        raise UserError(f"--licence: there is no source '{unknown[0]}'; those there are: {', '.join(sources)}.")
    staged = out.with_name(f".{out.name}.publishing")
    shutil.rmtree(staged, ignore_errors=True)
    parts, single = splits(every), all(len(row_images(row)) == 1 for row in every)
    for split, part in parts.items():
        shown_rows = (_row(row, single) | _pictures(row, stored, single) for row in part)
        write_shards(staged / "data", split, shown_rows, features(single))
        (staged / "rows").mkdir(exist_ok=True)
        write_jsonl(staged / "rows" / f"{split}.jsonl", (_row(row, single) for row in part))
    funnel = {"rows": read_json(rows / "metrics.json"), "valid": read_json(valid / "metrics.json")}
    (staged / "README.md").write_text(card(name, every, about, funnel, licences), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    staged.rename(out)
    return {"rows": len(every), "images": len(about), "splits": {split: len(part) for split, part in parts.items()}}


def features(single: bool = True) -> Any:
    """Return the columns of the Parquet files as `datasets.Features`.

    They are the released keys, our own and the image; lists of images and their ids, unless all rows have a `single`
    one.
    """
    from datasets import Features, Image, List, Value

    text = Value("string")
    columns: dict[str, Any] = dict.fromkeys(RELEASED_KEYS, text) | {"abilities": List(text)}
    shown = {"image_id": text} if single else {"image_ids": List(text)}
    columns |= {"id": text} | shown | dict.fromkeys(TEXTS, text)
    return Features(columns | ({"image": Image()} if single else {"images": List(Image())}))


def _pictures(row: Row, stored: ImageSet, single: bool) -> Record:
    pictures = [picture(stored, image) for image in row_images(row)]
    return {"image": pictures[0]} if single else {"images": pictures}


def _row(row: Row, single: bool) -> Record:
    several = {"alternatives": row["alternatives"]} if "alternatives" in row else {}
    nested = {key: as_text(row.get(key, {})) for key in ("decisions", "provenance")}
    nested["columns"] = as_text({**row.get("columns", {}), **several})
    named: Record = {"image_id": row_images(row)[0]} if single else {"image_ids": list(row_images(row))}
    ours = {key: row[key] for key in ("id", "source", "split", "scene", "kind")}
    return {key: row[key] for key in RELEASED_KEYS} | ours | nested | named
