"""DeepSpeed: launching ranks, one engine for every training stage, resumable state. The only module that imports it.

One process or many, CPU or GPU, ZeRO stage and offload: launch settings and a JSON file, the same code.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wethink.config import Launch, Optim
from wethink.errors import UserError
from wethink.records import read_json, write_json

if TYPE_CHECKING:
    import torch
    from torch import nn

KEEP = 2  # resumable checkpoints kept in scratch
MUON_MOMENTUM = 0.95  # its author's, and every recipe's since


@dataclass(frozen=True)
class Ranks:
    """This process among all: `rank` of `world`."""

    rank: int
    world: int
    device: "torch.device"

    @property
    def first(self) -> bool:
        return self.rank == 0


def launch_ranks(stage: str, scratch: Path, launch: Launch) -> None:
    """Run `python -m wethink rank <stage>` on all ranks through DeepSpeed's launcher and wait.

    Raises:
        UserError: a rank failed (its log has said why) or the deadline passed; all ranks are gone then.
    """
    command = [sys.executable, "-m", "deepspeed.launcher.runner"]
    command += ["--hostfile", launch.hostfile] if launch.hostfile else ["--hostfile", os.devnull]
    command += ["--num_gpus", str(launch.processes), "--master_port", str(free_port())]
    command += ["--no_local_rank", "--module", "wethink", "rank", stage, "--scratch", str(scratch)]
    environment = os.environ | {
        "OMP_NUM_THREADS": str(launch.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "DS_ACCELERATOR": launch.device,
    }
    with subprocess.Popen(command, env=environment, start_new_session=True) as child:
        try:
            code = child.wait(timeout=launch.deadline_minutes * 60)
        except subprocess.TimeoutExpired:
            raise UserError(
                f"stage '{stage}' passed its deadline of {launch.deadline_minutes} minutes (launch.deadline_minutes) "
                "and was stopped; what it finished is kept, starting it again goes on."
            ) from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, signal.SIGKILL)  # nothing of the group may outlive this stage
    failure = scratch / "failure.txt"
    if code != 0 and failure.exists():
        raise UserError(failure.read_text(encoding="utf-8"))
    if code != 0:
        raise UserError(
            f"a rank of stage '{stage}' ended with code {code}; its last lines stand above. "
            "Starting the stage again goes on from its last checkpoint.",
            exit_code=75,  # EX_TEMPFAIL: worth a retry
        )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def join(launch: Launch) -> Ranks:
    """Join the process group that the launcher described, or be a group of one.

    Raises:
        UserError: the profile wants a GPU and this machine has none.
    """
    import torch

    # DeepSpeed calls collectives by names that PyTorch 2.13 has renamed: true, and nothing a user can mend.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    if launch.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "launch.device is 'cuda' but this machine has no usable GPU; use the tiny profile "
            "(`python -m wethink profile tiny`) or run on a machine with GPUs."
        )
    os.environ.setdefault("DS_ACCELERATOR", launch.device)
    alone = {
        "RANK": "0",
        "LOCAL_RANK": "0",
        "WORLD_SIZE": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
    }
    for name, value in alone.items():
        os.environ.setdefault(name, value)
    if launch.device == "cpu":
        torch.set_num_threads(launch.threads)
    import deepspeed

    # The shared-memory all-reduce is a C++ extension built for minutes on first use; a killed build leaves a
    # lock that hangs later runs. Gloo carries these gradients in milliseconds.
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    if not deepspeed.comm.is_initialized():
        deepspeed.init_distributed(
            "nccl" if launch.device == "cuda" else "gloo", timeout=timedelta(minutes=10), verbose=False
        )
    index = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", index) if launch.device == "cuda" else torch.device("cpu")
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), device)


def all_sum(value: "torch.Tensor") -> "torch.Tensor":
    """Sum over ranks, in place."""
    import deepspeed

    deepspeed.comm.all_reduce(value)
    return value


def cost_clock(ranks: Ranks) -> float:
    """Seconds that this rank has cost: on a CPU those of the processor, whatever else keeps the machine busy."""
    return time.process_time() if ranks.device.type == "cpu" else time.perf_counter()


def gather_objects(value: Any, ranks: Ranks) -> list[Any]:
    """A small Python object from every rank, in rank order, on all ranks."""
    import torch.distributed

    found: list[Any] = [None] * ranks.world
    torch.distributed.all_gather_object(found, value)
    return found


def barrier() -> None:
    import deepspeed

    deepspeed.comm.barrier()


def build_engine(module: "nn.Module", optim: Optim, launch: Launch) -> Any:
    """A DeepSpeed engine from the launch's JSON file; learning rate and clipping come from params.yaml.

    Accumulation is unmanaged: `backward` only accumulates, `step` reduces and updates, so ranks may have
    unequal numbers of micro-batches. DeepSpeed averages gradients over ranks: losses are scaled by `world`.

    With `muon_lr` DeepSpeed's Muon updates the hidden matrices, and its Adam embeddings, norms and biases.
    """
    import deepspeed
    import torch

    path = Path(launch.deepspeed)
    config = read_json(path)
    optimizer = config["optimizer"]["params"]
    optimizer |= {"lr": optim.lr, "betas": list(optim.betas), "weight_decay": optim.weight_decay}
    config["gradient_clipping"] = optim.max_grad_norm
    if optim.muon_lr is not None:
        config["optimizer"]["type"] = "Muon"
        optimizer |= {"muon_lr": optim.muon_lr, "adam_lr": optim.lr, "momentum": MUON_MOMENTUM}
        # DeepSpeed would clip Muon's update, not its gradient; that update is of one size whatever the gradient is.
        config["gradient_clipping"] = 0.0
        if launch.device == "cpu":
            torch.compiler.set_stance("force_eager")  # compiling the small matrix products takes longer than they do
    with open(os.devnull, "w") as quiet, contextlib.redirect_stdout(quiet):
        engine, *_ = deepspeed.initialize(model=module, model_parameters=list(module.parameters()), config=config)
    return engine


def learning_rate(optim: Optim, step: int) -> float:
    """The rate of step `step` (from 0): linear warm-up, then constant or cosine to zero. No state to save."""
    import math

    warmup = max(1, round(optim.warmup * optim.steps))
    if step < warmup:
        return optim.lr * (step + 1) / warmup
    if optim.schedule == "constant":
        return optim.lr
    return optim.lr * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, optim.steps - warmup)))


def optimizer_step(engine: Any, optim: Optim, step: int) -> float:
    """Reduce, clip, update with the rates of step `step`; return the gradient norm before clipping.

    With Muon DeepSpeed turns the gradient into the update first, so the norm is that of the update.
    """
    share = learning_rate(optim, step) / optim.lr
    for group in engine.optimizer.param_groups:
        peak = optim.muon_lr if optim.muon_lr and group.get("use_muon") else optim.lr
        group["lr"] = share * peak
    engine.step()
    norm = engine.get_global_grad_norm()
    return float(norm) if norm is not None else 0.0


def save_state(engine: Any, scratch: Path, step: int, ranks: Ranks) -> None:
    """A resumable checkpoint after `step` steps: complete or absent, the last two kept.

    Optimizer shards are DeepSpeed's pickles: they live in local scratch only and are never published.
    """
    tag = f"step-{step}"
    engine.save_checkpoint(str(scratch / "state"), tag=tag)
    barrier()
    if ranks.first:
        write_json(scratch / "state.json", {"step": step, "tag": tag, "world": ranks.world})  # written last
        tags = sorted((scratch / "state").glob("step-*"), key=lambda path: int(path.name.split("-")[1]))
        for old in tags[:-KEEP]:
            shutil.rmtree(old)


def restore_state(engine: Any, scratch: Path, ranks: Ranks) -> int:
    """Load the last complete checkpoint of this scratch, if any; return how many steps are done.

    Raises:
        UserError: it was written by another number of processes.
    """
    path = scratch / "state.json"
    if not path.exists():
        return 0
    state = read_json(path)
    if state["world"] != ranks.world:
        raise UserError(
            f"{path.parent} holds a run of {state['world']} processes, but launch.processes gives {ranks.world}; "
            f"set launch.processes to {state['world']} to go on, or delete that folder to start over."
        )
    engine.load_checkpoint(str(scratch / "state"), tag=state["tag"])
    return int(state["step"])


def append_log(scratch: Path, record: dict[str, Any], name: str = "metrics.jsonl") -> None:
    """One line of a log that has a `step`: a file first, trackers read it."""
    with (scratch / name).open("a", encoding="utf-8") as handle:
        handle.write(json.dumps(record) + "\n")


def rewind_log(scratch: Path, step: int, name: str = "metrics.jsonl") -> None:
    """Drop what a killed run logged after its last checkpoint: those steps will be logged again."""
    path = scratch / name
    if path.exists():
        kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step_of(line) <= step]
        path.write_text("".join(line + "\n" for line in kept), encoding="utf-8")


def _step_of(line: str) -> float:
    try:
        return float(json.loads(line)["step"])
    except (json.JSONDecodeError, KeyError):
        return float("inf")  # a half-written line


def write_curves(scratch: Path, out: Path) -> None:
    """`curves.csv` from the log, without timings: a published file is a function of its inputs only."""
    import csv

    records = [json.loads(line) for line in (scratch / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    columns = [name for name in (records[0] if records else {}) if "second" not in name]
    with (out / "curves.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, columns, extrasaction="ignore")
        writer.writeheader()
        writer.writerows(records)
