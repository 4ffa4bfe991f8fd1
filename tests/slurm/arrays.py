"""Shards of a synthesis as a job array on two nodes, through scripted model endpoints."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from benchmarks.crash_safety.synthesis import environment, project
from tests.hosts.project import ROOT
from tests.slurm.cluster import ENDED, NETWORK, Cluster
from tests.support.chat_server import chat_server, stats
from wethink.clients.response_store import ResponseStore

IMAGES = 24


def shards(cluster: Cluster, home: Path) -> dict[str, Any]:
    """Fill the response store by an array of two tasks, a node each; then assemble the rows here."""
    with chat_server(home, host=f"{NETWORK}.1", faults=0, content=0) as url:
        folder = project(home / "synthesis", IMAGES, url)
        (folder / ".venv").symlink_to((ROOT / ".venv").resolve())
        options = ["--array=1-2", "--nodes=1", "--exclusive", str(ROOT / "infra/slurm/wethink.sbatch")]
        array = cluster.submit(folder, *options, "wethink", "synthesize", "--fill", "%a/2")
        states = [cluster.await_state(f"{array}_{task}", *ENDED) for task in (1, 2)]
        places = {cluster.field(f"{array}_{task}", "NodeList") for task in (1, 2)}
        filled = stats(url)["answered"]
        subprocess.run(
            [sys.executable, "-m", "wethink", "synthesize"],
            cwd=folder,
            env=environment(folder),
            check=True,
            capture_output=True,
        )
        sent = stats(url)
    with ResponseStore(folder / ".wethink/answers.sqlite") as store:
        paid = store.duplicate_charges()
    return {
        "an array of two shards ends on two nodes": states == ["COMPLETED"] * 2 and places == {"n1", "n2"},
        "... requests by the array, by the stage after it": [filled, sent["answered"] - filled],
        "... nothing is asked twice": filled > 0 and sent["answered"] == sent["distinct"] == filled and not paid,
    }
