# ruff: noqa: E501 — a table reads better in long lines
r"""Right collections: matrices, tuples, lists of tuples, intervals, inequalities, sets, ratios and lists of expressions."""

from collections.abc import Iterator

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import READING, both_ways, cases, dressed
from tests.rewards.adversarial.hostile_collections import INTERVAL, MATRICES, PAIRS, matrix


def matrices() -> Iterator[Case]:
    for rows in MATRICES:
        for name in ("pmatrix", "bmatrix"):
            gold = matrix(rows, name)
            body = gold.removeprefix(rf"\begin{{{name}}}").removesuffix(rf"\end{{{name}}}")
            forms = [matrix(rows, kind, gap) for kind in ("pmatrix", "bmatrix") for gap in ("", " ", "\n")]
            forms += [
                f"${gold}$",
                rf"\boxed{{{gold}}}",
                rf"\[{gold}\]",
                f"A = {gold}",
                f"The answer is ${gold}$.",
                rf"\({gold}\)",
            ]
            forms += [rf"\left({matrix(rows, 'matrix')}\right)", rf"\left[{matrix(rows, 'matrix', ' ')}\right]"]
            columns = "c" * len(rows[0])
            forms += [rf"\left[\begin{{array}}{{{columns}}} {body} \end{{array}}\right]", gold.replace(r"\\", r" \\ ")]
            forms += [
                rf"\left(\begin{{array}}{{{columns}}}{body}\end{{array}}\right)",
                gold.replace(r"\frac", r"\dfrac"),
            ]
            forms += [gold.replace(r"\end", r"\\ \end"), gold.replace("&", " & "), gold.replace("&", "&\n")]
            yield from both_ways("matrix", "Find the matrix.", gold, forms)


def tuples() -> Iterator[Case]:
    for items in (("3", "-1"), ("0", "5", "2"), ("12", "-7", "4", "1"), ("-2", "-9")):
        gold = f"({', '.join(items)})"
        forms = [
            f"({','.join(items)})",
            f"${gold}$",
            rf"\left({', '.join(items)}\right)",
            f"({' , '.join(items)})",
            f"( {', '.join(items)} )",
        ]
        forms += [
            rf"\boxed{{{gold}}}",
            rf"\big({', '.join(items)}\big)",
            "(" + r",\ ".join(items) + ")",
            "(" + r",\;".join(items) + ")",
            f"{gold}.",
        ]
        forms += [
            rf"\left( {', '.join(items)} \right)",
            f"(${'$, $'.join(items)}$)",
            f"({', '.join(item + '.0' for item in items)})",
        ]
        if len(items) == 2:
            forms += [
                f"(x, y) = {gold}",
                f"(x,y)=({','.join(items)})",
                f"x = {items[0]}, y = {items[1]}",
                f"The point is {gold}.",
            ]
        yield from both_ways("tuple", "Find the ordered tuple (x, y) or (x, y, z).", gold, forms)
    for (a, b), (c, d) in (((1, 2), (3, 4)), ((0, -5), (2, 7)), ((-1, 6), (8, 3))):
        forms = [
            f"({a}, {b}), ({c}, {d})",
            f"({a},{b}), ({c},{d})",
            f"({a}, {b}),({c}, {d})",
            f"({a}, {b}) and ({c}, {d})",
            f"(({a}, {b}), ({c}, {d}))",
        ]
        forms += [
            f"$({a},{b})$, $({c},{d})$",
            f"$({a}, {b})$ and $({c}, {d})$",
            f"[({a}, {b}), ({c}, {d})]",
            rf"({a},{b}),\ ({c},{d})",
            f"({a}, {b}); ({c}, {d})",
        ]
        forms += [
            f"({a}, {b})\n({c}, {d})",
            f"- ({a}, {b})\n- ({c}, {d})",
            rf"\left({a}, {b}\right), \left({c}, {d}\right)",
            f"**({a}, {b}), ({c}, {d})**",
        ]
        yield from both_ways("tuple", "Find all points, from left to right.", f"({a},{b}),({c},{d})", forms)


