"""Other people's graders in a process of their own: `.venv-peers/bin/python graders.py math-verify|mathruler`.

Standard input has JSON lines `{"gold", "answer"}`, standard output one `{"equal": bool}` for each. Both are called as
their users call them: math-verify parses both sides, in `$…$` where they have no delimiter; mathruler gets the content
of `\\boxed{}`. An error and a comparison that takes longer than `SECONDS` are no equality.
"""

import json
import logging
import signal
import sys
from collections.abc import Callable

SECONDS = 10


def math_verify(gold: str, answer: str) -> bool:
    from math_verify import parse, verify

    def read(text: str) -> list[object]:
        has_delimiters = "$" in text or "\\boxed" in text or "\\(" in text or "\\[" in text
        return list(parse(text if has_delimiters else f"${text}$"))

    return bool(verify(read(gold), read(answer)))


def mathruler(gold: str, answer: str) -> bool:
    from mathruler.grader import extract_boxed_content, grade_answer

    def inner(text: str) -> str:
        return str(extract_boxed_content(text)) if "\\boxed" in text else text

    return bool(grade_answer(inner(answer), inner(gold)))


GRADERS: dict[str, Callable[[str, str], bool]] = {"math-verify": math_verify, "mathruler": mathruler}


def deadline(signum: int, frame: object) -> None:
    raise TimeoutError


def main() -> None:
    grade = GRADERS[sys.argv[1]]
    logging.disable(logging.CRITICAL)
    signal.signal(signal.SIGALRM, deadline)
    if not grade("1", "1"):  # an environment in which nothing is equal must not be taken for a strict grader
        sys.exit(f"{sys.argv[1]} does not work here")
    for line in sys.stdin:
        pair = json.loads(line)
        signal.alarm(SECONDS)
        try:
            equal = grade(pair["gold"], pair["answer"])
        except Exception:  # a fault of theirs is an answer not accepted
            equal = False
        signal.alarm(0)
        print(json.dumps({"equal": equal}), flush=True)


if __name__ == "__main__":
    main()
