"""Several given answers: any of different ones is right, repeated ones are votes, at every scorer alike."""

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.data.tables.test_sources_with_rows import jsonl_of, pictures, read
from tests.rewards.test_hybrid import CONFIG
from wethink.config.rewards import RewardFunction
from wethink.data.schema import as_item
from wethink.evaluation.answers import best_constant
from wethink.rewards import alternatives
from wethink.rewards.hybrid import Scorer, check, check_row, score_row
from wethink.rewards.score_lines import score_lines
from wethink.rewards.verdict import correct, unknown, wrong
from wethink.rl.prompt_dataset import shuffle_golds

TEN = ["yes"] * 6 + ["no"] * 2 + ["maybe", "yes it is"]
ROW = {"problem": "is it red ?", "answer": "yes", "category": "FIB", "reward": "rule", "alternatives": TEN}


def score(answer: str, given: list[str], **about: str) -> float | None:
    return check_row(answer, ROW | {"answer": given[0], "alternatives": given} | about, 0.0).score


@pytest.mark.parametrize(
    ("answer", "given", "expected"),
    [
        ("24-7", ["24/7", "24-7", "all day"], 1.0),  # different spellings: any is right
        ("all day", ["24/7", "24-7", "all day"], 1.0),
        ("all night", ["24/7", "24-7", "all day"], 0.0),
        ("cat", ["cat"] * 8 + ["dog"] * 2, 1.0),  # annotators: three who agree make a full score
        ("dog", ["cat"] * 8 + ["dog"] * 2, 2 / 3),
        ("cow", ["cat"] * 9 + ["cow"], 1 / 3),
        ("pig", ["cat"] * 9 + ["cow"], 0.0),
        ("2", ["two", "2", "two", "3", "4", "5", "6", "7", "8", "9"], 1.0),  # the rules' equality adds votes up
        ("b", ["a", "a", "b", "c"], 0.5),  # the most frequent answer makes a full score
        ("a", ["a", "a", "b", "c"], 1.0),
        ("Cat", ["cat", "CAT", " cat ", "dog"], 1.0),
    ],
)
def test_votes_are_counted_and_any_of_different_answers_is_right(
    answer: str, given: list[str], expected: float
) -> None:
    assert score(answer, given) == pytest.approx(expected)


def test_a_share_below_a_half_is_wrong_and_keeps_its_score() -> None:
    lone = check_row("maybe", ROW, 0.0)
    assert (lone.outcome, lone.score) == ("wrong", pytest.approx(1 / 3))
    assert check_row("no", ROW, 0.0).outcome == "correct"
    assert check_row("yes", ROW, 0.0).reason.startswith("6 of 10 answers: ")
    assert score_row("<think>i look</think><answer>maybe</answer>", ROW, CONFIG).total == pytest.approx(0.7 / 3 + 0.3)


def test_without_alternatives_a_verdict_is_that_of_the_gold() -> None:
    alone = {key: value for key, value in ROW.items() if key != "alternatives"}
    for answer in ("yes", "no"):
        found = check(answer, ROW["problem"], "yes", "FIB", "rule", 0.0)
        assert found == check_row(answer, alone, 0.0) == check_row(answer, alone | {"alternatives": []}, 0.0)
        assert found == check_row(answer, alone | {"alternatives": ["yes", "YES"]}, 0.0)


def test_the_best_of_several_descriptions_counts_and_parts_do_not_add_up() -> None:
    given = ["a red circle, a green star", "a blue box, a dot", "one thing"]
    row = ROW | {"category": "DES", "reward": "model", "answer": given[0], "alternatives": given}
    assert check_row("blue box, dot", row, 0.0).score == 1.0
    part = check_row("red circle, dot", row, 0.0)
    assert (part.outcome, part.score) == ("wrong", 0.5)


def test_unknown_stays_unknown_and_a_gold_that_no_rule_can_check_is_left_out() -> None:
    row = ROW | {"alternatives": ["a", "b"]}
    assert alternatives.combined(row, [correct("same"), unknown("down")]).outcome == "unknown"
    assert alternatives.combined(row, [wrong("x"), wrong("y")]).score == 0.0
    long = ROW | {"alternatives": ["yes", "y" * 2000, "no"]}
    assert alternatives.golds(long) == ["yes", "no"] and check_row("no", long, 0.0).score == 1.0


def test_a_function_of_the_users_own_gets_the_row_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert alternatives.golds(ROW | {"reward": "sketch"}) == ["yes"]
    monkeypatch.chdir(tmp_path)
    code = "def some(alternatives, answers):\n    return [float(a in g) for a, g in zip(answers, alternatives)]\n"
    Path("mine.py").write_text(code)
    from wethink.rewards.functions import FunctionProcess

    entry = RewardFunction(function="mine.py:some", route="sketch")
    process = FunctionProcess(entry)
    try:
        scorer = Scorer(CONFIG.model_copy(update={"functions": (entry,)}), functions=(process,))
        assert scorer.check([("maybe", ROW | {"reward": "sketch"})])[0].outcome == "correct"  # type: ignore[list-item]
    finally:
        process.close()


def test_the_scorer_of_training_counts_as_the_check_of_one_row_does() -> None:
    answers = ["yes", "no", "maybe", "pig", "yes"]
    found = Scorer(CONFIG).check([(answer, ROW) for answer in answers])  # type: ignore[misc]
    assert found == [check_row(answer, ROW, CONFIG.tolerance) for answer in answers]


