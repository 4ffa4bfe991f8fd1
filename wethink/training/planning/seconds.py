"""Time of a step by part, from floating-point operations and moved bytes of one rank.

A part takes its matrix products at the device's rate plus its element-wise traffic at the bandwidth plus a constant for
each kernel. Rates of GPUs are a share of the data sheet's peak; a CPU core's are measured.
"""

from dataclasses import dataclass

from wethink.models.logprobs import LOGITS
from wethink.training.planning.memory import Setup, layers, spread, tower
from wethink.training.planning.work import Work

PARTS = ("images", "sampling", "sync", "reference", "learning", "update")
PRODUCTS = 0.65  # of a GPU's peak FLOP/s that large matrix products reach; with the traffic below MFU is about 0.4
STREAMS = 0.8  # of a GPU's bandwidth that element-wise kernels reach
KERNEL = {
    True: 25e-6,
    False: 8e-6,
}  # s of Python and launch a kernel, on a CPU (fitted to runs) and a GPU (an estimate)
KERNELS = 40  # of a decoder layer's forward pass; its backward pass has about twice as many
# Bytes that a forward pass moves for each byte that it saves, on a CPU (fitted to runs) and a GPU (an estimate from the
# element-wise operations of a layer); a backward pass twice as many.
MOVED = {True: 1.5, False: 2.6}
SCORED = {True: 140, False: 60}  # bytes a logit that scoring moves forward and backward, likewise
SAMPLED = {True: 90, False: 56}  # bytes a logit of a sampled token, likewise
TENSOR = {True: 6e-4, False: 5e-5}  # s a tensor and update that DeepSpeed spends in Python (GPU: a guess)
ADAM_MOVED = 60  # bytes a weight that clipping and Adam move
DISK = 1.5e9  # bytes/s of writing a checkpoint (an estimate for a local NVMe disk)
CACHED = 8e9  # bytes/s at which all servers of a host read it back together (an estimate)
WAKE = 2.0  # s in which a vLLM server wakes, resets its caches and sleeps again (an estimate)
DECODE = 3e-3  # s of scheduling and sampling of a vLLM step beside its model (an estimate)
PIXELS = 0.065e-6  # s a pixel of Qwen's image processor on one CPU core (one measurement, 1 and 4 megapixels)
PNG = 0.2e-6  # s a pixel of encoding for vLLM, on 8 threads of a rank
SLOW = 0.25  # of a CPU core's rate that products of few rows (decoding) reach


@dataclass(frozen=True)
class Operations:
    """Floating-point operations of one forward pass over a rank's tokens of a step."""

    language: float
    adapters: float
    mixing: float  # attention and recurrence
    head: float
    vision: float


def operations(s: Setup) -> Operations:
    """Count 2 · weights · tokens for products (arXiv 2001.08361), and attention's by the lengths."""
    work, counts, shape = s.work, s.counts, s.shape
    window = min(shape.vision_window or work.patches, work.patches) if work.patches else 0
    whole = work.patches
    seen = shape.vision_whole * whole + (shape.vision_layers - shape.vision_whole) * window
    patches = work.prompts * work.patches
    return Operations(
        language=2.0 * counts.language * work.tokens,
        adapters=2.0 * counts.adapters * work.tokens,
        mixing=work.prompts * (attended(work) * 4 * shape.query * shape.attending)
        + 2.0 * recurred(s) * work.tokens * shape.recurrent,
        head=2.0 * counts.head * work.scored,
        vision=2.0 * counts.vision * patches
        + 2.0 * counts.merger * patches / shape.merge**2
        + 4.0 * shape.vision_hidden * seen * patches,
    )


def attended(work: Work) -> float:
    """Pairs of query and key of a prompt and its completions, causal."""
    p, c = work.prompt, work.completion
    if work.shared:
        return p * p / 2 + work.group * c * (p + c / 2)
    return work.group * (p + c) ** 2 / 2


def recurred(s: Setup) -> float:
    """Multiplications a token of a Gated DeltaNet layer in chunks of 64 (arXiv 2412.06464, section 3.3)."""
    shape, chunk = s.shape, 64
    if not shape.recurrent:
        return 0.0
    state = shape.state_key * shape.state_value / shape.state_heads
    return chunk * (3 * shape.state_key + 2 * shape.state_value) + chunk**2 * shape.state_heads + 3 * state


def rate(s: Setup) -> float:
    """FLOP/s of large products."""
    peak = s.device.bf16 if s.width == 2 else s.device.fp32
    return peak * (1 if s.device.is_cpu else PRODUCTS)


def bandwidth(s: Setup) -> float:
    return s.device.bandwidth * (1 if s.device.is_cpu else STREAMS)


def learning(s: Setup) -> float:
    """Seconds of forward and backward passes; frozen weights take no gradient of their own."""
    o, work, shape = operations(s), s.work, s.shape
    again = 1 if s.checkpointing else 0
    trained = s.counts.trained
    language = 3 if trained["language"] else 2  # LoRA: the input's gradient alone
    vision = 3 + again if trained["vision"] else 1
    chunked = work.pass_scored * shape.vocabulary > LOGITS
    flops = (
        (language + again) * o.language
        + (3 + again) * (o.adapters + o.mixing)
        + ((3 if trained["head"] or trained["embeddings"] else 2) + chunked) * o.head
        + vision * o.vision
    )
    saved = work.tokens * layers(s, spread(s))[0]
    patches = work.prompts * work.patches * tower(s)[0]
    cpu = s.device.is_cpu
    moved = MOVED[cpu] * ((3 + again) * saved + vision * patches) + SCORED[cpu] * work.scored * shape.vocabulary
    moved += gradients_moved(s) * work_passes(work)
    sent = reduced(s) * work_passes(work) if s.stage >= 2 else 0.0
    return flops / rate(s) + moved / bandwidth(s) + sent / s.device.link + launches(s) * (3 + again)


