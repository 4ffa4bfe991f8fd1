"""The grammar has a name for every fault, the rules a case for every declared reading, the reward its weights."""

import random
import time

import pytest

from wethink.config.rewards import Rewards
from wethink.rewards import format, hybrid, verdict
from wethink.rewards.judge import lexical_judge
from wethink.rewards.rules import options, verify

CONFIG = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")
PROBLEM = "which thing is top left ? A red circle B blue star C green square D yellow cross"
PUNCTUATED = "A man holds which object?\nA. a cup\nB. the red book\n(C) 5 cm"

# --- grammar -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "response",
    [
        "<think>a</think><answer>b</answer>",
        "  <think>\n a \n</think>\n\n<answer> b </answer>\n",
        "<think>1 < 2 and <b>bold</b></think><answer>b</answer>",
    ],
)
def test_the_grammar_accepts_exactly_one_thinking_and_one_answer(response: str) -> None:
    assert format.parse(response).fault is None
    assert format.parse(response).answer == "b"


@pytest.mark.parametrize(
    ("response", "fault"),
    [
        ("", "no tags"),
        ("b", "no tags"),
        ("x <think>a</think><answer>b</answer>", "text before <think>"),
        ("<think>a</think> so <answer>b</answer>", "text between </think> and <answer>"),
        ("<think>a</think><answer>b</answer>.", "text after </answer>"),
        ("<think> </think><answer>b</answer>", "empty thinking"),
        ("<think>a</think><answer>\n</answer>", "empty answer"),
        ("a</think><answer>b</answer>", "no <think>"),
        ("<think>a<answer>b</answer>", "no </think>"),
        ("<think>a</think>b</answer>", "no <answer>"),
        ("<think>a</think><answer>b", "no </answer>"),
        ("<think>a</think>", "no <answer>"),
        ("<think>a<think>c</think><answer>b</answer>", "<think> repeated"),
        ("<think>a</think><answer>b</answer><answer>c</answer>", "<answer> repeated"),
        ("<think>a<answer>c</answer></think><answer>b</answer>", "<answer> repeated"),
        ("<think>a</think><answer>b</answer></answer>", "</answer> repeated"),
        ("<think>a<answer>b</answer></think>", "tags nested or out of order"),
        ("<answer>b</answer><think>a</think>", "tags nested or out of order"),
        ("<think>a</think><answer>b<think></answer>", "<think> repeated"),
        ("<Think>a</Think><answer>b</answer>", "misspelt tag <Think>"),
        ("<think>a</think><answer>b< /answer ></answer>", "misspelt tag < /answer >"),
    ],
)
def test_every_breach_of_the_grammar_has_its_own_name_and_yields_no_answer(response: str, fault: str) -> None:
    assert format.parse(response) == format.Parsed("", "", fault)


@pytest.mark.parametrize(
    ("response", "answer"),
    [
        (" 3 ", "3"),
        ("so it is 3<answer>4</answer>", "4"),
        ("<answer>4</answer><answer>5</answer>", "<answer>4</answer><answer>5</answer>"),
        ("<think>a</think>b</think> c", "c"),
    ],
)
def test_lenient_reading_takes_the_only_block_then_the_rest_then_everything(response: str, answer: str) -> None:
    assert format.lenient(response) == answer


def test_render_and_parse_are_inverse() -> None:
    assert format.parse(format.render("seen", "3")) == format.Parsed("seen", "3", None)


# --- rules -------------------------------------------------------------------------------------------------

