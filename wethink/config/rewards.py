"""`rewards` section of `params.yaml`: weights, tolerance, response format, LLM judge and the user's own functions."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Positive, Section, Share
from wethink.config.response_format import ResponseFormat


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


class RewardFunction(Section):
    """Reward function of the user's own: a further term of the reward or, with `route`, the accuracy of some rows."""

    function: str  # FILE.py:name, or package.module:name
    weight: Annotated[float, Field(gt=0)] = 1.0  # of its score in the reward; a route has none
    route: str | None = None  # rows whose `reward` has this name take their accuracy from the function
    categories: tuple[str, ...] | None = None  # rows to which the term is added; null: all
    timeout: Annotated[float, Field(gt=0)] = 30.0  # seconds for one batch

    @model_validator(mode="after")
    def _names(self) -> "RewardFunction":
        where, _, name = self.function.rpartition(":")
        if not where or not name.isidentifier():
            raise ValueError("'function' must be FILE.py:name or package.module:name")
        if self.route in ("rule", "model"):
            raise ValueError(f"'route' may not be '{self.route}', a route of the pipeline; choose another name")
        if self.route is not None and self.categories is not None:
            raise ValueError("give either 'route', which selects rows by their key `reward`, or 'categories'")
        return self


class Rewards(Section):
    """Reward = accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3) + Σ weight · own function."""

    accuracy_weight: Share
    format_weight: Share
    tolerance: Annotated[float, Field(ge=0)]  # relative, for numeric answers
    judge: Literal["lexical"] | Judge  # of descriptive answers: the embedded lexical judge, or an LLM endpoint

    functions: tuple[RewardFunction, ...] = ()
    format: ResponseFormat = ResponseFormat()  # of responses: of SFT targets, rewards and evaluation alike

    @model_validator(mode="after")
    def _routes_differ(self) -> "Rewards":
        routes = [entry.route for entry in self.functions if entry.route is not None]
        if len(set(routes)) != len(routes):
            raise ValueError("'functions' names a route twice; a row's accuracy comes from one function")
        return self

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> "Rewards":
        if abs(self.accuracy_weight + self.format_weight - 1) > 1e-9:
            raise ValueError("'accuracy_weight' and 'format_weight' must sum to 1")
        return self
