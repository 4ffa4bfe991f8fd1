"""SIGTERM: a training stage saves at its next step boundary, ends with 75, and goes on to the same bytes."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.invariants.workshop import ROOT, build, changed, told
from wethink.common.jsonl import read_json
from wethink.training import ranks as real_ranks

NEVER = {"sft__optim__save_steps": 1000, "grpo__optim__save_steps": 1000}


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workshop"))


def _signalled(seed: int, step: int, ranks: Any) -> None:
    """SIGTERM comes to the last rank alone, in the middle of its third step."""
    if step == 2 and ranks.rank == ranks.world - 1:
        os.kill(os.getpid(), signal.SIGTERM)
    seed_step(seed, step, ranks)


seed_step = real_ranks.seed_step


@pytest.mark.parametrize(("name", "loop", "world"), [("sft", "training__supervised", 2), ("grpo", "rl__trainer", 1)])
def test_after_sigterm_to_one_rank_all_save_and_go_on_to_the_same_bytes(
    workshop: Path, name: str, loop: str, world: int
) -> None:
    whole, cut = f"{name}-whole", f"{name}-stopped"
    assert told(workshop, name, NEVER, whole, world) == ""
    said = told(workshop, name, NEVER, cut, world, **{f"{loop}__seed_step": _signalled})
    assert said.startswith(f"{name}: stopped by SIGTERM after step 3 of ")
    assert read_json(workshop / cut / "failure.json")["exit_code"] == 75
    assert read_json(workshop / cut / "state.json")["step"] == 3
    assert told(workshop, name, NEVER, cut, world) == ""
    undisturbed, resumed = ((workshop / run / "out/model.safetensors").read_bytes() for run in (whole, cut))
    assert resumed == undisturbed


def test_a_launched_stage_passes_sigterm_on_and_its_launcher_survives_it(workshop: Path) -> None:
    """As Slurm does it: every process of the stage gets the signal at once."""
    params = changed(workshop, {"launch__processes": 2} | NEVER)
    (workshop / "params.yaml").write_text(json.dumps(params))
    log = workshop / ".wethink/runs/sft.metrics.jsonl"
    command, environment = [sys.executable, "-m", "wethink", "sft"], os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, cwd=workshop, env=environment, stderr=subprocess.PIPE) as child:
        while not log.exists() or sum(1 for _ in log.open()) < 3:
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.005)
        stage = psutil.Process(child.pid)
        for process in [stage, *stage.children(recursive=True)]:
            process.send_signal(signal.SIGTERM)
        _, errors = child.communicate(timeout=300)
    assert child.returncode == 75 and "sft: stopped by SIGTERM after step" in errors.decode(), errors.decode()[-3000:]
    (state,) = (workshop / ".wethink/scratch/sft").glob("*/state.json")
    assert read_json(state)["step"] >= 3


def test_a_stage_whose_owner_ended_by_the_same_signal_still_saves(workshop: Path, tmp_path: Path) -> None:
    """Slurm signals a job's flow, DVC and stage at once: the owner's death must not kill the stage that saves."""
    program = tmp_path / "saves.py"
    program.write_text(
        "import signal, sys, time\n"
        "from wethink.common import processes\n"
        "signal.signal(signal.SIGTERM, processes.note_termination)\n"
        "processes.die_with_owners()\n"
        "print('ready', flush=True)\n"
        "time.sleep(4)\n"
        "open(sys.argv[1], 'w').write('saved')\n"
    )
    for signalled, saved in ((True, True), (False, False)):
        out = tmp_path / str(signalled)
        owner = subprocess.Popen(["sleep", "60"])
        given: dict[str, Any] = {"env": os.environ | {"PYTHONPATH": str(ROOT), "WETHINK_OWNERS": str(owner.pid)}}
        child = subprocess.Popen([sys.executable, str(program), str(out)], stdout=subprocess.PIPE, **given)
        assert child.stdout is not None and child.stdout.readline()
        if signalled:
            child.terminate()
        owner.kill()
        owner.wait()
        child.wait(timeout=30)
        assert out.exists() == saved
