"""A person's word: asked about one challenger and one champion, kept with its reason, and never needed to refuse."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tasks.orchestration import approval
from tasks.orchestration.approval import Approval, ask_a_person
from tasks.tracking.model_registry import Version
from wethink.common.errors import UserError

CHAMPION = Version("1", "a" * 64, Path("one"), {})
CHALLENGER = Version("2", "b" * 64, Path("two"), {})
DECISION = {"promoted": True, "reasons": ["better by 3 points"], "gain": None}


def answer(monkeypatch: pytest.MonkeyPatch, approve: bool, because: str) -> list[str]:
    """Stand in a deployment's run, and for Prefect's form; the keys that were asked with."""
    keys: list[str] = []

    def suspended(wait_for_input: Any, key: str) -> Approval:
        keys.append(key)
        return Approval(approve=approve, because=because)

    run = SimpleNamespace(flow_run=SimpleNamespace(deployment_id="one"))
    monkeypatch.setattr(approval.FlowRunContext, "get", lambda: run)
    monkeypatch.setattr(approval, "suspend_flow_run", suspended)
    return keys


def test_approval_is_kept_with_its_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, True, "looked at thirty answers")
    found = ask_a_person(CHAMPION, CHALLENGER, DECISION)
    assert found["promoted"] and found["reasons"] == [
        "better by 3 points",
        "A person approved it: looked at thirty answers",
    ]


def test_a_refusal_stops_the_promotion_and_comes_first_among_the_reasons(monkeypatch: pytest.MonkeyPatch) -> None:
    answer(monkeypatch, False, "it has become rude")
    found = ask_a_person(CHAMPION, CHALLENGER, DECISION)
    assert not found["promoted"] and found["reasons"][0] == "A person refused it: it has become rude"
    assert DECISION["promoted"]  # the gate's own word stays what it was


def test_an_answer_about_one_pair_is_never_taken_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = answer(monkeypatch, True, "fine")
    ask_a_person(CHAMPION, CHALLENGER, DECISION)
    ask_a_person(CHAMPION, Version("3", "c" * 64, Path("three"), {}), DECISION)
    ask_a_person(CHALLENGER, Version("3", "c" * 64, Path("three"), {}), DECISION)
    assert len(set(keys)) == 3


def test_a_run_that_cannot_wait_says_how_to_approve_by_hand() -> None:
    with pytest.raises(UserError, match="promote 2 --because"):
        ask_a_person(CHAMPION, CHALLENGER, DECISION)


def test_the_form_wants_a_reason_and_is_off_at_first() -> None:
    schema = Approval.model_json_schema()
    assert schema["required"] == ["because"] and schema["properties"]["approve"]["default"] is False
