"""Ranks as a step of a Slurm job, with fake Slurm commands; `make slurm-check` has the real ones."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks import ROOT
from tests.support import fake_slurm
from wethink.common.errors import AGAIN, UserError
from wethink.common.jsonl import read_json
from wethink.config.launch import Launch
from wethink.training import slurm
from wethink.training.launch import has_launcher, launch_ranks
from wethink.training.slurm import Job, check, current_job, put_back

PYTHON = """#!/bin/sh
case "$*" in *"wethink rank"*) exec {python} -c "$FAKE_RANK";; esac
exec {python} "$@"
"""


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, value in fake_slurm.job().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{tmp_path / 'slurm'}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)
    return fake_slurm.install(tmp_path / "slurm")


@pytest.fixture
def rank(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: Path) -> Path:
    """Ranks that run the Python of FAKE_RANK in place of a stage."""
    python = tmp_path / "python"
    python.write_text(PYTHON.format(python=sys.executable))
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    return calls


def settings(**changes: Any) -> Launch:
    return Launch(
        **({"device": "cpu", "processes": 1, "threads": 1, "deepspeed": "x", "deadline_minutes": 5} | changes)
    )


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, None),
        (fake_slurm.job(2, "72(x2)"), Job("17", 2, 72)),
        (fake_slurm.job(3, "72(x2),36"), Job("17", 3, 36)),
        (fake_slurm.job(1, "8"), Job("17", 1, 8)),
        (fake_slurm.job(1, "8", SLURM_STEP_ID="0"), None),
        (fake_slurm.job(2, "8", SLURM_STEP_ID="4294967290"), Job("17", 2, 8)),
        ({"SLURM_JOB_ID": "17"}, Job("17", 1, None)),
    ],
)
def test_ranks_are_a_step_of_the_job_around_them_unless_they_are_in_one_already(
    calls: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], expected: Job | None
) -> None:
    for name in fake_slurm.job():
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert current_job() == expected
    assert has_launcher(settings()) == (expected is not None)


def test_a_job_of_one_node_without_srun_starts_its_ranks_here(calls: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    assert current_job() is not None
    monkeypatch.setenv("PATH", "/usr/sbin-without-slurm")
    assert current_job() is None


def test_several_nodes_without_srun_are_refused(calls: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", "/usr/sbin-without-slurm")
    with pytest.raises(UserError, match="Slurm job 17 of 2 nodes, but srun is not on the PATH"):
        launch_ranks("sft", tmp_path, settings())


def test_more_ranks_than_cores_are_refused(calls: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has 2 cores on a node, and launch.processes 3 needs 3; .*--cpus-per-task=3"):
        launch_ranks("sft", tmp_path, settings(processes=3))


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ("folder", r"host n2 of Slurm job 17 does not see the scratch folder under"),
        ("code", r"host n2 of Slurm job 17 has other code \(commit \S+\) than this one \(commit \S+\)"),
        ("python", r"host n2 of Slurm job 17 cannot run `.* -m wethink` in .* \(.*No module named .*\)"),
        ("silent", r"host n2 of Slurm job 17 does not answer within 3 s"),
        ("slurm", r"Slurm starts no step in job 17: Unable to create step for job 17: More processors requested"),
    ],
)
def test_a_node_that_ranks_cannot_run_on_is_named_before_any_starts(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, problem: str, said: str
) -> None:
    there, scratch, job = tmp_path / "there", Path(), Job("17", 2, 2)
    there.mkdir()
    monkeypatch.setenv("FAKE_CWD_N2", str(there))
    monkeypatch.setattr("wethink.training.remote.ENDING_S", 1.0)
    if problem == "code":
        scratch = tmp_path  # absolute: what another folder sees
        shutil.copytree(ROOT / "wethink", there / "wethink", ignore=shutil.ignore_patterns("__pycache__"))
        (there / "wethink/models/lora.py").write_text("")
    elif problem in ("python", "silent"):
        process = "import missing_module" if problem == "python" else "import time; time.sleep(60)"
        (there / "wethink/training").mkdir(parents=True)
        for name, text in (("__init__", ""), ("training/__init__", ""), ("training/host_process", process)):
            (there / f"wethink/{name}.py").write_text(text + "\n")
        monkeypatch.setattr(slurm, "ANSWER_S", 3.0 if problem == "silent" else 60.0)
    elif problem == "slurm":
        job = Job("17", 100, 2)
        monkeypatch.setenv("SLURM_JOB_NUM_NODES", "100")
    with pytest.raises(UserError, match=said):
        check(job, scratch, settings(), dict(os.environ))
    assert not list(tmp_path.glob("**/hosts.nonce"))


def test_every_rank_has_its_numbers_and_the_address_where_all_meet(
    rank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    names = ["RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS", "WETHINK_OWNERS"]
    code = f"import os; open('rank' + os.environ['RANK'], 'w').write(' '.join(os.environ.get(n, '-') for n in {names}))"
    monkeypatch.setenv("FAKE_RANK", code)
    monkeypatch.setenv("WETHINK_OWNERS", "1")
    launch_ranks("sft", tmp_path, settings(processes=2))
    lines = [(tmp_path / f"rank{number}").read_text().split() for number in (0, 1)]
    port = lines[0][4]
    assert lines == [[str(n), str(n), "2", "127.0.0.1", port, "1", "-"] for n in (0, 1)] and int(port) > 1023
    assert "--nodes=1 --ntasks=2 --ntasks-per-node=2 --cpus-per-task=1" in rank.read_text()


@pytest.mark.parametrize(
    ("code", "message", "exit_code"),
    [
        ("sys.exit(9 if n else time.sleep(60))", "a rank of stage 'sft' of host n2 ended with code 9", 75),
        ("sys.exit(74 if n else time.sleep(60))", "the disk of host n2 is full", 2),
        ("os.kill(os.getpid(), 9) if n else time.sleep(60)", "of host n2 ended with code 247", 75),
        ("sys.exit(143)", "was stopped by SIGTERM before its first step", AGAIN),
    ],
)
def test_the_first_rank_that_fails_ends_all_and_its_node_is_named(
    rank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, message: str, exit_code: int
) -> None:
    monkeypatch.setattr(slurm, "check", lambda *_: ("127.0.0.1", 1))
    monkeypatch.setenv("FAKE_RANK", f"import os, sys, time; n = int(os.environ['RANK']); {code}")
    begin = time.monotonic()
    with pytest.raises(UserError, match=message) as told:
        launch_ranks("sft", tmp_path, settings())
    assert told.value.exit_code == exit_code and time.monotonic() - begin < 40


@pytest.mark.parametrize(
    ("asked", "state", "queued"),
    [("1", "RUNNING", True), ("1", "CANCELLED", False), ("1", "COMPLETING", False), ("", "RUNNING", False)],
)
def test_only_a_running_job_that_asks_for_it_is_queued_again(
    calls: Path, monkeypatch: pytest.MonkeyPatch, asked: str, state: str, queued: bool
) -> None:
    monkeypatch.setenv("WETHINK_REQUEUE", asked)
    monkeypatch.setenv("FAKE_STATE", state)
    put_back(Job("17", 2, 2))
    assert ("scontrol requeue 17" in calls.read_text()) == queued


@pytest.fixture
def submitted(calls: Path, tmp_path: Path) -> Path:
    """A project's folder whose Python writes its arguments down and lives as long as `run` is there."""
    (tmp_path / ".venv/bin").mkdir(parents=True)
    (tmp_path / "params.yaml").touch()
    python = tmp_path / ".venv/bin/python"
    python.write_text(
        '#!/bin/sh\necho "$@" $WETHINK_REQUEUE > arguments; while [ -e run ]; do sleep 0.1; done; exit 7\n'
    )
    python.chmod(0o755)
    return tmp_path


