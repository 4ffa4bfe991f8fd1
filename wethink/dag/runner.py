"""Stage runner: input checks, lock, fingerprint, scratch folder, ranks and atomic publishing."""

import shutil
import time
from collections import Counter
from functools import reduce
from pathlib import Path
from typing import Any

from wethink.common.errors import FAILURE, UserError
from wethink.common.jsonl import read_json, write_json
from wethink.common.paths import WORK
from wethink.common.progress import say
from wethink.common.stage_run import StageRun
from wethink.config.params import Params
from wethink.dag.all_stages import EXTRA_STAGES
from wethink.dag.experiment_stages import CONTROLS
from wethink.dag.main_stages import STAGES
from wethink.dag.publishing import publish, verify_manifest
from wethink.dag.retraining_stages import RETRAIN
from wethink.dag.shared_outputs import fetch, keep
from wethink.dag.stage import Stage
from wethink.dag.usage import measured
from wethink.dag.workspace import discard_scratch, fingerprint, scratch_folder, stage_lock

# Seconds that a rank waits after a peer's failure: the launcher reports the first rank to end, which must be the peer.
PEER_FAILURE_GRACE_S = 5.0
TOO_SMALL = (
    "lower optim.max_token_len_per_gpu or optim.micro_batch_size, set optim.gradient_checkpointing, name "
    "a file with ZeRO-3 or offload in launch.deepspeed, or use the profile qwen3_vl_2b_lora. Finished work is "
    "kept; a restart resumes from it."
)


def settings(stage: Stage, params: Params) -> dict[str, Any]:
    """Return the parameters that a stage depends on, as plain JSON values."""
    whole = params.model_dump(mode="json", by_alias=True)
    names = ("seed", stage.section, *stage.also)
    return {name: reduce(lambda part, key: part[key], name.split("."), whole) for name in names}


def arguments(stage: Stage, params: Params) -> dict[str, Any]:
    """Build the keyword arguments of a stage's function but `run` and `scorer`."""
    given: dict[str, Any] = {name: Path(path) for name, path in stage.inputs.items()}
    for name in stage.also:
        if not (stage.scorer and name == "rewards"):
            section, *parts = name.split(".")
            given[name.rpartition(".")[2]] = reduce(getattr, parts, _sections(params)[section])
    given |= stage.arguments
    return given | ({"launch": params.launch} if stage.ranks or stage.launch else {})


def _sections(params: Params) -> dict[str, Any]:
    return {(field.alias or name): getattr(params, name) for name, field in Params.model_fields.items()}


def own_files(name: str, params: Params) -> list[str]:
    """List the existing user files that a stage reads; the stage reports missing ones."""
    curation = params.validate_.curation
    named: dict[str, list[str | None]] = {
        "ingest": [with_pictures(source.path) for source in params.ingest.sources if source.kind != "hub"],
        "synthesize": [params.synthesize.rows],
        "validate": [
            *params.validate_.verdicts,
            *curation.benchmarks,
            curation.difficulty.rates if curation.difficulty else None,
        ],
        "base": [params.base.model],
    }
    stage = (STAGES | EXTRA_STAGES)[name]
    functions = [entry.function.rpartition(":")[0] for entry in params.rewards.functions if "rewards" in stage.also]
    return [path for path in [*named.get(name, []), *functions] if path is not None and Path(path).exists()]


def with_pictures(path: str | None) -> str | None:
    """Return the folder of a table of texts, whose rows name picture files beside it; other paths as they are.

    >>> with_pictures("mine/qa.csv"), with_pictures("qa.csv"), with_pictures("photos")
    ('mine', 'qa.csv', 'photos')
    """
    if path is None or not path.casefold().endswith((".csv", ".tsv", ".jsonl", ".ndjson", ".json")):
        return path
    home = Path(path).parent
    return path if home.resolve() == Path.cwd().resolve() else str(home)  # the project itself is no dependency


def run_stage(name: str, params: Params, adopt: bool = False, once: bool = False) -> dict[str, Any]:
    """Run one stage from its inputs to its published output and return its metrics.

    `once` is for stages outside dvc.yaml: an output published under the same fingerprint is reused. `adopt` resumes
    the newest scratch of another fingerprint.

    Raises:
        UserError: an input is missing (the stage or command that makes it is named), the stage refuses its input, or
            it made nothing usable; then nothing is published.
    """
    from wethink.dag.import_closure import closure

    stage = (STAGES | EXTRA_STAGES)[name]
    for path in stage.inputs.values():
        if not Path(path).exists():
            raise UserError(f"{path} is missing: {_advice(path)}.")
    inputs = [Path(path) for path in stage.inputs.values() if path != str(WORK / "runs")]  # logs hold timings
    own = [Path(path) for path in own_files(name, params)]
    key = fingerprint(closure(stage.module), settings(stage, params), inputs, own)
    run_record = WORK / "runs" / f"{name}.run.json"
    if once and (known := _finished(stage, run_record, key)) is not None:
        return known
    if name in RETRAIN and fetch(key, Path(stage.out), run_record):
        say(f"wethink retrain {name}: another machine has run it, {stage.out} was fetched")
        return dict(read_json(run_record)["metrics"])
    with stage_lock(name), measured(run_record) as record:
        scratch = scratch_folder(name, key, adopt)
        log = WORK / "runs" / f"{name}.metrics.jsonl"  # path that trackers read; the log itself is in scratch
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        log.symlink_to((scratch / "metrics.jsonl").resolve())
        record |= {"stage": name, "fingerprint": key}
        _run_ranks(name, scratch, params)
        metrics = _metrics(scratch)
        _refuse_empty(name, stage, metrics, scratch / "out")
        log.unlink()
        if (scratch / "metrics.jsonl").exists():
            shutil.copyfile(scratch / "metrics.jsonl", log)
        publish(scratch / "out", Path(stage.out))
        discard_scratch(name)
        record |= {"metrics": metrics}
    if name in RETRAIN:
        keep(key, Path(stage.out), run_record)
    return metrics


