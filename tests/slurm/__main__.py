"""Training as a job of a real Slurm of two nodes on this machine: `make slurm-check` → reports/slurm.json.

The smoke profile's `base`, `sft` and `grpo` on two nodes with a rank each, beside two ranks on one host; then what a
cluster does to a job: scancel, pre-emption, the time limit, a lost rank; nodes that do not fit; a job array; the DAG.
"""

import argparse
import json
import os
import re
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.hosts.namespaces import inside
from tests.hosts.project import ROOT, gone_after, place, project, ranks, weights, wethink
from tests.slurm import arrays
from tests.slurm.cluster import ENDED, Cluster, cluster, missing

SCRIPT = "infra/slurm/wethink.sbatch"
STEPS = 120  # of the `base` with faults
SAVE = 50  # so that a checkpoint after another step is one that a signal has asked for
CHECKS = (
    *("weights", "refusals", "lost_rank", "lost_stage", "full_disk", "cancelled", "preempted", "before_the_limit"),
    *("array", "dag"),
)
NO_SSH = "#!/bin/sh\necho 'ssh was called' >&2\nexit 255\n"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.slurm", description=__doc__)
    parser.add_argument("checks", nargs="*", default=[], metavar="CHECK", help=f"of {', '.join(CHECKS)} (default: all)")
    names = parser.parse_args().checks or CHECKS
    if lacks := missing():
        print(f"slurm-check is skipped: {lacks}.")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the cluster is removed then, too
    begin = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="wethink-slurm-"))
    try:
        folder = project(home)
        (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
        with cluster(home / "cluster") as running:
            found = Checks(running, folder, home).run(names)
            used = inside_seconds(running)
    except KeyboardInterrupt:
        print("\nslurm-check: stopped; nothing of it is left.", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(home, ignore_errors=True)
    own = os.times()
    found["seconds"] = round(time.monotonic() - begin)
    found["processor_seconds"] = round(own.children_user + own.children_system + used)
    (ROOT / "reports").mkdir(exist_ok=True)
    (ROOT / "reports/slurm.json").write_text(json.dumps(found, indent=2) + "\n")
    failed = [name for name, value in found.items() if value is False]
    print(
        f"{'failed: ' + ', '.join(failed) if failed else 'all held'} in {found['seconds']} s "
        f"({found['processor_seconds']} processor seconds): reports/slurm.json"
    )
    return 1 if failed else 0


def inside_seconds(running: Cluster) -> float:
    """Return the processor seconds of everything that ran on the nodes and has ended."""
    total = 0.0
    for pid in running.pids.values():
        for path in Path(f"/proc/{pid}/root/proc").glob("[0-9]*/stat"):
            fields = path.read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")  # own and awaited children's
    return total


class Checks:
    """The checks, one method a theme, and what they found."""

    def __init__(self, running: Cluster, folder: Path, home: Path) -> None:
        self.cluster, self.folder, self.home = running, folder, home
        self.found, self.theme = dict[str, Any](), ""
        (home / "no-ssh").mkdir()
        for name in ("ssh", "pdsh"):
            (home / "no-ssh" / name).write_text(NO_SSH)
            (home / "no-ssh" / name).chmod(0o755)
        self.environment = {"PATH": f"{home}/no-ssh:{os.environ['PATH']}"}

    def run(self, names: Sequence[str]) -> dict[str, Any]:
        if "weights" in names:
            self.weights()
        place(self.folder, processes=2, max_steps=STEPS, save_steps=SAVE)
        wethink(self.folder, {}, "base")
        self.whole = weights(self.folder, "base")
        place(self.folder, max_steps=STEPS, save_steps=SAVE)
        for name in names:
            if name not in ("weights", "dag"):
                getattr(self, name)()
        if "dag" in names:
            place(self.folder, max_steps=12, save_steps=4)
            self.dag()
        return self.found

    def tell(self, name: str, value: Any) -> None:
        self.theme = name if not name.startswith("...") else self.theme
        self.found[name if name == self.theme else f"{self.theme} {name}"] = value
        print(f"{name}: {value}", flush=True)

    def submit(self, *arguments: str, nodes: int = 2, options: tuple[str, ...] = ()) -> str:
        options = (f"--nodes={nodes}", "--ntasks-per-node=1", "--cpus-per-task=2", "--signal=B:USR1@10", *options)
        return self.cluster.submit(self.folder, *options, SCRIPT, *arguments, environment=self.environment)

    def log(self, job: str) -> str:
        path = self.folder / f"slurm-{job}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def ended(self, job: str, *states: str, limit: float = 1800) -> str:
        state = self.cluster.await_state(job, *(states or ENDED), limit=limit)
        if state not in ("COMPLETED", "CANCELLED"):
            print(self.log(job)[-1500:], file=sys.stderr)
        return state

    def started(self, *options: str) -> str:
        """Submit `base`, and return once it has made 20 steps on both nodes."""
        shutil.rmtree(self.folder / "models/base", ignore_errors=True)
        log = self.folder / ".wethink/runs/base.metrics.jsonl"
        log.unlink(missing_ok=True)
        job = self.submit("wethink", "base", options=options)
        while not log.exists() or sum(1 for _ in log.open()) < 20:
            state = self.cluster.field(job, "JobState")
            assert state in ("PENDING", "RUNNING"), f"job {job} is {state}: {self.log(job)[-3000:]}"
            time.sleep(0.05)
        assert all(ranks(self.cluster.pids).values()), "a node has no rank"
        return job

    def same(self, name: str) -> None:
        """Start `base` once more and compare its weights."""
        state = self.ended(self.submit("wethink", "base"))
        self.tell(name, state == "COMPLETED" and weights(self.folder, "base") == self.whole)

    def sentence(self, job: str) -> str:
        said = [line for line in re.split(r"[\r\n]", self.log(job)) if line.startswith("wethink base: ")]
        return said[-1] if said else ""

    def no_rank(self) -> float | None:
        return gone_after(self.cluster.pids, 60)

    def weights(self) -> None:
        for stage in ("base", "sft", "grpo"):
            place(self.folder, processes=2)
            wethink(self.folder, {}, stage)
            one_host = weights(self.folder, stage), (self.folder / f"models/{stage}/curves.csv").read_bytes()
            shutil.rmtree(self.folder / f"models/{stage}")
            place(self.folder)
            begin = time.monotonic()
            state = self.ended(self.submit("wethink", stage))
            two_nodes = weights(self.folder, stage), (self.folder / f"models/{stage}/curves.csv").read_bytes()
            self.tell(
                f"{stage}: two nodes end with the weights and curves of one host",
                state == "COMPLETED" and two_nodes == one_host,
            )
            self.tell("... sha256 of model.safetensors, and seconds of the job", [two_nodes[0], self._since(begin)])

    def refusals(self) -> None:
        other = self.home / "other"
        shutil.copytree(self.folder / "wethink", other / "wethink", ignore=shutil.ignore_patterns("__pycache__"))
        (other / "wethink/models/lora.py").write_text("")
        empty = self.home / "empty"
        empty.mkdir()
        code, package, empty_folder = str(self.home / "other/wethink"), "wethink", str(empty)
        wrong = {
            "other code on a node": (code, package, r"n2 .* has other code \(commit .+\) than this one \(commit .+\)"),
            "no shared work folder": (empty_folder, ".wethink", "host n2 of .* does not see the scratch folder"),
            "no shared project folder": (empty_folder, ".", "host n2 of .* cannot run `.+ -m wethink`"),
        }
        for name, (theirs, ours, said) in wrong.items():
            inside(self.cluster.pids["n2"], "mount", "--bind", theirs, str(self.folder / ours))
            self.refused(name, said)
            inside(self.cluster.pids["n2"], "umount", str(self.folder / ours))
        place(self.folder, processes=3, max_steps=STEPS, save_steps=SAVE)
        self.refused("more ranks than cores", "has 2 cores on a node, and launch.processes 3 needs 3")
        place(self.folder, max_steps=STEPS, save_steps=SAVE)

    def refused(self, name: str, said: str) -> None:
        begin = time.monotonic()
        job = self.submit("wethink", "base")
        state, code = self.ended(job), self.cluster.field(job, "ExitCode")
        if not re.search(said, self.sentence(job)):
            print(self.log(job)[-3000:], file=sys.stderr)
        self.tell(f"refused: {name}", (state, code) == ("FAILED", "2:0") and bool(re.search(said, self.sentence(job))))
        self.tell("... in seconds", self._since(begin))

    def lost_rank(self) -> None:
        job = self.started()
        begin = time.monotonic()
        inside(self.cluster.pids["n2"], "pkill", "-9", "-f", "wethink rank")
        state, code = self.ended(job), self.cluster.field(job, "ExitCode")
        self.tell("a rank killed on the second node: state, code, seconds", [state, code, self._since(begin)])
        self.tell("... ends the job with a sentence", code == "75:0" and "of host n2 ended" in self.sentence(job))
        self.tell("... leaves no rank", self.no_rank() is not None)
        self.same("... and the next job has the same weights")

    def lost_stage(self) -> None:
        job = self.started()
        inside(self.cluster.pids["n1"], "pkill", "-9", "-f", "python -m wethink base")
        seconds = self.no_rank()
        self.tell("the stage killed with -9: seconds until no rank is left", seconds)
        self.tell("... leaves no rank", seconds is not None and self.ended(job) == "FAILED")
        self.same("... and the next job has the same weights")

    def full_disk(self) -> None:
        """A node on which nothing can be written any more: a full tmpfs over the scratch folder."""
        job, pid = self.started(), self.cluster.pids["n2"]
        scratch = next((self.folder / ".wethink/scratch/base").iterdir())
        inside(pid, "mount", "-t", "tmpfs", "-o", "size=4k", "none", str(scratch))
        inside(pid, "sh", "-c", f"head -c 9999 /dev/zero > {scratch}/full")
        state, code = self.ended(job), self.cluster.field(job, "ExitCode")
        said = self.sentence(job)
        self.tell("the disk of a node full", [state, code, said])
        self.tell(
            "... ends the job with a sentence that names it", code == "2:0" and "the disk of host n2 is full" in said
        )
        self.tell("... leaves no rank", self.no_rank() is not None)
        inside(pid, "umount", str(scratch))
        self.same("... and the next job has the same weights")

    def cancelled(self) -> None:
        job = self.started()
        self.cluster.on("n1", "scancel", job)
        seconds = self.no_rank()
        self.tell("scancel: seconds until no rank is left", seconds)
        time.sleep(15)  # longer than Slurm takes to start a job that is queued again
        state = self.cluster.field(job, "JobState")
        self.tell("... leaves no rank, and the job stays cancelled", seconds is not None and state == "CANCELLED")
        self.same("... and the next job has the same weights")

    def preempted(self) -> None:
        job = self.started()
        begin = time.monotonic()
        other = self.cluster.submit(self.folder, "--partition=high", "--nodes=2", "--exclusive", "--wrap=sleep 3")
        self.cluster.await_state(other, "RUNNING", "COMPLETED", limit=100)
        self.tell("pre-emption: seconds until the other job runs", self._since(begin))
        self.came_back("a pre-empted job", job)

    def before_the_limit(self) -> None:
        job = self.started()
        self.cluster.on("n1", "scancel", "--batch", "--signal=USR1", job)  # what --signal=B:USR1@120 sends
        self.came_back("a job before its time limit", job)

    def came_back(self, name: str, job: str) -> None:
        state = self.ended(job, *(one for one in ENDED if one != "PREEMPTED"))
        saved = re.findall(r"after step (\d+) of \d+, which is saved", self.log(job))
        self.tell(f"{name} has saved after steps", sorted(set(map(int, saved))))
        self.tell("... when it was told to", bool(saved) and all(int(step) % SAVE for step in saved))
        self.tell("... and was started again", self.cluster.field(job, "Restarts") == "1")
        self.tell("... to the same weights", state == "COMPLETED" and weights(self.folder, "base") == self.whole)

    def array(self) -> None:
        for name, value in arrays.shards(self.cluster, self.home).items():
            self.tell(name, value)

    def dag(self) -> None:
        for name in ("data", "models", "reports"):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        begin = time.monotonic()
        state = self.ended(self.submit("flows.pipeline"), limit=3600)
        self.tell("the whole DAG in a job on two nodes: seconds", self._since(begin))
        self.tell("... makes the page", state == "COMPLETED" and (self.folder / "reports/index.html").exists())
        logs = [self.folder / f".wethink/logs/{stage}.log" for stage in ("base", "sft", "grpo")]
        self.tell("... with a log of each stage where DVC's go", all(log.exists() for log in logs))
        self.tell("... and MLflow's runs", self._tracked() >= {"base", "sft", "grpo"})

    def _tracked(self) -> set[str]:
        """Return the names of MLflow's runs that have metrics."""
        with sqlite3.connect(self.folder / "mlflow.db") as base:
            return {row[0] for row in base.execute("SELECT name FROM runs JOIN metrics USING (run_uuid)")}

    @staticmethod
    def _since(begin: float) -> float:
        return round(time.monotonic() - begin, 1)


if __name__ == "__main__":
    sys.exit(main())
