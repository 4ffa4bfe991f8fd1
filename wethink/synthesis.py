"""Stage `synthesize`: images → questions, answers and reasoning paths, by an annotator team or from existing rows.

The order is the paper's: description → questions → filter of invalid ones → two independent answers →
agreement, else adjudication → refined path. Every candidate ends in exactly one outcome: a row, or a
rejection with its reason.

Few rows get a path: those of a hash-chosen `path_share` of the train images. The others keep their
answer alone, and are GRPO's. A reasoning path is the costly thing to write, an answer the cheap one,
and reinforcement learning needs only the latter.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from wethink.annotators import REASONING, Annotator, Subject, ability_fault
from wethink.annotators.embedded import EmbeddedAnnotator
from wethink.config import Rewards, Synthesize
from wethink.errors import UserError
from wethink.images import ImageRecord, ImageSet
from wethink.importer import TRAINING_SPLITS, import_rows
from wethink.progress import track
from wethink.records import Record, content_id, write_json, write_jsonl
from wethink.rewards.hybrid import check
from wethink.sources.questions import Question


def synthesize(
    *, images: Path, drawn: Path, out: Path, scratch: Path, config: Synthesize, rewards: Rewards, seed: int
) -> dict[str, Any]:
    """Write `rows.jsonl`, `rejected.jsonl` and `descriptions.jsonl` (docs/data.md) and return the funnel.

    Raises:
        UserError: an image that the annotator cannot read, a file of existing rows that is unusable,
            or nothing to annotate.
    """
    records = sorted((r for r in ImageSet(images).records if r.split in TRAINING_SPLITS), key=lambda record: record.id)
    if not records:
        raise UserError(f"{images} has no image of the splits pretrain and train; raise draw.train or add a source.")
    descriptions: list[Record] = []
    if config.annotator == "rows":
        assert config.rows is not None  # the config's own validator
        every = ImageSet(images).records  # with the held-out ones, so that their rows are told from unmatched ones
        candidates = import_rows(Path(config.rows), every, lambda image: has_path(image, config.path_share, seed))
        asked = len(candidates)
    else:
        team = EmbeddedAnnotator(drawn, config.embedded, seed)
        candidates = [
            row
            for record in track(records, "synthesize")
            for row in annotate(record, team, config, rewards, seed, descriptions)
        ]
        asked = len(records) * config.questions_per_image
    write_jsonl(out / "rows.jsonl", (_without_reason(row) for row in candidates if row["reason"] is None))
    write_jsonl(out / "rejected.jsonl", (row for row in candidates if row["reason"] is not None))
    write_jsonl(out / "descriptions.jsonl", descriptions)
    metrics = funnel(candidates) | {
        "images": dict(sorted(Counter(record.split for record in records).items())),
        "unasked": asked - len(candidates),  # no further kind of question fits the description
    }
    write_json(out / "metrics.json", metrics)
    return metrics


def annotate(
    record: ImageRecord,
    team: Annotator,
    config: Synthesize,
    rewards: Rewards,
    seed: int,
    descriptions: list[Record],
) -> Iterator[Record]:
    """Yield every candidate of one image, each with its `reason` (None: kept); append the image's description."""
    subject = Subject(record.id, record.source)
    description = team.describe(subject)
    descriptions.append({"image": record.id, "source": record.source, "split": record.split, "text": description})
    with_path = record.split == "train" and has_path(record.id, config.path_share, seed)
    for question in team.ask(subject, description, config.questions_per_image):
        row = _row(record, question) | {"provenance": team.provenance}
        yield row | _decide(row, subject, description, question, team, config, rewards, with_path)


def has_path(image: str, share: float, seed: int) -> bool:
    """Whether an image is one of the hash-chosen share whose rows carry a reasoning path."""
    digest = hashlib.sha256(f"path {seed} {image}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


def _decide(
    row: Record,
    subject: Subject,
    description: str,
    question: Question,
    team: Annotator,
    config: Synthesize,
    rewards: Rewards,
    with_path: bool,
) -> Record:
    """What becomes of a candidate: the fields `answer`, `refined_cot`, `decisions` and `reason`."""

    def same(one: str, other: str) -> bool:
        verdict = check(one, question.problem, other, question.category, question.reward, rewards.tolerance)
        return verdict.outcome == "correct"

    def ends(reason: str | None, answer: str = "", path: str = "") -> Record:
        return {"answer": answer, "refined_cot": path, "decisions": decisions, "reason": reason}

    decisions: Record = {"description": None, "vision": None, "adjudicator": None, "agreed": None}
    fault = ability_fault(row["abilities"]) or team.objection(subject, question)
    if fault:
        return ends(fault)
    answer, seen = team.reason(subject, description, question), team.look(subject, question)
    decisions |= {"description": answer, "vision": seen, "agreed": same(answer, seen)}
    if config.agreement and not decisions["agreed"]:
        if not config.adjudication:
            return ends("answers disagree")
        third = decisions["adjudicator"] = team.adjudicate(subject, question)
        settled = next((given for given in (answer, seen) if same(third, given)), None)
        if settled is None:
            return ends("the adjudicator agrees with neither answer")
        answer = settled
    if not with_path:
        return ends(None, answer)
    refined = team.refine(subject, question, answer)
    if not same(refined.answer, answer):
        return ends("path does not lead to the answer", answer, refined.path)
    return ends(None, answer, refined.path)


def _row(record: ImageRecord, question: Question) -> Record:
    fields = question.as_record()
    return fields | {
        "abilities": [REASONING, *fields["abilities"]],
        "id": content_id(record.id, question.problem),
        "image": record.id,
        "image_path": f"{record.source}/{record.origin}",
        "source": record.source,
        "split": record.split,
        "scene": record.cluster,
    }


def _without_reason(row: Record) -> Record:
    return {key: value for key, value in row.items() if key != "reason"}


def funnel(candidates: Iterable[Record]) -> Record:
    """Counts of what became of the candidates: overall, by reason, and by source, category and split."""
    rows = list(candidates)
    kept = [row for row in rows if row["reason"] is None]
    return {
        "candidates": len(rows),
        "kept": len(kept),
        "rejected": dict(sorted(Counter(row["reason"] for row in rows if row["reason"] is not None).items())),
        "with_path": sum(bool(row["refined_cot"]) for row in kept),
        "agreed": sum(row["decisions"].get("agreed") is True for row in rows),
        "adjudicated": sum(row["decisions"].get("adjudicator") is not None for row in rows),
        "by": {
            field: {
                str(value): {
                    "candidates": sum(row[field] == value for row in rows),
                    "kept": sum(row[field] == value for row in kept),
                }
                for value in sorted({row[field] for row in rows})
            }
            for field in ("source", "category", "split", "kind")
        },
    }
