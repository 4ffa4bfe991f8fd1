"""The annotator team of synthesis, as one interface, and the abilities that a question combines.

Two teams have it: `embedded` reads a drawn image's truth, fallibly and at once; `endpoints` asks models and waits
for them (its interface, with the paper's remaining steps, is `team.Team`, to which an embedded one is lifted).
"""

from dataclasses import dataclass
from typing import Any, Protocol

from wethink.annotators.abilities import ABILITIES, REASONING, ability_fault
from wethink.sources.questions import Question

__all__ = ["ABILITIES", "REASONING", "Annotator", "Refined", "Subject", "ability_fault"]


@dataclass(frozen=True)
class Subject:
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

    def describe(self, subject: Subject) -> str:
        """A coarse description of the image."""

    def ask(self, subject: Subject, description: str, count: int) -> list[Question]:
        """`count` questions, written from the description; fewer where no further one can be asked."""

    def objection(self, subject: Subject, question: Question) -> str | None:
        """Why the question is invalid for the image as the vision model sees it, or None."""

    def reason(self, subject: Subject, description: str, question: Question) -> str:
        """The text reasoner's answer, from the description alone."""

    def look(self, subject: Subject, question: Question) -> str:
        """The vision model's answer, from the image alone."""

    def adjudicate(self, subject: Subject, question: Question) -> str:
        """A third reader's answer, from the image alone."""

    def refine(self, subject: Subject, question: Question, answer: str) -> Refined:
        """A reasoning path for the image and the final answer."""
