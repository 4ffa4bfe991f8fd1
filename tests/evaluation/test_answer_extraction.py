"""Answers in any dress: an unambiguous one is read, any other names nothing, and VLMEvalKit's own reading is kept."""

import pytest

from wethink.evaluation.benchmarks.answer_extraction import KIT, OURS, answer_text, option, yes_no

ANIMALS = {"A": "cat", "B": "dog", "C": "a red hat", "D": "none of these"}


def read(said: str, options: dict[str, str] = ANIMALS) -> str | None:
    return option(answer_text(said, OURS), options, OURS).value


@pytest.mark.parametrize(
    "said",
    [
        *(
            "b",
            "(b)",
            "b.",
            '"B"',
            "‘B’",
            "“b”",
            "[B]",
            "`B`",
            "__B__",
            "$B$",
            "B<|im_end|>",
            "B</s>",
            "Ｂ",
            "（Ｂ）",
            "ｂ．",
        ),
        *(
            "答案：B",
            "答案是 B。",
            "答案为（B）",
            "选B",
            "应选B。",
            "故选：B",
            "我选择 B 选项",
            "选项B",
            "B选项",
            "B。",
        ),
        *('{"answer": "B"}', '{"answer": "b) dog"}', '{"thought": "A, C?", "final_answer": ["B"]}', "{'answer': 'B'}"),
        *('```json\n{"answer": "B"}\n```', 'A or C? No.\n{"choice": "B", "confidence": 0.9}'),
        *(
            r"A is a cat, C is a hat. \boxed{B}",
            r"\boxed{\text{B}}",
            r"\boxed{B. dog}",
            r"C?\n\(\boxed{(B)}\)",
            r"\fbox{b}",
        ),
        *(
            "<|begin_of_box|>B<|end_of_box|>",
            "<think>A or C</think>\n\nb",
            "<think>A</think><answer>b</answer>",
            "<answer>B",
        ),
        *(
            "Answer: b",
            "**Answer:** B",
            "The answer is (b).",
            "final answer: 'b'",
            "My answer = B",
            "The correct option is: b",
        ),
        *(
            "A shows a cat.\nC shows a hat.\n\nB",
            "I think A. No, wait.\nAnswer: B",
            "B\n\nExplanation: A is not in the picture",
        ),
        *(
            "b) dog",
            "(B) dog.",
            "B - dog",
            "dog (B)",
            "B because it barks",
            "B is correct",
            "B, not A",
        ),
        *("A dog", "It is a dog.", "The answer is a dog", "A cat sits there, so B"),
    ],
)
def test_an_unambiguous_answer_is_read_whatever_its_dress(said: str) -> None:
    assert read(said) == "B"


@pytest.mark.parametrize(
    "said",
    [
        *(
            "",
            "A or B",
            "both a and b",
            "a, b",
            r"\boxed{A} or \boxed{B}",
            '{"answer": ["A", "B"]}',
            "{'a': 1}",
            "答案不是B",
        ),
        *(
            "B. cat",
            "cat (B)",
            "(b) cat",
            "The answer is not B",
            "B is wrong",
            "It isn't (B)",
            "E",
            "e",
            "7",
            "BB",
            "Bb",
            "答案：E",
        ),
        "B, since A is too small? no",
        *("the answer is A\nthe answer is B", "A\nB", "{" * 2000, "(" * 2000, "b" * 2000, '{"answer": {"x": "B"}}'),
    ],
)
def test_an_ambiguous_or_contradictory_answer_names_no_option(said: str) -> None:
    assert read(said) is None


@pytest.mark.parametrize(
    "said", ["(A) a.", "A: a", "A.", "**A** a", "A\na", "A is right", "(A)", "A, because it purrs"]
)
def test_a_marked_capital_a_is_an_option_not_an_article(said: str) -> None:
    assert read(said, {"A": "x", "B": "y", "C": "z"}) == "A"


def test_the_pronoun_is_no_ninth_option_and_letters_beyond_j_are_options() -> None:
    many = {letter: f"thing {letter.lower() * 2}" for letter in "ABCDEFGHIJKL"}
    assert [read(said, many) for said in ("I think it is L", "I", "(I)", "k", "I would say B")] == [
        "L",
        "I",
        "I",
        "K",
        "B",
    ]


@pytest.mark.parametrize(
    ("said", "options", "named"),
    [
        ("图中是一只狗。", {"A": "狗", "B": "猫", "C": "兔子", "D": "老鼠"}, "A"),
        ("答えは犬です", {"A": "犬", "B": "猫", "C": "うさぎ"}, "A"),
        ("그것은 고양이입니다", {"A": "개", "B": "고양이", "C": "토끼"}, "B"),
        ("ในภาพมีแมวหนึ่งตัว", {"A": "หมา", "B": "แมว", "C": "กระต่าย"}, "B"),
        ("图中有cat吗", {"A": "cat", "B": "dog"}, "A"),
        ("共有3只。", {"A": "3只", "B": "4只"}, "A"),
        ("concatenate", {"A": "cat", "B": "dog"}, None),
        ("größer", {"A": "gr", "B": "zz"}, None),
    ],
)
def test_words_are_found_in_scripts_without_blanks_and_not_within_words_of_others(
    said: str, options: dict[str, str], named: str | None
) -> None:
    assert read(said, options) == named


@pytest.mark.parametrize(
    ("said", "ours"),
    [
        *(
            (said, "Yes")
            for said in ("_Yes_", "**yes**", "yes or no: Yes", "Yes/No: yes", "是的", "是", "对。", "有", "Ｙｅｓ")
        ),
        *(
            (said, "Yes")
            for said in (
                "是的，图中有一只狗",
                "答案：是",
                '{"answer": "yes"}',
                r"no doubt: \boxed{Yes}",
                "Yes<|im_end|>",
            )
        ),
        *(
            (said, "No")
            for said in (
                "不是",
                "不，没有狗",
                "否",
                "没有。",
                "答案是否",
                "__No__",
                "yes or no? No.",
            )
        ),
        *(
            (said, None)
            for said in ("", "Nope", "yes and no", "Is it yes or no?", "图中有一只狗", "是的，不是", "no (not yes)")
        ),
    ],
)
def test_yes_and_no_are_read_in_any_dress_and_in_chinese(said: str, ours: str | None) -> None:
    assert yes_no(answer_text(said, OURS), OURS).value == ours


@pytest.mark.parametrize(
    "said",
    [
        "<answer>",
        "answer is ",
        "\\boxed{",
        "{",
        "(",
        "B ",
        " \n",
        "答案 ",
        "yes or ",
        "* ",
        "\"'",
        "B because C ",
        "</think>",
    ],
)
def test_a_long_hostile_answer_takes_bounded_time(said: str) -> None:
    import time

    text, started = said * (60_000 // len(said)), time.process_time()
    read(text), read(text + "x" + " " * 30_000 + "("), yes_no(answer_text(text, OURS), OURS)
    assert time.process_time() - started < 5


def test_the_kit_s_own_reading_is_deaf_to_them() -> None:
    deaf = ["b", "(b)", '"B"', '{"answer": "B"}', "B<|im_end|>", "Ｂ", "答案：B"]
    assert {option(said, ANIMALS, KIT).value for said in deaf} == {None}
    assert {yes_no(said, KIT).value for said in ("是的", "不是", "no, yes or no: No ... yes")} == {None}
