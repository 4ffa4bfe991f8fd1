"""`python -m tests.fault_injection.ledger`, in a project: what stands on the books of registry and gate, as JSON."""

import json
from typing import Any

import tasks  # first: it sets the services' environment
from tasks.tracking import model_registry
from tests.fault_injection.project import Project
from tests.fault_injection.services import Services, wait_for


def books() -> dict[str, Any]:
    """Versions and finished decisions, each with its tags."""
    from mlflow import MlflowClient

    client = MlflowClient()
    found = client.get_experiment_by_name(model_registry.EXPERIMENT)
    decided = client.search_runs([found.experiment_id], "attributes.status = 'FINISHED'") if found else []
    champion = model_registry.named(model_registry.CHAMPION)
    return {
        "champion": champion.number if champion else None,
        "versions": {version.number: version.tags for version in model_registry.every()},
        "decisions": [run.data.tags for run in decided],
    }


def read(project: Project) -> dict[str, Any]:
    """The books of a project."""
    found: dict[str, Any] = json.loads(project.run("tests.fault_injection.ledger").splitlines()[-1])
    return found


def made_of(books: dict[str, Any], source: str) -> list[str]:
    """Versions that were trained because of a source: it is theirs, and was not their parent's."""
    versions, made = books["versions"], []
    for number, tags in versions.items():
        parent = versions.get(tags.get("parent", ""), {})
        if source in json.loads(tags.get("sources", "{}")) and source not in json.loads(parent.get("sources", "{}")):
            made.append(number)
    return made


def balanced(services: Services, *sources: str) -> None:
    """Nothing lost and nothing done twice: each source is one version, one decision, one commit, one tag, one training.

    And nothing is left over: no message in the queue, no scratch, no file on its way into place.
    """
    project, books_now = services.project, read(services.project)
    for source in sources:
        (version,) = made_of(books_now, source)
        assert sum(tags["challenger"] == version for tags in books_now["decisions"]) == 1, "decided once"
        (branch,), tags = project.branches(source), books_now["versions"][version]
        assert tags[model_registry.DONE].startswith(branch.rpartition("-")[2]) and len(project.tags(source)) == 1
        assert project.git("rev-list", "--count", f"HEAD..{branch}").strip() == "1", "committed once"
        assert project.steps(source) == list(range(1, 9)), "every step trained once"
        (work,) = project.worktrees(source)
        assert not [*work.glob("retrain/.*.publishing"), *work.glob(".wethink/scratch/*/*")], "nothing left over"
    assert not list((project.folder / ".wethink/checkpoints").glob(".keeping-*")), "nothing left over"
    wait_for(lambda: services.store.waiting() == 0 or None, 150, "the queue to be empty")
    again = [run["name"] for run in services.runs() if run["run_count"] > 2]
    assert not again, f"started again though they had ended: {again}"
    told = (project.folder / ".wethink/watcher/told.txt").read_text(encoding="utf-8").split()
    assert len(told) == len(set(told)), "told once"


if __name__ == "__main__":
    assert tasks.ROOT
    print(json.dumps(books()))
