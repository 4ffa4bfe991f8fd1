"""Benchmark engines: their protocol, and the in-process engine of a checkpoint folder.

The other engine is wethink/evaluation/benchmarks/endpoint_engine.py. Both get the same text and pixels: run.py has
decoded every image and scaled it down to the pixel budget. A failed call returns a reply with a fault, never an
exception: its item is unknown, and the run goes on.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from wethink.common.errors import UserError
from wethink.common.jsonl import file_sha256
from wethink.config.launch import Launch
from wethink.data.schema import IMAGE

if TYPE_CHECKING:
    from PIL import Image

    from wethink.evaluation.benchmarks.run import Settings
    from wethink.generation.sampler import Engine as Kind

System = Literal["own", "none", "wethink"]  # the chat template's own prompt, none at all, or the format's sent


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

    @property
    def placed(self) -> str:
        """The text with `IMAGE` at the place of each picture; marks that the text itself holds are put in brackets."""
        texts = (piece.replace(IMAGE, "[image]") if isinstance(piece, str) else IMAGE for piece in self.pieces)
        return "".join(texts)


@dataclass(frozen=True)
class Reply:
    """A response, or the fault that prevented it.

    `thoughts` are those that a server sent apart from the text; `finish` is that of `response_store.Answer`.
    """

    text: str
    tokens: int | None
    fault: str | None = None
    thoughts: str = ""
    finish: str = "stop"


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


class Checkpoint:
    """Engine of a checkpoint folder: its sampler in this process, or through vLLM."""

    def __init__(
        self, folder: Path, settings: "Settings", launch: Launch, sampler: "Kind" = "in_process", images: int = 1
    ) -> None:
        """Load the checkpoint, for questions with `images` images at most.

        Raises:
            UserError: the folder is no checkpoint, or vLLM cannot sample from it.
        """
        if not (folder / "config.json").is_file():
            raise UserError(f"{folder} is no checkpoint folder (no config.json) and no http(s):// endpoint.")
        from wethink.generation.sampler import published
        from wethink.models.chat_prompts import system_prompt

        self._folder, self._kind, self._settings, self._stack = folder, sampler, settings, ExitStack()
        self._sampler = self._stack.enter_context(published(folder, sampler, launch, images, settings.batch))
        self._processor = self._sampler.processor
        self._systems: dict[System, str | None] = {
            "own": None,
            "none": "",
            "wethink": system_prompt(settings.form),
        }

    def tell_unknown(self, name: str, asked: Sequence[tuple[str, str]]) -> None:
        """Print a sentence if the vocabulary lacks words of a table's questions and answers."""
        from wethink.models.vocabulary import tell_unknown

        tell_unknown(self._processor, [{"problem": question, "answer": answer} for question, answer in asked], name)

    def describe(self, system: System) -> dict[str, Any]:
        weights = sorted(self._folder.glob("*.safetensors"))
        template = str(self._processor.tokenizer.chat_template or "")
        return {
            "engine": self._kind.replace("_", "-"),
            "model": [file_sha256(path)[:16] for path in weights],
            "versions": self._sampler.versions,
            "image_processor": {
                key: getattr(self._processor.image_processor, key, None) for key in ("patch_size", "merge_size")
            }
            | {"size": dict(self._processor.image_processor.size)},
            "system": template if system == "own" else self._systems[system],
            "dtype": str(self._sampler.dtype),
        }

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        replies: dict[int, Reply] = {}
        usable: list[int] = []
        for place, query in enumerate(queries):
            if "<|" in query.text:
                replies[place] = Reply("", None, "the question holds a reserved token")
            else:
                usable.append(place)
        for greedy in (True, False):
            chosen = [place for place in usable if (queries[place].temperature == 0) == greedy]
            if chosen:
                replies |= dict(zip(chosen, self._sample([queries[place] for place in chosen]), strict=True))
        return [replies[place] for place in range(len(queries))]

    def _sample(self, queries: Sequence[Query]) -> list[Reply]:
        from wethink.generation.responses import Asked, Decoding, InMemory
        from wethink.generation.sampler import answers

        shown: dict[str, Image.Image] = {}
        asked = []
        for place, query in enumerate(queries):
            named = {f"{place}.{number}": picture for number, picture in enumerate(query.pictures)}
            shown |= named
            asked.append(Asked(query.placed, tuple(named), query.draw, query.sample, self._systems[query.system]))
        decoding = Decoding(self._settings.max_new_tokens, queries[0].temperature, self._settings.seed)
        found = answers(self._sampler, asked, InMemory(shown), decoding)
        return [Reply(response.text, response.tokens) for (response,) in found]

    def close(self) -> None:
        self._stack.close()
