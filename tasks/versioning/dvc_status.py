"""DVC: which stages have changed, the command that brings one up to date, and the versions of its outputs."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tasks.processes import retries
from wethink.config.params import load_yaml
from wethink.dag.main_stages import STAGES

DVC = (sys.executable, "-m", "dvc")


def repro(stage: str, pull: bool = False) -> list[str]:
    """The command that runs one stage if, and only if, DVC's hashes say that it must.

    With `pull`, what another machine has run and pushed is fetched from DVC's remote instead.
    """
    return [*DVC, "repro", "--single-item", *(["--pull"] if pull else []), stage]


def prepare() -> None:
    """A downloaded archive is no git repository: tell DVC, in its local settings, that this is fine."""
    local = Path(".dvc/config.local")
    told = local.is_file() and "no_scm" in local.read_text(encoding="utf-8")
    if git("rev-parse", "--git-dir") is None and not told:
        subprocess.run([*DVC, "config", "--local", "core.no_scm", "true"], check=True, capture_output=True)


def changed_stages() -> frozenset[str]:
    """Stages that may have to run: what `dvc status` mentions, and whatever is downstream of it.

    One question instead of one child process per stage. If DVC cannot answer (another DVC holds its
    lock), every stage counts as changed: `dvc repro` then decides, stage by stage.
    """
    asked = subprocess.run([*DVC, "status", "--json"], capture_output=True, text=True)
    try:
        mentioned = set(json.loads(asked.stdout)) if asked.returncode == 0 else set(STAGES)
    except json.JSONDecodeError:
        mentioned = set(STAGES)
    changed: set[str] = set()
    for name, stage in STAGES.items():  # the table is in topological order
        upstream = {STAGES[other].out for other in changed}
        if name in mentioned or upstream & set(stage.inputs.values()):
            changed.add(name)
    return frozenset(changed)


def failure(stage: str, code: int, output: str) -> str:
    """The one sentence that explains why `dvc repro` of a stage failed, from its output."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    said = [line for line in lines if line.startswith(f"wethink {stage}: ")]
    if said:
        return said[-1].removeprefix("wethink ")
    if retries.kind(code, output) == retries.INTERRUPTED:
        return f"{stage}: it was killed, most often for want of memory; starting again goes on from what it has saved."
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    others = [line for line in lines if not line.startswith("ERROR: ")]
    last = errors[-1:] if errors and "exited with" not in errors[-1] else others[-1:]
    return f"{stage}: {(last or ['it ended without a word'])[0]}"


def out_md5(stage: str) -> str | None:
    """DVC's hash of a stage's output, if dvc.lock knows it."""
    if not Path("dvc.lock").is_file():
        return None
    outs = load_yaml(Path("dvc.lock")).get("stages", {}).get(stage, {}).get("outs", [])
    return next((out["md5"] for out in outs if out.get("path") == STAGES[stage].out), None)


def git(*arguments: str) -> str | None:
    """The answer of a git command, or None where there is no git or no repository."""
    try:
        asked = subprocess.run(["git", *arguments], capture_output=True, text=True)
    except FileNotFoundError:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
