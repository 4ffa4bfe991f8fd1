"""Verdicts of persons about rows: rejected rows leave, corrected answers enter.

A file of verdicts comes from the audit page (`wethink audit sample`) or from a labelling tool (`wethink audit import`);
`validate.verdicts` names the files, which DVC versions with the data. Every judged row has one outcome, and nothing is
applied in silence: a row on which two verdicts differ stays as it is, and so does one whose answer has changed since.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json
from wethink.data.schema import Row
from wethink.rewards.rules.options import choose

VERDICTS = ("accept", "reject", "unsure", "corrected")
REJECTED = "rejected by a person"  # reason of a row that leaves
WRITE = "name a file that the audit page saved or `wethink audit import` wrote"


@dataclass(frozen=True)
class Judgement:
    """A verdict about a row; `answer`: the one that was judged, '' if unknown; `correction`: the right one."""

    verdict: str
    answer: str = ""
    correction: str = ""


@dataclass(frozen=True)
class Judged:
    """Rows after the verdicts, in order; the rows that left, with `reason`; the judged rows by outcome."""

    rows: list[Row]
    left: list[Record]
    outcomes: dict[str, str]  # row id → outcome


def read_judgement(row: object, path: Path) -> tuple[str, Judgement] | None:
    """Read a row of a file of verdicts; None: it has no verdict.

    Raises:
        UserError: it is no such row, its verdict is unknown, or a corrected row has no correction.
    """
    entry = cast(Record, row) if isinstance(row, dict) else {}
    name, verdict = entry.get("id"), entry.get("verdict")
    texts = [entry.get(key) or "" for key in ("answer", "correction")]
    if not isinstance(name, str) or not all(isinstance(text, str) for text in texts):
        raise UserError(f"{path}: a row has no id, or an answer that is no text; {WRITE}.")
    if not verdict:
        return None
    if verdict not in VERDICTS:
        raise UserError(f"{path}, row {name}: verdict {str(verdict)[:40]!r} is none of {', '.join(VERDICTS)}.")
    if verdict == "corrected" and not texts[1].strip():
        raise UserError(
            f"{path}, row {name}: corrected, but it has no correction; write the right answer, or reject it."
        )
    return name, Judgement(verdict, texts[0], texts[1].strip() if verdict == "corrected" else "")


def read_verdicts(paths: Iterable[Path]) -> dict[str, list[Judgement]]:
    """Read files of verdicts: per row its different judgements, more than one if they contradict each other.

    Raises:
        UserError: a file is missing or holds no verdicts.
    """
    found: dict[str, list[Judgement]] = {}
    for path in paths:
        given = read_json(path, WRITE)
        rows = given.get("rows") if isinstance(given, dict) else None
        if not isinstance(rows, list):
            raise UserError(f"{path} holds no verdicts; {WRITE}.")
        for entry in rows:
            if read := read_judgement(entry, path):
                known = found.setdefault(read[0], [])
                if (read[1].verdict, read[1].correction) not in [(one.verdict, one.correction) for one in known]:
                    known.append(read[1])
    return found


def apply(rows: Sequence[Row], verdicts: dict[str, list[Judgement]]) -> Judged:
    """Apply verdicts to rows; of verdicts about other rows nothing is said."""
    kept: list[Row] = []
    left: list[Record] = []
    outcomes: dict[str, str] = {}
    for row in rows:
        judgements = verdicts.get(row["id"], [])
        if not judgements:
            kept.append(row)
            continue
        outcome = outcomes[row["id"]] = _outcome(row, judgements)
        if outcome == "reject":
            left.append({**row, "reason": REJECTED})
        else:
            kept.append(_corrected(row, judgements[0].correction) if outcome == "corrected" else row)
    return Judged(kept, left, outcomes)


def outcome_counts(verdicts: dict[str, list[Judgement]], outcomes: dict[str, str]) -> dict[str, int]:
    """Count the judged rows by outcome; the counts add up to the rows that have a verdict."""
    counts = Counter(outcomes.get(name, "no such row") for name in verdicts)
    return dict(sorted(counts.items()))


def sentence(verdicts: dict[str, list[Judgement]], outcomes: dict[str, str]) -> str:
    """Tell the outcomes of the judged rows, and by name the first of each that was not applied."""
    parts = []
    for outcome, count in outcome_counts(verdicts, outcomes).items():
        first = next(name for name in sorted(verdicts) if outcomes.get(name, "no such row") == outcome)
        parts.append(f"{count:,} {outcome}" + ("" if outcome in VERDICTS else f" (first: {first})"))
    return f"verdicts about {len(verdicts):,} rows: {', '.join(parts)}"


def _outcome(row: Row, judgements: Sequence[Judgement]) -> str:
    if len(judgements) > 1:
        return "contradictory"
    [judgement] = judgements
    if judgement.verdict == "corrected" and _answer(row, judgement.correction) == row["answer"]:
        return "accept"  # synthesis gives that answer by now
    if judgement.answer and judgement.answer != row["answer"]:
        return "answer has changed since"
    return judgement.verdict


def _answer(row: Row, correction: str) -> str:
    return (choose(correction, row["problem"]) or correction) if row["category"] == "MC" else correction


def _corrected(row: Row, correction: str) -> Row:
    """Return a row with its right answer; a path, which argued for the other answer, is taken away."""
    decisions = row["decisions"] | {"corrected": row["answer"]}
    if row["refined_cot"]:
        decisions["path"] = "taken away: a person corrected the answer"
    return {**row, "answer": _answer(row, correction), "refined_cot": "", "decisions": decisions}
