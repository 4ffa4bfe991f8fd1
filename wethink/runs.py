"""How a stage runs: one at a time, in a scratch folder keyed by what it depends on, published whole or not at all.

Work in progress lives in `.wethink/scratch/<stage>/<fingerprint>/`, outside every output, and is renamed
into place at the end; a killed stage finds its scratch again, a changed one starts anew
(DVC deletes outputs before a run, so a resumable state inside them would be lost).
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wethink.common.paths import ROOT, WORK
from wethink.errors import UserError
from wethink.records import file_sha256, read_json, write_json

MANIFEST = "manifest.json"
OWNERS = "WETHINK_OWNERS"  # pids that a stage must not outlive, set by whoever starts it
GROUPS: set[int] = set()  # process groups that this process leads into work; they must not outlive it


def fingerprint(
    code: Iterable[Path], settings: Mapping[str, Any], inputs: Iterable[Path], own: Iterable[Path] = ()
) -> str:
    """Hash of code files, settings and input contents; what differs here must not share scratch.

    Of the user's `own` files, which may be many and large, names, sizes and times of change stand for the content.
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
    """Whether the folder's manifest is one of ours: a source of images may be closed by a file of that name."""
    try:
        listed = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return False
    names = {str(path.relative_to(folder)) for path in files} - {MANIFEST}
    hashes = isinstance(listed, dict) and all(re.fullmatch("[0-9a-f]{64}", str(value)) for value in listed.values())
    return hashes and set(listed) == names


def scratch_folder(stage: str, key: str, adopt: bool = False) -> Path:
    """The stage's scratch for this fingerprint; `adopt` carries the newest other one across a bug fix."""
    home = WORK / "scratch" / stage
    folder = home / key
    if adopt:
        others = sorted((p for p in home.glob("*") if p != folder), key=lambda p: p.stat().st_mtime)
        if (folder / "state.json").exists():
            raise UserError(
                f"--adopt: stage '{stage}' has an unfinished run with these settings already; start it without --adopt "
                f"to go on with that, or delete {folder} to carry on the older one."
            )
        if not others:
            raise UserError(f"--adopt: stage '{stage}' has no unfinished run to carry on; start it without --adopt.")
        _remove(folder)  # begun, but without a checkpoint
        others[-1].rename(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextlib.contextmanager
def stage_lock(stage: str, patience: float = 20.0) -> Iterator[None]:
    """Hold the stage for this process; the kernel releases it however the process ends.

    Raises:
        UserError: another live process still holds it after `patience` seconds.
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


def die_with_owners() -> None:
    """End this process within a second of its parent's death, or of any process named in WETHINK_OWNERS.

    A flow, a DVC process or a launcher that is killed with -9 cannot tell its children; without this
    an orphan would go on writing beside the next start. Polling works on every Unix and, unlike a
    parent-death signal, is not tied to the thread that forked.
    """
    owners = [int(pid) for pid in os.environ.get(OWNERS, "").split(",") if pid]
    owners += _behind_a_shell()
    os.environ[OWNERS] = ",".join(map(str, [*owners, os.getpid()]))  # for our own children
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent and all(_alive(pid) for pid in owners) and not _handed_over():
            time.sleep(0.5)
        for group in GROUPS:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(group, signal.SIGKILL)
        os._exit(143)

    threading.Thread(target=watch, name="die-with-owners", daemon=True).start()


def _handed_over() -> bool:
    """Whether who started us was dead before we could look at it: Python takes its time to start.

    Then our parent is whoever takes in orphans: of another process group than ours, whose leader has ended. (A living
    starter shares our group, or has made us its leader.)
    """
    group = os.getpgrp()
    if _alive(group):
        return False
    with contextlib.suppress(ProcessLookupError, PermissionError):
        return os.getpgid([os.getppid(), *_behind_a_shell()][-1]) != group
    return False


def _behind_a_shell() -> list[int]:
    """Who started us through `sh -c`, as DVC does: the shell between would outlive its death, and so should we."""
    import psutil

    with contextlib.suppress(psutil.Error):
        parent = psutil.Process(os.getppid())
        if parent.cmdline()[1:2] == ["-c"] and Path(parent.cmdline()[0]).name in ("sh", "bash", "dash"):
            return [parent.ppid()]
    return []


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: relative path → sha256 of every file in the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    write_json(folder / MANIFEST, {str(p.relative_to(folder)): file_sha256(p) for p in files})


def verify_manifest(folder: Path) -> None:
    """Raise UserError if a published folder is not what it was when it was published, or names files outside it."""
    for name, expected in read_json(folder / MANIFEST).items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{folder / MANIFEST} names '{name}', which is outside that folder; it cannot be trusted.")
        if not path.is_file() or file_sha256(path) != expected:
            raise UserError(f"{path} is missing or was changed after publishing; run its stage again.")


def publish(finished: Path, out: Path) -> None:
    """Move a finished folder (or its only file, if `out` names a file) into place, complete or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    source = finished / out.name if out.suffix else finished
    if not out.suffix:
        write_manifest(finished)
    staged = out.with_name(f".{out.name}.publishing")
    _remove(staged)
    shutil.move(source, staged)  # may cross file systems; the rename below never does
    _remove(out)
    os.rename(staged, out)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def discard_scratch(stage: str) -> None:
    """Delete every scratch folder of a stage that has just been published."""
    shutil.rmtree(WORK / "scratch" / stage, ignore_errors=True)


def peak_memory_mb(pid: int) -> float:
    """Proportional set size in MiB summed over a process tree now (Linux; 0.0 elsewhere)."""
    import psutil

    total = 0
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in [root, *root.children(recursive=True)]:
            with contextlib.suppress(psutil.Error, AttributeError):
                total += process.memory_full_info().pss
    return total / 2**20


@contextlib.contextmanager
def measured(record: Path) -> Iterator[dict[str, Any]]:
    """Write seconds and peak memory of the block to `record` (JSON); never part of an output."""
    peak = 0.0
    done = threading.Event()

    def sample() -> None:
        nonlocal peak
        while not done.wait(2.0):
            peak = max(peak, peak_memory_mb(os.getpid()))

    sampler = threading.Thread(target=sample, daemon=True)
    sampler.start()
    start, spent, extra = time.monotonic(), _processor_seconds(), dict[str, Any]()
    try:
        yield extra
    finally:
        done.set()
        sampler.join()
        peak = max(peak, peak_memory_mb(os.getpid()))
        write_json(
            record,
            {
                "seconds": round(time.monotonic() - start, 3),
                "cpu_seconds": round(_processor_seconds() - spent, 3),
                "peak_pss_mb": round(peak, 1),
                "finished_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                **extra,
            },
        )


def _processor_seconds() -> float:
    """Of this process and its ended children, since the process began: one process may run several stages."""
    cpu = os.times()
    return cpu.user + cpu.system + cpu.children_user + cpu.children_system