def script(folder: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    command = ["bash", str(ROOT / "infra/slurm/wethink.sbatch"), *arguments]
    environment = dict(os.environ) | environment
    return subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True)


def test_the_script_runs_a_module_with_the_number_of_the_task_and_ends_with_its_code(submitted: Path) -> None:
    child = script(submitted, "wethink", "synthesize", "--fill", "%a/8", SLURM_ARRAY_TASK_ID="3")
    assert child.communicate(timeout=30) == (None, "") and child.returncode == 7
    assert (submitted / "arguments").read_text() == "-m wethink synthesize --fill 3/8 1\n"


@pytest.mark.parametrize(("steps", "call"), [("17.0", "scancel --signal=TERM 17"), ("", "scontrol requeue 17")])
def test_before_the_time_limit_the_script_tells_the_ranks_or_queues_the_job(
    submitted: Path, calls: Path, steps: str, call: str
) -> None:
    (submitted / "run").touch()
    child = script(submitted, "flows.pipeline", FAKE_STEPS=steps)
    while not (submitted / "arguments").exists():
        time.sleep(0.05)
    child.send_signal(signal.SIGUSR1)
    while call not in calls.read_text():
        assert child.poll() is None
        time.sleep(0.05)
    time.sleep(0.5)
    assert child.poll() is None, "the signal has ended the script"
    (submitted / "run").unlink()
    assert child.wait(timeout=30) == 7


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        ("SLURM_JOB_ID", "no Slurm job; submit it"),
        ("params.yaml", "is not the project's folder"),
        (".venv", "missing on"),
    ],
)
def test_what_the_script_lacks_is_told(
    submitted: Path, monkeypatch: pytest.MonkeyPatch, missing: str, said: str
) -> None:
    if missing == "SLURM_JOB_ID":
        monkeypatch.delenv(missing)
    else:
        (submitted / missing).rename(submitted / "elsewhere")
    child = script(submitted, "flows.pipeline")
    assert said in child.communicate(timeout=30)[1] and child.returncode == 2


def test_ranks_that_are_told_to_end_save_and_the_next_start_ends_with_the_same_bytes(
    calls: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.invariants.workshop import build, stage
    from tests.training.test_hosts import ranks, started

    folder = build(tmp_path / "workshop")
    monkeypatch.setenv("SLURM_JOB_NUM_NODES", "1")
    monkeypatch.setenv("WETHINK_REQUEUE", "1")
    child = started(folder, launch__processes=2, sft__optim__save_steps=100)
    for one in psutil.Process(child.pid).children(recursive=True):
        if "srun" not in " ".join(one.cmdline()) and "fake_slurm" not in " ".join(one.cmdline()):
            one.send_signal(signal.SIGTERM)  # as Slurm does: to every process of the step
    _, errors = child.communicate(timeout=120)
    assert child.returncode == AGAIN and b"which is saved; the same command goes on there" in errors
    assert not ranks(folder)
    state = next((folder / ".wethink/scratch/sft").glob("*/state.json"))
    assert read_json(state)["step"] >= 4 and "scontrol requeue 17" in calls.read_text()
    resumed = stage(folder, "sft", processes=2, sft__optim__save_steps=100)
    for name in fake_slurm.job():
        monkeypatch.delenv(name)
    assert resumed == stage(build(tmp_path / "other"), "sft", processes=2, sft__optim__save_steps=100)
