"""A reward function of the user's own adds a term or scores a route, and none of its faults is the policy's or ours."""

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.config.params import load_params
from wethink.config.rewards import RewardFunction, Rewards
from wethink.data.schema import Scorable
from wethink.rewards.format import render
from wethink.rewards.functions import Call, FunctionProcess
from wethink.rewards.hybrid import Scorer, open_scorer

ROOT = Path(__file__).resolve().parents[2]
LAUNCH: Launch = load_params(ROOT / "profiles" / "tiny.yaml").launch


def row(gold: str = "3", **more: Any) -> Scorable:
    return cast(Scorable, {"problem": "how many?", "answer": gold, "category": "FIB", "reward": "rule"} | more)


def rewards(*functions: RewardFunction) -> Rewards:
    return Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical", functions=functions)


def written(folder: Path, body: str, name: str = "mine") -> str:
    (folder / f"{name}.py").write_text(body, encoding="utf-8")
    return f"{folder / name}.py:score"


@contextmanager
def process(folder: Path, body: str, **config: Any) -> Iterator[FunctionProcess]:
    with closing(FunctionProcess(RewardFunction(function=written(folder, body), **config))) as opened:
        yield opened


def calls(*texts: str, **columns: list[Any]) -> list[Call]:
    return [
        Call(text, text, cast(Any, row(**{name: values[place] for name, values in columns.items()})))
        for place, text in enumerate(texts)
    ]


def test_a_term_is_added_with_its_weight_to_sound_responses_of_its_categories_only(tmp_path: Path) -> None:
    body = "def score(completions):\n    return [1.0 if len(text) < 60 else 0.0 for text in completions]\n"
    short = RewardFunction(function=written(tmp_path, body), weight=0.5, categories=("FIB",))
    with open_scorer(rewards(short), LAUNCH) as scorer:
        scored = scorer.score(
            [
                (render("a", "3"), row()),
                (render("a" * 60, "3"), row()),
                (render("a", "4"), row()),
                (render("a", "red"), row("red", category="DES", reward="model")),
                ("3", row()),  # breaks the grammar: no term rescues it
            ]
        )
    assert [one.total for one in scored] == pytest.approx([1.5, 1.0, 0.8, 1.0, 0.0])
    assert [one.own for one in scored] == pytest.approx([0.5, 0.0, 0.5, 0.0, 0.0])


def test_a_route_takes_its_accuracy_from_the_function_and_other_rows_are_scored_as_ever(tmp_path: Path) -> None:
    body = (
        "def score(answers, golds, near):\n    return [n if a != g else 1 for a, g, n in zip(answers, golds, near)]\n"
    )
    near = RewardFunction(function=written(tmp_path, body), route="near")
    asked = [("3", row(reward="near", near=0.2)), ("2", row(reward="near", near=0.6)), ("2", row())]
    with open_scorer(rewards(near), LAUNCH) as scorer:
        scored = scorer.score([(render("a", text), given) for text, given in asked])
        checked = scorer.check(asked)
    assert [one.accuracy for one in scored] == [1.0, 0.6, 0.0]
    assert [verdict.outcome for verdict in checked] == ["correct", "correct", "wrong"]
    with open_scorer(rewards(), LAUNCH) as scorer:  # a route that nobody has declared
        assert scorer.check(asked[:1])[0].outcome == "unknown"


@pytest.mark.parametrize(
    "body",
    [
        "def score(completions, **kwargs):\n    return [float(c == 'ab') for c in completions]\n",
        "def score(prompts, completions, **kwargs):\n"
        "    return [float(c[0]['content'] == 'ab') for c in completions]\n",
        "def score(completions, solution, **kw):\n    return [float(c == s) for c, s in zip(completions, solution)]\n",
        "async def score(completions, **kwargs):\n"
        "    import asyncio\n    await asyncio.sleep(0)\n    return [float(len(c) == 2) for c in completions]\n",
        "def score(prompts, completions, completion_ids=None, trainer_state=None, log_extra=None, **kwargs):\n"
        "    assert prompts[0][-1] == {'role': 'user', 'content': 'how many?'}\n"
        "    return [float(c[:2] == 'ab') for c in completions]\n",
        "def score(problems, golds, completions, answers, rows):\n"
        "    return [float(row['solution'] == c) for row, c in zip(rows, completions)]\n",
        "import array\ndef score(completions):\n    return array.array('d', [float(c == 'ab') for c in completions])\n",
    ],
)
def test_signatures_of_trl_run_as_they_are_beside_our_own(tmp_path: Path, body: str) -> None:
    with process(tmp_path, body) as function:
        assert function.score(calls("ab", "b", solution=["ab", "ab"])) == [(1.0, ""), (0.0, "")]


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("def score(completions):\n    return [float('nan')] * len(completions)\n", "returned 'nan' (float)"),
        ("def score(completions):\n    return [2.0] * len(completions)\n", "returned '2.0'"),
        ("def score(completions):\n    return ['1'] * len(completions)\n", "returned '1' (str)"),
        ("def score(completions):\n    return [None] * len(completions)\n", "returned None"),
        ("def score(completions):\n    return 'no list'\n", "returned str, no list of scores"),
        ("def score(completions):\n    return None\n", "returned NoneType"),
        ("def score(completions):\n    return [1.0]\n", "returned 1 scores for 3 completions"),
        ("def score(completions):\n    raise KeyError('x')\n", "KeyError: 'x' (mine.py, line 2)"),
        ("def score(completions, box):\n    return [1.0] * len(completions)\n", "asks for 'box', which is no column"),
        ("def score(completions):\n    import os\n    os._exit(3)\n", "its process ended (exit status 3)"),
        ("def score(completions):\n    raise SystemExit\n", "its process ended"),
    ],
)
def test_what_is_no_score_is_unknown_with_its_reason_and_never_wrong(tmp_path: Path, body: str, reason: str) -> None:
    with process(tmp_path, body) as function:
        found = function.score(calls("a", "b", "c"))
    assert [score for score, _ in found] == [None] * 3 and all(reason in why for _, why in found), found


