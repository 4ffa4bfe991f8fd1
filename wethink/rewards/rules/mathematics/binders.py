r"""Bound variables of sums, products, limits and integrals: their names do not matter (`\sum_k k` is `\sum_j j`)."""

import re

_BINDERS = (
    re.compile(r"\\(?:sum|prod|bigcup|bigcap)_ ?\{? ?([A-Za-z])\b"),
    re.compile(r"\\lim_ ?\{? ?([A-Za-z])\b"),
    re.compile(r"\\int(?![A-Za-z]).*?(?:\\, ?| |(?<=[^A-Za-z\\]))d ?([A-Za-z])\b"),
)


def renamed(gold: str, answer: str) -> str:
    r"""Give the answer's bound variables the gold's names, in order; a name that the answer uses otherwise stays.

    >>> renamed(r"\sum_{k=1}^{n} k", r"\sum_{j=1}^{n} j"), renamed(r"\sum_{k=1}^{n} k", r"\sum_{j=1}^{n} k")
    ('\\sum_{k=1}^{n} k', '\\sum_{j=1}^{n} k')
    """
    for binder in _BINDERS:
        theirs, mine = list(binder.finditer(gold)), list(binder.finditer(answer))
        if len(theirs) != 1 or len(mine) != 1 or theirs[0][1] == mine[0][1]:
            continue
        name, other = mine[0][1], theirs[0][1]
        before = answer[: mine[0].start()]
        if other in variables(answer) | {"e"} or name in variables(before):
            continue  # free elsewhere, or the gold's name is taken
        letter = rf"(?<![A-Za-z\\])((?:d ?)?){name}(?![A-Za-z])"
        answer = re.sub(letter, rf"\g<1>{other}", answer)
    return answer


def variables(expression: str) -> set[str]:
    """Return the letters of an expression that may be variables."""
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]+", re.sub(r"\\[A-Za-z]+", " ", expression))
    return {letter for word in words for letter in word} - {"e", "i"}
