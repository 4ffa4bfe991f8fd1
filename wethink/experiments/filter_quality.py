"""Quality of synthesised labels, filter by filter, measured where the truth is known.

The pipeline's own steps run over drawn images with a team of set faults (wethink/experiments/fallible_team.py): how
often each answerer is wrong, how correlated their errors are, how many questions have no answer. A *pair* is a question
with the text reasoner's answer; it is wrong if its image cannot answer the question or the answer is not the true one.
Every pair is followed through the pipeline with agreement and adjudication on and off.

Independent errors would make agreement look perfect, so the table has correlated ones, too; an interval is a cluster
bootstrap over scenes. The filters that need a model (blind answering, ambiguity) are not measured here.
"""

import asyncio
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from wethink.common.jsonl import Record, read_jsonl, write_json
from wethink.common.paths import WORK
from wethink.common.progress import track
from wethink.common.stage_run import StageRun
from wethink.common.statistics import Estimate, cluster_bootstrap
from wethink.config.params import Params
from wethink.config.synthesis import Synthesize
from wethink.data.drawn.draw import draw
from wethink.data.drawn.questions import Question
from wethink.data.image_store import ImageRecord
from wethink.experiments.fallible_team import FallibleTeam
from wethink.rewards.hybrid import check
from wethink.synthesis.pipeline import annotate_image
from wethink.synthesis.team import ImageRef, Trace

OUT = Path("reports/quality.json")
TOGGLES = ((True, True), (True, False), (False, True), (False, False))  # agreement, adjudication
PROBE = 300  # images on which the misread rate is calibrated to the declared error
FILTERS = {
    "invalid question": "the vision model's objection to a question that it cannot put to the image",
    "agreement": "the two answers are compared; pairs that passed the objection",
    "adjudication": "a third answer, for pairs whose answers disagree",
    "path check": "a refined path must lead to the answer; pairs kept by all filters before",
}


@dataclass(frozen=True)
class Pair:
    """A proposed pair and its outcome: rejected, or kept and wrong or right."""

    scene: str
    wrong: bool
    planted: bool
    reason: str | None  # of the rejection
    kept_wrong: bool | None  # None: rejected
    vision_wrong: bool | None  # None: not asked, or the question has no answer


def quality(params: Params) -> dict[str, Any]:
    """Measure every setting of `params.quality`; write `reports/quality.json`.

    Returns the same record; its tables are written beside it as Markdown.
    """
    result = asyncio.run(_measured(_world(params), params))
    write_json(OUT, result)
    OUT.with_suffix(".md").write_text(tables(result), encoding="utf-8")
    return result


async def _measured(drawn: Path, params: Params) -> Record:
    config, seed = params.quality, params.seed
    records = _records(drawn, params.draw.image_size)
    rows: list[Record] = []
    filters: list[Record] = []
    settings = [(error, correlation) for error in config.errors for correlation in config.correlations]
    aliens = FallibleTeam(drawn, 0.0, 0.0, {}, seed).aliens(config.unanswerable, params.synthesize.questions_per_image)
    rates = {error: await misread_rate(drawn, records, error, params) for error in config.errors}
    for error, correlation in track(settings, "quality", len(settings)):
        team = partial(FallibleTeam, drawn, rates[error], correlation, aliens, seed)
        followed = {
            (agreement, adjudication): await follow(records, team(), params, agreement, adjudication)
            for agreement, adjudication in TOGGLES
            if agreement or not adjudication
        }
        followed[False, True] = followed[False, False]  # the adjudicator is asked on disagreement only
        checked = await follow(records, team(), params, True, True, paths=True)
        setting = {"annotator_error": error, "error_correlation": correlation, "misread_rate": round(rates[error], 4)}
        for toggle in TOGGLES:
            named = setting | {"agreement": toggle[0], "adjudication": toggle[1]}
            rows.append(named | _row(followed[toggle], config.bootstrap, seed))
        filters += [setting | found for found in _filters(followed, checked, config.bootstrap, seed)]
    return {
        "settings": config.model_dump(mode="json") | {"seed": seed, "questions": params.synthesize.questions_per_image},
        "rows": rows,
        "filters": filters,
    }


