"""What another clone gets by git and DVC's remote: all of the data, nothing to reproduce, and what was run before."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.objects import State
from prefect.settings import PREFECT_API_URL

from flows import pipeline as main_job
from tasks import ROOT
from tasks.execution.lease import limit_of
from tasks.versioning import commits, dvc_status
from wethink.common.errors import UserError
from wethink.config.params import load_params
from wethink.dag.main_stages import STAGES


def run(folder: Path, *command: str) -> str:
    ended = subprocess.run([sys.executable, "-m", *command], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, (ended.stdout + ended.stderr)[-2000:]
    return ended.stdout


def git(folder: Path, *command: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", *identity, *command], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def kept(project: Path) -> Path:
    """The finished main job (with stand-in functions), kept as version `one` in a remote that is a folder."""
    run(project, "dvc", "remote", "add", "--default", "store", str(project.parent / f"{project.name}-remote"))
    git(project, "commit", "--quiet", "--all", "--message", "a remote")
    with pytest.raises(UserError, match="not all is up to date"):
        commits.save_data("one")
    run(project, "dvc", "repro")
    assert "pushed to DVC's remote" in commits.save_data("one")
    return project


def clone(origin: Path, name: str, revision: str = "data/one") -> Path:
    folder = origin.parent / f"{origin.name}-{name}"
    subprocess.run(["git", "clone", "--quiet", "-b", revision, str(origin), str(folder)], check=True)
    return folder


def test_a_second_clone_pulls_and_has_nothing_to_do_and_fetches_what_was_run_without_a_lock(kept: Path) -> None:
    second = clone(kept, "second")
    run(second, "dvc", "pull")
    run(second, "dvc", "repro")
    assert not (second / "pids").exists(), "a stage has run"
    shown = [run(place, "dvc", "metrics", "show", "--json") for place in (kept, second)]
    assert shown[0] == shown[1] and "accuracy" in shown[0]
    third = clone(kept, "third")
    (third / "dvc.lock").unlink()
    run(third, "dvc", "repro", "--pull")
    assert not (third / "pids").exists(), "the run cache was not used"
    assert (third / "dvc.lock").read_bytes() == (kept / "dvc.lock").read_bytes()


def test_machines_that_share_a_version_run_each_stage_once_and_the_last_commits_it(
    project: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(project, "dvc", "remote", "add", "--default", "store", str(project.parent / f"{project.name}-remote"))
    git(project, "commit", "--quiet", "--all", "--message", "a remote")
    branch = git(project, "branch", "--show-current").strip()
    one, other = (clone(project, name, branch) for name in ("one", "other"))

    def pipeline_in(folder: Path) -> State[Any]:
        monkeypatch.chdir(folder)
        return main_job.pipeline(save_as="one", return_state=True)

    def ran(folder: Path) -> set[str]:
        return {path.name for path in (folder / "pids").iterdir()}

    (one / "orders").mkdir()
    (one / "orders/sft").write_text("refuse", encoding="utf-8")
    assert pipeline_in(one).is_failed()
    before = ran(one)
    assert "sft" in before and "grpo" not in before
    ended = pipeline_in(other)
    assert ended.is_completed() and "pushed to DVC's remote" in str(ended.message), ended.message
    assert ran(other) == set(STAGES) - before | {"sft"}
    committed = git(other, "show", "data/one:dvc.lock")
    (one / "orders/sft").unlink()
    ended = pipeline_in(one)
    assert ended.is_completed(), ended.message
    assert ran(one) == before, "what the other machine has run was run again"
    assert git(one, "show", "data/one:dvc.lock") == committed


ONE_STAGE = """
from prefect import flow
from tasks.execution.stage import Plan, draw

@flow
def shared():
    return draw(Plan(frozenset({"draw"}), 10.0, "wethink", shared=True))

