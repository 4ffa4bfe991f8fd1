# ruff: noqa: E501 — a table reads better in long lines
r"""Wrong tuples, intervals, matrices, sets, ratios, inequalities and expressions, each one step from the gold."""

from collections.abc import Iterator

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import READING, cases

INTERVAL = "Solve the inequality. Give the answer in interval notation."
PAIRS = ((-2, 7), (0, 1), (3, 12), (-9, -4))


def interval_ends() -> Iterator[Case]:
    for a, b in PAIRS:
        kinds = {f"{left}{a}, {b}{right}" for left in "[(" for right in ")]"}
        for gold in sorted(kinds):
            others = sorted(kinds - {gold})
            wrong = [*others, *(one.replace(" ", "") for one in others), *(f"${one}$" for one in others)]
            wrong += [rf"\left{one[:-1]}\right{one[-1]}" for one in others] + [rf"x \in {one}" for one in others]
            inside, outside = gold[1:-1], gold[0] + gold[-1]
            wrong += [f"{outside[0]}{a - 1}, {b}{outside[1]}", f"{outside[0]}{a}, {-b}{outside[1]}", str(a), str(b)]
            wrong += [f"{outside[0]}{b}, {a}{outside[1]}", rf"{outside[0]}{a}, \infty)", rf"(-\infty, {b}{outside[1]}"]
            wrong += [rf"{gold} \cup [50, 60]", f"{{{inside}}}" if outside != "()" else "{0}"]
            yield from cases("interval", INTERVAL, gold, wrong, family="interval_ends")
    for n in (3, -5, 12):
        ends = {rf"(-\infty, {n}]", rf"(-\infty, {n})", rf"[{n}, \infty)", rf"({n}, \infty)"}
        for gold in sorted(ends):
            wrong = [*sorted(ends - {gold}), str(n), r"(-\infty, \infty)", gold.replace(str(n), str(n + 1))]
            wrong += [one.replace(" ", "") for one in sorted(ends - {gold})]
            yield from cases("interval", INTERVAL, gold, wrong, family="interval_ends")
    for gold in (r"[0, 1] \cup [2, 3]", r"(-\infty, -1) \cup (4, \infty)", r"[-3, 0) \cup (0, 5]"):
        wrong = [gold.partition(r" \cup ")[0], gold.partition(r" \cup ")[2], gold.replace("cup", "cap"), "[0, 3]"]
        wrong += [gold.replace("[", "(") if "[" in gold else gold.replace("(4", "[4"), gold.replace("1", "2", 1)]
        wrong += [gold.replace("]", ")") if "]" in gold else gold.replace("1)", "1]")]
        yield from cases("interval", INTERVAL, gold, [one for one in wrong if one != gold], family="interval_ends")


def inequalities() -> Iterator[Case]:
    signs = {"<": (">", r"\le", "="), r"\le": ("<", r"\ge", ">"), ">": ("<", r"\ge", "="), r"\ge": (">", r"\le", "<")}
    signs |= {r"\neq": ("=", "<", ">")}
    for n in ("3", "-7", "12"):
        for sign, others in signs.items():
            wrong = [f"x {other} {n}" for other in others] + [
                f"{n} {sign} x" if sign != r"\neq" else n,
                n,
                f"y {sign} {n}",
            ]
            wrong += [f"x {sign} {n}1", f"-x {sign} {n}"]
            yield from cases("mathematics", "Solve for x.", f"x {sign} {n}", wrong, family="inequalities")
    for a, b in PAIRS:
        wrong = [
            rf"{a} \le x < {b}",
            rf"{a} < x \le {b}",
            rf"{a} \le x \le {b}",
            f"x < {b}",
            f"x > {a}",
            f"{b} < x < {a}",
        ]
        wrong += [f"{a} < x < {b + 1}", f"{a} < y < {b}", f"{a} > x > {b}", f"x < {a} or x > {b}"]
        yield from cases("mathematics", "Solve for x.", f"{a} < x < {b}", wrong, family="inequalities")


