"""Wrong words: a name cut at its article, another option in a long list, another formula, another Chinese number."""

from collections.abc import Iterator

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.forms import COUNT, READING, cases


def names_with_articles() -> Iterator[Case]:
    for thing in (
        "Hepatitis",
        "Vitamin",
        "Plan",
        "Group",
        "Blood type",
        "Serie",
        "Point",
        "Class",
        "Team",
        "Exhibit",
        "Type",
    ):
        bare = thing.lower()
        wrong = [thing, bare, f"{bare}.", f"a {bare}", f"A {bare}", f"the {bare}", f"an {bare}", f"{thing} B"]
        wrong += [f"**{thing}**", rf"\text{{{thing}}}", f"It is {bare}.", f"The answer is {thing}", f"{thing} AA"]
        yield from cases("text", "What is shown?", f"{thing} A", wrong, family="names_with_articles")
        yield from cases(
            "list",
            "What is shown?",
            f"{thing} A, Box",
            [f"{thing}, Box", f"{thing} B, Box"],
            family="names_with_articles",
        )
    yield from cases(
        "list",
        "Which points lie on the line?",
        "A, B",
        ["B", "a b c", "the B", "A", "B, A, C"],
        family="names_with_articles",
    )


COLOURS = (
    "red",
    "blue",
    "green",
    "black",
    "white",
    "brown",
    "pink",
    "grey",
    "gold",
    "teal",
    "navy",
    "lime",
    "olive",
    "plum",
)
LETTERS = "ABCDEFGHIJKLMN"
TRAILERS = (
    "",
    "\nAnswer with the option's letter from the given choices directly.",
    "\nPlease select one.",
    "\n\nHint: look twice.",
)


def listed(style: str, count: int) -> str:
    return "\n".join(style.format(LETTERS[i], COLOURS[i]) for i in range(count))


def other_options() -> Iterator[Case]:
    for style in ("{}. {}", "{}.{}", "({}) {}", "{}) {}", "{}: {}", "{}:{}"):
        for count in (4, 5, 12):
            for trailer in TRAILERS:
                problem = f"Which is the largest bar?\n{listed(style, count)}{trailer}"
                last, other = LETTERS[count - 1], LETTERS[count - 2]
                wrong = [
                    other,
                    COLOURS[count - 2],
                    style.format(other, COLOURS[count - 2]),
                    style.format(last, COLOURS[0]),
                ]
                wrong += [
                    f"{other} is correct",
                    f"{COLOURS[count - 2]} ({other})",
                    f"{COLOURS[0]} ({last})",
                    f"({other})",
                ]
                wrong += [
                    f"{last} or {other}",
                    f"{last} {other}",
                    "Z",
                    LETTERS[count] if count < 14 else "O",
                    f"not {last}",
                ]
                wrong += [f"{other}. {COLOURS[count - 1]}", f"{other} because it is {COLOURS[count - 1]}"]
                yield from cases("option", problem, last, wrong, "MC", family="other_options")
    nested = "Which holds? (A) only one (B) only two (C) Both (A) and (B) (D) Neither (A) nor (B)"
    for gold, wrong in {
        "D": ["C", "(C)", "Both (A) and (B)", "A", "only two", "C. Neither (A) nor (B)"],
        "C": ["D", "(D)", "Neither (A) nor (B)", "B", "only one"],
    }.items():
        yield from cases("option", nested, gold, wrong, "MC", family="other_options")


def formulas() -> Iterator[Case]:
    for gold, wrong in {
        "H2O": ("H2O2", "HO2", "H3O", "H_2O_2", "H2 O2", r"\mathrm{H_2O_2}", "2HO", "H20H"),
        "CO2": ("CO", "C2O", "CO_3", r"\mathrm{CO_3}", "CO2H", "SO2"),
        r"\mathrm{C_6H_{12}O_6}": ("C6H12O5", r"\mathrm{C_6H_{12}}", "C12H6O6", "C6H6O12", r"\mathrm{C_6H_{11}O_6}"),
        r"\overline{AB}": (r"\overline{AC}", r"\overline{ABC}", "BC", "AB^2", r"\overline{AB} + 1"),
        r"\triangle ABC": (r"\triangle ABD", r"\angle ABC", "AB", r"\triangle AB"),
        r"AB \parallel CD": (r"AB \perp CD", "AB ⊥ CD", r"AB \parallel CE", r"AB \nparallel CD", "AB = CD"),
    }.items():
        yield from cases("text", "What is it?", gold, [*wrong, *(f"${one}$" for one in wrong)], family="formulas")


def chinese() -> Iterator[Case]:
    for figure in ("3", "5", "12"):
        wrong = [
            f"{figure}万",
            f"{figure}亿",
            f"{figure}千",
            f"{figure}百",
            f"第{figure}",
            f"{figure}倍多",
            f"{figure}0个",
            f"-{figure}个",
        ]
        wrong += [
            f"{int(figure) + 1}个",
            f"{int(figure) + 1}。",
            f"答案：{int(figure) + 1}",
            f"不是{figure}",
            f"{figure}分之一",
            f"{figure}或6",
        ]
        yield from cases("integer", "图中有多少个圆？", figure, wrong, family="chinese")
    for gold, wrong in {
        "50": ("十五", "五", "五百", "十五个"),
        "12": ("二十", "二十一", "十", "一百二十"),
        "20000": ("两千", "二百", "两万五", "2千"),
    }.items():
        yield from cases("integer", "图中有多少个圆？", gold, wrong, family="chinese")
    wrong = ["绿色", "绿色。", "不是红色", "红色或绿色", "红色的反面", "答案：绿色"]
    yield from cases("text", "圆是什么颜色？", "红色", wrong, family="chinese")
    wrong = ["选C", "C。", "答案：C", "选项C", "（C）", "Ｃ", "不选B", "选B或C", "选B和C", "绿色", "C、绿色", "答案是C"]
    yield from cases("option", "最大的是哪个？\nA. 红色\nB. 蓝色\nC. 绿色", "B", wrong, "MC", family="chinese")
    for gold, wrong in {
        "5千克": ("5克", "5公里", "5吨", "50千克"),
        "3米": ("3厘米", "3千米", "3平方米", "3秒"),
        "20元": ("20角", "20美元", "2元"),
    }.items():
        yield from cases("unit", "是多少？", gold, wrong, family="chinese")
    yield from cases("yes/no", "猫在垫子上吗？", "是", ["不是", "否", "没有", "是不是", "是或不是"], family="chinese")


def spelled() -> Iterator[Case]:
    for gold, wrong in {
        "6th": ("16th", "60th", "seventh", "sixteenth", "sixtieth", "fifth"),
        "11th": ("twelfth", "first", "1st", "110th", "eleven hundred"),
        "23rd": ("twenty-second", "third", "32nd", "thirteenth", "23rd or 24th"),
    }.items():
        yield from cases("text", "On which floor?", gold, wrong, family="spelled")
    for gold in ("7", "15"):
        wrong = [f"{gold} (eight)", f"#{gold}0", f"No. {gold}1", f"{gold}.{gold}", f"{gold} (or {gold}0)"]
        yield from cases("integer", COUNT, gold, wrong, family="spelled")
        yield from cases("integer", READING, gold, wrong, family="spelled")


WORDS = (names_with_articles, other_options, formulas, chinese, spelled)
