r"""Wrong numbers: a word that changes the number before it, malformed groups, other prefixes, currencies and shares."""

from collections.abc import Iterator
from itertools import permutations

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import COUNT, READING, cases

FIGURES = ("3", "7", "12", "40")
# Each of these words makes another number of the figure before it, or no number at all.
POWERS = (
    "squared",
    "cubed",
    "to the fourth power",
    "to the power of three",
    "factorial",
    "tripled",
    "doubled",
    "inverted",
)
MULTIPLIERS = (
    "thousands",
    "millions",
    "billions",
    "trillions",
    "hundreds",
    "dozen",
    "dozens",
    "gross",
    "score",
    "mln",
    "bn",
)
PARTS = ("halves", "thirds", "quarters", "fifths", "sevenths", "tenths", "hundredths", "thousandths")
SIGNS = ("below zero", "under zero", "negative", "missing", "fewer", "or more", "or fewer", "and counting", "plus one")
OPERATIONS = (
    "modulo 2",
    "mod 2",
    "choose 3",
    "over 3",
    "divided by 4",
    "times 3",
    "plus 4",
    "minus 1",
    "multiplied by 2",
)
BEFORE = ("half of", "twice", "double", "the square root of", "the square of", "the inverse of", "a third of", "up to")
BEFORE += (
    "more than",
    "fewer than",
    "at least",
    "at most",
    "nearly",
    "almost",
    "a multiple of",
    "a factor of",
    "minus",
)


def words_after_numbers() -> Iterator[Case]:
    for figure in FIGURES:
        wrong = [f"{figure} {word}" for word in (*POWERS, *MULTIPLIERS, *PARTS, *SIGNS, *OPERATIONS)]
        wrong += [f"{word} {figure}" for word in BEFORE]
        wrong += [f"{figure}-{word}" for word in (*PARTS[1:4], "squared")]
        for problem in (READING, COUNT):
            yield from cases("integer", problem, figure, wrong, family="words_after_numbers")
        yield from cases("integer", COUNT, figure, ordinals(int(figure)), family="words_after_numbers")
    spoken = {"three": "3", "seven": "7", "twelve": "12", "forty": "40"}
    for word, figure in spoken.items():
        wrong = [f"{word} {last}" for last in (*POWERS[:3], *MULTIPLIERS[:7], *PARTS[1:], "below zero", "or more")]
        yield from cases("integer", READING, figure, wrong, family="words_after_numbers")
    for figure in ("2.5", "0.75", "3/4"):
        wrong = [
            f"{figure} {word}" for word in (*POWERS[:2], *MULTIPLIERS[:4], "dozen", "below zero", "percentage points")
        ]
        yield from cases("decimal", READING, figure, wrong, family="words_after_numbers")


def ordinals(n: int) -> list[str]:
    end = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return [f"{n}{end}", f"the {n}{end}", f"the {n}{end} circle"]


def decades() -> Iterator[Case]:
    for year in (1850, 1990, 2010):
        wrong = [
            f"{year}s",
            f"the {year}s",
            f"{year}'s",
            f"the late {year}s",
            f"{year} BC",
            f"{year}-{year + 9}",
            f"before {year}",
        ]
        yield from cases("integer", "In which year was it built?", str(year), wrong, family="decades")
    for figure in ("20", "90"):
        yield from cases("integer", READING, figure, [f"the {figure}s", f"the '{figure}s"], family="decades")


def units_to_a_power() -> Iterator[Case]:
    for figure, unit, name in (
        ("7", "m", "metres"),
        ("3", "cm", "centimeters"),
        ("12", "km", "kilometres"),
        ("5", "ft", "feet"),
    ):
        wrong = [f"{figure} {unit}^2", f"{figure} {unit}²", f"{figure} {name} squared", f"{figure} square {name}"]
        wrong += [f"{figure} {unit}^3", f"{figure} cubic {name}", f"{figure} {name} cubed", f"{figure} {unit}^{{-1}}"]
        wrong += [f"{figure} per {unit}", f"{figure}/{unit}", f"{figure} {unit}/s", f"{figure} thousand {unit}"]
        yield from cases("unit", READING, f"{figure} {unit}", wrong, family="units_to_a_power")
        wrong = [
            f"{figure} {unit}",
            f"{figure} {unit}^3",
            f"{figure} {name}",
            f"{figure} {name} cubed",
            f"{figure} {unit}^4",
        ]
        yield from cases("unit", READING, f"{figure} {unit}^2", wrong, family="units_to_a_power")


