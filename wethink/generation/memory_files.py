"""Weight files in anonymous memory, which another process of this machine reads without a disk."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil
from torch import Tensor

GROUP = 1 << 30  # bytes of tensors in a file: what is held twice while it is written


def fits(tensors: Mapping[str, Tensor]) -> bool:
    """Tell whether half of the memory that is free holds the tensors."""
    return bool(2 * sum(tensor.nbytes for tensor in tensors.values()) < psutil.virtual_memory().available)


def write(tensors: Mapping[str, Tensor], folder: Path) -> list[int]:
    """Write safetensors files to memory and link them in `folder`; return their descriptors.

    The memory is free again once the descriptors are closed, or this process has ended in whatever way, and no reader
    maps them. The links can be opened by processes of this user.
    """
    from safetensors.torch import save

    descriptors: list[int] = []
    try:
        for number, group in enumerate(_groups(tensors), 1):
            descriptors.append(os.memfd_create("wethink-weights"))
            with os.fdopen(descriptors[-1], "wb", closefd=False) as file:
                file.write(save({name: value.detach().cpu().contiguous() for name, value in group.items()}))
            link = folder / f"model-{number:05d}.safetensors"
            link.symlink_to(f"/proc/{os.getpid()}/fd/{descriptors[-1]}")
    except BaseException:
        release(descriptors)
        raise
    return descriptors


def release(descriptors: list[int]) -> None:
    """Close the files; call it once every reader has read them."""
    while descriptors:
        os.close(descriptors.pop())


def _groups(tensors: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    group, size = dict[str, Tensor](), 0
    for name, tensor in tensors.items():
        if group and size + tensor.nbytes > GROUP:
            yield group
            group, size = {}, 0
        group[name] = tensor
        size += tensor.nbytes
    if group:
        yield group
