# ruff: noqa: E501 — a table reads better in long lines
r"""Right answers in the forms in which people and models write them: a grader that never says 'correct' fails here.

The forms are those of ordinary writing, Markdown, LaTeX and JSON, chosen without a look at what the rules
can read. Where both sides of a pair may stand in a row, the pair is also taken the other way round, so that
odd golds are covered as well as odd answers.
"""

from collections.abc import Iterator

from tests.rewards.adversarial import BOX, CITIES, COLOURS, POINT, Case
from tests.rewards.adversarial.equivalent_collections import COLLECTIONS
from tests.rewards.adversarial.equivalent_latex import DIALECTS
from tests.rewards.adversarial.equivalent_measures import MEASURES
from tests.rewards.adversarial.equivalent_numbers import dates, decimals, fractions, integers, money, percentages, units
from tests.rewards.adversarial.equivalent_words import WORDS
from tests.rewards.adversarial.forms import READING, both_ways, cases, dressed


def equivalent() -> list[Case]:
    """Every pair of a gold and another form of it, without repetitions, in a fixed order."""
    return list(dict.fromkeys(case for family in FAMILIES for case in family()))


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
            forms = [*dressed(letter), *dressed(text), *marked, *whole, *spoken, *latex, *words]
            yield from cases("option", problem, letter, forms, "MC")
            for gold in (f"({letter})", f"{letter}.", f"{letter}. {text}", text):
                yield from cases("option", problem, gold, [letter, text, f"{letter}. {text}"], "MC")
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
    yield from cases("option", several, "A, B, D", forms, "MC")
    yield from cases("option", several, "ABD", forms, "MC")


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
            yield from cases(
                "yes/no",
                "Is it?",
                spelt,
                [*forms, *dressed(gold), *dressed(gold.capitalize()), rf"\boxed{{{gold}}}", rf"\text{{{gold}}}"],
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
        yield from cases("list", "Name them from left to right.", ", ".join(items), forms)
        yield from cases("list", "Name them from left to right.", f"[{', '.join(quoted)}]", forms[:8])
    yield from cases(
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
            *dressed(text),
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
        yield from cases("text", "What is it?", text, forms)
    for gold, answers in {
        "ice-cream": ["ice cream"],
        "first": ["1st"],
        "3rd": ["third"],
        "U.S.A.": ["USA", "U.S.A"],
        "Dr. Smith": ["Dr Smith"],
        "St. Paul": ["St Paul"],
    }.items():
        yield from both_ways("text", "What is it?", gold, answers)


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
        yield from cases(
            "mathematics",
            READING,
            gold,
            [gold, f"${gold}$", f"The answer is ${gold}$.", rf"\boxed{{{gold}}}", f"**{gold}**", *answers],
        )
        for answer in answers[:6]:
            yield from cases("mathematics", READING, answer, [gold])


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
        yield from cases("box", BOX, f"[{a}, {b}, {c}, {d}]", forms)
        yield from cases("box", BOX, f'{{"bbox_2d": [{a}, {b}, {c}, {d}]}}', forms)
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
        yield from cases("point", POINT, f"[{x}, {y}]", forms)


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
        yield from cases("judge", "describe the picture", " , ".join(facts), forms, "DES")


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
FAMILIES += (places, descriptions, *COLLECTIONS, *DIALECTS, *MEASURES, *WORDS)
