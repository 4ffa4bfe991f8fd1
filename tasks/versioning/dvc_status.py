"""DVC status: changed stages, the `dvc repro` command of a stage, and the hashes of its outputs."""

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
    """Build the command that runs one stage if DVC's hashes have changed.

    With `pull`, outputs that another machine has pushed are fetched from DVC's remote instead.
    """
    return [*DVC, "repro", "--single-item", *(["--pull"] if pull else []), stage]


def prepare() -> None:
    """Set DVC's `core.no_scm` locally where this is no git repository."""
    local = Path(".dvc/config.local")
    told = local.is_file() and "no_scm" in local.read_text(encoding="utf-8")
    if git("rev-parse", "--git-dir") is None and not told:
        subprocess.run([*DVC, "config", "--local", "core.no_scm", "true"], check=True, capture_output=True)


def changed_stages() -> frozenset[str]:
    """List the stages that may have to run, with one call of `dvc status`.

    They are the stages that `dvc status` names and all stages downstream of them. If DVC fails (another DVC holds its
    lock), every stage counts as changed and `dvc repro` decides stage by stage.
    """
    asked = subprocess.run([*DVC, "status", "--json"], capture_output=True, encoding="utf-8", errors="replace")
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
    """Extract the reason why `dvc repro` of a stage failed, as one sentence."""
    lines = [line.strip() for line in re.split(r"[\r\n]+", output) if line.strip()]
    said = [line for line in lines if line.startswith(f"wethink {stage}: ")]
    if said:
        return said[-1].removeprefix("wethink ")
    if retries.kind(code, output) == retries.INTERRUPTED:
        return f"{stage}: it was killed, most often for lack of memory; a restart resumes from its last checkpoint."
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    others = [line for line in lines if not line.startswith("ERROR: ")]
    last = errors[-1:] if errors and "exited with" not in errors[-1] else others[-1:]
    return f"{stage}: {(last or ['it ended without output'])[0]}"


def out_md5(stage: str) -> str | None:
    """Return DVC's hash of a stage's output, or None if dvc.lock has none."""
    if not Path("dvc.lock").is_file():
        return None
    outs = load_yaml(Path("dvc.lock")).get("stages", {}).get(stage, {}).get("outs", [])
    return next((out["md5"] for out in outs if out.get("path") == STAGES[stage].out), None)


def git(*arguments: str) -> str | None:
    """Return a git command's output, or None if it fails or git is missing."""
    try:
        asked = subprocess.run(["git", *arguments], capture_output=True, encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return None
    return asked.stdout.strip() if asked.returncode == 0 else None
