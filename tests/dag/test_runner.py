"""How a stage runs and publishes: what it cost is its own, and an output is the old one or the new one, whole."""

import contextlib
import errno
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from tasks import ROOT
from wethink.common.errors import UserError
from wethink.common.jsonl import file_sha256, read_json, write_json
from wethink.common.processes import OWNERS
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.dag import runner, workspace
from wethink.dag.all_stages import EXTRA_STAGES
from wethink.dag.publishing import publish, verify_manifest
from wethink.dag.stage import Stage
from wethink.dag.usage import measured
from wethink.dag.workspace import fingerprint, scratch_folder

BURN = "import time\nwhile time.process_time() < 0.5: pass"


def test_the_processor_time_of_a_stage_is_its_own_though_one_process_runs_several(tmp_path: Path) -> None:
    with measured(tmp_path / "first.json"):
        subprocess.run([sys.executable, "-c", BURN], check=True)
    with measured(tmp_path / "second.json"):
        pass
    assert read_json(tmp_path / "first.json")["cpu_seconds"] >= 0.5
    assert read_json(tmp_path / "second.json")["cpu_seconds"] < 0.4


LAUNCH = """from pathlib import Path
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.training.launch import launch_ranks
from wethink.common.processes import die_with_owners
die_with_owners()
launch_ranks("sft", Path("."), load_params(Path("params.yaml")).launch)
"""


@pytest.mark.parametrize("stage_is_killed", [False, True])
def test_a_launcher_that_is_still_starting_ends_with_the_owner_of_its_stage(
    tmp_path: Path, stage_is_killed: bool
) -> None:
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
            for victim in (owner, stage) if stage_is_killed else (owner,):
                victim.kill()
            owner.wait()
            assert stage.wait(timeout=30) == (-9 if stage_is_killed else 143)
            gone, _ = psutil.wait_procs([launcher], timeout=10)
            if not gone:
                launcher.kill()
            assert gone


def write_out(*, run: StageRun[Any], **_: Any) -> dict[str, Any]:
    """A stage that fails while `broken` exists in the current folder."""
    if Path("broken").exists():
        raise KeyboardInterrupt
    (run.out / "metrics.json").write_text('{"rows": 1}', encoding="utf-8")
    return {"rows": 1}


def test_an_arm_that_was_interrupted_runs_again_and_is_not_taken_for_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    params = load_params(ROOT / "profiles" / "tiny.yaml")
    toy = Stage("a toy", "tests.dag.test_runner:write_out", "draw", {}, "toy")
    monkeypatch.setattr(runner, "EXTRA_STAGES", {"toy": toy})
    assert runner.run_stage("toy", params, once=True) == {"rows": 1}
    Path("broken").touch()
    other = params.model_copy(update={"seed": params.seed + 1})
    with pytest.raises(KeyboardInterrupt):
        runner.run_stage("toy", other, once=True)
    Path("broken").unlink()
    assert runner.run_stage("toy", other, once=True) == {"rows": 1}


def test_every_control_of_equal_compute_is_made_again_when_what_it_is_compared_with_was() -> None:
    controls = {name: stage for name, stage in EXTRA_STAGES.items() if "logs" in stage.inputs}
    assert {"more_sft", "rejection_sft", "arm_new_source_more_sft"} <= set(controls)
    assert all("rival" in stage.inputs for stage in controls.values())
    assert controls["more_sft"].inputs["rival"] == "models/grpo"
    assert controls["arm_new_source_more_sft"].inputs["rival"] == "models/arms/new_source"


def test_the_users_own_images_are_part_of_what_a_stage_depends_on(tmp_path: Path) -> None:
    (tmp_path / "one.png").write_bytes(b"1")
    before = fingerprint([], {}, [], [tmp_path])
    assert fingerprint([], {}, [], [tmp_path]) == before
    (tmp_path / "one.png").unlink()
    assert fingerprint([], {}, [], [tmp_path]) != before


def test_a_marker_named_manifest_json_does_not_stand_for_the_content_of_a_source(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("one")
    (tmp_path / "manifest.json").write_text("{}")
    before = fingerprint([], {}, [tmp_path])
    (tmp_path / "rows.jsonl").write_text("two")
    assert fingerprint([], {}, [tmp_path]) != before


@pytest.mark.parametrize("name", ["../stolen", "/etc/hostname", "sub/../../stolen"])
def test_a_manifest_that_names_files_elsewhere_is_not_trusted(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (tmp_path / "stolen").write_text("x")
    write_json(folder / "manifest.json", {name: file_sha256(tmp_path / "stolen")})
    with pytest.raises(UserError, match="outside that folder"):
        verify_manifest(folder)


def test_adopt_carries_on_the_older_run_though_the_new_one_has_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (scratch_folder("sft", "old") / "state.json").write_text("{}")
    scratch_folder("sft", "new")  # begun and stopped before its first checkpoint
    assert (scratch_folder("sft", "new", adopt=True) / "state.json").exists()
    scratch_folder("sft", "other")
    with pytest.raises(UserError, match="without --adopt"):
        scratch_folder("sft", "new", adopt=True)


JOIN = """import json, sys
from pathlib import Path
import psutil
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.training.ranks import all_max, join
ranks = join(load_params(Path(sys.argv[1])).launch)
all_max(1, ranks)
found = [c.laddr.ip for c in psutil.Process().net_connections() if c.status == psutil.CONN_LISTEN]
print(json.dumps(found))
"""


def test_a_training_process_listens_on_loopback_only() -> None:
    ran = subprocess.run(
        [sys.executable, "-c", JOIN, str(ROOT / "profiles" / "tiny.yaml")],
        capture_output=True, text=True, check=True, cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")},
    )  # fmt: skip
    addresses = json.loads(ran.stdout.splitlines()[-1])
    assert set(addresses) <= {"127.0.0.1", "::1"}


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


def test_a_process_whose_starter_was_killed_before_it_could_look_ends_too(tmp_path: Path) -> None:
    """Python takes its time to start, longer on a busy machine; DVC may be dead by then, and nobody's parent."""
    late = (
        "import os, sys, time\nfrom pathlib import Path\n"
        "Path(sys.argv[1], 'pid').write_text(str(os.getpid()))\n"
        "while os.getppid() == int(sys.argv[2]): time.sleep(0.01)\n"
        "from wethink.common.processes import die_with_owners\ndie_with_owners()\ntime.sleep(60)\n"
    )
    starter = (
        "import os, subprocess, sys, time\nfrom pathlib import Path\n"
        "subprocess.Popen([sys.executable, '-c', *sys.argv[1:], str(os.getpid())])\n"
        "while not Path(sys.argv[2], 'pid').exists(): time.sleep(0.01)\n"
        "time.sleep(0.5)\nos.kill(os.getpid(), 9)\n"
    )
    environment = os.environ | {"PYTHONPATH": str(Path(workspace.__file__).parents[2])}
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
