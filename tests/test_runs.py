"""How a stage runs and publishes: what it cost is its own, and an output is the old one or the new one, whole."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from wethink.records import read_json
from wethink.runs import measured, publish, verify_manifest

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_the_processor_time_of_a_stage_is_its_own_though_one_process_runs_several(tmp_path: Path) -> None:
    with measured(tmp_path / "first.json"):
        subprocess.run([sys.executable, "-c", BURN], check=True)
    with measured(tmp_path / "second.json"):
        pass
    assert read_json(tmp_path / "first.json")["cpu_seconds"] >= 0.5
    assert read_json(tmp_path / "second.json")["cpu_seconds"] < 0.4


def small_disk(folder: Path, pages: int) -> bool:
    """Mount a file system of so many pages; whether that is possible here."""
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={pages * 4096}", "tmpfs", str(folder)]
    return subprocess.run(["mount", *options], capture_output=True).returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_disk_that_fills_up_during_publish_leaves_the_old_output_whole_and_a_retry_publishes(tmp_path: Path) -> None:
    """Scratch and output on different disks: publishing is a copy, which may find no room."""
    disk, out, finished = tmp_path / "disk", tmp_path / "disk/models/sft", tmp_path / "scratch/out"
    if not small_disk(disk, 16):
        pytest.skip("no right to mount a file system here")
    try:
        for content in (b"old" * 1000, b"new" * 30_000):
            shutil.rmtree(finished, ignore_errors=True)
            finished.mkdir(parents=True)
            (finished / "weights").write_bytes(content)
            if content.startswith(b"old"):
                publish(finished, out)
        before = (out / "manifest.json").read_bytes()
        with pytest.raises(OSError) as full:
            publish(finished, out)
        assert full.value.errno == errno.ENOSPC or "No space left" in str(full.value)
        verify_manifest(out)
        assert (out / "manifest.json").read_bytes() == before and (finished / "weights").is_file()
        subprocess.run(["mount", "-o", "remount,size=1m", str(disk)], check=True)
        publish(finished, out)
        verify_manifest(out)
        assert (out / "weights").read_bytes().startswith(b"new") and len(list(out.parent.iterdir())) == 1
    finally:
        subprocess.run(["umount", str(disk)], check=True)
