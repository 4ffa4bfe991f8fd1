"""Every response format: no response gives two answers, every breach has a name, and what is written is read again."""

import json
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from wethink.common.errors import UserError
from wethink.config.response_format import JsonKeys, Kind, ResponseFormat
from wethink.config.rewards import Rewards
from wethink.rewards import format, hybrid

KINDS: tuple[Kind, ...] = ("tags", "think", "boxed", "json", "free")
FORMS = {kind: ResponseFormat(kind=kind) for kind in KINDS}
EMPTY = {kind: ResponseFormat(kind=kind, allow_empty_thought=True) for kind in KINDS}
REWARDS = {
    kind: Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical", format=form)
    for kind, form in FORMS.items()
}

RIGHT = {  # thought "I see", answer 3
    "tags": ["<think>I see</think><answer>3</answer>", "<think>\nI see\n</think>\n\n<answer> 3 </answer>\n"],
    "think": ["I see</think>3", "I see\n</think>\n\n3", "\nI see\n</think>3\n"],
    "boxed": [
        r"I see \boxed{3}", "I see\n\\boxed{ 3 }", r"I see $\boxed{3}$.", r"I see \[\boxed{3}\]",
        r"I see **\boxed{3}**",
        r"I see $$\boxed{3}.$$", "I see \\(\\boxed{3}\\)。",
    ],
    "json": [
        '{"reasoning": "I see", "answer": "3"}', ' {\n"reasoning":"I see" ,\n"answer":" 3 "}\n',
        '{"reasoning": "\\u0049 see", "\\u0061nswer": "3"}',
    ],
    "free": ["I see\n3", "I see\n\n 3 \n", "I see\r\n3"],
}  # fmt: skip

