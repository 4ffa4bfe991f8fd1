"""Stage fingerprint, scratch folder and lock: resumable work outside the outputs.

Work in progress is in `.wethink/scratch/<stage>/<fingerprint>/` and is renamed into place at the end. A killed stage
resumes from its scratch; a stage with changed code, settings or inputs starts anew. DVC deletes outputs before a run,
so checkpoints inside them would be lost.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import file_sha256
from wethink.common.paths import ROOT, WORK
from wethink.dag.publishing import MANIFEST, _remove


def fingerprint(
    code: Iterable[Path], settings: Mapping[str, Any], inputs: Iterable[Path], own: Iterable[Path] = ()
) -> str:
    """Hash code files, settings and input contents: the key of a scratch folder.

    The user's `own` files may be many and large: their names, sizes and modification times are hashed instead.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for path in code:
        digest.update(f"{path} {file_sha256(ROOT / path)}\n".encode())
    digest.update(json.dumps(settings, sort_keys=True).encode())
    for path in inputs:
        digest.update(f"{path} {_content_hash(path)}\n".encode())
    for path in own:
        for file in sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]:
            about = file.stat()
            digest.update(f"{file} {about.st_size} {about.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def _content_hash(path: Path) -> str:
    if path.is_file():
        return file_sha256(path)
    files = sorted(p for p in path.rglob("*") if p.is_file())
    if _is_published(path, files):  # its manifest has the hashes of all its files
        return file_sha256(path / MANIFEST)
    return hashlib.sha256("".join(f"{p.relative_to(path)} {file_sha256(p)}\n" for p in files).encode()).hexdigest()


def _is_published(folder: Path, files: Iterable[Path]) -> bool:
    """Return whether the manifest lists exactly these files with SHA-256 hashes."""
    # A user's image folder may contain an unrelated manifest.json.
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    names = {str(path.relative_to(folder)) for path in files} - {MANIFEST}
    hashes = isinstance(listed, dict) and all(re.fullmatch("[0-9a-f]{64}", str(value)) for value in listed.values())
    return hashes and set(listed) == names


def scratch_folder(stage: str, key: str, adopt: bool = False) -> Path:
    """Create or find the stage's scratch folder for this fingerprint.

    `adopt` renames the newest scratch of another fingerprint to it, to resume a run after a bug fix.

    Raises:
        UserError: with `adopt`, this fingerprint has a checkpoint already, or there is no other scratch.
    """
    home = WORK / "scratch" / stage
    folder = home / key
    if adopt:
        others = sorted((p for p in home.glob("*") if p != folder), key=lambda p: p.stat().st_mtime)
        if (folder / "state.json").exists():
            raise UserError(
                f"--adopt: stage '{stage}' has an unfinished run with these settings already; start it without --adopt "
                f"to resume that, or delete {folder} to resume the older one."
            )
        if not others:
            raise UserError(f"--adopt: stage '{stage}' has no unfinished run to carry on; start it without --adopt.")
        _remove(folder)  # started, but without a checkpoint
        others[-1].rename(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def stage_lock(stage: str, patience: float = 20.0) -> Iterator[None]:
    """Hold the stage's lock; the kernel releases it when the process ends.

    Raises:
        UserError: another process still holds it after `patience` seconds.
    """
    path = WORK / "locks" / f"{stage}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    with path.open("a+") as handle:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    handle.seek(0)
                    raise UserError(
                        f"stage '{stage}' is already running (process {handle.read().strip() or 'unknown'}); "
                        "wait for it or stop that process."
                    ) from None
                time.sleep(0.2)
        handle.truncate(0)
        handle.write(str(os.getpid()))
        handle.flush()
        yield


def discard_scratch(stage: str) -> None:
    """Delete all scratch folders of a stage after publishing."""
    shutil.rmtree(WORK / "scratch" / stage, ignore_errors=True)
