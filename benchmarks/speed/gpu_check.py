"""`make gpu-check`: ten-minute numerical check of the training code on this device and torch version.

    python -m benchmarks.speed.gpu_check [--device cpu|cuda]

Needs torch, transformers, numpy and DeepSpeed, and no network. Checks compare two computations of one number, so a
wrong kernel on this device is found. Prints a table and writes reports/gpu_check.json; docs/hardware.md lists results.
On a CPU it runs the CPU's code paths and prints that they prove nothing about a GPU.
"""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.speed.workload import TEXT, picture, question
from wethink.config.params import load_params
from wethink.config.training import Family, Optim, TinyModel
from wethink.generation.in_process import sample, uniforms
from wethink.models import logprobs
from wethink.models.batching import Prompt, collate, encode_prompts, pack
from wethink.models.chat_prompts import chat_template
from wethink.models.families.known import use_fast_paths
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor
from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words

os.environ.setdefault("HF_HUB_OFFLINE", "1")

ROOT = Path(__file__).resolve().parents[2]
FAMILIES: tuple[Family, ...] = ("qwen2_5_vl", "qwen3_vl")
SHAPE = TinyModel(
    hidden_size=256,
    num_hidden_layers=4,
    num_attention_heads=4,
    num_key_value_heads=2,
    intermediate_size=512,
    vision_depth=2,
    vision_hidden_size=64,
    initializer_range=0.05,
)  # head size 64: flex attention's kernels need at least 16
LARGE = SHAPE.model_copy(
    update={
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "intermediate_size": 3072,
        "vision_hidden_size": 256,
    }
)
GROUP = 4
TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 6e-2}  # of the largest gradient; CUDA sums in another order


class Pictures:
    def open(self, image: str) -> Any:
        return picture(int(image))


def policy(shape: TinyModel, device: torch.device, dtype: torch.dtype) -> tuple[Any, Processor]:
    tokenizer = build_tokenizer(words([TEXT, "think then answer"]))
    tokenizer.chat_template = chat_template("think then answer")
    processor = Processor(tokenizer, build_image_processor(84 if shape.family == "qwen2_5_vl" else 96, shape.family))
    model = build_model(shape, tokenizer, 0)
    use_fast_paths(model)
    return model.to(device, dtype).eval(), processor  # type: ignore[arg-type]


def prompts_of(processor: Processor, count: int, length: int = 20) -> list[Prompt]:
    return encode_prompts(
        [question(i, length + i % 5) for i in range(count)], [str(i % 3) for i in range(count)], Pictures(), processor
    )


def written(count: int, length: int = 12) -> list[list[int]]:
    return [[30 + (7 * i + 3 * j) % 20 for j in range(1 + (5 * i) % length)] for i in range(count)]


def gradient(model: Any, processor: Processor, batch: Any, device: torch.device) -> dict[str, torch.Tensor]:
    model.zero_grad()
    logps, _ = CompletionLogProbs(model, processor.banned)(batch.to(device), 0.7)
    (logps * torch.linspace(-1, 1, len(logps), device=device)).sum().backward()
    return {name: p.grad.float().clone() for name, p in model.named_parameters() if p.grad is not None}


