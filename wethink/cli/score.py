"""CLI command `score`: verdicts on lines of a file or of standard input."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from wethink.common.errors import UserError
from wethink.common.text_files import as_text, open_text
from wethink.config.params import load_params
from wethink.config.rewards import Rewards

if TYPE_CHECKING:
    from wethink.rewards.hybrid import Scorer

PARAMS = Path("params.yaml")


@contextmanager
def _scorer() -> Iterator["Scorer"]:
    from wethink.rewards.hybrid import Scorer, open_scorer

    if PARAMS.is_file():
        params = load_params()
        with open_scorer(params.rewards, params.launch) as scorer:
            yield scorer
    else:
        yield Scorer(Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical"))


@contextmanager
def _lines(file: str) -> Iterator[TextIO]:
    if file == "-":
        yield as_text(sys.stdin.buffer)
        return
    with open_text(Path(file), "name a file of JSON lines, or -") as lines:
        yield lines


def score(file: str) -> None:
    """Print one verdict per line of `file` ("-": standard input).

    The rewards are those of params.yaml where there is one, else rules with a tolerance of 0.001.

    Raises:
        UserError: the file cannot be read, or some of its lines cannot.
    """
    from wethink.rewards.score_lines import UNREADABLE, score_lines

    count = unread = 0
    with _lines(file) as lines, _scorer() as scorer:
        for verdict in score_lines(lines, scorer):
            print(json.dumps(verdict, ensure_ascii=False, sort_keys=True), flush=file == "-")
            count, unread = count + 1, unread + verdict["reason"].startswith(UNREADABLE)
    if unread:
        raise UserError(f"{unread} of {count} lines cannot be read; their verdicts are 'unknown' and say why.", 1)
