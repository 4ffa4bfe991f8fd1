"""Units: symbols that differ in case only are equal only where pint gives them one value."""

from itertools import permutations

import pint
import pytest

from wethink.rewards.rules import units, verify

PREFIXES = ("", *"afpnumcdhkMGTPEZY", "da")
SYMBOLS = (*sorted(units._SI), "ft", "in", "h", "min", "b", "lb", "oz", "mi", "yd")


def by_fold() -> dict[str, set[str]]:
    groups: dict[str, set[str]] = {}
    for symbol in {prefix + symbol for prefix in PREFIXES for symbol in SYMBOLS}:
        groups.setdefault(symbol.casefold(), set()).add(symbol)
    return {fold: group for fold, group in groups.items() if len(group) > 1}


@pytest.mark.parametrize("figure", ["3", "249"])
def test_no_symbol_is_equal_to_one_of_another_value_that_differs_in_case_only(figure: str) -> None:
    registry, tried, equal = pint.UnitRegistry(), 0, set()
    for group in by_fold().values():
        for gold, answer in permutations(sorted(group), 2):
            tried += 1
            verdict = verify.verify(f"{figure} {answer}", f"{figure} {gold}", "What is the reading?", "FIB", 0.001)
            if verdict.outcome == "correct":
                equal.add((gold, answer))
    assert tried > 400
    # `Min` is mega-inch to pint, and a minute at the start of a line to everybody else.
    different = {
        pair for pair in equal - {("min", "Min"), ("Min", "min")} if registry.Unit(pair[0]) != registry.Unit(pair[1])
    }
    assert different == set()
    assert ("mL", "ml") in equal  # not everything is refused


@pytest.mark.parametrize(
    ("symbol", "meant"),
    [
        ("KG", "kg"),
        ("KM", "km"),
        ("CM", "cm"),
        ("KW", "kW"),
        ("HZ", "Hz"),
        ("Mhz", "MHz"),
        ("LBS", "lb"),
        ("KPA", "kPa"),
    ],
)
def test_another_case_counts_where_it_can_mean_one_unit(symbol: str, meant: str) -> None:
    assert units.readings(symbol) == units.readings(meant) != ()


@pytest.mark.parametrize("symbol", ["mw", "MM", "FT", "PM", "mhz", "hats", "quarters", "Th"])
def test_a_symbol_of_two_meanings_in_another_case_is_no_unit(symbol: str) -> None:
    assert units.readings(symbol) == ()


@pytest.mark.parametrize(
    ("name", "symbol"),
    [
        ("millisiemens", "mS"),
        ("milliradians", "mrad"),
        ("picoamperes", "pA"),
        ("picometre", "pm"),
        ("gigabecquerel", "GBq"),
        ("microfarads", "µF"),
        ("terabytes", "TB"),
        ("degrees centigrade", "°C"),
        ("deg F", "°F"),
    ],
)
def test_a_prefixed_name_is_its_symbol(name: str, symbol: str) -> None:
    assert units.readings(name) == units.readings(symbol) != ()