BREACHES = {
    "tags": {
        "<think>I see</think><answer>3</answer><answer>4</answer>": "<answer> repeated",
        "<think>3<ans\u200bwer>4</ans\u200bwer></think><answer>3</answer>": "hidden",
        "<think>3＜answer＞4＜/answer＞</think><answer>3</answer>": "hidden",
        "<think>3<ans\x00wer>4</answ\x00er></think><answer>3</answer>": "hidden",
        "\ufeff<think>I see</think><answer>3</answer>": "text before <think>",
        "```\n<think>I see</think><answer>3</answer>\n```": "text before <think>",
    },
    "think": {
        "": "no </think>",
        "3": "no </think>",
        "I see 3": "no </think>",
        "<think>I see</think>3": "<think> repeated",
        "I see</think>3</think>4": "</think> repeated",
        "I see</think>3<think>no</think>4": "<think> repeated",
        "I see</Think>3</think>4": "misspelt tag </Think>",
        "I see< / think >3</think>4": "misspelt tag < / think >",
        "I see</thi\u200bnk>3</think>4": "hidden",
        "I see＜/think＞3</think>4": "hidden",
        "</think>3": "empty thinking",
        "\u200b\n</think>3": "empty thinking",
        "I see</think>": "empty answer",
        "I see</think>\u200b": "empty answer",
    },
    "boxed": {
        "": r"no \boxed{}",
        "I see 3": r"no \boxed{}",
        r"I see \boxed{3} \boxed{4}": "differ",
        r"\boxed{4} I see \boxed{3}": "differ",
        r"Put it into \boxed{}. I see \boxed{3}": "differ",
        r"I see \boxed{\boxed{3}}": "inside",
        r"I see \boxed{4 \boxed{3}}": "inside",
        r"I see \boxed{3": "unbalanced",
        r"I see \boxed{3\}": "unbalanced",
        r"I see \boxed{{3}": "unbalanced",
        r"I see \boxed{4 and \boxed{3}": "unbalanced",
        r"I see \boxed{3}}": r"text after \boxed{}",
        r"I see \boxed{3} or 4": r"text after \boxed{}",
        r"I see \boxed{3}, no: 4": r"text after \boxed{}",
        r"I see \boxed{3}4": r"text after \boxed{}",
        "```\nI see \\boxed{3}\n```": r"text after \boxed{}",
        r"I see \Boxed{4} \boxed{3}": "misspelt box",
        r"I see \fbox{4} \boxed{3}": "misspelt box",
        r"I see \boxed {4} \boxed{3}": "misspelt box",
        r"I see \boxed 4 \boxed{3}": "misspelt box",
        r"I see \\boxed{4} \boxed{3}": "misspelt box",
        "I see \\boxed\u200b{4} \\boxed{3}": "misspelt box",
        "I see \\boxed｛4｝ \\boxed{3}": "misspelt box",
        "I see \\bo\u200bxed{4} \\boxed{3}": "hidden",
        "I see ＼boxed{4} \\boxed{3}": "hidden",
        r"\boxed{3}": "empty thinking",
        r"$\boxed{3}$": "empty thinking",
        r"I see \boxed{}": "empty answer",
        "I see \\boxed{\u200b}": "empty answer",
    },
    "json": {
        "": "no JSON object",
        "3": "no JSON object",
        '["I see", "3"]': "no JSON object",
        '[{"reasoning": "I see", "answer": "3"}]': "text around",
        '```json\n{"reasoning": "I see", "answer": "3"}\n```': "text around",
        '{"reasoning": "I see", "answer": "3"} so 4': "text around",
        'So {"reasoning": "I see", "answer": "3"}': "text around",
        '\ufeff{"reasoning": "I see", "answer": "3"}': "text around",
        '{"reasoning": "I see", "answer": "3"}{"reasoning": "I see", "answer": "4"}': "not one JSON object",
        '{"reasoning": "I see", "answer": "3"}\n{"reasoning": "I see", "answer": "3"}': "not one JSON object",
        '{"reasoning": "I see", "answer": "4", "answer": "3"}': "repeated",
        '{"reasoning": "I see", "answer": "3", "answer": "3"}': "repeated",
        '{"reasoning": "I see", "\\u0061nswer": "4", "answer": "3"}': "repeated",
        '{"reasoning": "I see", "answer": ["3"]}': "is no text",
        '{"reasoning": "I see", "answer": ["3", "4"]}': "is no text",
        '{"reasoning": "I see", "answer": {"answer": "3"}}': "is no text",
        '{"reasoning": "I see", "answer": 3}': "is no text",
        '{"reasoning": "I see", "answer": null}': "is no text",
        '{"reasoning": "I see", "answer": NaN}': "is no text",
        '{"reasoning": ["I see"], "answer": "3"}': "is no text",
        '{"reasoning": "I see", "answer": "3", "note": "4"}': "does not have",
        '{"reasoning": "I see", "answer": "3", "Answer": "4"}': "does not have",
        '{"reasoning": "I see", "answer": "3", "answer\u200b": "4"}': "does not have",
        '{"answer": "3", "reasoning": "I see"}': "out of order",
        '{"answer": "3"}': "no key 'reasoning'",
        '{"reasoning": "I see"}': "no key 'answer'",
        "{'reasoning': 'I see', 'answer': '3'}": "not one JSON object",
        '{"reasoning": "I see", "answer": "3",}': "not one JSON object",
        '{"reasoning": "I\nsee", "answer": "3"}': "not one JSON object",
        '{"reasoning": "I see", "answer": "3" /* 4 */}': "not one JSON object",
        '{"reasoning": "I see", "answer": "3\\ud83d"}': "half a character",
        '{"reasoning": " ", "answer": "3"}': "empty thinking",
        '{"reasoning": "I see", "answer": "\\u200b"}': "empty answer",
    },
    "free": {
        "": "no text",
        " \n ": "no text",
        "3": "empty thinking",
        "\u200b\n3": "empty thinking",
        "I see\n\u200b": "empty answer",
    },
}


@pytest.mark.parametrize("kind", KINDS)
def test_what_keeps_the_format_is_read_in_its_two_parts(kind: Kind) -> None:
    for response in RIGHT[kind]:
        assert format.parse(response, FORMS[kind]) == format.Parsed("I see", "3", None), response


