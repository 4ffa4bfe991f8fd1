"""`validate` section of `params.yaml`: quarantine, caps and difficulty filter of rows."""

from wethink.config.base import Positive, Section, Share


class Caps(Section):
    """Maximum number of rows per source, category and ability; null = no cap."""

    source: Positive | None
    category: Positive | None
    ability: Positive | None


class Difficulty(Section):
    """Keep rows with `low` ≤ pass rate ≤ `high`; rates come from a file of `passrates`."""

    rates: str
    low: Share
    high: Share


class Curation(Section):
    """Filters of training rows (wethink/curation/filters.py)."""

    benchmarks: tuple[str, ...]  # VLMEvalKit TSV files that must not be trained on
    max_unreadable: Share  # of a benchmark's pictures and rows; beyond it, or if all are, the check is none
    caps: Caps
    difficulty: Difficulty | None


class Validate(Section):
    curation: Curation
    verdicts: tuple[str, ...] = ()  # files of persons' verdicts: rejected rows leave, corrected answers enter
    min_rows: Positive
    max_quarantined: Share  # the gate: more than this share of failing rows stops the run
    max_problem_chars: Positive
    max_cot_chars: Positive
    unanswerable: Share = 0.0  # of train rows and held-out items: asked again about an image that cannot answer
    max_answer_share: Share  # no single answer may make up more of a question kind
