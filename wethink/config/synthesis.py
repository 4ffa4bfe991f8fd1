"""The `synthesize` and `quality` sections of `params.yaml`: the annotator team and its roles."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Count, Positive, Section, Share


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


class Quality(Section):
    """Drawn images and planted faults on which `quality` measures the filters (experiments/filter_quality.py)."""

    images: Positive
    errors: tuple[Share, ...]  # share of wrong answers that each answerer gives
    correlations: tuple[Share, ...]  # of the vision model's errors with the description's
    unanswerable: Share  # of the questions that are planted to have no answer in their image
    bootstrap: Positive
