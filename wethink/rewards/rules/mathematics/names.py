r"""Left sides of answers (`x = 3`, `\angle APC = 74°`), chains (`2\sqrt{3} \approx 3.46`) and a problem's letters."""

import re
from functools import lru_cache
from itertools import pairwise

from wethink.rewards.rules import quantities, units, vocabulary
from wethink.rewards.rules.containers import Items, read_items
from wethink.rewards.rules.latex import flatten
from wethink.rewards.rules.mathematics import evaluation
from wethink.rewards.rules.normalize import plain

JOINING = set("+-*/^_=")  # beside an expression, these show that it is a part of a larger one
_EQUALS = re.compile(r"(?<![<>≤≥≠=!])([=≈])(?!=)")
_IS = re.compile(r"(?<=[A-Za-z]) (?:is|are|equals) (?=\S)")
_LETTER = re.compile(r"[A-Za-zα-ωΑ-Ω](?:_(?:\w|\{[^{}]{1,12}\}))?'*")
_POINTS = re.compile(
    r"(?:m ?)?(?:(?:[∠△⊙]|angle|triangle) ?)?[A-Z]{1,6}'?|\[[A-Z]{3,6}\]"
    r"|[∠△⊙] ?[0-9a-zα-ω]|\| ?(?:[A-Z]{2}|[a-wz]) ?\||‖ ?\w ?‖|[a-zA-Z]_?\{?[A-Z△]{1,6}\}?"
)
_TRIGONOMETRIC = re.compile(r"\\?(?:sin|cos|tan|cot|sec|csc) ?\(?(?:[α-ω]|[A-Z]|∠ ?[A-Z]{1,3})\)?")
_CALL = re.compile(r"[A-Za-z](?:_\w)?'{0,2}\([^()=]{1,12}\)")
_SEGMENTS = re.compile(r"\\frac\{[A-Z]{1,3}\}\{[A-Z]{1,3}\}|[A-Z]{2} ?[/:] ?[A-Z]{2}")
_RATIO = re.compile(rf"(?:{_LETTER.pattern}|[A-Z]{{2,3}})(?: ?: ?(?:{_LETTER.pattern}|[A-Z]{{2,3}}))+")
_VECTOR = re.compile(r"\\vec\{ ?(?:[A-Za-z]|[A-Z]{2}) ?\}(?:_\w)?")
_TUPLE = re.compile(r"\( ?[a-zA-Z](?: ?, ?[a-zA-Z]){1,4} ?\)")
_TOKEN = re.compile(r"\\[A-Za-z]+|[A-Za-zα-ω]+|[0-9]+(?:\.[0-9]+)?|\S")


def tokens(text: str) -> list[str]:
    return [token for token in _TOKEN.findall(text) if token not in "{}"]


@lru_cache(maxsize=4096)
def tokens_of(problem: str) -> list[str]:
    """Return a problem's tokens, its mathematics in the spelling of answers."""
    return tokens(spelling(flatten(problem.replace("$", " "))))


def spelling(expression: str) -> str:
    r"""Normalise the spelling of an expression: spaces in it, signs of multiplication, braces around one character."""
    text = " ".join(expression.replace("**", "^").split())
    text = re.sub(r"\s*([-+*/^_=(){}|,<>≤≥≠·×°])\s*", r"\1", text)
    text = re.sub(r"[·×]", "*", re.sub(r"sqrt\(([^()]*)\)", r"\\sqrt{\1}", text))
    text = re.sub(r"√\(?([0-9]+|[a-z])\)?", r"\\sqrt{\1}", text)
    return re.sub(r"\{(\w)\}", r"\1", text)


@lru_cache(maxsize=4096)
def algebraic(problem: str) -> frozenset[str]:
    """Return the single letters that a problem calculates with.

    >>> sorted(algebraic("Simplify m + m")), sorted(algebraic("A rope is 5 m long. How long are 3?"))
    (['m'], [])
    """
    found = set(re.findall(r"(?<![A-Za-z\\])([A-Za-z]) ?[-+=^<>]", problem))
    found |= set(re.findall(r"[-+=^<>(] ?[0-9]*\.?[0-9]* ?([A-Za-z])(?![A-Za-z])", problem))
    found |= set(re.findall(r"(?:in terms of|variable|for|of) \$?([A-Za-z])\b(?! [a-z]*[A-Z])", problem))
    if re.search(r"\b(?:simplify|expand|factor|factorise|factorize|collect|single term|like terms)\b", problem, re.I):
        found |= set(re.findall(r"(?<![A-Za-z\\])[0-9]*([A-Za-z])(?![A-Za-z])", problem))
    return frozenset(found - {"a", "A", "I"})


def is_name(text: str) -> bool:
    """Return whether a text names a quantity: `x`, `f(x)`, `∠APC`, `S_{ABC}`, `|AB|`, `(x, y)`."""
    text = text.strip()
    forms = (_LETTER, _POINTS, _CALL, _TRIGONOMETRIC, _SEGMENTS, _TUPLE, _RATIO, _VECTOR)
    return text == "pH" or any(form.fullmatch(text) for form in forms)


