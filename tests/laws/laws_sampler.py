"""The in-process sampler writes what `model.generate` writes, and its log-probs are those of the learning pass."""

import numpy as np
import torch

from tests.laws.law import Law
from tests.miniature import TEXT, NoiseImages, policy, taught
from wethink.batching import collate, encode_prompts
from wethink.models.logprobs import CompletionLogProbs
from wethink.rl.rollout import sample

COUNT, LENGTH, TIE = 200, 12, 1e-5


def _policies(mutant: bool) -> tuple[torch.nn.Module, torch.nn.Module]:
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


def greedy_as_generate(mutant: bool) -> None:
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
                    assert float(top[0] - top[1]) < TIE, f"prompt {begin + i}, token {t}: {a} instead of {b}"
                    ties += 1
                    break


def logps_as_teacher_forced(mutant: bool) -> None:
    made, prompts = _prompts(40)
    model, sampling = _policies(mutant)
    draws = np.random.default_rng(0).random((80, LENGTH))
    groups = sample(sampling, made, prompts, draws, LENGTH, 0.8, 2)
    completions = [c for group in groups for c in group]
    batch = collate(prompts, [c.ids for c in completions], made.tokenizer.pad_token_id, 2)
    with torch.no_grad():
        forced, _ = CompletionLogProbs(model, made.banned)(batch, 0.8)
    sampled = torch.tensor([logp for c in completions for logp in c.logps])
    assert (forced - sampled).abs().max() <= 1e-4


LAWS = [
    Law(f"greedy sampler = model.generate over {COUNT} prompts with images", greedy_as_generate, "weights 3 % smaller"),
    Law("sampled log-probs = teacher-forced ones (fp32, 1e-4)", logps_as_teacher_forced, "weights 3 % smaller", True),
]
