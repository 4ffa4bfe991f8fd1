# ruff: noqa: E501 — a table reads better in long lines
"""Right words: options in every style of list, Chinese, signs of geometry, formulas, names with articles, percentages."""

from collections.abc import Iterator

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import COUNT, READING, both_ways, cases, dressed
from tests.rewards.adversarial.hostile_words import COLOURS, LETTERS, TRAILERS, listed


def options() -> Iterator[Case]:
    for style in ("{}. {}", "{}.{}", "({}) {}", "{}) {}", "{}: {}", "{}:{}"):
        for count in (4, 5, 12):
            for trailer in TRAILERS:
                problem = f"Which is the largest bar?\n{listed(style, count)}{trailer}"
                for place in (count - 1, 1):
                    letter, text = LETTERS[place], COLOURS[place]
                    forms = [
                        letter,
                        text,
                        style.format(letter, text),
                        f"({letter})",
                        f"{letter}. {text}",
                        f"{letter} is correct",
                        f"{text} ({letter})",
                    ]
                    forms += [
                        f"{letter} is correct.",
                        f"{letter} is the correct answer.",
                        f"Option {letter}",
                        f"{text.capitalize()}.",
                        rf"\boxed{{{letter}}}",
                    ]
                    forms += [f"The answer is {letter}.", f"{text} ({letter})."]
                    yield from cases("option", problem, letter, forms, "MC")
                    yield from cases("option", problem, style.format(letter, text), forms[:3], "MC")
    nested = "Which holds? (A) only one (B) only two (C) Both (A) and (B) (D) Neither (A) nor (B)"
    for letter, text in {"A": "only one", "B": "only two", "C": "Both (A) and (B)", "D": "Neither (A) nor (B)"}.items():
        yield from cases(
            "option",
            nested,
            letter,
            [letter, text, f"({letter})", f"({letter}) {text}", f"{letter}. {text}", *dressed(letter)],
            "MC",
        )


def chinese() -> Iterator[Case]:
    counters = "个只条张本辆朵块位名"
    for figure, numeral in (
        ("3", "三"),
        ("5", "五"),
        ("12", "十二"),
        ("20", "二十"),
        ("35", "三十五"),
        ("108", "一百零八"),
        ("2000", "两千"),
    ):
        forms = [
            f"{figure}。",
            *(f"{figure}{counter}" for counter in counters),
            f"{figure} 个",
            numeral,
            f"{numeral}个",
            f"{numeral}。",
            f"答案：{figure}",
            f"答案是{figure}",
        ]
        forms += [
            f"答案是{figure}。",
            f"答案:{figure}",
            f"答案为{figure}",
            f"共{figure}个",
            f"{figure}个。",
            f"【{figure}】",
            f"「{figure}」",
            f"（{figure}）",
            f"＝{figure}",
        ]
        forms += [
            figure.translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"}),
            f"一共有{figure}个",
            f"有{figure}个。",
            f"**{figure}个**",
        ]
        yield from cases("integer", "图中有多少个圆？", figure, forms)
        yield from cases("integer", "图中有多少个圆？", f"{figure}个", [figure, f"{figure}个", f"{numeral}个"])
    for figure, exact in (("3万", "30000"), ("1.5万", "15000"), ("2亿", "200000000"), ("五万", "50000")):
        yield from both_ways("thousands", "有多少人？", exact, [figure, f"{figure}人", f"{figure}。"])
    for gold in ("红色", "北京", "埃菲尔铁塔", "猫"):
        forms = [
            gold,
            f"{gold}。",
            f"答案：{gold}",
            f"答案是{gold}。",
            f"“{gold}”",
            f"「{gold}」",
            f"**{gold}**",
            f"《{gold}》",
            f"{gold}！",
            f"是{gold}。",
            rf"\boxed{{{gold}}}",
        ]
        yield from cases(
            "text", "这是什么？", gold, [*forms, f"  {gold}  ", f"【{gold}】", rf"\text{{{gold}}}", f"{gold}．"]
        )
    problem = "最大的是哪个？\nA. 红色\nB. 蓝色\nC. 绿色"
    for letter, text in (("A", "红色"), ("B", "蓝色"), ("C", "绿色")):
        forms = [
            letter,
            f"{letter}。",
            f"选{letter}",
            f"选{letter}。",
            f"答案：{letter}",
            f"答案:{letter}",
            f"答案是{letter}",
            f"（{letter}）",
            f"选项{letter}",
            f"{letter}、{text}",
        ]
        forms += [
            f"{letter}．{text}",
            text,
            f"{text}。",
            chr(ord(letter) + 0xFEE0),
            f"应选{letter}",
            f"正确答案是{letter}。",
            f"故选{letter}",
            f"选择{letter}",
            f"{letter}. {text}",
        ]
        forms += [f"答案为{letter}", f"【答案】{letter}", f"正确选项是{letter}"]
        yield from cases("option", problem, letter, forms, "MC")
        yield from cases("option", problem.replace(". ", "．"), letter, [letter, text, f"{letter}．{text}"], "MC")
        yield from cases("option", problem.replace(". ", "、"), letter, [letter, text, f"{letter}、{text}"], "MC")
    for gold, forms in {
        "是": ("是的", "是。", "是的。", "对", "正确"),
        "否": ("不是", "不是。", "否。", "不", "不对"),
    }.items():
        yield from cases("yes/no", "猫在垫子上吗？", gold, [gold, *forms])
    for gold, forms in {
        "5千克": ("5公斤", "5 kg", "5kg", "5", "5000克"),
        "3米": ("3 m", "3m", "300厘米", "3"),
        "20元": ("20", "20块", "￥20", "¥20"),
    }.items():
        yield from cases("unit", "是多少？", gold, [gold, f"{gold}。", f"答案：{gold}", *forms])
    yield from cases("percent", "百分之几？", "50%", ["50％", "百分之五十", "50%。", "50"])


