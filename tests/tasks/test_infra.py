"""What is declared for other machines: it parses, says what the code says, and opens nothing to the world."""

import inspect
import json
import re
import stat
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tasks import ENVIRONMENT, ROOT
from tasks.sources.s3 import MARKERS
from tasks.stack import deploy

INFRA = ROOT / "infra"


def load(name: str) -> Any:
    return YAML(typ="safe", pure=True).load(INFRA / name)


def deployments() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in load("prefect.yaml")["deployments"]}


def flow_of(entry: dict[str, Any]) -> Any:
    import importlib

    path, _, name = entry["entrypoint"].partition(":")
    return getattr(importlib.import_module(path.removesuffix(".py").replace("/", ".")), name)


def test_the_deployments_are_those_that_were_asked_for() -> None:
    assert set(deployments()) == {"pipeline", "synthesize-source", "retrain", "evaluate-checkpoint", "ablation"}


@pytest.mark.parametrize("name", sorted(deployments()))
def test_every_parameter_is_typed_and_explained_and_the_defaults_are_accepted(name: str) -> None:
    entry = deployments()[name]
    flow = flow_of(entry)
    schema = flow.parameters.model_dump()
    for parameter, about in schema["properties"].items():
        assert {"type", "anyOf", "$ref", "allOf"} & set(about), parameter
        assert len(about.get("description", "")) > 10, f"{name}: {parameter} has no description for the form"
    given = entry.get("parameters", {})
    assert set(given) <= set(schema["properties"])
    needed = set(schema.get("required", [])) - set(given)
    flow.validate_parameters(given | dict.fromkeys(needed, "birds"))
    assert entry["description"] and entry["tags"] and inspect.getdoc(flow.fn)


