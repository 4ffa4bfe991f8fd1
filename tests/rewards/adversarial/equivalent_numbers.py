"""Right answers with numbers in them: counts, decimals, fractions, percentages, money, units, dates and times."""

from collections.abc import Iterator
from datetime import date

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import COUNT, READING, both_ways, cases, dressed

WORDS = {0: "zero", 1: "one", 3: "three", 7: "seven", 12: "twelve", 20: "twenty", 21: "twenty-one", 45: "forty-five"}
WORDS |= {100: "one hundred", 105: "one hundred and five", 1234: "one thousand two hundred thirty-four"}
WORDS |= {3000: "three thousand", 2000000: "two million"}


def integers() -> Iterator[Case]:
    for value, words in WORDS.items():
        n = str(value)
        latex = [
            f"${n}$",
            rf"\boxed{{{n}}}",
            rf"\({n}\)",
            rf"\[{n}\]",
            rf"\text{{{n}}}",
            rf"$\boxed{{{n}}}$",
            f"$${n}$$",
        ]
        forms = [
            *dressed(n),
            *latex,
            f"{n}.0",
            f"{n}.00",
            f"= {n}",
            f"x = {n}",
            f"n={n}",
            f"+{n}",
            words,
            words.capitalize(),
        ]
        forms += [
            f"{n} circles",
            f"There are {n} circles.",
            f"There are {n}.",
            f"{words} circles",
            f"There are {words}.",
            f"({n})",
        ]
        forms += [n.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"}), f"[{n}]", f"It is {n}.", f"Total: {n}"]
        if value >= 1000:
            forms += [f"{value:,}", f"{value:,}.0", f"{value:,}".replace(",", " "), f"{value:,}".replace(",", "\u202f")]
            forms += [
                f"{value:,} circles",
                rf"{value:,}".replace(",", "{,}"),
                f"{value:,}".replace(",", r"\,"),
                f"{value:.4g}" if value % 1000 == 0 else n,
            ]
        yield from both_ways("integer", COUNT, n, forms)
    for n in ("-5", "-12", "-1000"):
        forms = [
            n,
            n.replace("-", "−"),
            n.replace("-", "–"),
            f"${n}$",
            f"minus {n[1:]}",
            f"negative {n[1:]}",
            f"{n}.0",
            f"- {n[1:]}",
        ]
        yield from both_ways("integer", READING, n, forms)
    yield from cases(
        "integer",
        COUNT,
        "2000000",
        ["2 million", "2,000,000", "2.0 million", "2e6", r"2 \times 10^6", "2×10⁶", "2·10^6", "2 * 10^6"],
    )
    yield from cases("integer", COUNT, "12", ["a dozen", "12 pieces", "12 items in total"])


def decimals() -> Iterator[Case]:
    for value in ("0.5", "2.75", "3.14159", "1234.5", "0.001", "-0.25", "98.6", "0.125"):
        forms = [
            *dressed(value),
            f"{value}0",
            f"{value}00",
            f"${value}$",
            rf"\boxed{{{value}}}",
            f"≈ {value}",
            f"~{value}",
        ]
        forms += [
            f"about {value}",
            f"approximately {value}",
            f"x = {value}",
            f"x ≈ {value}",
            rf"\approx {value}",
            f"= {value}",
        ]
        forms += [
            value.replace("0.", ".") if value.startswith("0.") else value,
            f"{float(value):.4e}",
            f"{float(value):,}",
            f"It is {value}.",
        ]
        mantissa, _, power = f"{float(value):.5e}".partition("e")
        mantissa = mantissa.rstrip("0").rstrip(".")
        for times in (r"\times", "×", "x", "·", "*", r"\cdot"):
            forms += [
                rf"{mantissa} {times} 10^{{{int(power)}}}",
                rf"{mantissa}{times if times[0] != chr(92) else times + ' '}10^{int(power)}",
            ]
        yield from cases("decimal", READING, value, forms)
    yield from cases("decimal", READING, "3.14159", ["3.1416", "3.142", "3.1415926"])
    yield from cases("decimal", READING, "1234.5", ["1,234.5", "1 234.5", "1,234.50", "1.234,5"])


VULGAR = {"1/2": "½", "3/4": "¾", "1/4": "¼", "2/3": "⅔", "7/8": "⅞", "1/3": "⅓"}


def fractions() -> Iterator[Case]:
    for a, b in ((1, 2), (3, 4), (2, 3), (7, 8), (5, 3), (1, 3), (11, 12), (1, 4)):
        forms = [f"{a}/{b}", f"{a} / {b}", rf"\frac{{{a}}}{{{b}}}", rf"\dfrac{{{a}}}{{{b}}}", rf"$\frac{{{a}}}{{{b}}}$"]
        forms += [
            rf"\boxed{{\frac{{{a}}}{{{b}}}}}",
            f"{2 * a}/{2 * b}",
            f"{a / b:.5f}",
            f"{a / b:.6f}",
            f"{a}⁄{b}",
            f"({a}/{b})",
        ]
        forms += [rf"\frac {{{a}}} {{{b}}}", rf"\tfrac{{{a}}}{{{b}}}", rf"\({a}/{b}\)", f"{a}∕{b}", f"${a}/{b}$"]
        forms += [VULGAR[f"{a}/{b}"]] if f"{a}/{b}" in VULGAR else []
        forms += [rf"\frac{a}{b}"] if a < 10 and b < 10 else []
        yield from both_ways("fraction", READING, f"{a}/{b}", forms)
        yield from cases("fraction", READING, f"{a}/{b}", dressed(f"{a}/{b}"))
    yield from cases(
        "fraction", READING, "3/2", ["1 1/2", "1½", "1.5", r"1\frac{1}{2}", r"1 \frac{1}{2}", "one and a half"]
    )
    yield from cases("fraction", READING, "1/2", ["half", "one half", "a half", "one-half", "50%"])
    yield from cases("fraction", READING, "3/4", ["three quarters", "three-quarters", "three fourths", "75%"])
    yield from cases("fraction", READING, "1/4", ["a quarter", "one quarter", "one fourth", "25%"])
    yield from cases("fraction", READING, "2/3", ["two thirds", "two-thirds"])
    yield from cases("fraction", READING, "-3/4", [r"-\frac{3}{4}", "-0.75", "−3/4", r"\frac{-3}{4}", "-¾"])


def percentages() -> Iterator[Case]:
    problem = "What percentage is blue?"
    for n in ("5", "12.5", "45", "100", "0.5"):
        forms = [
            f"{n}%",
            f"{n} %",
            f"{n} percent",
            f"{n} per cent",
            rf"{n}\%",
            rf"${n}\%$",
            f"{n}",
            f"{float(n):.1f}%",
            f"{n} pct",
        ]
        forms += [rf"\boxed{{{n}\%}}", f"{n}%.", f"**{n}%**", f"The answer is {n}%.", f"{n}％", f"It is {n} percent."]
        yield from both_ways("percent", problem, f"{n}%", forms)
    yield from cases("percent", problem, "45%", ["0.45", "forty-five percent", "45.00 %"])
    yield from cases("percent", READING, "0.45", ["45%", "45 percent", r"45\%"])


def money() -> Iterator[Case]:
    problem = "What does the book cost?"
    forms = [
        "$5",
        "$5.00",
        "5 dollars",
        "5 dollar",
        "5 USD",
        "USD 5",
        "US$5",
        r"\$5",
        "$ 5",
        "5$",
        "5",
        "five dollars",
        "5.00",
        r"$\$5$",
    ]
    yield from both_ways("currency", problem, "$5", forms)
    forms = [
        "$1,234.50",
        "1234.5",
        "$1234.50",
        "1,234.50 dollars",
        "1234.50 USD",
        "$1,234.5",
        r"\$1,234.50",
        "1,234.50",
    ]
    yield from both_ways("currency", problem, "$1,234.50", forms)
    yield from both_ways(
        "currency", problem, "€20", ["20 euros", "20 euro", "20 EUR", "EUR 20", "20 €", "€20.00", "20"]
    )
    yield from both_ways("currency", problem, "£3.20", ["3.20 pounds", "GBP 3.20", "3.2 GBP", "£3.2", "3.20"])
    yield from cases(
        "currency", problem, "$3 million", ["$3,000,000", "3 million dollars", "3,000,000 USD", "$3.0 million"]
    )


UNITS = {
    "5 cm": [
        "5cm",
        "5 centimeters",
        "5 centimetres",
        "5 centimeter",
        r"5\text{ cm}",
        r"5 \text{ cm}",
        r"5~\mathrm{cm}",
        "0.05 m",
        "50 mm",
    ],
    "2.5 kg": ["2.5kg", "2.5 kilograms", "2500 g", "2.5 kilogram", r"2.5\,\text{kg}", "2,500 grams", "2.5 kgs"],
    "90 km/h": [
        "90km/h",
        "90 kilometers per hour",
        "90 kph",
        "90 kmh",
        "90 km/hr",
        r"90 \text{ km/h}",
        "25 m/s",
        "90 kilometres per hour",
    ],
    "30°": [
        "30 degrees",
        "30 °",
        r"30^\circ",
        r"30^{\circ}",
        "30 deg",
        r"$30^\circ$",
        "30 degree",
        r"30\degree",
        "30º",
    ],
    "12 m^2": [
        "12 m²",
        "12 m2",
        "12 square meters",
        "12 square metres",
        "12 sq m",
        r"12\text{ m}^2",
        "12 m^{2}",
        "120000 cm^2",
    ],
    "250 mL": ["250 ml", "250ml", "250 milliliters", "0.25 L", "250 millilitres", "0.25 liters", "250 cm^3"],
    "60 minutes": ["60 min", "60 mins", "1 hour", "1 h", "3600 seconds", "60 minute", "3600 s", "1 hr"],
    "20 °C": [
        "20°C",
        "20 degrees Celsius",
        "20 C",
        "20 celsius",
        r"20^\circ C",
        r"20^\circ\text{C}",
        "20 ℃",
        "20 degrees C",
    ],
    "6 ft": ["6 feet", "6 foot", "6ft", "72 inches", "2 yards", "6'", "72 in"],
    "3 hours": ["3 h", "3 hrs", "3 hr", "180 minutes", "three hours", "3.0 hours", "180 min"],
    "100 V": ["100 volts", "100V", "100 volt", "0.1 kV", "100 Volts"],
    "15 N": ["15 newtons", "15N", "15 Newton", r"15 \text{ N}", "0.015 kN"],
    "7 apples": ["7 apple", "seven apples", "7", "7 apples.", "There are 7 apples."],
    "2 MB": ["2MB", "2 megabytes", "2 megabyte", "2000 kB"],
}


def units() -> Iterator[Case]:
    for gold, answers in UNITS.items():
        number = gold.split()[0].rstrip("°")
        forms = [*dressed(gold), *answers, number, f"${number}$", rf"\boxed{{{number}}}", f"{number} ", f"x = {gold}"]
        yield from both_ways("unit", READING, gold, forms)
        for answer in answers:
            yield from cases(
                "unit", READING, gold, [f"The answer is {answer}.", f"**{answer}**", rf"\boxed{{{answer}}}"]
            )


def dates() -> Iterator[Case]:
    for day in (date(2024, 3, 5), date(1999, 12, 31), date(2020, 2, 29), date(1945, 5, 8), date(2011, 11, 25)):
        d, month, short, y, weekday = day.day, day.strftime("%B"), day.strftime("%b"), day.year, day.strftime("%A")
        end = "th" if 10 <= d % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(d % 10, "th")
        forms = [
            f"{month} {d}, {y}",
            f"{d} {month} {y}",
            f"{month} {d}{end}, {y}",
            f"{d}{end} {month} {y}",
            f"{short} {d}, {y}",
        ]
        forms += [
            f"{d} {short} {y}",
            f"{d}{end} of {month}, {y}",
            f"{weekday}, {month} {d}, {y}",
            f"{month.upper()} {d}, {y}",
        ]
        forms += [
            f"{short}. {d}, {y}",
            f"{d}-{short}-{y}",
            f"{y}/{day.month:02}/{d:02}",
            f"{y}.{day.month:02}.{d:02}",
            f"{month} {d} {y}",
        ]
        forms += [
            f"the {d}{end} of {month} {y}",
            f"{y}-{day.month:02}-{d:02}",
            f"{d:02} {month} {y}",
            f"{d}. {month} {y}",
        ]
        forms += [f"{day.month}/{d}/{y}", f"{day.month:02}/{d:02}/{y}"]
        yield from both_ways("date", "On which date?", day.isoformat(), forms)
        yield from cases("date", "On which date?", f"{month} {d}, {y}", dressed(f"{month} {d}, {y}"))
        yield from cases(
            "date",
            "In which month?",
            f"{month} {y}",
            [f"{month}, {y}", f"{short} {y}", f"{month} of {y}", f"{y}-{day.month:02}"],
        )
        yield from cases(
            "date",
            "On which day?",
            f"{month} {d}",
            [f"{d} {month}", f"{short} {d}", f"{d}{end} of {month}", f"{month} {d}{end}"],
        )
        yield from cases("date", "In which year?", str(y), [f"{y}.", f"the year {y}", f"in {y}", f"In {y}.", f"{y} AD"])
    clock = {"3:45 pm": ["3:45 PM", "15:45", "3:45 p.m.", "3:45pm", "03:45 PM", "15:45:00", "It is 3:45 pm."]}
    clock |= {
        "10:10": ["10:10 am", "10:10 AM", "10:10.", "10:10 o'clock"],
        "7:00": ["7 o'clock", "7:00 am", "07:00", "7 am"],
    }
    for gold, answers in clock.items():
        yield from cases("time", "What time is it?", gold, [gold, *answers])