print(shared(return_state=True).message)
"""


def test_of_two_machines_that_start_a_stage_at_the_same_moment_one_runs_it_and_the_other_fetches_it(
    project: Path, prefect_server: None
) -> None:
    run(project, "dvc", "remote", "add", "--default", "store", str(project.parent / f"{project.name}-remote"))
    git(project, "commit", "--quiet", "--all", "--message", "a remote")
    branch = git(project, "branch", "--show-current").strip()
    machines = [clone(project, name, branch) for name in ("one", "other")]
    children = []
    for folder in machines:
        (folder / "orders").mkdir()
        (folder / "orders/draw").write_text("sleep 5", encoding="utf-8")
        environment = os.environ | {"PREFECT_API_URL": str(PREFECT_API_URL.value()), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", ONE_STAGE]
        children.append(
            subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        )
    said = [child.communicate(timeout=300)[0].decode() for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    ran = [(folder / "pids/draw").exists() for folder in machines]
    assert sorted(ran) == [False, True], said
    assert "another machine has run it" in said[ran.index(False)]
    locks = [(folder / "dvc.lock").read_bytes() for folder in machines]
    assert locks[0] == locks[1] and all((folder / STAGES["draw"].out).exists() for folder in machines)


def test_a_lease_is_of_the_same_code_parameters_and_inputs(project: Path) -> None:
    params = load_params()
    first = limit_of("ingest", params)
    assert first == limit_of("ingest", params)
    others = [limit_of("draw", params), limit_of("ingest", params.model_copy(update={"seed": 1}))]
    Path("dvc.lock").write_text(json.dumps({"stages": {"draw": {"outs": [{"path": "data/drawn", "md5": "x"}]}}}))
    assert first not in (*others, limit_of("ingest", params))


def test_what_nobody_else_could_get_is_refused_before_the_work(
    project: Path, prefect_server: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("..", "a..b", "-f", "a/b", "one.lock", "one.", ""):
        with pytest.raises(UserError, match="cannot name a version"):
            commits.ready(name)
    commits.ready("2026-11.b")
    Path("params.yaml").write_text(Path("params.yaml").read_text("utf-8") + "\n", encoding="utf-8")
    commits.ready("one")  # a version has its parameters with it
    Path("fake.py").write_text(Path("fake.py").read_text("utf-8") + "\n", encoding="utf-8")
    state = main_job.pipeline(save_as="one", return_state=True)
    assert state.message == (
        "uncommitted changes (fake.py): commit them first, so that a version has the code that made it."
    )
    assert not Path("pids").exists(), "a stage has run"
    monkeypatch.chdir(project.parent)
    with pytest.raises(UserError, match="no git checkout"):
        commits.ready("one")


def test_nothing_is_committed_before_the_remote_has_its_data(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr(commits, "has_remote", lambda folder: True)
    monkeypatch.setattr(commits, "_run", lambda folder, *command: order.append(" ".join(command)) or "changed")
    commits.save(project, ["params.yaml"], "message", "data/one")
    words = [next(word for word in ("push", "add", "commit", "tag", "diff") if f" {word}" in line) for line in order]
    assert words == ["push", "add", "diff", "commit", "tag"]


def test_the_same_version_once_more_changes_nothing_and_dvcs_own_word_is_the_reason(project: Path) -> None:
    Path("note").write_text("1", encoding="utf-8")
    assert not commits.save(project, ["note"], "one", "data/one"), "there is no remote"
    before = git(project, "rev-parse", "data/one")
    commits.save(project, ["note"], "one", "data/one")
    assert git(project, "rev-parse", "data/one") == before
    with pytest.raises(UserError, match="dvc add nowhere failed"):
        commits.dvc(project, "add", "nowhere")
    assert os.environ["AWS_RETRY_MODE"] == "standard" and dvc_status.git("tag") == "data/one"


def test_a_remote_that_answers_503_to_every_fifth_request_gets_everything(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.fault_injection.services import KEYS, Store

    shaky = Store()
    try:
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": shaky.endpoint}).items():
            monkeypatch.setenv(name, value)
        run(project, "dvc", "remote", "add", "--default", "store", "s3://dvc")
        (project / "photos").mkdir()
        for number in range(30):
            (project / "photos" / str(number)).write_text(f"photo {number}", encoding="utf-8")
        commits.dvc(project, "add", "photos")
        shaky.refuse = 0.2
        assert commits.save(project, ["photos.dvc", ".dvc/config"], "photos", "data/one"), "pushed"
        second = clone(project, "second")
        run(second, "dvc", "pull", "photos.dvc")
        assert shaky.refused > 5, "the fault was not injected"
        assert sorted(p.read_text() for p in (second / "photos").iterdir()) == sorted(f"photo {n}" for n in range(30))
    finally:
        shaky.stop()


def test_a_versions_name_stays_with_what_it_was_given_to(project: Path) -> None:
    run(project, "dvc", "repro")
    assert "data/one is commit" in commits.save_data("one")
    before = git(project, "rev-parse", "data/one")
    commits.ready("one")
    assert "nothing has changed since" in commits.save_data("one")
    params = Path("params.yaml").read_text("utf-8")
    Path("params.yaml").write_text(params.replace("bootstrap: 2000", "bootstrap: 1999"), encoding="utf-8")
    with pytest.raises(UserError, match="data/one is another version already"):
        commits.ready("one")
    run(project, "dvc", "repro")
    with pytest.raises(UserError, match="data/one is another version already"):
        commits.save_data("one")
    assert git(project, "rev-parse", "data/one") == before
    assert "data/two is commit" in commits.save_data("two")
    with pytest.raises(UserError, match="data/one is another version already"):
        commits.ready("one")


def test_what_dvc_says_of_a_push_that_fails_is_heard(project: Path) -> None:
    run(project, "dvc", "remote", "add", "--default", "store", str(project.parent / f"{project.name}-remote"))
    with pytest.raises(UserError, match=r"dvc push --run-cache failed in .*nosuchtarget"):
        commits.dvc(project, "push", "--run-cache", "nosuchtarget")
    for name in ("execution/stage", "tracking/lineage"):
        text = (ROOT / "tasks" / f"{name}.py").read_text(encoding="utf-8")
        assert "commits.dvc(" in text and "--quiet" not in text, "--quiet hides why, and so whether to try again"


def test_what_somebody_has_staged_meanwhile_is_not_in_a_version(project: Path) -> None:
    run(project, "dvc", "repro")
    Path("notes.txt").write_text("mine", encoding="utf-8")
    git(project, "add", "notes.txt")
    with pytest.raises(UserError, match=r"uncommitted changes \(notes\.txt\)"):
        commits.save_data("one")
    commits.save(project, commits.DATA, "Data one", "data/one")
    assert "notes.txt" not in git(project, "show", "--stat", "data/one")
    assert "notes.txt" in git(project, "diff", "--cached", "--name-only")
