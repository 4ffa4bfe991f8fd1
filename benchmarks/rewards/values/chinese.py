# ruff: noqa: E501 — a table reads better in long lines
r"""Kinds of Chinese answers: counts, words and options."""

import random
from fractions import Fraction

from benchmarks.rewards.values.kinds import Kind, Trap
from benchmarks.rewards.values.words import other_word

NUMERALS = "零一二三四五六七八九"


def numeral(n: int) -> str:
    """Write 0 to 999 in Chinese numerals."""
    if n >= 100:
        rest = n % 100
        tail = (
            ""
            if rest == 0
            else "零" + NUMERALS[rest]
            if rest < 10
            else NUMERALS[rest // 10] + "十" + (NUMERALS[rest % 10] if rest % 10 else "")
        )
        return NUMERALS[n // 100] + "百" + tail
    if n >= 20:
        return NUMERALS[n // 10] + "十" + (NUMERALS[n % 10] if n % 10 else "")
    return "十" + (NUMERALS[n % 10] if n % 10 else "") if n >= 10 else NUMERALS[n]


def chinese_count(n: int, rng: random.Random) -> str:
    shown = rng.choice([str(n), numeral(n), str(n).translate({ord(d): ord(d) + 0xFEE0 for d in "0123456789"})])
    return rng.choice(
        [
            shown,
            f"{shown}个",
            f"{shown}。",
            f"答案：{shown}",
            f"答案是{shown}。",
            f"共{shown}个",
            f"{shown}只",
            f"{shown}个。",
            f"有{shown}个",
        ]
    )


def chinese_traps(n: int, rng: random.Random) -> list[Trap]:
    return [
        (f"{n}万", n * 10**4),
        (f"{n}千", n * 1000),
        (f"{n}分之一", Fraction(1, n)),
        (f"不是{n}", "a negation"),
        (f"{n}或{n + 1}", "two answers"),
        (f"{n}亿个", n * 10**8),
        (f"负{n}", -n),
    ]


CHINESE = ("红色", "蓝色", "绿色", "北京", "上海", "苹果", "火车站", "长颈鹿", "自行车", "钢琴")


def chinese_word(value: str, rng: random.Random) -> str:
    return rng.choice(["{}", "{}。", "答案：{}", "答案是{}。", "“{}”", "**{}**", "「{}」", "答案为{}", "{}！"]).format(
        value
    )


ChineseOptions = tuple[tuple[str, ...], int]


def chinese_listed(value: ChineseOptions, rng: random.Random) -> str:
    mark = rng.choice((". ", "．", "、"))
    return "图中是什么？\n" + "\n".join("ABCD"[i] + mark + text for i, text in enumerate(value[0]))


def chinese_option(value: ChineseOptions, rng: random.Random) -> str:
    mark, text = "ABCD"[value[1]], value[0][value[1]]
    return rng.choice(
        [
            mark,
            f"{mark}。",
            f"选{mark}",
            f"答案：{mark}",
            f"答案是{mark}。",
            f"（{mark}）",
            text,
            f"{mark}. {text}",
            f"{mark}．{text}",
            f"选项{mark}",
            chr(ord(mark) + 0xFEE0),
            f"{text}。",
            f"故选{mark}。",
        ]
    )


def chinese_option_traps(value: ChineseOptions, rng: random.Random) -> list[Trap]:
    mark, other = "ABCD"[value[1]], "ABCD"[(value[1] + 1) % 4]
    return [
        (f"不选{mark}", "a negation"),
        (f"选{mark}或{other}", "two answers"),
        (f"选{mark}和{other}", "two answers"),
        (f"{mark}、{value[0][(value[1] + 1) % 4]}", "a contradiction"),
    ]


CHINESE_KINDS = (
    Kind("Chinese counts", "图中有多少个圆？", lambda rng: rng.randint(2, 320), lambda n, rng: rng.choice([n + 1, n * 10 if n < 99 else n + 3, n + 10, max(2, n // 10) if n > 29 else n + 2]), (lambda n, rng: str(n), chinese_count), chinese_traps, golds=1),
    Kind("Chinese words", "这是什么？", lambda rng: rng.choice(CHINESE), lambda v, rng: other_word(CHINESE, v, rng), (lambda v, rng: v, chinese_word), lambda v, rng: [(f"不是{v}", "a negation"), (f"非{v}", "a negation"), (f"{v}或{other_word(CHINESE, v, rng)}", "two answers")], golds=1),
    Kind("Chinese options", chinese_listed, lambda rng: (tuple(rng.sample(CHINESE, 4)), rng.randrange(4)), lambda v, rng: (v[0], rng.choice([i for i in range(4) if i != v[1]])), (lambda v, rng: "ABCD"[v[1]], chinese_option, chinese_option), chinese_option_traps, golds=1, category="MC"),
)  # fmt: skip
