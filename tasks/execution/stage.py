"""One Prefect task per stage: policy and observation around `dvc repro -s <stage>` in a child process.

Prefect moves names and paths, never data, and caches nothing: DVC's hashes decide whether a stage is
already done, for this door as for the others. A second cache would disagree one day.
"""

import contextlib
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from tasks.execution.lease import lease
from tasks.processes import child_process, retries
from tasks.tracking import trackers
from tasks.versioning import commits, dvc_status, dvcfile
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json
from wethink.common.paths import WORK
from wethink.config.params import load_params
from wethink.dag.main_stages import STAGES
from wethink.training.engine import require_four_bits


@dataclass(frozen=True)
class StageEvent:
    """A stage that starts (`Running`), or the name and message of the state in which it ended."""

    name: str
    state: str
    message: str = ""


# Told when a stage starts and ends; the terminal of the main flow listens (tasks/execution/terminal.py).
LISTENER: ContextVar[Callable[[StageEvent], None]] = ContextVar("LISTENER", default=lambda event: None)


@dataclass(frozen=True)
class Plan:
    """What the flow knows before it starts."""

    changed: frozenset[str]  # stages that may have to run; the others are Cached without being asked
    deadline_minutes: float  # of one stage
    experiment: str  # in the trackers
    shared: bool = False  # what another machine has run is fetched from DVC's remote, and what runs here is pushed


def prepare(experiment: str, shared: bool = False) -> Plan:
    """Check the parameters and trackers, keep dvc.yaml in step with the code, and ask DVC once what has changed."""
    retries.refuse_endless_starts()
    params = load_params()
    trackers.require(params.launch)
    for section in (params.base, params.sft, params.grpo):
        if section.optim is not None:
            require_four_bits(section.optim, params.launch)
    dvc_status.prepare()
    if dvcfile.update(params):
        get_run_logger().info("%s was not what wethink/dag/main_stages.py says; it is written anew", dvcfile.DVCFILE)
    changed = dvc_status.changed_stages()
    get_run_logger().info("may have to run: %s", ", ".join(name for name in STAGES if name in changed) or "nothing")
    return Plan(changed, params.launch.deadline_minutes, experiment, shared)


def run_record(stage: str) -> Path:
    """Seconds, memory and metrics of a stage's last run (wethink.dag.workspace.measured)."""
    return WORK / "runs" / f"{stage}.run.json"


def bring_up_to_date(name: str, plan: Plan) -> State[str]:
    """Run a stage unless DVC finds it unchanged; the state's message is a sentence for people."""
    out = STAGES[name].out
    unchanged: State[str] = Completed(
        name="Cached", message=f"nothing that {name} depends on has changed: {out}", data=out
    )
    if name not in plan.changed:
        trackers.catch_up(name, plan.experiment)
        return unchanged
    LISTENER.get()(StageEvent(name, "Running"))
    with lease(name, load_params()) if plan.shared else contextlib.nullcontext():
        return _run(name, plan, unchanged)


def _run(name: str, plan: Plan, unchanged: State[str]) -> State[str]:
    """Run `dvc repro` of a stage, and share what it has made."""
    out, log = STAGES[name].out, WORK / "logs" / f"{name}.log"
    before, content = _stamp(run_record(name)), dvc_status.out_md5(name)
    with trackers.follow(name, plan.experiment) as watch:
        ended = child_process.run(dvc_status.repro(name, plan.shared), log, plan.deadline_minutes * 60, watch)
    if ended.late:
        return Failed(
            message=f"{name}: stopped after {plan.deadline_minutes:g} minutes (params.yaml, launch.deadline_minutes); "
            "what it finished is kept, starting again goes on."
        )
    if ended.code != 0:
        sentence = dvc_status.failure(name, ended.code, ended.output)
        get_run_logger().warning("%s (all of its output: %s)", sentence, log)
        return Failed(name=retries.kind(ended.code, ended.output), message=sentence)
    if plan.shared:
        commits.dvc(Path.cwd(), "push", "--run-cache", name)
    ran = _stamp(run_record(name)) != before
    if ran:
        record = read_json(run_record(name))
        write_json(run_record(name), record | {"peak_tree_mb": round(ended.peak_mb, 1)})
    elif plan.shared and dvc_status.out_md5(name) != content:
        run_record(name).unlink(missing_ok=True)  # what is recorded here is about another run
        return Completed(message=f"{name}: another machine has run it, {out} was fetched", data=out)
    trackers.catch_up(name, plan.experiment)
    return Completed(message=f"{name} → {out}", data=out) if ran else unchanged


def _stamp(path: Path) -> int | None:
    return path.stat().st_mtime_ns if path.exists() else None


def stage_task(name: str) -> Callable[..., State[str]]:
    """Return the task of one stage, to be called in a flow with the plan and its inputs.

    It returns its finished state, which Prefect hands on as the path of the output and draws as an edge.

    Raises:
        UserError: the stage failed; the message is its own sentence.
    """

    @task(
        name=name,
        description=STAGES[name].summary,
        task_run_name=name,
        cache_policy=NO_CACHE,
        persist_result=False,
        retries=retries.RETRIES,
        retry_delay_seconds=retries.PAUSES,
        retry_condition_fn=retries.another_try,
    )
    def stage(plan: Plan, *inputs: str) -> State[str]:
        tell = LISTENER.get()
        try:
            state = bring_up_to_date(name, plan)
        except Exception as error:
            tell(StageEvent(name, "Failed", str(error)))
            raise
        tell(StageEvent(name, state.name or "", state.message or ""))
        return state

    def call(plan: Plan, *inputs: State[str]) -> State[str]:
        state: State[Any] = stage(plan, *inputs, return_state=True)
        if not state.is_completed():
            raise UserError(state.message or f"{name} did not complete.")
        return state

    return call


draw = stage_task("draw")
ingest = stage_task("ingest")
synthesize = stage_task("synthesize")
validate = stage_task("validate")
base = stage_task("base")
sft = stage_task("sft")
grpo = stage_task("grpo")
evaluate = stage_task("evaluate")
report = stage_task("report")
