"""Reasoning paths of given rows: which rows serve SFT, and which GRPO.

A given path is not thrown away: a row with one is for SFT, a row without one for GRPO. Where over `MOST` of the train
rows have a path, GRPO would be left without rows; then `synthesize.path_share` of the images keep theirs for SFT, and
the others are set aside: the row keeps its path under `columns.refined_cot`.
"""

from collections.abc import Callable, Iterable

from wethink.common.jsonl import Record
from wethink.data.schema import row_images

MOST = 0.9


def divide_paths(rows: Iterable[Record], has_path: Callable[[str], bool]) -> str | None:
    """Set paths aside in place where GRPO needs rows; return a sentence about it, or None.

    Args:
        rows: imported rows, with their `reason`.
        has_path: returns whether the rows about some images keep their path where they are divided.
    """
    kept = [row for row in rows if row["reason"] is None]
    for row in kept:
        if row["refined_cot"] and row["split"] != "train":  # a row of the tiny profile's base has an answer only
            set_aside(row)
    train = [row for row in kept if row["split"] == "train"]
    with_path = [row for row in train if row["refined_cot"]]
    if len(with_path) <= MOST * len(train) or not train:
        return None
    aside = [row for row in with_path if not has_path(" ".join(row_images(row)) or row["id"])]
    for row in aside:
        set_aside(row)
    if not aside:
        return None
    return (
        f"{len(with_path):,} of {len(train):,} rows have a reasoning path; by synthesize.path_share "
        f"{len(with_path) - len(aside):,} serve SFT and {len(aside):,} GRPO, with their path under columns.refined_cot"
    )


def set_aside(row: Record) -> None:
    """Move a row's path to its columns."""
    if row["refined_cot"]:
        row["columns"] = row.get("columns", {}) | {"refined_cot": row["refined_cot"]}
        row["refined_cot"] = ""
        row["decisions"] = row["decisions"] | {"path": "set aside"}