def test_one_row_that_raises_costs_no_other_its_score(tmp_path: Path) -> None:
    body = "def score(completions):\n    return [1 / (c != 'b') for c in completions]\n"
    with process(tmp_path, body) as function:
        found = function.score(calls("a", "b", "c"))
    assert [score for score, _ in found] == [1.0, None, 1.0] and "ZeroDivisionError" in found[1][1]


def test_a_function_that_hangs_is_ended_at_its_deadline_and_works_again_afterwards(tmp_path: Path) -> None:
    body = "import time\ndef score(completions):\n    time.sleep(60 * ('b' in completions))\n    return [1.0]\n"
    with process(tmp_path, body, timeout=0.5) as function:
        assert function.score(calls("b")) == [(None, f"{tmp_path}/mine.py:score: no result within 0.5 s")]
        assert function.score(calls("a")) == [(1.0, "")]


def test_what_a_function_prints_disturbs_nothing_and_large_batches_pass(tmp_path: Path) -> None:
    body = 'def score(completions):\n    print("{\\"scores\\": 1}")\n    return [len(c) / 1e6 for c in completions]\n'
    with process(tmp_path, body) as function:
        found = function.score(calls(*["x" * 50_000] * 40))
    assert found == [(0.05, "")] * 40


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("nowhere.py:score", "there is no file nowhere.py"),
        ("json:no_such", "json has no function 'no_such'"),
        ("no.such.package:score", "ModuleNotFoundError"),
    ],
)
def test_a_function_that_cannot_be_loaded_is_one_sentence_before_anything_runs(function: str, reason: str) -> None:
    with (
        pytest.raises(UserError, match=r"rewards\.functions") as told,
        open_scorer(rewards(RewardFunction(function=function)), LAUNCH),
    ):
        pass
    assert reason in str(told.value)


def test_a_broken_file_names_its_line(tmp_path: Path) -> None:
    function = written(tmp_path, "x = 1\nraise RuntimeError('half written')\n")
    with pytest.raises(UserError, match=r"RuntimeError: half written \(mine\.py, line 2\)"):
        FunctionProcess(RewardFunction(function=function))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"function": "mine.py"}, "must be FILE.py:name"),
        ({"route": "rule"}, "may not be 'rule'"),
        ({"route": "iou", "categories": ("box",)}, "give either 'route'"),
        ({"weight": 0.0}, "greater than 0"),
    ],
)
def test_a_function_is_declared_without_contradiction(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        RewardFunction(**{"function": "mine.py:score"} | change)


def test_a_scorer_never_leaves_out_a_function_that_is_declared() -> None:
    with pytest.raises(UserError, match="nothing has started"):
        Scorer(rewards(RewardFunction(function="json:dumps")))


def test_the_documents_examples_do_what_they_say(tmp_path: Path) -> None:
    """The two worked examples of docs/reward-functions.md, run as they are printed."""
    text = (ROOT / "docs" / "reward-functions.md").read_text(encoding="utf-8")
    blocks = [block.split("```")[0] for block in text.split("```python\n")[1:]]
    (tmp_path / "my_rewards.py").write_text("\n\n".join(blocks), encoding="utf-8")
    short = RewardFunction(function=f"{tmp_path}/my_rewards.py:short_enough", weight=0.2)
    schema = RewardFunction(function=f"{tmp_path}/my_rewards.py:matches_schema", route="json")
    gold = json.dumps({"type": "object", "required": ["total"], "properties": {"total": {"type": "number"}}})
    with open_scorer(rewards(short, schema), LAUNCH) as scorer:
        scored = scorer.score(
            [
                (render("a", '{"total": 3.5}'), row(gold, reward="json")),
                (render("a", '{"total": "much"}'), row(gold, reward="json")),
                (render("a", "no JSON"), row(gold, reward="json")),
                (render("because " * 300, "3"), row()),
                (render("one two", "3"), row()),
            ]
        )
    assert [one.accuracy for one in scored] == [1.0, 0.0, 0.0, 1.0, 1.0]
    assert scored[3].own == 0.0 < scored[4].own <= 0.2
