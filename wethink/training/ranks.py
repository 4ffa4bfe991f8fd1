"""Ranks of a training stage: joining, reductions, barriers and per-step seeds."""

import atexit
import os
import socket
import time
import warnings
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from wethink.common.errors import UserError
from wethink.common.processes import is_terminated
from wethink.config.launch import Launch
from wethink.training.cpp_extensions import EXTENSIONS
from wethink.training.launch import MEETING, free_port
from wethink.training.slurm import JOB_STEP
from wethink.training.stopping import listen

if TYPE_CHECKING:
    import torch

PATIENCE = timedelta(minutes=45)  # timeout of collectives: longer than the longest request (30 minutes, to vLLM)
MEETING_PATIENCE = timedelta(minutes=5)  # for all hosts to come to the ranks' meeting


@dataclass(frozen=True)
class Ranks:
    """Rank, world size and device of the current process."""

    rank: int
    world: int
    device: "torch.device"

    @property
    def first(self) -> bool:
        return self.rank == 0


def is_first_rank() -> bool:
    """Tell whether this is rank 0, also before `join`."""
    return os.environ.get("RANK", "0") == "0"


def join(launch: Launch) -> Ranks:
    """Join the launcher's process group, or form a group of one.

    Raises:
        UserError: launch.device is cuda and this machine has no GPU, or fewer than launch.processes.
    """
    import torch

    listen()
    # DeepSpeed calls collectives by names that PyTorch 2.13 has renamed; a user cannot act on the warning.
    warnings.filterwarnings("ignore", category=FutureWarning, module="torch.distributed")
    if launch.device == "cuda" and not torch.cuda.is_available():
        raise UserError(
            "launch.device is 'cuda' but this machine has no usable GPU; use the tiny profile "
            "(`python -m wethink profile tiny`) or run on a machine with GPUs."
        )
    if launch.device == "cuda" and launch.processes > torch.cuda.device_count() and not launch.hostfile:
        raise UserError(
            f"launch.processes is {launch.processes} but this machine has {torch.cuda.device_count()} GPUs; lower it, "
            "or name a hostfile (launch.hostfile) for several machines."
        )
    os.environ.setdefault("DS_ACCELERATOR", launch.device)
    os.environ.setdefault("TORCH_EXTENSIONS_DIR", str(EXTENSIONS.resolve()))
    launched = "RANK" in os.environ
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
        backend = "nccl" if launch.device == "cuda" else "gloo"
        _meet(backend, launched, launch)
        deepspeed.init_distributed(backend, timeout=PATIENCE, verbose=False)
    index = int(os.environ["LOCAL_RANK"])
    device = torch.device("cuda", index) if launch.device == "cuda" else torch.device("cpu")
    return Ranks(int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"]), device)


def _meet(backend: str, launched: bool, launch: Launch) -> None:
    """Join PyTorch's process group; listen on loopback, or, with several hosts, on this host's address among them.

    PyTorch's TCP store would listen on every interface, so ranks of one machine rendezvous through a file
    (`launch.MEETING`), and those of several hosts at a socket that the first rank binds itself.
    """
    import psutil
    import torch.distributed
    from torch._C._distributed_c10d import FileStore, HashStore, Store, TCPStore

    store: Store | None = None
    rank, world = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    far = launched and (launch.hostfile is not None or JOB_STEP in os.environ)
    address = _own_address(os.environ["MASTER_ADDR"]) if far else "127.0.0.1"
    interfaces = psutil.net_if_addrs().items()
    own = [name for name, found in interfaces if any(one.address == address for one in found)]
    os.environ.setdefault("GLOO_SOCKET_IFNAME", own[0] if own else "lo")
    if far:
        os.environ.setdefault("NCCL_SOCKET_IFNAME", os.environ["GLOO_SOCKET_IFNAME"])
        place = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        door = socket.create_server(place, backlog=world).detach() if rank == 0 else None
        store = TCPStore(*place, world, rank == 0, timeout=MEETING_PATIENCE, master_listen_fd=door)
    elif not launched:
        store = HashStore()
    elif MEETING in os.environ:
        store = FileStore(os.environ[MEETING], world)
    torch.distributed.init_process_group(backend, timeout=PATIENCE, store=store, rank=rank, world_size=world)
    if backend == "gloo":
        # Each rank connects to all others by itself. One that leaves at once, since it has nothing to do or refuses its
        # input, would break the connection of a rank that is still connecting, and hide its own sentence.
        torch.distributed.barrier()
    # A worker thread of gloo that asks for the GIL while the interpreter ends aborts the process (code 250), after all
    # work is done. Leaving the group joins those threads.
    atexit.register(_leave)


def _own_address(other: str) -> str:
    """Return this host's address on the way to another; nothing is sent."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect((other, 9))
        return str(probe.getsockname()[0])


def _leave() -> None:
    import torch.distributed

    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def all_sum(value: "torch.Tensor") -> "torch.Tensor":
    """Sum over ranks, in place."""
    import deepspeed

    deepspeed.comm.all_reduce(value)
    return value


def all_max(value: int, ranks: Ranks) -> int:
    """Return the largest of one number per rank."""
    return max(int(found) for found in gather_objects(value, ranks))


def stop_requested(ranks: Ranks) -> bool:
    """Return on every rank whether SIGTERM has come to any of them; a collective call."""
    return bool(all_max(int(is_terminated()), ranks))


def cost_clock(ranks: Ranks) -> float:
    """Return this rank's clock, s: CPU time on a CPU, wall time on a GPU.

    CPU time does not depend on other load on the machine.
    """
    return time.process_time() if ranks.device.type == "cpu" else time.perf_counter()


def gather_objects(value: Any, ranks: Ranks) -> list[Any]:
    """Gather a small Python object from every rank, in rank order, on all ranks."""
    import torch.distributed

    found: list[Any] = [None] * ranks.world
    torch.distributed.all_gather_object(found, value)
    return found


def barrier() -> None:
    import deepspeed

    deepspeed.comm.barrier()


def seed_step(seed: int, step: int, ranks: Ranks) -> None:
    """Seed this rank's generator for one step (adapter dropout).

    No generator state has to be saved.
    """
    import torch

    torch.manual_seed(seed * 1_000_003 + step * 1_009 + ranks.rank)