CORRECT = [
    ("B", "B", PROBLEM, "MC"),
    ("b", "B", PROBLEM, "MC"),
    ("B)", "B", PROBLEM, "MC"),
    ("(b)", "B", PROBLEM, "MC"),
    ("B.", "B", PROBLEM, "MC"),
    ("**B**", "B", PROBLEM, "MC"),
    ("Answer: B", "B", PROBLEM, "MC"),
    ("The answer is B", "B", PROBLEM, "MC"),
    ("Option C", "C", PROBLEM, "MC"),
    ("B blue star", "B", PROBLEM, "MC"),
    ("(B) the blue star", "B", PROBLEM, "MC"),
    ("blue star", "B", PROBLEM, "MC"),
    ("A red circle", "A", PROBLEM, "MC"),
    ("a blue star.", "B", PROBLEM, "MC"),
    ("B", "blue star", PROBLEM, "MC"),
    ("red book", "B", PUNCTUATED, "MC"),
    ("(C)", "C", PUNCTUATED, "MC"),
    ("3", "3", "", "FIB"),
    ("3.0", "3", "", "FIB"),
    ("three", "3", "", "FIB"),
    ("3 circles", "3", "", "FIB"),
    ("The answer is 3.", "3", "", "FIB"),
    ("1,234", "1234", "", "FIB"),
    ("$1,234.50", "1234.5", "", "FIB"),
    ("−5", "-5", "", "FIB"),
    ("３", "3", "", "FIB"),
    ("0.333", "1/3", "", "FIB"),
    ("2/4", "0.5", "", "FIB"),
    ("1 1/2", "1.5", "", "FIB"),
    (r"\frac{1}{2}", "0.5", "", "FIB"),
    ("$0.5$", "0.5", "", "FIB"),
    ("3.1415", "3.14159", "", "FIB"),
    ("1e3", "1000", "", "FIB"),
    ("50%", "50 percent", "", "FIB"),
    ("50", "50%", "", "FIB"),
    ("0.5", "50%", "", "FIB"),
    ("50%", "0.5", "", "FIB"),
    ("5 cm", "5 cm", "", "FIB"),
    ("5", "5 cm", "", "FIB"),
    ("5 meters", "5 meter", "", "FIB"),
    ("Yes", "yes", "", "FIB"),
    ("yes, there are more", "yes", "", "FIB"),
    ("False", "no", "", "FIB"),
    ("red, blue", "red , blue", "", "FIB"),
    ("red and blue", "red, blue", "", "FIB"),
    ("[red; blue]", "red, blue", "", "FIB"),
    ("Red, the blue, and green.", "red, blue, green", "", "FIB"),
    ("3, 7", "3 , 7", "", "FIB"),
    ("The  Eiffel Tower.", "eiffel tower", "", "FIB"),
    ("'red'", "red", "", "FIB"),
    ("A", "A", "which label is on the left?", "FIB"),
]
WRONG = [
    ("A", "B", PROBLEM, "MC"),
    ("A and B", "B", PROBLEM, "MC"),
    ("A, B", "B", PROBLEM, "MC"),
    ("B or C", "B", PROBLEM, "MC"),
    ("A B C D", "B", PROBLEM, "MC"),
    ("B red circle", "B", PROBLEM, "MC"),
    ("A blue star", "B", PROBLEM, "MC"),
    ("red circle blue star", "B", PROBLEM, "MC"),
    ("star", "B", PROBLEM, "MC"),
    ("E", "B", PROBLEM, "MC"),
    ("not B", "B", PROBLEM, "MC"),
    ("4", "3", "", "FIB"),
    ("3 or 4", "3", "", "FIB"),
    ("3, 4", "3", "", "FIB"),
    ("3 4", "3", "", "FIB"),
    ("3.0 4", "3", "", "FIB"),
    ("3 minus 1", "3", "", "FIB"),
    ("three hundred", "3", "", "FIB"),
    ("1999", "2000", "", "FIB"),
    ("0.34", "1/3", "", "FIB"),
    ("1/0", "1", "", "FIB"),
    ("1e999", "1000", "", "FIB"),
    ("nan", "1", "", "FIB"),
    ("5 m", "5 cm", "", "FIB"),
    ("12,34", "1234", "", "FIB"),
    ("yes and no", "yes", "", "FIB"),
    ("yes or no", "no", "", "FIB"),
    ("not yes", "yes", "", "FIB"),
    ("maybe", "yes", "", "FIB"),
    ("blue, red", "red, blue", "", "FIB"),
    ("red", "red, blue", "", "FIB"),
    ("red, blue, blue", "red, blue", "", "FIB"),
    ("red, blue", "red", "", "FIB"),
    ("red or blue", "red", "", "FIB"),
    ("the", "A", "", "FIB"),
    ("", "3", "", "FIB"),
    ("   ", "B", PROBLEM, "MC"),
]
UNKNOWN = [
    ("3", "", "", "FIB"),
    ("3", "  ", "", "FIB"),
    ("B", "Z", PROBLEM, "MC"),
    ("B", "purple thing", PROBLEM, "MC"),
    ("3", "3", "", "DES"),
    ("3", "3", "", "riddle"),
    ("3", "3" * 1001, "", "FIB"),
]


