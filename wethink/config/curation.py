"""The `validate` section of `params.yaml`: quarantine, caps and difficulty of rows."""

from wethink.config.base import Positive, Section, Share


class Caps(Section):
    """The most rows of any one source, category or ability; null = no cap."""

    source: Positive | None
    category: Positive | None
    ability: Positive | None


class Difficulty(Section):
    """Keep rows that a policy solves sometimes: `low` ≤ pass rate ≤ `high`, from a file of `passrates`."""

    rates: str
    low: Share
    high: Share


class Curation(Section):
    """Which rows are fit to be trained on (wethink/curation/filters.py)."""

    benchmarks: tuple[str, ...]  # VLMEvalKit TSV files that must not be trained on
    caps: Caps
    difficulty: Difficulty | None


class Validate(Section):
    curation: Curation
    min_rows: Positive
    max_quarantined: Share  # the gate: more than this share of failing rows stops the run
    max_problem_chars: Positive
    max_cot_chars: Positive
    max_answer_share: Share  # no single answer may make up more of a question kind
