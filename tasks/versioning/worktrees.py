"""Git worktrees for runs that change params.yaml, sharing this checkout's DVC cache.

Two runs never write to one folder, each run can be inspected as an ordinary checkout, and outputs of one run are
cache hits for the others.
"""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks.processes import child_process
from tasks.versioning import dvc_status
from wethink.common.errors import UserError
from wethink.common.paths import WORK
from wethink.config.params import load_params, load_yaml

MAIN_JOB = [*dvc_status.DVC, "repro", "--no-run-cache", "report"]  # the run cache lacks the logs of step costs


def checkout(folder: Path, settings: Mapping[str, Any], overlays: Sequence[str] = ()) -> Path:
    """Create a worktree of HEAD, or move an existing one to HEAD, and set parameters.

    Args:
        folder: the worktree; outputs of DVC and the stages in it stay.
        settings: dotted key → value, e.g. `{"seed": 1, "grpo.optim.lr": 0.0001}`; the key must exist.
        overlays: profiles to apply before `settings`.

    Returns:
        The worktree's absolute path.

    Raises:
        UserError: this is no git checkout, it has uncommitted changes, or params.yaml lacks a key.
    """
    if dvc_status.git("rev-parse", "--git-dir") is None:
        raise UserError("this needs a git checkout: every run gets a worktree of its own.")
    if dvc_status.git("status", "--porcelain", "--untracked-files=no"):
        raise UserError("there are uncommitted changes; commit them first, so that every run has the same code.")
    head = str(dvc_status.git("rev-parse", "HEAD"))
    if folder.exists() and not _is_worktree(folder):
        shutil.rmtree(folder)  # left by a killed `git worktree add`; git would treat it as part of this checkout
    if not folder.exists():
        subprocess.run(["git", "worktree", "prune"], check=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), head], check=True)
    else:
        _unlock(folder)
        subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", "--force", "--detach", head], check=True)
    (folder / ".dvc" / "config.local").write_text(
        f"[cache]\n    dir = {Path('.dvc/cache').resolve()}\n", encoding="utf-8"
    )
    if overlays:
        run_in(folder, [dvc_status.DVC[0], "-m", "wethink", "profile", *overlays], f"{folder.name}-profile")
    set_params(folder / "params.yaml", settings)
    return folder.resolve()


def _is_worktree(folder: Path) -> bool:
    top = dvc_status.git("-C", str(folder), "rev-parse", "--show-toplevel")
    return top is not None and Path(top) == folder.resolve()


def _unlock(folder: Path) -> None:
    """Delete a killed git's index lock; this process is the only writer here."""
    lock = dvc_status.git("-C", str(folder), "rev-parse", "--path-format=absolute", "--git-path", "index.lock")
    if lock is not None:
        Path(lock).unlink(missing_ok=True)


def set_params(path: Path, settings: Mapping[str, Any]) -> None:
    """Set dotted keys of a params.yaml, keeping its order and comments.

    Raises:
        UserError: a key does not exist.
    """
    yaml = YAML()
    yaml.width = 200
    params = yaml.load(path)
    if params.fa.flow_style():  # a JSON file; kept in flow style, its URLs would break DVC's YAML reader
        params = load_yaml(path)
    for name, value in settings.items():
        *sections, key = name.split(".")
        section = params
        for part in sections:
            section = section.get(part) or {}
        if key not in section:
            raise UserError(f"{path}: there is no key '{name}' to set.")
        section[key] = value
    yaml.dump(params, path)


def run_in(folder: Path, command: Sequence[str], name: str) -> None:
    """Run a command in a worktree with ten times a stage's deadline.

    Its output goes to `.wethink/logs/<name>.log`.

    Raises:
        UserError: the command's exit code is not 0.
    """
    minutes = load_params().launch.deadline_minutes
    ended = child_process.run(["env", "-C", str(folder), *command], WORK / "logs" / f"{name}.log", 10 * minutes * 60)
    if ended.code != 0:
        raise UserError(f"{name} ended with code {ended.code}; see its last lines above.")
