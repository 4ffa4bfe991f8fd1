# ruff: noqa: E501 — a table reads better in long lines
r"""Right answers in the dialects of LaTeX: spaces, braces, delimiters, sizes, text boxes, left sides, approximations."""

from collections.abc import Iterator

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import COUNT, READING, both_ways, cases


def thousands() -> Iterator[Case]:
    for n in (32349, 1016386, 4500, 987654321):
        shown = f"{n:,}"
        forms = [
            shown.replace(",", r",\!"),
            shown.replace(",", r"{,}\!"),
            rf"${shown}$".replace(",", r",\!"),
            shown.replace(",", r"\;"),
            shown.replace(",", r"{\,}"),
        ]
        forms += [
            rf"\boxed{{{shown}}}".replace(",", r",\!"),
            shown.replace(",", "~"),
            shown.replace(",", r"\ "),
            shown.replace(",", "\u2009"),
            shown.replace(",", "，"),
        ]
        yield from both_ways("thousands", COUNT, str(n), forms)
        money = rf"\${shown}.20".replace(",", r",\!")
        yield from both_ways(
            "currency", "What does it cost?", f"${shown}.20", [money, f"${money}$", rf"\${n}.20", f"{shown}.20 dollars"]
        )
    for n in ("333", "111", "05", "75"):
        yield from cases(
            "decimal", READING, f"0.{n}", [f"0,{n}", f"0{{,}}{n}", f".{n}", f"0.{n}0", f"$0,{n}$", rf"0{{.}}{n}"]
        )
        yield from cases("decimal", READING, f"0,{n}", [f"0.{n}", f".{n}", f"0,{n}"])


BOXES = (
    r"\mbox{%s}",
    r"\textnormal{%s}",
    r"\text{%s}",
    r"\mathrm{%s}",
    r"\textbf{%s}",
    r"\mathbf{%s}",
    r"\fbox{%s}",
    r"\textrm{%s}",
    r"\textit{%s}",
)
BOXES += (
    r"\operatorname{%s}",
    r"{%s}",
    r"{\bf %s}",
    r"{\rm %s}",
    r"\textsf{%s}",
    r"\displaystyle %s",
    r"\mathbf{\boxed{%s}}",
    r"\mathsf{%s}",
    r"$$%s$$",
)


def boxes() -> Iterator[Case]:
    for gold in ("7", "red", "12.5", "Paris", "3/4"):
        forms = [box % gold for box in BOXES] + [f"${box % gold}$" for box in BOXES if "$" not in box]
        yield from cases("text" if gold.isalpha() else "integer", READING, gold, forms)
    for unit in ("cm", "kg", "m^2"):
        forms = [
            rf"7 \mbox{{ {unit}}}",
            rf"7\,\textnormal{{{unit}}}",
            rf"7~\text{{{unit}}}",
            rf"7\ \mathrm{{{unit}}}",
            rf"7\;\textrm{{{unit}}}",
            rf"7\quad\text{{{unit}}}",
        ]
        yield from both_ways(
            "unit",
            READING,
            f"7 {unit}",
            [*forms, rf"7 \operatorname{{{unit}}}", rf"7\mathrm{{~{unit}}}", rf"\text{{7 {unit}}}"],
        )


def fractions() -> Iterator[Case]:
    for a, b in ((1, 2), (3, 4), (5, 8), (7, 3), (2, 9)):
        forms = [
            rf"\frac{a}{{{b}}}",
            rf"\frac{{{a}}}{b}",
            rf"\frac {a} {b}",
            rf"\cfrac{{{a}}}{{{b}}}",
            rf"{{{a} \over {b}}}",
            rf"{a} \over {b}",
            rf"\frac{{ {a} }}{{ {b} }}",
        ]
        forms += [
            rf"\dfrac{a}{b}",
            rf"\tfrac{a}{b}",
            rf"\frac{{{a}}} {{{b}}}",
            rf"\displaystyle\frac{{{a}}}{{{b}}}",
            rf"{{\frac{{{a}}}{{{b}}}}}",
            rf"\left(\frac{{{a}}}{{{b}}}\right)",
        ]
        forms += [
            rf"\frac{{{a}.0}}{{{b}}}",
            rf"\frac{{{3 * a}}}{{{3 * b}}}",
            f"${{{a}}}/{{{b}}}$",
            rf"\frac{{-{a}}}{{-{b}}}",
            rf"x = \frac {a}{{{b}}}",
        ]
        yield from both_ways("fraction", READING, f"{a}/{b}", forms)
        forms = [
            rf"\frac{{{a}}}{{-{b}}}",
            rf"\frac{{-{a}}}{{{b}}}",
            rf"-\frac{a}{b}",
            rf"-\frac{{{a}}}{{{b}}}",
            rf"-\dfrac {a}{b}",
            rf"- \frac{{{a}}}{{{b}}}",
            rf"{{-{a} \over {b}}}",
        ]
        yield from both_ways("fraction", READING, f"-{a}/{b}", forms)


EXPRESSIONS = (
    r"2\sqrt{3}",
    r"6\pi",
    r"\frac{5\pi}{2}",
    r"\sqrt{5}",
    r"4+\sqrt{2}",
    r"x^2-3x",
    r"\frac{\sqrt{3}}{2}",
    r"2^{10}x",
    r"\frac{x}{y+1}",
    r"\binom{7}{2}x",
    r"a_{1}+b_{2}",
)