def malformed_groups() -> Iterator[Case]:
    for digits in ("111", "333", "750", "125"):
        wrong = [
            f"0,{digits}",
            f"0.{digits}",
            f"0,{digits},000",
            f"00,{digits}",
            f"0 {digits}.0.0",
            f"{digits[0]},{digits[1:]}",
        ]
        yield from cases("thousands", READING, digits, wrong, family="malformed_groups")
        yield from cases(
            "decimal", READING, f"0.{digits}", [digits, f"{digits},000", f"1,{digits}"], family="malformed_groups"
        )
    for value in ("12345", "987654", "4210000"):
        n = int(value)
        wrong = [f"{value[0]},{value[1:]}", f"{value[:-2]},{value[-2:]}", f"{value[:-3]}.{value[-3:]}.{value[:2]}"]
        wrong += [f"{n:,}"[:-1], f"{n:,}0", f"{n:,},000", f"{n + 1:,}", f"{n - 1000:,}"]
        wrong += [f"{n:,}".replace(",", r",\!") + "0", rf"{n + 10:,}".replace(",", "{,}")]
        yield from cases("thousands", COUNT, value, wrong, family="malformed_groups")


# Units whose symbols differ in case only: a reading without case merges them.
CASE = (
    ("mW", "MW"),
    ("mV", "MV"),
    ("mA", "MA"),
    ("mHz", "MHz"),
    ("mPa", "MPa"),
    ("mN", "MN"),
    ("mJ", "MJ"),
    ("mm", "Mm"),
)
CASE += (("mg", "Mg"), ("mΩ", "MΩ"), ("ms", "Ms"), ("Gb", "GB"), ("kb", "kB"), ("nm", "Nm"), ("pF", "PF"))


def prefixes_by_case() -> Iterator[Case]:
    for small, large in CASE:
        for figure in ("5", "2.5", "330"):
            for gold, wrong in ((small, large), (large, small)):
                answers = [
                    f"{figure} {wrong}",
                    f"{figure}{wrong}",
                    rf"{figure} \text{{ {wrong}}}",
                    rf"{figure}~\mathrm{{{wrong}}}",
                ]
                yield from cases("unit", READING, f"{figure} {gold}", answers, family="prefixes_by_case")
    for milli, mega in (("milliwatts", "megawatts"), ("milligrams", "megagrams"), ("millihertz", "megahertz")):
        yield from cases("unit", READING, f"8 {milli}", [f"8 {mega}", f"8 {mega[4:]}"], family="prefixes_by_case")
    yield from cases("unit", READING, "1 mW", ["1000000 W", "1 kW", "1000 W", "0.001 MW"], family="prefixes_by_case")
    yield from cases("unit", READING, "3 MW", ["0.003 W", "3 W", "3000 W", "3 GW"], family="prefixes_by_case")


def units_on_expressions() -> Iterator[Case]:
    for value in (r"2\sqrt{3}", r"6\pi", r"\frac{5\pi}{2}", r"\sqrt{5}", r"4 + \sqrt{2}", r"\frac{\sqrt{3}}{2}"):
        for unit, others in (
            ("cm", ("m", "mm", "cm^2", "kg", "km")),
            ("m^2", ("m", "cm^2", "m^3", "s")),
            ("kg", ("g", "N", "m")),
        ):
            wrong = [f"{value} {other}" for other in others]
            wrong += [rf"{value} \text{{ {other}}}" for other in others] + [
                rf"{value}\,\mathrm{{{other}}}" for other in others
            ]
            yield from cases("mathematics", READING, f"{value} {unit}", wrong, family="units_on_expressions")
            yield from cases("mathematics", READING, rf"{value} \text{{ {unit}}}", wrong, family="units_on_expressions")
            wrong = [f"3{value} {unit}", f"-{value} {unit}", rf"{value} + 1 \text{{ {unit}}}"]
            yield from cases("mathematics", READING, f"{value} {unit}", wrong, family="units_on_expressions")


def algebra_as_units() -> Iterator[Case]:
    alias = {
        "m": ("metres", "cm", "00 cm"),
        "g": ("grams", "000 mg", "kg"),
        "t": ("tonnes", "000 kg", "tons"),
        "s": ("seconds", "000 ms", "sec"),
    }
    alias |= {
        "h": ("hours", "0 minutes", "hr"),
        "L": ("litres", "000 mL", "liters"),
        "N": ("newtons", "000 mN", "J"),
        "d": ("days", "day", "weeks"),
    }
    for letter, (name, smaller, third) in alias.items():
        for a, b in ((1, 1), (3, 2), (2, 5)):
            total = a + b
            shown = f"{a if a > 1 else ''}{letter} + {b if b > 1 else ''}{letter}"
            wrong = [
                f"{total}",
                f"{total} {name}",
                f"{total}{smaller}",
                f"{total} {third}",
                f"{total}{letter}^2",
                f"{total + 1}{letter}",
            ]
            for problem in (f"Simplify {shown}.", f"Collect like terms: {shown}", f"Write ${shown}$ as a single term."):
                yield from cases("mathematics", problem, f"{total}{letter}", wrong, family="algebra_as_units")


