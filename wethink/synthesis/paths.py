"""Reasoning paths of given rows: which rows serve SFT, and which GRPO.

A given path is not thrown away: a row with one is for SFT, a row without one for GRPO. Where over `MOST` of the train
rows have a path, GRPO would be left without rows; then `synthesize.path_share` of the images keep theirs for SFT, and
the others are set aside: the row keeps its path under `columns.refined_cot`.

With `synthesize.write_paths`, the train rows of that share that have no path get one from the team, which is asked for
a path to the row's own answer. The answer is never replaced: a path that leads elsewhere is thrown away.
"""

from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence

from wethink.common.jsonl import Record
from wethink.config.rewards import Rewards
from wethink.data.drawn.questions import Question
from wethink.data.image_store import ImageRecord
from wethink.data.schema import CATEGORIES, REWARDS, row_images
from wethink.rewards.hybrid import check
from wethink.synthesis.team import ImageRef, Refined, StepFailed, Trace

MOST = 0.9
WRITTEN, REJECTED, FAILED, UNASKED = "written", "rejected", "failed", "not asked"  # endings in `decisions.path`
Write = Callable[[ImageRef, Question, str, Trace], Awaitable[tuple[Refined, str | None]]]


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


def lacking(rows: Iterable[Record], has_path: Callable[[str], bool], rewards: Rewards) -> list[Record]:
    """Return the rows that are to get a path; mark in place those whose path could not be checked.

    Args:
        rows: imported rows, with their `reason`.
        has_path: returns whether an image's rows serve SFT.
        rewards: the tolerance of the check.
    """
    found = []
    for row in rows:
        if row["reason"] is not None or row["split"] != "train" or row["refined_cot"]:
            continue
        shown = row_images(row)
        if len(shown) != 1:
            row["decisions"] = row["decisions"] | {"path": f"{UNASKED}: it is not about one image"}
        elif has_path(shown[0]):
            own = row["category"] not in CATEGORIES or row["reward"] not in REWARDS
            if own or not _leads(row["answer"], row, rewards):
                why = "its check is one of your own" if own else "the rules of the reward cannot read the answer"
                row["decisions"] = row["decisions"] | {"path": f"{UNASKED}: {why}"}
            else:
                found.append(row)
    return found


async def rationalize(row: Record, record: ImageRecord, write: Write, rewards: Rewards) -> bool:
    """Write a path to a row's answer, in place, if it passes the checks of a refined path.

    Returns:
        Whether no path was written because a call failed for a reason that passes.
    """
    question = Question(row["kind"], (), row["problem"], row["category"], tuple(row["abilities"]), row["reward"])
    trace, retryable = Trace(), False
    try:
        refined, fault = await write(
            ImageRef(record.id, record.source, record.width * record.height), question, row["answer"], trace
        )
        if not fault and not _leads(refined.answer, row, rewards):
            fault = "path does not lead to the answer"
        ending = f"{REJECTED}: {fault}" if fault else WRITTEN
        row["refined_cot"] = "" if fault else refined.path
    except StepFailed as failure:
        ending, retryable = f"{FAILED}: {failure}", failure.retryable
    row["decisions"] = row["decisions"] | {"path": ending}
    row["provenance"] = row["provenance"] | {"steps": trace.steps}
    return retryable


def path_figures(rows: Sequence[Record]) -> Record:
    """Count the rows that were asked for a path by outcome.

    Raises:
        RuntimeError: the counts do not add up.
    """
    endings = [str(row["decisions"]["path"]).partition(": ") for row in rows]
    written = sum(ending == WRITTEN for ending, _, _ in endings)
    reasons = {name: Counter(why for ending, _, why in endings if ending == name) for name in (REJECTED, FAILED)}
    if written + sum(counts.total() for counts in reasons.values()) != len(rows):
        raise RuntimeError(f"paths do not add up: {written} + {reasons} is not {len(rows)}")
    return {"asked": len(rows), "written": written} | {n: dict(sorted(c.items())) for n, c in reasons.items()}


def _leads(answer: str, row: Record, rewards: Rewards) -> bool:
    verdict = check(answer, row["problem"], row["answer"], row["category"], row["reward"], rewards.tolerance)
    return verdict.outcome == "correct"
