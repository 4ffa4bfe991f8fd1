"""Label check of a source with rows of its own: an independent model answers a sample.

Such rows have passed only their author's filters, and the gate judges the new part by the answers that they bring:
where these are wrong, so is its measure. So the configured team's adjudicator answers a sample, from image and question
alone. A source is stopped before any training if too many of its rows are contradicted, or if the adjudicator has no
verdict on too many. The check measures and stops; it drops no row. Rows that only a judge model can check are not
sampled, but counted.
"""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from wethink.clients.chat import Chat, require_keys
from wethink.clients.ordered import ordered_map
from wethink.clients.response_store import ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.jsonl import Record
from wethink.common.progress import track
from wethink.common.statistics import wilson
from wethink.config.launch import Launch
from wethink.config.retraining import LabelCheck
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize
from wethink.data.drawn.questions import Question
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, row_images
from wethink.data.stratified_sample import draw
from wethink.rewards.hybrid import check_row
from wethink.synthesis.api_run import WINDOW, AnnotationJob
from wethink.synthesis.embedded_team import EmbeddedTeam
from wethink.synthesis.endpoint_team import EndpointTeam
from wethink.synthesis.team import ImageRef, StepFailed, Trace

Readings = list[str | None]  # one per row; None: the reader has no answer
EXAMPLES = 3  # of contradicted rows, in the error message


def check_labels(
    rows: Sequence[Row],
    images: ImageSet,
    source: Path,
    config: LabelCheck,
    synthesize: Synthesize,
    rewards: Rewards,
    launch: Launch,
    seed: int,
) -> dict[str, Any]:
    """Check a sample of rows against the reader's answers.

    Returns `reader` (None: no member of the team can see the images), `rows` (the sample), `unknown` (rows of the
    sample without a verdict), `judge_only` (rows outside it that no rule can check), `contradicted`, as `share` the
    contradicted share of the known rows with its Wilson interval, and `unshown`, if there are any: the other rows
    outside the sample, about several images or none, since the reader is shown one.

    Raises:
        UserError: the lower end of the interval is above `max_contradicted`, a reader has no verdict on a larger share
            of the sample than `max_unknown`, or an endpoint cannot be used.
    """
    ruled = [row for row in rows if row["reward"] == "rule"]
    checkable = [row for row in ruled if len(row_images(row)) == 1]
    chosen = draw(checkable, config.rows, seed)
    reader, readings = _read(chosen, images, source, synthesize, rewards, launch, seed)
    outcomes = [
        "unknown" if reading is None else _outcome(row, reading, rewards)
        for row, reading in zip(chosen, readings, strict=True)
    ]
    contradicted, known = outcomes.count("wrong"), len(outcomes) - outcomes.count("unknown")
    found: dict[str, Any] = {"reader": reader, "rows": len(chosen), "unknown": len(chosen) - known}
    found |= {"contradicted": contradicted, "judge_only": len(rows) - len(ruled), "share": None}
    found |= {"unshown": len(ruled) - len(checkable)} if len(ruled) > len(checkable) else {}
    if known:
        low, high = wilson(contradicted / known, known)
        found["share"] = {"value": round(contradicted / known, 6), "low": round(low, 6), "high": round(high, 6)}
        if low > config.max_contradicted:
            raise UserError(_refusal(found, config, chosen, readings, outcomes))
    if reader is not None and found["unknown"] > config.max_unknown * found["rows"]:
        raise UserError(
            f"a label check stops this source: {sentence(found)}, and retrain.label_check.max_unknown allows "
            f"{config.max_unknown:.0%} without a verdict. Configure an adjudicator that can read these rows "
            "(docs/operations.md), or raise the limit."
        )
    return found


def sentence(found: Record) -> str:
    """Format the result of a label check for people."""
    known, share = found["rows"] - found["unknown"], found["share"]
    if found["reader"] is None:
        said = "nobody checked"
    elif not known:
        said = f"{found['reader']} could read none of {found['rows']} rows"
    else:
        said = f"{found['reader']} contradicted {found['contradicted']} of {known} rows "
        said += f"({share['value']:.0%}, [{share['low']:.0%}, {share['high']:.0%}]), "
        said += f"{found['unknown']} of {found['rows']} have no verdict"
    said += f", {found['judge_only']} rows only a judge can check" if found["judge_only"] else ""
    unshown = found.get("unshown")
    return said + (f", {unshown} rows about several images or none were not sampled" if unshown else "")


