# ruff: noqa: E501 — a table reads better in long lines
r"""Right answers in the forms in which people and models write them: a grader that never says 'correct' fails here.

The forms are those of ordinary writing, Markdown, LaTeX and JSON, chosen without a look at what the rules
can read. Where both sides of a pair may stand in a row, the pair is also taken the other way round, so that
odd golds are covered as well as odd answers.
"""

from collections.abc import Iterator
from datetime import date

from tests.attacks import BOX, CITIES, COLOURS, POINT, Case, wrap

COUNT = "How many circles are there?"
READING = "What is the value?"


def equivalent() -> list[Case]:
    """Every pair of a gold and another form of it, without repetitions, in a fixed order."""
    return list(dict.fromkeys(case for family in FAMILIES for case in family()))


def _cases(
    rule: str, problem: str, gold: str, answers: Iterator[str] | list[str], category: str = "FIB"
) -> Iterator[Case]:
    for answer in answers:
        yield Case("equivalent", rule, wrap(answer), problem, gold, category)


def _both_ways(rule: str, problem: str, gold: str, answers: list[str]) -> Iterator[Case]:
    yield from _cases(rule, problem, gold, answers)
    for answer in answers:
        yield from _cases(rule, problem, answer, [gold])


def _dressed(answer: str) -> list[str]:
    """What surrounds an answer and is not part of it."""
    return [
        *(answer, f"{answer}.", f"**{answer}**", f"`{answer}`", f'"{answer}"', f"  {answer}\n", f"Answer: {answer}"),
        *(
            f"The answer is {answer}.",
            f"The correct answer is {answer}",
            f"Final answer: {answer}",
            f"The answer is: {answer}",
        ),
        *(f"**Answer:** {answer}", f"the final answer is {answer}.", f"*{answer}*", f"So the answer is {answer}."),
    ]


def options() -> Iterator[Case]:
    drinks = "What does she drink?\n(A) a cup of tea\n(B) milk\n(C) orange juice\n(D) none of the above"
    numbers = "How far is it?\nA. 5 km\nB. 10 km\nC. 1,500 km\nD. 20 km\nE. unknown"
    for problem, listed in (
        (COLOURS, {"A": "red circle", "B": "blue star", "C": "green square", "D": "yellow cross"}),
        (CITIES, {"A": "Paris", "B": "New York", "C": "The Hague", "D": "Rio de Janeiro"}),
        (drinks, {"A": "a cup of tea", "B": "milk", "C": "orange juice", "D": "none of the above"}),
        (numbers, {"A": "5 km", "B": "10 km", "C": "1,500 km", "D": "20 km", "E": "unknown"}),
    ):
        for letter, text in listed.items():
            marked = [
                letter,
                f"({letter})",
                f"{letter})",
                f"{letter}:",
                f"[{letter}]",
                letter.lower(),
                f"({letter.lower()})",
            ]
            whole = [
                f"{letter}. {text}",
                f"({letter}) {text}",
                f"{letter}: {text}",
                f"{letter}) {text}",
                f"{letter} {text}",
            ]
            spoken = [f"Option {letter}", f"option ({letter})", f"Choice {letter}", f"The correct option is {letter}."]
            spoken += [
                f"It is {letter}.",
                f"{letter} - {text}",
                f"**{letter}. {text}**",
                f"{letter}.\n{text}",
                f"{letter}, {text}",
            ]
            latex = [
                rf"\boxed{{{letter}}}",
                f"${letter}$",
                rf"\text{{{letter}}}",
                rf"$\boxed{{\text{{{letter}}}}}$",
                rf"\({letter}\)",
            ]
            words = [
                text,
                text.capitalize(),
                text.upper(),
                f"{text}.",
                f"The {text}" if not text.startswith("The") else text,
            ]
            forms = [*_dressed(letter), *_dressed(text), *marked, *whole, *spoken, *latex, *words]
            yield from _cases("option", problem, letter, forms, "MC")
            for gold in (f"({letter})", f"{letter}.", f"{letter}. {text}", text):
                yield from _cases("option", problem, gold, [letter, text, f"{letter}. {text}"], "MC")
    several = "Select all primes.\nA. 2\nB. 3\nC. 4\nD. 5"
    forms = [
        "A, B, D",
        "A,B,D",
        "A, B and D",
        "A B D",
        "ABD",
        "(A), (B), (D)",
        "B, A, D",
        "A; B; D",
        "A & B & D",
        "a, b, d",
    ]
    yield from _cases("option", several, "A, B, D", forms, "MC")
    yield from _cases("option", several, "ABD", forms, "MC")


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
            *_dressed(n),
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
        yield from _both_ways("integer", COUNT, n, forms)
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
        yield from _both_ways("integer", READING, n, forms)
    yield from _cases(
        "integer",
        COUNT,
        "2000000",
        ["2 million", "2,000,000", "2.0 million", "2e6", r"2 \times 10^6", "2×10⁶", "2·10^6", "2 * 10^6"],
    )
    yield from _cases("integer", COUNT, "12", ["a dozen", "12 pieces", "12 items in total"])


