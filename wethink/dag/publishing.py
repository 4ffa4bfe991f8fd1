"""Atomic publishing of output folders, and SHA-256 manifests to verify them."""

import os
import shutil
from pathlib import Path

from wethink.common.errors import UserError
from wethink.common.jsonl import file_sha256, read_json, write_json

MANIFEST = "manifest.json"


def write_manifest(folder: Path) -> None:
    """Write `manifest.json`: relative path → sha256 of every file in the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST)
    write_json(folder / MANIFEST, {str(p.relative_to(folder)): file_sha256(p) for p in files})


def verify_manifest(folder: Path) -> None:
    """Check a published folder against its manifest.

    Raises:
        UserError: a listed file is missing, has changed, or lies outside the folder.
    """
    for name, expected in read_json(folder / MANIFEST).items():
        path = folder / name
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise UserError(f"{folder / MANIFEST} names '{name}', which is outside that folder; it cannot be trusted.")
        if not path.is_file() or file_sha256(path) != expected:
            raise UserError(f"{path} is missing or was changed after publishing; run its stage again.")


def publish(finished: Path, out: Path) -> None:
    """Move a finished folder to `out` atomically.

    If `out` has a file suffix, only the file of that name is moved.
    """
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
