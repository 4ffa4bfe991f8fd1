"""Launches over a hostfile, with an `ssh` that stays on this machine; `make hosts-check` has real hosts."""

import json
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

from tests.invariants.workshop import ROOT, build, changed, stage
from wethink.common.errors import UserError
from wethink.config.launch import Endpoint, Launch
from wethink.training import hosts
from wethink.training.hosts import Host, check, forward, read_hostfile

SSH = """#!/bin/sh
while [ "$1" = -o ]; do shift 2; done
host=$1; shift
case $host in
  nowhere) echo "ssh: Could not resolve hostname nowhere: Name or service not known" >&2; exit 255;;
  apart) cd /; exec sh -c "${*#*&& }";;
  other) export PYTHONPATH=$OTHER; cd /; exec sh -c "${*#*&& }";;
  silent) exec sleep 60;;
esac
exec sh -c "$*"
"""


@pytest.fixture(autouse=True)
def ssh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "bin" / "ssh"
    program.parent.mkdir()
    program.write_text(SSH)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tmp_path_factory.mktemp("workshop"))


def hostfile(folder: Path, *lines: str) -> str:
    (folder / "hostfile").write_text("\n".join(lines) + "\n")
    return str(folder / "hostfile")


TWO = ("# two hosts", "127.0.0.1 slots=1", "", "127.0.0.2 slots=1  # the far one")


def started(folder: Path, **overrides: Any) -> "subprocess.Popen[bytes]":
    (folder / "params.yaml").write_text(json.dumps(changed(folder, overrides)))
    log = folder / ".wethink/runs/sft.metrics.jsonl"
    log.unlink(missing_ok=True)
    command = [sys.executable, "-m", "wethink", "sft"]
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    while not log.exists() or sum(1 for _ in log.open()) < 4:
        assert child.poll() is None, child.stderr.read().decode()  # type: ignore[union-attr]
        time.sleep(0.005)
    return child


def ranks(folder: Path) -> list[psutil.Process]:
    """The ranks that work in this folder, whoever their parent is."""
    found = []
    for process in psutil.process_iter():
        try:
            if "rank" in process.cmdline()[3:6] and Path(process.cwd()) == folder:
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.fixture(scope="module")
def whole(workshop: Path) -> dict[str, str]:
    return stage(workshop, "sft", processes=2)


def test_two_hosts_of_one_rank_end_with_the_bytes_of_one_host_of_two(workshop: Path, whole: dict[str, str]) -> None:
    assert stage(workshop, "sft", processes=1, launch__hostfile=hostfile(workshop, *TWO)) == whole


def test_a_stage_killed_with_9_leaves_no_rank_on_any_host_and_the_next_start_finishes(
    workshop: Path, whole: dict[str, str]
) -> None:
    child = started(workshop, launch__hostfile=hostfile(workshop, *TWO))
    left = ranks(workshop)
    assert len(left) == 2
    child.send_signal(signal.SIGKILL)
    child.wait()
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive
    assert stage(workshop, "sft", launch__hostfile=hostfile(workshop, *TWO)) == whole


def test_a_rank_killed_on_the_far_host_ends_the_stage_on_both(workshop: Path) -> None:
    child = started(workshop, launch__hostfile=hostfile(workshop, *TWO))
    left = ranks(workshop)
    next(one for one in left if one.environ()["RANK"] == "1").kill()
    _, errors = child.communicate(timeout=60)
    assert child.returncode == 75 and b"Traceback" not in errors.splitlines()[-1]
    _, alive = psutil.wait_procs(left, timeout=10)
    assert not alive


