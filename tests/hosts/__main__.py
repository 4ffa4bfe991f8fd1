"""Training over two hosts of this machine's own, with faults: `make hosts-check` → reports/hosts.json.

The smoke profile's `base`, `sft` and `grpo` on two hosts with a rank each, beside two ranks on one host; then faults in
a longer `base`: a rank of the far host killed, the stage killed with -9, the network cut for 20 s and for good.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from tests.hosts.namespaces import cut, hosts, inside, mend, missing
from tests.hosts.project import ENDS_WITHIN, ROOT, gone_after, place, project, ranks, weights, wethink

STEPS = 150  # of the `base` with faults: some 30 s


def main() -> int:
    if lacks := missing():
        print(f"hosts-check is skipped: {lacks}.")
        return 0
    begin = time.monotonic()
    home = Path(tempfile.mkdtemp(prefix="wethink-hosts-"))
    try:
        with hosts(home / "hosts") as pids:
            found = checked(project(home), pids, {"PATH": f"{home}/hosts/bin:{os.environ['PATH']}"})
    finally:
        shutil.rmtree(home, ignore_errors=True)
    used = os.times()
    found["seconds"] = round(time.monotonic() - begin)
    found["processor_seconds_without_the_hosts"] = round(used.children_user + used.children_system)
    (ROOT / "reports").mkdir(exist_ok=True)
    (ROOT / "reports/hosts.json").write_text(json.dumps(found, indent=2) + "\n")
    failed = [name for name, value in found.items() if value is False]
    print(f"{'failed: ' + ', '.join(failed) if failed else 'all held'} in {found['seconds']} s: reports/hosts.json")
    return 1 if failed else 0


def started(folder: Path, environment: Mapping[str, str], pids: Mapping[str, int]) -> "subprocess.Popen[str]":
    """Start `base` and return once it has made 20 steps on both hosts."""
    log = folder / ".wethink/runs/base.metrics.jsonl"
    log.unlink(missing_ok=True)
    child = subprocess.Popen(
        [sys.executable, "-m", "wethink", "base"],
        cwd=folder,
        env=os.environ | dict(environment),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    while not log.exists() or sum(1 for _ in log.open()) < 20:
        assert child.poll() is None, child.stderr.read()[-4000:]  # type: ignore[union-attr]
        time.sleep(0.05)
    assert all(ranks(pids).values()), "a host has no rank"
    return child


def ended(child: "subprocess.Popen[str]") -> dict[str, Any]:
    """Return exit code, seconds and last sentence of a stage that must end by itself."""
    begin = time.monotonic()
    _, said = child.communicate(timeout=ENDS_WITHIN + 60)
    sentence = next((line for line in reversed(said.splitlines()) if line.startswith("wethink base:")), "")
    if not sentence:
        print(said[-2000:], file=sys.stderr)
    return {"code": child.returncode, "seconds": round(time.monotonic() - begin, 1), "said": sentence}


def checked(folder: Path, pids: Mapping[str, int], environment: Mapping[str, str]) -> dict[str, Any]:
    both, found = ("h1 slots=1", "h2 slots=1"), dict[str, Any]()
    theme = ""

    def tell(name: str, value: Any) -> None:
        nonlocal theme
        theme = name if not name.startswith("...") else theme
        found[name if name == theme else f"{theme} {name}"] = value
        print(f"{name}: {value}", flush=True)

    for stage in ("base", "sft", "grpo"):
        place(folder, processes=2)
        wethink(folder, environment, stage)
        one_host = weights(folder, stage)
        place(folder, *both)
        wethink(folder, environment, stage)
        tell(f"{stage}: two hosts end with the weights of one", weights(folder, stage) == one_host)

    for lines, said in (
        (("h1 slots=1", "nowhere slots=1"), "host nowhere cannot be reached over ssh"),
        (("h1 slots=1", "nobody@h2 slots=1"), "host nobody@h2 cannot be reached over ssh"),
        (("h1 slots=1", "h2 slots=999"), "fewer than its 999 slots need"),
    ):
        place(folder, *lines)
        begin = time.monotonic()
        told = wethink(folder, environment, "base", code=2)
        tell(f"refused in {time.monotonic() - begin:.0f} s: {lines[1]}", said in told)

    place(folder, processes=2, max_steps=STEPS, save_steps=10)
    wethink(folder, environment, "base")
    whole = weights(folder, "base")
    place(folder, *both, max_steps=STEPS, save_steps=10)

    child = started(folder, environment, pids)
    listening = [inside(pid, "ss", "-Hltn") for pid in pids.values()]
    doors = {line.split()[3] for text in listening for line in text.splitlines()} - {
        f"198.51.100.1{n}:22" for n in (1, 2)
    }
    tell(
        "listens only on the hosts' own addresses",
        len(doors) > 1 and all(door.startswith(("198.51.100.1", "127.")) for door in doors),
    )
    inside(pids["h2"], "pkill", "-9", "-f", "wethink rank")
    end = ended(child)
    tell("a rank killed on the far host", end)
    tell("... ends the stage with code 75 and a sentence", end["code"] == 75 and bool(end["said"]))
    tell("... leaves no rank", gone_after(pids) is not None)
    wethink(folder, environment, "base")
    tell("... and the next start has the same weights", weights(folder, "base") == whole)

    shutil.rmtree(folder / "models/base")
    child = started(folder, environment, pids)
    child.send_signal(signal.SIGKILL)
    child.wait()
    seconds = gone_after(pids)
    tell("the stage killed with -9: seconds until no rank is left", seconds)
    tell("... leaves no rank", seconds is not None)
    wethink(folder, environment, "base")
    tell("... and the next start has the same weights", weights(folder, "base") == whole)

    shutil.rmtree(folder / "models/base")
    child = started(folder, environment, pids)
    cut("h2")
    time.sleep(20)
    mend("h2")
    _, said = child.communicate(timeout=600)
    tell(
        "20 s without network: the stage goes on to the same weights",
        not child.returncode and weights(folder, "base") == whole,
    )

    shutil.rmtree(folder / "models/base", ignore_errors=True)
    child = started(folder, environment, pids)
    cut("h2")
    end = ended(child)
    tell("the network gone for good", end)
    tell("... ends the stage with code 75 and a sentence", end["code"] == 75 and bool(end["said"]))
    tell("... leaves no rank on either host", gone_after(pids) is not None)
    mend("h2")
    wethink(folder, environment, "base")
    tell("... and the next start has the same weights", weights(folder, "base") == whole)
    with suppress(psutil.Error):
        tell("no process of the checks is left here", not [c for c in psutil.Process().children() if c.name() == "ssh"])
    return found


if __name__ == "__main__":
    sys.exit(main())
