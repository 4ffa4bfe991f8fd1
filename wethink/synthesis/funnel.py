"""Funnel of synthesis: the outcome of every image and candidate, with counts that add up.

Files are written record by record, so memory does not hold the whole set. Counts in = counts out: a funnel that does
not add up raises an error before publishing.
"""

from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from wethink.common.jsonl import Record, dumps
from wethink.data.image_store import ImageRecord
from wethink.data.schema import TRAINING_SPLITS, as_item
from wethink.synthesis.pipeline import IMAGE, Annotated

FIELDS = ("source", "category", "split", "kind")
FILES = ("rows", "rejected", "failed", "descriptions")


class Funnel:
    """Counts of candidates and images by outcome."""

    def __init__(self) -> None:
        self._outcomes: Counter[str] = Counter()  # of candidates
        self._reasons: dict[str, Counter[str]] = {"rejected": Counter(), "failed": Counter()}
        self._images: dict[str, Counter[str]] = {"rejected": Counter(), "failed": Counter()}
        self._by: dict[str, dict[str, Counter[str]]] = {field: {} for field in FIELDS}
        self._notes: Counter[str] = Counter()

    def add(self, candidate: Record) -> str:
        """Count a candidate (or an image without any) and return its outcome.

        The outcome is 'rows', 'items' (kept, about a held-out image), 'rejected' or 'failed'.
        """
        outcome = "failed" if "retryable" in candidate else "rejected"
        if candidate["reason"] is None:
            outcome = "rows" if candidate["split"] in TRAINING_SPLITS else "items"
        self._notes["retryable"] += bool(candidate.get("retryable"))
        if candidate["kind"] == IMAGE and outcome in self._images:
            self._images[outcome][candidate["reason"]] += 1
            return outcome
        self._outcomes[outcome] += 1
        if outcome in self._reasons:
            self._reasons[outcome][candidate["reason"]] += 1
        decisions = candidate["decisions"]
        self._notes["with_path"] += outcome == "rows" and bool(candidate["refined_cot"])
        self._notes["agreed"] += decisions.get("agreed") is True
        self._notes["adjudicated"] += decisions.get("adjudicator") is not None
        for field in FIELDS:
            counts = self._by[field].setdefault(str(candidate[field]), Counter())
            counts["candidates"] += 1
            counts["kept"] += outcome == "rows"
        return outcome

    def figures(self) -> Record:
        """Return the funnel as published.

        Raises:
            RuntimeError: it does not add up.
        """
        failed, rejected = self._reasons["failed"], self._reasons["rejected"]
        kept, items, candidates = self._outcomes["rows"], self._outcomes["items"], self._outcomes.total()
        if kept + items + rejected.total() + failed.total() != candidates or any(
            sum(counts["candidates"] for counts in values.values()) != candidates for values in self._by.values()
        ):
            raise RuntimeError(
                f"the funnel does not add up: {kept} + {items} + {rejected} + {failed} is not {candidates}"
            )
        return {
            "candidates": candidates,
            "kept": kept,
            **({"items": items} if items else {}),
            "rejected": _sorted(rejected),
            "failed": _sorted(failed),
            "with_path": self._notes["with_path"],
            "agreed": self._notes["agreed"],
            "adjudicated": self._notes["adjudicated"],
            "by": {
                field: {value: {k: values[value][k] for k in ("candidates", "kept")} for value in sorted(values)}
                for field, values in self._by.items()
            },
        }

    def image_figures(self, images: int, annotated: int) -> Record:
        """Return the outcomes of the images.

        Raises:
            RuntimeError: they do not add up.
        """
        rejected, failed = self._images["rejected"], self._images["failed"]
        if annotated + rejected.total() + failed.total() != images:
            raise RuntimeError(f"images do not add up: {annotated} + {rejected} + {failed} is not {images}")
        return {"annotated": annotated, "rejected": _sorted(rejected), "failed": _sorted(failed)}


def funnel(candidates: Iterable[Record]) -> Record:
    """Count candidates by outcome, by reason, and by the values of FIELDS."""
    counted = Funnel()
    for candidate in candidates:
        counted.add(candidate)
    return counted.figures()


