"""Row schema: typed rows and held-out items, the released dataset's keys, question types, reward routes, splits."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NotRequired, TypedDict, cast

from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl

TRAINING_SPLITS = ("pretrain", "train")  # the others are held out: questions about their images become items

RELEASED_KEYS: Final = ("problem", "answer", "category", "abilities", "refined_cot", "image_path", "reward")
CATEGORIES = ("MC", "FIB", "DES")  # multiple choice, fill in the blank, descriptive (paper.md §2)
REWARDS = ("rule", "model")  # accuracy is checked by rules or by a judge
SPLITS = ("pretrain", "train", "tuning", "reporting")
IMAGE: Final = "<image>"  # in a problem: the place of its next image


class Scorable(TypedDict):
    """Question with its gold answer: what scoring needs."""

    problem: str  # the question, with its options if it is multiple choice
    answer: str  # the gold: synthesised for a row, the drawn truth for a held-out item
    category: str  # one of CATEGORIES
    reward: str  # one of REWARDS: the route by which an answer is scored
    alternatives: NotRequired[list[str]]  # all given answers, where they differ; `answer` is the most frequent one


class Item(Scorable):
    """Question with its gold answer and its images, which `row_images` returns: what sampling and evaluation need."""

    id: str  # content hash of images and problem
    image: NotRequired[str]  # one image: sha256 (hex) of the stored image's bytes
    images: NotRequired[list[str]]  # several, in the order of their places, or none: instead of `image`
    abilities: list[str]  # what the question asks for, in the paper's taxonomy
    source: str  # name of the image source
    scene: str  # what the images show; the unit of splits and of cluster bootstraps
    kind: str  # template of a drawn question, step of a written one
    columns: NotRequired[dict[str, Any]]  # the user's other columns of a given row; reward functions get them


ITEM_KEYS: Final = ("id", "image", "scene", "source", "kind", "problem", "answer", "category", "abilities", "reward")


def as_item(row: Mapping[str, Any]) -> dict[str, Any]:
    """Select the keys of an item from a row."""
    return {key: row[key] for key in (*ITEM_KEYS, "images", "alternatives", "columns") if key in row}


def row_images(row: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the ids of a row's images in the order of their places; () for a question about none.

    >>> row_images({"image": "a"}), row_images({"images": ["a", "b"]}), row_images({"images": []})
    (('a',), ('a', 'b'), ())
    """
    if "images" in row:
        return tuple(row["images"])
    return (row["image"],) if row["image"] else ()


def image_keys(images: Sequence[str]) -> dict[str, Any]:
    """Return the keys that a row has for its images: `image` for one, `images` for several or none.

    >>> image_keys(["a"]), image_keys(["a", "b"]), image_keys([])
    ({'image': 'a'}, {'images': ['a', 'b']}, {'images': []})
    """
    return {"image": images[0]} if len(images) == 1 else {"images": list(images)}


def image_id(images: Sequence[str]) -> str | list[str]:
    """Return what a row's content hash has for its images; that of one image is older than rows about several.

    >>> image_id(["a"]), image_id(["a", "b"]), image_id([])
    ('a', ['a', 'b'], [])
    """
    return images[0] if len(images) == 1 else list(images)


def placement_fault(problem: str, count: int) -> str | None:
    """Return why a problem cannot place `count` images; None if it has a place for each, or no place at all.

    >>> placement_fault("<image> or <image> ?", 1), placement_fault("<image> or <image> ?", 2)
    ('question has 2 <image> for one image', None)
    """
    places = problem.count(IMAGE)
    if places in (0, count):
        return None
    images = "one image" if count == 1 else f"{count or 'no'} images"
    return f"question has {places} {IMAGE} for {images}"


def problem_parts(problem: str, count: int) -> list[str | None]:
    """Split a problem with `count` images into its texts and, as None, its images; without places, images come first.

    Raises:
        ValueError: it has places, and not one for each image.

    >>> problem_parts("Is <image> larger than <image>?", 2), problem_parts("How many?", 1), problem_parts("2 + 2?", 0)
    (['Is ', None, ' larger than ', None, '?'], [None, 'How many?'], ['2 + 2?'])
    """
    if fault := placement_fault(problem, count):
        raise ValueError(fault)
    if not count or IMAGE not in problem:
        return [*[None] * count, problem]
    first, *others = problem.split(IMAGE)
    parts: list[str | None] = [first]
    for text in others:
        parts += [None, text]
    return [part for part in parts if part != ""]


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