async def follow(
    records: Sequence[ImageRecord],
    team: FallibleTeam,
    params: Params,
    agreement: bool,
    adjudication: bool,
    paths: bool = False,
) -> dict[str, Pair]:
    """Run the pipeline's own steps; return every proposed pair by its id."""
    switches = {"agreement": agreement, "adjudication": adjudication, "path_share": float(paths)}
    config: Synthesize = params.synthesize.model_copy(update=switches)
    found: dict[str, Pair] = {}
    for record in records:
        for row in (await annotate_image(record, team, config, params.rewards, params.seed)).candidates:
            question = team.asked[record.id, row["problem"]]
            wrong = partial(_wrong, team, record.id, question, params.rewards.tolerance)
            proposed = row["decisions"]["description"]
            if proposed is None:  # rejected before any answer
                proposed = (await team.reason(ImageRef(record.id, record.source), "", question, Trace())).answer
            seen = row["decisions"]["vision"]
            found[row["id"]] = Pair(
                scene=record.cluster,
                wrong=wrong(proposed),
                planted=(record.id, question.problem) in team.planted,
                reason=row["reason"],
                kept_wrong=wrong(row["answer"]) if row["reason"] is None else None,
                vision_wrong=wrong(seen) if seen is not None and team.answerable(record.id, question) else None,
            )
    return found


def _wrong(team: FallibleTeam, image: str, question: Question, tolerance: float, answer: str) -> bool:
    if not team.answerable(image, question):
        return True
    truth = team.true_answer(image, question)
    return check(answer, question.problem, truth, question.category, question.reward, tolerance).outcome != "correct"


