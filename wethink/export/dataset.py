"""Export of the rows as a Hugging Face dataset, with embedded images and a card.

Command `python -m wethink export dataset`. `datasets.load_dataset(folder)` returns rows with decoded images;
`rows/*.jsonl` are the same rows as text, joined by `image_id`. The card states the origin of the rows and the outcome
of the others.
"""

import shutil
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, write_jsonl
from wethink.data.image_store import ImageSet
from wethink.data.schema import RELEASED_KEYS, Row, read_rows
from wethink.export.dataset_card import card
from wethink.export.parquet import as_text, picture, shown, splits, write_shards

TEXTS = ("id", "image_id", "source", "split", "scene", "kind", "decisions", "provenance", "columns")


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
    parts = splits(every)
    for split, part in parts.items():
        write_shards(
            staged / "data", split, (_row(row) | {"image": picture(stored, row["image"])} for row in part), features()
        )
        (staged / "rows").mkdir(exist_ok=True)
        write_jsonl(staged / "rows" / f"{split}.jsonl", (_row(row) for row in part))
    funnel = {"rows": read_json(rows / "metrics.json"), "valid": read_json(valid / "metrics.json")}
    (staged / "README.md").write_text(card(name, every, about, funnel, licences), encoding="utf-8")
    shutil.rmtree(out, ignore_errors=True)
    staged.rename(out)
    return {"rows": len(every), "images": len(about), "splits": {split: len(part) for split, part in parts.items()}}


def features() -> Any:
    """Return the columns of the Parquet files as `datasets.Features`.

    They are the released keys, our own and the image.
    """
    from datasets import Features, Image, List, Value

    text = Value("string")
    columns: dict[str, Any] = dict.fromkeys(RELEASED_KEYS, text) | {"abilities": List(text)}
    return Features(columns | dict.fromkeys(TEXTS, text) | {"image": Image()})


def _row(row: Row) -> Record:
    several = {"alternatives": row["alternatives"]} if "alternatives" in row else {}
    nested = {key: as_text(row.get(key, {})) for key in ("decisions", "provenance")}
    nested["columns"] = as_text({**row.get("columns", {}), **several})
    ours = {key: row[key] for key in ("id", "source", "split", "scene", "kind")}
    return {key: row[key] for key in RELEASED_KEYS} | ours | nested | {"image_id": row["image"]}


def push(folder: Path, repository: str, private: bool) -> str:
    """Upload an exported dataset to the Hugging Face hub; return its URL.

    The token is read from the environment variable HF_TOKEN alone.

    Raises:
        UserError: HF_TOKEN is not set, or the hub refuses.
    """
    import os

    from huggingface_hub import HfApi
    from huggingface_hub.errors import HfHubHTTPError

    token = os.environ.get("HF_TOKEN")
    if not token:
        raise UserError("HF_TOKEN is not set; set this environment variable to a token with write access.")
    api = HfApi(token=token)
    try:
        api.create_repo(repository, repo_type="dataset", private=private, exist_ok=True)
        api.upload_folder(repo_id=repository, folder_path=folder, repo_type="dataset")
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise UserError(f"pushing to '{repository}' failed: {str(error).splitlines()[0]}") from None
    return f"{api.endpoint}/datasets/{repository}"
