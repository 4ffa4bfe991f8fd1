"""Memory of a rank and of a host by part and phase: every formula of the plan in one place.

Bytes. `N` weights, `M` trained weights, `R` ranks, `b` bytes of the engine's precision (4 or 2). Where a formula comes
from stands beside it; tests/training/planning/ holds the activations to what autograd really saves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from wethink.config.launch import Launch
from wethink.models.logprobs import LOGITS
from wethink.training.engine import deepspeed_config
from wethink.training.planning.devices import GIB, USABLE, Device
from wethink.training.planning.models import Counts, Shape
from wethink.training.planning.work import Work

PHASES = ("load", "learn", "sample")
ADAM = 8  # bytes of Adam's two moments, fp32
BUCKET = 500_000_000  # elements: DeepSpeed's reduce_bucket_size and stage 3's max_live_parameters are 5e8 and 1e9
LIVE = 1_000_000_000
PROCESS = 0.48e9  # interpreter and libraries of a rank on a CPU, about (imports alone: 0.45e9, measured)
CONTEXT = 1.5 * GIB  # CUDA context, NCCL, cuBLAS and flex attention's kernels of a rank (an estimate)
ASLEEP = 1.5 * GIB  # what a sleeping vLLM server keeps on its GPU: context and graphs (an estimate)
SCORES = 5.3  # copies of a chunk's fp32 logits alive at once while it is scored (`CompletionLogProbs._score`)
DRAWN = 28  # bytes a logit of a sampled token: logits, log-probs, their double, its cumulative sum (`_choose`)


@dataclass(frozen=True)
class Setup:
    """Settings that memory and time depend on."""

    shape: Shape
    counts: Counts
    work: Work
    device: Device
    stage: int  # of ZeRO
    width: int  # b
    overlap: bool  # of reduction and backward pass
    bucket: int  # elements
    offload_optimizer: bool
    offload_weights: bool
    ranks: int  # R
    here: int  # ranks on one host
    checkpointing: bool
    reference: bool  # a frozen copy for KL
    sampler: str  # in_process, vllm or vllm_url
    vllm_share: float


def setup_of(
    shape: Shape, counts: Counts, work: Work, device: Device, launch: Launch, kl: float, sampler: str
) -> Setup:
    """Collect what the formulas read from the parameters and the DeepSpeed file.

    Raises:
        UserError: the DeepSpeed file is unusable.
    """
    config = deepspeed_config(launch)
    zero: dict[str, Any] = config.get("zero_optimization", {})
    bf16 = bool(config.get("bf16", {}).get("enabled"))
    return Setup(
        shape=shape,
        counts=counts,
        work=work,
        device=device,
        stage=int(zero.get("stage", 0)),
        width=2 if bf16 else 4,
        overlap=bool(zero.get("overlap_comm")) and launch.device == "cuda",
        bucket=int(zero.get("reduce_bucket_size", BUCKET)),
        offload_optimizer="offload_optimizer" in zero,
        offload_weights="offload_param" in zero,
        ranks=work.ranks,
        here=launch.processes,
        checkpointing=work.optim.gradient_checkpointing,
        reference=work.stage == "grpo" and kl > 0 and work.optim.lora is None,
        sampler="none" if work.stage == "sft" else "vllm_url" if sampler == "vllm" and launch.vllm_url else sampler,
        vllm_share=launch.vllm_memory,
    )


# -- weights, gradients and optimizer (ZeRO, arXiv 1910.02054; DeepSpeed 0.19, runtime/zero/)


def weights(s: Setup) -> float:
    """Return b · N; ZeRO-3 keeps b · N / R and whole layers up to `max_live_parameters` while they are used."""
    if s.stage < 3:
        return s.width * s.counts.total
    own = 0 if s.offload_weights and not s.device.is_cpu else s.width * s.counts.total / s.ranks
    return own + (s.width * min(s.counts.total, LIVE) if s.ranks > 1 or s.offload_weights else 0)


def gradients(s: Setup) -> float:
    """Return b · M; from ZeRO-2 on b · M / R, on the host if the optimizer is offloaded."""
    if s.stage == 2 and s.offload_optimizer:
        return 0.0
    return s.width * s.counts.learned / (1 if s.stage < 2 else s.ranks)


def buckets(s: Setup) -> float:
    """Return ZeRO's buffers of `reduce_bucket_size`, two with `overlap_comm` up to stage 2 (`setup_buckets`).

    A GPU allocates them whole, however small the model; on a CPU only pages that are written count.
    """
    if s.stage == 0:
        return 0.0
    elements = min(s.bucket, s.counts.learned) if s.device.is_cpu else s.bucket
    return s.width * elements * (2 if s.overlap and s.stage < 3 else 1)


def optimizer(s: Setup) -> float:
    """fp32 master weights 4 · M / R (not with ZeRO-0) and Adam's moments 8 · M / R."""
    return (ADAM if s.stage == 0 else ADAM + 4) * s.counts.learned / (s.ranks if s.stage else 1)


