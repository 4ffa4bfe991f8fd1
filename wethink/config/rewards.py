"""`rewards` section of `params.yaml`: weights, numeric tolerance and LLM judge."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Positive, Section, Share


class Judge(Section):
    """LLM judge of descriptive answers: endpoint, model, votes and sampling."""

    endpoint: str  # a name in launch.endpoints
    model: str
    revision: str | None = None  # of the weights, where the name alone does not identify them
    votes: Annotated[int, Field(ge=1, le=15)] = 1  # replies, whose median counts; more than one needs a temperature
    temperature: Annotated[float, Field(ge=0)] = 0.0
    max_tokens: Positive = 64  # of a reply

    @model_validator(mode="after")
    def _votes_differ(self) -> "Judge":
        if self.votes > 1 and self.temperature == 0:
            raise ValueError("'votes' above 1 needs a 'temperature' above 0: else the judge repeats itself")
        return self


class Rewards(Section):
    """Reward = accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3)."""

    accuracy_weight: Share
    format_weight: Share
    tolerance: Annotated[float, Field(ge=0)]  # relative, for numeric answers
    judge: Literal["lexical"] | Judge  # of descriptive answers: the embedded lexical judge, or an LLM endpoint

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> "Rewards":
        if abs(self.accuracy_weight + self.format_weight - 1) > 1e-9:
            raise ValueError("'accuracy_weight' and 'format_weight' must sum to 1")
        return self
