"""`retrain` and `promotion` sections of `params.yaml`: continued training and the promotion gate."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Count, Positive, Section, Share


class LabelCheck(Section):
    """Independent label check of a new source's rows (wethink/retraining/label_check.py)."""

    rows: Count = 600  # sample size; 0 = no check
    max_contradicted: Share = 0.5  # stop the source if its share of contradicted rows is shown to be above this
    max_unknown: Share = 0.2  # stop it if its reader has no verdict on a larger share of the sample


class Retrain(Section):
    """Continued training on a new source (wethink/retraining/union.py); GRPO's other numbers are those of `grpo`."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None  # set by the flow, in its own worktree
    start: Literal["champion", "sft"]  # checkpoint that training continues from
    held_out: Annotated[float, Field(gt=0, lt=1)]  # share of the new source's images kept for evaluation only
    sft_steps: Count  # of SFT on the union's reasoning paths, before GRPO; 0: none
    steps: Positive  # of GRPO, on the union of old and new rows
    label_check: LabelCheck = LabelCheck()


class ImageUse(Section):
    """What the challenger must beat on every part (wethink/retraining/image_use.py); margins are of accuracy."""

    blank: Annotated[float, Field(ge=0, lt=1)] = 0.02  # its own answers to a blank image, by more than this
    swapped: Annotated[float, Field(ge=0, lt=1)] = 0.02  # its own answers to the image of another scene
    constant: Annotated[float, Field(ge=0, lt=1)] = 0.0  # the single answer that is right most often
    alpha: Annotated[float, Field(gt=0, le=0.5)] = 0.05  # one-sided, of each comparison
    max_excess: Annotated[float, Field(gt=0, le=1)] = 0.3  # share of one of its answers minus that of this gold


class Promotion(Section):
    """The gate between champion and challenger (wethink/retraining/promotion_gate.py); no stage of the DAG reads it."""

    programme: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]  # a new set of items needs a new name
    new_weight: Annotated[float, Field(ge=0, lt=1)]  # of the new source's held-out items in the declared mix
    min_gain: Annotated[float, Field(ge=0, lt=1)]  # the mix must gain more than this
    alpha: Annotated[float, Field(gt=0, le=0.5)]  # chance that a programme promotes a challenger that is no better
    spending: Literal["pocock", "obrien_fleming"]
    looks: Positive  # decisions that one programme may take
    margin: Annotated[float, Field(gt=0, lt=1)]  # no group may be worse than this
    margins: dict[str, Annotated[float, Field(gt=0, lt=1)]]  # of single groups: `old`, `new`, `source scenes`, ...
    regression_alpha: Annotated[float, Field(gt=0, le=0.5)]  # one-sided, of each group
    min_scenes: Annotated[int, Field(ge=2)]  # with fewer a part of the mix is refused and a group joins the rest
    max_unknown: Share  # of a model's verdicts; above it no decision favours the model
    image_use: ImageUse = ImageUse()
    resamples: Positive

    @model_validator(mode="after")
    def _resamples_reach_the_level(self) -> "Promotion":
        if self.resamples * self.alpha < 10 * self.looks:
            raise ValueError(f"'resamples' must be at least 10 · looks / alpha = {10 * self.looks / self.alpha:.0f}")
        return self
