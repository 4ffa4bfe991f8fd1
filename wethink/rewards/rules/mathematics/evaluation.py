r"""Evaluator of expressions: values at 140 digits, identity by evaluation at points.

Two trees are identical if their values agree at several points; the points are irrational and of both signs, and the
precision leaves no room for chance. It costs well below a millisecond, so that math-verify is needed for sums, limits
and the like only.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

from wethink.rewards.rules.mathematics.parsing import Tree, Unread, names

MAX_EXPONENT, MAX_FACTORIAL = 5000, 200
DIGITS = 140  # precision of the evaluation
CLOSE = 100  # digits in which two values must agree
POINTS = (1, 9, -1, 43, -17, 0.125)  # scales of the points of evaluation; the sign is that of the variables
SIGNIFICANT = 5  # digits of a decimal that stands for an exact value


@lru_cache(maxsize=1)
def context() -> Any:
    """Return an mpmath context of our own, whose precision nobody else changes."""
    import mpmath  # imported late: many runs have no expression to compare

    made = mpmath.MPContext()
    made.dps = DIGITS
    return made


@lru_cache(maxsize=512)
def point(name: str, scale: float) -> Any:
    """Return the value of a variable at a point; irrational, near the scale."""
    mp = context()
    code = sum(ord(char) * 131**place for place, char in enumerate(name)) % 1_000_003
    return (mp.sqrt(code + 1 / mp.mpf(abs(scale))) / mp.sqrt(code * 5 + 17) + mp.mpf(code) / 1_999_993) * scale


@lru_cache(maxsize=8192)
def value(tree: Tree, seed: float = 1) -> Any:
    """Evaluate a tree at a point; None where it has no finite value."""
    try:
        found = _value(tree, seed)
    except (ArithmeticError, ValueError, TypeError, Unread, MemoryError, RecursionError):
        return None
    return found if context().isfinite(found) else None


def _value(tree: Tree, seed: float) -> Any:
    mp, sort = context(), tree[0]
    if sort == "n":
        return mp.mpf(tree[1].numerator) / tree[1].denominator
    if sort == "c":
        return {"π": +mp.pi, "e": mp.e + 0, "i": mp.mpc(0, 1)}[tree[1]]
    if sort == "v":
        return point(tree[1], seed)
    if sort == "f":
        return _function(tree[1], _value(tree[2], seed))
    parts = [_value(part, seed) for part in tree[1:]]
    if sort == "^":
        return _power(*parts)
    if sort == "root":
        return _root(*parts)
    if sort == "!":
        return mp.factorial(_small(parts[0]))
    if sort == "binom":
        return mp.binomial(_small(parts[0]), _small(parts[1]))
    if sort == "log":
        return mp.log(parts[1]) / mp.log(parts[0])
    if sort == "neg":
        return -parts[0]
    if sort == "abs":
        return abs(parts[0])
    left, right = parts
    return {"+": lambda: left + right, "-": lambda: left - right, "*": lambda: left * right}.get(
        sort, lambda: left / right
    )()


def _small(number: Any) -> Any:
    if abs(number) > MAX_FACTORIAL:
        raise Unread
    return number


def _power(base: Any, power: Any) -> Any:
    if abs(power) > MAX_EXPONENT or abs(base) > 10.0**300 or (base == 0 and power == 0):
        raise Unread
    if base == context().e and not getattr(power, "imag", 0):
        return context().exp(power)
    return base**power


def _root(index: Any, inside: Any) -> Any:
    mp = context()
    if index == 2:
        return mp.sqrt(inside)
    if index == int(index) and 2 < index <= 1000:
        odd = int(index) % 2 and not getattr(inside, "imag", 0) and inside < 0
        return -mp.root(-inside, int(index)) if odd else mp.root(inside, int(index))
    raise Unread


def _function(name: str, argument: Any) -> Any:
    mp = context()
    if abs(argument) > 10.0**30 and name != "ln":
        raise Unread
    known = {"arcsin": mp.asin, "arccos": mp.acos, "arctan": mp.atan, "ln": mp.log}
    return known[name](argument) if name in known else getattr(mp, name)(argument)


def near(left: Any, right: Any) -> bool:
    """Return whether two values agree in all digits that count."""
    return bool(abs(left - right) <= context().mpf(10) ** -CLOSE * max(abs(left), abs(right), 1))


def identical(left: Tree, right: Tree) -> bool | None:
    """Return whether two trees have the same value everywhere; None if no point tells.

    Points where only one of them is a real number are left out: `2\\ln x` is `\\ln x^2` where both are defined.
    """
    if not names(left) | names(right):
        mine, theirs = value(left), value(right)
        return None if theirs is None else mine is not None and near(mine, theirs)
    tried = undefined = 0
    for seed in POINTS:
        mine, theirs = value(left, seed), value(right, seed)
        undefined += mine is None and theirs is not None
        if mine is None or theirs is None:
            continue
        if is_real(mine) != is_real(theirs):
            continue
        tried += 1
        if not near(mine, theirs):
            return False
    return True if tried >= 2 else False if undefined >= 2 else None


def is_real(number: Any) -> bool:
    """Return whether a value has no imaginary part."""
    return not getattr(number, "imag", 0)


def proportional(left: Tree, right: Tree) -> int:
    """Return the sign of the constant c with left = c · right everywhere, or 0 if there is none."""
    ratio = None
    for seed in POINTS:
        mine, theirs = value(left, seed), value(right, seed)
        if mine is None or theirs is None or not theirs or not is_real(mine) or not is_real(theirs):
            return 0
        if ratio is not None and not near(mine / theirs, ratio):
            return 0
        ratio = mine / theirs
    return 0 if not ratio else 1 if ratio > 0 else -1


def stands_for(decimal: str, exact: Any) -> bool:
    """Return whether a decimal is an exact value, rounded or cut to its own digits, at least five.

    >>> stands_for("1.4142135623730951", context().sqrt(2)), stands_for("1.41", context().sqrt(2))
    (True, False)
    """
    if not re.fullmatch(r"-?[0-9]*\.[0-9]+", decimal) or exact is None or not is_real(exact):
        return False
    digits = decimal.replace("-", "").replace(".", "").lstrip("0")
    if len(digits) < SIGNIFICANT:
        return False
    mp = context()
    number = mp.mpf(Fraction(decimal).numerator) / Fraction(decimal).denominator
    last = mp.mpf(10) ** -len(decimal.partition(".")[2])
    off = abs(number - exact)
    if len(digits) >= 15:  # as computers print it
        return bool(off <= max(last, abs(exact) * mp.mpf(10) ** -14))
    return bool(off <= last / 2 or (off < last and abs(number) < abs(exact)))
