"""Stage `validate`: Great Expectations checkpoint over the rows, quarantine, curation and a gate.

Verdicts of persons come first: rejected rows leave, and a corrected answer is checked like any other.

A row that fails an expectation goes to `quarantine.jsonl` with the expectation's description. Curation moves valid but
unwanted rows (repeated, contaminated, unbalanced, too easy or too hard) to `curated.jsonl` with their reason; the rest
pass unchanged and in order. The gate stops the run if too many rows fail, too few remain, or one answer dominates.

Data Docs contain times and random ids, so they are written to `.wethink/data_docs/`, not to the published folder,
which is a function of its inputs only.
"""

import os
import shutil
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wethink.common.errors import UserError
from wethink.common.jsonl import write_json, write_jsonl
from wethink.common.paths import WORK
from wethink.common.progress import say
from wethink.common.stage_run import StageRun
from wethink.config.curation import Validate
from wethink.config.rewards import RewardFunction
from wethink.curation.filters import ASKED_BEFORE, Curated, curate
from wethink.curation.held_out import held_out
from wethink.curation.unanswerable import swap
from wethink.curation.verdicts import apply, outcome_counts, read_verdicts, sentence
from wethink.data.image_store import ImageSet
from wethink.data.schema import (
    CATEGORIES,
    RELEASED_KEYS,
    REWARDS,
    TRAINING_SPLITS,
    Row,
    placement_fault,
    read_rows,
    row_images,
)
from wethink.rewards.hybrid import check
from wethink.rewards.rules.options import options
from wethink.rewards.verdict import MAX_ANSWER_CHARS

if TYPE_CHECKING:
    import pandas as pd

TEXTS = ("id", "source", "split", "kind", *(key for key in RELEASED_KEYS if key != "abilities"))
MARKUP = r"</?(?:think|answer|video|audio)>|</image>|<\|[a-z0-9_]+\|>"  # would be read as tags or chat markers
PLACES = r"<image>"  # a problem may have one for each image, other texts none
CHECKABLE = "the answer can be checked, and passes its own check"
SHARE_ROWS = 50  # kinds with fewer rows are not held to max_answer_share


def validate(
    *, images: Path, rows: Path, run: StageRun[Validate], functions: Sequence[RewardFunction] = ()
) -> dict[str, Any]:
    """Write kept, quarantined and curated rows, items and contamination; return the counts.

    Raises:
        UserError: too many rows fail, too few remain, or one answer dominates a kind of question.
    """
    config, out, scratch, seed = run.config, run.out, run.scratch, run.seed
    given = list(read_rows(rows / "rows.jsonl"))
    if not given:
        raise UserError(f"{rows / 'rows.jsonl'} has no rows; see {rows / 'rejected.jsonl'} for why.")
    stored = ImageSet(images)
    verdicts = read_verdicts(map(Path, config.verdicts))
    judged = apply(given, verdicts)
    every = judged.rows
    texts = {row["source"] for row in every if row.get("images") == []}
    sources = sorted({record.source for record in stored.records} | texts)
    results = _checkpoint(_frame(every, stored), _suite(config, sources, functions), scratch)
    reasons: dict[int, list[str]] = {}
    for result in results:
        for place in result["places"]:
            reasons.setdefault(place, []).append(result["description"])
    curated = curate([row for place, row in enumerate(every) if place not in reasons], stored, config.curation, seed)
    curated = replace(curated, dropped=[*judged.left, *curated.dropped])
    kept = curated.kept
    say(_repeated(curated))
    made, counts = _unanswerable(kept, config.unanswerable, seed)
    judged_too = apply(made, verdicts)
    if verdicts:
        say(f"validate: {sentence(verdicts, judged.outcomes | judged_too.outcomes)}.")
    write_jsonl(out / "rows.jsonl", [*kept, *judged_too.rows])
    write_jsonl(out / "quarantine.jsonl", (every[place] | {"reasons": reasons[place]} for place in sorted(reasons)))
    write_jsonl(out / "curated.jsonl", [*curated.dropped, *judged_too.left])
    write_json(out / "contamination.json", {"benchmarks": curated.benchmarks})
    shutil.copyfile(rows / "descriptions.jsonl", out / "descriptions.jsonl")
    items = held_out(rows, out, config)
    metrics: dict[str, Any] = {
        "rows": len(given),
        "kept": len(kept),
        "quarantined": len(reasons),
        "curated": curated.reasons,
        **({"items": items} if items else {}),
        **({"unanswerable": counts} if counts else {}),
        **({"verdicts": outcome_counts(verdicts, judged.outcomes | judged_too.outcomes)} if verdicts else {}),
        "with_path": sum(bool(row["refined_cot"]) for row in kept),
        "expectations": [
            {"description": r["description"], "checked": r["checked"], "failed": len(r["places"])} for r in results
        ],
    }
    write_json(out / "metrics.json", metrics)
    _gate(every, kept, reasons, config, out)
    return metrics


