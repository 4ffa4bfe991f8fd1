# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of measures: units and their products, money, two parts, dates, times, ordinals, units on roots and π, like terms."""

import random
from fractions import Fraction

from benchmarks.rewards.values.kinds import Kind, Trap

# symbol: (names, the symbol whose only difference is the case of its prefix or letter)
SYMBOLS = {
    "cm": ("centimeters", "centimetres"), "kg": ("kilograms", "kilogram"), "mL": ("milliliters", "ml"), "km": ("kilometers", "kilometres"),
    "MW": ("megawatts", "megawatt"), "mW": ("milliwatts", "milliwatt"), "kV": ("kilovolts", "kilovolt"), "MHz": ("megahertz", "MHz"),
    "mA": ("milliamperes", "milliamps"), "MPa": ("megapascals", "megapascal"), "ms": ("milliseconds", "millisecond"), "GB": ("gigabytes", "gigabyte"),
    "N": ("newtons", "newton"), "J": ("joules", "joule"), "mm": ("millimeters", "millimetres"), "mol": ("moles", "mole"), "kPa": ("kilopascals", "kilopascal"),
    "mS": ("millisiemens", "mS"), "pA": ("picoamperes", "picoampere"), "TB": ("terabytes", "terabyte"), "Pa": ("pascals", "pascal"), "mrad": ("milliradians", "milliradian"), "pm": ("picometers", "picometre"),
}  # fmt: skip
CASE = {
    "MW": "mW",
    "mW": "MW",
    "MHz": "mHz",
    "mA": "MA",
    "MPa": "mPa",
    "ms": "Ms",
    "GB": "Gb",
    "mm": "Mm",
    "mS": "ms",
    "pA": "Pa",
    "TB": "Tb",
    "Pa": "pA",
    "mrad": "Mrad",
    "pm": "Pm",
}
SHIFTED = {
    "cm": ("m", 100),
    "kg": ("g", Fraction(1, 1000)),
    "km": ("m", Fraction(1, 1000)),
    "mL": ("L", 1000),
    "MW": ("kW", Fraction(1, 1000)),
    "mm": ("cm", 10),
    "ms": ("s", 1000),
}
Quantity = tuple[Fraction, str]


def figure(value: Fraction) -> str:
    return f"{float(value):.8f}".rstrip("0").rstrip(".")


def draw_quantity(rng: random.Random) -> Quantity:
    return Fraction(rng.randint(2, 400), rng.choice((1, 1, 2, 4))), rng.choice(sorted(SYMBOLS))


def with_unit(value: Quantity, rng: random.Random) -> str:
    n, unit = figure(value[0]), value[1]
    forms = [
        f"{n} {unit}",
        f"{n}{unit}",
        rf"{n} \text{{ {unit}}}",
        rf"{n}\,\mathrm{{{unit}}}",
        rf"{n} \mathrm{{~{unit}}}",
        f"${n}$ {unit}",
        rf"{n}~\text{{{unit}}}",
    ]
    forms += (
        [f"{n} {name}" for name in SYMBOLS.get(unit, ())] + [f"${n}$ {SYMBOLS[unit][0]}"] if unit in SYMBOLS else []
    )
    return rng.choice(forms)


def converted(value: Quantity, rng: random.Random) -> str:
    number, unit = value
    if unit not in SHIFTED:
        return with_unit(value, rng)
    other, factor = SHIFTED[unit]
    return f"{figure(number / factor)} {other}"