def matrix(rows: list[list[str]], name: str = "pmatrix", gap: str = "") -> str:
    body = rf"{gap}\\{gap}".join(f"{gap}&{gap}".join(row) for row in rows)
    return rf"\begin{{{name}}}{gap}{body}{gap}\end{{{name}}}"


MATRICES = (
    [["1", "2"], ["3", "4"]],
    [["0", "-1"], ["5", "7"]],
    [["2"], ["-3"], ["6"]],
    [["1", "0", "4"], ["2", "8", "-5"]],
)
MATRICES += ([[r"\frac{1}{2}", "3"], ["0", r"\sqrt{2}"]],)


def matrices() -> Iterator[Case]:
    for rows in MATRICES:
        transposed = [list(column) for column in zip(*rows, strict=True)]
        last = [*rows[:-1], [*rows[-1][:-1], "9"]]
        first = [[f"8{rows[0][0]}", *rows[0][1:]], *rows[1:]]
        shapes = [
            transposed,
            last,
            first,
            rows[::-1],
            rows[:-1],
            [*rows, rows[0]],
            [[entry for row in rows for entry in row]],
        ]
        shapes += [[row[::-1] for row in rows]] if len(rows[0]) > 1 else []
        for name in ("pmatrix", "bmatrix"):
            for gap in ("", " "):
                wrong = [
                    matrix(shape, kind, gap) for shape in shapes for kind in ("pmatrix", "bmatrix") if shape != rows
                ]
                if len(rows) == len(rows[0]):
                    wrong += [matrix(rows, "vmatrix", gap)]
                wrong += [", ".join(rows[0]), rows[0][0], matrix(rows, name, gap) + "^T", "2" + matrix(rows, name, gap)]
                yield from cases("matrix", "Find the matrix.", matrix(rows, name, gap), wrong, family="matrices")


def tuples() -> Iterator[Case]:
    for items in (
        ("3", "-1"),
        ("0", "5", "2"),
        (r"\frac{1}{2}", "4"),
        ("3", r"\frac{\pi}{2}"),
        (r"\sqrt{2}", "-6", "1"),
    ):
        gold = f"({', '.join(items)})"
        wrong = [
            f"({', '.join(items[::-1])})",
            f"({', '.join(items[:-1])})",
            f"({', '.join((*items, items[0]))})",
            items[0],
        ]
        wrong += [f"({', '.join(('8', *items[1:]))})", f"({', '.join((*items[:-1], '-' + items[-1]))})", "".join(items)]
        wrong += [f"({', '.join((*items[:-1], items[-1] + '0'))})", f"({' + '.join(items)})", f"{gold}, (0, 0)"]
        if len(items) == 2:
            wrong += [f"x = {items[1]}, y = {items[0]}", f"x = {items[0]}"]
        yield from cases("tuple", "Find the ordered tuple.", gold, wrong, family="tuples")
        yield from cases("tuple", "Find the ordered tuple.", gold.replace(" ", ""), wrong, family="tuples")
    for (a, b), (c, d) in (((1, 2), (3, 4)), ((0, -5), (2, 7)), ((-1, 6), (8, 3))):
        wrong = [
            f"({a}, {b})",
            f"({c}, {d})",
            f"({b}, {a}), ({d}, {c})",
            f"({a}, {c}), ({b}, {d})",
            f"({a}, {b}, {c}, {d})",
        ]
        wrong += [f"({a}, {b}), ({c}, {d + 1})", f"({a}, {b}) and ({c}, {-d})", f"({a}, {b}), ({c}, {d}), (9, 9)"]
        wrong += [f"({a},{b}),({d},{c})", f"({a},{b}),({a},{b})"]
        for gold in (f"({a},{b}),({c},{d})", f"({a}, {b}), ({c}, {d})", f"({a}, {b}) and ({c}, {d})"):
            yield from cases("tuple", "Find all points.", gold, [one for one in wrong if one != gold], family="tuples")


