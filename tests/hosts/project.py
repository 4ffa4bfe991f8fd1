"""Smoke project on several hosts, its weights, and its ranks on each host."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.hosts.namespaces import inside
from wethink.config.params import load_yaml

ROOT = Path(__file__).resolve().parents[2]
ENDS_WITHIN = 90.0  # seconds: ssh gives up after 60, and the far side after 45


def project(home: Path) -> Path:
    """Return a copy of the tracked files with the smoke profile, up to `validate`."""
    folder = home / "project"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    wethink(folder, {}, "profile", "smoke")
    for stage in ("draw", "ingest", "synthesize", "validate"):
        wethink(folder, {}, stage)
    return folder


def wethink(folder: Path, environment: Mapping[str, str], *arguments: str, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "wethink", *arguments],
        cwd=folder,
        env=os.environ | dict(environment),
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{(done.stdout + done.stderr)[-4000:]}"
    return done.stderr


def place(folder: Path, *lines: str, processes: int = 1, **base: Any) -> None:
    """Set where ranks run: a hostfile of these lines, or this host if there is none."""
    params: dict[str, Any] = load_yaml(folder / "params.yaml")
    (folder / "hostfile").write_text("\n".join(lines) + "\n")
    params["launch"] |= {"hostfile": "hostfile" if lines else None, "processes": processes, "threads": 1}
    params["base"]["optim"] |= base
    YAML().dump(json.loads(json.dumps(params)), folder / "params.yaml")


def weights(folder: Path, stage: str) -> str:
    return hashlib.sha256((folder / f"models/{stage}/model.safetensors").read_bytes()).hexdigest()[:16]


def ranks(pids: Mapping[str, int]) -> dict[str, list[str]]:
    """Return the pids of the ranks on each host, as the host numbers them."""
    return {name: inside(pid, "pgrep", "-f", "wethink rank").split() for name, pid in pids.items()}


def gone_after(pids: Mapping[str, int], limit: float = ENDS_WITHIN) -> float | None:
    """Return the seconds until no host has a rank; None: longer than the limit."""
    begin = time.monotonic()
    while time.monotonic() - begin < limit:
        if not any(ranks(pids).values()):
            return round(time.monotonic() - begin, 1)
        time.sleep(0.2)
    return None
