"""A decision on a challenger: a pure function of both evaluations and the rule, recorded once, applied as decided."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tasks import ROOT
from tasks.execution import promotion
from tasks.execution.promotion import Comparison, apply, evaluate
from tasks.tracking import model_registry
from tasks.tracking.model_registry import Version
from tests.support.evaluations import answered, seeing
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json
from wethink.config.params import load_params

CHAMPION = Version("1", "a" * 64, Path("one"), {})
CHALLENGER = Version("2", "b" * 64, Path("two"), {"dataset": "d" * 64, "git_commit": "abc"})
RULE = load_params(ROOT / "profiles/tiny.yaml").promotion


def verdicts(every: int) -> list[Record]:
    """An evaluation in which every n-th answer is wrong."""
    records = [
        {"id": f"{source} {n}", "scene": f"{source} {n}", "source": source, "category": "FIB"}
        | {"verdict": "wrong" if n % every == 0 else "correct"}
        for source in ("scenes", "birds")
        for n in range(60)
    ]
    return seeing(answered(records))


def comparison(champion: int = 2, challenger: int = 60, **changes: Any) -> Comparison:
    both = (verdicts(champion), verdicts(challenger))
    compared = Comparison(CHAMPION, CHALLENGER, "birds", both, 3, RULE, 0, {"sources": "birds, scenes"})
    return replace(compared, **changes)


@pytest.fixture
def acts(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """The calls that change the registry or the UI, in order."""
    calls: list[tuple[Any, ...]] = []

    def note(name: str) -> Any:
        return lambda *given, **named: calls.append((name, *given, *named.values()))

    for name in ("record_decision", "tell", "promote"):
        monkeypatch.setattr(model_registry, name, note(name))
    monkeypatch.setattr(promotion, "create_markdown_artifact", note("artifact"))
    monkeypatch.setattr(model_registry, "_client", lambda: pytest.fail("the registry was asked"))
    return calls


def test_a_decision_is_a_function_of_its_inputs_and_asks_no_service(acts: list[Any]) -> None:
    first, second = evaluate(comparison()), evaluate(comparison())
    assert first == second and first["promoted"] and not acts
    assert first["lineage"] == {
        "challenger": f"version 2, {'b' * 64}",
        "champion": f"version 1, {'a' * 64}",
        "new source": "birds",
        "dataset": "d" * 64,
        "sources": "birds, scenes",
        "held-out items": first["lineage"]["held-out items"],
        "programme": f"{RULE.programme}, look 3 of {RULE.looks}",
        "code": "abc",
    }
    assert first["look"] == 3 and first["weights"]["new"] == RULE.new_weight


def test_a_challenger_that_is_no_better_is_refused_and_another_look_has_another_level() -> None:
    refused = evaluate(comparison(champion=2, challenger=2))
    assert not refused["promoted"] and "not shown to be better" in refused["reasons"][0]
    assert evaluate(comparison(look=RULE.looks + 1))["reasons"][0].endswith("draw new ones and name a new programme.")


def test_evaluations_of_different_items_are_no_decision() -> None:
    champion, challenger = comparison().verdicts
    with pytest.raises(UserError, match="were asked different items"):
        evaluate(comparison(verdicts=(champion, challenger[1:])))
    lacking = [record for record in challenger if record["pixels"] != "blank" or record["id"] != "birds 7"]
    with pytest.raises(UserError, match="no answer to the blank image of 1 new items"):
        evaluate(comparison(verdicts=(champion, lacking)))


def test_a_new_decision_is_recorded_with_its_page_before_anything_is_promoted(acts: list[Any], tmp_path: Path) -> None:
    (tmp_path / "retrain").mkdir()
    compared = comparison()
    decision = evaluate(compared)
    assert apply(compared, decision, tmp_path) == decision | {"version": "2"}
    assert [act[0] for act in acts] == ["record_decision", "promote", "artifact"]
    recorded, promoted, artifact = acts
    assert recorded[1:6] == (CHAMPION, CHALLENGER, RULE.programme, decision["lineage"]["held-out items"], decision)
    assert (tmp_path / "retrain/decision.html").read_text(encoding="utf-8") == recorded[6]
    assert read_json(tmp_path / "retrain/decision.json") == decision
    assert promoted[1:] == (CHALLENGER, decision["reasons"][0])
    assert artifact[1].startswith("**promoted**\n\n- better by") and artifact[2] == "decision-birds"


def test_a_recorded_decision_is_applied_and_not_recorded_again(acts: list[Any], tmp_path: Path) -> None:
    decision = evaluate(comparison())
    apply(comparison(recorded=decision), decision, tmp_path)
    assert [act[0] for act in acts] == ["promote", "artifact"] and not list(tmp_path.iterdir())


def test_a_refusal_by_the_gate_asks_nobody_and_one_by_a_person_promotes_nothing(
    acts: list[Any], tmp_path: Path
) -> None:
    refused = evaluate(comparison(champion=2, challenger=2))
    apply(comparison(recorded=refused), refused, tmp_path, lambda *given: pytest.fail("a person was asked"))
    assert [act[0] for act in acts] == ["artifact"] and acts[0][1].startswith("**refused**")
    acts.clear()
    passed = evaluate(comparison())
    answer = passed | {"promoted": False, "reasons": ["A person refused it: rude"]}
    found = apply(comparison(recorded=passed), passed, tmp_path, lambda *given: answer)
    assert [act[0] for act in acts] == ["tell", "artifact"] and acts[0][1:] == (CHALLENGER, answer)
    assert found == answer | {"version": "2"} and acts[1][1] == "**refused**\n\n- A person refused it: rude"
