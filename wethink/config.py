"""`params.yaml` as frozen, validated dataclass-like models: one section per stage.

Every number of the pipeline stands in that file. An unknown key or a wrong type is an error that
names the key, before anything runs. Cross-field rules stand beside the fields they bind.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wethink.errors import UserError

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]
Positive = Annotated[int, Field(gt=0)]


class Section(BaseModel):
    """Base of all sections: immutable, and no key that nobody reads."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


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

    @model_validator(mode="after")
    def _path_belongs_to_kind(self) -> "Source":
        if (self.path is None) != (self.kind == "drawn"):
            raise ValueError(f"source '{self.name}': 'path' is required for folder and dataset, and refused for drawn")
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


class Synthesize(Section):
    annotator: Literal["embedded", "rows"]
    rows: str | None  # annotator: rows — a JSONL file with the released dataset's keys
    embedded: Embedded
    questions_per_image: Positive
    path_share: Share  # share of train images whose rows get a refined reasoning path (for SFT)
    agreement: bool  # keep a row only if both answerers agree, or the adjudicator settles it
    adjudication: bool

    @model_validator(mode="after")
    def _rows_need_a_file(self) -> "Synthesize":
        if (self.rows is not None) != (self.annotator == "rows"):
            raise ValueError("'rows' names a file exactly when 'annotator' is 'rows'")
        return self


class Validate(Section):
    min_rows: Positive
    max_quarantined: Share  # the gate: more than this share of failing rows stops the run
    max_problem_chars: Positive
    max_cot_chars: Positive
    max_answer_share: Share  # no single answer may make up more of a question kind


class TinyModel(Section):
    """The miniature Qwen2.5-VL; shapes as in its Hugging Face config."""

    hidden: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    ff: Positive
    vision_depth: Positive
    vision_hidden: Positive
    initializer_range: float


class Optim(Section):
    """AdamW, or Muon beside it, with linear warm-up, then constant or cosine to zero."""

    lr: Annotated[float, Field(gt=0)]
    muon_lr: Annotated[float, Field(gt=0)] | None = None  # if set, hidden matrices are Muon's: fewer steps to see
    steps: Positive
    batch: Positive  # samples per optimizer step over all processes
    warmup: Share = 0.05
    schedule: Literal["constant", "cosine"] = "cosine"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    micro_batch: Positive = 64  # rows per forward pass and process
    save_every: Positive = 100  # steps between resumable checkpoints


class Base(Section):
    """The starting policy: `model: tiny` builds and pre-trains one; anything else is a path or hub id."""

    model: str
    revision: str | None = None
    tiny: TinyModel | None
    optim: Optim | None
    direct_share: Share = 0.15  # share of pre-training samples that answer first and describe later
    tagged_share: Share = 0.15  # share of pre-training samples in the tagged format

    @model_validator(mode="after")
    def _tiny_is_whole(self) -> "Base":
        if self.model == "tiny" and (self.tiny is None or self.optim is None):
            raise ValueError("model 'tiny' needs both 'tiny' and 'optim'")
        return self


class Sft(Section):
    optim: Optim


class Rewards(Section):
    """Reward = accuracy_weight · accuracy + format_weight · format (paper: 0.7 and 0.3)."""

    accuracy_weight: Share
    format_weight: Share
    tolerance: Annotated[float, Field(ge=0)]  # relative, for numeric answers
    judge: Literal["lexical"]

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> "Rewards":
        if abs(self.accuracy_weight + self.format_weight - 1) > 1e-9:
            raise ValueError("'accuracy_weight' and 'format_weight' must sum to 1")
        return self


class Grpo(Section):
    """GRPO; symbols as in docs/paper.md. Defaults and their sources stand in params.yaml."""

    start: Literal["base", "sft"]
    gold: Literal["answer", "shuffled"]  # 'shuffled' is the control that must not gain
    optim: Optim  # batch = prompts per step
    group: Annotated[int, Field(ge=2)]  # G
    temperature: Annotated[float, Field(gt=0)]
    max_new_tokens: Positive
    advantage: Literal["group", "none"]  # divide by the group's std, or not (Dr. GRPO)
    clip_low: float
    clip_high: float
    dual_clip: float  # caps the loss of a negative advantage; 0 = off
    kl: Annotated[float, Field(ge=0)]  # β of the k3 penalty; 0 = off, no reference model


class Evaluate(Section):
    split: Literal["tuning", "reporting"]
    temperatures: tuple[float, ...]  # 0 = greedy
    max_new_tokens: Positive
    batch: Positive
    bootstrap: Positive  # resamples of clusters


class Report(Section):
    gallery: Positive  # held-out images shown per source


