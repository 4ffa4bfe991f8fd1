"""Outputs of a retrain's steps on storage that several machines share: `.wethink/steps`.

They are kept under a step's fingerprint, so a retrain whose machine has died goes on on another one. Without that
folder nothing is shared.
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path

from wethink.common.paths import WORK
from wethink.dag.publishing import publish, verify_manifest

FOLDER = WORK / "steps"


def keep(key: str, out: Path, record: Path) -> None:
    """Copy a step's published output and its record there, unless they are there."""
    if not FOLDER.is_dir() or (FOLDER / key).exists():
        return
    staged = Path(tempfile.mkdtemp(prefix=".keeping-", dir=FOLDER))
    try:
        shutil.copytree(out, staged / "out")
        shutil.copyfile(record, staged / "run.json")
        with contextlib.suppress(OSError):  # another machine has kept the same step meanwhile
            os.rename(staged, FOLDER / key)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def fetch(key: str, out: Path, record: Path) -> bool:
    """Publish a kept output here, with its record; return whether there is one.

    Raises:
        UserError: it was changed.
    """
    kept = FOLDER / key
    if not kept.is_dir():
        return False
    record.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK) as staged:
        shutil.copytree(kept / "out", Path(staged) / "out")
        verify_manifest(Path(staged) / "out")
        publish(Path(staged) / "out", out)
    shutil.copyfile(kept / "run.json", record)
    return True
