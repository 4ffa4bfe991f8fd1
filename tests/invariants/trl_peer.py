"""TRL's side of the gradient parity test: its GRPOTrainer on given rollouts. Runs in .venv-trl.

    .venv-trl/bin/python -m tests.invariants.trl_peer FOLDER

FOLDER has `policy/` and `reference/` (plain Transformers folders), pictures, and `rollouts.json`: settings by name,
each with prompts, completions, options, reward components, their weights, log-probs and ε. Only sampling is replaced,
ε where a setting has another than TRL's, and the None at which TRL stops where a batch mixes prompts about images and
about none: tokenising, images, rewards, advantages, log-probs, loss and backward pass are TRL's. Each gradient is
written to `<name>.safetensors`, with the `log-probs` of the completions [S, C] and `ids` and `mask` of the rows [S, L].
"""

import json
import sys
import tempfile
import types
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from datasets import Dataset
from PIL import Image
from safetensors.torch import save_file
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoProcessor, TrainerCallback
from trl import GRPOConfig, GRPOTrainer

torch.set_num_threads(1)
TRL_EPSILON = 1e-4
SCORES = "_generate_and_score_completions"  # the method that makes advantages of rewards


class Given(GRPOTrainer):  # type: ignore[misc]
    """The trainer with completions that were sampled before."""

    given: dict[str, Any]
    ratios: bool  # whether the given log-probs are those of the policy before the update (else of the sampler)

    def _generate_single_turn(self, prompt_ids: Any, *_: Any, **__: Any) -> Any:
        asked = [list(map(int, ids)) for ids in prompt_ids]
        group = len(self.given["completions"][0])
        assert asked == [ids for ids in self.given["prompt_ids"] for _ in range(group)], "another prompt than ours"
        return _flat(self.given["completions"]), _flat(self.given["logps"])

    def _tokenize_prompts(self, prompts: Any) -> Any:
        ids, images, fields = super()._tokenize_prompts(prompts)
        # TRL 1.16 has None for a prompt about no image, which its processor refuses beside prompts about some.
        return ids, images and [shown or [] for shown in images], fields

    def _generate_and_score_completions(self, inputs: Any) -> Any:
        outputs = super()._generate_and_score_completions(inputs)
        if self.ratios:
            rows = [torch.tensor(logps) for logps in _flat(self.given["logps"])]
            outputs["old_per_token_logps"] = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        return outputs

    def _get_per_token_logps_and_entropies(self, model: Any, ids: Any, mask: Any, *given: Any, **named: Any) -> Any:
        found = super()._get_per_token_logps_and_entropies(model, ids, mask, *given, **named)
        if torch.is_grad_enabled():  # of the policy; TRL has shuffled the rows
            self.scored = {"log-probs": found[0].detach().clone(), "ids": ids.clone(), "mask": mask.clone()}
        return found


class Gradient(TrainerCallback):  # type: ignore[misc]
    """The gradient as it is when the optimizer is about to use it."""

    def on_pre_optimizer_step(self, *_: Any, model: Any = None, **__: Any) -> None:
        missing = [name for name, p in model.named_parameters() if p.grad is None]
        assert not missing, f"TRL gives no gradient to {', '.join(missing)}"
        self.found = {name: p.grad.clone() for name, p in model.named_parameters()}


def _flat(groups: list[list[Any]]) -> list[Any]:
    return [entry for group in groups for entry in group]


def _part(part: str | None) -> dict[str, str]:
    """Return a text, or the place of an image (None), as a part of a message."""
    return {"type": "image"} if part is None else {"type": "text", "text": part}


def rewards(given: dict[str, Any]) -> list[Any]:
    """One reward function per component; TRL calls each with all completions, group by group."""

    def component(i: int) -> Any:
        def reward(completions: list[Any], **_: Any) -> list[float]:
            values = [float(parts[i]) for parts in _flat(given["components"])]
            assert len(completions) == len(values)
            return values

        reward.__name__ = f"component_{i}"
        return reward

    return [component(i) for i in range(len(given["weights"]))]


def with_epsilon(method: types.FunctionType, epsilon: float) -> types.FunctionType:
    """TRL's method with another number where its code has ε beside the std."""
    constants = method.__code__.co_consts
    assert constants.count(TRL_EPSILON) == 1, "TRL's ε is not where it was"
    code = method.__code__.replace(co_consts=tuple(epsilon if c == TRL_EPSILON else c for c in constants))
    return types.FunctionType(code, method.__globals__, method.__name__, method.__defaults__, method.__closure__)


def gradient(folder: Path, given: dict[str, Any]) -> dict[str, torch.Tensor]:
    processor = AutoProcessor.from_pretrained(folder / "policy", padding_side="left")
    processor.image_processor = AutoImageProcessor.from_pretrained(folder / "policy", backend="pil")
    rows = [
        {
            "prompt": [{"role": "user", "content": [_part(part) for part in problem]}],
            "images": [Image.open(folder / image) for image in images],
        }
        for problem, images in zip(given["problems"], given["images"], strict=True)
    ]
    group, clock = len(given["completions"][0]), Gradient()
    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(
            out, max_steps=1, per_device_train_batch_size=len(rows) * group, num_generations=group, max_grad_norm=0.0,
            shuffle_dataset=False, reward_weights=given["weights"], max_completion_length=given["limit"],
            gradient_checkpointing=False, bf16=False, use_cpu=True, report_to=[], save_strategy="no",
            logging_steps=10**6, disable_tqdm=True, **given["options"],
        )  # fmt: skip
        policy = AutoModelForImageTextToText.from_pretrained(folder / "policy", attn_implementation="sdpa")
        trainer = Given(
            policy.double() if given["fp64"] else policy,
            rewards(given), args=config, train_dataset=Dataset.from_list(rows), processing_class=processor,
            callbacks=[clock],
        )  # fmt: skip
        if trainer.ref_model is not None:
            other = AutoModelForImageTextToText.from_pretrained(folder / "reference")
            trainer.accelerator.unwrap_model(trainer.ref_model).load_state_dict(other.state_dict())
        trainer.given, trainer.ratios = given, given["ratios"]
        trainer.use_vllm = not given["ratios"]  # the correction for a sampler that differs is TRL's for vLLM only
        with mock.patch.object(GRPOTrainer, SCORES, with_epsilon(getattr(GRPOTrainer, SCORES), given["epsilon"])):
            trainer.train()
    return clock.found | trainer.scored


def main(folder: Path) -> None:
    given = json.loads((folder / "rollouts.json").read_text())
    for name, setting in given["settings"].items():
        save_file(gradient(folder, given | setting), folder / f"{name}.safetensors")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