SIGNS = {
    r"\angle ABC": ("∠ABC", r"$\angle ABC$", r"\angle{ABC}", "angle ABC", "∠ ABC"),
    r"AB \parallel CD": ("AB ∥ CD", "AB∥CD", r"$AB \parallel CD$", r"AB\parallel CD", "AB || CD"),
    r"AB \perp CD": ("AB ⊥ CD", "AB⊥CD", r"$AB \perp CD$", r"AB\perp CD"),
    r"\triangle ABC": ("△ABC", r"$\triangle ABC$", r"\triangle{ABC}", "△ ABC", "triangle ABC"),
    r"\triangle ABC \cong \triangle DEF": ("△ABC ≅ △DEF", r"$\triangle ABC\cong\triangle DEF$"),
    r"\triangle ABC \sim \triangle DEF": ("△ABC ∼ △DEF", "△ABC ~ △DEF"),
    r"\overline{AB}": ("AB", r"$\overline{AB}$", r"\overline{ AB }", "segment AB"),
    "H2O": ("H_2O", r"\mathrm{H_2O}", "H₂O", r"$\mathrm{H}_2\mathrm{O}$", r"H_{2}O", r"\text{H}_2\text{O}", r"\ce{H2O}"),
    "CO2": ("CO_2", r"\mathrm{CO_2}", "CO₂", r"$\mathrm{CO}_2$", r"\ce{CO2}"),
    "C6H12O6": (r"\mathrm{C_6H_{12}O_6}", "C₆H₁₂O₆", r"C_6H_{12}O_6", r"\ce{C6H12O6}"),
    "204_5": ("204_{5}", r"$204_5$", r"204_{\text{5}}", r"(204)_5", r"204_{(5)}"),
    "x_1": ("x_{1}", "x₁", "$x_1$"),
    r"\alpha": ("α", r"$\alpha$", r"{\alpha}"),
    r"\emptyset": ("∅", r"\varnothing", r"$\emptyset$", r"\{\}"),
    r"x \in \mathbb{R}": ("x ∈ ℝ", r"x\in\mathbb{R}", r"$x \in \mathbb R$", r"x \in \R"),
    "7": ("7 (seven)", "#7", "No. 7", "seven (7)", "Number 7", "no. 7", "№7", "# 7"),
    r"\text{(B)}": ("B", "(B)", r"\textbf{(B)}", r"\mathrm{(B)}"),
}  # fmt: skip


def signs() -> Iterator[Case]:
    for gold, forms in SIGNS.items():
        yield from both_ways("text", "What is it?", gold, [gold, *forms])


def names_with_articles() -> Iterator[Case]:
    for thing in ("Hepatitis", "Vitamin", "Plan", "Blood type", "Point", "Class", "Team"):
        gold = f"{thing} A"
        forms = [
            *dressed(gold),
            gold.lower(),
            gold.upper(),
            f"the {gold}",
            f"{thing}  A",
            f"{thing}-A",
            f"It is {gold}.",
            rf"\text{{{gold}}}",
            f"a {gold}",
        ]
        yield from cases("text", "What is shown?", gold, forms)
    for gold, forms in {
        "the cat": ("a cat", "cat", "The cat."),
        "an apple": ("apple", "the apple"),
        "cat on a mat": ("the cat on the mat", "a cat on the mat"),
    }.items():
        yield from cases("text", "What is shown?", gold, forms)


def shares() -> Iterator[Case]:
    for n in ("50", "5", "12"):
        for problem in ("What percent of the area is shaded?", "By what percentage did it rise?"):
            yield from both_ways(
                "percent", problem, n, [n, f"{n}%", rf"{n}\%", f"{n} percent", f"{n} %", f"{n}.0%", rf"${n}\%$"]
            )
    yield from both_ways("percent", READING, "0.5", ["50%", "1/2", r"50\%", "50 percent", r"\frac{1}{2}"])


def figures() -> Iterator[Case]:
    for n, word in ((7, "seven"), (15, "fifteen"), (40, "forty")):
        forms = [
            f"{n} ({word})",
            f"{word} ({n})",
            f"#{n}",
            f"No. {n}",
            f"{n} of them",
            f"exactly {n}",
            f"{n} in all",
            f"{n} altogether",
            f"{n} in total",
        ]
        yield from cases("integer", COUNT, str(n), [*forms, f"There are exactly {n} circles.", f"{n} circles in total"])


WORDS = (options, chinese, signs, names_with_articles, shares, figures)
