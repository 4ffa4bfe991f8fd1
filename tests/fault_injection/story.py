"""The story with real training, on a miniature policy: a new source makes a challenger, and the gate decides."""

import json
import signal
import subprocess
import sys
import time

from tests.fault_injection.project import Project, source
from tests.fault_injection.services import running, wait_for
from wethink.common.jsonl import read_json


def without_a_champion_a_retrain_says_what_to_do(project: Project) -> str:
    """One sentence, and the command that helps."""
    source(project.incoming, "first")
    ended = project.ended("flows.retrain", "first", "--bucket", str(project.incoming))
    assert ended.returncode == 2 and "flows.promote first" in ended.stderr, ended.stderr[-600:]
    return ended.stderr.strip().splitlines()[-1]


def the_main_jobs_result_becomes_the_first_champion(project: Project) -> str:
    """By one command."""
    return project.run("flows.promote", "first")


def a_new_source_makes_a_challenger_that_is_decided_on(project: Project) -> str:
    """Every row is counted, the decision has reasons and a page, and all of it is a commit."""
    said = project.retrain("first")
    assert "promoted" in said or "refused" in said, said
    (work,) = project.worktrees("first")
    union = read_json(work / "retrain/union/metrics.json")
    assert union["rows"]["old"] == 16 and union["items"]["old"] == 8
    assert union["rows"]["new"] + union["items"]["new"] == 16 == union["images"]
    assert read_json(work / "retrain/decision.json")["reasons"]
    assert (work / "retrain/decision.html").stat().st_size > 3000
    assert project.branches("first") == [f"retrain/{work.name}"] and project.tags("first") == [f"data/{work.name}"]
    committed = project.git("ls-tree", "-r", "--name-only", f"retrain/{work.name}")
    assert {"retrain/union.dvc", "retrain/challenger.dvc", "retrain/decision.html"} <= set(committed.split())
    return said


def the_same_source_twice_does_nothing(project: Project) -> str:
    """And says so."""
    before = project.versions()
    said = project.retrain("first")
    assert "nothing has changed" in said or "has learned from" in said, said
    assert project.versions() == before
    return said


def a_flow_killed_during_training_goes_on_and_decides_once(project: Project) -> str:
    """kill -9 for the flow while DeepSpeed trains: every step stands in the log once, and there is one version."""
    source(project.incoming, "second")
    command = [sys.executable, "-m", "flows.retrain", "second", "--bucket", str(project.incoming)]
    with subprocess.Popen(command, cwd=project.folder, env=project.environment, stderr=subprocess.DEVNULL) as flow:

        def trained() -> int | None:
            assert flow.poll() is None, "it ended before it trained a step"
            return project.trained("second")

        step = wait_for(trained, 600, "the first step", pause=0.02)
        flow.send_signal(signal.SIGKILL)
    before = len(project.versions())
    said = project.retrain("second")
    assert len(project.versions()) == before + 1
    assert project.steps("second") == list(range(1, 21))
    return f"killed after step {step}; then: {said}"


def a_champion_named_by_hand_can_be_rolled_back(project: Project) -> str:
    """One command either way."""
    champion = project.run("flows.promote", "champion")
    other = next(line.split()[0] for line in project.versions() if line.split()[1] not in champion)
    project.run("flows.promote", "promote", other, "--because", "a test")
    assert project.run("flows.promote", "champion") != champion
    said = project.run("flows.promote", "rollback", "--because", "a test")
    assert project.run("flows.promote", "champion") == champion
    return said


def a_source_dropped_into_a_bucket_is_decided_on_with_nobody_touching_anything(project: Project) -> str:
    """The stack of `make up`: closed twice is two messages and one run, which the watcher has asked for in 10 s."""
    with running(project) as services:
        project.run("flows.promote", "first")
        services.drop("third", close=False)
        begin = time.monotonic()
        for _ in range(2):
            services.store.close("third")
        (run,) = wait_for(lambda: services.runs("third") or None, 60, "a run")
        noticed = time.monotonic() - begin
        (ended,) = services.ended("third")
        assert ended["id"] == run["id"] and ended["state_type"] == "COMPLETED", ended["state"]
        assert "'third' made version" in ended["state"]["message"], ended["state"]
        told = (project.folder / ".wethink/watcher/told.txt").read_text(encoding="utf-8").split()
        assert told == [run["parameters"]["event_id"]]
        return f"a run {noticed:.1f} s after the closing object; {json.dumps(ended['state']['message'])}"