@pytest.mark.parametrize(("kind", "response"), [(kind, said) for kind in KINDS for said in BREACHES[kind]])
def test_every_breach_of_a_format_has_its_name_and_yields_no_answer(kind: Kind, response: str) -> None:
    found = format.parse(response, FORMS[kind])
    assert found.fault and BREACHES[kind][response] in found.fault
    assert (found.think, found.answer) == ("", "")
    scored = hybrid.score(response, "How many?", "3", "FIB", "rule", REWARDS[kind])
    assert scored.total == 0 and scored.verdict.outcome == "wrong"


HEDGES = (
    "3 or 4",
    "3\n4",
    "<answer>3</answer>",
    r"\boxed{3} \boxed{4}",
    '{"answer": "3"}',
    "3</think>4",
    "3 4",
    "3；4",
)


@pytest.mark.parametrize("kind", KINDS)
def test_two_answers_in_any_place_of_a_format_earn_nothing(kind: Kind) -> None:
    skeletons = {
        "tags": "<think>I see</think><answer>{}</answer>",
        "think": "I see</think>{}",
        "boxed": "I see \\boxed{{{}}}",
        "json": '{{"reasoning": "I see", "answer": {}}}',
        "free": "I see {}",
    }
    for hedge in HEDGES:
        said = json.dumps(hedge) if kind == "json" else hedge
        response = skeletons[kind].format(said)
        for gold in ("3", "4"):
            if kind == "free" and hedge == "3\n4" and gold == "4":
                continue  # the thought ends with 3, the answer is 4: one answer
            scored = hybrid.score(response, "How many?", gold, "FIB", "rule", REWARDS[kind])
            assert scored.verdict.outcome == "wrong", (response, gold)


@pytest.mark.parametrize("kind", KINDS)
def test_an_answer_inside_the_thought_is_no_answer(kind: Kind) -> None:
    response = format.render("The answer is 3. Final answer: 3", "4", FORMS[kind])
    assert hybrid.score(response, "How many?", "3", "FIB", "rule", REWARDS[kind]).total == 0.3
    assert hybrid.score(response, "How many?", "4", "FIB", "rule", REWARDS[kind]).total == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_thought_counts_only_where_it_is_allowed(kind: Kind) -> None:
    response = format.render("", "3", EMPTY[kind])
    assert format.parse(response, EMPTY[kind]) == format.Parsed("", "3", None)
    assert format.parse(response, FORMS[kind]).fault == "empty thinking"
    with pytest.raises(format.Unwritable):
        format.render(" ", "3", FORMS[kind])
    for form in (FORMS[kind], EMPTY[kind]):
        with pytest.raises(format.Unwritable):
            format.render("I see", " ", form)


MARKS = [
    *format.TAGS, "<Think>", "</think >", "\\boxed{", "\\boxed{3}", "\\fbox{", "{", "}", "\\{", "\\", '"',
    '", "answer": "',
    "```", "\n", "\r\n", "\u2028", "\x0c", "\u200b", "\ufeff", "＜think＞",
    "$", "$$", "**", ".", "。", " ", "3", "so", "é", "𝟛",
]  # fmt: skip
texts = st.one_of(st.text(max_size=30), st.lists(st.sampled_from(MARKS), max_size=12).map("".join))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([*FORMS.values(), *EMPTY.values()]), texts, texts)
@example(FORMS["free"], "I see\r\nand count", "3")
@example(FORMS["boxed"], "so $", "3")
@example(FORMS["boxed"], "\\boxed{3}", "3")
@example(FORMS["json"], '"} \\', "\x00")
def test_what_is_written_is_read_again_or_refused(form: ResponseFormat, think: str, answer: str) -> None:
    try:
        response = format.render(think, answer, form)
    except format.Unwritable as error:
        assert isinstance(error, UserError) and f"'{form.kind}'" in str(error)
        return
    assert format.parse(response, form) == format.Parsed(think.strip(), answer.strip(), None)


