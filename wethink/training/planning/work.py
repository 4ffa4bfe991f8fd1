"""The work of one optimizer step: tokens, patches and passes of a rank, from params.yaml and assumed lengths."""

import math
from dataclasses import dataclass
from typing import Literal

from wethink.config.params import Params
from wethink.config.training import Optim
from wethink.training.planning.models import Shape

Stage = Literal["sft", "grpo"]
CHARACTERS = 4  # of English text a token (Qwen's and others' rule of thumb)
FRAME = 120  # tokens of the system prompt and the turns' headers
PHOTO = 1024 * 768  # pixels, where no size is given
TEXT, PATH = 80, 400  # tokens of a question and of a reasoning path with its answer, where none is given
DRAWN_TEXT, DRAWN_PATH = 30, 40  # the same of the drawn images' rows, in whole words; their frame is in the text
USED = 0.3  # of max_completion_length that a mean response fills (an assumption of ours)


@dataclass(frozen=True)
class Lengths:
    """Lengths that no configuration holds; None: an assumption that the plan names."""

    text: int | None = None  # tokens of a question, without image and frame
    completion: int | None = None  # mean tokens of a response
    longest: int | None = None  # tokens of the longest response of SFT
    pixels: int | None = None  # of an image
    images: int = 1  # of a question


@dataclass(frozen=True)
class Work:
    """A rank's part of one optimizer step, in tokens. Means are for time, longest values for memory."""

    stage: Stage
    optim: Optim
    ranks: int
    group: int  # completions of a prompt
    shared: bool  # a prompt is computed once for its completions
    prompts: float  # of a rank and step
    prompt: float  # tokens, image tokens among them
    completion: float
    image_tokens: float  # of a prompt
    patches: float  # of a prompt
    longest_prompt: int
    longest_completion: int
    longest_patches: int
    references: int  # passes of a reference, and of old log-probs, over the same tokens
    updates: int  # optimizer updates a step

    @property
    def tokens(self) -> float:
        """Tokens that a rank learns from in a step, prompts included."""
        return self.prompts * self._group_tokens(self.prompt, self.completion)

    @property
    def scored(self) -> float:
        return self.prompts * self.group * self.completion

    @property
    def longest_group(self) -> int:
        return math.ceil(self._group_tokens(self.longest_prompt, self.longest_completion))

    def _group_tokens(self, prompt: float, completion: float) -> float:
        return prompt * (1 if self.shared else self.group) + self.group * completion

    @property
    def groups_a_pass(self) -> float:
        """Prompts with their completions in the largest pass."""
        mine = max(1.0, math.ceil(self.prompts))
        budget = self.optim.max_token_len_per_gpu if self.stage == "grpo" else None
        most = budget / self.longest_group if budget else self.optim.micro_batch_size / self.group
        return min(mine, max(1.0, most))

    @property
    def pass_tokens(self) -> int:
        """Tokens of the largest pass."""
        return math.ceil(self.groups_a_pass * self.longest_group)

    @property
    def pass_scored(self) -> int:
        return math.ceil(self.groups_a_pass * self.group * self.longest_completion)

    @property
    def pass_patches(self) -> int:
        return math.ceil(self.groups_a_pass * self.longest_patches)

    @property
    def passes(self) -> float:
        """Passes of a rank in a step, on average."""
        return max(1.0, self.tokens / max(1.0, self.pass_tokens))


def is_drawn(params: Params) -> bool:
    return all(source.kind == "drawn" for source in params.ingest.sources)


def image_size(params: Params, lengths: Lengths) -> tuple[int, int]:
    """Return pixels of a mean and of the largest image."""
    if is_drawn(params):
        drawn = lengths.pixels or params.draw.image_size**2
        return drawn, drawn
    mean = min(lengths.pixels or PHOTO, params.ingest.max_pixels)
    return mean, max(mean, params.ingest.max_pixels)


def patches_of(pixels: int, shape: Shape) -> int:
    """Return the patches of an image: a whole number of image tokens, merge² patches each."""
    token = (shape.patch * shape.merge) ** 2
    return max(1, math.ceil(pixels / token)) * shape.merge**2


def work_of(params: Params, shape: Shape, stage: Stage, lengths: Lengths) -> Work:
    """Derive a stage's step from the parameters and lengths.

    The longest prompt and completion are those that the configuration admits: rows beyond the context are dropped.
    """
    optim = params.sft.optim if stage == "sft" else params.grpo.optim
    grpo, launch, drawn = params.grpo, params.launch, is_drawn(params)
    mean, largest = (patches_of(pixels, shape) * lengths.images for pixels in image_size(params, lengths))
    text = lengths.text if lengths.text is not None else DRAWN_TEXT if drawn else TEXT
    frame = 0 if drawn else FRAME
    merged = shape.merge**2
    prompt = frame + text + mean / merged
    if stage == "grpo":
        limit = launch.vllm_context if grpo.sampler == "vllm" else shape.context
        longest_completion = grpo.max_completion_length
        completion = lengths.completion or (round(USED * longest_completion) if not drawn else DRAWN_PATH)
        completion = min(completion, longest_completion)
    else:
        limit = shape.context
        completion = lengths.completion or (DRAWN_PATH if drawn else PATH)
        own = completion if drawn else params.validate_.max_cot_chars // CHARACTERS
        longest_completion = max(completion, min(lengths.longest or own, limit // 2))
    longest_text = text if drawn else max(text, params.validate_.max_problem_chars // CHARACTERS)
    room = max(int(prompt), limit - longest_completion)
    longest_prompt = min(frame + longest_text + largest // merged, room)
    return Work(
        stage=stage,
        optim=optim,
        ranks=launch.processes,
        group=grpo.num_generations if stage == "grpo" else 1,
        shared=stage == "grpo" and grpo.shared_prefix,
        prompts=optim.train_batch_size / launch.processes,
        prompt=prompt,
        completion=completion,
        image_tokens=mean / merged,
        patches=mean,
        longest_prompt=longest_prompt,
        longest_completion=longest_completion,
        longest_patches=min(largest, longest_prompt * merged),
        references=(grpo.kl_coef > 0) + (grpo.steps_per_generation > 1) if stage == "grpo" else 0,
        updates=grpo.steps_per_generation if stage == "grpo" else 1,
    )


def assumptions(params: Params, lengths: Lengths) -> list[str]:
    """List what no configuration holds and no argument gave, for people."""
    drawn, found = is_drawn(params), []
    if lengths.text is None:
        found.append(f"{DRAWN_TEXT if drawn else TEXT} tokens of a question (--text)")
    if lengths.pixels is None and not drawn:
        found.append("images of 1024 × 768 pixels (--image)")
    if lengths.completion is None:
        mean = (
            f"{DRAWN_PATH} tokens"
            if drawn
            else f"{PATH} tokens in SFT, {USED:.0%} of grpo.max_completion_length in GRPO"
        )
        found.append(f"a mean response of {mean} (--completion)")
    if lengths.longest is None and not drawn:
        found.append("the longest target text of SFT: validate.max_cot_chars at four characters a token (--longest)")
    if params.base.model == "tiny":
        found.append("a vocabulary of 512 words, as the rows that give it are not read")
    return found