def update(s: Setup) -> float:
    """Temporary tensors of an update: the flat fp32 gradient of a partition, and Adam's denominator."""
    share = 4 * s.counts.learned / (s.ranks if s.stage else 1)
    return share * ((1 if s.stage else 0) + 1)


# -- activations


def norm(s: Setup) -> float:
    """Bytes an element that an RMSNorm saves: its fp32 input, the normalised values, and its output."""
    return 4 + (4 if s.shape.family == "qwen3_5" else s.width) + s.width


def attention(s: Setup, spread: float) -> float:
    """Bytes a token that an attention layer saves between its norm and its residual sum.

    Queries, the result and its packed copy; keys and values, which the CPU path repeats for each completion (`spread`,
    keys per token); the log-sum of each head. Qwen3 norms each head; Qwen3.5 also gates the result.
    """
    shape, b = s.shape, s.width
    saved = b * (3 * shape.query + 2 * shape.key * spread) + 4 * shape.heads
    if shape.family != "qwen2_5_vl":
        saved += (norm(s) - b) * (shape.query + shape.key)
    if shape.family == "qwen3_5":
        saved += b * 2 * shape.query + (4 * shape.query if b == 4 else 0)
    return saved


def recurrence(s: Setup) -> float:
    """Bytes a token that a Gated DeltaNet layer saves: coefficients fitted to autograd's saved tensors (within 3 %).

    The delta rule computes in fp32, in chunks of 64 tokens.
    """
    shape, chunk = s.shape, 64
    if not shape.recurrent:
        return 0.0
    state = shape.state_key * shape.state_value / shape.state_heads / chunk
    conv, key, value, pair, head = (8.3, 43.4, 35.4, 20, 76) if s.width == 4 else (4.3, 27.0, 29.0, 20.5, 55)
    return (
        conv * shape.convolved
        + key * shape.state_key
        + value * shape.state_value
        + pair * shape.state_heads * chunk
        + head * shape.state_heads
        + 4.4 * state
    )


def layers(s: Setup, spread: float) -> tuple[float, float]:
    """Bytes a token that all decoder layers save, and that the largest one does."""
    shape = s.shape
    rest = 2 * norm(s) * shape.hidden + 4 * s.width * shape.inner
    attending = rest + attention(s, spread)
    recurrent = rest + recurrence(s)
    together = shape.attending * attending + shape.recurrent * recurrent
    return together, max(attending if shape.attending else 0.0, recurrent if shape.recurrent else 0.0)


def tower(s: Setup) -> tuple[float, float]:
    """Bytes a patch that the vision tower's blocks save, and that one of them does."""
    shape, b = s.shape, s.width
    attention_ = 6 * b * shape.vision_hidden + 4 * shape.vision_heads  # q, k after rotation; qkv; result and its copy
    if shape.family == "qwen2_5_vl":  # RMSNorm and a gated MLP
        block = 2 * (4 + 2 * b) * shape.vision_hidden + attention_ + 4 * b * shape.vision_inner
    else:  # LayerNorm and a plain MLP
        block = 4 * b * shape.vision_hidden + attention_ + 2 * b * shape.vision_inner
    return shape.vision_layers * block, block


def spread(s: Setup) -> float:
    """Keys and values that are saved per token: the CPU path repeats a prompt's for each of its completions."""
    work = s.work
    if not s.device.is_cpu or not work.shared or work.group == 1:
        return 1.0
    prompt, own = work.longest_prompt, work.group * work.longest_completion
    return (prompt + work.group * (prompt + work.longest_completion)) / (prompt + own)


def activations(s: Setup) -> dict[str, float]:
    """Bytes that the largest pass saves for its backward pass, by part.

    With checkpointing each layer keeps its input alone, and one layer's are computed again (arXiv 1604.06174). The
    backward pass of a layer holds gradients of about the size of its largest tensors.
    """
    work, shape, b = s.work, s.shape, s.width
    every, largest = layers(s, spread(s))
    blocks, block = tower(s)
    language = every
    if s.checkpointing:
        language = b * shape.hidden * shape.layers + largest
        blocks = b * shape.vision_hidden * shape.vision_layers + block
    if s.counts.trained["vision"] == 0 and not s.counts.trained["embeddings"]:
        blocks = 2 * block / (shape.vision_layers or 1)  # a frozen tower saves nothing
    backward = b * 2 * shape.inner + 2 * b * shape.hidden
    return {
        "activations, language": work.pass_tokens * (language + backward),
        "activations, vision": work.pass_patches * blocks,
        "logits": logits(s),
    }


def logits(s: Setup) -> float:
    """Chunks of `LOGITS` elements are scored one after the other; hidden states of all scored tokens stay."""
    scored, vocabulary = s.work.pass_scored, s.shape.vocabulary
    elements = min(scored * vocabulary, max(LOGITS, vocabulary))
    return SCORES * 4 * elements + (4 + 2 * s.width) * s.shape.hidden * scored


