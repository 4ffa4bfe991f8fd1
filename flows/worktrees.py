"""Git worktrees for runs that differ in lines of params.yaml: what `make seeds` and `make ablations` share."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks import children, versions
from wethink.config import load_params
from wethink.errors import UserError
from wethink.runs import WORK

MAIN_JOB = [*versions.DVC, "repro", "--no-run-cache", "report"]  # the cache has no logs: what steps cost


def checkout(folder: Path, changes: Mapping[str, Any], overlays: Sequence[str] = ()) -> Path:
    """A worktree of HEAD with changed lines in params.yaml, sharing the DVC cache of this checkout.

    `changes`: dotted key → value. `overlays`: profiles to switch to before.

    Raises:
        UserError: this is no git checkout, or it differs from HEAD.
    """
    if versions.git("rev-parse", "--git-dir") is None:
        raise UserError("this needs a git checkout: it makes a worktree for every seed.")
    if versions.git("status", "--porcelain", "--untracked-files=no"):
        raise UserError("there are uncommitted changes; commit them first, so that every run has the same code.")
    head = versions.git("rev-parse", "HEAD")
    if not folder.exists():
        subprocess.run(["git", "worktree", "prune"], check=True)
        subprocess.run(["git", "worktree", "add", "--quiet", "--detach", str(folder), str(head)], check=True)
    else:
        subprocess.run(["git", "-C", str(folder), "checkout", "--quiet", "--force", "--detach", str(head)], check=True)
    (folder / ".dvc" / "config.local").write_text(
        f"[cache]\n    dir = {Path('.dvc/cache').resolve()}\n", encoding="utf-8"
    )
    if overlays:
        run_in(folder, [versions.DVC[0], "-m", "wethink", "profile", *overlays], f"{folder.name}-profile")
    yaml = YAML()
    yaml.width = 200
    params = yaml.load(folder / "params.yaml")
    for key, value in changes.items():
        *path, last = key.split(".")
        section = params
        for name in path:
            section = section[name]
        section[last] = value
    yaml.dump(params, folder / "params.yaml")
    return folder.resolve()


def run_in(folder: Path, command: Sequence[str], name: str) -> None:
    """Run a command in a worktree, with ten times the deadline of a stage; its output goes to a log of that name.

    Raises:
        UserError: it ended with another code than 0.
    """
    minutes = load_params().launch.deadline_minutes
    ended = children.run(["env", "-C", str(folder), *command], WORK / "logs" / f"{name}.log", 10 * minutes * 60)
    if ended.code != 0:
        raise UserError(f"{name} ended with code {ended.code}; see its last lines above.")