def lists_of_values() -> Iterator[Case]:
    for gold, forms in {
        r"(3, \frac{\pi}{2})": [
            r"(3, \pi/2)",
            r"(3,\frac{\pi}{2})",
            "(3, π/2)",
            r"\left(3, \dfrac{\pi}{2}\right)",
            r"(3, \frac{1}{2}\pi)",
        ],
        r"(1, \infty)": ["(1, +\\infty)", r"(1,\infty)", "(1, ∞)", r"\left(1, \infty\right)", r"(1,+\infty)"],
        r"\sqrt{2}, \sqrt{3}": [
            "√2, √3",
            r"\sqrt2, \sqrt3",
            r"$\sqrt{2}$, $\sqrt{3}$",
            r"\sqrt{2} and \sqrt{3}",
            "sqrt(2), sqrt(3)",
        ],
        "15:00, 16:30": ["3:00 PM, 4:30 PM", "15:00 and 16:30", "3 pm, 4:30 pm"],
        r"\frac{1}{2}, \frac{2}{3}": [
            "1/2, 2/3",
            r"\frac12, \frac23",
            "0.5, 2/3",
            r"$\frac{1}{2}$ and $\frac{2}{3}$",
            "½, ⅔",
        ],
        "2 cm, 35 mm": ["2cm, 35mm", "20 mm, 3.5 cm", "2 centimetres, 35 millimetres", r"2 \text{ cm}, 35 \text{ mm}"],
        "2024-03-05, 2024-04-01": ["March 5, 2024; April 1, 2024", "5 March 2024 and 1 April 2024"],
        r"x+1, x-1": ["x + 1, x - 1", "1+x, -1+x", "$x+1$, $x-1$", "x+1 and x-1"],
        r"\left(\frac{2}{3}, -\sqrt{5}\right)": [
            r"(2/3, -\sqrt{5})",
            r"\left(\dfrac23,-\sqrt5\right)",
            "(2/3, -√5)",
            r"(\tfrac{2}{3}, -\sqrt{5})",
        ],
        "1.5, -2.25": ["1.50, -2.25", "3/2, -9/4", "1.5; -2.25", "1.5 and −2.25", r"\frac{3}{2}, -\frac{9}{4}"],
    }.items():
        yield from cases(
            "list", READING, gold, [gold, f"${gold}$" if "$" not in gold else gold, rf"\boxed{{{gold}}}", *forms]
        )
        yield from (case for form in forms for case in cases("list", READING, form, [gold]))


def intervals() -> Iterator[Case]:
    for a, b in PAIRS:
        for left, right, low, high in (
            ("[", "]", r"\le", r"\le"),
            ("[", ")", r"\le", "<"),
            ("(", "]", "<", r"\le"),
            ("(", ")", "<", "<"),
        ):
            gold = f"{left}{a}, {b}{right}"
            forms = [
                f"{left}{a},{b}{right}",
                f"${gold}$",
                rf"\left{left}{a}, {b}\right{right}",
                rf"x \in {gold}",
                f"{left} {a} , {b} {right}",
            ]
            forms += [
                rf"x\in{left}{a},{b}{right}",
                f"x ∈ {gold}",
                rf"\boxed{{{gold}}}",
                rf"{a} {low} x {high} {b}",
                f"{gold}.",
                rf"$x \in {gold}$",
            ]
            forms += [
                rf"\left{left} {a}, {b} \right{right}",
                f"{left}{a}; {b}{right}",
                rf"{left}{a}, \, {b}{right}",
                f"{left}{a}.0, {b}.0{right}",
            ]
            yield from both_ways("interval", INTERVAL, gold, forms)
    for n in (3, -5, 12):
        for gold, form in (
            (rf"(-\infty, {n}]", rf"x \le {n}"),
            (rf"(-\infty, {n})", f"x < {n}"),
            (rf"[{n}, \infty)", rf"x \ge {n}"),
            (rf"({n}, \infty)", f"x > {n}"),
        ):
            forms = [
                gold.replace(" ", ""),
                f"${gold}$",
                gold.replace(r"\infty)", r"+\infty)"),
                gold.replace(r"\infty", "∞"),
                form,
                rf"x \in {gold}",
            ]
            forms += [
                rf"\left{gold[:-1]}\right{gold[-1]}",
                form.replace(r"\le", "≤").replace(r"\ge", "≥"),
                gold.replace(" ", r"\,"),
            ]
            yield from both_ways("interval", INTERVAL, gold, forms)
    for gold in (r"[0, 1] \cup [2, 3]", r"(-\infty, -1) \cup (4, \infty)", r"[-3, 0) \cup (0, 5]"):
        forms = [
            gold.replace(" ", ""),
            gold.replace(r"\cup", "∪"),
            gold.replace(r"\cup", "U"),
            f"${gold}$",
            rf"x \in {gold}",
            gold.replace(r"\infty", "∞"),
        ]
        yield from both_ways("interval", INTERVAL, gold, forms)


