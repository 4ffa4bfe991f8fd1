"""Worker process of a user's reward function: `python -P function_worker.py FILE.py:name | package.module:name`.

Only `functions` starts this script and imports it, for its path. It needs the standard library alone, so that it
starts in milliseconds and runs whatever the function's own imports are.

Standard output has one line once the function is loaded, `{"ready": true}` or `{"fault": sentence}`, and then a reply
to each request, `{"scores": [[score or null, reason], …]}`. Standard input has requests as JSON lines: `problems`,
`golds`, `completions`, `answers` and `rows`, all lists of one length.
"""

import asyncio
import importlib
import importlib.util
import inspect
import json
import math
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

LISTS = ("problems", "golds", "completions", "answers", "rows")
REASON_CHARS = 200
Score = tuple[float | None, str]


class Text(str):
    """Text that is also a conversation of one message, as TRL hands it to reward functions.

    TRL passes a string for a dataset in standard format, and `[{"role": …, "content": …}]` for a conversational one;
    functions of both kinds work: `text[0]["content"]` is the text, everything else is the string's.
    """

    role = "assistant"

    def __getitem__(self, key: Any) -> Any:
        if key in (0, -1):
            return {"role": self.role, "content": str(self)}
        return super().__getitem__(key)


class Prompt(Text):
    """The user's turn."""

    role = "user"


def main(path: str) -> None:
    replies = os.dup(1)
    os.dup2(2, 1)  # what the function prints goes to the log, not between the replies
    sys.path.insert(0, os.getcwd())
    try:
        function = load(path)
    except BaseException as error:  # whatever an import of somebody else's module raises
        send(replies, {"fault": described(error)})
        return
    send(replies, {"ready": True})
    for line in sys.stdin.buffer:
        send(replies, answer(function, json.loads(line)))


def load(path: str) -> Callable[..., Any]:
    """Import the function.

    Raises:
        LookupError: there is no such file or function.
    """
    where, _, name = path.rpartition(":")
    module = _from_file(Path(where)) if where.endswith(".py") else importlib.import_module(where)
    found = getattr(module, name, None)
    if not callable(found):
        raise LookupError(f"{where} has no function '{name}'")
    return found  # type: ignore[no-any-return]


def _from_file(path: Path) -> ModuleType:
    if not path.is_file():
        raise LookupError(f"there is no file {path}")
    sys.path.insert(0, str(path.parent.resolve()))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def answer(function: Callable[..., Any], request: Mapping[str, Sequence[Any]]) -> dict[str, Any]:
    """Call the function with a batch and check what it returns.

    Where it raises, it is called again with one row at a time, so that one bad row costs no other its score.
    """
    count = len(request["rows"])
    try:
        return {"scores": checked(call(function, request), count)}
    except Exception as error:
        if count == 1:
            return {"scores": [(None, described(error))]}
    scores: list[Score] = []
    for place in range(count):
        scores += answer(function, {name: [request[name][place]] for name in LISTS})["scores"]
    return {"scores": scores}


def call(function: Callable[..., Any], request: Mapping[str, Sequence[Any]]) -> Any:
    """Call the function with the lists and columns that its signature names; await it if it is asynchronous.

    Raises:
        LookupError: it asks for a name that is neither a list nor a column of the rows.
    """
    rows: Sequence[Mapping[str, Any]] = request["rows"]
    columns = {key: [row.get(key) for row in rows] for row in rows for key in row}
    given: dict[str, Any] = columns | {name: list(request[name]) for name in LISTS}
    given["completions"] = [Text(text) for text in request["completions"]]
    given["prompts"] = [Prompt(text) for text in request["problems"]]
    given["trainer_state"] = None  # TRL passes its own
    parameters = inspect.signature(function).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        needed = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
        if missing := [name for name in needed if name not in given]:
            raise LookupError(f"it asks for '{missing[0]}', which is no column of the rows ({', '.join(columns)})")
        given = {p.name: given[p.name] for p in parameters if p.name in given}
    found = function(**given)
    return asyncio.run(_awaited(found)) if inspect.isawaitable(found) else found


async def _awaited(found: Any) -> Any:
    return await found


def checked(found: Any, count: int) -> list[Score]:
    """Return one score, or the reason why there is none, per completion."""
    if hasattr(found, "tolist"):  # arrays and tensors
        found = found.tolist()
    if not isinstance(found, Sequence) or isinstance(found, str):
        return [(None, f"it returned {type(found).__name__}, no list of scores")] * count
    if len(found) != count:
        return [(None, f"it returned {len(found)} scores for {count} completions")] * count
    return [_score(one) for one in found]


def _score(value: Any) -> Score:
    if value is None:
        return None, "it returned None"
    if isinstance(value, (int, float)) and math.isfinite(value) and 0 <= value <= 1:
        return float(value), ""
    return None, f"it returned {str(value)[:40]!r} ({type(value).__name__}), no number from 0 to 1"


def described(error: BaseException) -> str:
    """Describe an exception in one line, with the place in the function's own file."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:REASON_CHARS]}{place}"


def send(replies: int, reply: dict[str, Any]) -> None:
    data = json.dumps(reply).encode() + b"\n"
    while data:
        data = data[os.write(replies, data) :]


if __name__ == "__main__":
    main(sys.argv[1])
