"""The base class and number types of every `params.yaml` section."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """Base of all sections: immutable, and no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