def inequalities() -> Iterator[Case]:
    dialects = {
        "<": (r"\lt", "<"),
        r"\le": (r"\leq", "≤", "<=", r"\leqslant"),
        ">": (r"\gt", ">"),
        r"\ge": (r"\geq", "≥", ">=", r"\geqslant"),
    }
    dialects |= {r"\neq": ("!=", "≠", r"\ne", r"\not=")}
    flipped = {"<": ">", r"\le": r"\ge", ">": "<", r"\ge": r"\le", r"\neq": r"\neq"}
    for n in ("3", "-7", "12"):
        for sign, others in dialects.items():
            forms = [f"x {other} {n}" for other in others] + [
                f"x{other}{n}" if other[0] != "\\" else f"x{other} {n}" for other in others
            ]
            forms += [f"${form}$" for form in forms[:2]] + [
                f"{n} {flipped[sign]} x",
                rf"\boxed{{x {sign} {n}}}",
                f"x {sign} {n}.0",
            ]
            yield from both_ways("mathematics", "Solve for x.", f"x {sign} {n}", forms)


def sets() -> Iterator[Case]:
    for items in (("1", "2", "3"), ("-4", "6"), (r"\frac{1}{2}", "2"), (r"\sqrt{3}", "1", "7")):
        gold = rf"\{{{', '.join(items)}\}}"
        forms = [
            rf"\{{{','.join(items)}\}}",
            f"{{{', '.join(items)}}}",
            rf"\{{{', '.join(items[::-1])}\}}",
            rf"\left\{{{', '.join(items)}\right\}}",
        ]
        forms += [
            f"${gold}$",
            rf"\boxed{{{gold}}}",
            rf"\{{ {', '.join(items)} \}}",
            rf"\lbrace {', '.join(items)} \rbrace",
            rf"x \in {gold}",
            f"S = {gold}",
        ]
        forms += [
            rf"\{{{'; '.join(items)}\}}",
            rf"\left\{{ {', '.join(items[::-1])} \right\}}",
            gold.replace(r"\frac", r"\dfrac"),
            f"{gold}.",
        ]
        yield from cases("set", "Find the set.", gold, [gold, *forms])
        yield from (case for form in forms for case in cases("set", "Find the set.", form, [gold]))


def ratios() -> Iterator[Case]:
    for a, b in ((11, 21), (3, 2), (7, 32), (5, 12), (1, 45)):
        gold = f"{a}:{b}"
        forms = [
            f"{a} : {b}",
            f"{a}/{b}",
            f"{2 * a}:{2 * b}",
            f"{a} to {b}",
            f"${a}:{b}$",
            rf"\frac{{{a}}}{{{b}}}",
            f"{a}∶{b}",
            rf"{a}\colon {b}",
        ]
        forms += [
            rf"\boxed{{{a}:{b}}}",
            f"The ratio is {a}:{b}.",
            f"{a}：{b}",
            f"${a} : {b}$",
            rf"\text{{{a}:{b}}}",
            f"{3 * a} : {3 * b}",
        ]
        for problem in ("Find the ratio of boys to girls.", "Express as a ratio."):
            yield from cases("ratio", problem, gold, [*dressed(gold), *forms])
            yield from cases("ratio", problem, f"{a} : {b}", [gold, f"{a}/{b}"])
    for gold in ("1:2:3", "2:5:7"):
        yield from cases(
            "ratio",
            "Find the ratio of the sides.",
            gold,
            [gold, gold.replace(":", " : "), f"${gold}$", gold.replace(":", " to ")],
        )


COLLECTIONS = (matrices, tuples, lists_of_values, intervals, inequalities, sets, ratios)
