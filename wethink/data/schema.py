"""Row schema: the released dataset's keys, question types, reward routes, splits."""

from collections.abc import Iterable
from typing import Any

TRAINING_SPLITS = ("pretrain", "train")  # the others are held out: no rows are written about their images

RELEASED_KEYS = ("problem", "answer", "category", "abilities", "refined_cot", "image_path", "reward")
CATEGORIES = ("MC", "FIB", "DES")  # multiple choice, fill in the blank, descriptive (paper.md §2)
REWARDS = ("rule", "model")  # accuracy is checked by rules or by a judge
SPLITS = ("pretrain", "train", "tuning", "reporting")


def split_train_rows(rows: Iterable[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Divide the train rows between SFT and GRPO.

    Returns:
        Rows with a reasoning path, on which SFT trains, and rows with an answer only, on which GRPO trains.

    >>> rows = [{"split": "train", "refined_cot": path} for path in ("first count", "")] + [{"split": "pretrain"}]
    >>> [len(part) for part in split_train_rows(rows)]
    [1, 1]
    """
    train = [row for row in rows if row["split"] == "train"]
    return [row for row in train if row["refined_cot"]], [row for row in train if not row["refined_cot"]]