def shares() -> Iterator[Case]:
    for n in (5, 50, 12):
        wrong = [
            f"{n * 100}%",
            f"{n / 100:g}%",
            f"{n} percentage points less",
            f"{n}‰",
            f"{n * 10}%",
            f"{n * 100}",
            f"{n * 100} percent",
        ]
        wrong += [
            rf"{n * 100}\%",
            f"{n} out of 1000",
            f"{n} per mille",
            f"{n} basis points",
            f"{100 - n if n != 50 else 51}%",
        ]
        for gold in (f"{n}", f"{n}%", rf"{n}\%"):
            yield from cases("percent", "What percent of the area is shaded?", gold, wrong, family="shares")
            yield from cases("percent", "By what percentage did it rise?", gold, [*wrong, f"-{n}%"], family="shares")
    for n in ("0.5", "0.08", "0.75"):
        wrong = [f"{n}%", rf"{n}\%", f"{n} percent", f"{float(n) * 1000:g}%", f"{float(n) * 10:g}%"]
        yield from cases("percent", READING, n, wrong, family="shares")
    for n in (7, 40):
        yield from cases(
            "percent", READING, str(n), [f"{n}%", rf"{n}\%", f"{n} percent", f"{n} per cent", f"{n}‰"], family="shares"
        )


SIGNS_OF_MONEY = {
    "$": "dollars",
    "€": "euros",
    "£": "pounds",
    "¥": "yen",
    "₹": "rupees",
    "₩": "won",
    "₽": "roubles",
    "₺": "lira",
}
CODES = ("USD", "EUR", "GBP", "JPY", "INR", "KRW", "CHF", "SEK", "PLN", "BRL", "CNY")


def money_and_scales() -> Iterator[Case]:
    for (mine, _), (theirs, name) in permutations(SIGNS_OF_MONEY.items(), 2):
        yield from cases(
            "currency",
            "What does it cost?",
            f"{mine}40",
            [f"{theirs}40", f"40 {name}", f"40{theirs}"],
            family="money_and_scales",
        )
    for mine, theirs in permutations(CODES, 2):
        yield from cases(
            "currency", "What does it cost?", f"40 {mine}", [f"40 {theirs}", f"{theirs} 40"], family="money_and_scales"
        )
    for figure in ("1.2", "3", "7.5"):
        scales = (("K", "thousand"), ("M", "million"), ("B", "billion"), ("T", "trillion"))
        for (mine, word), (theirs, other) in permutations(scales, 2):
            wrong = [f"{figure}{theirs}", f"{figure} {other}", f"${figure}{theirs}", figure, f"${figure} {other}"]
            yield from cases("thousands", COUNT, f"{figure} {word}", wrong, family="money_and_scales")
            yield from cases("currency", "What was the revenue?", f"${figure}{mine}", wrong, family="money_and_scales")


def parts_of_measures() -> Iterator[Case]:
    for feet, inches in ((5, 3), (6, 2), (4, 11)):
        wrong = [
            f"{feet}.{inches} ft",
            f"{feet} ft",
            f"{inches} in",
            f"{feet} ft {inches + 1} in",
            f"{feet + 1}'{inches}\"",
            f"{inches}'{feet}\"",
        ]
        wrong += [
            f"{feet} ft {inches} cm",
            f"{feet} m {inches} in",
            f"{feet} in {inches} ft",
            f"{feet}{inches} ft",
            f"{feet * 12} inches",
        ]
        yield from cases("unit", "How tall is she?", f"{feet} ft {inches} in", wrong, family="parts_of_measures")
    for hours, minutes in ((2, 30), (1, 45), (3, 20)):
        wrong = [
            f"{hours}.{minutes} hours",
            f"{hours} hours",
            f"{minutes} minutes",
            f"{hours} h {minutes + 5} min",
            f"{hours} min {minutes} s",
        ]
        wrong += [
            f"{hours + 1} hours {minutes} minutes",
            f"{hours * 60} minutes",
            f"{minutes} hours {hours} minutes",
            f"{hours} days {minutes} minutes",
        ]
        yield from cases(
            "unit", "How long did it take?", f"{hours} hours {minutes} minutes", wrong, family="parts_of_measures"
        )
        yield from cases(
            "unit", "How long did it take?", f"{hours * 60 + minutes} minutes", wrong, family="parts_of_measures"
        )


def powers_of_ten() -> Iterator[Case]:
    for mantissa, power in (("3.2", 5), ("6.02", 23), ("1.6", -19), ("9.1", -4)):
        wrong = [
            rf"{mantissa} \times 10^{{{-power}}}",
            rf"{mantissa} \times 10^{{{power + 1}}}",
            f"{mantissa}e{power - 1}",
            f"{mantissa} x 10",
        ]
        wrong += [
            rf"{mantissa} \times {abs(power)}^{{10}}",
            rf"{mantissa} + 10^{{{power}}}",
            mantissa,
            *([f"{mantissa} × 10{power}"] if power > 0 else []),
            f"10^{power}",
        ]
        wrong += [
            rf"-{mantissa} \times 10^{{{power}}}",
            rf"{mantissa[0]} \times 10^{{{power}}}" if mantissa[2:] != "0" else "0",
        ]
        yield from cases("decimal", READING, rf"{mantissa} \times 10^{{{power}}}", wrong, family="powers_of_ten")


NUMBERS = (words_after_numbers, decades, units_to_a_power, malformed_groups, prefixes_by_case, units_on_expressions)
NUMBERS += (algebra_as_units, shares, money_and_scales, parts_of_measures, powers_of_ten)
