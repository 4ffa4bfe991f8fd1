"""The annotator team of synthesis, as one interface, and the abilities that a question combines.

Roles after paper.md's pipeline, as far as this version has them: coarse description, question writing,
an objection to invalid questions, two independent answers (a text reasoner who has only the
description, a vision model who has only the image), adjudication, path refinement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from wethink.sources.questions import Question

REASONING = "reasoning"  # mandatory in every question (paper)
# The paper's further five are not known; MM-Vet's six, split where our questions differ.
ABILITIES = ("recognition", "ocr", "counting", "spatial", "comparison", "math", "knowledge", "generation")


@dataclass(frozen=True)
class Subject:
    """The image that is annotated: its sha256 and the name of its source."""

    image: str
    source: str


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


def ability_fault(abilities: Sequence[str]) -> str | None:
    """The executable synergy constraint: known abilities, and at least one beside reasoning.

    >>> ability_fault(["reasoning"])
    'needs no ability beside reasoning'
    """
    unknown = sorted(set(abilities) - {REASONING, *ABILITIES})
    if unknown:
        return f"unknown ability {unknown[0]}"
    return None if set(abilities) - {REASONING} else "needs no ability beside reasoning"
