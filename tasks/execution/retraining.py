"""Steps of a retrain as Prefect tasks: sync the source, run the stages in a worktree, commit.

Prefect passes names and paths only. A step's fingerprint in the worktree records that the step is done, the registry
that a source is done, so a killed run resumes where it was.
"""

import contextlib
import dataclasses
import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from tasks.processes import child_process, retries
from tasks.sources import s3
from tasks.tracking import lineage, model_registry
from tasks.tracking.model_registry import Version
from tasks.versioning import commits, dvc_status, worktrees
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, read_json
from wethink.common.paths import WORK
from wethink.config.launch import absolute_store
from wethink.config.params import load_params
from wethink.dag.retraining_stages import RETRAIN
from wethink.dag.runner import run_stage
from wethink.dag.shared_outputs import FOLDER as SHARED
from wethink.dag.workspace import fingerprint, stage_lock
from wethink.retraining.new_source import content_of

SOURCES = Path("sources")  # copies of bucket sources


@contextlib.contextmanager
def retraining_lock() -> Iterator[None]:
    """Hold the lock that lets one retrain of this checkout run at a time.

    It also stops a run that was restarted while its presumably dead process lives.

    Raises:
        UserError: another run holds the lock for longer than the deadlines of all its steps.
    """
    with stage_lock("retrain", patience=60 * load_params().launch.deadline_minutes * len(RETRAIN)):
        yield


@dataclass(frozen=True)
class Plan:
    """A retrain's inputs; `done`: why there is nothing to do, else empty."""

    source: str
    arrived: Path
    key: str  # hash of source content, champion and parameters
    done: str = ""

    @property
    def name(self) -> str:
        return f"{self.source}-{self.key[:8]}"


def first_champion(store: Path = model_registry.STORE) -> Version:
    """Register the main job's checkpoint and data as the first champion.

    Raises:
        UserError: there is a champion, or the main job is not finished.
    """
    now = model_registry.named(model_registry.CHAMPION)
    if now is not None:
        raise UserError(f"version {now.number} is champion already; `flows.promote promote VERSION` changes that.")
    run_stage("bundle", load_params(), once=True)
    dataset = model_registry.keep(WORK / "bundle", store.parent / "datasets")
    lineage = {
        "stage": "grpo",
        "dataset": dataset.name,
        "sources": read_json(dataset / "sources.json"),
        "sft_digest": model_registry.keep(Path("models/sft"), store).name,
    }
    version = model_registry.register(Path("models/grpo"), lineage, store)
    model_registry.promote(version, "the main job's result, the first champion")
    return version


def champion() -> Version:
    """Return the champion after verifying its checkpoint and data.

    Raises:
        UserError: there is no champion, or its checkpoint or data is missing or was changed.
    """
    found = model_registry.named(model_registry.CHAMPION)
    if found is None:
        raise UserError("there is no champion; `python -m flows.promote first` makes the main job's result the first.")
    model_registry.verified(found)
    _kept(found, "dataset", _datasets(found))
    return found


def _kept(version: Version, tag: str, store: Path) -> Path:
    """Return the verified folder in `store` whose digest is in the version's tag.

    Raises:
        UserError: the folder is missing or was changed.
    """
    folder = store / version.tags.get(tag, "none")
    if not (folder / "manifest.json").is_file():
        raise UserError(f"version {version.number}: its {tag} is not at {folder}; restore it from a backup.")
    model_registry.verified(dataclasses.replace(version, folder=folder, digest=folder.name))
    return folder


@task(name="bring", cache_policy=NO_CACHE, persist_result=False)
def bring(source: str, bucket: str) -> Path:
    """Sync a bucket's source to this machine; return its folder.

    A source in a watched folder is used in place.

    Raises:
        UserError: the source does not exist or has no usable object.
    """
    if os.path.isabs(bucket):
        folder = Path(bucket) / source
        if s3.NAME.fullmatch(source) is None or not folder.is_dir():
            raise UserError(f"{folder} is no source; name a folder directly in {bucket}.")
        return folder
    limit = load_params().ingest.max_file_mb
    found = retries.retry_while_unavailable(s3.sync, s3.client("s3"), bucket, source, SOURCES, limit)
    if not found.fetched + found.kept:
        raise UserError(f"s3://{bucket}/{source}/ holds no usable object; {len(found.quarantined)} are in quarantine.")
    return (SOURCES / source).resolve()


