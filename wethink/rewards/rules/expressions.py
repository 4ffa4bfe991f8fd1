r"""Equality of mathematical expressions by value, with math-verify in a child process.

Cheap checks come first: the same expression in another spelling is correct; an answer that is no expression, has
other variables, repeats the problem or is too large (towers of powers, deep nesting, many digits) is wrong. A
comparison has a deadline in processor time; the response causes a timeout, so it is wrong, and counted
(`Comparer.timeouts`). If the child itself fails, the verdict is unknown.
"""

import re
from functools import lru_cache

from wethink.rewards.rules.math_client import COMPARER
from wethink.rewards.rules.normalize import balanced
from wethink.rewards.verdict import Verdict, correct, unknown, wrong

MAX_CHARS, MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT = 250, 8, 12, 64
TIMEOUT = "the comparison took too long"

_COMMAND_NAMES = """
frac dfrac tfrac sqrt pi theta alpha beta gamma delta lambda mu sigma phi omega epsilon rho tau Delta Omega cdot
times div pm mp left right sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp infty cup cap in
leq geq le ge lt gt neq ne mathbb circ lvert rvert mid quad begin end pmatrix bmatrix matrix emptyset varnothing
"""
_COMMANDS = set(_COMMAND_NAMES.split())
_FUNCTIONS = (
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "csc",
    "log",
    "ln",
    "exp",
)
_GREEK = (
    "theta",
    "alpha",
    "beta",
    "gamma",
    "delta",
    "lambda",
    "sigma",
    "omega",
    "infty",
    "phi",
    "rho",
    "tau",
    "mu",
    "pi",
)
_LETTERS = {
    "π": r"\pi ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "λ": r"\lambda ",
    "∞": r"\infty ",
    "√": r"\sqrt ",
    "×": r"\cdot ",
    "·": r"\cdot ",
}
_LETTERS |= {
    "÷": "/",
    "≤": r"\leq ",
    "≥": r"\geq ",
    "≠": r"\neq ",
    "±": r"\pm ",
    "∪": r"\cup ",
    "∩": r"\cap ",
    "∈": r"\in ",
    "∅": r"\emptyset ",
    "°": r"^\circ ",
}
_TOKEN = re.compile(r"\\[A-Za-z]+|[0-9]+(?:\.[0-9]+)?|[A-Za-z]+|[-+*/^_(){}\[\]=<>,;|&\s]|\\\\|\\[{}]")
_OPERATOR = re.compile(r"\\(?!pi\b)[A-Za-z]|[+*/^=<>|]|-(?=.)|^[0-9.]+ ?[A-Za-z(]|\\pi")


def latex(text: str) -> str | None:
    r"""Convert an expression to LaTeX in one spelling; None if the text is none.

    >>> latex("2*sqrt(3)"), latex("x^2 + 1"), latex("3 or 4")
    ('2\\cdot \\sqrt{3}', 'x^2 + 1', None)
    """
    if len(text) > MAX_CHARS:
        return None
    for char, command in _LETTERS.items():
        text = text.replace(char, command)
    text = text.replace("**", "^").replace("*", r"\cdot ")
    text = re.sub(r"\\sqrt ?([0-9a-zA-Z])(?![0-9])", r"\\sqrt{\1}", text)
    text = re.sub(rf"(?<![\\A-Za-z])({'|'.join(_FUNCTIONS + _GREEK)})(?![A-Za-z])", r"\\\1 ", text)
    text = re.sub(r"(?<=[0-9])(sqrt|pi)(?![A-Za-z])", r"\\\1 ", text)
    text = re.sub(r"\\sqrt \(([^()]*)\)", r"\\sqrt{\1}", text)
    text = re.sub(r"\^\(([^()]*)\)", r"^{\1}", text)
    text = re.sub(r"\\sqrt ([0-9]+)", r"\\sqrt{\1}", text)
    end = 0
    for token in _TOKEN.finditer(text):
        if token.start() != end or not _known(token.group()):
            return None
        end = token.end()
    return text.strip() if end == len(text) else None


def _known(token: str) -> bool:
    if token[0] == "\\" and token[1:].isalpha():
        return token[1:] in _COMMANDS
    if token.isalpha():
        return (
            len(token) == 1
            or token in ("pmatrix", "bmatrix", "matrix")
            or (len(token) <= 3 and set(token) <= set("abcxyzmnkpqrt"))
        )
    return True


