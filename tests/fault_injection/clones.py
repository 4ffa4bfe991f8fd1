"""What another machine sees: the smoke job's data and checkpoints by git and DVC's remote, and without the remote.

The whole DAG is real here, with the smoke overlay; the remote is a bucket of the S3-compatible store.
"""

import functools
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.fault_injection.project import IDENTITY, checkout, environment
from tests.fault_injection.services import KEYS, Store, wait_for
from wethink.config.params import load_yaml
from wethink.dag.main_stages import STAGES


def a_second_clone_with_dvc_pull_reproduces_nothing_and_shows_the_same_metrics(home: Path) -> str:
    """Pushed before it was committed and tagged, so whoever has the commit can pull what it points to."""
    first = _finished(home)
    clone = first.clone("second", "data/one")
    clone.run("dvc", "pull")
    assert "up to date" in clone.run("dvc", "status")
    clone.run("dvc", "repro")
    assert not clone.ran(), "something was reproduced"
    shown = [json.loads(place.run("dvc", "metrics", "show", "--json")) for place in (first, clone)]
    assert shown[0] == shown[1] and "headline.json" in json.dumps(shown[0])
    assert first.hashes() == clone.hashes()
    return f"{len(STAGES)} stages, none of them ran; the metrics are the same"


def the_run_cache_of_one_machine_serves_another(home: Path) -> str:
    """Without dvc.lock, from the same inputs: what was run before is fetched instead of run."""
    first = _finished(home)
    clone = first.clone("third", "data/one")
    (clone.folder / "dvc.lock").unlink()
    clone.run("dvc", "repro", "--pull")
    assert not clone.ran(), f"run again: {clone.ran()}"
    assert first.hashes() == clone.hashes()
    return "the same dvc.lock, and no stage ran"


def a_job_that_died_on_one_machine_is_ended_on_another(home: Path) -> str:
    """Each stage is pushed as it ends: what the first has done the second fetches, and then it commits the whole."""
    first = _finished(home)
    params = first.folder / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("seed: 0", "seed: 7"), "utf-8")
    first.git("checkout", "--quiet", "-b", "seven", "data/one")
    first.git("commit", "--quiet", "--all", "--message", "another seed")
    one, other = (first.clone(name, "seven") for name in ("one", "other"))
    first.git("checkout", "--quiet", "-")
    command = [sys.executable, "-m", "flows.pipeline", "--save-as", "seven"]
    with subprocess.Popen(command, cwd=one.folder, env=one.environment, stderr=subprocess.DEVNULL) as flow:
        wait_for(lambda: "base" in one.ran() or flow.poll(), 600, "a base", pause=0.02)
        assert flow.poll() is None, "it ended before it was killed"
        flow.send_signal(signal.SIGKILL)
    done = set(one.ran()) - {"base"}  # which may have been killed on its way to the remote
    assert done == {"draw", "ingest", "synthesize", "validate"}, done
    other.run(*command[2:])
    again = done & set(other.ran())
    assert not again, f"run on both: {again}"
    third = other.clone("third-machine", "data/seven")
    third.run("dvc", "pull")
    assert "up to date" in third.run("dvc", "status")
    return f"{len(done)} stages on one machine, {len(other.ran())} on the other, none on both"


def two_versions_are_compared_by_metrics_diff_and_plots_diff(home: Path) -> str:
    """One changed parameter of GRPO: a second version, what it changed in figures and in curves."""
    first = _finished(home)
    params = first.folder / "params.yaml"
    params.write_text(params.read_text(encoding="utf-8").replace("  temperature: 1.0", "  temperature: 0.7"), "utf-8")
    first.git("commit", "--quiet", "--all", "--message", "cooler")
    first.run("dvc", "repro")
    first.save("two")
    changed = json.loads(first.run("dvc", "metrics", "diff", "data/one", "data/two", "--json", "--all"))
    (figures,) = changed.values()
    assert figures, "metrics diff shows nothing"
    page = Path(first.run("dvc", "plots", "diff", "data/one", "data/two").splitlines()[-1].removeprefix("file://"))
    text = page.read_text(encoding="utf-8")
    assert "GRPO: reward" in text and "data/one" in text and "data/two" in text
    moved = {name for name, (one, two) in _pairs(first, "data/one", "data/two").items() if one != two}
    assert {"grpo", "report"} <= moved <= {"grpo", "evaluate", "report"}, moved  # so small a change may answer the same
    return f"{len(figures)} figures compared; changed outputs: {', '.join(sorted(moved))}"


def dvc_repro_from_an_empty_cache_without_the_remote_gives_the_same_bytes(home: Path) -> str:
    """On a machine that has the code and nothing else."""
    first = _finished(home)
    clone = first.clone("fourth", "data/one")
    clone.run("dvc", "remote", "remove", "store")
    clone.run("dvc", "repro")
    assert sorted(clone.ran()) == sorted(STAGES)
    one, other = first.hashes("data/one"), clone.hashes()
    assert one == other, {name for name in one if one[name] != other[name]}
    return f"{len(one)} outputs, the same hashes"


class _Clone:
    """A checkout, and the environment in which its commands run."""

    def __init__(self, folder: Path, environment: dict[str, str], store: Store) -> None:
        self.folder, self.environment, self.store = folder, environment, store

    def run(self, *command: str) -> str:
        ended = subprocess.run(
            [sys.executable, "-m", *command], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        assert ended.returncode == 0, f"{' '.join(command)}: {(ended.stdout + ended.stderr)[-800:]}"
        return ended.stdout.strip()

    def git(self, *command: str) -> str:
        called = ["git", *IDENTITY, *command]
        return subprocess.run(called, cwd=self.folder, capture_output=True, text=True, check=True).stdout

    def save(self, version: str) -> None:
        self.run("flows.save_version", version)

    def clone(self, name: str, tag: str) -> "_Clone":
        folder = self.folder.parent / name
        subprocess.run(["git", "clone", "--quiet", "-b", tag, str(self.folder), str(folder)], check=True)
        return _Clone(folder, self.environment, self.store)

    def ran(self) -> list[str]:
        """Stages that have run here."""
        return [path.name.removesuffix(".run.json") for path in (self.folder / ".wethink/runs").glob("*.run.json")]

    def hashes(self, revision: str = "") -> dict[str, str]:
        """Stage → hash of its output, by dvc.lock."""
        lock = self.folder / "dvc.lock"
        if revision:
            lock = self.folder.parent / "dvc.lock"
            lock.write_text(self.git("show", f"{revision}:dvc.lock"), encoding="utf-8")
        stages: dict[str, Any] = load_yaml(lock)["stages"]
        return {name: stages[name]["outs"][0]["md5"] for name in STAGES}


def _pairs(clone: _Clone, one: str, two: str) -> dict[str, tuple[str, str]]:
    before, after = clone.hashes(one), clone.hashes(two)
    return {name: (before[name], after[name]) for name in STAGES}


@functools.cache
def _finished(home: Path) -> _Clone:
    """The smoke job, reproduced and kept as version `one` in a bucket."""
    store = Store()
    first = _Clone(home / "first", environment() | KEYS | {"AWS_ENDPOINT_URL": store.endpoint}, store)
    checkout(first.folder)
    (first.folder / "dvc.lock").unlink(missing_ok=True)
    first.run("wethink", "profile", "smoke")
    first.git("init", "--quiet")
    first.run("dvc", "remote", "add", "--default", "store", "s3://dvc")
    first.git("add", ".")
    first.git("commit", "--quiet", "--message", "start")
    first.run("dvc", "repro")
    first.save("one")
    return first
