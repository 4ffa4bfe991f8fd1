"""Resumable training checkpoints and step logs.

A checkpoint is complete or absent; a log holds every step once. Weights and moments are safetensors by parameter name,
so that any number of ranks goes on from them at any ZeRO stage. They live in scratch only and are never published.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, write_json
from wethink.config.launch import Launch
from wethink.config.training import Optim
from wethink.training.engine import deepspeed_config
from wethink.training.optimizer_state import set_state, update_count, whole_state
from wethink.training.ranks import Ranks, barrier

LAYOUT = "tensors by parameter name"  # of a checkpoint; that of DeepSpeed's shards, before it, had no name
FILE_BYTES = 2**30


def identity(module: nn.Module, optim: Optim, launch: Launch) -> dict[str, Any]:
    """Describe a run; its checkpoints load only into runs of equal identity.

    Call it before the engine is built.
    """
    shapes = "".join(f"{name} {tuple(p.shape)}\n" for name, p in module.named_parameters())
    return {
        "weights": hashlib.sha256(shapes.encode()).hexdigest()[:12],
        "bf16": bool(deepspeed_config(launch).get("bf16", {}).get("enabled")),
        "optimizer": "AdamW" if optim.muon_lr is None else "Muon",
        "lora": optim.lora.model_dump() if optim.lora else None,
        "frozen": list(optim.frozen_parameters),
    }


def save_state(
    engine: Any, scratch: Path, step: int, ranks: Ranks, identity: dict[str, Any], keep: int, cursor: int = 0
) -> None:
    """Save a resumable checkpoint after `step` steps; keep the last `keep`.

    It is complete or absent. `cursor` is the number of rows drawn from the data order.
    """
    tag = f"step-{step}"
    _write_tensors(engine, scratch / "state" / tag, ranks)
    barrier()
    if ranks.first:
        state = {"step": step, "tag": tag, "layout": LAYOUT, "updates": update_count(engine), "cursor": cursor}
        write_json(scratch / "state.json", state | {"identity": identity})  # written last
        tags = sorted((scratch / "state").glob("step-*"), key=lambda path: int(path.name.split("-")[1]))
        for old in tags[:-keep]:
            shutil.rmtree(old)


def _write_tensors(engine: Any, folder: Path, ranks: Ranks) -> None:
    """Write this rank's share of the tensors, in files of about `FILE_BYTES`."""
    from safetensors.torch import save_file

    if ranks.first:
        shutil.rmtree(folder, ignore_errors=True)  # of a run that was killed while it wrote
        folder.mkdir(parents=True)
    barrier()
    folder.mkdir(parents=True, exist_ok=True)  # a network file system may show it to this host later
    part: dict[str, Tensor] = {}
    number = 0
    for i, (name, value) in enumerate(whole_state(engine)):
        if i % ranks.world == ranks.rank:
            part[name] = value.cpu()
        if sum(value.nbytes for value in part.values()) >= FILE_BYTES:
            save_file(part, folder / f"{ranks.rank}-{number}.safetensors")
            part, number = {}, number + 1
    if part:
        save_file(part, folder / f"{ranks.rank}-{number}.safetensors")


def restore_state(engine: Any, scratch: Path, ranks: Ranks, identity: dict[str, Any]) -> tuple[int, int]:
    """Load the last complete checkpoint, if any; return (steps done, cursor).

    Ranks and ZeRO stage may be others than those that wrote it. Without a checkpoint it returns (0, 0).

    Raises:
        UserError: the checkpoint is from an older version or from a run of another identity, or a tensor is missing.
    """
    path = scratch / "state.json"
    if not path.exists():
        return 0, 0
    state = read_json(path)
    if state.get("layout") != LAYOUT:
        raise UserError(
            f"{path.parent} holds a checkpoint of another version, in a layout that this one cannot read; finish that "
            "run with its own version, or delete that folder to start over."
        )
    theirs = state["identity"]
    differences = [
        f"{key} {theirs.get(key)} there, {ours} here" for key, ours in identity.items() if theirs.get(key) != ours
    ]
    if differences:
        raise UserError(
            f"{path.parent} holds another kind of run ({'; '.join(differences)}); set these back to go on, or delete "
            "that folder to start over."
        )
    with contextlib.ExitStack() as opened:
        set_state(engine, _reader(scratch / "state" / state["tag"], opened), int(state["updates"]))
    return int(state["step"]), int(state["cursor"])


def _reader(folder: Path, opened: contextlib.ExitStack) -> Callable[[str], Tensor]:
    """Return a function that reads a checkpoint's tensor by name; files are mapped while `opened` is."""
    from safetensors import safe_open

    files = [opened.enter_context(safe_open(path, "pt")) for path in sorted(folder.glob("*.safetensors"))]
    file_of = {name: file for file in files for name in file.keys()}  # noqa: SIM118 - no mapping

    def read(name: str) -> Tensor:
        if name not in file_of:
            raise UserError(f"{folder} lacks the tensor {name}; delete {folder.parents[1]} to start over.")
        tensor: Tensor = file_of[name].get_tensor(name)
        return tensor

    return read


def note_skipped(scratch: Path, step: int, rows: list[str], optim: Optim, ranks: Ranks, in_a_row: int) -> None:
    """Log the rows of a step whose gradient was not finite.

    Raises:
        UserError: it is the `max_skipped_steps`-th such step in a row.
    """
    if ranks.first:
        append_log(scratch, {"step": step, "rows": rows}, "skipped.jsonl")
    if in_a_row >= optim.max_skipped_steps:
        raise UserError(
            f"the gradient was not finite in {in_a_row} steps in a row, the last at step {step}; their rows are in "
            f"{scratch / 'skipped.jsonl'}. The weights are as before these steps: lower optim.lr or look at the rows, "
            "then start again."
        )


def append_log(scratch: Path, record: dict[str, Any], name: str = "metrics.jsonl") -> None:
    """Append a record with a `step` to a log in scratch; trackers read the file."""
    with (scratch / name).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(record) + "\n")


def rewind_log(scratch: Path, step: int, name: str = "metrics.jsonl") -> None:
    """Drop log lines after `step`: a resumed run logs those steps again."""
    path = scratch / name
    if path.exists():
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        whole = path.with_name(f"{name}.tmp")
        whole.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
        os.replace(whole, path)


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return float("inf")  # a half-written line


def write_curves(scratch: Path, out: Path) -> None:
    """Write `curves.csv` from the log, without timings.

    A published file is a function of its inputs only.
    """
    import csv

    records = [json.loads(line) for line in (scratch / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    columns = [name for name in (records[0] if records else {}) if "second" not in name]
    with (out / "curves.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)
