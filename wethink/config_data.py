"""The sections of `params.yaml` that data comes from: sources, images, rows, and how they are checked."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config_base import Count, Positive, Section, Share


class Draw(Section):
    """The default image sources. Counts are images over all sources, in equal shares."""

    sources: tuple[Literal["scenes", "charts", "digits"], ...]
    image_size: Positive  # pixels, square; a multiple of 28 (patch 14 × merge 2)
    pretrain: Count  # stands in for the web: captions and direct answers only
    train: Count
    tuning: Count
    reporting: Count
    questions_per_image: Positive


class Source(Section):
    """One image source: `drawn` by us, a `folder` of images, or a `dataset` (Parquet or saved HF) on disk."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    kind: Literal["drawn", "folder", "dataset"]
    path: str | None = None  # required for folder and dataset, relative to the project root
    column: str = "image"  # the image column of a dataset
    tuning: Share = 0.0  # of its near-duplicate clusters to hold out, where the source says no split itself
    reporting: Share = 0.0

    @model_validator(mode="after")
    def _path_belongs_to_kind(self) -> "Source":
        if (self.path is None) != (self.kind == "drawn"):
            raise ValueError(f"source '{self.name}': 'path' is required for folder and dataset, and refused for drawn")
        if self.tuning + self.reporting >= 1:
            raise ValueError(f"source '{self.name}': 'tuning' and 'reporting' leave nothing to train on")
        return self


class Ingest(Section):
    sources: tuple[Source, ...]
    max_pixels: Positive  # a larger image is scaled down, keeping its aspect
    max_file_mb: Positive  # a larger file is quarantined unread
    shard_images: Positive


class Embedded(Section):
    """Declared faults of the embedded annotator, set before anything is tuned."""

    error_rate: Share  # an image part is misread, independently per part and role
    hurry_rate: Share  # a path that jumps to its conclusion without listing what is seen
    slip_rate: Share  # a conclusion that does not follow from what was listed


class Role(Section):
    """A model of the annotator team: who it is, where it is asked (a name in launch.endpoints), and how."""

    endpoint: str
    model: str
    revision: str | None = None  # of the weights, where the name alone does not say it
    temperature: Annotated[float, Field(ge=0)]
    max_tokens: Positive  # of a reply


class Blind(Section):
    """The text-only filter: a question that is answered without its image teaches no seeing."""

    tries: Count  # n; 0 = off
    limit: Positive  # k right ones reject the question
    temperature: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _limit_can_be_reached(self) -> "Blind":
        if self.tries and self.limit > self.tries:
            raise ValueError("'limit' is above 'tries', so that nothing would ever be rejected")
        return self


class Team(Section):
    """The annotator team behind endpoints (docs/synthesis.md)."""

    vision: Role  # describes, answers about and checks what is to be seen
    reasoner: Role  # reads text only: asks for details, writes questions, answers from the description
    adjudicator: Role  # a third model, asked where the two answers differ
    max_pixels: Positive  # of an image that is sent; a larger one is scaled down
    turns: Count  # of detail mining
    questions_per_turn: Positive
    categories: Annotated[tuple[Literal["MC", "FIB", "DES"], ...], Field(min_length=1)]
    options: Annotated[int, Field(ge=2, le=10)]  # of a multiple choice
    min_steps: Positive  # of reasoning, that the writer of a question must declare
    blind: Blind
    max_path_chars: Positive  # of a refined reasoning path


class Synthesize(Section):
    annotator: Literal["embedded", "endpoints", "rows"]
    rows: str | None  # annotator: rows — a JSONL file with the released dataset's keys
    embedded: Embedded
    questions_per_image: Positive
    path_share: Share  # share of train images whose rows get a refined reasoning path (for SFT)
    agreement: bool  # keep a row only if both answerers agree, or the adjudicator settles it
    adjudication: bool
    min_abilities: Positive = 1  # that a question needs beside reasoning
    max_cost: Annotated[float, Field(gt=0)] | None = None  # of all calls in the ledger; stops before it is passed
    max_failed: Share = 0.0  # of the images: more that failed for a passing reason, and nothing is published
    team: Team | None = None

    @model_validator(mode="after")
    def _endpoints_need_a_team(self) -> "Synthesize":
        if self.annotator == "endpoints" and self.team is None:
            raise ValueError("'annotator: endpoints' needs 'team'")
        return self

    @model_validator(mode="after")
    def _rows_need_a_file(self) -> "Synthesize":
        if (self.rows is not None) != (self.annotator == "rows"):
            raise ValueError("'rows' names a file exactly when 'annotator' is 'rows'")
        return self


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
    """Which rows are fit to be trained on (wethink/curation/curate.py)."""

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


class Quality(Section):
    """What `quality` measures the filters on: drawn images, whose truth is known (wethink/quality.py)."""

    images: Positive
    errors: tuple[Share, ...]  # share of wrong answers that each answerer gives
    correlations: tuple[Share, ...]  # of the vision model's errors with the description's
    unanswerable: Share  # of the questions that are planted to have no answer in their image
    bootstrap: Positive
