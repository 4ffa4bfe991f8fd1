"""Samplers behind one interface, in this process or through vLLM, and the answers of a published checkpoint."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import torch
import transformers

from wethink.common.paths import WORK
from wethink.config.launch import Launch
from wethink.generation.agreement import refuse_another_policy
from wethink.generation.in_process import sample, uniforms
from wethink.generation.responses import Asked, Completion, Decoding, Response, encode
from wethink.models.batching import Images, Prompt, micro_batches
from wethink.models.policy import Processor, load_model, load_processor

Engine = Literal["in_process", "vllm"]
ROWS = 64  # questions in one pass of the sampler in this process


class Sampler(Protocol):
    """Inference engine that samples completions with the synced weights."""

    processor: Processor
    dtype: torch.dtype  # of the synced weights
    versions: dict[str, str]  # of the software that samples

    def sync(self, model: Any, step: int) -> None:
        """Load the policy's weights as they are after `step` updates.

        Every rank calls it: before the first question of a run, resumed or not, and after every update.
        """

    def sample(
        self, asked: Sequence[Asked], images: Images, decoding: Decoding, prompts: Sequence[Prompt] | None = None
    ) -> Iterator[list[Completion]]:
        """Yield the completions of each question, in order.

        `prompts` are the questions as the trainer has encoded them, if it has.
        """

    def close(self) -> None:
        """Release the engine's processes and memory."""


class InProcess:
    """Sampler that runs the policy itself: exact, without copying weights."""

    def __init__(self, processor: Processor, device: torch.device, rows: int = ROWS, tokens: int | None = None) -> None:
        """Keep the settings; a pass has at most `rows` questions, or, of encoded ones, at most `tokens` tokens."""
        self.processor, self.device, self.rows, self.tokens = processor, device, rows, tokens
        self.versions = {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__}
        self.model: Any = None

    def sync(self, model: Any, step: int) -> None:
        self.model, self.dtype = model, next(model.parameters()).dtype

    def sample(
        self, asked: Sequence[Asked], images: Images, decoding: Decoding, prompts: Sequence[Prompt] | None = None
    ) -> Iterator[list[Completion]]:
        limit, group = decoding.max_new_tokens, decoding.samples
        for cut in self._passes(asked, decoding, prompts):
            part = [asked[i] for i in cut]
            seen = [prompts[i] for i in cut] if prompts else encode(part, images, self.processor)
            draws = None
            if decoding.temperature > 0:  # [B·G, max_new_tokens]
                draws = np.concatenate([uniforms(decoding.seed, one.step, one.draw, group, limit) for one in part])
            trains = self.model.training
            self.model.eval()
            try:
                found = sample(self.model, self.processor, seen, draws, limit, decoding.temperature, group, self.device)
            finally:
                self.model.train(trains)
            yield from found

    def _passes(self, asked: Sequence[Asked], decoding: Decoding, prompts: Sequence[Prompt] | None) -> list[range]:
        if prompts is None:
            return [range(i, min(i + self.rows, len(asked))) for i in range(0, len(asked), self.rows)]
        if self.tokens is None:
            return [range(len(prompts))]
        most = [len(prompt.ids) + decoding.samples * decoding.max_new_tokens for prompt in prompts]
        return micro_batches(most, self.tokens)

    def close(self) -> None:
        self.model = None


def answers(sampler: Sampler, asked: Sequence[Asked], images: Images, decoding: Decoding) -> Iterator[list[Response]]:
    """Yield the policy's responses to each question, in order, while others are still being sampled."""
    for group in sampler.sample(asked, images, decoding):
        yield [Response(sampler.processor.decode(one.ids), len(one.ids)) for one in group]


def open_sampler(
    engine: Engine,
    processor: Processor,
    launch: Launch,
    scratch: Path,
    device: torch.device,
    images: int = 1,
    rows: int = ROWS,
    tokens: int | None = None,
    colocated: bool = False,
    first: bool = True,
    meet: Callable[[], None] = lambda: None,
) -> Sampler:
    """Create a sampler.

    Args:
        images: the largest number of images that a question has.
        rows, tokens: as in `InProcess`.
        colocated: a trainer needs the GPU's memory between the calls.
        first: this is the rank that writes the weights, if there are several.
        meet: a barrier of all ranks.
    """
    if engine == "vllm":
        from wethink.generation.vllm import Vllm

        return Vllm(processor, launch, scratch, device, images, colocated, first, meet)
    return InProcess(processor, device, rows, tokens)


@contextmanager
def published(
    folder: Path, engine: Engine, launch: Launch, images: int = 1, rows: int = ROWS, index: int = 0
) -> Iterator[Sampler]:
    """Yield a sampler of a published checkpoint, in the precision in which its weights are stored.

    `index` is the GPU, and `images` the largest number of images that a question has. vLLM must agree with the
    checkpoint's log-probs before it is asked anything.

    Raises:
        UserError: the checkpoint cannot be used, or vLLM cannot, or does not sample from this checkpoint.
    """
    if launch.device == "cpu":
        torch.set_num_threads(launch.threads)
    device = torch.device("cuda", index) if launch.device == "cuda" else torch.device("cpu")
    model, processor = load_model(folder, dtype=None).to(device).eval(), load_processor(folder)
    with (
        tempfile.TemporaryDirectory(prefix="weights-", dir=WORK if WORK.is_dir() else None) as scratch,
        closing(open_sampler(engine, processor, launch, Path(scratch), device, images, rows)) as sampler,
    ):
        if launch.vllm_url:  # the server may run as another user, and see no more than the project's folder
            Path(scratch).chmod(0o755)
        sampler.sync(model, 0)
        if engine == "vllm":
            refuse_another_policy(sampler, model, str(folder))
            del model
        yield sampler