class Outputs:
    """Writer of rows, rejected, failed and descriptions (`.jsonl`), one file each.

    Use as a context manager.
    """

    def __init__(self, out: Path) -> None:
        self._stack, self._out = ExitStack(), out
        self._files = {
            name: self._stack.enter_context((out / f"{name}.jsonl").open("w", encoding="utf-8")) for name in FILES
        }
        self.funnel = Funnel()
        self._splits: Counter[str] = Counter()
        self._annotated = self._unasked = 0

    def __enter__(self) -> "Outputs":
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def add(self, record: ImageRecord, found: Annotated) -> None:
        """Write one image with all its candidates."""
        self._splits[record.split] += 1
        if found.description is not None and record.split in TRAINING_SPLITS:
            self._write("descriptions", found.description)
        for candidate in found.candidates:
            self.add_candidate(candidate)
        self._annotated += all(candidate["kind"] != IMAGE for candidate in found.candidates)
        self._unasked += found.unasked

    def add_candidate(self, candidate: Record) -> None:
        """Write one candidate to the file of its outcome."""
        outcome = self.funnel.add(candidate)
        if outcome == "items":
            self._write_item(candidate)
        else:
            kept = {key: value for key, value in candidate.items() if key != "reason" or outcome != "rows"}
            self._write(outcome, kept)

    def figures(self) -> dict[str, Any]:
        """Return the funnel of candidates and of images.

        Raises:
            RuntimeError: it does not add up.
        """
        images = self._splits.total()
        return self.funnel.figures() | {
            "images": _sorted(self._splits),
            "image_outcomes": self.funnel.image_figures(images, self._annotated),
            "unasked": self._unasked,  # no further kind of question fits the description
        }

    def _write_item(self, candidate: Record) -> None:
        """Write a question about a held-out image to `items/<split>.jsonl`, which exists only if there is one."""
        name = f"items/{candidate['split']}"
        if name not in self._files:
            (self._out / "items").mkdir(exist_ok=True)
            self._files[name] = self._stack.enter_context((self._out / f"{name}.jsonl").open("w", encoding="utf-8"))
        self._write(name, as_item(candidate))

    def _write(self, name: str, record: Record) -> None:
        self._files[name].write(dumps(record) + "\n")


def _sorted(counts: Counter[str]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def summary(figures: Record) -> str:
    """Summarise the funnel in a line, with the most frequent reason of each outcome.

    >>> summary({"candidates": 3, "kept": 2, "rejected": {"empty answer": 1}, "failed": {}})
    '2 of 3 pairs kept, 1 pairs rejected (empty answer)'
    """
    parts, images = [f"{figures['kept']} of {figures['candidates']} pairs kept"], figures.get("image_outcomes", {})
    if figures.get("items"):
        parts.append(f"{figures['items']} pairs held out as items")
    for outcome in ("rejected", "failed"):
        for what, found in (("pairs", figures[outcome]), ("images", images.get(outcome, {}))):
            counts: Counter[str] = Counter(found)
            if counts:
                ((reason, _),) = counts.most_common(1)
                parts.append(f"{counts.total()} {what} {outcome} ({reason}{', …' if len(counts) > 1 else ''})")
    return ", ".join(parts)


def table(figures: Record) -> list[Record]:
    """Return the funnel as table rows {outcome, reason, images, candidates}."""
    images = figures.get("image_outcomes", {"annotated": 0, "rejected": {}, "failed": {}})
    lines: list[Record] = [
        {"outcome": "annotated / kept", "reason": "", "images": images["annotated"], "candidates": figures["kept"]}
    ]
    for outcome in ("rejected", "failed"):
        reasons = sorted({*images[outcome], *figures[outcome]})
        lines += [
            {
                "outcome": outcome,
                "reason": reason,
                "images": images[outcome].get(reason, 0),
                "candidates": figures[outcome].get(reason, 0),
            }
            for reason in reasons
        ]
    return lines