def worst(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """Return the largest gradient difference, relative to its tensor's maximum."""
    return max(float((one[n] - other[n]).abs().max() / one[n].abs().max().clamp(min=1e-12)) for n in one)


def shared_prefix(family: Family, dtype: torch.dtype, device: torch.device) -> tuple[bool, str]:
    """Compare gradients: packed with shared prefix, packed without, and padded.

    The padded batch runs through the stock attention.
    """
    model, processor = policy(SHAPE.model_copy(update={"family": family}), device, dtype)
    asked, texts = prompts_of(processor, 5), written(5 * GROUP)
    shared = gradient(model, processor, pack(asked, texts, GROUP), device)
    apart = gradient(model, processor, pack(asked, texts, GROUP, shared=False), device)
    padded = gradient(model, processor, collate(asked, texts, processor.tokenizer.pad_token_id, GROUP), device)
    found = max(worst(padded, shared), worst(padded, apart))
    return found <= TOLERANCE[dtype], f"largest difference {found:.1e}, bound {TOLERANCE[dtype]:g}"


def chunked_logits(family: Family, dtype: torch.dtype, device: torch.device) -> tuple[bool, str]:
    model, processor = policy(SHAPE.model_copy(update={"family": family}), device, dtype)
    batch = pack(prompts_of(processor, 4), written(4 * GROUP), GROUP)
    whole, limit = gradient(model, processor, batch, device), logprobs.LOGITS
    logprobs.LOGITS = 64 * 10
    try:
        found = worst(whole, gradient(model, processor, batch, device))
    finally:
        logprobs.LOGITS = limit
    return found <= TOLERANCE[dtype], f"largest difference {found:.1e}, bound {TOLERANCE[dtype]:g}"


def sampler(family: Family, dtype: torch.dtype, device: torch.device) -> tuple[bool, str]:
    """Compare the sampler's log-probs with a forward pass over its completions."""
    model, processor = policy(SHAPE.model_copy(update={"family": family}), device, dtype)
    asked = prompts_of(processor, 6)
    draws = np.concatenate([uniforms(0, 0, str(i), GROUP, 24) for i in range(len(asked))])
    completions = [c for group in sample(model, processor, asked, draws, 24, 0.8, GROUP, device) for c in group]
    with torch.no_grad():
        batch = pack(asked, [c.ids for c in completions], GROUP).to(device)
        ours, _ = CompletionLogProbs(model, processor.banned)(batch, 0.8)
    found = (ours.cpu() - torch.tensor([logp for c in completions for logp in c.logps])).abs()
    bound = 1e-3 if dtype == torch.float32 else 0.05
    return float(found.mean()) <= bound, f"mean |Δlogp| {float(found.mean()):.1e}, bound {bound:g}"


def learning(family: Family, dtype: torch.dtype, device: torch.device) -> tuple[bool, str]:
    """Check that the loss falls in eight DeepSpeed steps on one batch."""
    from wethink.training.engine import build_engine, optimizer_step
    from wethink.training.ranks import join

    path = "infra/deepspeed/zero2_bf16.json" if dtype == torch.bfloat16 else "infra/deepspeed/zero1_fp32.json"
    launch = load_params(ROOT / "profiles/tiny.yaml").launch.model_copy(
        update={"device": device.type, "deepspeed": str(ROOT / path), "processes": 1}
    )
    join(launch)
    model, processor = policy(SHAPE.model_copy(update={"family": family}), device, torch.float32)
    optim = Optim(lr=2e-3, max_steps=8, train_batch_size=1, warmup_ratio=0.0, lr_scheduler_type="constant")
    engine = build_engine(CompletionLogProbs(model.train(), processor.banned), optim, launch)
    batch, losses = pack(prompts_of(processor, 4), written(4 * GROUP), GROUP).to(device), []
    if dtype == torch.bfloat16:
        batch = dataclasses.replace(batch, pixels=batch.pixels.to(dtype))
    for step in range(optim.max_steps):
        loss = -engine(batch)[0].mean()
        engine.backward(loss)
        optimizer_step(engine, optim, step)
        losses.append(float(loss.detach()))
    return losses[-1] < losses[0] - 0.1, f"loss {losses[0]:.3f} → {losses[-1]:.3f}"


def large(dtype: torch.dtype, device: torch.device) -> tuple[bool, str]:
    """Time a step of a 0.4 B model on a GPU.

    Prompts have 1,000 tokens, completions 256; G = 8.
    """
    model, processor = policy(LARGE.model_copy(update={"family": "qwen3_vl"}), device, dtype)
    model.model.language_model.config.max_position_embeddings = 4096
    asked = prompts_of(processor, 4, 1000)
    texts = [[30 + (7 * i + 3 * j) % 20 for j in range(256)] for i in range(32)]
    seconds, peaks = [], []
    for shared in (True, False):
        batch = pack(asked, texts, 8, shared=shared)
        gradient(model, processor, batch, device)  # warm up: compiles the kernels
        torch.cuda.reset_peak_memory_stats()
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(3):
            gradient(model, processor, batch, device)
        torch.cuda.synchronize()
        seconds.append((time.perf_counter() - begun) / 3)
        peaks.append(torch.cuda.max_memory_allocated() / 2**30)
    return True, (
        f"forward and backward {seconds[0]:.2f} s shared, {seconds[1]:.2f} s apart ({seconds[1] / seconds[0]:.2f}x); "
        f"peak {peaks[0]:.1f} and {peaks[1]:.1f} GiB"
    )


def checks(device: torch.device, dtypes: Sequence[torch.dtype]) -> list[tuple[str, Callable[[], tuple[bool, str]]]]:
    found: list[tuple[str, Callable[[], tuple[bool, str]]]] = []
    for dtype in dtypes:
        for family in FAMILIES:
            label = f"{family}, {str(dtype).removeprefix('torch.')}"
            for check in (shared_prefix, chunked_logits, sampler, learning):
                found.append(
                    (f"{check.__name__} ({label})", lambda c=check, f=family, d=dtype: c(f, d, device))  # type: ignore[misc]
                )
    if device.type == "cuda":
        found.append(("large (0.4 B, bfloat16)", lambda: large(torch.bfloat16, device)))
    return found


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.gpu_check", description=__doc__)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(parser.parse_args().device)
    name = torch.cuda.get_device_name() if device.type == "cuda" else "CPU"
    print(f"{name}; torch {torch.__version__}, Python {sys.version.split()[0]}")
    if device.type == "cpu":
        print("no GPU here: these are the CPU's code paths and prove nothing about a GPU")
    torch.backends.cuda.matmul.allow_tf32 = False
    rows = []
    for label, check in checks(device, (torch.float32, torch.bfloat16)):
        begun = time.perf_counter()
        try:
            passed, note = check()
        except Exception as error:  # a failed check does not stop the others
            passed, note = False, f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
        seconds = time.perf_counter() - begun
        rows.append({"name": label, "passed": passed, "note": note, "seconds": round(seconds, 1)})
        print(f"{'ok  ' if passed else 'FAIL'} {label:38} {seconds:6.1f} s  {note}", flush=True)
    report = ROOT / "reports/gpu_check.json"
    report.parent.mkdir(exist_ok=True)
    facts = {"device": name, "torch": torch.__version__, "python": sys.version.split()[0], "checks": rows}
    report.write_text(json.dumps(facts, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0 if all(row["passed"] for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
