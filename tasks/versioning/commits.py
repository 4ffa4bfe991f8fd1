"""What was made as a commit: first DVC's remote has the data, then git has the pointers, then there is a name for it.

In that order, so that whoever has the commit can pull what it points to. The name is a tag `data/<version>`.
"""

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

from tasks.processes import retries
from tasks.versioning import dvc_status
from wethink.common.errors import UserError

DATA = ("dvc.yaml", "dvc.lock", "params.yaml")  # what a version of the main job's data consists of, for git
NAME = "[A-Za-z0-9][A-Za-z0-9-]*([.][A-Za-z0-9-]+)*"  # of a version


def save(folder: Path, files: Sequence[str], message: str, tag: str, branch: str | None = None) -> bool:
    """Push to DVC's remote, commit these files, tag; return whether there is a remote. Once more changes nothing.

    Args:
        folder: a checkout or a worktree.
        files: relative to it; also ignored ones.
        message: of the commit.
        tag: for it; it moves where it was set before.
        branch: made (or moved) for the commit; None: whichever is checked out.

    Raises:
        UserError: DVC or git refuses.
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
    """Whether what comes out of this checkout can be kept by that name: asked before the work, not after it.

    Raises:
        UserError: the name is none for git or has been given, this is no git checkout, or the code is not what git has.
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
    """Whether these files are what a version has; None: there is none of that name."""
    tag = f"refs/tags/data/{version}"
    if dvc_status.git("rev-parse", "--verify", "--quiet", tag) is None:
        return None
    return dvc_status.git("diff", "--quiet", tag, "--", *files) is not None


def _of(version: str) -> str | None:
    return dvc_status.git("rev-parse", "--short", f"refs/tags/data/{version}^{{commit}}")


def save_data(version: str) -> str:
    """The data and checkpoints of the main job as a version that others can pull; what was done, in a sentence.

    Raises:
        UserError: the main job is not finished, the name stands for another version, or DVC or git refuses.
    """
    folder = Path.cwd()
    if changed := sorted(dvc_status.changed_stages()):
        raise UserError(f"not all is up to date ({', '.join(changed)}); run `make demo` first.")
    if same(version):
        return f"data/{version} is commit {_of(version)} already, and nothing has changed since."
    ready(version)  # once more, for hours may have passed; a name that stands for another version is refused there
    pushed = save(folder, DATA, f"Data {version}", f"data/{version}")
    where = "pushed to DVC's remote" if pushed else "here only: DVC has no remote (dvc remote add --default NAME URL)"
    return f"data/{version} is commit {git(folder, 'rev-parse', '--short', 'HEAD')}; its data is {where}."


def has_remote(folder: Path) -> bool:
    """Whether DVC has a default remote there."""
    asked = subprocess.run([*dvc_status.DVC, "config", "core.remote"], cwd=folder, capture_output=True, text=True)
    return asked.returncode == 0 and bool(asked.stdout.strip())


def dvc(folder: Path, *arguments: str) -> str:
    """Run DVC; its lock and a remote that is away are waited for.

    Raises:
        UserError: DVC's own last word.
    """
    return retries.retry_while_unavailable(_run, folder, *dvc_status.DVC, *arguments)


def git(folder: Path, *arguments: str) -> str:
    """Run git and return its answer.

    Raises:
        UserError: git's own last word.
    """
    return _run(folder, "git", *arguments)


def _run(folder: Path, *command: str) -> str:
    ended = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if ended.returncode == 0:
        return ended.stdout.strip()
    said = (ended.stderr or ended.stdout).strip()
    last = (said.splitlines() or ["no word"])[-1]
    if retries.kind(ended.returncode, said) == retries.LOCKED or retries.remote_away(said):
        raise ConnectionError(last)  # tried again
    if "No space left on device" in said:
        raise UserError(f"the disk is full ({folder}); free some space, the same command goes on.")
    called = ("dvc", *command[3:]) if command[:3] == dvc_status.DVC else command
    raise UserError(f"{' '.join(called[:3])} failed in {folder}: {last}")