def near_quantity(value: Quantity, rng: random.Random) -> Quantity:
    number, unit = value
    other = rng.choice([one for one in sorted(SYMBOLS) if one != unit])
    return rng.choice(
        [
            (number + rng.randint(1, 9) * max(1, number // 20), unit),
            (number * 10, unit),
            (-number, unit),
            (number, CASE.get(unit, other)),
            (number, other),
        ]
    )


def quantity_traps(value: Quantity, rng: random.Random) -> list[Trap]:
    n, unit = figure(value[0]), value[1]
    return [(f"{n} {unit}^2", "a square"), (f"{n} {unit}/s", "a rate"), (f"{n} thousand {unit}", "a thousand times"), (f"less than {n} {unit}", "a bound"),
            (f"{n} {SYMBOLS[unit][0]} squared", "a square"), (f"{n} {unit} or {n}0 {unit}", "two answers"), (f"{n}%", "a share")]  # fmt: skip


PRODUCTS = {
    "m/s^2": ("m s^{-2}", r"\mathrm{~m/s^2}", "m/s²", "meters per second squared", r"\text{ m/s}^2", r"\,\mathrm{m\,s^{-2}}"),
    "km/h": ("km/hr", "kilometers per hour", "kmph", r"\text{ km/h}", "km h^{-1}", r"\mathrm{~km/h}"),
    "g/cm^3": ("g cm^{-3}", "g/cm³", "grams per cubic centimeter", r"\mathrm{~g/cm^3}", r"\text{ g/cm}^3"),
    "cm^2": ("cm²", "square centimeters", r"\text{ cm}^2", r"\mathrm{~cm}^{2}", "sq cm", "cm^{2}"),
    "m^3": ("m³", "cubic meters", r"\text{ m}^3", r"\mathrm{~m}^{3}", "m^{3}", "cubic metres"),
    "N m": ("N·m", "newton meters", r"\mathrm{~N\cdot m}", r"\text{ N m}"),
    "kWh": ("kilowatt-hours", "kilowatt hours", r"\text{ kWh}", "kW h"),
}  # fmt: skip


def product(value: Quantity, rng: random.Random) -> str:
    return f"{figure(value[0])} {rng.choice((value[1], *PRODUCTS[value[1]]))}"


def near_product(value: Quantity, rng: random.Random) -> Quantity:
    number, unit = value
    return rng.choice(
        [
            (number + rng.randint(1, 9) * max(1, number // 20), unit),
            (number, rng.choice([one for one in sorted(PRODUCTS) if one != unit])),
        ]
    )


def product_traps(value: Quantity, rng: random.Random) -> list[Trap]:
    number, unit = figure(value[0]), value[1]
    swap = {"m/s^2": "m/s", "km/h": "h/km", "g/cm^3": "g/cm^2", "cm^2": "cm", "m^3": "m^2", "N m": "N/m", "kWh": "kW/h"}
    return [(f"{number} {swap[unit]}", "another unit"), (rf"{number} \text{{ {swap[unit]}}}", "another unit")]


MONEY = {
    "$": ("USD", "dollars"),
    "€": ("EUR", "euros"),
    "£": ("GBP", "pounds"),
    "¥": ("JPY", "yen"),
    "₹": ("INR", "rupees"),
    "₩": ("KRW", "won"),
}


def money(value: tuple[int, str], rng: random.Random) -> str:
    cents, sign = value
    code, name = MONEY[sign]
    amount = f"{cents // 100:,}" + (f".{cents % 100:02}" if cents % 100 else rng.choice(("", ".00")))
    shown = rf"\{sign}" if sign == "$" and rng.random() < 0.3 else sign
    return rng.choice(
        [
            f"{shown}{amount}",
            f"{shown} {amount}",
            f"{amount} {code}",
            f"{code} {amount}",
            f"{amount} {name}",
            f"{sign}{amount.replace(',', '')}",
        ]
    )


def near_money(value: tuple[int, str], rng: random.Random) -> tuple[int, str]:
    cents, sign = value
    return rng.choice(
        [
            (cents + cents // 10 + 100, sign),
            (cents * 10, sign),
            (cents * 100, sign),
            (cents, rng.choice([one for one in MONEY if one != sign])),
        ]
    )


def money_traps(value: tuple[int, str], rng: random.Random) -> list[Trap]:
    shown = f"{value[1]}{value[0] // 100}"
    return [
        (f"{shown} million", "a million times"),
        (f"{shown}k", "a thousand times"),
        (f"more than {shown}.{value[0] % 100:02}", "a bound"),
        (f"{shown} or {shown}0", "two answers"),
    ]


Term = tuple[int, str]
LETTERS = "mgtshLNdbkxyzw"


def like_terms(value: Term, rng: random.Random) -> str:
    n, letter = value
    return rng.choice(
        [f"{n}{letter}", f"{n} {letter}", rf"{n} \cdot {letter}", f"{n}*{letter}", rf"{letter} \cdot {n}"]
    )


def like_problem(value: Term, rng: random.Random) -> str:
    n, letter = value
    return rng.choice(["Collect like terms: {}", "Simplify {}.", "Write {} as a single term."]).format(
        f"{n + 2}{letter} - 2{letter}"
    )


def like_traps(value: Term, rng: random.Random) -> list[Trap]:
    n, letter = value
    names = {
        "m": "metres",
        "g": "grams",
        "t": "tonnes",
        "s": "seconds",
        "h": "hours",
        "L": "litres",
        "N": "newtons",
        "d": "days",
    }
    small = {"m": "cm", "g": "mg", "s": "ms", "L": "mL", "t": "kg"}
    traps = [(str(n), "a number"), (f"{n}{letter}^2", "a square"), (f"{n}{letter}{letter}", "a square")]
    traps += [(f"{n} {names[letter]}", "a measure")] if letter in names else []
    return traps + (
        [(f"{n * (100 if letter == 'm' else 1000)} {small[letter]}", "a measure")] if letter in small else []
    )


def near_term(value: Term, rng: random.Random) -> Term:
    n, letter = value
    return rng.choice(
        [(n + 1, letter), (-n, letter), (n * 10, letter), (n, rng.choice([one for one in LETTERS if one != letter]))]
    )


MEASURES = (
    Kind("units", "What is the reading?", draw_quantity, near_quantity, (lambda v, rng: f"{figure(v[0])} {v[1]}", with_unit, with_unit, converted), quantity_traps, golds=2),
    Kind("products of units", "What is the value?", lambda rng: (Fraction(rng.randint(12, 990), 10), rng.choice(sorted(PRODUCTS))), near_product,
         (lambda v, rng: f"{figure(v[0])} {v[1]}", product, product), product_traps, golds=2),
    Kind("currencies", "What does it cost?", lambda rng: (rng.choice((rng.randint(2, 4000) * 100, rng.randint(200, 300000))), rng.choice(list(MONEY))), near_money, (money, money), money_traps, golds=1),
    Kind("like terms", like_problem, lambda rng: (rng.randint(2, 30), rng.choice(LETTERS)), near_term, (lambda v, rng: f"{v[0]}{v[1]}", like_terms, like_terms), like_traps, golds=1, maths=True),
)  # fmt: skip