def expressions() -> Iterator[Case]:
    for gold in EXPRESSIONS:
        forms = [
            rf"\displaystyle {gold}",
            rf"{{{gold}}}",
            rf"\,{gold}\,",
            rf"\left({gold}\right)",
            rf"$\displaystyle{{{gold}}}$",
            rf"\[ {gold} \]",
            rf"\begin{{equation}}{gold}\end{{equation}}",
        ]
        forms += [
            gold.replace("+", " + ").replace("-", " - "),
            gold.replace(r"\frac", r"\dfrac"),
            gold.replace(r"\frac", r"\cfrac"),
            rf"$${gold}$$",
            rf"\({gold}\).",
            f"{gold} .",
        ]
        yield from both_ways("mathematics", READING, gold, forms)
    for gold, forms in {
        r"\sin 75^\circ": [
            r"\sin(75^\circ)",
            r"\sin 75°",
            r"\sin{75^{\circ}}",
            r"\frac{\sqrt{6}+\sqrt{2}}{4}",
            r"\frac{\sqrt6+\sqrt2}{4}",
        ],
        r"\cos 30^\circ": [r"\frac{\sqrt{3}}{2}", r"\cos(30^{\circ})", r"\sin 60^\circ", "cos 30°", r"\sqrt{3}/2"],
        r"\tan 60^\circ": [r"\sqrt{3}", "√3", r"\tan(60^\circ)", r"\tan\frac{\pi}{3}"],
        r"1 - \frac{1}{e}": ["1-1/e", r"\frac{e-1}{e}", r"1 - e^{-1}", r"1-\frac1e", r"1 - \dfrac{1}{\mathrm{e}}"],
        r"e^{2}": [r"\mathrm{e}^{2}", r"\mathrm{e}^2", "e^2", r"\exp(2)", "e²"],
        r"\sqrt{2}": ["1.4142135623730951", "1.41421356", r"2^{0.5}", r"\frac{2}{\sqrt{2}}"],
        r"2\sqrt{3}": [
            r"2\sqrt{3} \approx 3.46",
            r"2\sqrt{3} \approx 3.464",
            "2√3 ≈ 3.46",
            r"2\sqrt{3} = 3.4641...",
            "3.4641016",
        ],
        r"\frac{\pi}{4}": [r"\frac{\pi}{4} \approx 0.785", r"\pi/4 ≈ 0.7854", r"\frac \pi 4", r"\dfrac\pi4"],
        r"\binom{7}{2}": [r"{7 \choose 2}", r"\dbinom{7}{2}", "21", r"\tbinom72"],
        r"\sum_{k=1}^{n} k^2": [
            r"\sum_{k=1}^n k^2",
            r"\sum_{k=1}^{n}k^{2}",
            r"\displaystyle\sum_{k=1}^{n} k^2",
            r"\sum\limits_{k=1}^{n} k^2",
        ],
        r"0.\overline{3}": [r"\frac{1}{3}", "1/3", r"0.\overline{33}", r"0.\bar{3}", r"0.\overline{3}.", "0.333..."],
        r"2 \times 3^4": [r"2 \cdot 3^4", "162", r"2 \cdot 3^{4}", "2*3^4", r"3^4 \times 2"],
        r"\sqrt[3]{2}": ["2^{1/3}", r"2^{\frac{1}{3}}", r"\sqrt[3]2", "∛2"],
    }.items():
        yield from cases("mathematics", READING, gold, [gold, f"${gold}$", *forms, *(f"${form}$" for form in forms)])


LEFT_SIDES = {
    "74": (r"\angle APC = 74", "∠APC = 74"),
    r"74^\circ": (
        r"\angle APC = 74^\circ",
        "∠APC = 74°",
        r"m\angle APC = 74^\circ",
        r"\angle{APC}=74^{\circ}",
        "angle APC = 74°",
    ),
    "12": (
        "S_{ABC} = 12",
        "S_{\\triangle ABC} = 12",
        "[ABC] = 12",
        "f(3) = 12",
        "n = 12",
        "a_5 = 12",
        "P(2) = 12",
        r"\text{area} = 12",
    ),
    "5": (
        "|AB| = 5",
        "AB = 5",
        r"\overline{AB} = 5",
        "|z| = 5",
        r"d(A, B) = 5",
        r"\lVert v \rVert = 5",
        "x_1 = 5",
        "k=5",
    ),
    "(3, -1)": ("(x, y) = (3, -1)", "(a,b)=(3,-1)", "P = (3, -1)", "P(3, -1)"),
    r"\frac{1}{3}": (
        r"\frac{NO}{BO} = \frac{1}{3}",
        r"P(A) = \frac{1}{3}",
        r"\sin\theta = \frac{1}{3}",
        r"\tan A = 1/3",
        r"\cos \angle ABC = \frac13",
    ),
    r"2\sqrt{5}": (r"AB = 2\sqrt{5}", r"|AB| = 2\sqrt{5}", r"r = 2\sqrt5", r"x = 2\sqrt{5}", r"d = 2\sqrt{5}"),
    "x^2+1": ("f(x) = x^2+1", "f(x)=1+x^2", "y = x^2+1", "g(x) = x^{2} + 1"),
}


def left_sides() -> Iterator[Case]:
    for gold, forms in LEFT_SIDES.items():
        yield from cases(
            "mathematics",
            READING,
            gold,
            [*forms, *(f"${form}$" for form in forms), *(rf"\boxed{{{form}}}" for form in forms)],
        )
        yield from (case for form in forms for case in cases("mathematics", READING, form, [gold, form, f"${form}$"]))


def problems_that_contain_the_answer() -> Iterator[Case]:
    problem = "Simplify the total of area+base, where area = a and base = b, and 3x+12y+k with x2+y2."
    for gold, forms in {
        "b+a": ["a+b", "a + b"],
        "x + 12": ["12 + x", "12+x"],
        "y+k": ["k+y"],
        "2+y": ["y+2", "y + 2"],
    }.items():
        yield from cases("mathematics", problem, gold, forms)


DIALECTS = (thousands, boxes, fractions, expressions, left_sides, problems_that_contain_the_answer)
