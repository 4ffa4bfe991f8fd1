"""Evaluation, benchmarks and their engines read a policy in the format that it was taught."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest

from tests.evaluation.test_benchmark_job import Seer, colours
from wethink.clients.response_store import Answer
from wethink.config.params import response_format
from wethink.config.response_format import Kind, ResponseFormat
from wethink.config.rewards import Rewards
from wethink.data.benchmark_table import Item
from wethink.evaluation.benchmarks.answer_extraction import KIT, OURS, answer_text
from wethink.evaluation.benchmarks.endpoint_engine import Served, _reply
from wethink.evaluation.benchmarks.engines import Query, Reply
from wethink.evaluation.benchmarks.registry import Benchmark
from wethink.evaluation.benchmarks.run import Settings, run
from wethink.evaluation.benchmarks.scoring import score
from wethink.evaluation.evaluate import Job, judge_items
from wethink.rewards import format
from wethink.rewards.hybrid import Scorer

KINDS: tuple[Kind, ...] = get_args(Kind)
THOUGHT = "It could be A or D, so the answer is D? No."


@pytest.mark.parametrize("kind", KINDS)
def test_a_benchmark_reads_the_answer_of_the_format_and_not_the_thought(kind: Kind) -> None:
    form = ResponseFormat(kind=kind)
    said = format.render(THOUGHT, "B", form)
    assert answer_text(said, OURS, form) == "B"
    assert answer_text(said, KIT, form) == said, "VLMEvalKit reads the whole response"
    cells = {"question": "which ?", "answer": "B", "A": "cat", "B": "dog", "C": "cow", "D": "hen"}
    choice = Benchmark("b", "b", "choice")
    assert score(Item("1", cells, ""), said, choice, OURS, form=form).extracted == "B"
    suite = Benchmark("b", "b", "own")
    own = Item("1", {"question": "how many ?", "answer": "3", "category": "FIB", "reward": "rule"}, "")
    strict = [score(own, text, suite, OURS, form=form) for text in ("3", format.render("x", "3", form))]
    assert [found.verdict.outcome for found in strict] == ["wrong", "correct"]
    assert score(own, "3", suite, OURS, True, form).verdict.outcome == "correct"


@pytest.mark.parametrize("kind", KINDS)
def test_the_evaluation_is_strict_for_the_taught_and_lenient_for_base(kind: Kind) -> None:
    form = ResponseFormat(kind=kind)
    scorer = Scorer(Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical", format=form))
    item: Any = {"id": "i", "problem": "how many ?", "answer": "3", "category": "FIB", "reward": "rule"}
    answered = [(item, text, 1) for text in ("3", format.render("I see", "3", form))]
    for checkpoint, outcomes in (("base", ["correct", "correct"]), ("sft", ["wrong", "correct"])):
        records = judge_items(answered, Job(checkpoint, Path(), 0.0, "true"), scorer)
        assert [record["verdict"] for record in records] == outcomes
        assert [record["strict"] for record in records] == [False, True]


class Boxing(Seer):
    """An engine that doubts itself, then answers in a box."""

    def answer(self, queries: Any) -> list[Reply]:
        return [Reply(f"A, or D? So \\boxed{{{self._letter(query)}}}", 5) for query in queries]


def test_a_run_states_another_format_than_tags_and_is_another_run(tmp_path: Path) -> None:
    settings = Settings("m", controls=False)
    boxed = replace(settings, form=ResponseFormat(kind="boxed"))
    folders = [
        Path(run(colours(tmp_path), Boxing(), one, tmp_path / "out")["folder"])
        for one in (settings, boxed, replace(boxed, system="none"))
    ]
    about = [json.loads((folder / "run.json").read_text()) for folder in folders]
    assert len(set(folders)) == 3 and "format" not in about[0] and about[1]["format"]["kind"] == "boxed"
    records = [json.loads(line) for line in next(folders[1].glob("items-*")).read_text().splitlines()]
    assert {record["verdict"] for record in records} == {"correct"}


@pytest.mark.parametrize(
    ("kind", "text", "thoughts", "expected"),
    [
        ("think", "3", "I see", "I see\n</think>\n\n3"),
        ("think", "I see</think>3", "", "I see</think>3"),
        ("think", "[THINK]I see[/THINK]3", "", "I see\n</think>\n\n3"),
        ("tags", "<answer>3</answer>", "I see", "<think>I see</think><answer>3</answer>"),
        ("tags", "3", "I see", "3"),
        ("boxed", "so \\boxed{3}", "I see", "so \\boxed{3}"),
    ],
)
def test_thoughts_that_a_server_sends_apart_are_put_back(kind: Kind, text: str, thoughts: str, expected: str) -> None:
    assert _reply(Answer(text, "stop", thoughts=thoughts), ResponseFormat(kind=kind)).text == expected


@pytest.mark.parametrize("kind", KINDS)
def test_an_endpoint_is_sent_the_system_prompt_of_the_format(kind: Kind, tmp_path: Path) -> None:
    form = ResponseFormat(kind=kind)
    served = Served("http://127.0.0.1:9/v1", "m", None, 64, 8, tmp_path / "store.sqlite", form)
    said = served.turn(Query("a", ("?",), 0.0, 0, system="wethink")).system
    assert said and said == served.describe("wethink")["system"]
    marks = {"tags": "<answer>", "think": "</think>", "boxed": "\\boxed", "json": '"answer"', "free": "last line"}
    assert [other for other in KINDS if marks[other] in said] == (["tags", "think"] if kind == "tags" else [kind])


def test_outside_a_project_the_format_is_the_default(tmp_path: Path) -> None:
    assert response_format(tmp_path / "params.yaml") == ResponseFormat()
