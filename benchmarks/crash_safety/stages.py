"""Crash-safety test of the main job: kill -9 in every stage, then compare the outputs byte by byte.

    python -m benchmarks.crash_safety.stages [--victims flow dvc worker]

Runs the smoke overlay in clones of HEAD: once undisturbed, then once per victim with one kill in every stage. The
victim is the flow, a stage's DVC child, or a stage's worker (a rank, if it has ranks). The test restarts a killed flow;
the flow must recover from the other kills itself. No process of a victim may survive `PATIENCE` seconds.
"""

import argparse
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from wethink.common.jsonl import file_sha256, read_json
from wethink.dag.main_stages import STAGES

PATIENCE = 10.0  # seconds in which all processes of a victim must end
VICTIMS = ("flow", "dvc", "worker")


def clone(folder: Path) -> Path:
    subprocess.run(["git", "clone", "--quiet", ".", str(folder)], check=True)
    subprocess.run([sys.executable, "-m", "wethink", "profile", "smoke"], cwd=folder, check=True)
    params = folder / "params.yaml"
    params.write_text(params.read_text().replace("processes: 1", "processes: 2"))
    return folder


def start(folder: Path) -> subprocess.Popen[bytes]:
    with (folder / "flow.log").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "flows.pipeline"], cwd=folder, stdout=log, stderr=log, start_new_session=True
        )


def processes_in(folder: Path) -> dict[psutil.Process, list[str]]:
    """Map the live processes working in `folder`, orphans included, to command lines."""
    found = {}
    for process in psutil.process_iter():
        try:
            if Path(process.cwd()).is_relative_to(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found[process] = process.cmdline()
        except psutil.Error:
            continue
    return found


def find(folder: Path, stage: str, victim: str) -> psutil.Process | None:
    """Find the process to kill, the youngest if several match; None: not running yet."""
    alive = processes_in(folder)
    at_work = [p for p, line in alive.items() if line[1:4] == ["-m", "wethink", stage]]
    ranks = [p for p, line in alive.items() if line[-5:-2] == ["wethink", "rank", stage]]
    dvc = [p for p, line in alive.items() if "repro" in line and stage in line and "dvc" in " ".join(line[:3])]
    chosen = {"flow": [], "dvc": dvc, "worker": ranks or at_work}[victim]
    return max(chosen, key=lambda p: (p.create_time(), p.pid)) if at_work and chosen else None


def bytes_of(folder: Path) -> dict[str, str]:
    """Map each stage to its output's hash (for a folder, that of its manifest)."""
    outs = {name: folder / stage.out for name, stage in STAGES.items()}
    return {name: file_sha256(out if out.is_file() else out / "manifest.json") for name, out in outs.items()}


def wait_for(folder: Path, flow: subprocess.Popen[bytes], stage: str, victim: str, seconds: float) -> psutil.Process:
    """Wait until half-way through the stage; return the victim's process."""
    while True:
        if flow.poll() is not None:
            sys.exit(f"the flow ended with code {flow.returncode} before {stage}; see {folder / 'flow.log'}")
        found = find(folder, stage, "worker" if victim == "flow" else victim)
        if found:
            time.sleep(seconds / 2)
            target = psutil.Process(flow.pid) if victim == "flow" else find(folder, stage, victim)
            if target is None:
                sys.exit(f"{stage} was over before its {victim} could be killed; nothing is shown by this run")
            return target
        time.sleep(0.05)


def disturbed(folder: Path, victim: str, seconds: dict[str, float]) -> None:
    """Run the flow to its end with one kill in every stage."""
    flow = start(folder)
    for stage in STAGES:
        target = wait_for(folder, flow, stage, victim, seconds[stage])
        dvc = find(folder, stage, "dvc")
        doomed = list(processes_in(folder)) if victim == "flow" or dvc is None else [dvc, *dvc.children(recursive=True)]
        target.send_signal(signal.SIGKILL)
        killed = time.monotonic()
        if victim == "flow":
            flow.wait()
        _, left = psutil.wait_procs(doomed, timeout=PATIENCE)
        if left:
            sys.exit(f"{victim} of {stage}: still alive after {PATIENCE:g} s: {[p.cmdline() for p in left]}")
        print(f"{victim:8} {stage:11} killed, all gone after {time.monotonic() - killed:.1f} s", flush=True)
        if victim == "flow":
            flow = start(folder)
    if flow.wait(timeout=600) != 0:
        sys.exit(f"the flow ended with code {flow.returncode}; see {folder / 'flow.log'}")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crash_safety.stages", description=__doc__)
    parser.add_argument("--victims", nargs="+", choices=VICTIMS, default=VICTIMS)
    victims = parser.parse_args().victims
    home = Path(tempfile.mkdtemp(prefix="wethink-kill-"))
    whole = clone(home / "undisturbed")
    if start(whole).wait(timeout=600) != 0:
        sys.exit(f"the undisturbed flow failed; see {whole / 'flow.log'}")
    expected = bytes_of(whole)
    seconds = {name: read_json(whole / f".wethink/runs/{name}.run.json")["seconds"] for name in STAGES}
    same = True
    for victim in victims:
        folder = clone(home / victim)
        disturbed(folder, victim, seconds)
        other = [name for name, found in bytes_of(folder).items() if found != expected[name]]
        print(f"{victim:8} finished; differing from the undisturbed run: {', '.join(other) or 'nothing'}", flush=True)
        same &= not other
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
