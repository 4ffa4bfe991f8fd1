"""Synthesis pipeline of one image, in the paper's order of steps: description to candidate rows.

Every candidate has exactly one outcome. Kept: `reason` is None. Rejected: `reason` names the filter. Failed: a step
brought no usable reply; `reason` names the step and the fault, and the key `retryable` tells whether a later run may
succeed.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize
from wethink.data.drawn.questions import Question
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.schema import TRAINING_SPLITS
from wethink.rewards.hybrid import check
from wethink.synthesis.abilities import REASONING, ability_fault
from wethink.synthesis.team import Draft, ImageRef, StepFailed, Team, Trace

IMAGE = "image"  # the kind of a record that stands for an image as a whole


@dataclass(frozen=True)
class Annotated:
    """The result of one image; `description` is None if an earlier step failed."""

    description: Record | None
    candidates: list[Record]
    unasked: int = 0  # requested questions that were not written


def drawn_images(stored: ImageSet, drawn: Path) -> set[str]:
    """Return the images of drawn sources; `draw` has written the items of those that are held out."""
    sources = {path.stem for path in (drawn / "images").glob("*.parquet")}  # never their truth: it stays outside
    return {record.id for record in stored.records if record.source in sources}


def to_annotate(stored: ImageSet, drawn: Path) -> list[ImageRecord]:
    """Return the images to annotate, in stored order: those to train on, and held-out ones that are not drawn.

    Raises:
        UserError: there is none to train on.
    """
    known = drawn_images(stored, drawn)
    records = [record for record in stored.records if record.split in TRAINING_SPLITS or record.id not in known]
    if all(record.split not in TRAINING_SPLITS for record in records):
        raise UserError(
            f"{stored.folder} has no image of the splits pretrain and train; raise draw.train or add a source."
        )
    return records


def has_path(image: str, share: float, seed: int) -> bool:
    """Return whether a hash selects an image's rows to have a reasoning path."""
    digest = hashlib.sha256(f"path {seed} {image}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64 < share


async def annotate_image(record: ImageRecord, team: Team, config: Synthesize, rewards: Rewards, seed: int) -> Annotated:
    """Run all steps for one image.

    An image without candidates gets one record of kind 'image', with the reason.
    """
    with_path = record.split == "train" and has_path(record.id, config.path_share, seed)
    subject, trace = ImageRef(record.id, record.source, record.width * record.height), Trace()
    described: Record | None = None
    try:
        if config.screen and (fault := await team.screen(subject, trace)):
            return Annotated(None, [_of_image(record, team, trace) | {"reason": fault}])
        coarse = await team.describe(subject, trace)
        turns, text = await team.mine(subject, coarse, trace)
        mined = [{"question": turn.question, "answer": turn.answer} for turn in turns]
        described = {"coarse": coarse, "turns": mined, "text": text}
        described = {"image": record.id, "source": record.source, "split": record.split, **described}
        drafts = await team.write(subject, text, config.questions_per_image, trace)
    except StepFailed as failure:
        ends = {"reason": str(failure), "retryable": failure.retryable}
        return Annotated(described, [_of_image(record, team, trace) | ends])
    if not drafts:
        ends = {"reason": "no question fits the description"}
        return Annotated(described, [_of_image(record, team, trace) | ends], config.questions_per_image)
    candidates, asked = [], set[str]()
    for number, draft in enumerate(drafts):
        own = Trace(dict(trace.steps))
        row = _row(record, draft.question)
        if row["id"] in asked:
            draft = Draft(draft.question, "asked twice about this image")
            row["id"] = content_id(record.id, draft.question.problem, number)
        asked.add(row["id"])
        ends = await _decide(row, subject, text, draft, team, config, rewards, with_path, own)
        candidates.append(row | {"provenance": _provenance(team, own)} | ends)
    return Annotated(described, candidates, config.questions_per_image - len(drafts))


async def _decide(
    row: Record,
    subject: ImageRef,
    description: str,
    draft: Draft,
    team: Team,
    config: Synthesize,
    rewards: Rewards,
    with_path: bool,
    trace: Trace,
) -> Record:
    """Run the filters, answers and refinement of a candidate.

    Returns:
        `answer`, `refined_cot`, `decisions` and `reason`; for a failed candidate also `retryable`.
    """
    question, decisions, answer = draft.question, _undecided(), ""

    def same(one: str, other: str) -> bool:
        verdict = check(one, question.problem, other, question.category, question.reward, rewards.tolerance)
        return verdict.outcome == "correct"

    def ends(reason: str | None, path: str = "") -> Record:
        return {"answer": answer, "refined_cot": path, "decisions": decisions, "reason": reason}

    try:
        fault = draft.fault or ability_fault(row["abilities"], config.min_abilities)
        if fault or (fault := await team.objection(subject, question, trace)):
            return ends(fault)
        reasoned = await team.reason(subject, description, question, trace)
        seen = await team.look(subject, question, trace)
        decisions |= {"description": reasoned.answer, "vision": seen, "agreed": same(reasoned.answer, seen)}
        settled: str | None = reasoned.answer
        if config.agreement and not decisions["agreed"]:
            if not config.adjudication:
                return ends("answers disagree")
            third = decisions["adjudicator"] = await team.adjudicate(subject, question, trace)
            settled = next((given for given in (reasoned.answer, seen) if same(third, given)), None)
            if settled is None:
                return ends("the adjudicator agrees with neither answer")
        answer = settled or ""
        if not same(answer, answer):
            return ends("an answer that the rules of the reward cannot read")
        if team.blind_tries and await _answered_blind(subject, question, answer, team, decisions, same, trace):
            return ends("answered without the image")
        if not with_path:
            return ends(None)
        raw = reasoned.reasoning if answer == reasoned.answer else ""  # it led to another answer
        refined, fault = await team.refine(subject, question, answer, raw, trace)
        if fault or not same(refined.answer, answer):
            return ends(fault or "path does not lead to the answer", refined.path)
        return ends(None, refined.path)
    except StepFailed as failure:
        return ends(str(failure)) | {"retryable": failure.retryable}


async def _answered_blind(
    subject: ImageRef, question: Question, answer: str, team: Team, decisions: Record, same: Any, trace: Trace
) -> bool:
    """Return whether k of n samples without the image are right; stop once decided."""
    right = tries = 0
    while right < team.blind_limit <= right + team.blind_tries - tries:
        right += same(await team.blind(subject, question, tries, trace), answer)
        tries += 1
        decisions["blind"] = {"right": right, "tries": tries}
    return right >= team.blind_limit


def _undecided() -> Record:
    return {"description": None, "vision": None, "adjudicator": None, "agreed": None}


def _provenance(team: Team, trace: Trace) -> Record:
    return team.provenance | ({"steps": trace.steps} if trace.steps else {})


def _row(record: ImageRecord, question: Question) -> Record:
    fields = question.as_record()
    return fields | {
        "abilities": [REASONING, *fields["abilities"]],
        "id": content_id(record.id, question.problem),
        **_place(record),
    }


def _of_image(record: ImageRecord, team: Team, trace: Trace) -> Record:
    """Return a record for a whole image: a row with the question's keys empty."""
    empty = dict.fromkeys(("problem", "answer", "category", "refined_cot", "reward"), "")
    return {
        **empty,
        "kind": IMAGE,
        "abilities": [],
        "id": content_id(record.id, IMAGE),
        **_place(record),
        "provenance": _provenance(team, trace),
        "decisions": _undecided(),
    }


def _place(record: ImageRecord) -> Record:
    return {
        "image": record.id,
        "image_path": f"{record.source}/{record.origin}",
        "source": record.source,
        "split": record.split,
        "scene": record.cluster,
    }
