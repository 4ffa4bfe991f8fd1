"""Loading and validation of `params.yaml`, with error messages that name the offending key.

All numbers of the pipeline are in that file. An unknown key or a wrong type raises an error that names the key
before any stage runs. Cross-field rules are validators of the sections that hold the fields.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from wethink.common.errors import UserError
from wethink.common.text_files import read_text
from wethink.config.base import Count, Section
from wethink.config.curation import Validate
from wethink.config.data import Draw, Ingest
from wethink.config.evaluation import Evaluate, Report
from wethink.config.grpo import Grpo
from wethink.config.launch import SECRET, Launch
from wethink.config.renamed_keys import FOREIGN, RENAMED
from wethink.config.response_format import ResponseFormat
from wethink.config.retraining import Promotion, Retrain
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Quality, Synthesize
from wethink.config.training import Base, Sft

MAX_DEPTH, MAX_VALUES = 50, 100_000  # of a parameter file


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
    """Read a YAML 1.2 mapping, in which `2e-3` is a number as in DVC.

    Raises:
        UserError: the file is missing, is not valid YAML, or is no mapping.
    """
    text = read_text(path, "run from the project's root folder")
    try:
        value = YAML(typ="safe", pure=True).load(text)
    except (YAMLError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        # Beside YAMLError, ruamel's constructors raise Python's own errors for values such as `!!int x`.
        raise UserError(f"{path} is not valid YAML: {' '.join(str(error).split())[:400]}") from None
    except RecursionError:
        raise UserError(f"{path} is not valid YAML: it is nested too deeply.") from None
    if not isinstance(value, dict):
        raise UserError(f"{path}: expected sections (key: value), found {type(value).__name__}.")
    return value


def parse_params(value: dict[str, Any], origin: str) -> Params:
    """Validate a mapping as `Params`; tuples may be written as lists.

    Raises:
        UserError: a key is unknown, missing or invalid; the message names it, the fault and the closest known key.
    """
    try:
        return Params.model_validate_json(_as_json(value, origin))
    except ValidationError as error:
        raise UserError(f"{origin}: {_explain(error)}") from None


def load_params(path: Path = Path("params.yaml")) -> Params:
    """Load and validate the parameter file."""
    return parse_params(load_yaml(path), str(path))


def _as_json(value: dict[str, Any], origin: str) -> str:
    # Strict JSON mode accepts lists for tuples but still rejects '3' for 3, as intended.
    import json

    try:
        return json.dumps(_plain(value, 0, [MAX_VALUES]), default=str)
    except RecursionError:
        raise UserError(f"{origin}: nested over {MAX_DEPTH} levels deep, or over {MAX_VALUES} values.") from None
    except UnicodeEncodeError as error:
        near = ascii(error.object[max(0, error.start - 20) : error.end])
        raise UserError(f"{origin}: half a character (a lone surrogate) in {near}; write it whole.") from None
    except ValueError:  # more digits than Python writes
        raise UserError(f"{origin}: a number has too many digits.") from None


def _plain(value: Any, depth: int, left: list[int]) -> Any:
    """Copy a YAML value with text keys.

    Raises:
        RecursionError: it is nested too deeply (one that contains itself is), or its aliases unfold to too many values.
        UnicodeEncodeError: a text holds half a character.
    """
    left[0] -= 1
    if depth > MAX_DEPTH or left[0] < 0:
        raise RecursionError
    if isinstance(value, dict):
        return {str(key): _plain(part, depth + 1, left) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, depth + 1, left) for part in value]
    if isinstance(value, str):
        value.encode()
    return value


def _explain(error: ValidationError) -> str:
    # A misspelt required key is both unknown and missing: report the misspelling.
    first = next((found for found in error.errors() if found["type"] == "extra_forbidden"), error.errors()[0])
    key = ".".join(str(part) for part in first["loc"]) or "params"
    if first["type"] == "extra_forbidden":
        above = [str(part) for part in first["loc"][:-1] if not isinstance(part, int)]
        section, name = above[-1] if above else "", str(first["loc"][-1])
        if new := RENAMED.get(section, {}).get(name):
            return f"key '{key}' is called '{new}' now; rename it (docs/configuration.md has every key)."
        if why := FOREIGN.get(section, {}).get(name):
            return f"unknown key '{key}': {why}."
        known = _known_keys(first["loc"][:-1])
        close = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f" Did you mean '{close[0]}'?" if close else f" Known keys: {', '.join(known)}."
        return f"unknown key '{key}'.{hint}"
    if first["type"] == "missing":
        return f"key '{key}' is missing."
    message = first["msg"].removeprefix("Value error, ")
    shown = not isinstance(first["input"], dict) and not set(SECRET) & set(first["loc"])  # not a section, not a secret
    found = f" (found {repr(first['input'])[:200]})" if shown else ""
    return f"key '{key}': {message[0].lower()}{message[1:]}{found}."


def _known_keys(location: Sequence[int | str]) -> list[str]:
    found: Any = Params
    for part in location:
        if isinstance(part, int):
            continue
        if get_origin(found) is dict:  # `part` is a user-defined name
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


def response_format(path: Path = Path("params.yaml")) -> ResponseFormat:
    """Return the project's `rewards.format`; the default outside a project.

    Raises:
        UserError: as `load_params`, if there is a file.
    """
    return load_params(path).rewards.format if path.is_file() else ResponseFormat()
