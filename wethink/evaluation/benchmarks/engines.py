"""Benchmark engines: their protocol, and the in-process engine of a checkpoint folder.

The other engine is wethink/evaluation/benchmarks/endpoint_engine.py. Both get the same text and pixels: run.py has
decoded every image and scaled it down to the pixel budget. A failed call returns a reply with a fault, never an
exception: its item is unknown, and the run goes on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from wethink.common.errors import UserError
from wethink.common.jsonl import file_sha256

if TYPE_CHECKING:
    from PIL import Image

System = Literal["own", "none", "wethink"]  # the chat template's own prompt, none at all, or ours sent explicitly


@dataclass(frozen=True)
class Query:
    """One call: the user's turn as text and images in order.

    `draw` names the random draw: equal names and samples draw alike.
    """

    draw: str
    pieces: tuple["str | Image.Image", ...]
    temperature: float
    sample: int
    system: System = "own"

    @property
    def pictures(self) -> list["Image.Image"]:
        return [piece for piece in self.pieces if not isinstance(piece, str)]

    @property
    def text(self) -> str:
        return "".join(piece for piece in self.pieces if isinstance(piece, str))


@dataclass(frozen=True)
class Reply:
    """A response, or the fault that prevented it."""

    text: str
    tokens: int | None
    fault: str | None = None


class Engine(Protocol):
    """Inference engine that benchmarks call."""

    def describe(self, system: System) -> dict[str, Any]:
        """Describe model, engine, versions, pixel budget and system prompt.

        Two numbers are comparable only if these are equal.
        """

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        """Return one reply per query, in order."""

    def close(self) -> None:
        """Release memory and connections."""


class InProcess:
    """Engine of a checkpoint folder, with the sampler that trained it."""

    def __init__(self, folder: Path, max_new_tokens: int, seed: int, device: str = "cpu", threads: int = 1) -> None:
        """Load the checkpoint.

        Raises:
            UserError: the folder is no checkpoint.
        """
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} is no checkpoint folder (no config.json) and no http(s):// endpoint.")
        import torch

        from wethink.models.policy import load_model, load_processor, read_prompt

        if device == "cpu":
            torch.set_num_threads(threads)
        self._folder, self._seed, self._limit = folder, seed, max_new_tokens
        self._device = torch.device(device)
        self._model, self._processor = load_model(folder).to(self._device).eval(), load_processor(folder)
        self._systems: dict[System, str | None] = {
            "own": None,
            "none": "",
            "wethink": read_prompt("system_wethink.txt"),
        }

    def describe(self, system: System) -> dict[str, Any]:
        import torch
        import transformers

        weights = sorted(self._folder.glob("*.safetensors"))
        template = str(self._processor.tokenizer.chat_template or "")
        return {
            "engine": "in-process",
            "model": [file_sha256(path)[:16] for path in weights],
            "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
            "image_processor": {
                key: getattr(self._processor.image_processor, key, None) for key in ("patch_size", "merge_size")
            }
            | {"size": dict(self._processor.image_processor.size)},
            "system": template if system == "own" else self._systems[system],
            "dtype": str(next(self._model.parameters()).dtype),
        }

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        usable: list[int] = []
        for place, query in enumerate(queries):
            if len(query.pictures) != 1:
                replies[place] = Reply(
                    "", None, f"{len(query.pictures)} images; the in-process engine reads exactly one"
                )
            elif "<|" in query.text:
                replies[place] = Reply("", None, "the question holds a reserved token")
            else:
                usable.append(place)
        for greedy in (True, False):
            chosen = [place for place in usable if (queries[place].temperature == 0) == greedy]
            if chosen:
                replies |= dict(zip(chosen, self._sample([queries[place] for place in chosen]), strict=True))
        return [replies[place] for place in range(len(queries))]

    def _sample(self, queries: Sequence[Query]) -> list[Reply]:
        import numpy as np

        from wethink.generation.in_process import sample, uniforms
        from wethink.models.batching import encode_prompts

        shown = {str(place): query.pictures[0] for place, query in enumerate(queries)}
        prompts = encode_prompts(
            [query.text for query in queries],
            list(shown),
            _Given(shown),
            self._processor,
            [self._systems[query.system] for query in queries],
        )
        temperature = queries[0].temperature
        draws = None
        if temperature > 0:
            draws = np.concatenate([uniforms(self._seed, q.sample, q.draw, 1, self._limit) for q in queries])
        found = sample(self._model, self._processor, prompts, draws, self._limit, temperature, 1, self._device)
        return [Reply(self._processor.decode(one.ids), len(one.ids)) for (one,) in found]

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _Given:
    """Image source over images in memory, for `encode_prompts`."""

    pictures: dict[str, "Image.Image"]

    def open(self, image: str) -> "Image.Image":
        return self.pictures[image]
