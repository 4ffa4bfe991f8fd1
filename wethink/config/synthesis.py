"""`synthesize` and `quality` sections of `params.yaml`: annotators, LLM roles and filter quality."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Count, Positive, Section, Share
from wethink.config.data import Columns


class Embedded(Section):
    """Error rates of the embedded annotator, fixed before any tuning."""

    error_rate: Share  # an image part is misread, independently per part and role
    hurry_rate: Share  # a path that jumps to its conclusion without listing what is seen
    slip_rate: Share  # a conclusion that does not follow from what was listed


class Role(Section):
    """Model of the annotator team: endpoint (a name in launch.endpoints), name and sampling."""

    endpoint: str
    model: str
    revision: str | None = None  # of the weights, where the name alone does not identify them
    temperature: Annotated[float, Field(ge=0)]
    max_tokens: Positive  # of a reply


class Blind(Section):
    """Text-only filter: rejects questions that a model answers correctly without the image."""

    tries: Count  # n; 0 = off
    limit: Positive  # k right answers reject the question
    temperature: Annotated[float, Field(ge=0)]

    @model_validator(mode="after")
    def _limit_can_be_reached(self) -> "Blind":
        if self.tries and self.limit > self.tries:
            raise ValueError("'limit' is above 'tries', so that nothing would ever be rejected")
        return self


class Team(Section):
    """Annotator team: LLMs behind endpoints (docs/synthesis.md)."""

    vision: Role  # describes the image, answers questions about it and checks statements against it
    reasoner: Role  # reads text only: asks for details, writes questions, answers from the description
    adjudicator: Role  # a third model, asked where the two answers differ
    max_pixels: Positive  # of an image that is sent; a larger one is scaled down
    turns: Count  # of detail mining
    questions_per_turn: Positive
    categories: Annotated[tuple[Literal["MC", "FIB", "DES"], ...], Field(min_length=1)]
    options: Annotated[int, Field(ge=2, le=10)]  # of a multiple choice
    min_steps: Positive  # reasoning steps that the question writer must declare
    blind: Blind
    max_path_chars: Positive  # of a refined reasoning path


class Synthesize(Section):
    annotator: Literal["embedded", "endpoints", "rows"]
    rows: str | None  # annotator: rows — a file of rows about ingested images; null: the rows that sources bring
    columns: Columns = Columns()  # of that file
    embedded: Embedded
    questions_per_image: Positive
    path_share: Share  # share of train images whose rows have a reasoning path (SFT); given ones: synthesis/paths.py
    write_paths: bool = False  # given rows of that share that lack a path get one from the team, for their own answer
    screen: bool = False  # annotator: endpoints — first leave out images that bear no question (synthesis/pipeline.py)
    agreement: bool  # keep a row only if both answerers agree, or the adjudicator settles it
    adjudication: bool
    min_abilities: Positive = 1  # that a question needs beside reasoning
    max_cost: Annotated[float, Field(gt=0)] | None = None  # of all calls in the ledger; the run stops before it
    max_failed: Share = 0.0  # of the images with retryable failures; above it no rows are published
    team: Team | None = None

    @model_validator(mode="after")
    def _endpoints_need_a_team(self) -> "Synthesize":
        for asked, key in ((self.annotator == "endpoints", "annotator: endpoints"), (self.write_paths, "write_paths")):
            if asked and self.team is None:
                raise ValueError(f"'{key}' needs 'team'")
        return self

    @model_validator(mode="after")
    def _screen_needs_models(self) -> "Synthesize":
        if self.screen and self.annotator != "endpoints":
            raise ValueError("'screen' leaves out images before models describe them; it needs 'annotator: endpoints'")
        return self

    @model_validator(mode="after")
    def _rows_need_a_file(self) -> "Synthesize":
        if self.rows is not None and self.annotator != "rows":
            raise ValueError("'rows' names a file, which is read only where 'annotator' is 'rows'")
        return self


class Quality(Section):
    """Planted faults on which `quality` measures the filters (experiments/filter_quality.py), and the audit's limit."""

    images: Positive
    errors: tuple[Share, ...]  # share of wrong answers that each answerer gives
    correlations: tuple[Share, ...]  # of the vision model's errors with the description's
    unanswerable: Share  # of the questions that are planted to have no answer in their image
    bootstrap: Positive
    max_unjudged: Share = 0.2  # of an audit's rows; above it `audit estimate` withholds its figure (report/audit.py)
