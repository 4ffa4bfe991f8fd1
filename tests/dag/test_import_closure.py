"""An edit reruns the stages that it touches, and no others."""

from pathlib import Path
from typing import Any

import pytest

from tasks import ROOT
from wethink.config.params import load_yaml, parse_params
from wethink.dag import import_closure
from wethink.dag.import_closure import closure
from wethink.dag.main_stages import STAGES
from wethink.dag.runner import settings

TRAINING = ["base", "sft", "grpo", "evaluate", "report"]

# The module whose edit is asked about → the stages that DVC runs again.
DIRTY = {
    "wethink/config/grpo.py": ["grpo", "evaluate", "report"],
    "wethink/config/curation.py": ["validate", *TRAINING],
    "wethink/config/retraining.py": [],
    "wethink/config/params.py": [],
    "wethink/config/response_format.py": ["synthesize", "validate", *TRAINING],
    "wethink/config/profiles.py": [],
    "wethink/synthesis/dry_run.py": [],
    "wethink/dag/publishing.py": [],
    "wethink/dag/workspace.py": [],
    "wethink/dag/runner.py": [],
    "wethink/dag/import_closure.py": [],
    "wethink/dag/main_stages.py": [],
    "wethink/cli/main.py": [],
    "wethink/retraining/promotion_gate.py": [],
    "wethink/export/dataset_card.py": [],
    "wethink/rl/objective.py": ["grpo", "evaluate", "report"],
    "wethink/curation/filters.py": ["validate", *TRAINING],
    "wethink/synthesis/prompts/refine.txt": ["synthesize", "validate", *TRAINING],
    "wethink/models/prompts/chat_template.jinja": TRAINING,
    "wethink/models/prompts/system_boxed.txt": TRAINING,
    "wethink/data/drawn/scenes.py": list(STAGES),
}


def dirty(path: str) -> list[str]:
    """Stages that run again after an edit of `path`: those that import it, and those that read their outputs."""
    found: list[str] = []
    for name, stage in STAGES.items():
        makers = {other for other in found if STAGES[other].out in stage.inputs.values()}
        if makers or Path(path) in closure(stage.module):
            found.append(name)
    return found


@pytest.mark.parametrize("path", DIRTY)
def test_an_edit_dirties_only_the_stages_that_it_touches(path: str) -> None:
    assert (ROOT / path).is_file()
    assert dirty(path) == DIRTY[path]


# The key of the section `rewards` that is changed → the stages that depend on it by themselves.
REWARD_KEYS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "weights": ({"accuracy_weight": 0.6, "format_weight": 0.4}, ["synthesize", "grpo", "evaluate"]),
    "tolerance": ({"tolerance": 0.01}, ["synthesize", "grpo", "evaluate"]),
    "format": ({"format": {"kind": "boxed"}}, ["synthesize", "base", "sft", "grpo", "evaluate", "report"]),
    "empty thoughts": (
        {"format": {"kind": "tags", "allow_empty_thought": True}},
        ["synthesize", "base", "sft", "grpo", "evaluate", "report"],
    ),
}


@pytest.mark.parametrize("key", REWARD_KEYS)
def test_a_change_of_one_reward_key_dirties_only_the_stages_that_read_it(key: str) -> None:
    changes, expected = REWARD_KEYS[key]
    given = load_yaml(ROOT / "params.yaml")
    before, after = parse_params(given, "x"), parse_params(given | {"rewards": given["rewards"] | changes}, "x")
    assert [name for name, stage in STAGES.items() if settings(stage, before) != settings(stage, after)] == expected


def test_a_file_that_no_module_names_or_imports_dirties_nothing() -> None:
    assert dirty("wethink/synthesis/prompts/no_such_step.txt") == []


def test_an_asset_is_found_beside_the_module_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "wethink/planted"
    package.mkdir(parents=True)
    (package / "page.py").write_text('ASSETS = ("templates/page.jinja",)\n')
    monkeypatch.setattr(import_closure, "ROOT", tmp_path)
    import_closure._reads.cache_clear()
    try:
        assert Path("wethink/planted/templates/page.jinja") in closure("wethink.planted.page")
    finally:
        import_closure._reads.cache_clear()