def is_expression(text: str) -> bool:
    r"""Return whether a text is an expression; a number or a word is none.

    >>> is_expression(r"2\sqrt{3}"), is_expression("x^2+1"), is_expression("T-shirt"), is_expression("x")
    (True, True, False, False)
    """
    found = latex(text)
    return found is not None and _OPERATOR.search(found) is not None and any(char.isalnum() for char in found)


def excess(expression: str) -> str | None:
    """Return why an expression is too large to compare, or None."""
    depth = deepest = 0
    for char in expression:
        depth += (char in "({[") - (char in ")}]")
        deepest = max(deepest, depth)
    if deepest > MAX_DEPTH:
        return "nested too deeply"
    if any(len(digits) > MAX_DIGITS for digits in re.findall(r"[0-9]+", expression)):
        return "too many digits"
    powers = re.findall(r"\^ ?(?:\{([^{}]*)\}|([0-9]+|\S))", expression)
    if any(int(digits) > MAX_EXPONENT for power in powers for digits in re.findall(r"[0-9]+", "".join(power))):
        return "exponent too large"
    if expression.replace(r"^\circ", "").count("^") > 1 and re.search(
        r"\^ ?(?:\{[^{}]*\^|[^{}\s]\^|\{[^{}]*\{[^{}]*\^)|\) ?\^[^()]*\) ?\^", expression
    ):
        return "a tower of powers"
    return None


def spelling(expression: str) -> str:
    r"""Normalise the spelling of a LaTeX expression.

    Spaces, `\left`, braces around one character and variants of `\frac` make no difference.
    """
    text = (
        re.sub(r"\\(?:left|right|quad)(?![A-Za-z])", "", expression)
        .replace(r"\dfrac", r"\frac")
        .replace(r"\tfrac", r"\frac")
    )
    text = text.replace(r"\times", r"\cdot").replace(r"\lvert", "|").replace(r"\rvert", "|")
    return re.sub(r"\{(\w)\}", r"\1", re.sub(r"\s+", "", text))


def verify_expression(answer: str, gold: str, problem: str) -> Verdict:
    """Compare an answer with a gold that `readable` accepts.

    Both are normalised by `normalize.plain`.
    """
    mine, theirs = latex(answer.rstrip(".")), latex(gold.rstrip("."))
    if mine is None or theirs is None or not any(char.isalnum() for char in mine):
        return wrong("not an expression")
    if spelling(mine) == spelling(theirs):
        return correct("the same expression")
    if not _brackets_fit(mine):
        return wrong("brackets do not match")
    if fault := excess(mine):
        return wrong(fault)
    if spelling(mine) in _spelling_of_problem(problem):
        return wrong("repeats the problem")
    named = re.match(r"[A-Za-z]\s*=|\\[a-z]+\s*=", mine)
    new = _variables(mine[named.end() :] if named and "=" not in theirs else mine) - _variables(theirs)
    if new:
        return wrong(f"another variable: {min(new)}")
    reply = COMPARER.ask(theirs, mine)
    if "equal" in reply:
        return correct("an equal expression") if reply["equal"] else wrong("another expression")
    if reply["fault"] == "timeout":
        return wrong(TIMEOUT)
    if reply["fault"] == "unavailable":
        return unknown("the comparison of expressions does not work")
    return wrong(f"cannot be compared ({reply['fault']})")


@lru_cache(maxsize=4096)
def _spelling_of_problem(problem: str) -> str:
    found = problem.replace("$", " ").replace("**", "^").replace("*", r"\cdot ")
    return spelling(found)


def _brackets_fit(expression: str) -> bool:
    """Return whether brackets match; intervals may mix them: `(2, 3]`."""
    return balanced(expression) or ("," in expression and balanced(re.sub(r"[\[\]()]", "", expression)))


def _variables(expression: str) -> set[str]:
    words = re.findall(r"(?<![\\A-Za-z])[A-Za-z]+", re.sub(r"\\[A-Za-z]+", " ", expression))
    return {letter for word in words for letter in word} - {"e", "i"}


def readable(gold: str) -> bool | None:
    """Return whether math-verify can parse a gold; None if the child is unavailable."""
    found = latex(gold.rstrip("."))
    if found is None or not _brackets_fit(found) or excess(found):
        return False
    try:
        return _readable(found)
    except _Unavailable:
        return None


@lru_cache(maxsize=4096)
def _readable(expression: str) -> bool:
    reply = COMPARER.ask(expression, None)
    if reply.get("fault") == "unavailable":
        raise _Unavailable  # an exception is not cached
    return bool(reply.get("equal"))


class _Unavailable(Exception):
    """The child process did not start or gave no reply."""
