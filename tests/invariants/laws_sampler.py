"""Parity of the in-process sampler: tokens of `model.generate`, log-probs of the training pass."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch

from tests.invariants.invariant import Law, hold, planted
from tests.support.miniature import TEXT, NoiseImages, mixed_prompts, policy, taught
from wethink.generation.in_process import sample
from wethink.generation.responses import Asked, Decoding
from wethink.generation.sampler import InProcess
from wethink.models.batching import Packed, Prompt, collate, encode_prompts, pack_prompts
from wethink.models.logprobs import CompletionLogProbs

COUNT, LENGTH, TIE = 200, 12, 1e-5


def _policies(mutant: str) -> tuple[torch.nn.Module, torch.nn.Module]:
    """The policy, and the one that samples: the same, or the mutant with weights one step old."""
    (state, _), (model, _), (other, _) = taught(), policy(), policy()
    model.load_state_dict(state)
    other.load_state_dict(state)
    if mutant:
        with torch.no_grad():
            for parameter in other.parameters():
                parameter.mul_(0.97)
    return model, other


def _prompts(count: int):  # type: ignore[no-untyped-def]
    _, made = taught()
    words = TEXT.split()
    questions = [" ".join(words[i % 11 : i % 11 + 2 + i % 6]) for i in range(count)]
    return made, encode_prompts(questions, [f"picture {i % 50}" for i in range(count)], NoiseImages(), made)


def greedy_as_generate(mutant: str) -> None:
    made, prompts = _prompts(COUNT)
    model, sampling = _policies(mutant)
    ours = [c for (c,) in sample(sampling, made, prompts, None, LENGTH, 0.0)]
    ties = 0
    for begin in range(0, COUNT, 50):
        part = prompts[begin : begin + 50]
        batch = collate(part, None, made.tokenizer.pad_token_id)
        with torch.no_grad():
            out = model.generate(  # type: ignore[operator]
                input_ids=batch.ids,
                attention_mask=batch.mask,
                pixel_values=batch.pixels,
                image_grid_thw=batch.grids,
                mm_token_type_ids=(batch.ids == made.image_token_id).long(),
                max_new_tokens=LENGTH,
                do_sample=False,
                suppress_tokens=made.banned,
                eos_token_id=list(made.stop_ids),
                output_logits=True,
                return_dict_in_generate=True,
            )
        written = out.sequences[:, batch.ids.shape[1] :]
        for i, completion in enumerate(ours[begin : begin + 50]):
            theirs = written[i, : len(completion.ids)].tolist()
            for t, (a, b) in enumerate(zip(completion.ids, theirs, strict=True)):
                if a != b:
                    top = out.logits[t][i].topk(2).values
                    hold(float(top[0] - top[1]) < TIE, f"prompt {begin + i}, token {t}: {a} instead of {b}")
                    ties += 1
                    break


def logps_as_teacher_forced(mutant: str) -> None:
    made, prompts = _prompts(40)
    model, sampling = _policies(mutant)
    draws = np.random.default_rng(0).random((80, LENGTH))
    groups = sample(sampling, made, prompts, draws, LENGTH, 0.8, 2)
    completions = [c for group in groups for c in group]
    batch = collate(prompts, [c.ids for c in completions], made.tokenizer.pad_token_id, 2)
    with torch.no_grad():
        forced, _ = CompletionLogProbs(model, made.banned)(batch, 0.8)
    sampled = torch.tensor([logp for c in completions for logp in c.logps])
    hold((forced - sampled).abs().max() <= 1e-4, f"off by {float((forced - sampled).abs().max()):.1e}")


def mixed_as_alone(mutant: str) -> None:
    """Prompts about 0, 1, 2 and 5 images in one batch get the tokens and log-probs that each gets alone."""
    made = taught()[1]
    model, _ = _policies("")
    prompts = mixed_prompts(made, 8)
    draws = np.random.default_rng(0).random((16, LENGTH))
    alone = [sample(model, made, [p], draws[2 * i : 2 * i + 2], LENGTH, 1.0, 2)[0] for i, p in enumerate(prompts)]
    with planted(mutant, "wethink.generation.in_process.pack_prompts", _in_another_order):
        found = sample(model, made, prompts, draws, LENGTH, 1.0, 2)
    for place, (ours, theirs) in enumerate(zip(found, alone, strict=True)):
        hold([c.ids for c in ours] == [c.ids for c in theirs], f"prompt {place}: other tokens")
        apart = max(
            abs(a - b) for c, d in zip(ours, theirs, strict=True) for a, b in zip(c.logps, d.logps, strict=True)
        )
        hold(apart <= 1e-4, f"prompt {place}: log-probs are off by {apart:.1e}")


def _in_another_order(prompts: Sequence[Prompt]) -> Packed:
    """Pack prompts with the defect that each place shows the picture of the next one."""
    packed = pack_prompts(prompts)
    return replace(packed, image_of=packed.image_of.roll(1)) if len(prompts) > 1 else packed


def written_in_passes_as_at_once(mutant: str) -> None:
    made, prompts = _prompts(12)
    model, _ = _policies(False)
    asked, stream, found = [Asked("", (), str(i)) for i in range(12)], np.random.default_rng(0), []
    with planted(mutant, "wethink.generation.sampler.uniforms", lambda *given: stream.random((4, LENGTH))):
        for budget in (None, 200):  # tokens: three prompts or so a pass
            sampler = InProcess(made, torch.device("cpu"), tokens=budget)
            sampler.sync(model, 0)
            groups = sampler.sample(asked, NoiseImages(), Decoding(LENGTH, 1.0, samples=4), prompts)
            found.append([[completion.ids for completion in group] for group in groups])
    hold(found[0] == found[1], "other samples under a token budget")


LAWS = [
    Law(f"greedy sampler = model.generate over {COUNT} prompts with images", greedy_as_generate, "weights 3 % smaller"),
    Law(
        "what is sampled does not depend on tokens a pass", written_in_passes_as_at_once, "draws from one stream", True
    ),
    Law(
        "prompts about 0, 1, 2 and 5 images: in one batch as alone", mixed_as_alone, "each sees the next picture", True
    ),
    Law("sampled log-probs = teacher-forced ones (fp32, 1e-4)", logps_as_teacher_forced, "weights 3 % smaller", True),
]
