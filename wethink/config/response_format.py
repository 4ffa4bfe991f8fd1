"""`rewards.format` of `params.yaml`: the form in which a policy writes its thought and its answer."""

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from wethink.config.base import Section

Kind = Literal["tags", "think", "boxed", "json", "free"]
Key = Annotated[str, Field(pattern=r"^\w+$")]


class JsonKeys(Section):
    """Keys of the one JSON object of a response; the value of each is a text."""

    thought: Key = "reasoning"
    answer: Key = "answer"

    @model_validator(mode="after")
    def _keys_differ(self) -> "JsonKeys":
        if self.thought == self.answer:
            raise ValueError("'keys' must give 'thought' and 'answer' different names")
        return self


class ResponseFormat(Section):
    """Response format; in `params.yaml` a name alone stands for `{kind: name}`."""

    kind: Kind = "tags"
    allow_empty_thought: bool = False
    keys: JsonKeys | None = None  # json only; null: reasoning and answer

    @model_validator(mode="before")
    @classmethod
    def _named(cls, given: Any) -> Any:
        return {"kind": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _keys_are_used(self) -> "ResponseFormat":
        if self.keys is not None and self.kind != "json":
            raise ValueError(f"'keys' is for the format json; '{self.kind}' has none")
        return self