def _refusal(
    found: Record,
    config: LabelCheck,
    chosen: Sequence[Row],
    readings: Readings,
    outcomes: Sequence[str],
) -> str:
    wrong = [(row, str(read)) for row, read, seen in zip(chosen, readings, outcomes, strict=True) if seen == "wrong"]
    examples = "; ".join(
        f"{row['image_path']}: {row['problem'][:120]!r} has {row['answer'][:40]!r} as answer, it reads {read[:40]!r}"
        for row, read in wrong[:EXAMPLES]
    )
    return (
        f"a label check stops this source: {sentence(found)}, and retrain.label_check.max_contradicted allows "
        f"{config.max_contradicted:.0%}. For example {examples}. Mend rows.jsonl and close the source again."
    )


def _outcome(row: Row, reading: str, rewards: Rewards) -> str:
    return check_row(reading, row, rewards.tolerance).outcome


def _read(
    rows: Sequence[Row],
    images: ImageSet,
    source: Path,
    config: Synthesize,
    rewards: Rewards,
    launch: Launch,
    seed: int,
) -> tuple[str | None, Readings]:
    """Return the reader's name and readings; (None, all None) without a reader."""
    if rows and config.annotator == "endpoints":
        work = AnnotationJob(images, [], config, rewards, seed, launch)
        return work.team().adjudicator.model, asyncio.run(_ask(rows, work))
    if rows and config.annotator == "embedded" and (source / "truth").is_dir():
        return "the embedded adjudicator", asyncio.run(_remember(rows, source, config, seed))
    return None, [None] * len(rows)


async def _remember(rows: Sequence[Row], source: Path, config: Synthesize, seed: int) -> Readings:
    """Read rows with the embedded adjudicator.

    The embedded team reads drawn images only, and knows only the questions that it would ask itself.
    """
    team = EmbeddedTeam(source, config.embedded, seed)
    readings: Readings = []
    for row in rows:
        subject = ImageRef(row_images(row)[0], row["source"])
        known = team.recall(subject, row["problem"], config.questions_per_image)
        readings.append(None if known is None else await team.adjudicate(subject, known, Trace()))
    return readings


async def _ask(rows: Sequence[Row], work: AnnotationJob) -> Readings:
    """Read rows with the adjudicator's endpoint; stored responses are reused.

    Raises:
        UserError: more than `max_failed` of the calls failed for a transient reason.
    """
    models, config = work.team(), work.config
    endpoints = {models.adjudicator.endpoint: work.launch.endpoints[models.adjudicator.endpoint]}
    require_keys(endpoints)
    failed: list[bool] = []  # per failed call: whether it is retryable
    readings: Readings = []
    stored = {record.id: record for record in work.stored.records}
    with ResponseStore(work.launch.answers) as store:
        async with Chat(endpoints, store, config.max_cost, 1) as chat:
            team = EndpointTeam(work.stored, models, config.min_abilities, chat.ask)

            async def read(row: Row) -> str | None:
                record = stored[row_images(row)[0]]
                subject = ImageRef(record.id, record.source, record.width * record.height)
                try:
                    return await team.adjudicate(subject, _question(row), Trace())
                except StepFailed as failure:
                    failed.append(failure.retryable)
                    return None

            def job(row: Row) -> Callable[[], Coroutine[Any, Any, str | None]]:
                return lambda: read(row)

            calls = sum(endpoint.concurrency for endpoint in endpoints.values())
            async with aclosing(ordered_map(map(job, rows), WINDOW * calls)) as results:
                with track(rows, "label check") as bar:
                    async for reading in results:
                        readings.append(reading)
                        bar.update()
    if sum(failed) > config.max_failed * len(rows):
        raise UserError(
            f"a label check of {len(rows)} rows had {sum(failed)} calls that failed for a passing reason; what was "
            "answered is kept, start again for the rest.",
            exit_code=TRY_AGAIN_LATER,
        )
    return readings


def _question(row: Row) -> Question:
    return Question(row["kind"], (), row["problem"], row["category"], tuple(row["abilities"]), row["reward"])