async def misread_rate(drawn: Path, records: Sequence[ImageRecord], error: float, params: Params) -> float:
    """Find the misread rate at which the text reasoner's error rate is `error`.

    Bisection on answerable questions of a fixed part of the images: a misread part need not change an answer, so the
    two rates differ.
    """
    if error == 0:
        return 0.0
    chosen = records[:: max(1, len(records) // PROBE)]

    async def measured(rate: float) -> float:
        team = FallibleTeam(drawn, rate, 0.0, {}, params.seed)
        wrong = []
        for record in chosen:
            await asyncio.sleep(0)  # asyncio delivers an interrupt only where a coroutine waits
            subject = ImageRef(record.id, record.source)
            for question in team.questions(subject, params.synthesize.questions_per_image):
                if team.answerable(record.id, question):
                    reasoned = await team.reason(subject, "", question, Trace())
                    wrong.append(_wrong(team, record.id, question, params.rewards.tolerance, reasoned.answer))
        return float(np.mean(wrong))

    low, high = 0.0, 1.0
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if await measured(middle) < error else (low, middle)
    return (low + high) / 2


def _world(params: Params) -> Path:
    """Draw images of the main job's sources, for this measurement alone."""
    drawn = WORK / "quality" / "drawn"
    shutil.rmtree(drawn, ignore_errors=True)
    drawn.mkdir(parents=True)
    counts = {"pretrain": 0, "train": params.quality.images, "tuning": 0, "reporting": 0}
    draw(run=StageRun(params.draw.model_copy(update=counts), out=drawn, scratch=drawn, seed=params.seed))
    return drawn


def _records(drawn: Path, side: int) -> list[ImageRecord]:
    truths = [record for path in sorted((drawn / "truth").glob("*.jsonl")) for record in read_jsonl(path)]
    truths.sort(key=lambda record: str(record["image"]))
    return [ImageRecord(t["image"], t["source"], "train", t["scene"], side, side, t["image"]) for t in truths]


# --- figures ---------------------------------------------------------------------------------


def _row(pairs: dict[str, Pair], resamples: int, seed: int) -> Record:
    """Compute the figures of one pipeline setting over all proposed pairs."""
    every = list(pairs.values())
    kept = [pair for pair in every if pair.kept_wrong is not None]
    both = [pair for pair in every if pair.vision_wrong is not None]
    return {
        "candidates": len(every),
        "planted": sum(pair.planted for pair in every),
        "proposed_error": _estimate(every, lambda pair: pair.wrong, resamples, seed),
        "answer_error": _estimate(both, lambda pair: pair.wrong, resamples, seed),
        "measured_correlation": correlation([(pair.wrong, bool(pair.vision_wrong)) for pair in both]),
        "kept": len(kept),
        "final_error": _estimate(kept, lambda pair: bool(pair.kept_wrong), resamples, seed),
        "wrong_caught": _share(pair.kept_wrong is not True for pair in every if pair.wrong),
        "right_lost": _share(pair.kept_wrong is not False for pair in every if not pair.wrong),
    }


def _filters(
    followed: dict[tuple[bool, bool], dict[str, Pair]], checked: dict[str, Pair], resamples: int, seed: int
) -> list[Record]:
    """Compute each filter's share of wrong pairs caught and of right pairs lost.

    Only the pairs that reach a filter count for it.
    """
    bare, agreed, settled = followed[False, False], followed[True, False], followed[True, True]
    reaching = {name: pair for name, pair in bare.items() if pair.reason is None}
    split = {name: agreed[name] for name in reaching if agreed[name].reason is not None}
    kept = {name: pair for name, pair in settled.items() if pair.reason is None}
    before_after = {
        "invalid question": (bare, bare),
        "agreement": ({name: agreed[name] for name in reaching}, agreed),
        "adjudication": (split, settled),
        "path check": ({name: replace(pair, wrong=bool(pair.kept_wrong)) for name, pair in kept.items()}, checked),
    }
    found = []
    for name, (before, after) in before_after.items():
        pairs = [replace(after[key], wrong=pair.wrong) for key, pair in before.items()]
        wrong, right = ([pair for pair in pairs if pair.wrong is which] for which in (True, False))
        planted = [pair for pair in pairs if pair.planted]
        found.append(
            {
                "filter": name,
                "reached": len(pairs),
                "wrong_caught": _estimate(wrong, lambda pair: pair.kept_wrong is not True, resamples, seed),
                "right_lost": _estimate(right, lambda pair: pair.kept_wrong is not False, resamples, seed),
                "unanswerable_caught": _estimate(planted, lambda pair: pair.kept_wrong is None, resamples, seed),
            }
        )
    return found


def correlation(errors: Sequence[tuple[bool, bool]]) -> float | None:
    """Compute the correlation (phi) of two answerers' errors.

    None where one of them never or always errs.
    """
    values = np.asarray(errors, dtype=float)
    if len(values) < 2 or not values.std(axis=0).all():
        return None
    return round(float(np.corrcoef(values.T)[0, 1]), 4)


def _estimate(pairs: Sequence[Pair], of: Callable[[Pair], bool], resamples: int, seed: int) -> Record | None:
    if not pairs:
        return None
    hits = [of(pair) for pair in pairs]
    found = cluster_bootstrap(hits, [pair.scene for pair in pairs], resamples, seed)
    return {key: round(value, 5) for key, value in asdict(_widened(found, hits, pairs)).items()}


def _widened(found: Estimate, hits: Sequence[bool], pairs: Sequence[Pair]) -> Estimate:
    """Widen an interval of no or only hits to the exact binomial bound over scenes.

    Resampling equal values has no spread.
    """
    if any(hits) and not all(hits):
        return found
    bound = 1 - 0.025 ** (1 / len({pair.scene for pair in pairs}))
    return replace(found, low=1 - bound) if any(hits) else replace(found, high=bound)


def _share(hits: Iterable[bool]) -> float | None:
    values = list(hits)
    return round(sum(values) / len(values), 4) if values else None


# --- tables ----------------------------------------------------------------------------------


SHOWN = {"both off": (False, False), "agreement": (True, False), "agreement and adjudication": (True, True)}


def tables(result: Record) -> str:
    """Render both tables as Markdown.

    Adjudication without agreement is no column, as the adjudicator is then never asked.
    """
    rows = {
        (row["annotator_error"], row["error_correlation"], row["agreement"], row["adjudication"]): row
        for row in result["rows"]
    }
    lines = [
        "| answers wrong | error correlation (measured) | "
        + " | ".join(f"{name}: final error [95 %]" for name in SHOWN)
        + " | agreement: caught / lost | with adjudication: caught / lost |",
        "|---|---|---|---|---|---|---|",
    ]
    for error, together in dict.fromkeys(key[:2] for key in rows):
        cells = [rows[error, together, *toggle] for toggle in SHOWN.values()]
        measured = cells[-1]["measured_correlation"]
        lines.append(
            f"| {error:.0%} | {together:g} ({'–' if measured is None else f'{measured:.2f}'}) | "
            + " | ".join(f"{_cell(row['final_error'])}, {row['kept'] / row['candidates']:.0%} kept" for row in cells)
            + "".join(f" | {_percent(row['wrong_caught'])} / {_percent(row['right_lost'])}" for row in cells[1:])
            + " |"
        )
    lines += [
        "",
        "| filter | answers wrong | error correlation | pairs | wrong ones caught [95 %] | right ones lost [95 %] |",
        "|---|---|---|---|---|---|",
    ]
    for row in sorted(result["filters"], key=lambda row: list(FILTERS).index(row["filter"])):
        if row["reached"] and row["annotator_error"]:
            lines.append(
                f"| {row['filter']} | {row['annotator_error']:.0%} | {row['error_correlation']:g} | {row['reached']} "
                f"| {_cell(row['wrong_caught'])} | {_cell(row['right_lost'])} |"
            )
    return "\n".join(lines) + "\n"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}"


def _cell(found: Record | None) -> str:
    return "–" if found is None else f"{found['value']:.1%} [{100 * found['low']:.1f}, {100 * found['high']:.1f}]"