def decimals() -> Iterator[Case]:
    for value in ("0.5", "2.75", "3.14159", "1234.5", "0.001", "-0.25", "98.6", "0.125"):
        forms = [
            *_dressed(value),
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
        yield from _cases("decimal", READING, value, forms)
    yield from _cases("decimal", READING, "3.14159", ["3.1416", "3.142", "3.1415926"])
    yield from _cases("decimal", READING, "1234.5", ["1,234.5", "1 234.5", "1,234.50", "1.234,5"])


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
        yield from _both_ways("fraction", READING, f"{a}/{b}", forms)
        yield from _cases("fraction", READING, f"{a}/{b}", _dressed(f"{a}/{b}"))
    yield from _cases(
        "fraction", READING, "3/2", ["1 1/2", "1½", "1.5", r"1\frac{1}{2}", r"1 \frac{1}{2}", "one and a half"]
    )
    yield from _cases("fraction", READING, "1/2", ["half", "one half", "a half", "one-half", "50%"])
    yield from _cases("fraction", READING, "3/4", ["three quarters", "three-quarters", "three fourths", "75%"])
    yield from _cases("fraction", READING, "1/4", ["a quarter", "one quarter", "one fourth", "25%"])
    yield from _cases("fraction", READING, "2/3", ["two thirds", "two-thirds"])
    yield from _cases("fraction", READING, "-3/4", [r"-\frac{3}{4}", "-0.75", "−3/4", r"\frac{-3}{4}", "-¾"])


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
        yield from _both_ways("percent", problem, f"{n}%", forms)
    yield from _cases("percent", problem, "45%", ["0.45", "forty-five percent", "45.00 %"])
    yield from _cases("percent", READING, "0.45", ["45%", "45 percent", r"45\%"])


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
    yield from _both_ways("currency", problem, "$5", forms)
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
    yield from _both_ways("currency", problem, "$1,234.50", forms)
    yield from _both_ways(
        "currency", problem, "€20", ["20 euros", "20 euro", "20 EUR", "EUR 20", "20 €", "€20.00", "20"]
    )
    yield from _both_ways("currency", problem, "£3.20", ["3.20 pounds", "GBP 3.20", "3.2 GBP", "£3.2", "3.20"])
    yield from _cases(
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
        forms = [*_dressed(gold), *answers, number, f"${number}$", rf"\boxed{{{number}}}", f"{number} ", f"x = {gold}"]
        yield from _both_ways("unit", READING, gold, forms)
        for answer in answers:
            yield from _cases(
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
        yield from _both_ways("date", "On which date?", day.isoformat(), forms)
        yield from _cases("date", "On which date?", f"{month} {d}, {y}", _dressed(f"{month} {d}, {y}"))
        yield from _cases(
            "date",
            "In which month?",
            f"{month} {y}",
            [f"{month}, {y}", f"{short} {y}", f"{month} of {y}", f"{y}-{day.month:02}"],
        )
        yield from _cases(
            "date",
            "On which day?",
            f"{month} {d}",
            [f"{d} {month}", f"{short} {d}", f"{d}{end} of {month}", f"{month} {d}{end}"],
        )
        yield from _cases(
            "date", "In which year?", str(y), [f"{y}.", f"the year {y}", f"in {y}", f"In {y}.", f"{y} AD"]
        )
    clock = {"3:45 pm": ["3:45 PM", "15:45", "3:45 p.m.", "3:45pm", "03:45 PM", "15:45:00", "It is 3:45 pm."]}
    clock |= {
        "10:10": ["10:10 am", "10:10 AM", "10:10.", "10:10 o'clock"],
        "7:00": ["7 o'clock", "7:00 am", "07:00", "7 am"],
    }
    for gold, answers in clock.items():
        yield from _cases("time", "What time is it?", gold, [gold, *answers])


def yes_or_no() -> Iterator[Case]:
    yes = [
        "Yes",
        "YES",
        "yes.",
        "Yes!",
        "yes, it is",
        "Yes, there are more circles.",
        "True",
        "true",
        "Yes, the cat is on the mat.",
    ]
    no = ["No", "NO", "no.", "No!", "no, it is not", "No, there are fewer circles.", "False", "false", "No, it isn't."]
    for gold, forms in (("yes", yes), ("no", no)):
        for spelt in {gold, gold.capitalize(), "true" if gold == "yes" else "false"}:
            yield from _cases(
                "yes/no",
                "Is it?",
                spelt,
                [*forms, *_dressed(gold), *_dressed(gold.capitalize()), rf"\boxed{{{gold}}}", rf"\text{{{gold}}}"],
            )


def lists() -> Iterator[Case]:
    for items in (
        ("red", "blue", "green"),
        ("3", "7", "11"),
        ("Paris", "New York", "Rome"),
        ("a cat", "a dog", "two birds"),
    ):
        a, b, c = items
        quoted = [f"'{item}'" for item in items]
        forms = [
            ", ".join(items),
            ",".join(items),
            f"{a}, {b} and {c}",
            f"{a}, {b}, and {c}",
            "; ".join(items),
            f"{a} and {b} and {c}",
        ]
        forms += [
            f"[{a}, {b}, {c}]",
            f"[{', '.join(quoted)}]",
            f"({a}, {b}, {c})",
            "\n".join(items),
            f"{a} & {b} & {c}",
            f"{a}, {b} & {c}",
        ]
        forms += [
            "\n".join(f"- {i}" for i in items),
            "\n".join(f"{n}. {i}" for n, i in enumerate(items, 1)),
            "\n".join(f"* {i}" for i in items),
        ]
        forms += [
            ", ".join(items).upper(),
            ", ".join(items).capitalize(),
            f"{a}, {b}, {c}.",
            f"**{a}, {b}, {c}**",
            f"The answer is {a}, {b}, {c}.",
        ]
        forms += [
            str(list(items)).replace("'", '"'),
            f"Answer: {a}, {b}, {c}",
            f"{a} , {b} , {c}",
            "\n".join(f"{n}) {i}" for n, i in enumerate(items, 1)),
        ]
        forms += [
            f"They are {a}, {b} and {c}.",
            rf"\boxed{{{a}, {b}, {c}}}",
            rf"\text{{{a}, {b}, {c}}}",
            f"{a}\n\n{b}\n\n{c}",
            f"• {a}\n• {b}\n• {c}",
        ]
        yield from _cases("list", "Name them from left to right.", ", ".join(items), forms)
        yield from _cases("list", "Name them from left to right.", f"[{', '.join(quoted)}]", forms[:8])
    yield from _cases(
        "set", "Solve x^2 = 4.", "{-2, 2}", ["{2, -2}", r"\{-2, 2\}", "{-2,2}", r"\{2,-2\}", r"$\{-2, 2\}$", "{−2, 2}"]
    )


TEXTS = (
    "red",
    "Eiffel Tower",
    "ice cream",
    "Leonardo da Vinci",
    "a baseball bat",
    "don't walk",
    "the left one",
    "T-shirt",
    "café au lait",
)
TEXTS += (
    "salt & pepper",
    "elephant",
    "Mount Everest",
    "3D printer",
    "left",
    "polar bear",
    "stop sign",
    "Rock 'n' roll",
    "H2O",
)


def texts() -> Iterator[Case]:
    for text in TEXTS:
        bare = text.removeprefix("a ").removeprefix("the ")
        forms = [
            *_dressed(text),
            text.upper(),
            text.lower(),
            text.title(),
            f"the {bare}",
            f"The {bare}.",
            f"a {bare}",
            f"an {bare}",
            bare,
        ]
        forms += [
            f"It is {text}.",
            f"It's {text}",
            f"This is {text}.",
            rf"\text{{{text}}}",
            rf"\boxed{{\text{{{text}}}}}",
            f"“{text}”",
            f"'{text}'",
        ]
        forms += [
            text.replace("'", "’"),
            text.replace("-", "‑"),
            text.replace(" ", "  "),
            text.replace(" ", "\u00a0"),
            f"{text}!",
            f"_{text}_",
            f"({text})",
        ]
        forms += [
            text.replace("&", "and"),
            text.replace("é", "e\u0301"),
            f"That is {text}.",
            rf"\textbf{{{text}}}",
            f"**{text}**.",
            f"- {text}",
        ]
        yield from _cases("text", "What is it?", text, forms)
    for gold, answers in {
        "ice-cream": ["ice cream"],
        "first": ["1st"],
        "3rd": ["third"],
        "U.S.A.": ["USA", "U.S.A"],
        "Dr. Smith": ["Dr Smith"],
        "St. Paul": ["St Paul"],
    }.items():
        yield from _both_ways("text", "What is it?", gold, answers)


MATHEMATICS = {
    r"2\sqrt{3}": [r"2 \sqrt{3}", r"$2\sqrt{3}$", r"2\cdot\sqrt{3}", r"\sqrt{3}\cdot 2", "2√3", "2*sqrt(3)", "2sqrt(3)", r"\boxed{2\sqrt{3}}", r"\(2\sqrt{3}\)", r"2\sqrt3", r"x = 2\sqrt{3}", r"2 \times \sqrt{3}", r"2\sqrt{3}."],
    "x^2+2x+1": ["x^2 + 2x + 1", "x^{2}+2x+1", "1+2x+x^2", "2x+1+x^2", "x**2+2*x+1", r"$x^2+2x+1$", "x²+2x+1", r"x^2+2\cdot x+1", r"\boxed{x^2+2x+1}", "(x+1)^2", "y = x^2+2x+1"],
    "(x-1)(x+1)": ["(x+1)(x-1)", r"(x-1) \cdot (x+1)", "(x - 1)(x + 1)", r"\left(x-1\right)\left(x+1\right)", "(x-1)*(x+1)", r"$(x-1)(x+1)$"],
    r"\frac{\pi}{4}": [r"\pi/4", "π/4", r"\frac{1}{4}\pi", r"\dfrac{\pi}{4}", "pi/4", r"$\frac{\pi}{4}$", r"0.25\pi", r"\frac{\pi}{4}.", r"\frac{2\pi}{8}"],
    "y = 2x + 1": ["y=2x+1", r"$y = 2x+1$", "y = 1 + 2x", r"y = 2 \cdot x + 1", "y=2*x+1", "2x + 1"],
    r"\frac{x+1}{x-1}": ["(x+1)/(x-1)", r"\dfrac{x+1}{x-1}", r"\frac{1+x}{x-1}", r"\frac{x + 1}{x - 1}", r"$\frac{x+1}{x-1}$"],
    "3x": ["3*x", r"3 \cdot x", "3 x", r"$3x$", r"x \cdot 3", "x*3", r"\boxed{3x}", "2x + x"],
    r"\sqrt{2}": ["√2", "sqrt(2)", r"$\sqrt{2}$", r"\sqrt2", "2^{1/2}", r"2^{\frac{1}{2}}", r"\sqrt{2}.", r"\boxed{\sqrt{2}}"],
    "36\\pi": ["36π", r"36 \pi", "36 pi", "36*pi", r"$36\pi$", r"36\cdot\pi", r"\pi \cdot 36"],
    r"\frac{\sqrt{2}}{2}": [r"\sqrt{2}/2", "√2/2", r"\frac{1}{\sqrt{2}}", r"\dfrac{\sqrt{2}}{2}", r"\frac{\sqrt2}{2}", "sqrt(2)/2"],
    "x = 3, y = 4": ["x=3, y=4", "x = 3 and y = 4", "x=3; y=4", r"$x = 3, y = 4$"],
    "(3, 4)": ["(3,4)", "( 3, 4 )", r"$(3, 4)$", r"\left(3, 4\right)", "(3.0, 4)", r"(\,3, 4)"],
    "x^{10}": ["x^10", r"x^{10}", r"$x^{10}$", "x**10", r"x^{5} \cdot x^{5}"],
    "a^2 + b^2": ["b^2 + a^2", "a²+b²", "a^{2}+b^{2}", r"$a^2+b^2$", "a**2 + b**2"],
    r"\sin(x)": [r"\sin x", "sin(x)", r"$\sin(x)$", r"\sin{x}", r"\sin\left(x\right)", "sin x"],
    "2^{n}": ["2^n", r"$2^n$", "2**n", r"2^{n}."],
    r"\log_2 8x": [r"\log_{2} 8x", r"\log_2(8x)", r"$\log_2 8x$", r"\log_{2}{8x}"],
    r"(-\infty, 3]": [r"\left(-\infty, 3\right]", r"$(-\infty, 3]$", r"(-\infty,3]"],
    "x > 3": ["x>3", "$x > 3$", "3 < x", r"x \gt 3"],
    r"\theta = 30^\circ": [r"30^\circ", "30°", r"\theta=30°", "30 degrees"],
    "5i": [r"5 i", "$5i$", r"5\cdot i", "5*i"],
    "e^{2x}": ["e^{2 x}", "$e^{2x}$", r"\exp(2x)", "exp(2x)", "e^(2x)"],
    "|x-1|": ["|x - 1|", r"\left|x-1\right|", "$|x-1|$", r"|1-x|", r"\lvert x-1 \rvert"],
}  # fmt: skip


def mathematics() -> Iterator[Case]:
    for gold, answers in MATHEMATICS.items():
        yield from _cases(
            "mathematics",
            READING,
            gold,
            [gold, f"${gold}$", f"The answer is ${gold}$.", rf"\boxed{{{gold}}}", f"**{gold}**", *answers],
        )
        for answer in answers[:6]:
            yield from _cases("mathematics", READING, answer, [gold])


def places() -> Iterator[Case]:
    for box in ((10, 20, 110, 220), (0, 0, 50, 50), (100, 200, 300, 400), (5, 640, 480, 900)):
        a, b, c, d = box
        forms = [
            f"[{a}, {b}, {c}, {d}]",
            f"[{a},{b},{c},{d}]",
            f"({a}, {b}, {c}, {d})",
            f"{a}, {b}, {c}, {d}",
            f"[{a}.0, {b}.0, {c}.0, {d}.0]",
        ]
        forms += [
            f"({a}, {b}), ({c}, {d})",
            f"[[{a}, {b}], [{c}, {d}]]",
            f'{{"bbox_2d": [{a}, {b}, {c}, {d}]}}',
            f"<box>[{a}, {b}, {c}, {d}]</box>",
        ]
        forms += [
            f"[{a} {b} {c} {d}]",
            f"The bounding box is [{a}, {b}, {c}, {d}].",
            f"bbox: [{a}, {b}, {c}, {d}]",
            f"**[{a}, {b}, {c}, {d}]**",
        ]
        forms += [
            f"x1={a}, y1={b}, x2={c}, y2={d}",
            f'```json\n{{"bbox_2d": [{a}, {b}, {c}, {d}]}}\n```',
            f"[{a + 1}, {b}, {c}, {d + 2}]",
        ]
        yield from _cases("box", BOX, f"[{a}, {b}, {c}, {d}]", forms)
        yield from _cases("box", BOX, f'{{"bbox_2d": [{a}, {b}, {c}, {d}]}}', forms)
    for x, y in ((420, 310), (12, 700), (999, 1)):
        forms = [
            f"[{x}, {y}]",
            f"({x}, {y})",
            f"{x}, {y}",
            f"[{x}.0, {y}.0]",
            f'{{"point_2d": [{x}, {y}]}}',
            f"x={x}, y={y}",
            f"({x},{y})",
        ]
        forms += [
            f"<point>{x} {y}</point>",
            f"The point is ({x}, {y}).",
            f"**({x}, {y})**",
            f"[{x + 1}, {y - 1}]",
            f"click at ({x}, {y})",
        ]
        yield from _cases("point", POINT, f"[{x}, {y}]", forms)


def descriptions() -> Iterator[Case]:
    for facts in (
        ("red circle", "none", "blue star", "green cross"),
        ("yellow square", "red star"),
        ("three", "seven", "zero", "nine"),
        ("Norway 5", "Chile 7", "Ghana 2"),
        ("the tall man", "a small dog", "an apple"),
    ):
        bare = [fact.removeprefix("the ").removeprefix("a ").removeprefix("an ") for fact in facts]
        forms = [
            " , ".join(facts),
            ", ".join(facts),
            "; ".join(facts),
            ", ".join(facts) + ".",
            ", ".join(f"a {fact}" for fact in bare),
        ]
        forms += [
            ", ".join(facts[:-1]) + f" , and {facts[-1]}",
            "\n".join(facts),
            ", ".join(facts).upper(),
            ". ".join(facts) + ".",
        ]
        forms += [
            ", ".join(facts).capitalize(),
            ", ".join(f"the {fact}" for fact in bare),
            ",".join(facts),
            ",  ".join(facts),
            "  ,\n".join(facts),
        ]
        yield from _cases("judge", "describe the picture", " , ".join(facts), forms, "DES")


FAMILIES = (
    options,
    integers,
    decimals,
    fractions,
    percentages,
    money,
    units,
    dates,
    yes_or_no,
    lists,
    texts,
    mathematics,
)
FAMILIES += (places, descriptions)
