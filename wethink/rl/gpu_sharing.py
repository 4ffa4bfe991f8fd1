"""GPU memory between trainer and engine: while vLLM samples, the reference waits on the CPU and the cache is empty."""

from itertools import chain

import torch
from torch import nn


class GpuSharing:
    """Places of the frozen reference, and the allocator's cache, in the two phases of a step.

    Where no engine shares the GPU, the reference is moved there once, and both phases change nothing.
    """

    def __init__(self, reference: nn.Module | None, device: torch.device, is_shared: bool) -> None:
        self.device, self.is_shared = device, is_shared
        if reference is not None and not is_shared:
            reference.to(device)
        # Frozen, so the CPU's copy stays true: parking copies nothing. It is a mapped file, once per machine, where the
        # checkpoint has the engine's precision.
        tensors = chain(reference.parameters(), reference.buffers()) if reference is not None and is_shared else ()
        self._home = [(tensor, tensor.data) for tensor in tensors]

    def learn(self) -> None:
        """Bring the reference to the GPU."""
        for tensor, home in self._home:
            tensor.data = home.to(self.device, copy=True)

    def sample(self) -> None:
        """Leave the GPU's memory to the engine, before it wakes: it takes what PyTorch holds, used or not."""
        for tensor, home in self._home:
            tensor.data = home
        if self.is_shared:
            torch.cuda.empty_cache()