def test_what_the_stage_does_not_say_for_long_ends_the_command_on_a_host(tmp_path: Path) -> None:
    silence = "import wethink.training.host_process as far; far.SILENCE_S = 1.0; far.main()"
    job = {"environment": {}, "command": [sys.executable, "-c", "import time; time.sleep(100)"]}
    far = subprocess.Popen([sys.executable, "-c", silence], stdin=subprocess.PIPE, cwd=ROOT)
    far.stdin.write(json.dumps(job).encode() + b"\n")  # type: ignore[union-attr]
    far.stdin.flush()  # type: ignore[union-attr]
    time.sleep(0.5)
    children = psutil.Process(far.pid).children()
    far.wait(timeout=20)  # its standard input is still open
    _, alive = psutil.wait_procs(children, timeout=5)
    assert not alive


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (None, "does not exist; write a line `NAME slots=N` per host, or clear launch.hostfile"),
        ([], "names no host"),
        (["# none"], "names no host"),
        (["h1 slots=1", "h2"], "line 2: “h2” is not `NAME slots=N`"),
        (["h1 slots=0"], "line 1: “h1 slots=0” is not"),
        (["-oProxyCommand=x slots=1"], "line 1: “-oProxyCommand=x slots=1” is not"),
        (["h1 slots=1", "h1 slots=2"], "line 2: host h1 stands twice"),
    ],
)
def test_a_hostfile_that_cannot_be_meant_is_refused_with_its_line(
    tmp_path: Path, lines: list[str] | None, said: str
) -> None:
    path = tmp_path / "hostfile"
    if lines is not None:
        path.write_text("\n".join(lines))
    with pytest.raises(UserError) as told:
        read_hostfile(path)
    assert said in str(told.value)


def test_the_slots_of_a_hostfile_are_the_ranks_of_its_hosts(tmp_path: Path) -> None:
    assert read_hostfile(Path(hostfile(tmp_path, "me@h1 slots=3", "h2  slots = 1 # far"))) == [
        Host("me@h1", 3),
        Host("h2", 1),
    ]


@pytest.mark.parametrize(
    ("second", "said"),
    [
        (Host("nowhere", 1), r"host nowhere cannot be reached over ssh .*Could not resolve hostname"),
        (Host("apart", 1), r"host apart of .* does not see the scratch folder under"),
        (Host("other", 1), r"host other of .* has other code \(.+\) than this one"),
        (Host("127.0.0.2", 4096), r"host 127.0.0.2 of .* has \d+ cores, fewer than its 4096 slots need \(1 each\)"),
        (Host("silent", 1), r"host silent does not answer within 3 s"),
    ],
)
def test_a_host_that_ranks_cannot_run_on_is_named_before_any_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, second: Host, said: str
) -> None:
    monkeypatch.setattr(hosts, "ANSWER_S", 3.0 if second.name == "silent" else 60.0)
    monkeypatch.setattr("wethink.training.remote.ENDING_S", 1.0)
    monkeypatch.chdir(tmp_path)
    if second.name == "other":
        monkeypatch.setenv("OTHER", str(tmp_path / "other"))
        shutil.copytree(ROOT / "wethink", tmp_path / "other/wethink", ignore=shutil.ignore_patterns("__pycache__"))
        (tmp_path / "other/wethink/models/lora.py").write_text("")
        scratch = tmp_path  # absolute: what another folder sees
    else:
        scratch = Path()
    with pytest.raises(UserError, match=said):
        check([Host("127.0.0.1", 1), second], scratch, settings(), {})


def test_a_first_host_that_means_this_machine_to_the_others_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=r"do not agree on the address of 127.0.0.1 .*none that begins with 127"):
        check([Host("127.0.0.1", 1), Host("here", 1)], Path(), settings(), {})


def test_the_variables_of_libraries_and_endpoints_reach_the_hosts_and_no_others() -> None:
    mine = {"HF_TOKEN": "a", "AWS_REGION": "b", "JUDGE": "c", "SHELL": "d", "WETHINK_OWNERS": "1", "WETHINK_X": "e"}
    launch = settings(endpoints={"judge": Endpoint(url="http://h/v1", key_env="JUDGE")})
    assert forward(mine, launch) == {"HF_TOKEN": "a", "AWS_REGION": "b", "JUDGE": "c", "WETHINK_X": "e"}


def settings(**changes: Any) -> Launch:
    return Launch(
        device="cpu", processes=1, threads=1, hostfile="hosts.txt", deepspeed="x", deadline_minutes=5, **changes
    )