plain = st.text(st.characters(categories=("L", "N"), include_characters=" ,:?!-"), min_size=1, max_size=30)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from([*FORMS.values()]), plain.filter(str.strip), plain.filter(str.strip))
def test_texts_without_marks_can_always_be_written(form: ResponseFormat, think: str, answer: str) -> None:
    parsed = format.parse(format.render(think, answer, form), form)
    assert parsed == format.Parsed(think.strip(), answer.strip(), None)


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([*FORMS.values(), *EMPTY.values()]), texts)
@example(FORMS["boxed"], "**$\\boxed{3}$**")
def test_what_is_read_can_be_written_again(form: ResponseFormat, response: str) -> None:
    parsed = format.parse(response, form)
    assert (parsed.fault is None) == bool(parsed.answer) or form.allow_empty_thought
    if parsed.fault is None:
        assert format.parse(format.render(parsed.think, parsed.answer, form), form) == parsed
    format.lenient(response, form)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "piece",
    ["\\", "\\boxed{", "\\boxed{3}", "{", "}", "[", '{"a":', "<", "</think>", "<think", "< ", " ", "\n", "$", "\u200b",
     "9"],
)  # fmt: skip
def test_a_response_of_a_hundred_thousand_pieces_is_read_at_once(kind: Kind, piece: str) -> None:
    long = piece * 100_000
    start = time.process_time()
    for response in (long, f"I see\\boxed{{3}}{long}x", f"{long}</think>3", f'{{"reasoning": "{long}'):
        format.parse(response, FORMS[kind])
        format.lenient(response, FORMS[kind])
    assert time.process_time() - start < 20


@pytest.mark.parametrize(
    ("kind", "response", "answer"),
    [
        ("think", "3", "3"), ("think", "I see</think> 3", "3"), ("boxed", "it is 3", "3 no"),
        ("boxed", r"\boxed{3} dots", "3"),
        ("boxed", r"\boxed{4} \boxed{\frac{1}{2}} or so", r"\frac{1}{2}"), ("boxed", r"\boxed{3", r"\boxed{3"),
        ("json", "3", "3"), ("json", '```json\n{"reasoning": "r", "answer": "3"}\n```', "3"), ("json", "{3}", "{3}"),
        ("free", "3", "3"), ("free", "I see\n3", "3"), ("free", "", ""), ("free", "a</think>b\n3", "3"),
    ],
)  # fmt: skip
def test_a_base_model_is_read_leniently_in_every_format(kind: Kind, response: str, answer: str) -> None:
    expected = response if answer == "3 no" else answer
    assert format.lenient(response, FORMS[kind]) == expected


def test_the_keys_of_the_json_object_are_declared() -> None:
    form = ResponseFormat(kind="json", keys=JsonKeys(thought="why", answer="value"))
    assert format.render("I see", "3", form) == '{"why": "I see", "value": "3"}'
    assert format.parse('{"why": "I see", "value": "3"}', form).answer == "3"
    assert format.parse('{"reasoning": "I see", "answer": "3"}', form).fault == "no key 'why'"
    assert "".join(format.marks(form)) == '{"why": "", "value": ""}'


def test_a_name_alone_is_a_format() -> None:
    assert ResponseFormat.model_validate("boxed") == ResponseFormat(kind="boxed")
    assert (
        Rewards.model_validate(REWARDS["think"].model_dump() | {"format": "think", "functions": ()}).format
        == FORMS["think"]
    )
    for bad in ("tag", {"kind": "boxed", "keys": {"thought": "a", "answer": "b"}}, {"kind": "json", "schema": {}}, 3):
        with pytest.raises(ValueError, match=r"format|keys|schema|kind|ResponseFormat"):
            ResponseFormat.model_validate(bad)
    with pytest.raises(ValueError, match="different names"):
        JsonKeys(thought="a", answer="a")
