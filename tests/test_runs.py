"""How a stage runs: what it cost is its own, not that of what the same process did before; it outlives nobody."""

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

import psutil

from wethink import runs
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


def test_a_process_whose_starter_was_killed_before_it_could_look_ends_too(tmp_path: Path) -> None:
    """Python takes its time to start, longer on a busy machine; DVC may be dead by then, and nobody's parent."""
    late = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "Path(sys.argv[1], 'pid').write_text(str(os.getpid()))\n"
        "while os.getppid() == int(sys.argv[2]): time.sleep(0.01)\n"
        "from wethink.runs import die_with_owners\ndie_with_owners()\ntime.sleep(60)\n"
    )
    starter = (
        "import os, subprocess, sys, time\nfrom pathlib import Path\n"
        "subprocess.Popen([sys.executable, '-c', *sys.argv[1:], str(os.getpid())])\n"
        "while not Path(sys.argv[2], 'pid').exists(): time.sleep(0.01)\n"
        "time.sleep(0.5)\nos.kill(os.getpid(), 9)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(runs.__file__).parents[1])}
    command = [sys.executable, "-c", starter, late, str(tmp_path)]
    subprocess.run(command, env=environment, start_new_session=True, timeout=60)
    orphan, until = int((tmp_path / "pid").read_text()), time.monotonic() + 30
    try:
        while psutil.pid_exists(orphan) and psutil.Process(orphan).status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < until, "it outlives who started it"
            time.sleep(0.1)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(orphan, 9)
