"""Configuration profiles: params.yaml from profiles/tiny.yaml and YAML overlays.

`python -m wethink profile NAME…` rewrites params.yaml, so that git and DVC detect the change. Order and comments are
those of tiny.yaml; where an overlay changes a value, the comment beside it is removed because it describes the old
value.
"""

import io
import os
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from wethink.common.errors import UserError
from wethink.common.progress import say
from wethink.config.params import Params, load_yaml, parse_params

FOLDER = Path("profiles")
WHOLE = "tiny"  # the only complete profile; the others are overlays on it
PARAMS = Path("params.yaml")
BEFORE = Path("params.yaml.before")  # backup, so that a switch loses no edits


def switch(names: list[str]) -> None:
    """Rewrite params.yaml as the tiny profile with overlays.

    Later overlays take precedence; the previous file is kept as params.yaml.before.

    Raises:
        UserError: a profile is unknown (the message lists the known ones), or the result is not valid.
    """
    text = _text(names)
    staged = PARAMS.with_name(f".{PARAMS.name}.tmp")
    staged.write_text(text, encoding="utf-8")
    try:
        parse_params(load_yaml(staged), f"profile {' + '.join(names)}")
        lost = sorted(_own_sources(PARAMS) - _own_sources(staged))
        if PARAMS.is_file():
            os.replace(PARAMS, BEFORE)
        os.replace(staged, PARAMS)
        say(f"{PARAMS} is now {' + '.join(names)}; the previous file is kept in {BEFORE}.")
        if lost:
            say(
                f"It has none of these sources of yours: {', '.join(lost)}. Copy them from {BEFORE}, or keep them in a "
                f"profile of your own ({FOLDER}/NAME.yaml), which is named after the other: wethink profile "
                f"{' '.join(names)} NAME."
            )
    finally:
        staged.unlink(missing_ok=True)


def profile_params(names: list[str]) -> Params:
    """Read the tiny profile with overlays, as `switch` would write it, without writing anything.

    Raises:
        UserError: as `switch`.
    """
    return parse_params(YAML(typ="safe", pure=True).load(_text(names)), f"profile {' + '.join(names)}")


def _text(names: list[str]) -> str:
    overlays = [_path(name) for name in names if name != WHOLE]
    return _merged(_path(WHOLE), overlays) if overlays else _path(WHOLE).read_text(encoding="utf-8")


def _own_sources(path: Path) -> set[str]:
    """Return the names of a file's sources that are not drawn; empty if it has none or cannot be read."""
    try:
        sources = load_yaml(path)["ingest"]["sources"]
        return {str(source["name"]) for source in sources if source["kind"] != "drawn"}
    except (UserError, KeyError, TypeError):
        return set()


def _path(name: str) -> Path:
    path = FOLDER / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(found.stem for found in FOLDER.glob("*.yaml")))
        raise UserError(f"there is no profile '{name}' in {FOLDER}/; those there are: {known}.")
    return path


def _merged(whole: Path, overlays: list[Path]) -> str:
    yaml = YAML()  # round trip: keeps comments, order and quotes
    yaml.width = 200
    yaml.indent(mapping=2, sequence=4, offset=2)
    yaml.representer.add_representer(
        type(None), lambda dumper, _: dumper.represent_scalar("tag:yaml.org,2002:null", "null")
    )
    document = yaml.load(whole)
    for path in overlays:
        _overlay(document, load_yaml(path))
    text = io.StringIO()
    yaml.dump(document, text)
    return text.getvalue()


def _overlay(target: CommentedMap, source: dict[str, Any]) -> None:
    """Merge mapping `source` into `target` recursively; other values are replaced."""
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), CommentedMap):
            _overlay(target[key], value)
        elif target.get(key) != value:
            target[key] = value
            _drop_remark(target, key)


def _drop_remark(target: CommentedMap, key: str) -> None:
    """Remove the comment beside a value.

    A blank line or heading after it is part of the same token and is kept.
    """
    tokens = target.ca.items.get(key)
    if tokens and tokens[2] is not None:
        _, newline, rest = tokens[2].value.partition("\n")
        tokens[2].value = newline + rest
