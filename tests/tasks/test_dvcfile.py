"""dvc.yaml says what the table of stages says, and DVC can show, compare and vary what the stages make."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from tasks import ROOT
from tasks.versioning import dvc_status
from tests.conftest import real_dvcfile
from wethink.config.params import load_yaml
from wethink.dag.main_stages import STAGES


def dvc(*arguments: str) -> str:
    done = subprocess.run([sys.executable, "-m", "dvc", *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_committed_dvc_yaml_is_what_the_table_and_the_imports_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert Path("dvc.yaml").read_text(encoding="utf-8") == real_dvcfile(), "run `make dvc.yaml` and commit the result"


def test_every_stage_depends_on_its_code_inputs_and_lock_and_on_nothing_else() -> None:
    outs = {stage.out for stage in STAGES.values()}
    stages = load_yaml(ROOT / "dvc.yaml")["stages"]
    assert list(stages) == list(STAGES)
    for name, entry in stages.items():
        files = set(entry["deps"]) - outs
        assert set(STAGES[name].inputs.values()) <= set(entry["deps"])
        assert "requirements.lock" in files
        module = STAGES[name].module.replace(".", "/")
        assert {f"{module}.py", f"{module}/__init__.py"} & files
        assert all((ROOT / path).is_file() for path in files)
        assert "wethink/dag/main_stages.py" not in files, (
            "the table is no stage's dependency: a new stage must not rerun the others"
        )
        assert "launch" not in entry["params"], "where it runs does not change what is computed"
        assert "seed" in entry["params"]


def test_metrics_and_plots_are_files_that_a_stage_publishes() -> None:
    document = load_yaml(ROOT / "dvc.yaml")
    plotted = [path for plot in document["plots"] for entry in plot.values() for path in entry["y"]]
    for path in [*document["metrics"], *plotted]:
        assert any(path.startswith(f"{stage.out}/") for stage in STAGES.values())


def test_after_a_run_dvc_is_clean_and_one_changed_parameter_touches_only_what_depends_on_it(project: Path) -> None:
    assert dvc_status.changed_stages() == set(STAGES)
    dvc("repro")
    assert json.loads(dvc("status", "--json")) == {}
    assert dvc_status.changed_stages() == frozenset()
    assert "0.5" in dvc("metrics", "show")
    page = Path(dvc("plots", "show").strip().removeprefix("file://"))
    assert "SFT: loss" in page.read_text(encoding="utf-8") and "GRPO: reward" in page.read_text(encoding="utf-8")

    set_param("grpo", "clip_ratio_low", 0.19)
    assert dvc_status.changed_stages() == {"grpo", "evaluate", "report"}
    set_param("launch", "threads", 2)
    assert dvc_status.changed_stages() == {"grpo", "evaluate", "report"}
    sources = load_yaml(Path("params.yaml"))["ingest"]["sources"]
    set_param("ingest", "sources", sources[:1])  # `draw` draws what is ingested
    assert dvc_status.changed_stages() == set(STAGES)
    set_param("ingest", "sources", sources)

    before = {name: Path("pids", name).stat().st_mtime_ns for name in STAGES}
    dvc("exp", "run", "-S", "grpo.optim.lr=0.0005")
    assert load_yaml(Path("params.yaml"))["grpo"]["optim"]["lr"] == 0.0005
    ran = {name for name in STAGES if Path("pids", name).stat().st_mtime_ns != before[name]}
    assert ran == {"grpo", "evaluate", "report"}


def test_a_folder_that_is_no_git_repository_works(project: Path) -> None:
    (project / ".git").rename(project.parent / "git-of-nobody")
    assert dvc_status.git("rev-parse", "--git-dir") is None
    dvc_status.prepare()
    assert "draw" in json.loads(dvc("status", "--json"))


def test_the_users_own_images_and_rows_are_inputs_for_dvc(project: Path) -> None:
    Path("photos").mkdir()
    folders = {"mine": "photos", "gone": "nowhere"}
    sources = [{"name": name, "kind": "folder", "path": path} for name, path in folders.items()]
    set_param("ingest", "sources", sources)
    deps = YAML(typ="safe").load(real_dvcfile())["stages"]["ingest"]["deps"]
    assert "photos" in deps
    assert "nowhere" not in deps, "ingest says in a sentence what is missing; DVC would say it in its own words"


def set_param(section: str, key: str, value: object) -> None:
    yaml = YAML()
    document = yaml.load(Path("params.yaml"))
    document[section][key] = value
    yaml.dump(document, Path("params.yaml"))
