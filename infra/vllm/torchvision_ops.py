"""Declare torchvision's two compiled operators, so that its CUDA build imports beside a CPU build of PyTorch.

vLLM and Transformers' AutoProcessor want torchvision's transforms only. `make vllm-check` puts this file into
.venv-vllm with a .pth line that imports it in every process; it does nothing where torchvision works as it is.
"""

import importlib.util

if importlib.util.find_spec("torchvision") is not None:
    import torch

    if not torch.backends.cuda.is_built():
        _library = torch.library.Library("torchvision", "DEF")
        _library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        _library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
