"""`python -m wethink profile NAME…`: params.yaml from profiles/tiny.yaml and overlays that state only their difference.

Switching rewrites params.yaml, so that git shows it and DVC acts on it. Order and comments are tiny.yaml's;
where an overlay changes a value, the remark beside it goes, because it spoke of the old value.
"""

import io
import os
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap

from wethink.common.errors import UserError
from wethink.common.progress import say
from wethink.config.params import load_yaml, parse_params

FOLDER = Path("profiles")
WHOLE = "tiny"  # the only complete profile; the others are overlays on it
PARAMS = Path("params.yaml")
BEFORE = Path("params.yaml.before")  # one's own edits are not lost by a switch


def switch(names: list[str]) -> None:
    """Rewrite params.yaml as the tiny profile with the named overlays, later ones over earlier ones.

    Raises:
        UserError: a profile is unknown (those there are are listed), or the result is not valid.
    """
    overlays = [_path(name) for name in names if name != WHOLE]
    text = _merged(_path(WHOLE), overlays) if overlays else _path(WHOLE).read_text(encoding="utf-8")
    staged = PARAMS.with_name(f".{PARAMS.name}.tmp")
    staged.write_text(text, encoding="utf-8")
    try:
        parse_params(load_yaml(staged), f"profile {' + '.join(names)}")
        if PARAMS.is_file():
            os.replace(PARAMS, BEFORE)
        os.replace(staged, PARAMS)
        say(f"{PARAMS} is now {' + '.join(names)}; what stood there is kept in {BEFORE}.")
    finally:
        staged.unlink(missing_ok=True)


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
    """Put `source` over `target`: mappings are merged key by key, everything else is replaced."""
    for key, value in source.items():
        if isinstance(value, dict) and isinstance(target.get(key), CommentedMap):
            _overlay(target[key], value)
        elif target.get(key) != value:
            target[key] = value
            _drop_remark(target, key)


def _drop_remark(target: CommentedMap, key: str) -> None:
    """Remove the remark behind a value, but keep the blank line or the heading that follows it in the same token."""
    tokens = target.ca.items.get(key)
    if tokens and tokens[2] is not None:
        _, newline, rest = tokens[2].value.partition("\n")
        tokens[2].value = newline + rest
