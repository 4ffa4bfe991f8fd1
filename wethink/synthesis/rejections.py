"""Rejected rows for people: the most frequent reasons, and what to do about each."""

from collections import Counter
from collections.abc import Iterable

from wethink.common.jsonl import Record

REMEDIES = {  # the beginning of a reason → what to do
    "image_path names no ingested image": "write each image as its path below the source's folder, or name that column "
    "in columns.image",
    "image_path names several images": "put the source's name before the path, as in SOURCE/PATH",
    "image_path leaves": "paths must stay below the source's folder",
    "its image cannot be used: missing": "write each image as its path below the table's folder, several of them as a "
    "JSON list",
    "its image cannot be used: animated": "`animated: first` at the source takes the first frame or page",
    "its image cannot be used": "data/images/quarantine.jsonl names each; mend the images or their paths",
    "one of its images": "data/rows/rejected.jsonl names the image; mend it or its path, or leave it out of the row",
    "its images are of different splits": "write one split for all images of a row",
    "asks about an image": "write the image into the image column, or a question that needs none",
    "unknown split": "use pretrain, train, tuning or reporting, or leave the column out",
    "question has": "leave one <image> for each image of the row, in their order, or none at all",
    "no question": "name the column of the questions in columns.question",
    "empty problem": "name the column of the questions in columns.question",
    "no answer": "name the column of the answers in columns.answer; a row without an answer cannot be used",
    "empty answer": "name the column of the answers in columns.answer; a row without an answer cannot be used",
    "answer names no option": "write an answer as its option's letter or text, or its number from 0",
    "answer names several options": "give one answer a row; a list in which answers repeat is read as votes",
    "unknown category": "use MC, FIB or DES, leave the column out, or declare the name in rewards.functions",
    "unknown reward": "use rule or model, leave the column out, or declare the route in rewards.functions",
    "same image and problem": "each question about an image is used once",
    "image is held out": "rows about held-out images are for evaluation",
    "dialogue": "write turns as from/value or role/content, a question first and then its answer",
    "not JSON": "mend the line, or write the file again",
    "more cells than columns": "put texts that hold the separator in quotes",
    "unreadable": "save the file as UTF-8",
}


def remedy(reason: str) -> str:
    """Return what to do about a reason; empty if nothing is known."""
    return next((words for start, words in REMEDIES.items() if reason.startswith(start)), "")


def reasons(rows: Iterable[Record]) -> list[tuple[str, int]]:
    """Count the reasons of the rejected rows, most frequent first; equal reasons about other lines are one."""
    found = Counter(str(row["reason"]).partition(" as line ")[0] for row in rows if row["reason"] is not None)
    return found.most_common()


def are_unusable(rows: list[Record]) -> bool:
    """Return whether there are rows, and none is of use: neither kept nor held out for evaluation."""
    return bool(rows) and all(row["reason"] is not None and "is held out" not in row["reason"] for row in rows)


def unusable(rows: list[Record]) -> str:
    """Say in a sentence that no row is usable, the most frequent reasons, and what to do about the first.

    >>> unusable([{"reason": "no answer"}, {"reason": "no answer"}, {"reason": "no question"}])[:75]
    'none of the 3 rows is usable; most often: no answer (2); no question (1). N'
    """
    most = reasons(rows)
    words = remedy(most[0][0])
    shown = "; ".join(f"{reason} ({count:,})" for reason, count in most[:3])
    advice = f" {words[0].upper()}{words[1:]}." if words else ""
    return f"none of the {len(rows):,} rows is usable; most often: {shown}.{advice}"
