"""Forked multi-rank worlds, so that DeepSpeed and PyTorch are imported once, not per rank and law."""

import contextlib
import os
import pickle
import signal
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import deepspeed.runtime.zero.muon.muon_optimizer  # DeepSpeed's engine imports it, and with it PyTorch's compiler
import deepspeed.runtime.zero.stage3
import deepspeed.runtime.zero.stage_1_and_2  # noqa: F401 - imported before forking: half a minute in each rank otherwise
import psutil
import torch

from wethink.training.launch import free_port

torch.set_num_threads(1)


class Hang(AssertionError):
    """A world whose ranks wait for each other: none of them computes."""


class Crash(AssertionError):
    """A rank ended with something else than a broken assertion; its message is the traceback."""


def in_world(world: int, work: Callable[..., Any], *arguments: Any, idle: float = 30.0) -> list[Any]:
    """`work(*arguments)` on every rank of a gloo world; what each returned, in rank order.

    Raises:
        Hang: the ranks have used next to nothing of the processor for `idle` seconds; all of them are killed. Ranks
            that wait for each other use less than a hundredth (threads that look whether there is something to do),
            those on a busy machine more, however long they then take.
        AssertionError: a rank found something untrue; the message says what.
        Crash: a rank raised anything else, or was killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        children = start_world(world, work, *arguments, folder=Path(folder))
        try:
            running, spent, moved = dict(enumerate(children)), 0.0, time.monotonic()
            while running:
                for rank, child in list(running.items()):
                    pid, status = os.waitpid(child, os.WNOHANG)
                    if pid:
                        del running[rank]
                        spent = 0.0  # of those that are left
                        path = Path(folder, str(rank))
                        killed = f"killed by signal {os.WTERMSIG(status)}" if os.WIFSIGNALED(status) else "no answer"
                        ok, value = pickle.loads(path.read_bytes()) if path.exists() else (False, (killed, True))
                        if not ok:
                            message, crashed = value
                            raise (Crash if crashed else AssertionError)(f"rank {rank}: {message}")
                if (now := _processor_seconds(running.values())) >= spent + 0.01 * idle:
                    spent, moved = now, time.monotonic()
                if time.monotonic() > moved + idle:
                    raise Hang(f"ranks {sorted(running)} of {world} have not computed for {idle:.0f} s")
                time.sleep(0.02)
        finally:
            end(children)
        return [pickle.loads(Path(folder, str(rank)).read_bytes())[1] for rank in range(world)]


def _processor_seconds(children: Iterable[int]) -> float:
    total = 0.0
    for child in children:
        with contextlib.suppress(psutil.NoSuchProcess):
            times = psutil.Process(child).cpu_times()
            total += times.user + times.system
    return total


def start_world(world: int, work: Callable[..., Any], *arguments: Any, folder: Path) -> list[int]:
    """Fork the ranks and return their process ids; each leaves (ok, value) in `folder/<rank>`; the value
    of one that is not ok is (traceback, whether that was no broken assertion)."""
    assert not torch.distributed.is_initialized(), "an earlier test has left this process in a group of ranks"
    port = free_port()
    children = []
    for rank in range(world):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                os.environ |= {
                    "RANK": str(rank),
                    "LOCAL_RANK": str(rank),
                    "WORLD_SIZE": str(world),
                    "MASTER_ADDR": "127.0.0.1",
                    "MASTER_PORT": str(port),
                }
                with (
                    open(os.devnull, "w") as quiet,
                    contextlib.redirect_stderr(quiet),
                    contextlib.redirect_stdout(quiet),
                ):
                    answer = (True, work(*arguments))
                code = 0
            except BaseException as error:
                answer = (False, (traceback.format_exc(), not isinstance(error, AssertionError)))
            with contextlib.suppress(BaseException):
                (folder / str(rank)).write_bytes(pickle.dumps(answer))
            os._exit(code)
        children.append(child)
    return children


def end(children: list[int]) -> None:
    for child in children:
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