def same(one: str, other: str) -> bool:
    return _canonical(one) == _canonical(other)


def _canonical(name: str) -> str:
    name = name.replace("triangle", "△").replace("angle", "∠")
    name = re.sub(r"[\s{}]|^(?:m(?=∠)|the\b)|\\vec", "", name)
    return name.casefold() if len(name) == 1 else name


@lru_cache(maxsize=8192)
def split(text: str, problem: str) -> tuple[str, str] | None:
    r"""Split `name = value`; None if the left side is no name.

    A name is a symbol of `is_name`, words for a quantity, or an expression of the problem (`x + y = 7`).

    >>> split("∠APC = 74°", ""), split("2x = 6", ""), split("x + y = 7", "Find x + y.")
    (('∠APC', '74°'), None, ('x + y', '7'))
    """
    match = _EQUALS.search(text) or _IS.search(text)
    if match is None:
        return None
    left, right = text[: match.start()].strip(), plain(text[match.end() :].strip())
    if not right:
        return None
    if _TUPLE.fullmatch(left) and left not in problem and (letters := re.findall("[a-zA-Z]", left)) != sorted(letters):
        return None  # (y, x) in no order that anybody asked for
    if not left or is_name(left) or _is_phrase(left, problem):
        return left, right
    mine, whole = tokens("".join(left.split())), tokens_of(problem)
    if len(mine) > 1 and any(whole[n : n + len(mine)] == mine for n in range(len(whole) - len(mine) + 1)):
        return left, right
    return None


def _is_phrase(left: str, problem: str) -> bool:
    words = left.casefold().split()
    if not 1 <= len(words) <= 6 or not all(re.fullmatch(r"[a-z]+|[A-Z]+", word) for word in words):
        return False
    return any(word in vocabulary.QUANTITIES for word in words) and all(
        word in vocabulary.QUANTITIES or word in problem.casefold() for word in words
    )


def bodies(text: str, problem: str) -> list[str]:
    r"""Return the texts that an answer gives as its value: the whole, behind its name, and the parts of a chain.

    The parts of a chain must be equal, and a decimal behind ≈ must be the value, rounded.

    >>> bodies("2\\sqrt{3} ≈ 3.46", ""), bodies("2\\sqrt{3} ≈ 9.46", "")
    (['2\\sqrt{3}', '3.46'], ['2\\sqrt{3} ≈ 9.46'])
    """
    named = split(text, problem)
    rest = named[1] if named else text
    parts = _EQUALS.split(rest)
    if len(parts) == 1:
        return [rest] if rest == text else [rest, text]
    values = [re.sub(r" ?(?:…|\.\.\.)$", "", part.strip()) for part in parts[::2]]
    cut = [part.strip().endswith(("…", "...")) for part in parts[2::2]]  # `= 3.4641...` is no equality
    signs = ["≈" if short else sign for sign, short in zip(parts[1::2], cut, strict=True)]
    return values if _agree(values, signs, problem) else [text]


def _agree(values: list[str], signs: list[str], problem: str) -> bool:
    from wethink.rewards.rules.mathematics.expressions import amount

    amounts = []
    for value in values:
        quantity = quantities.read(value)
        number = amount(value, problem)
        if quantity is not None and quantity.unit and not units.readings(quantity.unit):
            return False
        if number is None and quantity is not None:
            number = evaluation.context().mpf(quantity.value.numerator) / quantity.value.denominator
        if number is None or not evaluation.is_real(number):
            return False
        amounts.append(number)
    if any(one.replace(" ", "") == other.replace(" ", "") for one, other in pairwise(values)):
        return False  # `3 = 3` says nothing
    for place, sign in enumerate(signs):
        off = abs(amounts[place] - amounts[place + 1])
        digits = re.search(r"\.([0-9]+)", values[place + 1])
        slack = 10.0 ** -len(digits[1]) if digits else 1.0
        if (sign == "=" and not evaluation.near(amounts[place], amounts[place + 1])) or off > slack:
            return False
    return True


def is_rounded(text: str) -> bool:
    """Return whether an answer ends in a rounded value, behind ≈."""
    return "≈" in text


def assigned(text: str, named: tuple[str, str] | None, wanted: Items, problem: str) -> Items | None:
    """Write `(x, y) = (3, 4)` and `y = 4, x = 3` as the gold's `x = 3, y = 4`."""
    letters = [side[0] if (side := split(part, problem)) else "" for part in wanted.parts]
    if wanted.style or not all(re.fullmatch("[a-zA-Z]", letter) for letter in letters):
        return None
    if named and named[0].startswith("("):
        values = dict(zip(re.findall("[a-zA-Z]", named[0]), read_items(named[1]).parts, strict=False))
    else:
        items = read_items(text)
        sides = [split(part, problem) for part in items.parts if items.style != "or"]
        values = {side[0]: side[1] for side in sides if side}
    if set(values) != set(letters) or len(values) != len(letters):
        return None
    return Items("", tuple(f"{letter} = {values[letter]}" for letter in letters))
