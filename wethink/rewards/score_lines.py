"""Command `wethink score FILE|-`: one verdict per line of questions with gold and answer, as JSON lines.

A line is an object with `gold` and either `answer` (extracted) or `response` (whole, in the configured format), and
optionally `problem`, `category` (default FIB), `reward` (default rule) and `alternatives` (all answers that people
gave). All other keys, and those of an object `row`, are columns for reward functions of the user's own. Each line gives
one line of the output, in order.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Any, cast

from wethink.common.jsonl import NotJson, parse_json
from wethink.data.schema import Scorable
from wethink.rewards.hybrid import Scorer
from wethink.rewards.verdict import Verdict, unknown

LINES_AT_ONCE = 256  # scored together: model judges and own functions take batches
TEXTS = ("problem", "gold", "answer", "response", "category", "reward")
UNREADABLE = "this line cannot be read: "


def score_lines(lines: Iterable[str], scorer: Scorer) -> Iterator[dict[str, Any]]:
    """Yield `outcome`, `score`, `kind` and `reason` for each line; blank lines are skipped.

    A line that cannot be read is unknown, with the reason.

    Raises:
        UserError: no request to the model judge can succeed.
    """
    rest = (line for line in lines if line.strip().strip("\ufeff"))
    while batch := list(islice(rest, LINES_AT_ONCE)):
        yield from map(_record, _verdicts([_read(line) for line in batch], scorer))


def _verdicts(read: Sequence[dict[str, Any] | str], scorer: Scorer) -> list[Verdict]:
    found = {place: unknown(UNREADABLE + line) for place, line in enumerate(read) if isinstance(line, str)}
    good = {place: line for place, line in enumerate(read) if not isinstance(line, str)}
    answers = [place for place, line in good.items() if "answer" in line]
    responses = [place for place in good if place not in set(answers)]
    checked = scorer.check([(good[place]["answer"], _row(good[place])) for place in answers])
    scored = scorer.score([(good[place]["response"], _row(good[place])) for place in responses])
    found |= dict(zip(answers, checked, strict=True))
    found |= dict(zip(responses, (one.verdict for one in scored), strict=True))
    return [found[place] for place in range(len(read))]


def _read(line: str) -> dict[str, Any] | str:
    """Parse a line; return its object, or the fault."""
    try:
        given = parse_json(line)
    except NotJson as error:
        return f"not JSON ({error})"
    if not isinstance(given, dict):
        return "not a JSON object"
    if "gold" not in given or ("answer" in given) == ("response" in given):
        return "it needs 'gold' and one of 'answer' and 'response'"
    for key in TEXTS:
        if isinstance(given.get(key), (int, float)) and not isinstance(given[key], bool):
            given[key] = str(given[key])
        if not isinstance(given.get(key, ""), str):
            return f"'{key}' is {type(given[key]).__name__}, not a text"
    several = given.get("alternatives", [])
    if not isinstance(several, list) or not all(isinstance(text, str) for text in several):
        return "'alternatives' is no list of texts"
    if not isinstance(given.get("row", {}), dict):
        return f"'row' is {type(given['row']).__name__}, not an object"
    return given


def _row(given: dict[str, Any]) -> Scorable:
    told = {
        "problem": given.get("problem", ""),
        "answer": given["gold"],
        "category": given.get("category", "FIB"),
        "reward": given.get("reward", "rule"),
    }
    columns = {key: value for key, value in given.items() if key not in ("row", *TEXTS)}
    return cast(Scorable, columns | given.get("row", {}) | told)


def _record(verdict: Verdict) -> dict[str, Any]:
    return {"outcome": verdict.outcome, "score": verdict.score, "kind": verdict.kind, "reason": verdict.reason}