GIVEN: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"answer": ["4", "5", "5"]}, {"answer": "5", "alternatives": ["4", "5", "5"]}),
    ({"answers": [{"answer": "cat"}, {"answer": "dog"}, {"answer": "cat"}]}, {"alternatives": ["cat", "dog", "cat"]}),
    ({"answer": ["red", "Red "]}, {"answer": "red", "alternatives": None}),
    ({"answer": ["red"]}, {"answer": "red", "alternatives": None}),
    ({"answer": "red", "alternatives": ["blue"]}, {"alternatives": None, "columns": {"alternatives": ["blue"]}}),
    ({"answer": ["x", "blue", "y", "blue"], "options": ["red", "blue"]}, {"answer": "B", "alternatives": None}),
    ({"answer": ["red", "blue", "blue"], "options": ["red", "blue"]}, {"answer": "B", "alternatives": ["A", "B", "B"]}),
    ({"answer": ["red", "blue"], "options": ["red", "blue", "x"]}, {"reason": "answer names several options"}),
]


@pytest.mark.parametrize(("change", "expected"), GIVEN)
def test_a_list_of_answers_is_read_as_votes(change: dict[str, Any], expected: dict[str, Any], tmp_path: Path) -> None:
    pictures(tmp_path / "given")
    given = {"image": "photos/0.png", "question": "q ?"} | change
    [row] = read(tmp_path, jsonl_of(tmp_path / "given" / "qa.jsonl", [given]))
    assert {key: row.get(key) for key in expected} == expected
    assert as_item(row).get("alternatives") == row.get("alternatives"), "an item is scored as its row is"


def test_the_shuffled_control_takes_the_alternatives_with_the_gold() -> None:
    rows: Any = [ROW | {"kind": "k", "answer": str(n), "alternatives": [str(n), f"{n}0"]} for n in range(5)]
    rows += [{key: value for key, value in ROW.items() if key != "alternatives"} | {"kind": "k", "answer": "alone"}]
    for row in shuffle_golds(rows, 1):
        assert row.get("alternatives") == (None if row["answer"] == "alone" else [row["answer"], f"{row['answer']}0"])


def test_a_constant_answer_is_scored_by_the_same_rule() -> None:
    items = [ROW | {"id": str(n), "answer": gold, "alternatives": [gold, "thing"]} for n, gold in enumerate("abca")]
    assert best_constant(items).accuracy == 0.5
    assert best_constant([item | {"answer": "thing"} for item in items]).accuracy == 1.0


def test_wethink_score_reads_alternatives() -> None:
    line = {"gold": "cat", "answer": "dog", "alternatives": ["cat"] * 8 + ["dog"] * 2}
    found = list(score_lines([json.dumps(line), json.dumps(line | {"alternatives": "dog"})], Scorer(CONFIG)))
    assert found[0]["score"] == pytest.approx(2 / 3)
    assert found[1]["outcome"] == "unknown" and "'alternatives' is no list of texts" in found[1]["reason"]


def test_a_table_of_held_out_items_keeps_them_and_scores_alike(tmp_path: Path) -> None:
    from wethink.data.benchmark_table import Table
    from wethink.evaluation.benchmarks import heldout_suite, registry, scoring
    from wethink.evaluation.benchmarks.answer_extraction import OURS

    pictures(tmp_path / "given")
    data = (tmp_path / "given/photos/0.png").read_bytes()
    item = ROW | {"id": "a", "image": "i", "abilities": [], "source": "s", "scene": "i", "kind": "k"}
    plain = {key: value for key, value in item.items() if key != "alternatives"} | {"id": "b", "image": "j"}

    class Images:
        def bytes(self, image: str) -> bytes:
            return data

    text = heldout_suite.table([item, plain], Images())  # type: ignore[arg-type,list-item]
    assert "alternatives" not in heldout_suite.table([plain], Images())  # type: ignore[arg-type,list-item]
    rows = list(csv.DictReader(io.StringIO(text), delimiter="\t"))
    assert [json.loads(row["alternatives"] or "[]") for row in rows] == [TEN, []]
    path = tmp_path / "WeThink_s.tsv"
    path.write_text(text)
    items = Table(path).items
    benchmark = registry.Benchmark("WeThink_s", "WeThink_s", "own")
    found = [scoring.score(items[name], "no", benchmark, OURS, lenient=True).verdict.outcome for name in ("a", "b")]
    assert found == ["correct", "wrong"]


def test_rollouts_keep_them_and_are_scored_again_alike(tmp_path: Path) -> None:
    from wethink.rl.rollout_log import rescore, write_rollouts

    about = {"row": "a", "problem": "is it red ?", "gold": "yes", "category": "FIB", "route": "rule"}
    graded = {"format": 1.0, "accuracy": 0.0, "own": 0.0, "reward": 0.3, "verdict": "wrong", "reason": ""}
    plain = about | graded | {"text": "<think>i look</think><answer>no</answer>"}
    (tmp_path / "log.jsonl").write_text(json.dumps(plain) + "\n" + json.dumps(plain | {"alternatives": TEN}) + "\n")
    write_rollouts(tmp_path / "log.jsonl", tmp_path / "rollouts.parquet")
    found = rescore(tmp_path / "rollouts.parquet", Scorer(CONFIG), tmp_path / "again.parquet")
    assert found["verdicts"] == {"wrong": 1, "wrong → correct": 1}