class Retrain(Section):
    """Continued training on a new source (wethink/retrain.py); GRPO's other numbers are those of `grpo`."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None  # set by the flow, in its own worktree
    start: Literal["champion", "sft"]  # which checkpoint goes on learning
    held_out: Annotated[float, Field(gt=0, lt=1)]  # share of the new source's images that only answer
    steps: Positive  # of GRPO, on the union of old and new rows


class Promotion(Section):
    """The gate between champion and challenger (wethink/promotion/); no stage of the DAG reads it."""

    programme: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]  # a new set of items, a new name
    new_weight: Annotated[float, Field(ge=0, lt=1)]  # of the new source's held-out items in the declared mix
    min_gain: Annotated[float, Field(ge=0, lt=1)]  # the mix must gain more than this
    alpha: Annotated[float, Field(gt=0, le=0.5)]  # chance that a programme ever promotes one that is no better
    spending: Literal["pocock", "obrien_fleming"]
    looks: Positive  # decisions that one programme may take
    margin: Annotated[float, Field(gt=0, lt=1)]  # no group may be worse than this
    margins: dict[str, Annotated[float, Field(gt=0, lt=1)]]  # of single groups: `old`, `new`, `source scenes`, ...
    regression_alpha: Annotated[float, Field(gt=0, le=0.5)]  # one-sided, of each group
    min_scenes: Annotated[int, Field(ge=2)]  # fewer say nothing: a part of the mix is refused, a group joins the rest
    max_unknown: Share  # of a model's verdicts; above it nothing is decided in its favour
    resamples: Positive

    @model_validator(mode="after")
    def _resamples_reach_the_level(self) -> "Promotion":
        if self.resamples * self.alpha < 10 * self.looks:
            raise ValueError(f"'resamples' must be at least 10 · looks / alpha = {10 * self.looks / self.alpha:.0f}")
        return self


class Launch(Section):
    """Where training runs. Not part of any fingerprint: the same work on another machine is the same work."""

    device: Literal["cpu", "cuda"]
    processes: Positive  # ranks on this machine
    threads: Positive  # per rank, CPU only
    hostfile: str | None = None  # DeepSpeed hostfile for several nodes
    deepspeed: str  # JSON file under infra/deepspeed/
    deadline_minutes: Positive


class Params(Section):
    profile: str
    seed: Count
    draw: Draw
    ingest: Ingest
    synthesize: Synthesize
    validate_: Annotated[Validate, Field(alias="validate")]
    base: Base
    sft: Sft
    rewards: Rewards
    grpo: Grpo
    evaluate: Evaluate
    report: Report
    retrain: Retrain
    promotion: Promotion
    launch: Launch


def load_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML 1.2 mapping (so that `2e-3` is a number, as DVC reads it)."""
    try:
        value = YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run from the project's root folder.") from None
    except YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected sections (key: value), found {type(value).__name__}.")
    return value


def parse_params(value: dict[str, Any], origin: str) -> Params:
    """Validate a mapping as `Params`; tuples may be written as lists.

    Raises:
        UserError: names the first offending key, what is wrong with it, and the closest known key.
    """
    try:
        return Params.model_validate_json(_as_json(value))
    except ValidationError as error:
        raise UserError(f"{origin}: {_explain(error)}") from None


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Load and validate the parameter file."""
    return parse_params(load_yaml(path), str(path))


def _as_json(value: dict[str, Any]) -> str:
    # Strict JSON mode accepts lists for tuples but still refuses '3' for 3, which is what we want.
    import json

    return json.dumps(value, default=str)


def _explain(error: ValidationError) -> str:
    # A misspelt required key is both unknown and missing: the misspelling is what helps.
    first = next((found for found in error.errors() if found["type"] == "extra_forbidden"), error.errors()[0])
    key = ".".join(str(part) for part in first["loc"]) or "params"
    if first["type"] == "extra_forbidden":
        known = _known_keys(first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else f" Known keys: {', '.join(known)}."
        return f"unknown key '{key}'.{hint}"
    if first["type"] == "missing":
        return f"key '{key}' is missing."
    message = first["msg"].removeprefix("Value error, ")
    return f"key '{key}': {message[0].lower()}{message[1:]} (found {first['input']!r})."


def _known_keys(location: Sequence[int | str]) -> list[str]:
    model: Any = Params
    for part in location:
        if isinstance(part, int):
            continue
        field = next(f for name, f in model.model_fields.items() if part in (name, f.alias))
        model = _section_of(field.annotation)
    return [field.alias or name for name, field in model.model_fields.items()]


def _section_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return (
        next(found for arg in annotation.__args__ if (found := _section_of(arg)) is not None)
        if hasattr(annotation, "__args__")
        else None
    )