def sets() -> Iterator[Case]:
    for items in (("1", "2", "3"), ("-4", "6"), (r"\frac{1}{2}", "2"), (r"\sqrt{3}", "1", "7"), (r"\pi", "5")):
        wrong = [
            items[1:],
            (*items, "9"),
            (*items[:-1], "-" + items[-1]),
            ("8", *items[1:]),
            (*items[:-1], items[-1] + "0"),
        ]
        shown = [rf"\{{{', '.join(one)}\}}" for one in wrong] + [f"{{{','.join(one)}}}" for one in wrong]
        shown += [items[0], r"\emptyset", rf"\{{{' + '.join(items)}\}}", rf"\{{{' or '.join((*items, '9'))}\}}"]
        yield from cases("set", "Find the set.", rf"\{{{', '.join(items)}\}}", shown, family="sets")


def ratios() -> Iterator[Case]:
    for a, b in ((11, 21), (3, 2), (7, 32), (5, 12), (1, 45)):
        wrong = [f"{a + 12}:{b}", f"{b}:{a}", f"{a}:{b} pm", f"{a}:{b} am", f"{a}:{b}:1", f"{a + b}", f"{a}.{b}"]
        wrong += [f"{b}/{a}", f"{a}:{b + 1}", f"-{a}:{b}", f"{a}", f"{a}{b}", f"{2 * a}:{b}", f"{b} to {a}"]
        for problem in ("Find the ratio of boys to girls.", "In what ratio are they mixed?", "Express as a ratio."):
            yield from cases("ratio", problem, f"{a}:{b}", wrong, family="ratios")
    for gold in ("1:2:3", "2:5:7"):
        a, b, c = gold.split(":")
        wrong = [f"{c}:{b}:{a}", f"{a}:{b}", f"{a}:{c}:{b}", f"{a}/{b}/{c}1", f"{a}:{b}:{c}0", f"{a}:{b}:{c} am"]
        yield from cases("ratio", "Find the ratio of the sides.", gold, wrong, family="ratios")
    for hour, minute in ((11, 21), (3, 20), (10, 10)):
        wrong = [
            f"{hour}/{minute}",
            f"{2 * hour}:{2 * minute}",
            f"{minute}:{hour}" if minute < 24 and minute != hour else "8:00",
        ]
        wrong += [f"{hour}:{minute + 1}", f"{hour}", f"{hour}{minute}0", f"{hour} to {minute}", f"{hour}:{minute}:59"]
        yield from cases("time", "What time does the clock show?", f"{hour}:{minute}", wrong, family="ratios")


def degrees() -> Iterator[Case]:
    for function in ("sin", "cos", "tan"):
        for angle in (75, 20, 50, 110):
            wrong = [
                rf"\{function} {angle}",
                rf"\{function}({angle})",
                f"{function} {angle}",
                f"{function}({angle})",
                str(angle),
            ]
            wrong += [
                rf"\{function} {angle + 1}^\circ",
                rf"-\{function} {angle}^\circ",
                rf"\{function} \frac{{{angle}}}{{2}}^\circ",
            ]
            wrong += [rf"{angle}^\circ", rf"2\{function} {angle}^\circ", rf"\{function}^2 {angle}^\circ"]
            for gold in (rf"\{function} {angle}^\circ", rf"\{function}({angle}^{{\circ}})"):
                yield from cases(
                    "mathematics", "Express the height as a trigonometric value.", gold, wrong, family="degrees"
                )


