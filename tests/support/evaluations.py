"""Evaluation records of made-up models, as the promotion gate reads them."""

from typing import Any

Records = list[dict[str, Any]]
ITEM = {"reward": "rule", "problem": "how many ?", "category": "FIB", "pixels": "true", "image": "a picture"}


def answered(records: Records) -> Records:
    """The records with a gold each, of many different ones, and an answer that fits the verdict."""
    found = []
    for number, record in enumerate(records):
        gold = str(number % 23)
        said = gold if record["verdict"] == "correct" else str(100 + number % 29)
        found.append(ITEM | {"answer": gold, "extracted": said} | record)
    return found


def seeing(challenger: Records) -> Records:
    """An evaluation with its controls: without the true image nothing is right."""
    blind = {"verdict": "wrong", "extracted": "-1"}
    return challenger + [
        record | blind | {"pixels": pixels} for pixels in ("blank", "shuffled") for record in challenger
    ]
