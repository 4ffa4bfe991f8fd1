"""Crash-safety test of synthesis: 20 kills over 200 images; equal output, no response billed twice.

    python -m benchmarks.crash_safety.synthesis [--images 200] [--kills 20] [--victims flow dvc worker]

A scripted server on loopback responds (tests/support/chat_server.py). The first run has content faults (10 % of the
requests) only; the second also has transport faults (30 %) and kills at random moments of a live stage. The victims
take turns: the flow, the DVC child, the process that sends requests. The test restarts the flow and DVC, which must
handle the deaths of their children themselves. Writes reports/synth_chaos.json.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
from PIL import Image

from tests.support.chat_server import chat_server, stats
from wethink.clients.response_store import ResponseStore
from wethink.common.jsonl import write_json
from wethink.config.params import load_yaml

ROOT = Path(__file__).resolve().parents[2]
COPIED = ("wethink", "tasks", "flows", "tests", "profiles", ".dvc", "params.yaml", "requirements.lock", ".dvcignore")
MADE = shutil.ignore_patterns("__pycache__", "cache", "tmp", "config.local")
PUBLISHED = ("rows.jsonl", "rejected.jsonl", "failed.jsonl", "descriptions.jsonl", "metrics.json")
CONCURRENCY = 4  # per endpoint, of three
PATIENCE = 15.0  # seconds in which all processes of a victim must end
DOORS = {  # victim → running command
    "flow": ["-m", "flows.synthesis"],
    "dvc": ["-m", "dvc", "repro", "--single-item", "synthesize"],
    "worker": ["-m", "dvc", "repro", "--single-item", "synthesize"],
}


def project(folder: Path, images: int, url: str) -> Path:
    """Create a copy of the project with generated photos and endpoints at `url`."""
    from ruamel.yaml import YAML

    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=MADE)
        else:
            shutil.copy(source, folder / name)
    (folder / ".dvc" / "config.local").write_text("[core]\n    no_scm = true\n", encoding="utf-8")
    (folder / "photos").mkdir()
    for number in range(images):
        noise = random.Random(number).randbytes(12 * 12 * 3)
        Image.frombytes("RGB", (12, 12), noise).resize((56, 56)).save(folder / "photos" / f"{number:04d}.png")
    params = load_yaml(folder / "params.yaml")
    params["draw"] |= {"pretrain": 3, "train": 3, "tuning": 3, "reporting": 3}
    params["ingest"]["sources"] = [{"name": "mine", "kind": "folder", "path": "photos"}]
    params["synthesize"] |= {"annotator": "endpoints", "path_share": 0.5}
    served = {"url": f"{url}/v1", "concurrency": CONCURRENCY, "deadline_seconds": 60.0, "attempts": 12}
    params["launch"] |= {"endpoints": dict.fromkeys(("vision", "reasoner", "adjudicator"), served)}
    params["launch"] |= {"fill_shards": 3, "fill_parallel": 2}
    YAML().dump(json.loads(json.dumps(params)), folder / "params.yaml")
    for arguments in (["-m", "tasks.versioning.dvcfile"], ["-m", "wethink", "draw"], ["-m", "wethink", "ingest"]):
        subprocess.run(
            [sys.executable, *arguments], cwd=folder, env=environment(folder), check=True, capture_output=True
        )
    return folder


def environment(folder: Path) -> dict[str, str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return os.environ | {"PATH": path, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def start(folder: Path, arguments: Sequence[str]) -> subprocess.Popen[bytes]:
    with (folder / "chaos.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment(folder),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )


def workers(folder: Path) -> list[psutil.Process]:
    """List the synthesize processes of this folder, youngest first."""
    found = []
    for process in psutil.process_iter():
        try:
            at_work = process.cmdline()[1:4] == ["-m", "wethink", "synthesize"]
            if at_work and Path(process.cwd()) == folder and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return sorted(found, key=lambda process: process.create_time(), reverse=True)


def bought(folder: Path) -> int:
    """Count the responses in the store."""
    if not (folder / ".wethink/answers.sqlite").exists():
        return 0
    with ResponseStore(folder / ".wethink/answers.sqlite") as store:
        return int(store._base.execute("SELECT COUNT(*) FROM answers")[0][0])


def kill_once(folder: Path, victim: str, moment: random.Random, longest: float, buying: bool) -> dict[str, Any] | None:
    """Start a run, kill the victim at a random moment, and wait for its processes.

    Args:
        folder: the project.
        victim: a key of `DOORS`.
        moment: source of the random delay.
        longest: the longest delay in seconds.
        buying: start the delay at the run's first stored response, not at its process's start.

    Returns:
        Facts of the kill, or None if the run ended before it.
    """
    door, before, starts = start(folder, DOORS[victim]), bought(folder), 1
    while not workers(folder) or (buying and bought(folder) == before):
        if door.poll() == 0:
            return None
        if door.poll() is not None:  # it failed by itself, for instance on a slow Prefect server
            if starts == 5:
                sys.exit(f"{victim}: it did not start in {starts} attempts; see {folder / 'chaos.log'}")
            door, starts = start(folder, DOORS[victim]), starts + 1
        time.sleep(0.05)
    time.sleep(moment.uniform(0.0, longest))
    alive = workers(folder)
    live = bool(alive)
    family = [*psutil.Process(door.pid).children(recursive=True)] if door.poll() is None else []
    target = alive[0] if victim == "worker" and alive else door
    killed = time.monotonic()
    target.send_signal(signal.SIGKILL)
    if victim == "worker":  # its parent must handle it: DVC ends with an error by itself
        door.wait(timeout=120)
    else:
        door.wait()
    _, left = psutil.wait_procs(family, timeout=PATIENCE)
    if left:
        sys.exit(f"{victim}: still alive after {PATIENCE:g} s: {[process.cmdline() for process in left]}")
    gone = time.monotonic() - killed
    return {"victim": victim, "live": live, "gone_after": round(gone, 1), "in_store": bought(folder)}


def finish(folder: Path, arguments: Sequence[str], starts: int = 8) -> int:
    """Start the run until it succeeds; return the number of starts."""
    for number in range(1, starts + 1):
        if start(folder, arguments).wait(timeout=1200) == 0:
            return number
    sys.exit(f"it did not come to an end in {starts} starts; see {folder / 'chaos.log'}")


def published(folder: Path) -> dict[str, bytes]:
    return {name: (folder / "data/rows" / name).read_bytes() for name in PUBLISHED}


def chaos(
    home: Path, images: int, kills: int, victims: Sequence[str], latency: float, longest: float
) -> dict[str, Any]:
    """Run the whole experiment; return its figures.

    Raises:
        SystemExit: a run does not end, or a process survives a kill.
    """
    with chat_server(home, content=0.1) as url:
        calm = project(home / "calm", images, url)
        finish(calm, DOORS["dvc"], starts=1)
        expected = published(calm)
        asked = stats(url)["distinct"]
    moment, done = random.Random(0), list[dict[str, Any]]()
    with chat_server(home, content=0.1, faults=0.3, latency=latency, stall=2) as url:
        wild = project(home / "wild", images, url)
        while len(done) < kills:
            found = kill_once(wild, victims[len(done) % len(victims)], moment, longest, buying=len(done) % 4 > 0)
            if found is None:
                break
            done.append(found)
            print(json.dumps(found), flush=True)
        starts = finish(wild, DOORS["flow" if "flow" in victims else "dvc"])
        seen = stats(url)
    with ResponseStore(wild / ".wethink/answers.sqlite") as store:
        twice, outcomes = store.duplicate_charges(), {}
        for line in store.ledger():
            outcomes[line["outcome"]] = outcomes.get(line["outcome"], 0) + line["calls"]
    metrics = json.loads(expected["metrics.json"])
    return {
        "images": images,
        "kills": len(done),
        "live_kills": sum(kill["live"] for kill in done),
        "by_victim": {victim: sum(kill["victim"] == victim for kill in done) for victim in victims},
        "starts_at_the_end": starts,
        "identical": published(wild) == expected,
        "stored_answers_bought_twice": twice,
        "answers_sent_more_than_once": seen["answered"] - seen["distinct"],
        "most_allowed": len(done) * 3 * CONCURRENCY,
        "distinct_requests": {"calm": asked, "wild": seen["distinct"]},
        "transport_faults": seen["faults"],
        "requests": seen["received"],
        "ledger": outcomes,
        "funnel": {key: metrics[key] for key in ("image_outcomes", "candidates", "kept", "rejected", "failed")},
    }


def holds(found: dict[str, Any]) -> bool:
    """Return whether outputs are identical and requests were repeated within bounds.

    A stored response must never be billed twice; `most_allowed` bounds other repeats.
    """
    repeats = found["answers_sent_more_than_once"] <= found["most_allowed"]
    return bool(found["identical"] and not found["stored_answers_bought_twice"] and repeats)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash_safety.synthesis", description=__doc__)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--victims", nargs="+", choices=sorted(DOORS), default=["flow", "dvc", "worker"])
    parser.add_argument("--latency", type=float, default=0.4)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds of a live stage before a kill, at most")
    options = parser.parse_args()
    home = Path(tempfile.mkdtemp(prefix="wethink-synth-"))
    found = chaos(home, options.images, options.kills, options.victims, options.latency, options.longest)
    write_json(Path("reports/synth_chaos.json"), found)
    print(json.dumps(found, indent=2))
    return 0 if holds(found) else 1


if __name__ == "__main__":
    sys.exit(main())