def _unanswerable(kept: Sequence[Row], share: float, seed: int) -> tuple[list[Row], dict[str, int]]:
    """Make unanswerable rows of the share of the train rows; tell how many, and count the chosen rows by outcome."""
    found = swap([row for row in kept if row["split"] == "train"], share, seed)
    if found.counts:
        rest = "; ".join(f"{reason} ({count:,})" for reason, count in found.counts.items() if reason != "made")
        why = f"; of the other chosen rows none was made: {rest}" if rest else ""
        say(f"validate: {len(found.made):,} unanswerable rows are made by swapping images{why}.")
    return found.made, found.counts


def _repeated(curated: Curated) -> str:
    """Return the line about the repeated rows; a row with another answer is never one."""
    count = curated.reasons.get(ASKED_BEFORE, 0)
    if not count:
        return "validate: no row is repeated."
    return (
        f"validate: {count:,} repeated rows are left out: the same question and answer about the same picture "
        "or a near-duplicate of it. curated.jsonl names for each the row that is kept."
    )


def _gate(every: list[Row], kept: list[Row], reasons: dict[int, list[str]], config: Validate, out: Path) -> None:
    if len(reasons) > config.max_quarantined * len(every):
        counts = Counter(reason for found in reasons.values() for reason in found)
        worst = max(
            counts, key=lambda reason: (counts[reason], reason != CHECKABLE)
        )  # of equals the one that tells more
        first = every[next(place for place in sorted(reasons) if worst in reasons[place])]
        raise UserError(
            f"{len(reasons)} of {len(every)} rows failed validation, more than validate.max_quarantined "
            f"({config.max_quarantined:.0%}); most often ({counts[worst]} rows) it does not hold that {worst}"
            f"{_example(first)}. The rows and their reasons are in {out / 'quarantine.jsonl'}; correct them or their "
            "synthesis."
        )
    if len(kept) < config.min_rows:
        raise UserError(
            f"only {len(kept)} rows passed validation and curation, fewer than validate.min_rows ({config.min_rows}); "
            "synthesize from more images, or lower the limit."
        )
    answers: dict[str, Counter[str]] = {}
    for row in kept:
        answers.setdefault(row["kind"], Counter())[row["answer"]] += 1
    for kind, counts in sorted(answers.items()):
        answer, count = counts.most_common(1)[0]
        if counts.total() >= SHARE_ROWS and count > config.max_answer_share * counts.total():
            raise UserError(
                f"question kind '{kind}': {count} of {counts.total()} answers are '{answer}', more than "
                f"validate.max_answer_share ({config.max_answer_share:.0%}); balance its questions, or raise the limit."
            )


def _example(row: Mapping[str, Any]) -> str:
    """Return where a failed row comes from, and what the check of its own answer finds."""
    place = row.get("provenance") or {}
    where = f"line {place['line']} of {place['given']}" if "given" in place else f"row {row.get('id')}"
    keys = ("problem", "answer", "category", "reward")
    problem, answer, category, reward = (row[key] if isinstance(row.get(key), str) else "" for key in keys)
    verdict = check(answer, problem, answer, category, reward, tolerance=0.0)
    return f" (for example {where}{'' if verdict.outcome == 'correct' else ': ' + verdict.reason})"


def _frame(rows: Sequence[Row], images: ImageSet) -> "pd.DataFrame":
    """Build the checked table, one line per row: its texts and derived facts.

    A value that should be a text and is not counts as missing.
    """
    import pandas as pd

    splits = {record.id: record.split for record in images.records}
    lines = []
    for row in rows:
        fields: Mapping[str, object] = row
        text = {key: value if isinstance(value := fields.get(key), str) else None for key in TEXTS}
        problem, answer = text["problem"] or "", text["answer"] or ""
        category, reward = text["category"] or "", text["reward"] or ""
        verdict = check(answer, problem, answer, category, reward, tolerance=0.0)
        abilities, about = fields.get("abilities"), row_images({"image": "", **row})
        derived = {
            "abilities": bool(isinstance(abilities, list) and all(isinstance(name, str) for name in abilities)),
            "image is ingested": (bool(about) or row.get("images") == []) and all(image in splits for image in about),
            "split is the image's": all(splits.get(image) == text["split"] for image in about),
            "a place for each image": placement_fault(problem, len(about)) is None,
            "answer is an option": answer in options(problem) if category == "MC" else None,
            # A route of the user's own needs its process; GRPO and evaluation ask it.
            "answer passes its own check": verdict.outcome == "correct" if reward in REWARDS else None,
            "reasoning": "with path" if text["refined_cot"] else "without path",
        }
        lines.append({**text, **derived})
    return pd.DataFrame(lines)


def _great_expectations() -> Any:
    """Import Great Expectations lazily (it takes seconds), with usage statistics off."""
    # The environment variable must be set before the import.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations

    return great_expectations


