"""Devices that a plan can be made for: memory, peak rates and bandwidths from data sheets, or a measured CPU core."""

import statistics
import time
from dataclasses import dataclass

from wethink.common.errors import UserError

GIB = 2**30


@dataclass(frozen=True)
class Device:
    """GPU, or CPU core with its share of the host's memory."""

    name: str
    memory: float  # bytes that a process can use
    bf16: float  # FLOP/s of dense matrix products (GPUs: tensor cores, without sparsity)
    fp32: float  # FLOP/s of dense matrix products; GPUs: TF32 off, as PyTorch's default
    bandwidth: float  # bytes/s of memory
    link: float  # bytes/s between two devices of one host, one direction
    source: str
    is_cpu: bool = False


# Data sheets: memory in GB, dense bf16 and fp32 TFLOP/s, GB/s of memory, GB/s of a link in one direction.
_SHEETS = {
    "h200": (141, 989, 67, 4800, 450, "NVIDIA H200 SXM data sheet"),
    "h100": (80, 989, 67, 3350, 450, "NVIDIA H100 SXM data sheet"),
    "a100": (80, 312, 19.5, 2039, 300, "NVIDIA A100 SXM 80 GB data sheet"),
    "a100-40": (40, 312, 19.5, 1555, 300, "NVIDIA A100 SXM 40 GB data sheet"),
    "l40s": (48, 362, 91.6, 864, 32, "NVIDIA L40S data sheet"),
    "l20": (48, 119.5, 59.8, 864, 32, "NVIDIA L20 data sheet"),
    "l4": (24, 121, 30.3, 300, 32, "NVIDIA L4 data sheet"),
    "a10g": (24, 70, 31.2, 600, 32, "AWS EC2 G5, NVIDIA A10G data sheet"),
    "rtx4090": (24, 165, 82.6, 1008, 32, "NVIDIA Ada architecture white paper"),
    "rtx3090": (24, 71, 35.6, 936, 32, "NVIDIA GA102 architecture white paper"),
}
USABLE = 0.98  # of a GPU's nominal GiB: the driver keeps the rest (79.1 of 80 GiB on an H100)
GLOO = 3e8  # bytes/s, in processor time, that a rank sends to another through gloo on loopback (fitted to one run)


def device_named(name: str) -> Device:
    """Look up a device, or measure a core of this machine (`cpu`).

    Raises:
        UserError: the device is not in the table.
    """
    if name == "cpu":
        return calibrate()
    if name not in _SHEETS:
        raise UserError(f"--device: there is no '{name}' in the table; known are: cpu, {', '.join(_SHEETS)}.")
    memory, bf16, fp32, bandwidth, link, source = _SHEETS[name]
    nominal = memory * (GIB if memory != 141 else 1e9)
    return Device(name, USABLE * nominal, bf16 * 1e12, fp32 * 1e12, bandwidth * 1e9, link * 1e9, source)


def calibrate(seconds: float = 0.4) -> Device:
    """Measure one core of this machine: rates of matrix products and of copies, in processor seconds."""
    import psutil
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        fp32, bf16 = (_product_rate(dtype, seconds) for dtype in (torch.float32, torch.bfloat16))
        bandwidth = _copy_rate(seconds)
    finally:
        torch.set_num_threads(threads)
    memory = float(psutil.virtual_memory().total)
    return Device("cpu", memory, bf16, fp32, bandwidth, GLOO, "measured on one core of this machine", True)


def _product_rate(dtype: "object", seconds: float) -> float:
    """Return the FLOP/s of a product [512, 512] × [512, 1536], a shape of small models' layers."""
    import torch

    left = torch.randn(512, 512).to(dtype)  # type: ignore[call-overload]
    right = torch.randn(512, 1536).to(dtype)  # type: ignore[call-overload]
    left @ right
    return 2.0 * 512 * 512 * 1536 / _median(lambda: left @ right, seconds)


def _copy_rate(seconds: float) -> float:
    """Return the bytes/s, read and written, of an element-wise product that allocates its result (64 MiB).

    Training allocates anew, and the first write to a page costs several times the copy itself.
    """
    import torch

    values = torch.ones(2**24)
    return 2 * 2**26 / _median(lambda: values * 2.0, seconds)


def _median(work: "object", seconds: float) -> float:
    """Return the median processor seconds of a call, over calls of `seconds` together: as a step meets the machine."""
    took: list[float] = []
    while sum(took) < seconds:
        begun = time.process_time()
        work()  # type: ignore[operator]
        took.append(max(time.process_time() - begun, 1e-6))
    return statistics.median(took)