def _finished(stage: Stage, run_record: Path, key: str) -> dict[str, Any] | None:
    """Return the metrics of an output that was published under this fingerprint, or None.

    Raises:
        UserError: the output was changed since.
    """
    known = read_json(run_record) if Path(stage.out).exists() and run_record.exists() else {}
    if known.get("fingerprint") != key or "metrics" not in known:  # no metrics: started, but not finished
        return None
    if Path(stage.out).is_dir():
        verify_manifest(Path(stage.out))
    return dict(known["metrics"])


def _run_ranks(name: str, scratch: Path, params: Params) -> None:
    """Run a stage in this process, or a training stage's ranks through their launcher."""
    from wethink.training.launch import has_launcher, launch_ranks

    if (STAGES | EXTRA_STAGES)[name].ranks and has_launcher(params.launch):
        launch_ranks(name, scratch, params.launch)
    else:
        run_rank(name, scratch, params)


def _advice(path: str) -> str:
    """Return how a missing input is made."""
    makers = {name: entry for name, entry in (STAGES | EXTRA_STAGES).items() if Path(path).is_relative_to(entry.out)}
    if maker := next((name for name in makers if name in STAGES), None):
        return f"run `dvc repro {maker}` (or `python -m wethink {maker}`) first"
    if path == str(WORK / "runs"):
        return "it holds the logs of the main job; run `python -m flows.pipeline` first"
    if maker := next((name for name in makers if name in RETRAIN), None):
        return f"run `python -m wethink retrain {maker}` first"
    if path.startswith("retrain/"):
        return "`python -m flows.retrain` puts it into the worktree of a retrain; start that"
    arm = next(iter(makers), None)
    return f"run `python -m wethink {'controls' if arm in CONTROLS else 'arms'} {arm}` first" if arm else "put it there"


def _refuse_empty(name: str, stage: Stage, metrics: dict[str, Any], out: Path) -> None:
    """Check that a stage made something that the next stages can use.

    Raises:
        UserError: it did not; the most frequent reasons are named.
    """
    if stage.yields is None or metrics.get(stage.yields):
        return
    places = (metrics, metrics.get("image_outcomes", {}))
    reasons = Counter[str]()
    for found in (place.get(key) for place in places for key in ("rejected", "failed", "curated")):
        reasons.update(found if isinstance(found, dict) else {})
    most = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common(3))
    raise UserError(
        f"stage '{name}' made nothing usable ('{stage.yields}' is 0){': ' + most if most else ''}. Nothing is "
        f"published; {out} names each case. Mend the inputs or the settings of params.yaml, {stage.section}."
    )


def _metrics(scratch: Path) -> dict[str, Any]:
    path = scratch / "out" / "metrics.json"
    metrics: dict[str, Any] = read_json(path) if path.is_file() else {}
    return metrics


def run_rank(name: str, scratch: Path, params: Params) -> None:
    """Run one rank of a stage: call its function in this process.

    Raises:
        UserError: the stage rejects its input, the GPU is out of memory, or another rank has ended (exit code 75).
    """
    import importlib

    stage = (STAGES | EXTRA_STAGES)[name]
    module, function = stage.function.split(":")
    (scratch / "out").mkdir(exist_ok=True)
    (scratch / FAILURE).unlink(missing_ok=True)
    work = getattr(importlib.import_module(module), function)
    try:
        run = StageRun(_sections(params)[stage.section], scratch / "out", scratch, params.seed)
        if stage.scorer:
            from wethink.rewards.hybrid import open_scorer

            with open_scorer(params.rewards, params.launch) as scorer:
                work(**arguments(stage, params), scorer=scorer, run=run)
        else:
            work(**arguments(stage, params), run=run)
    except Exception as error:
        lost = isinstance(error, RuntimeError) and "by peer" in str(error)  # gloo's and NCCL's when a rank is gone
        if stage.ranks and not lost:  # launchers send SIGTERM to the ranks that are left
            from wethink.training.stopping import interrupted

            error = interrupted(name, error)
        if type(error).__name__ == "OutOfMemoryError":  # PyTorch's, which most stages never import
            error = UserError(f"stage '{name}' needs more memory than this GPU has: {TOO_SMALL}")
        if isinstance(error, UserError):
            write_json(scratch / FAILURE, {"message": str(error), "exit_code": error.exit_code})
        if lost:
            time.sleep(PEER_FAILURE_GRACE_S)
            raise UserError("another rank has ended, and this one cannot continue alone.", exit_code=75) from None
        raise error
