"""How a stage runs: what it cost is its own, not that of what the same process did before."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from tasks import ROOT
from wethink.records import read_json
from wethink.runs import OWNERS, measured

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_the_processor_time_of_a_stage_is_its_own_though_one_process_runs_several(tmp_path: Path) -> None:
    with measured(tmp_path / "first.json"):
        subprocess.run([sys.executable, "-c", BURN], check=True)
    with measured(tmp_path / "second.json"):
        pass
    assert read_json(tmp_path / "first.json")["cpu_seconds"] >= 0.5
    assert read_json(tmp_path / "second.json")["cpu_seconds"] < 0.4


LAUNCH = """from pathlib import Path
from wethink.config import load_params
from wethink.launching import launch_ranks
from wethink.runs import die_with_owners
die_with_owners()
launch_ranks("sft", Path("."), load_params(Path("params.yaml")).launch)
"""


def test_a_launcher_that_is_still_starting_ends_with_the_owner_of_its_stage(tmp_path: Path) -> None:
    slow = tmp_path / "deepspeed" / "launcher" / "runner.py"  # stands in for DeepSpeed's on a busy machine
    slow.parent.mkdir(parents=True)
    for package in (slow.parent, slow.parent.parent):
        (package / "__init__.py").touch()
    slow.write_text("import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(120)\n")
    (tmp_path / "params.yaml").write_bytes((ROOT / "profiles" / "tiny.yaml").read_bytes())
    with subprocess.Popen(["sleep", "120"]) as owner:
        environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{ROOT}", OWNERS: str(owner.pid)}
        with subprocess.Popen([sys.executable, "-c", LAUNCH], cwd=tmp_path, env=environment) as stage:
            while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
                assert stage.poll() is None
                time.sleep(0.05)
            launcher = psutil.Process(int((tmp_path / "pid").read_text()))
            owner.kill()
            owner.wait()
            assert stage.wait(timeout=30) == 143
            gone, _ = psutil.wait_procs([launcher], timeout=10)
            if not gone:
                launcher.kill()
            assert gone