def plan(source: str, arrived: Path, now: Version) -> Plan:
    """Plan a retrain; set `done` if the champion or an earlier run used the source.

    An earlier run counts if source content, champion and parameters were the same.
    """
    params = load_params()
    whole = params.model_dump(mode="json", by_alias=True, exclude={"launch", "draw", "report"})
    key = content_id(source, fingerprint((), {}, [arrived]), now.digest, whole)
    learned = read_json(_kept(now, "dataset", _datasets(now)) / "sources.json")
    if learned.get(source) == content_of(arrived):
        return Plan(source, arrived, key, f"the champion, version {now.number}, has learned from '{source}' already.")
    for version in model_registry.every():
        if version.tags.get(model_registry.DONE) == key:
            said = f"'{source}' made version {version.number}, which was {version.tags.get('decision')}."
            return Plan(source, arrived, key, f"nothing has changed: {said}")
    return Plan(source, arrived, key)


def _datasets(version: Version) -> Path:
    """Return the content-addressed store of data sets, beside that of checkpoints."""
    return version.folder.parent.parent / "datasets"


def prepare_worktree(plan: Plan, now: Version) -> Path:
    """Prepare the run's worktree, with links to champion, data and source."""
    folder = worktrees.checkout(WORK / "retrain" / plan.name, {"retrain.source": plan.source} | _own_params())
    (folder / "retrain").mkdir(exist_ok=True)
    params = load_params()
    start = now.folder if params.retrain.start == "champion" else _kept(now, "sft_digest", now.folder.parent)
    old = _kept(now, "dataset", _datasets(now))
    links = {"old": old, "champion": now.folder, "start": start, "source": plan.arrived}
    for name, target in links.items():
        link = folder / "retrain" / name
        link.unlink(missing_ok=True)
        link.symlink_to(target.resolve())
    shared = folder / SHARED  # of several machines: the steps' outputs go there, too
    if SHARED.is_dir() and not shared.exists():
        shared.parent.mkdir(exist_ok=True)
        shared.symlink_to(SHARED.resolve())
    return folder


def _own_params() -> dict[str, Any]:
    """Return the parameter that differs from HEAD: the shared response store."""
    return {"launch.answers": absolute_store(load_params().launch.answers)}


@task(
    name="step",
    task_run_name="{name}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=retries.RETRIES,
    retry_delay_seconds=retries.PAUSES,
    retry_condition_fn=retries.another_try,
)
def _step(name: str, folder: Path, plan: Plan, minutes: float) -> State[str]:
    log = WORK / "logs" / f"retrain-{plan.name}-{name}.log"
    command = ["env", "-C", str(folder), sys.executable, "-m", "wethink", "retrain", name]
    ended = child_process.run(command, log.absolute(), minutes * 60)
    if ended.late:
        return Failed(message=f"{name}: stopped after {minutes:g} minutes (params.yaml, launch.deadline_minutes).")
    if ended.code != 0:
        sentence = f"{dvc_status.failure('retrain', ended.code, ended.output)} (step {name}; all of its output: {log})"
        return Failed(name=retries.kind(ended.code, ended.output), message=sentence)
    return Completed(message=name)


def step(name: str, folder: Path, plan: Plan) -> None:
    """Run one step of `RETRAIN` in the worktree, unless it is done there.

    Raises:
        UserError: the step failed; the message is its own.
    """
    state: State[Any] = _step(name, folder, plan, load_params().launch.deadline_minutes, return_state=True)
    if not state.is_completed():
        raise UserError(state.message or f"{name} did not complete.")


def commit(plan: Plan, folder: Path, decision: Record) -> str:
    """Commit the run to its branch; return the branch's name.

    The commit has params.yaml, the decision, and the DVC pointers of union and challenger.
    """
    lineage.track(folder)
    wanted = ["params.yaml", "retrain/.gitignore", "retrain/union.dvc", "retrain/challenger.dvc"]
    pages = [f"retrain/decision.{kind}" for kind in ("json", "html")]
    wanted += [page for page in pages if (folder / page).is_file()]
    branch = f"retrain/{plan.name}"
    commits.save(folder, wanted, sentence(plan, decision), f"data/{plan.name}", branch)
    return branch


def sentence(plan: Plan, decision: Record) -> str:
    """Summarise a run's decision in one sentence."""
    verdict = "promoted" if decision["promoted"] else "refused"
    return f"'{plan.source}' made version {decision['version']}, {verdict}: {' '.join(decision['reasons'])}"
