"""Parts of `make duplicates`: they run alone, on a new folder, and a collection is not mixed with another."""

import json
import subprocess
import sys
from pathlib import Path

COMMAND = [sys.executable, "-m", "benchmarks.data_quality.duplicates"]


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=300)


def test_a_collection_is_stored_in_a_new_folder_and_measured(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "collection"
    stored = run("--store", folder, "--images", "30")
    assert stored.returncode == 0, stored.stderr
    measured = json.loads(run("--measure", folder).stdout)
    assert measured["images"] == 30
    assert measured["copies_found"]["n"] == 3, "every tenth picture is a copy"
    again = run("--store", folder, "--images", "20")
    assert again.returncode == 2
    assert "has shards already" in again.stderr
    assert "Traceback" not in again.stderr


def test_one_collection_has_one_size(tmp_path: Path) -> None:
    refused = run("--store", tmp_path / "several", "--images", "10,20")
    assert refused.returncode == 2
    assert "one number" in refused.stderr
