"""Validation of held-out items: a gold that its own check refuses, or a text that is too long, leaves them.

Items are never learned from, so they are held to less than rows are: repeated questions, caps and benchmarks do not
concern them. A faulty gold would count as a wrong answer of every model.
"""

from collections import Counter
from pathlib import Path
from typing import Any

from wethink.common.jsonl import Record, write_jsonl
from wethink.config.curation import Validate
from wethink.data.schema import CATEGORIES, REWARDS, Item, read_items
from wethink.rewards.hybrid import check
from wethink.rewards.rules.options import options


def held_out(rows: Path, out: Path, config: Validate) -> dict[str, Any]:
    """Copy the sound items of `rows/items` to `out/items`, the others with reasons to `items/quarantine.jsonl`.

    Returns:
        The counts, kept by split; empty if there is no item.
    """
    kept: dict[str, int] = {}
    refused: list[Record] = []
    for path in sorted((rows / "items").glob("*.jsonl")):
        (out / "items").mkdir(exist_ok=True)
        found = [(item, _fault(item, config)) for item in read_items(path)]
        refused += [{**item, "reasons": [fault]} for item, fault in found if fault]
        kept[path.stem] = write_jsonl(out / "items" / path.name, (item for item, fault in found if not fault))
    if not kept:
        return {}
    write_jsonl(out / "items" / "quarantine.jsonl", refused)
    reasons = Counter(reason for item in refused for reason in item["reasons"])
    return {"kept": kept, "quarantined": len(refused), "reasons": dict(sorted(reasons.items()))}


def _fault(item: Item, config: Validate) -> str | None:
    """Return what an item lacks, in the words of the rows' expectations; None if it is sound."""
    problem, answer, category, reward = item["problem"], item["answer"], item["category"], item["reward"]
    if not 1 <= len(problem) <= config.max_problem_chars:
        return f"problem has 1 to {config.max_problem_chars} characters"
    if category == "MC" and answer not in options(problem):
        return "a multiple-choice answer is the letter of a listed option"
    # A category or a route of the user's own is checked by its own function, in `evaluate`.
    known = category in CATEGORIES and reward in REWARDS
    if known and check(answer, problem, answer, category, reward, tolerance=0.0).outcome != "correct":
        return "the answer can be checked, and passes its own check"
    return None
