"""Data versions as commits: push to DVC's remote, commit the pointers, tag `data/<version>`.

The push comes first, so every commit's data can be pulled.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tasks.processes import retries
from tasks.versioning import dvc_status
from wethink.common.errors import UserError

DATA = ("dvc.yaml", "dvc.lock", "params.yaml")  # the files in git that define a version of the main job's data
NAME = "[A-Za-z0-9][A-Za-z0-9-]*([.][A-Za-z0-9-]+)*"  # of a version name


def save(folder: Path, files: Sequence[str], message: str, tag: str, branch: str | None = None) -> bool:
    """Push to DVC's remote, commit `files` and set `tag`; idempotent.

    Args:
        folder: a checkout or a worktree.
        files: paths relative to `folder`; git-ignored ones are added too.
        message: the commit message.
        tag: an existing tag of this name moves to the commit.
        branch: created or moved for the commit; None: the current branch.

    Returns:
        Whether DVC has a default remote, to which the data was pushed.

    Raises:
        UserError: a DVC or git command failed.
    """
    pushed = has_remote(folder)
    if pushed:
        dvc(folder, "push", "--run-cache")
    if branch is not None:
        git(folder, "checkout", "--quiet", "-B", branch)
    git(folder, "add", "--force", "--", *files)
    if git(folder, "diff", "--cached", "--name-only", "--", *files):
        nobody = ["-c", "user.name=wethink", "-c", "user.email=wethink@localhost"]
        known = dvc_status.git("-C", str(folder), "config", "user.email")
        git(folder, *([] if known else nobody), "commit", "--quiet", "-m", message, "--", *files)
    git(folder, "tag", "--force", tag)
    return pushed


def ready(version: str) -> None:
    """Check before a job that its result can be saved as `version`.

    Raises:
        UserError: the name is invalid or taken, this is no git checkout, or there are uncommitted code changes.
    """
    if re.fullmatch(NAME, version) is None or version.endswith(".lock"):
        raise UserError(f"'{version}' cannot name a version; use letters, digits, . and -.")
    changed = dvc_status.git(
        "status", "--porcelain", "--untracked-files=no", "--", ".", *(f":!{name}" for name in DATA)
    )
    if changed is None:
        raise UserError("a version is a commit, and this is no git checkout: clone the project instead.")
    if same(version, (".",)) is False:
        raise UserError(f"data/{version} is another version already (commit {_of(version)}); choose another name.")
    if changed:
        files = ", ".join(line.split(maxsplit=1)[1] for line in changed.splitlines())
        raise UserError(
            f"uncommitted changes ({files}): commit them first, so that a version has the code that made it."
        )


def same(version: str, files: Sequence[str] = DATA) -> bool | None:
    """Return whether these files equal a version's; None: the version does not exist."""
    tag = f"refs/tags/data/{version}"
    if dvc_status.git("rev-parse", "--verify", "--quiet", tag) is None:
        return None
    return dvc_status.git("diff", "--quiet", tag, "--", *files) is not None


def _of(version: str) -> str | None:
    return dvc_status.git("rev-parse", "--short", f"refs/tags/data/{version}^{{commit}}")


def save_data(version: str) -> str:
    """Save the main job's data and checkpoints as a version; return a summary line.

    Raises:
        UserError: the main job is not finished, the name is taken, or a DVC or git command failed.
    """
    folder = Path.cwd()
    if changed := sorted(dvc_status.changed_stages()):
        raise UserError(f"not all is up to date ({', '.join(changed)}); run `make demo` first.")
    if same(version):
        return f"data/{version} is commit {_of(version)} already, and nothing has changed since."
    ready(version)  # again, since hours may have passed; raises if the name is taken
    pushed = save(folder, DATA, f"Data {version}", f"data/{version}")
    where = "pushed to DVC's remote" if pushed else "here only: DVC has no remote (dvc remote add --default NAME URL)"
    return f"data/{version} is commit {git(folder, 'rev-parse', '--short', 'HEAD')}; its data is {where}."


def has_remote(folder: Path) -> bool:
    """Return whether DVC has a default remote in `folder`."""
    asked = subprocess.run(
        [*dvc_status.DVC, "config", "core.remote"], cwd=folder, capture_output=True, encoding="utf-8", errors="replace"
    )
    return asked.returncode == 0 and bool(asked.stdout.strip())


def dvc(folder: Path, *arguments: str) -> str:
    """Run DVC and return its output; retry while its lock or remote is unavailable.

    Raises:
        UserError: DVC failed; the message holds its last line.
    """
    return retries.retry_while_unavailable(_run, folder, *dvc_status.DVC, *arguments)


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its output.

    Raises:
        UserError: git failed; the message holds its last line.
    """
    return _run(folder, "git", *arguments)


def _run(folder: Path, *command: str) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", errors="replace")
    if ended.returncode == 0:
        return ended.stdout.strip()
    said = (ended.stderr or ended.stdout).strip()
    last = (said.splitlines() or ["no output"])[-1]
    if retries.kind(ended.returncode, said) == retries.LOCKED or retries.remote_away(said):
        raise ConnectionError(last)  # retry_while_unavailable retries it
    if "No space left on device" in said:
        raise UserError(f"the disk is full ({folder}); free some space, the same command goes on.")
    called = ("dvc", *command[3:]) if command[:3] == dvc_status.DVC else command
    raise UserError(f"{' '.join(called[:3])} failed in {folder}: {last}")
