"""The steps of the annotator team, as an interface that may wait for models; and the embedded team lifted to it.

The order is the paper's: coarse description → detail mining → question writing → filter → two independent
answers → adjudication → refinement. What a step asked of whom goes into a trace, which becomes a row's provenance.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from wethink.data.drawn.questions import Question
from wethink.synthesis.abilities import ABILITIES, REASONING, ability_fault

__all__ = ["ABILITIES", "REASONING", "Annotator", "ImageRef", "Refined", "ability_fault"]


@dataclass(frozen=True)
class ImageRef:
    """The image that is annotated: its sha256, the name of its source, and its size where somebody needs it."""

    image: str
    source: str
    pixels: int = 0


@dataclass(frozen=True)
class Refined:
    """A rewritten reasoning path, and the answer to which it leads."""

    path: str
    answer: str


class Annotator(Protocol):
    """A team that annotates images; every call is a pure function of its arguments and the run's seed."""

    @property
    def provenance(self) -> dict[str, Any]:
        """Who annotated, so that a row can be told from another team's."""

    def describe(self, subject: ImageRef) -> str:
        """A coarse description of the image."""

    def ask(self, subject: ImageRef, description: str, count: int) -> list[Question]:
        """`count` questions, written from the description; fewer where no further one can be asked."""

    def objection(self, subject: ImageRef, question: Question) -> str | None:
        """Why the question is invalid for the image as the vision model sees it, or None."""

    def reason(self, subject: ImageRef, description: str, question: Question) -> str:
        """The text reasoner's answer, from the description alone."""

    def look(self, subject: ImageRef, question: Question) -> str:
        """The vision model's answer, from the image alone."""

    def adjudicate(self, subject: ImageRef, question: Question) -> str:
        """A third reader's answer, from the image alone."""

    def refine(self, subject: ImageRef, question: Question, answer: str) -> Refined:
        """A reasoning path for the image and the final answer."""


@dataclass(frozen=True)
class Turn:
    """One question of the text reasoner about the image, and what the vision model answered."""

    question: str
    answer: str


@dataclass(frozen=True)
class Draft:
    """A written question; `fault`: why it does not meet its own declaration, or None."""

    question: Question
    fault: str | None = None


@dataclass(frozen=True)
class Reasoned:
    """An answer and the raw reasoning that led to it."""

    answer: str
    reasoning: str = ""


@dataclass
class Trace:
    """Who was asked: step → model, prompt hash, call ids."""

    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, step: str, model: str, prompt: str, call: str) -> None:
        """Add one call."""
        entry = self.steps.setdefault(step, {"model": model, "prompt": prompt, "calls": []})
        entry["calls"].append(call)


class StepFailed(Exception):
    """A step brought no usable reply; `retryable`: another start may have more luck."""

    def __init__(self, step: str, reason: str, retryable: bool) -> None:
        super().__init__(f"{step}: {reason}")
        self.step, self.reason, self.retryable = step, reason, retryable


class Team(Protocol):
    """Every method is one step and raises StepFailed where it brings nothing to go on with."""

    provenance: dict[str, Any]
    blind_tries: int  # n of the text-only filter
    blind_limit: int  # k of them reject

    async def describe(self, subject: ImageRef, trace: Trace) -> str:
        """A coarse description of the image."""

    async def mine(self, subject: ImageRef, coarse: str, trace: Trace) -> tuple[list[Turn], str]:
        """What the description lacked, turn by turn, and the fine description made of both."""

    async def write(self, subject: ImageRef, description: str, count: int, trace: Trace) -> list[Draft]:
        """At most `count` questions, written from the description."""

    async def objection(self, subject: ImageRef, question: Question, trace: Trace) -> str | None:
        """Why the question is invalid for the image as the vision model sees it, or None."""

    async def reason(self, subject: ImageRef, description: str, question: Question, trace: Trace) -> Reasoned:
        """The text reasoner's answer, from the description alone."""

    async def look(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        """The vision model's answer, from the image alone."""

    async def adjudicate(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        """A third model's answer, from the image alone."""

    async def blind(self, subject: ImageRef, question: Question, sample: int, trace: Trace) -> str:
        """An answer without image and description, one of several draws."""

    async def refine(
        self, subject: ImageRef, question: Question, answer: str, reasoning: str, trace: Trace
    ) -> tuple[Refined, str | None]:
        """A short path, the answer to which it leads, and what is wrong with its words, or None."""


class SyncTeamAdapter:
    """A team that never waits, as one that might: its coroutines run through without an event loop."""

    blind_tries = blind_limit = 0  # it has no knowledge of the world to guess from

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator
        self.provenance = annotator.provenance

    async def describe(self, subject: ImageRef, trace: Trace) -> str:
        return self._annotator.describe(subject)

    async def mine(self, subject: ImageRef, coarse: str, trace: Trace) -> tuple[list[Turn], str]:
        return [], coarse  # its description has every part already

    async def write(self, subject: ImageRef, description: str, count: int, trace: Trace) -> list[Draft]:
        return [Draft(question) for question in self._annotator.ask(subject, description, count)]

    async def objection(self, subject: ImageRef, question: Question, trace: Trace) -> str | None:
        return self._annotator.objection(subject, question)

    async def reason(self, subject: ImageRef, description: str, question: Question, trace: Trace) -> Reasoned:
        return Reasoned(self._annotator.reason(subject, description, question))

    async def look(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        return self._annotator.look(subject, question)

    async def adjudicate(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        return self._annotator.adjudicate(subject, question)

    async def blind(self, subject: ImageRef, question: Question, sample: int, trace: Trace) -> str:
        raise StepFailed("blind", "the embedded team does not guess", retryable=False)

    async def refine(
        self, subject: ImageRef, question: Question, answer: str, reasoning: str, trace: Trace
    ) -> tuple[Refined, str | None]:
        return self._annotator.refine(subject, question, answer), None
