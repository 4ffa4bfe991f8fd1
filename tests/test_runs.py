"""How a stage runs: what it cost is its own, not that of what the same process did before."""

import subprocess
import sys
from pathlib import Path

from wethink.records import read_json
from wethink.runs import measured

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_the_processor_time_of_a_stage_is_its_own_though_one_process_runs_several(tmp_path: Path) -> None:
    with measured(tmp_path / "first.json"):
        subprocess.run([sys.executable, "-c", BURN], check=True)
    with measured(tmp_path / "second.json"):
        pass
    assert read_json(tmp_path / "first.json")["cpu_seconds"] >= 0.5
    assert read_json(tmp_path / "second.json")["cpu_seconds"] < 0.4
