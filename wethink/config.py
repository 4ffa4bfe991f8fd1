"""`params.yaml` as frozen, validated dataclass-like models: one section per stage.

Every number of the pipeline stands in that file. An unknown key or a wrong type is an error that
names the key, before anything runs. Cross-field rules stand beside the fields they bind.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wethink.config_base import Count as Count
from wethink.config_base import Positive as Positive
from wethink.config_base import Section as Section
from wethink.config_base import Share as Share
from wethink.config_data import Blind as Blind
from wethink.config_data import Caps as Caps
from wethink.config_data import Curation as Curation
from wethink.config_data import Difficulty as Difficulty
from wethink.config_data import Draw as Draw
from wethink.config_data import Embedded as Embedded
from wethink.config_data import Ingest as Ingest
from wethink.config_data import Quality as Quality
from wethink.config_data import Role as Role
from wethink.config_data import Source as Source
from wethink.config_data import Synthesize as Synthesize
from wethink.config_data import Team as Team
from wethink.config_data import Validate as Validate
from wethink.config_training import Grpo as Grpo
from wethink.config_training import Optim as Optim
from wethink.errors import UserError

Family = Literal["qwen2_5_vl", "qwen3_vl"]  # model types as Transformers names them


class TinyModel(Section):
    """The miniature; shapes as in its Hugging Face config. Image sizes are multiples of 28 or, for Qwen3, of 32."""

    family: Family = "qwen2_5_vl"
    hidden: Positive
    layers: Positive
    heads: Positive
    kv_heads: Positive
    ff: Positive
    vision_depth: Positive
    vision_hidden: Positive
    initializer_range: float


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
    paths: Literal["refined", "raw", "answers"] = "refined"  # what is imitated; the others are ablations
    sources: tuple[str, ...] | None = None  # image sources to learn from; None: all


class Judge(Section):
    """The model that judges descriptive answers: who it is, where it is asked, and how often."""

    endpoint: str  # a name in launch.endpoints
    model: str
    revision: str | None = None  # of the weights, where the name alone does not say it
    votes: Annotated[int, Field(ge=1, le=15)] = 1  # the median of so many; more than one needs a temperature
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
    judge: Literal["lexical"] | Judge  # of descriptive answers: the embedded one, or a model behind an endpoint

    @model_validator(mode="after")
    def _weights_sum_to_one(self) -> "Rewards":
        if abs(self.accuracy_weight + self.format_weight - 1) > 1e-9:
            raise ValueError("'accuracy_weight' and 'format_weight' must sum to 1")
        return self


class Evaluate(Section):
    split: Literal["tuning", "reporting"]
    temperatures: tuple[float, ...]  # 0 = greedy
    max_new_tokens: Positive
    batch: Positive
    bootstrap: Positive  # resamples of clusters


class Report(Section):
    gallery: Positive  # held-out images shown per source


def _plain(url: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("must be http:// or https://, a host and a path, with no key, user or query in it")
    return url


Url = Annotated[str, AfterValidator(_plain)]
SECRET = ("endpoints", "vllm_url")  # what stands at these keys may be a key by mistake, and is never shown


class Endpoint(Section):
    """Where models are asked: a server that speaks chat completions."""

    url: Url  # with its /v1
    key_env: str | None = None  # the environment variable that holds the key, never the key itself
    concurrency: Positive = 16  # calls in flight
    deadline_seconds: Annotated[float, Field(gt=0)] = 120.0  # of one attempt
    attempts: Positive = 8  # of one call
    give_up_seconds: Annotated[float, Field(gt=0)] = 600.0  # without any answer, after which the run stops
    price_prompt: Annotated[float, Field(ge=0)] = 0.0  # per million tokens, in the currency of synthesize.max_cost
    price_completion: Annotated[float, Field(ge=0)] = 0.0


class SecondLook(Section):
    """An independent reader for rows that a source brings (wethink/second_look.py)."""

    rows: Count = 600  # of a sample; 0: nobody looks
    max_contradicted: Share = 0.5  # a source is stopped where its share is shown to be above that


class Retrain(Section):
    """Continued training on a new source (wethink/retrain.py); GRPO's other numbers are those of `grpo`."""

    source: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")] | None  # set by the flow, in its own worktree
    start: Literal["champion", "sft"]  # which checkpoint goes on learning
    held_out: Annotated[float, Field(gt=0, lt=1)]  # share of the new source's images that only answer
    steps: Positive  # of GRPO, on the union of old and new rows
    second_look: SecondLook = SecondLook()


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
    """Where work is done. Not part of any fingerprint: the same work on another machine is the same work."""

    device: Literal["cpu", "cuda"]
    processes: Positive  # ranks on this machine
    threads: Positive  # per rank, CPU only
    hostfile: str | None = None  # DeepSpeed hostfile for several nodes
    deepspeed: str  # JSON file under infra/deepspeed/
    deadline_minutes: Positive
    vllm_python: str = ".venv-vllm/bin/python"  # where grpo.sampler is vllm: whose Python serves it
    vllm_url: Url | None = None  # a server that runs already, in place of one of our own per process
    vllm_memory: Share = 0.4  # of each GPU, for our own servers
    vllm_context: Positive = 4096  # tokens of a prompt and its completion
    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    answers: str = ".wethink/answers.sqlite"  # what was paid for; several projects may share one
    fill_shards: Positive = 8  # parts in which a flow buys answers; one that fails is tried again alone
    fill_parallel: Positive = 2  # of them at a time; each has its share of an endpoint's concurrency


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
    quality: Quality
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
    shown = not isinstance(first["input"], dict) and not set(SECRET) & set(first["loc"])  # a section is no answer
    found = f" (found {first['input']!r})" if shown else ""
    return f"key '{key}': {message[0].lower()}{message[1:]}{found}."


def _known_keys(location: Sequence[int | str]) -> list[str]:
    found: Any = Params
    for part in location:
        if isinstance(part, int):
            continue
        if get_origin(found) is dict:  # `part` is a name that the user gave
            found = get_args(found)[1]
            continue
        fields = _section_of(found).model_fields
        found = next(field.annotation for name, field in fields.items() if part in (name, field.alias))
    return [field.alias or name for name, field in _section_of(found).model_fields.items()]


def _section_of(annotation: Any) -> Any:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return (
        next(found for arg in annotation.__args__ if (found := _section_of(arg)) is not None)
        if hasattr(annotation, "__args__")
        else None
    )
