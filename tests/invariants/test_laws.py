"""Tests of the quick training invariants and their mutants, and of the machinery that `make laws` checks all with."""

from pathlib import Path

import pytest
import torch

from tests.invariants import laws_trl, results
from tests.invariants.defects import NOT_THE_GROUPS, Defect, planted_defect
from tests.invariants.invariant import Law, hold
from tests.invariants.run import LAWS
from tests.invariants.trl_rollouts import are_apart, groups_of, rollouts
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.rl.objective import component_advantages, group_advantages

QUICK = [law for law in LAWS if law.quick]


@pytest.mark.parametrize("law", QUICK, ids=lambda law: law.name)
def test_the_law_holds_and_catches_its_mutants(law: Law) -> None:
    assert not law.holds().failure
    assert not law.missed()


@pytest.mark.parametrize("error", [AssertionError("no peer"), UserError("no engine"), TypeError("a defect's own")])
def test_a_defect_that_fails_otherwise_than_by_the_law_is_not_caught(error: Exception) -> None:
    def check(mutant: str) -> None:
        if mutant == "breaks something else":
            raise error
        hold(not mutant, "off by 1")

    law = Law("law", check, "breaks the law", others=("breaks something else",))
    assert law.missed() == ["breaks something else"] and not law.holds().failure
    assert Law("law", lambda mutant: check("breaks something else"), "any").holds().failure


def test_results_of_other_code_are_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(results, "REPORT", tmp_path / "reports/laws.json")
    assert results.known({"a": "1"}) == {}
    results.write({name: {"name": name, "code": "1"} for name in ("b", "a", "gone")}, ["a", "b", "gone"])
    assert [entry["name"] for entry in read_json(results.REPORT)["laws"]] == ["a", "b", "gone"]
    assert list(results.known({"a": "1", "b": "2"})) == ["a"]


def test_the_code_of_a_law_is_all_that_it_imports_names_as_a_module_or_reads() -> None:
    found = {str(path) for path in results.closure("tests.invariants.laws_trl")}
    assert found >= {
        "tests/invariants/laws_trl.py",
        "tests/invariants/trl_peer.py",  # a process
        "tests/support/miniature.py",
        "wethink/rl/objective.py",
        "wethink/rewards/rules/verify.py",
        "wethink/models/prompts/chat_template.jinja",
        "profiles/tiny.yaml",
    }
    assert not [name for name in found if name.startswith(("wethink/report", "docs", "README"))]
    assert "wethink/rl/trainer.py" in {str(path) for path in results.closure("tests.invariants.laws_resume")}  # a stage


@pytest.mark.parametrize("setting", laws_trl.SETTINGS, ids=lambda setting: setting.name)
def test_settings_of_the_trl_law_are_settings_of_grpo(setting: laws_trl.Setting) -> None:
    assert laws_trl.config_of(setting).num_generations == laws_trl.GROUP


def _advantages(mode: str, totals: torch.Tensor, form: torch.Tensor) -> torch.Tensor:
    known = torch.ones_like(totals, dtype=torch.bool)
    if mode == "components":
        return component_advantages([(totals - 0.3 * form) / 0.7, form], [0.7, 0.3], known, "batch")
    return group_advantages(totals, known, mode)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["group", "none", "batch", "components"])
@pytest.mark.parametrize("defect", NOT_THE_GROUPS, ids=lambda defect: defect.name)
def test_only_groups_with_unequal_rewards_tell_their_own_statistics_from_others(defect: Defect, mode: str) -> None:
    """Groups that all have the same rewards in another order hide the defect."""
    scores = [group.scores for group in groups_of(rollouts("qwen2_5_vl", 1.0), "qwen2_5_vl", fine=False)]
    drawn = torch.tensor([[[s.total, s.format] for s in group] for group in scores]).unbind(-1)  # [B, G] each
    total, form = torch.tensor([0.0, 0.3, 1.0, 1.0]), torch.tensor([0.0, 1.0, 1.0, 1.0])
    alike = torch.stack([total.roll(i) for i in range(5)]), torch.stack([form.roll(i) for i in range(5)])
    assert are_apart(scores)
    for rewards, low, high in ((drawn, 0.05, 10.0), (alike, 0.0, 1e-6)):
        right = _advantages(mode, *rewards)
        with planted_defect(defect):
            wrong = _advantages(mode, *rewards)
        assert low <= float((right - wrong).abs().max()) <= high, (mode, right, wrong)
