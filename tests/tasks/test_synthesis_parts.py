"""Filling the store through Prefect: parts run side by side within a limit; a failed one is tried again alone."""

import sys
import time
from pathlib import Path
from typing import Any

import pytest

from flows.synthesis import fill_store
from tasks.execution import synthesis_parts
from tests.flows.test_pipeline import states_of

PART = """
import sys, time
from pathlib import Path
part, wish = sys.argv[1:]
log = Path("log"); log.mkdir(exist_ok=True)
tries = len(list(log.glob(f"{part}-*.start")))
(log / f"{part}-{tries}.start").write_text(str(time.time()))
time.sleep(0.5)
(log / f"{part}-{tries}.end").write_text(str(time.time()))
if part == "2" and wish == "die" and tries == 0:
    sys.exit(69)
if part == "2" and wish == "refuse":
    print("wethink synthesize: params.yaml, synthesize.max_cost: too little.")
    sys.exit(2)
"""


@pytest.fixture
def parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in which a part is a script that writes down when it ran."""
    monkeypatch.chdir(tmp_path)
    Path("part.py").write_text(PART, encoding="utf-8")
    return tmp_path / "log"


def run(parts: Path, monkeypatch: pytest.MonkeyPatch, wish: str, parallel: int) -> Any:
    from prefect.task_runners import ThreadPoolTaskRunner

    monkeypatch.setattr(synthesis_parts, "command", lambda part, of: [sys.executable, "part.py", str(part), wish])
    runner = ThreadPoolTaskRunner(max_workers=parallel)  # type: ignore[no-untyped-call]
    return fill_store.with_options(task_runner=runner)(4, 1.0, return_state=True)


def test_a_failed_part_is_tried_again_alone_and_the_limit_holds(
    parts: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin = time.time()
    state = run(parts, monkeypatch, "die", parallel=2)
    assert state.is_completed(), state.message
    assert sorted(path.name for path in parts.glob("*.start")) == [
        *("1-0.start", "2-0.start", "2-1.start", "3-0.start", "4-0.start")
    ]
    spans = [(float(p.read_text()), float(p.with_suffix(".end").read_text())) for p in parts.glob("*.start")]
    assert all(begin <= start for start, _ in spans)
    assert max(sum(start <= at < end for start, end in spans) for at, _ in spans) <= 2
    assert states_of(state) == {f"fill {part} of 4": "Completed" for part in (1, 2, 3, 4)}


def test_a_part_that_is_refused_fails_the_flow_with_its_own_sentence(
    parts: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = run(parts, monkeypatch, "refuse", parallel=4)
    assert state.is_failed() and "synthesize.max_cost: too little." in str(state.message)
    assert len(list(parts.glob("2-*.start"))) == 1, "a user's mistake was tried again"
