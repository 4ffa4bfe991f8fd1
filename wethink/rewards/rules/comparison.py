"""Kinds of values and their comparison: the gold's kind decides how an answer is read.

The kinds, in the order in which a gold is tried: number, quantity, percentage, yes/no, date, ratio, time, matrix,
interval and inequality, list, tuple and set, equation and expression, text. Items of collections are compared by the
same rules as single values.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

from wethink.rewards.rules import containers, numerals, quantities, units, yes_no
from wethink.rewards.rules.containers import Items, read_items, read_matrix, read_ratio
from wethink.rewards.rules.dates import read_clock, read_date, verify_date, verify_time
from wethink.rewards.rules.mathematics import expressions, intervals, names
from wethink.rewards.rules.normalize import bare, formula, plain, signed, word_form
from wethink.rewards.verdict import Verdict, correct, unknown, wrong

MAX_NESTED = 4  # collections in collections

_EMPTY = {"∅", "{}", "empty set", "the empty set", "no solution", "no solutions", "no real solutions"}


@dataclass(frozen=True)
class Context:
    """What golds and answers are read beside: the problem, the relative tolerance, the depth in collections."""

    problem: str
    tolerance: float
    depth: int = 0


_INFINITE = re.compile(r"^(-|\+|)(?:(?:positive |plus )?infinity|∞)\.?$", re.IGNORECASE)
_POINT_NAME = re.compile(r"[A-Z]'? ?(\(.*,.*\))")
_MAY_NAME = re.compile("[=≈]| is | are | equals |approx")


def compare(answer: str, gold: str, context: Context) -> Verdict:
    """Compare an answer with a gold that names its kind; both without markup.

    The left side of a gold (`x = 3`) may be missing in the answer; if it is there, it must be the same.
    """
    same = plain(answer) == plain(gold)
    if belongs := re.fullmatch(r"[A-Za-zα-ω] ?∈ ?(\{.*\})\.?", plain(gold)):
        gold = belongs[1]
    gold = _POINT_NAME.sub(r"\1", plain(gold)) if _POINT_NAME.fullmatch(plain(gold)) else gold
    named = names.split(plain(gold), context.problem) if _MAY_NAME.search(gold) else None
    if named and named[0] and "=" in named[1] and len(read_items(plain(gold)).parts) > 1:
        named = None  # `x = 3, y = 4` is a list
    if named and not named[0]:
        gold = named[1]
    elif named and named[0] and kind_of(named[1], context) not in ("text", "expression", "equation"):
        mine = names.split(plain(answer), context.problem)
        if mine and "=" in mine[1] and len(read_items(answer).parts) > 1:
            mine = None  # `a = 2, b = 9` for `(a, b) = (2, 9)`
        if mine and mine[0] and not names.same(mine[0], named[0]):
            return replace(wrong(f"{mine[0]} instead of {named[0]}"), kind="equation")
        answer, gold = (mine[1] if mine else answer), named[1]
        if ":" in named[0]:  # `V_1:V_2 = 11:21` is no time
            context = replace(context, problem=f"{context.problem} (ratio)")
    elif named and len(values := names.bodies(plain(gold), context.problem)) > 1 and values[-1] != plain(gold):
        gold = values[0]  # `2\sqrt{3} \approx 3.46` as a gold
    kind = kind_of(gold, context)
    if same:
        return replace(correct("the same text"), kind=kind)
    verdict = _COMPARISONS[kind](answer, gold, context)
    return replace(verdict, kind=kind)


@lru_cache(maxsize=8192)
def kind_of(gold: str, context: Context) -> str:
    """Return the kind of value that a gold is."""
    text, problem = plain(gold), context.problem
    quantity = quantity_of(text, problem)
    if quantity is not None and quantities.is_trusted(quantity) and not quantities.is_hour(quantity):
        readings = units.readings(quantity.unit)
        if any(dimension == "share" for dimension, _ in readings):
            return "percentage"
        return "quantity" if quantity.unit else "number"
    if word_form(text) in yes_no.GOLDS:
        return "yes/no"
    if read_date(bare(text)) is not None:
        return "date"
    if read_ratio(text) and (containers.asks_for_ratio(problem) or read_clock(bare(text)) is None):
        return "ratio" if ":" in text or containers.asks_for_ratio(problem) else "text"
    if read_clock(bare(text)) is not None:
        return "time"
    return _composed_kind(gold, text, problem)


def _composed_kind(gold: str, text: str, problem: str) -> str:
    if read_matrix(text) is not None:
        return "matrix"
    if text.casefold() in _EMPTY:
        return "set"
    found = intervals.read(text)
    if found is not None and (not found.written or not intervals.is_point(text, problem)):
        return "interval" if found.written else "inequality"
    items = read_items(gold)
    if len(items.parts) > 1 or items.style == "{":
        return items.kind
    if "_" in text and formula(text) and len(re.findall("[A-Z]", text)) > 1:
        return "text"  # H_2O
    if expressions.is_expression(text) and expressions.readable(text, problem) is not False:
        signs = expressions.relation(text)[1::2]
        return "expression" if not signs else "equation" if signs == ["="] else "inequality"
    return "text"


def quantity_of(text: str, problem: str) -> quantities.Quantity | None:
    """Read a number with its unit; a letter that the problem calculates with is no unit."""
    found = quantities.read(text)
    if found and (letter := re.search(r"[0-9] ?([A-Za-z])$", text)) and letter[1] in names.algebraic(problem):
        return None  # 25k
    if found and re.fullmatch(r"[A-Za-z](?:\^.*)?", found.unit) and found.unit[0] in names.algebraic(problem):
        return None
    return found


def _quantity(answer: str, gold: str, context: Context) -> Verdict:
    wanted = quantities.read(plain(gold))
    assert wanted is not None
    text, problem = plain(answer), context.problem
    candidates = names.bodies(text, problem) if _MAY_NAME.search(text) else [text]
    if names.is_rounded(text) and wanted.integer and len(candidates) > 1:
        candidates = candidates[:1]
    for candidate in candidates:
        found = quantity_of(candidate, problem)
        if found is not None:
            verdict = quantities.same(found, wanted, problem, context.tolerance)
            if verdict.outcome == "correct" or candidate == candidates[-1]:
                return verdict
    if (
        wanted.unit
        and (joined := quantities.read(re.sub(r"(?<=[A-Za-z'\"]), (?:and )?(?=[0-9])", " ", text)))
        and "," in text
    ):
        return quantities.same(joined, wanted, problem, context.tolerance)  # `5 feet, 3 inches`
    gold_parts, parts = containers.measures(plain(gold)), containers.measures(text)
    if len(gold_parts) > 1 and len(gold_parts) == len(parts):  # `33 m, 26 cm` for `33 m and 26 cm`
        return _each(list(zip(parts, gold_parts, strict=True)), context, "equal list")
    if wanted.unit == "°" and "π" in text:
        return _expression(answer, gold, context)  # in radians
    if units.is_money(text) and re.search(r"[0-9],[0-9]{2}(?![0-9])", text):
        text = re.sub(r"(?<=[0-9]),00(?![0-9])", "", text)
        if (whole := quantity_of(text, problem)) is not None:
            return quantities.same(whole, wanted, problem, context.tolerance)
    if not wanted.integer and numerals.DECIMAL_COMMA.search(text):
        point = quantity_of(numerals.DECIMAL_COMMA.sub(r"\1.\2", text), problem)
        if point is not None:
            return quantities.same(point, wanted, problem, context.tolerance)
    return wrong("several answers" if len(read_items(answer).parts) > 1 else "not a number")


def _time(answer: str, gold: str, context: Context) -> Verdict:
    mine, wanted = bare(plain(answer)), bare(plain(gold))
    picometres = quantities.read(plain(gold)) if read_clock(mine) is None else None
    if picometres is not None and picometres.unit == "pm":
        return quantities.same(quantities.read(plain(answer)), picometres, context.problem, context.tolerance)
    return verify_time(mine, wanted, context.problem)


def _ratio(answer: str, gold: str, context: Context) -> Verdict:
    wanted, text = read_ratio(plain(gold)), plain(answer)
    for candidate in names.bodies(text, context.problem):
        found = read_ratio(candidate, fractions=wanted is not None and len(wanted) == 2)
        if found is not None:
            return correct("the same ratio") if found == wanted else wrong("another ratio")
    return wrong("not a ratio")


def _matrix(answer: str, gold: str, context: Context) -> Verdict:
    wanted = read_matrix(plain(gold))
    assert wanted is not None
    named = names.split(plain(answer), context.problem)
    found = read_matrix(named[1] if named else plain(answer))
    if found is None or context.depth > MAX_NESTED:
        return wrong("not a matrix")
    shape = [len(row) for row in wanted.rows]
    if found.bars != wanted.bars or [len(row) for row in found.rows] != shape:
        return wrong("a matrix of another shape")
    pairs = [
        (a, b) for mine, theirs in zip(found.rows, wanted.rows, strict=True) for a, b in zip(mine, theirs, strict=True)
    ]
    return _each(pairs, context, "equal matrix")


def _each(pairs: list[tuple[str, str]], context: Context, praise: str) -> Verdict:
    """Compare items pairwise by the rules for single values."""
    inner = replace(context, depth=context.depth + 1)
    for place, (mine, theirs) in enumerate(pairs, start=1):
        verdict = compare(mine, theirs, inner)
        if verdict.outcome == "unknown":
            return verdict
        if verdict.outcome == "wrong":
            return wrong(f"item {place} differs")
    return correct(praise)


def _interval(answer: str, gold: str, context: Context) -> Verdict:
    wanted, text = intervals.read(plain(gold)), plain(answer)
    named = names.split(text, context.problem)
    found = intervals.read(text) or (intervals.read(named[1]) if named else None)
    if wanted is None or (found is None and not wanted.written and re.search("[<>≤≥]", text)):
        return _expression(answer, gold, context)  # `-x > -1` for `x < 1`
    if found is None:
        return wrong("not an interval")
    return (
        correct("the same interval")
        if intervals.same(found, wanted, _equal_ends(context))
        else wrong("another interval")
    )


def _equal_ends(context: Context) -> Callable[[str, str], bool]:
    return lambda mine, theirs: compare(mine, theirs, replace(context, depth=context.depth + 1)).outcome == "correct"


def _collection(answer: str, gold: str, context: Context) -> Verdict:
    wanted = read_items(gold)
    if plain(gold).casefold() in _EMPTY:
        return (
            correct("the empty set") if plain(answer).casefold().rstrip(".") in _EMPTY else wrong("not the empty set")
        )
    if context.depth > MAX_NESTED:
        return wrong("nested too deeply")
    interval, inequality = intervals.read(plain(gold)), intervals.read(plain(answer))
    if wanted.style == "[" and interval and inequality and not inequality.written:
        return (
            correct("the same interval")
            if intervals.same(inequality, interval, _equal_ends(context))
            else wrong("another interval")
        )
    best = wrong("not a list")
    for candidate in _collections(answer, wanted, context):
        verdict = _same_items(candidate, wanted, context)
        if verdict.outcome != "wrong":
            return verdict
        best = verdict
    return best


def _collections(answer: str, wanted: Items, context: Context) -> list[Items]:
    """Return the readings of an answer as a collection: as written, behind its name, by names, by ±."""
    found = [read_items(answer)]
    text = plain(answer)
    if len(measures := containers.measures(text)) > 1:  # `33 m and 26 cm` may be one length or two
        found.append(Items("", measures))
    belongs = re.fullmatch(r"[A-Za-z] ?∈ ?(.*)", text)
    named = names.split(text, context.problem)
    if belongs or (named and names.split(named[1], context.problem) is None and len(found[0].parts) < 2):
        found.append(read_items(belongs[1] if belongs else named[1] if named else text))
    if match := _POINT_NAME.fullmatch(text):
        found.append(read_items(match[1]))
    if named and named[1][:1] in "([{":
        found.append(read_items(named[1]))
    if wanted.style in ("(", "") and found[0].style != "or":
        sides = [names.split(part, context.problem) for part in found[0].parts]
        letters = [side[0] for side in sides if side and re.fullmatch("[a-zA-Z]", side[0])]
        if len(letters) == len(sides) == len(wanted.parts) and len(set(letters)) == len(letters) and wanted.style:
            ordered = sorted((side for side in sides if side), key=lambda side: side[0])
            found.append(Items("(", tuple(side[1] for side in ordered)))
    if (assigned := names.assigned(text, named, wanted, context.problem)) is not None:
        found.append(assigned)
    if wanted.style in ("{", "or"):
        either = read_items(named[1] if named else text, alternatives=True)
        sides = [names.split(part, context.problem) for part in either.parts]
        bodies = tuple(side[1] if side else part for side, part in zip(sides, either.parts, strict=True))
        theirs = [side[0] for part in wanted.parts if (side := names.split(part, context.problem)) and side[0]]
        mine = list(dict.fromkeys(side[0] for side in sides if side))
        if len(mine) <= 1 and all(names.same(one, other) for one in mine for other in theirs if one):
            found.append(Items(either.style, bodies))
        if len(bodies) == 1 and (two := expressions.both_values(bodies[0], "")):
            found.append(Items("{", two))
    return found


def _same_items(found: Items, wanted: Items, context: Context) -> Verdict:
    if len(found.parts) != len(wanted.parts):
        return wrong(f"{len(found.parts)} items instead of {len(wanted.parts)}")
    if found.style == "or" and wanted.style not in ("{", "or"):
        return wrong("one or the other, where all are asked for")
    if found.style and wanted.style and not intervals.brackets_agree(found, wanted):
        return wrong("other brackets")
    if wanted.style not in ("{", "or"):
        return _each(list(zip(found.parts, wanted.parts, strict=True)), context, "equal list")
    inner, left = replace(context, depth=context.depth + 1), list(found.parts)
    for theirs in wanted.parts:
        match = next((mine for mine in left if compare(mine, theirs, inner).outcome == "correct"), None)
        if match is None:
            return wrong(f"{theirs} is missing")
        left.remove(match)
    return correct("equal set")


def _expression(answer: str, gold: str, context: Context) -> Verdict:
    text, wanted = plain(answer), plain(gold)
    if re.fullmatch("[A-Za-z0-9/.-]+", wanted) and word_form(text) == word_form(wanted):
        return correct("equal text")  # "N/A" or "3D" may be either
    if (
        "±" in wanted and "±" not in text and (two := expressions.both_values(wanted, context.problem))
    ):  # `2, -2` for `±2`
        return _collection(answer, f"{{{two[0]}, {two[1]}}}", context)
    if expressions.readable(wanted, context.problem) is None:
        return unknown("the comparison of expressions does not work")
    return expressions.verify_expression(text, wanted, context.problem)


def _text(answer: str, gold: str, context: Context) -> Verdict:
    mine, theirs = (
        _INFINITE.sub(r"\1∞", re.sub("^(?:negative|minus) (?=inf)", "-", signed(plain(text)))).removeprefix("+")
        for text in (answer, gold)
    )
    if mine.startswith("是") and not theirs.startswith("是"):  # 是红色
        mine = mine[1:]
    if word_form(mine) == word_form(theirs):
        measured = quantities.read(mine) if mine != theirs else None
        if measured is not None and units.readings(measured.unit):
            return wrong("a unit in another case")  # `3 TH` for `3 Th`
        return correct("equal text")
    if formula(mine) is not None and formula(mine) == formula(theirs):
        return correct("the same formula")
    return wrong("several answers" if len(read_items(answer).parts) > 1 else "another text")


Comparison = Callable[[str, str, Context], Verdict]


def _whole(verify: Callable[[str, str], Verdict]) -> Comparison:
    """Make a comparison of two whole texts without markup and outer brackets, whatever the problem."""
    return lambda answer, gold, context: verify(bare(plain(answer)), bare(plain(gold)))


_COMPARISONS: dict[str, Comparison] = {
    **dict.fromkeys(("number", "quantity", "percentage"), _quantity),
    **dict.fromkeys(("list", "tuple", "set"), _collection),
    **dict.fromkeys(("interval", "inequality"), _interval),
    **dict.fromkeys(("expression", "equation"), _expression),
    "yes/no": lambda answer, gold, context: yes_no.compare(plain(answer), plain(gold)),
    "date": _whole(verify_date),
    "time": _time,
    "ratio": _ratio,
    "matrix": _matrix,
    "text": _text,
}