def cache(s: Setup) -> float:
    """KV cache of a rank's in-process sampler: prompts (read, then copied) and G rows of the longest completion each.

    Recurrent layers hold a state a row instead (arXiv 2412.06464), once more while it is replaced.
    """
    work, shape, b = s.work, s.shape, s.width
    rows = work.groups_a_pass * work.group
    keys = 2 * b * shape.key * shape.attending
    state = 4 * shape.state_key * shape.state_value / max(1, shape.state_heads) + 3 * b * shape.convolved
    prompts = 2 * work.groups_a_pass * work.longest_prompt * keys
    return prompts + rows * work.longest_completion * keys + 2 * rows * state * shape.recurrent


def prefill(s: Setup) -> float:
    """Largest temporary tensors while prompts are read: two of the MLP's width, and the tower's."""
    work = s.work
    return s.width * (
        work.groups_a_pass * work.longest_prompt * 4 * s.shape.inner + work.pass_patches * 6 * s.shape.vision_hidden
    )


# -- sums


def rank_memory(s: Setup) -> dict[str, dict[str, float]]:
    """Bytes on a rank's device, by phase and part. On a CPU that is the rank's process."""
    cpu, sampling = s.device.is_cpu, s.work.stage == "grpo"
    own = {
        "process" if cpu else "context": PROCESS if cpu else CONTEXT,
        "weights": weights(s),
        "reference": s.width * s.counts.total if s.reference else 0.0,
        "optimizer": optimizer(s) if cpu or not s.offload_optimizer else 0.0,
    }
    if s.stage == 3 and sampling:
        own["weights to sample from"] = float(s.width * s.counts.total)
    asleep = ASLEEP if s.sampler == "vllm" and not cpu else 0.0
    busy = activations(s)
    step = {"gradients": gradients(s), "reduce buckets": buckets(s)}
    step |= {"update": update(s)} if update(s) > sum(busy.values()) else busy
    phases = {"load": load(s, own), "learn": own | step | ({"vLLM, asleep": asleep} if asleep else {})}
    if sampling:
        parked = ("reference",) if s.sampler == "vllm" and not cpu else ()  # on the host meanwhile (`GpuSharing`)
        phases["sample"] = {part: size for part, size in own.items() if part not in parked} | sampler(s)
    return {phase: {part: size for part, size in parts.items() if size} for phase, parts in phases.items()}


def load(s: Setup, own: Mapping[str, float]) -> dict[str, float]:
    """Bytes while an engine is built: weights in its precision, then flat copies beside them (`load_policies`)."""
    kept = ("process", "reference") if s.device.is_cpu else ("context",)  # a GPU gets the reference later
    fixed = {part: own[part] for part in kept}
    loaded = float(s.width * s.counts.total)
    flat = s.width * s.counts.learned if s.stage in (1, 2) else 0.0
    if s.device.is_cpu:
        return fixed | {"weights": loaded, "flat copy": flat, "optimizer": 4.0 * s.counts.learned / s.ranks}
    return fixed | {"weights": loaded, "flat copy": flat}


def sampler(s: Setup) -> dict[str, float]:
    """Bytes of the engine that samples."""
    if s.sampler == "vllm" and s.device.is_cpu:  # fp32, with the least space for keys and values (generation/vllm.py)
        return {"vLLM": PROCESS + 4.0 * s.counts.total + GIB}
    if s.sampler == "vllm":  # its share is of the nominal memory
        return {"vLLM": s.vllm_share * s.device.memory / USABLE}
    if s.sampler == "vllm_url":
        return {}
    rows = s.work.groups_a_pass * s.work.group
    joined = s.width * s.counts.joined if s.device.is_cpu else 0.0
    return {
        "KV cache": cache(s),
        "joined projections": joined,
        "logits": DRAWN * rows * s.shape.vocabulary,
        "prefill": prefill(s),
    }


def host_memory(s: Setup) -> dict[str, float]:
    """Bytes of one host's memory, all its ranks together, at its peak."""
    if s.device.is_cpu:
        return {}
    n = s.counts.total
    found = {"processes": s.here * PROCESS, "weights as loaded": float(s.here * s.width * n)}
    if s.offload_optimizer:
        found["optimizer"] = s.here * (optimizer(s) + s.width * s.counts.learned / s.ranks)
    if s.reference:
        found["reference"] = float(s.here * s.width * n)
    if s.offload_weights:
        found["weights"] = s.here * s.width * n / s.ranks
    if s.sampler == "vllm":  # level 1 of vLLM's sleep keeps its weights on the host
        found["vLLM, asleep"] = s.here * 2.0 * n
    if s.stage == 3 and s.work.stage == "grpo":
        found["gathered weights"] = s.here * s.width * n
    return found


def total(parts: Mapping[str, float]) -> float:
    return sum(parts.values())
