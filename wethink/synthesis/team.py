"""Annotator team interface: one asynchronous method per step of synthesis, and the values that the steps exchange.

The order of the steps is the paper's, behind an optional screen of the images: coarse description → detail mining →
question writing → filter → two independent answers → adjudication → refinement. Each step's model, prompt hash and
call ids go into a trace, which becomes a row's provenance.
"""

from dataclasses import dataclass, field
from typing import Any, Protocol

from wethink.data.drawn.questions import Question


@dataclass(frozen=True)
class ImageRef:
    """An image to annotate: its sha256, its source, its size in pixels (0: unknown)."""

    image: str
    source: str
    pixels: int = 0


@dataclass(frozen=True)
class Refined:
    """A rewritten reasoning path and the answer that it leads to."""

    path: str
    answer: str


@dataclass(frozen=True)
class Turn:
    """A question of the text reasoner about the image, and the vision model's answer."""

    question: str
    answer: str


@dataclass(frozen=True)
class Draft:
    """A written question; `fault`: the constraint that it violates, or None."""

    question: Question
    fault: str | None = None


@dataclass(frozen=True)
class Reasoned:
    """An answer and the raw reasoning that led to it."""

    answer: str
    reasoning: str = ""


@dataclass
class Trace:
    """The calls so far: step → model, prompt hash, call ids."""

    steps: dict[str, dict[str, Any]] = field(default_factory=dict)

    def note(self, step: str, model: str, prompt: str, call: str) -> None:
        """Record one call."""
        entry = self.steps.setdefault(step, {"model": model, "prompt": prompt, "calls": []})
        entry["calls"].append(call)


class StepFailed(Exception):
    """A step brought no usable reply; `retryable`: a later run may succeed."""

    def __init__(self, step: str, reason: str, retryable: bool) -> None:
        super().__init__(f"{step}: {reason}")
        self.step, self.reason, self.retryable = step, reason, retryable


class Team(Protocol):
    """An annotator team. Every method is one step; its result depends on its arguments and the run's seed only.

    Raises:
        StepFailed: a step brought no usable reply.
    """

    provenance: dict[str, Any]  # the annotator's name and parameters, for rows
    blind_tries: int  # n of the text-only filter; 0: the team has no world knowledge to guess from
    blind_limit: int  # k right answers reject the question

    async def screen(self, subject: ImageRef, trace: Trace) -> str | None:
        """Return why the image bears no question, or None."""

    async def describe(self, subject: ImageRef, trace: Trace) -> str:
        """Describe the image coarsely."""

    async def mine(self, subject: ImageRef, coarse: str, trace: Trace) -> tuple[list[Turn], str]:
        """Mine missing details in turns; return the turns and the fine description."""

    async def write(self, subject: ImageRef, description: str, count: int, trace: Trace) -> list[Draft]:
        """Write up to `count` questions from the description."""

    async def objection(self, subject: ImageRef, question: Question, trace: Trace) -> str | None:
        """Return the vision model's objection to a question about the image, or None."""

    async def reason(self, subject: ImageRef, description: str, question: Question, trace: Trace) -> Reasoned:
        """Answer as the text reasoner, from the description alone."""

    async def look(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        """Answer as the vision model, from the image alone."""

    async def adjudicate(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        """Answer as the adjudicator, a third model, from the image alone."""

    async def blind(self, subject: ImageRef, question: Question, sample: int, trace: Trace) -> str:
        """Answer without image and description; `sample` is the index of the sample."""

    async def refine(
        self, subject: ImageRef, question: Question, answer: str, reasoning: str, trace: Trace
    ) -> tuple[Refined, str | None]:
        """Write a short path and the answer that it leads to.

        Returns:
            The path with its answer, and the constraint that the path violates, or None.
        """