def gradients_moved(s: Setup) -> float:
    """Bytes that a pass moves for gradients: written, copied to ZeRO's bucket, from ZeRO-2 on copied to a partition."""
    copies = 2 + (2 if s.stage >= 1 else 0) + (1 if s.stage >= 2 else 0)
    return float(copies * s.width * s.counts.learned)


def reduced(s: Setup) -> float:
    """Bytes that a rank sends to reduce all gradients once (ring all-reduce)."""
    return 2.0 * s.width * s.counts.learned * (s.ranks - 1) / s.ranks


def launches(s: Setup) -> float:
    """Seconds of Python and kernel launches of a step's forward passes."""
    passes = max(1.0, work_passes(s.work))
    return passes * KERNELS * (s.shape.layers + s.shape.vision_layers) * KERNEL[s.device.is_cpu]


def work_passes(work: Work) -> float:
    groups = max(1.0, work.groups_a_pass)
    return work.prompts / groups


def reference(s: Setup) -> float:
    """Seconds of forward passes without gradients: the reference of KL, and old log-probs of several updates."""
    o, work, shape = operations(s), s.work, s.shape
    flops = o.language + o.adapters + o.mixing + o.head + o.vision
    saved = work.tokens * layers(s, spread(s))[0] + work.prompts * work.patches * tower(s)[0]
    moved = MOVED[s.device.is_cpu] * saved + SCORED[s.device.is_cpu] / 2 * work.scored * shape.vocabulary
    return work.references * (flops / rate(s) + moved / bandwidth(s) + launches(s))


def optimizing(s: Setup) -> float:
    """Seconds of reducing, clipping and updating; offloaded, Adam runs on the host at a CPU's bandwidth."""
    work = s.work
    share = s.counts.learned / (s.ranks if s.stage else 1)
    stream = 20e9 if s.offload_optimizer and not s.device.is_cpu else bandwidth(s)
    sent = (reduced(s) if s.stage < 2 else 0.0) + (reduced(s) / 2 if 1 <= s.stage < 3 else 0.0)  # weights come back
    if s.stage == 3:  # weights are gathered forward, backward, and with checkpointing once more
        gathers = (2 + s.checkpointing) * work_passes(work) * s.width * s.counts.total
        sent += gathers * (s.ranks - 1) / s.ranks
    return (
        work.updates * (ADAM_MOVED * share / stream + s.counts.tensors * TENSOR[s.device.is_cpu]) + sent / s.device.link
    )


def images(s: Setup) -> float:
    """Seconds of reading images in a rank's process; a sampler behind HTTP gets them as PNG files."""
    pixels = s.work.prompts * s.work.patches * s.shape.patch**2
    return pixels * (PIXELS + (PNG / 8 if s.sampler.startswith("vllm") else 0.0))


def sampling(s: Setup) -> float:
    """Seconds of reading prompts and decoding, a token for each row at a time.

    A step reads all weights once and each row's keys and values; rows leave as they finish, so that the mean row gives
    the number of full steps, and the longest one those of a tail with few rows.
    """
    work, shape, counts, o = s.work, s.shape, s.counts, operations(s)
    if work.stage == "sft":
        return 0.0
    rows, trunk = work.prompts * work.group, work.prompts * work.prompt
    read = 2.0 * counts.language * trunk + work.prompts * work.prompt**2 * 2 * shape.query * shape.attending + o.vision
    saved = trunk * layers(s, 1.0)[0] + work.prompts * work.patches * tower(s)[0]
    seconds = read / rate(s) + MOVED[s.device.is_cpu] * saved / bandwidth(s) + launches(s)
    batches = 1.0 if s.sampler.startswith("vllm") else max(1.0, work.prompts / work.groups_a_pass)
    width = 4 if s.width == 4 else 2
    model = width * (counts.language + counts.adapters + counts.head)
    keys = width * 2 * shape.key * shape.attending * (work.prompt + work.completion / 2)
    state = 3 * 4 * shape.state_key * shape.state_value / max(1, shape.state_heads) * shape.recurrent
    flops = 2.0 * (counts.language + counts.adapters + counts.head) * rows / batches
    slow = rate(s) * (SLOW if s.device.is_cpu else 1)
    step = max(flops / slow, model / bandwidth(s)) + rows / batches * (keys + state) / bandwidth(s)
    if s.sampler.startswith("vllm"):
        tail = model / bandwidth(s) + DECODE
        steps = work.completion * (step + DECODE) + max(0.0, work.longest_completion - work.completion) * tail
    else:
        draw = rows / batches * shape.vocabulary * SAMPLED[s.device.is_cpu] / bandwidth(s)
        steps = batches * work.completion * (step + draw + KERNELS * shape.layers * KERNEL[s.device.is_cpu])
    return seconds + steps


def syncing(s: Setup) -> float:
    """Seconds of handing the weights to vLLM: written by rank 0, read by every server, through a folder."""
    if not s.sampler.startswith("vllm"):
        return 0.0
    size = s.width * s.counts.total
    return size / DISK + s.here * size / CACHED + WAKE


def step_seconds(s: Setup) -> dict[str, float]:
    """Seconds of one step by part."""
    found = {
        "images": images(s),
        "sampling": sampling(s),
        "sync": syncing(s),
        "reference": reference(s),
        "learning": learning(s),
        "update": optimizing(s),
    }
    return {part: found[part] for part in PARTS}