EXPRESSIONS = {
    r"1 - \frac{1}{e}": (r"1 + \frac{1}{e}", "1+1/e", r"\frac{1}{e} - 1", "1 - e", r"1 - \frac{1}{e^2}", r"-\frac{1}{e}", "0.632 or 1.368"),
    r"\frac{e-1}{e}": (r"\frac{e+1}{e}", r"\frac{1-e}{e}", r"\frac{e-1}{2e}", "e-1", r"\frac{e}{e-1}", "(e-1)e"),
    r"1 + \sqrt{2}": (r"1 - \sqrt{2}", r"1 \pm \sqrt{2}", r"\sqrt{2} - 1", r"\sqrt{3}", "2.42", r"1 + \sqrt{2}, 1 - \sqrt{2}", r"\sqrt{1 + 2}"),
    r"\pm 4": ("4", "-4", "8", r"\pm 2", "0", r"\mp 4 + 1"),
    r"2\pi - 3": (r"2\pi + 3", r"3 - 2\pi", r"2\pi", "3.38", r"2(\pi - 3)", r"\pi - 3"),
    r"\ln 5": (r"\ln 6", "5", r"\ln \frac{1}{5}", r"-\ln 5", r"\log_2 5", "1.7"),
    r"0.\overline{3}": ("0.3", "0.33", r"0.\overline{6}", r"0.\overline{03}", "3", "0.3%"),
    "x_2": ("x^2", "x2^2", "2x", "x_1", "x_{12}", "y_2"),
    "204_5": ("204_6", "2045", "204^5", "54_5", "204_{15}", "402_5"),
    r"\frac{x}{y+1}": (r"\frac{x}{y}+1", r"\frac{x+1}{y}", r"\frac{y+1}{x}", r"\frac{x}{y-1}", "x(y+1)"),
    r"\binom{7}{2}": (r"\binom{7}{3}", r"\binom{2}{7}", r"\frac{7}{2}", r"\binom{72}{1}", "14"),
    r"\sum_{k=1}^{n} k^2": (r"\sum_{k=1}^{n} k", r"\sum_{k=0}^{n} k^3", r"\sum_{k=1}^{n+1} k^2", r"\prod_{k=1}^{n} k^2", r"\sum_{k=1}^{m} k^2"),
    r"2\sqrt{3} \approx 3.46": (r"3\sqrt{2} \approx 3.46", r"2\sqrt{5} \approx 4.47", r"2\sqrt{3} \approx 9.46", r"\approx 4.46"),
    "3x^2 - 5x + 2": ("3x^2 + 5x + 2", "3x^2 - 5x - 2", "3x^2 - 5x", "3x^3 - 5x + 2", "5x^2 - 3x + 2", "3x - 5x + 2", "3y^2 - 5y + 2"),
    "(a, b) = (2, 9)": ("(a, b) = (9, 2)", "(b, a) = (2, 9)", "(2, 8)", "a = 9, b = 2", "a = 2", "ab = 18"),
    r"\angle APC = 74^\circ": (r"\angle APC = 75^\circ", r"\angle ABC = 74^\circ", r"7.4^\circ", r"\angle APC", r"74^\circ or 75^\circ"),
    "S_{ABC} = 12": ("S_{ABC} = 21", "S_{ABD} = 12", "S_{ABC}", "S_{ABC} > 12", "1.2"),
    "|AB| = 5": ("|AC| = 5", "|AB| = -5", "|AB| > 5", "|AB| = 25", "|AB|"),
    r"\frac{NO}{BO} = \frac{1}{3}": (r"\frac{NO}{BO} = 3", r"\frac{BO}{NO} = \frac{1}{3}", r"\frac{1}{4}", r"\frac{NO}{BO}", "3"),
}  # fmt: skip


def expressions() -> Iterator[Case]:
    for gold, wrong in EXPRESSIONS.items():
        shown = [*wrong, *(f"${one}$" for one in wrong), *(rf"\boxed{{{one}}}" for one in wrong)]
        yield from cases("mathematics", READING, gold, shown, family="expressions")


COLLECTIONS = (interval_ends, inequalities, matrices, tuples, sets, ratios, degrees, expressions)