@pytest.mark.parametrize("name", sorted(deployments()))
def test_schedules_are_off_and_one_run_goes_on_at_a_time(name: str) -> None:
    entry = deployments()[name]
    assert all(schedule["active"] is False for schedule in entry.get("schedules", []))
    assert entry["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}
    assert entry["work_pool"]["name"] == deploy.POOL
    trains = "training" in entry["tags"]
    assert entry["work_pool"]["work_queue_name"] == ("training" if trains else "default")
    assert deploy.QUEUES == {"training": 1}


def test_the_automation_hands_on_what_the_flow_takes() -> None:
    from tasks.sources import events
    from tasks.sources.s3 import Closed

    (trigger,) = deployments()["retrain"]["triggers"]
    assert trigger["expect"] == [events.EVENT]
    payload = events.event(Closed("birds", "images", "birds/_SUCCESS", "e"))["payload"]
    for parameter, template in trigger["parameters"].items():
        (field,) = re.findall(r"event\.payload\.(\w+)", template)
        assert field in payload and parameter in flow_of(deployments()["retrain"]).parameters.properties


def test_the_compose_file_publishes_on_loopback_only_and_holds_no_secret() -> None:
    compose = load("docker/compose.yaml")
    for name, service in compose["services"].items():
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert not service.get("privileged"), name
    text = (INFRA / "docker/compose.yaml").read_text(encoding="utf-8")
    assert re.findall(r"PASSWORD: (\S+)", text) == ["${POSTGRES_PASSWORD:?set"] * 2
    assert {"postgres", "prefect", "mlflow", "store", "watcher", "worker"} <= set(compose["services"])
    for service in compose["services"].values():
        assert set(service.get("depends_on", {})) <= set(compose["services"])


def test_the_image_runs_as_nobody_in_particular_and_takes_the_lock() -> None:
    text = (INFRA / "docker/Dockerfile").read_text(encoding="utf-8")
    assert re.findall(r"^USER (\w+)", text, re.MULTILINE) == ["10001"]  # a number: clusters check that it is not root
    assert "requirements.lock" in text and "--no-deps" in text


def test_the_projects_folder_belongs_to_its_user_with_either_builder() -> None:
    """The legacy builder gives the folder of a WORKDIR to root, BuildKit to the user: so it is made before."""
    text = (INFRA / "docker/Dockerfile").read_text(encoding="utf-8")
    made = text.index("install --directory --owner=wethink --group=wethink /home/wethink/project")
    after = [text.index(f"\n{step}") for step in ("USER ", "WORKDIR /home/wethink/project", "COPY --chown=wethink")]
    assert [made, *after] == sorted([made, *after])


def test_all_that_a_job_writes_is_on_a_volume() -> None:
    """A worker that is made anew keeps the page, dvc.lock, params.yaml and the branches: they are in the project."""
    services = load("docker/compose.yaml")["services"]
    for name in ("deploy", "mlflow", "watcher", "worker", "gpu-worker"):
        assert services[name]["volumes"] == ["project:/home/wethink/project"], name
    deploy_ = services["deploy"]["command"][-1]
    assert "merge --abort" in deploy_  # a conflict leaves the volume as it was


def test_the_containers_have_the_settings_of_the_local_stack() -> None:
    """`prefect server` and `prefect worker` do not import tasks/__init__.py, which sets them elsewhere."""
    ours = load("docker/compose.yaml")["x-app"]["environment"]
    local = {"PREFECT_HOME", "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"}
    wanted = {name: value for name, value in ENVIRONMENT.items() if name.startswith("PREFECT_") and name not in local}
    assert {name: ours.get(name) for name in wanted} == wanted


def test_files_with_secrets_are_left_out_of_the_build() -> None:
    left_out = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert {"**/.env", ".dvc/config.local", ".git/config", ".wethink"} <= set(left_out)


def test_what_was_never_run_is_named_an_example() -> None:
    assert {path.name for path in (INFRA / "examples").iterdir()} == {"README.md", "kubernetes", "terraform"}
    assert "never applied" in (INFRA / "examples/README.md").read_text(encoding="utf-8")


def test_the_job_template_asks_for_nothing_that_it_does_not_explain() -> None:
    template = json.loads((INFRA / "examples/kubernetes/base-job-template.json").read_text(encoding="utf-8"))
    asked = set(re.findall(r"{{ (\w+) }}", json.dumps(template["job_configuration"])))
    explained = template["variables"]["properties"]
    assert asked == set(explained)
    assert all({"type", "title"} <= set(about) for about in explained.values())
    defaults = {name: about.get("default") for name, about in explained.items()}
    assert defaults["gpus"] == 0 and defaults["image"] == "wethink:cpu"  # what trains asks for more


def test_the_cluster_has_a_queue_for_gpus_and_one_that_never_waits_for_them() -> None:
    script = INFRA / "examples/kubernetes/queues.sh"
    text = script.read_text(encoding="utf-8")
    assert script.stat().st_mode & stat.S_IXUSR
    cpu = re.findall(r"^deploy cpu (\S+)", text, re.MULTILINE)
    (gpu,) = re.findall(r"^for name in (.*); do", text, re.MULTILINE)
    assert set(cpu) | set(gpu.split()) == set(deployments()) and "synthesize-source" in cpu


def test_cluster_objects_refer_to_each_other_by_names_that_exist() -> None:
    files = [INFRA / "examples/kubernetes" / name for name in ("stack.yaml", "deepspeed-job.yaml")]
    found = [item for file in files for item in YAML(typ="safe", pure=True).load_all(file)]
    names = {(item["kind"], item["metadata"]["name"]) for item in found}
    for item in found:
        assert item["kind"] == "Namespace" or item["metadata"]["namespace"] == "wethink"
        spec = item.get("spec", {}).get("template", {}).get("spec", {})
        if spec:
            assert ("ServiceAccount", spec["serviceAccountName"]) in names
            for volume in spec.get("volumes", []):
                claim = volume.get("persistentVolumeClaim", {}).get("claimName")
                assert claim is None or ("PersistentVolumeClaim", claim) in names
            volumes = {volume["name"] for volume in spec.get("volumes", [])}
            assert {mount["name"] for box in spec["containers"] for mount in box.get("volumeMounts", [])} <= volumes


def test_terraform_closes_a_source_by_the_markers_of_the_code_and_grants_no_wildcard() -> None:
    text = "\n".join(path.read_text(encoding="utf-8") for path in sorted((INFRA / "examples/terraform").glob("*.tf")))
    (markers,) = re.findall(r"markers = (\[.*?\])", text)
    assert tuple(json.loads(markers)) == MARKERS
    policies = (INFRA / "examples/terraform/iam.tf").read_text(encoding="utf-8")
    granted = [block for block in re.findall(r"statement {(.*?)\n  }", policies, re.DOTALL) if "Deny" not in block]
    assert len(granted) == 8
    for block in granted:
        assert "*" not in re.findall(r"actions +=(.*)", block)[0], block
        assert '"*"' not in re.findall(r"resources +=(.*)", block)[0], block


def test_a_source_without_rows_is_annotated_and_one_with_rows_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows import source_rows
    from tasks.versioning import worktrees

    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(worktrees, "checkout", lambda folder, settings: seen.append(settings) or folder)  # type: ignore[func-returns-value]
    monkeypatch.chdir(ROOT)
    (tmp_path / "birds/images").mkdir(parents=True)
    source_rows._workplace("birds", tmp_path / "birds")
    (tmp_path / "birds/rows.jsonl").touch()
    source_rows._workplace("birds", tmp_path / "birds")
    assert [found["synthesize.annotator"] for found in seen] == ["endpoints", "rows"]
    assert all(Path(found["ingest.sources"][0]["path"]) == tmp_path / "birds/images" for found in seen)
    assert all(Path(found["launch.answers"]).is_absolute() for found in seen)  # paid for once, for all worktrees
