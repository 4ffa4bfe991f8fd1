"""Weights in memory: whole for another process, gone with the process that wrote them, and nothing on the disk."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from tests.support.miniature import policy, processor
from wethink.config.params import load_params
from wethink.generation import memory_files, vllm

ROOT = Path(__file__).resolve().parents[2]
TENSORS = {f"layer {i}": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3) + i for i in range(5)}


def read(folder: Path) -> dict[str, torch.Tensor]:
    return {name: value for path in sorted(folder.glob("*.safetensors")) for name, value in load_file(path).items()}


def test_another_process_reads_what_was_written_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory_files, "GROUP", 30)  # bytes: two tensors a file
    before = len(os.listdir("/proc/self/fd"))
    held = memory_files.write(TENSORS, tmp_path)
    links = sorted(tmp_path.iterdir())
    assert len(links) == 3 and all(path.is_symlink() for path in links)
    found = read(tmp_path)
    assert found.keys() == TENSORS.keys() and all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)
    count = "import sys; print(sum(len(open(path, 'rb').read()) for path in sys.argv[1:]))"
    told = subprocess.run([sys.executable, "-c", count, *map(str, links)], capture_output=True, text=True, check=True)
    assert int(told.stdout) == sum(os.fstat(one).st_size for one in held) > 0
    memory_files.release(held)
    assert not held and len(os.listdir("/proc/self/fd")) == before
    with pytest.raises(OSError, match="No such file"):
        links[0].read_bytes()


def test_a_writer_that_is_killed_leaves_no_memory(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfd = os.memfd_create('w'); os.write(fd, b'x' * 100)\n"
        "os.symlink(f'/proc/{os.getpid()}/fd/{fd}', sys.argv[1]); print('written', flush=True); sys.stdin.read()\n"
    )
    link = tmp_path / "model.safetensors"
    command = [sys.executable, "-c", script, str(link)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None and child.stdout.readline() == "written\n"
        assert link.read_bytes() == b"x" * 100
        child.kill()
        child.wait()
        assert not link.exists()


@pytest.mark.parametrize(
    ("room", "url", "linked"), [(True, None, True), (False, None, False), (True, "http://h", False)]
)
def test_an_own_server_reads_weights_from_memory_where_there_is_room_and_a_far_one_from_the_disk(
    room: bool, url: str | None, linked: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, dict[str, torch.Tensor]]] = []

    class Stub:
        version, url = "0", None

        def __init__(self, folder: Path, *_: Any) -> None:
            self.load(folder)

        def load(self, folder: Path) -> None:
            seen.append((all(path.is_symlink() for path in folder.glob("*.safetensors")), read(folder)))

    monkeypatch.setattr(vllm, "Server", Stub)
    monkeypatch.setattr(memory_files, "fits", lambda tensors: room)
    launch = load_params(ROOT / "profiles/tiny.yaml").launch.model_copy(update={"vllm_url": url})
    sampler = vllm.Vllm(processor(), launch, tmp_path, torch.device("cpu"))
    model, before = policy()[0], len(os.listdir("/proc/self/fd"))
    for step in range(3):
        with torch.no_grad():
            model.lm_head.weight.add_(1.0)  # type: ignore[operator, union-attr]
        sampler.sync(model, step)
        were, tensors = seen[-1]
        assert were == linked
        own = dict(model.named_parameters())
        assert all(torch.equal(tensors[name], own[name]) for name in own)
    assert not list(tmp_path.iterdir()) and len(os.listdir("/proc/self/fd")) == before


def test_weights_that_take_more_than_half_of_the_free_memory_go_to_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    size = sum(tensor.nbytes for tensor in TENSORS.values())
    for free, fits in ((2 * size, False), (2 * size + 1, True)):
        about = type("Memory", (), {"available": free})
        monkeypatch.setattr(memory_files.psutil, "virtual_memory", lambda about=about: about)
        assert memory_files.fits(TENSORS) == fits
