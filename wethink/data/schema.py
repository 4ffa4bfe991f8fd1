"""Row schema: typed rows and held-out items, the released dataset's keys, question types, reward routes, splits."""

from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict, cast

from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl

TRAINING_SPLITS = ("pretrain", "train")  # the others are held out: questions about their images become items

RELEASED_KEYS: Final = ("problem", "answer", "category", "abilities", "refined_cot", "image_path", "reward")
CATEGORIES = ("MC", "FIB", "DES")  # multiple choice, fill in the blank, descriptive (paper.md §2)
REWARDS = ("rule", "model")  # accuracy is checked by rules or by a judge
SPLITS = ("pretrain", "train", "tuning", "reporting")


class Scorable(TypedDict):
    """Question with its gold answer: what scoring needs."""

    problem: str  # the question, with its options if it is multiple choice
    answer: str  # the gold: synthesised for a row, the drawn truth for a held-out item
    category: str  # one of CATEGORIES
    reward: str  # one of REWARDS: the route by which an answer is scored
    alternatives: NotRequired[
        list[str]
    ]  # all answers that were given, where they differ; `answer` is the most frequent


class Item(Scorable):
    """Question about one image with its gold answer: what sampling and evaluation need."""

    id: str  # content hash of image and problem
    image: str  # sha256 (hex) of the stored image's bytes
    abilities: list[str]  # what the question asks for, in the paper's taxonomy
    source: str  # name of the image source
    scene: str  # what the image shows; the unit of splits and of cluster bootstraps
    kind: str  # template of a drawn question, step of a written one
    columns: NotRequired[dict[str, Any]]  # the user's other columns of a given row; reward functions get them


ITEM_KEYS: Final = ("id", "image", "scene", "source", "kind", "problem", "answer", "category", "abilities", "reward")


def as_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """Select the keys of an item from a row."""
    return {key: row[key] for key in (*ITEM_KEYS, "alternatives", "columns") if key in row}


class Row(Item):
    """Training row: the released dataset's seven keys and this project's own."""

    refined_cot: str  # reasoning path; empty for the rows on which GRPO trains
    image_path: str  # the image's path inside its source
    split: str  # one of SPLITS
    provenance: dict[str, Any]  # models, prompt hashes and attempts that wrote the row
    decisions: dict[str, Any]  # answers and votes of the filters that the row passed


def read_rows(path: Path) -> Iterator[Row]:
    """Read the rows of a JSON-lines file that a stage has published.

    Raises:
        UserError: like `read_jsonl`.
    """
    return cast(Iterator[Row], read_jsonl(path))


def read_items(path: Path) -> Iterator[Item]:
    """Read the held-out items of a JSON-lines file that a stage has published.

    Raises:
        UserError: like `read_jsonl`.
    """
    return cast(Iterator[Item], read_jsonl(path))


def held_out_items(folders: Iterable[Path], split: str, sources: Collection[str]) -> list[Item]:
    """Read a split's held-out items of all folders that have some, in the folders' order.

    Args:
        folders: drawn sources and validated rows, each with `items/<split>.jsonl` or without.
        split: `tuning` or `reporting`.
        sources: those that are ingested; items of others, such as drawn sources that ingest.sources leaves out, are
            passed over.

    Raises:
        UserError: there is none, or a file cannot be read.
    """
    asked = [folder / "items" / f"{split}.jsonl" for folder in folders]
    items = [item for path in asked if path.is_file() for item in read_items(path)]
    items = [item for item in items if item["source"] in sources]
    if not items:
        raise UserError(
            f"there is no held-out item in {' or '.join(map(str, asked))}; raise draw.{split}, or {split} of a source "
            "of your own in ingest.sources."
        )
    return items


def split_train_rows(rows: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Divide the train rows between SFT and GRPO.

    Returns:
        Rows with a reasoning path, on which SFT trains, and rows with an answer only, on which GRPO trains.

    >>> rows = [{"split": "train", "refined_cot": path} for path in ("first count", "")] + [{"split": "pretrain"}]
    >>> [len(part) for part in split_train_rows(rows)]
    [1, 1]
    """
    train = [row for row in rows if row["split"] == "train"]
    return [row for row in train if row["refined_cot"]], [row for row in train if not row["refined_cot"]]