def _allowed(sources: list[str], functions: Sequence[RewardFunction]) -> dict[str, tuple[str, Sequence[object]]]:
    """Return for each column the description of its rule and the allowed values."""
    declared = {name for entry in functions for name in entry.categories or ()}
    categories = (*CATEGORIES, *sorted(declared - {*CATEGORIES}))
    routes = (*REWARDS, *(entry.route for entry in functions if entry.route is not None))
    return {
        "category": (f"category is one of {', '.join(categories)}", categories),
        "reward": (f"reward is one of {', '.join(routes)}", routes),
        "split": ("split is pretrain or train", TRAINING_SPLITS),
        "source": ("source is an ingested one", sources),
        "abilities": ("abilities are a list of names", [True]),
        "image is ingested": ("image exists among the ingested images", [True]),
        "split is the image's": ("split is that of the image", [True]),
        "a place for each image": ("problem has one <image> for each image, or none", [True]),
        "answer is an option": ("a multiple-choice answer is the letter of a listed option", [True]),
        "answer passes its own check": (CHECKABLE, [True]),
    }


def _pairs(functions: Sequence[RewardFunction]) -> list[tuple[str, str]]:
    """Return the pairs of category and route that belong together.

    Rules check MC and FIB only; a category of the user's own goes with the judge or with any route of the user's own.
    """
    categories = {name for entry in functions for name in entry.categories or ()} - {*CATEGORIES}
    routes = {entry.route for entry in functions if entry.route is not None}
    own = [(category, route) for category in sorted(categories) for route in ("model", *sorted(routes))]
    own += [(category, route) for category in CATEGORIES for route in sorted(routes)]
    return [("MC", "rule"), ("FIB", "rule"), ("DES", "model"), *own]


def _suite(config: Validate, sources: list[str], functions: Sequence[RewardFunction]) -> Any:
    """Build the suite; a quarantined row's reasons are the descriptions."""
    gx = _great_expectations()
    expect = gx.expectations
    given = [expect.ExpectColumnValuesToNotBeNull(column=key, description=f"{key} is given, as text") for key in TEXTS]
    lengths = {
        "problem": (1, config.max_problem_chars),
        "answer": (1, MAX_ANSWER_CHARS),
        "refined_cot": (0, config.max_cot_chars),
    }
    suite = [
        *given,
        expect.ExpectColumnValuesToBeUnique(column="id", description="id is unique"),
        *(
            expect.ExpectColumnValuesToBeInSet(column=column, value_set=list(values), description=words)
            for column, (words, values) in _allowed(sources, functions).items()
        ),
        *(
            expect.ExpectColumnValueLengthsToBeBetween(
                column=column, min_value=low, max_value=high, description=f"{column} has {low} to {high} characters"
            )
            for column, (low, high) in lengths.items()
        ),
        *(
            expect.ExpectColumnValuesToNotMatchRegex(
                column=column,
                regex=MARKUP if column == "problem" else f"{MARKUP}|{PLACES}",
                description=f"{column} has no tags or chat markers inside",
            )
            for column in lengths
        ),
        expect.ExpectColumnPairValuesToBeInSet(
            column_A="category",
            column_B="reward",
            value_pairs_set=_pairs(functions),
            ignore_row_if="either_value_is_missing",
            description="MC and FIB are checked by rule, DES by model",
        ),
        expect.ExpectColumnPairValuesToBeInSet(
            column_A="split",
            column_B="reasoning",
            value_pairs_set=[("train", "with path"), ("train", "without path"), ("pretrain", "without path")],
            ignore_row_if="either_value_is_missing",
            description="only rows of the train split have a reasoning path",
        ),
    ]
    return gx.ExpectationSuite(name="rows", expectations=suite)


def _checkpoint(frame: "pd.DataFrame", suite: Any, scratch: Path) -> list[dict[str, Any]]:
    """Run the checkpoint.

    Returns:
        Per expectation: `description`, `checked` (number of rows) and `places` (indices of failed rows).
    """
    gx = _great_expectations()
    project = scratch / "expectations"
    shutil.rmtree(project, ignore_errors=True)
    context = gx.get_context(mode="file", project_root_dir=str(project))
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("rows").add_dataframe_asset("rows")
    batch = asset.add_batch_definition_whole_dataframe("rows")
    definition = context.validation_definitions.add(
        gx.ValidationDefinition(name="rows", data=batch, suite=context.suites.add(suite))
    )
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="rows",
            validation_definitions=[definition],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="data_docs")],
            result_format={"result_format": "COMPLETE"},
        )
    )
    [validation] = checkpoint.run(batch_parameters={"dataframe": frame}).run_results.values()
    shutil.rmtree(WORK / "data_docs", ignore_errors=True)
    shutil.copytree(project / "gx" / "uncommitted" / "data_docs" / "local_site", WORK / "data_docs")
    order = {expectation.description: place for place, expectation in enumerate(suite.expectations)}
    results = sorted(validation.results, key=lambda result: order[result.expectation_config.description])
    return [_result(result) for result in results]


def _result(result: Any) -> dict[str, Any]:
    description = result.expectation_config.description
    if result.exception_info.get("raised_exception"):  # a defect of the suite or of Great Expectations, not of a row
        raise RuntimeError(f"expectation '{description}' could not run: {result.exception_info['exception_message']}")
    counts = result.result
    return {
        "description": description,
        "checked": counts["element_count"] - counts.get("missing_count", 0),
        "places": sorted(int(place) for place in counts["unexpected_index_list"]),
    }
