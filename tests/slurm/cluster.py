"""Slurm of two nodes on this machine: hosts as network namespaces, with a controller, daemons and keys of their own.

Debian's `slurm-wlm`, `munge` and `iproute2` are needed. The machine's own Slurm and munge, if any, are not touched.
"""

import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.hosts import namespaces

NODES = ("n1", "n2")
NETWORK = "198.18.77"  # of tests within one network (RFC 2544): no service of the machine has such an address
PROGRAMS = ("slurmctld", "slurmd", "sbatch", "srun", "munged")
CONF = """
ClusterName=wethink
SlurmctldHost=n1
SlurmUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/ctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/ctld.log
SlurmdLogFile={folder}/slurmd-%n.log
CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=10
ReturnToService=2
MinJobAge=3600
SlurmdTimeout=3600
InactiveLimit=0
NodeName=n[1-2] CPUs=2 RealMemory=1000
PartitionName=low Nodes=ALL Default=YES State=UP PriorityTier=1 GraceTime=120 MaxTime=60
PartitionName=high Nodes=ALL State=UP PriorityTier=10 MaxTime=60
"""


@dataclass(frozen=True)
class Cluster:
    """Running cluster: `pids` are the nodes' first processes."""

    folder: Path
    pids: Mapping[str, int]

    def on(
        self, node: str, *command: str, cwd: Path | str = "/", environment: Mapping[str, str] | None = None
    ) -> "subprocess.CompletedProcess[str]":
        """Run a command on a node."""
        enter = ["nsenter", "--target", str(self.pids[node]), "--net", "--uts", "--mount", "--pid"]
        return subprocess.run(
            [*enter, "sh", "-c", 'cd "$0" && exec "$@"', str(cwd), *command],
            env=os.environ | {"SLURM_CONF": f"{self.folder}/slurm.conf"} | dict(environment or {}),
            capture_output=True,
            text=True,
            timeout=120,
        )

    def submit(self, project: Path, *arguments: str, environment: Mapping[str, str] | None = None) -> str:
        """Submit a job on n1 and return its id."""
        done = self.on("n1", "sbatch", "--parsable", *arguments, cwd=project, environment=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def field(self, job: str, name: str) -> str:
        """Return a field of `scontrol show job`, or '' for a job that Slurm has forgotten."""
        shown = self.on("n1", "scontrol", "show", "job", job).stdout
        return next((word.partition("=")[2] for word in shown.split() if word.startswith(f"{name}=")), "")

    def await_state(self, job: str, *states: str, limit: float = 300.0) -> str:
        """Wait until a job is in one of these states and return it.

        Raises:
            TimeoutError: it is in none of them after `limit` seconds.
        """
        begin = time.monotonic()
        while (state := self.field(job, "JobState")) not in states:
            if time.monotonic() - begin > limit:
                raise TimeoutError(f"job {job} is {state} after {limit:.0f} s, not {' or '.join(states)}")
            time.sleep(0.3)
        return state


ENDED = ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY")


def missing() -> str:
    """Return what this machine lacks for a cluster of its own, or ''."""
    return namespaces.missing(PROGRAMS, "slurm-wlm munge")


@contextmanager
def cluster(folder: Path) -> Iterator[Cluster]:
    """Start Slurm on two nodes of this machine; all its processes and links are gone at the end."""
    with namespaces.hosts(folder, NODES, ssh=False, network=NETWORK, bridge="wt-slurm") as pids:
        running = Cluster(folder, pids)
        (folder / "slurm.conf").write_text(CONF.format(folder=folder))
        if not Path("/sys/fs/cgroup/cgroup.controllers").exists():
            (folder / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\n")
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (folder / name).mkdir()
        munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in ("socket", "pid-file", "log-file")]
        keys = [f"--key-file={folder}/munge.key", f"--seed-file={folder}/munge.seed"]
        _checked(running.on("n1", "/usr/sbin/munged", "--force", *munge, *keys))
        _checked(running.on("n1", "slurmctld"))
        for node in NODES:
            _checked(running.on(node, "slurmd", "-N", node))
        _await_nodes(running)
        yield running


def _checked(done: "subprocess.CompletedProcess[str]") -> None:
    assert done.returncode == 0, f"{done.args}: {done.stderr}"


def _await_nodes(running: Cluster) -> None:
    for _ in range(100):
        idle = running.on("n1", "sinfo", "--noheader", "--Node", "--partition=low", "--format=%T").stdout.split()
        if idle == ["idle"] * len(NODES):
            return
        time.sleep(0.3)
    logs = [path.read_text()[-1500:] for path in running.folder.glob("*.log")]
    raise TimeoutError("the nodes do not come up:\n" + "\n".join(logs))
