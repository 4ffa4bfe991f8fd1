"""Laws of the warm start of a retrain: what SFT learns from, and when it is left out."""

from pathlib import Path
from typing import Any

import pytest

from wethink.common.jsonl import write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.retraining.challenger import warm_start
from wethink.training import sft

ROOT = Path(__file__).parents[2]
PATH = {"split": "train", "refined_cot": "two of them", "answer": "2"}
PLAIN = PATH | {"refined_cot": None}


def started(folder: Path, monkeypatch: pytest.MonkeyPatch, rows: list[dict[str, Any]], **own: Any) -> tuple[str, Any]:
    """Return whether SFT ran or the start was passed on, and with what."""
    params = load_params(ROOT / "profiles/tiny.yaml")
    write_jsonl(folder / "rows.jsonl", rows)
    calls: list[tuple[str, Any]] = []
    monkeypatch.setattr(sft, "sft", lambda **given: calls.append(("sft", given)))
    monkeypatch.setattr(sft, "passed_on", lambda *given: calls.append(("passed on", given)))
    warm_start(
        images=folder / "images",
        rows=folder,
        start=folder / "champion",
        format=params.rewards.format,
        retrain=params.retrain.model_copy(update={"source": "new", "sft_steps": 7} | own),
        launch=params.launch,
        run=StageRun(params.sft, folder / "out", folder / "scratch", 0),
    )
    (only,) = calls
    return only


def test_a_source_with_paths_is_learned_from_where_the_champion_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [PATH | {"source": source, "id": source} for source in ("old", "new")]
    what, given = started(tmp_path, monkeypatch, rows)
    assert what == "sft" and given["base"] == tmp_path / "champion" and given["rows"] == tmp_path
    assert given["run"].config.optim.max_steps == 7, "old rows are among them: what is not repeated is forgotten"


@pytest.mark.parametrize(
    ("new", "own", "why"),
    [
        (PLAIN, {}, "no row of 'new' has a reasoning path"),
        (PATH, {"sft_steps": 0}, "retrain.sft_steps is 0"),
        (PATH | {"split": "reporting"}, {}, "no row of 'new' has a reasoning path"),
    ],
)
def test_old_paths_alone_are_not_learned_once_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, new: dict[str, Any], own: dict[str, Any], why: str
) -> None:
    rows = [PATH | {"source": "old", "id": "old"}, new | {"source": "new", "id": "new"}]
    what, given = started(tmp_path, monkeypatch, rows, **own)
    assert what == "passed on" and given[0] == tmp_path / "champion" and given[-1] == why
