r"""Comparison of mathematical expressions, equations and closed forms with units.

Cheap checks come first: the same expression in another spelling is correct; an answer that is no expression, has
other variables, repeats the problem or is too large (towers of powers, deep nesting, many digits) is wrong. What
`evaluation` reads is compared by value there. Sums, limits and the like are compared by math-verify in a child process;
a comparison has a deadline in processor time; the response causes a timeout, so it is wrong, and counted
(`COMPARER.timeouts`). If the child itself fails, the verdict is unknown.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from wethink.rewards.rules import units
from wethink.rewards.rules.math_client import COMPARER
from wethink.rewards.rules.mathematics import binders, evaluation, names, parsing
from wethink.rewards.rules.normalize import balanced
from wethink.rewards.verdict import Verdict, correct, unknown, wrong

MAX_CHARS, MAX_DEPTH, MAX_DIGITS, MAX_EXPONENT = 250, 8, 40, 64
TIMEOUT = "the comparison took too long"

_COMMAND_NAMES = """
frac sqrt binom sum prod int lim to infty cup cap left right cdot times pm begin end pmatrix bmatrix sin cos tan cot
sec csc arcsin arccos arctan sinh cosh tanh log ln exp leq geq neq max min gcd overline vec pi theta alpha beta gamma
lambda mu sigma phi omega emptyset in mid lfloor rfloor
"""
_COMMANDS = {*_COMMAND_NAMES.split()}
_BACK = {
    "π": r"\pi ",
    "θ": r"\theta ",
    "α": r"\alpha ",
    "β": r"\beta ",
    "γ": r"\gamma ",
    "λ": r"\lambda ",
    "μ": r"\mu ",
}
_BACK |= {"σ": r"\sigma ", "φ": r"\phi ", "ω": r"\omega ", "∞": r"\infty ", "×": r"\cdot ", "·": r"\cdot ", "÷": "/"}
_BACK |= {"≤": r"\leq ", "≥": r"\geq ", "≠": r"\neq ", "±": r"\pm ", "∪": r"\cup ", "∩": r"\cap ", "∈": r"\in "}
_BACK |= {"∅": r"\emptyset ", "°": r"^\circ ", "→": r"\to ", "√": r"\sqrt "}
_TOKEN = re.compile(r"\\[A-Za-z]+|[0-9]+(?:\.[0-9]+)?|[A-Za-z]+|\\\\|\\[{}]|[^\s\w]|\s+")
_OPERATOR = re.compile(
    r"\\[A-Za-z]|[+*/^=<>|≤≥≠±·×√π°!∞]|-(?=.)|_|^[0-9.]+ ?[A-Za-zα-ω(]"
    r"|[A-Za-z] ?\(|^[α-ωΑ-Ω]$|\b(?:sin|cos|tan|log|ln|exp) "
)
_FLIPPED = {"<": ">", ">": "<", "≤": "≥", "≥": "≤", "=": "=", "≠": "≠"}


def is_expression(text: str) -> bool:
    r"""Return whether a text may be an expression; a number or a word is none.

    >>> is_expression(r"2\sqrt{3}"), is_expression("x^2+1"), is_expression("T-shirt"), is_expression("x")
    (True, True, False, False)
    """
    if _OPERATOR.search(text) is None or not any(char.isalnum() for char in text) or len(text) > MAX_CHARS:
        return False
    if measure(text, "") is not None:
        return True
    if all(parsing.parse(side) is not None for side in relation(text)[::2]):
        return True
    return "\\" in text and latex(text) is not None


def relation(text: str) -> list[str]:
    r"""Split at the signs of relation outside braces: sides and signs in turn.

    >>> relation("y = 2x"), relation(r"\sum_{k=1}^n k")
    (['y', '=', '2x'], ['\\sum_{k=1}^n k'])
    """
    parts, depth = [""], 0
    for char in text:
        depth += (char == "{") - (char == "}")
        if depth == 0 and char in _FLIPPED:
            parts += [char, ""]
        else:
            parts[-1] += char
    return [part.strip() for part in parts]


def latex(text: str) -> str | None:
    r"""Convert a normalised expression to LaTeX for math-verify; None if it has other words or signs."""
    if len(text) > MAX_CHARS:
        return None
    for char, command in _BACK.items():
        text = text.replace(char, command)
    for token in _TOKEN.findall(text):
        if token[0] == "\\" and token[1:].isalpha() and token[1:] not in _COMMANDS:
            return None
        if token.isalpha() and len(token) > 2 and token not in ("pmatrix", "bmatrix", "array", "matrix"):
            return None
    return text.strip() if text.isascii() else None


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
    powers = re.findall(r"\^ ?(?:\{([^{}]*)\}|\(([^()]*)\)|-?([0-9]+|\S))", expression)
    if any(int(digits) > MAX_EXPONENT for power in powers for digits in re.findall(r"[0-9]+", "".join(power))):
        return "exponent too large"
    if expression.count("^") > 1 and re.search(
        r"\^ ?(?:\{[^{}]*\^|\([^()]*\^|[^{}()\s]\^|\{[^{}]*\{[^{}]*\^)|\) ?\^[^()]*\) ?\^", expression
    ):
        return "a tower of powers"
    return None


def _compact(text: str) -> str:
    return re.sub(r"\s+", "", names.spelling(text))


def measure(text: str, problem: str) -> tuple[parsing.Tree, str] | None:
    r"""Read a closed form with its unit, "" for none; None if the text is none.

    A letter that touches the form (`2\pi h`) or that the problem calculates with is a variable, no unit.

    >>> measure("6π cm^2", "")[1], measure("2\\sqrt{3} m", "Simplify m + m"), measure("6πr", "")
    ('cm^2', None, None)
    """
    money = re.match(r"[$€£¥₹]", text)
    body, unit = (text[1:], text[0]) if money else (text, "")
    tree = parsing.parse(body.strip())
    if tree is not None and not parsing.names(tree):
        return tree, unit
    if money:
        return None
    return _with_unit(text, names.algebraic(problem))


def _with_unit(text: str, letters: frozenset[str]) -> tuple[parsing.Tree, str] | None:
    for match in re.finditer(r"(?<![\\A-Za-z])[A-Za-z°%$€£¥₹µμΩ]", text):
        head, tail = text[: match.start()], text[match.start() :].rstrip(".")
        alone = re.fullmatch(r"[A-Za-z](?:\^.*)?", tail) is not None
        if not head or (alone and (not head.endswith(" ") or tail[0] in letters)) or not units.readings(tail):
            continue
        tree = parsing.parse(head.strip())
        if tree is not None and not parsing.names(tree):
            return tree, tail
    return None


def is_closed(text: str, problem: str) -> bool:
    """Return whether a text is a closed form without variables, with or without a unit."""
    return not excess(text) and measure(text, problem) is not None


def amount(text: str, problem: str) -> Any:
    """Return the number of a closed form, whatever its unit; None if the text is none."""
    found = None if excess(text) else measure(text, problem)
    return evaluation.value(found[0]) if found else None


def verify_expression(answer: str, gold: str, problem: str) -> Verdict:
    """Compare an answer with a gold that `readable` accepts.

    Both are normalised by `normalize.plain`.
    """
    mine, theirs = answer if answer.endswith("...") else answer.rstrip("."), gold.rstrip(".")
    if _compact(mine) == _compact(theirs):
        return correct("the same expression")
    if not _brackets_fit(mine) or len(mine) > MAX_CHARS:
        return wrong("brackets do not match")
    if fault := excess(mine):
        return wrong(fault)
    if repeats(mine, problem):
        return wrong("repeats the problem")
    equal = _equal(mine, theirs, problem)
    if equal is not None:
        return correct("an equal expression") if equal else wrong("another expression")
    return _by_math_verify(mine, theirs)


def _equal(mine: str, theirs: str, problem: str) -> bool | None:
    """Compare by value; None if the gold, or both, are beyond `evaluation`."""
    if len(relation(theirs)) == 3:
        return _equal_relations(mine, theirs, problem)
    wanted = measure(theirs, problem)
    if wanted is not None:
        return _equal_measures(mine, wanted, problem)
    tree = parsing.parse(theirs)
    if tree is None:
        return None
    for text in names.bodies(mine, problem):
        found = parsing.parse(text)
        if found is not None:
            return equal_trees(found, tree)
    return False


def _equal_measures(mine: str, wanted: tuple[parsing.Tree, str], problem: str) -> bool:
    for text in names.bodies(mine, problem):
        found = measure(text, problem)
        touching = re.fullmatch(r"(.*[^A-Za-z\\ ])([A-Za-z])", text)
        if found is None and touching and touching[2] == wanted[1]:  # `11\pi m` for `11\pi \text{ m}`
            found = measure(f"{touching[1]} {touching[2]}", problem)
        if found is None:
            continue
        mine_units, their_units = units.readings(found[1]), units.readings(wanted[1])
        factors = (
            [a / b for d, a in mine_units for e, b in their_units if d == e]
            if mine_units and their_units
            else [Fraction(1)]
        )
        if found[1] and not wanted[1] and any(dimension == "share" for dimension, _ in mine_units):
            return False  # 50π% is no 50π
        for factor in factors:
            scaled = found[0] if factor == 1 else ("*", ("n", factor), found[0])
            if equal_trees(scaled, wanted[0]):
                return True
            exact = evaluation.value(wanted[0])
            number = None if exact is None else exact * factor.denominator / factor.numerator
            if evaluation.stands_for(text.removesuffix(found[1]).strip(), number) and _is_irrational(wanted[0]):
                return True
        return False
    return False


def _is_irrational(tree: parsing.Tree) -> bool:
    return parsing.has(tree, "root", "c", "f", "log", "^")


def both_values(text: str, problem: str) -> tuple[str, str] | None:
    """Return the two expressions of `1 ± x`, or of `y = 1 ± x`, as texts; None without one ±."""
    named = names.split(text, problem)
    text = named[1] if named else text
    if text.count("±") != 1 or parsing.parse(text) is None:
        return None
    head = text.partition("±")[0].strip()
    return (text.replace("±", "+" if head else ""), text.replace("±", "-"))


def equal_trees(mine: parsing.Tree, theirs: parsing.Tree) -> bool | None:
    """Return whether two trees are identical; a ± stands for its two values in both."""
    if parsing.names(mine) - parsing.names(theirs) and not evaluation.identical(mine, theirs):
        return False
    two, pair = parsing.branches(mine), parsing.branches(theirs)
    if (two is None) != (pair is None):
        return False
    if two and pair:
        (a, b), (c, d) = two, pair
        straight = evaluation.identical(a, c) and evaluation.identical(b, d)
        return bool(straight or (evaluation.identical(a, d) and evaluation.identical(b, c)))
    return evaluation.identical(mine, theirs)


def _equal_relations(mine: str, theirs: str, problem: str) -> bool | None:
    left, sign, right = relation(theirs)
    wanted = _difference(left, right)
    if wanted is None:
        return None
    parts = relation(mine)
    if len(parts) == 1:  # `2x + 1` for `y = 2x + 1`
        found, body = parsing.parse(mine), parsing.parse(right)
        solved = sign == "=" and names.is_name(left) and found is not None and body is not None
        return bool(solved and found and body and equal_trees(found, body))
    if len(parts) != 3 or (found := _difference(parts[0], parts[2])) is None:
        return False
    if sign == "=" and names.is_name(left) and names.is_name(parts[0]) and names.same(left, parts[0]):
        ours, body = parsing.parse(parts[2]), parsing.parse(right)
        if ours is not None and body is not None and parsing.has(body, "pm", "mp"):
            return equal_trees(ours, body)
    ratio = evaluation.proportional(found, wanted)
    if sign in "=≠":
        return ratio != 0 and parts[1] == sign
    return ratio != 0 and (parts[1] if ratio > 0 else _FLIPPED[parts[1]]) == sign


def _difference(left: str, right: str) -> parsing.Tree | None:
    one, other = parsing.parse(left), parsing.parse(right)
    return ("-", one, other) if one is not None and other is not None else None


def _by_math_verify(mine: str, theirs: str) -> Verdict:
    answer, gold = latex(mine), latex(theirs)
    if gold is None or answer is None:
        return wrong("not an expression")
    answer = binders.renamed(gold, answer)
    if _compact(answer) == _compact(gold):
        return correct("the same expression")
    if binders.variables(answer) - binders.variables(gold):
        return wrong(f"another variable: {min(binders.variables(answer) - binders.variables(gold))}")
    reply = COMPARER.ask(gold, answer)
    if "equal" in reply:
        return correct("an equal expression") if reply["equal"] else wrong("another expression")
    if reply["fault"] == "timeout":
        return wrong(TIMEOUT)
    if reply["fault"] == "unavailable":
        return unknown("the comparison of expressions does not work")
    return wrong(f"cannot be compared ({reply['fault']})")


def repeats(answer: str, problem: str) -> bool:
    """Return whether an answer is an expression of the problem, token by token and as a whole.

    >>> repeats("(x+1)^2", "Expand (x + 1)^2."), repeats("a+b", "Find area+base.")
    (True, False)
    """
    mine, whole = names.tokens(names.spelling(answer)), names.tokens_of(problem)
    if len(mine) < 2:
        return False
    for start in range(len(whole) - len(mine) + 1):
        if whole[start] == mine[0] and whole[start : start + len(mine)] == mine:
            before, after = whole[start - 1 : start], whole[start + len(mine) :][:1]
            if not (before and before[0] in names.JOINING) and not (after and after[0] in names.JOINING):
                return True
    return False


def _brackets_fit(expression: str) -> bool:
    """Return whether brackets match; intervals may mix them: `(2, 3]`."""
    return balanced(expression) or ("," in expression and balanced(re.sub(r"[\[\]()]", "", expression)))


def readable(gold: str, problem: str) -> bool | None:
    """Return whether a gold can be compared as an expression; None if the child is unavailable."""
    text = gold.rstrip(".")
    if not _brackets_fit(text) or excess(text):
        return False
    sides = [parsing.parse(side) for side in relation(text)[::2]]
    if measure(text, problem) is not None or (len(sides) < 3 and all(side is not None for side in sides)):
        return True
    found = latex(text)
    if found is None:
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