@pytest.mark.parametrize(
    ("case", "outcome"),
    [(case, name) for name, cases in (("correct", CORRECT), ("wrong", WRONG), ("unknown", UNKNOWN)) for case in cases],
)
def test_the_rules_read_answers_as_declared(case: tuple[str, str, str, str], outcome: str) -> None:
    answer, gold, problem, category = case
    verdict = verify.verify(answer, gold, problem, category, 0.001)
    assert verdict.outcome == outcome, verdict.reason
    assert verdict.score == {"correct": 1.0, "wrong": 0.0, "unknown": None}[outcome]


def test_options_are_the_last_run_of_letters() -> None:
    assert options.options(PUNCTUATED) == {"A": "a cup", "B": "the red book", "C": "5 cm"}
    assert options.options("A dog sees B what ? A red B blue") == {"A": "red", "B": "blue"}
    assert options.options("what is the level of red ?") == {}


def test_a_long_answer_is_wrong_before_anything_parses_it() -> None:
    start = time.perf_counter()
    verdict = verify.verify("3 " * 1_000_000, "3", "", "FIB", 0.001)
    assert verdict.outcome == "wrong" and "longer" in verdict.reason
    assert time.perf_counter() - start < 0.1


def test_unknown_depends_on_the_row_alone_so_that_no_answer_is_a_safe_haven() -> None:
    rng = random.Random(0)
    pieces = ["", " ", "A", "(B", ")", "1", "/", "0", ",", ".", "e9", "%", "and", "yes", "\\frac{", "}", "$", "٣"]
    pieces += ["\ud800", "\x00"]
    for gold, problem, category in [("3", "", "FIB"), ("B", PROBLEM, "MC"), ("a, b", "", "FIB"), ("yes", "", "FIB")]:
        for _ in range(500):
            answer = "".join(rng.choices(pieces, k=rng.randint(0, 12)))
            assert verify.verify(answer, gold, problem, category, 0.001).outcome in ("correct", "wrong")


# --- judge and hybrid --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "score"),
    [
        ("red circle , none , blue star , green cross", 1.0),
        ("A red circle, none, a blue star, and a green cross.", 1.0),
        ("red circle, none, blue star", 0.5),
        ("red circle, blue star, green cross", 0.5),
        ("blue star, red circle, none, green cross", 0.5),
        ("red circle, none, blue cross, green star", 0.5),
        ("red circle, star, square, triangle", 0.0),
        ("red circle", 0.0),
        (", ".join(["red circle", "none", "blue star", "green cross"] * 3), 0.0),
        ("", 0.0),
        ("x, " * 500, 0.0),
    ],
)
def test_the_judge_gives_tiers_by_the_share_of_right_facts(answer: str, score: float) -> None:
    verdict = lexical_judge.judge(answer, "red circle , none , blue star , green cross")
    assert verdict.score == score and score in lexical_judge.TIERS
    assert verdict.outcome == ("correct" if score == 1 else "wrong")


def test_the_judge_knows_a_gold_without_facts() -> None:
    assert lexical_judge.judge("anything", " , ").outcome == "unknown"


def scored(response: str, gold: str = "3", category: str = "FIB", reward: str = "rule") -> hybrid.Scored:
    return hybrid.score(response, "", gold, category, reward, CONFIG)


def test_the_reward_is_the_weighted_sum_of_accuracy_and_format() -> None:
    assert scored("<think>a</think><answer>3</answer>").total == pytest.approx(1.0)
    assert scored("<think>a</think><answer>4</answer>").total == pytest.approx(0.3)
    half = scored("<think>a</think><answer>x, y</answer>", gold="x, z", category="DES", reward="model")
    assert (half.accuracy, half.total) == (0.5, pytest.approx(0.65))


def test_without_the_format_there_is_no_answer_to_check() -> None:
    given = scored("3")
    assert (given.format, given.accuracy, given.total) == (0.0, 0.0, 0.0)
    assert given.verdict == verdict.Verdict("wrong", "no tags", 0.0)


@pytest.mark.parametrize("response", ["<think>a</think><answer>3</answer>", "3"])
@pytest.mark.parametrize(("gold", "reward"), [("", "rule"), ("", "model"), ("3", "psychic")])
def test_an_unknown_row_has_no_total_whatever_the_response(response: str, gold: str, reward: str) -> None:
    given = scored(response, gold=gold, reward=reward)
    assert given.total is None and given.accuracy is None and given.verdict.outcome == "unknown"
