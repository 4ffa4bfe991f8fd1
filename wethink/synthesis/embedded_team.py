"""Embedded annotator: simulated readers of a drawn image's truth, without network or model.

Each reading of an image misreads each part with `error_rate`, independently of every other reading;
answers and paths follow from the parts as read. With `slip_rate` a conclusion slips to another plausible
answer; with `hurry_rate` a path jumps to the answer without listing the parts. The text reasoner sees only the
description, and so shares its errors.

Every choice is seeded by the run's seed, the role, the image and the question: annotations of one image do not
depend on other images or on their order.
"""

import asyncio
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from random import Random
from typing import Any, Protocol, cast

from wethink.common.errors import UserError
from wethink.common.jsonl import content_id, read_jsonl
from wethink.config.synthesis import Embedded
from wethink.data.drawn import SOURCES
from wethink.data.drawn.questions import DESCRIBE, LETTERS, ImageSource, Kind, Parts, Question
from wethink.synthesis.team import Draft, ImageRef, Reasoned, Refined, StepFailed, Trace, Turn


class _Asking(Protocol):
    """A source with its table of question kinds."""

    @property
    def KINDS(self) -> Mapping[str, Kind]: ...


class EmbeddedTeam:
    """A `Team` (`wethink.synthesis.team`) that reads `drawn/truth/<source>.jsonl`."""

    blind_tries = blind_limit = 0  # no world knowledge to guess from

    def __init__(self, drawn: Path, rates: Embedded, seed: int) -> None:
        self._truth: dict[str, tuple[str, Parts]] = {}  # image → source that drew it, parts
        for path in sorted((drawn / "truth").glob("*.jsonl")):
            self._truth |= {record["image"]: (record["source"], record["parts"]) for record in read_jsonl(path)}
        self._rates, self._seed = rates, seed
        self.provenance: dict[str, Any] = {
            "annotator": "embedded",
            "rates": content_id(rates.model_dump()),
            "seed": seed,
        }
        self._described = lru_cache(maxsize=16)(self._read_described)  # calls for one image are consecutive

    def recall(self, subject: ImageRef, problem: str, count: int) -> Question | None:
        """Return the question with this wording among the `count` that the team asks, or None."""
        questions = self.questions(subject, count) if subject.image in self._truth else []
        return next((question for question in questions if question.problem == problem), None)

    async def screen(self, subject: ImageRef, trace: Trace) -> str | None:
        return None  # each drawn image bears questions

    async def describe(self, subject: ImageRef, trace: Trace) -> str:
        await asyncio.sleep(0)  # once per image: asyncio delivers an interrupt only where a coroutine waits
        return self._source(subject).describe(self._described(subject))

    async def mine(self, subject: ImageRef, coarse: str, trace: Trace) -> tuple[list[Turn], str]:
        return [], coarse  # the description lists every part already

    async def write(self, subject: ImageRef, description: str, count: int, trace: Trace) -> list[Draft]:
        return [Draft(question) for question in self.questions(subject, count)]

    def questions(self, subject: ImageRef, count: int) -> list[Question]:
        """Ask up to `count` questions of different kinds, from the description's reading."""
        source, seen = self._source(subject), self._described(subject)
        asked: dict[str, Question] = {}
        for number in range(count):
            question = source.ask(seen, self._rng("ask", subject, str(number)), avoid=sorted(asked))
            if question.kind in asked:
                break
            asked[question.kind] = question
        return list(asked.values())

    async def objection(self, subject: ImageRef, question: Question, trace: Trace) -> str | None:
        """Return an objection if the question does not apply to a vision reading."""
        if question.kind == DESCRIBE:
            return None
        kind = cast(_Asking, self._source(subject)).KINDS[question.kind]
        seen = self._read(subject, "filter", question.problem)
        return None if question.arguments in kind.arguments(seen) else "asks about something absent or ambiguous"

    async def reason(self, subject: ImageRef, description: str, question: Question, trace: Trace) -> Reasoned:
        return Reasoned(self._conclude("reason", subject, question, self._described(subject))[1])

    async def look(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        return self._conclude("look", subject, question, self._read(subject, "look", question.problem))[1]

    async def adjudicate(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        seen = self._read(subject, "adjudicate", question.problem)
        return self._conclude("adjudicate", subject, question, seen)[1]

    async def blind(self, subject: ImageRef, question: Question, sample: int, trace: Trace) -> str:
        raise StepFailed("blind", "the embedded team does not guess", retryable=False)

    async def refine(
        self, subject: ImageRef, question: Question, answer: str, reasoning: str, trace: Trace
    ) -> tuple[Refined, str | None]:
        """Write a path: a hurried one repeats `answer`, others follow a new reading."""
        if self._rng("hurry", subject, question.problem).random() < self._rates.hurry_rate:
            return Refined(f"it looks like {answer}", answer), None
        seen = self._read(subject, "refine", question.problem)
        return Refined(*self._conclude("refine", subject, question, seen)), None

    def _conclude(self, role: str, subject: ImageRef, question: Question, seen: Parts) -> tuple[str, str]:
        path, answer = self._source(subject).solve(question, seen)
        rng = self._rng(f"slip {role}", subject, question.problem)
        if rng.random() < self._rates.slip_rate:
            answer = self._slip(rng, subject, question, seen, answer)
        return path, answer

    def _slip(self, rng: Random, subject: ImageRef, question: Question, seen: Parts, answer: str) -> str:
        """Return another plausible answer of the same form.

        That is another letter, the opposite, a neighbouring number, or the answer to misread parts.
        """
        if question.category == "MC":
            return rng.choice([letter for letter in LETTERS if letter != answer])
        if answer in ("yes", "no"):
            return "no" if answer == "yes" else "yes"
        if answer.isdecimal():
            return str(rng.choice([number for number in (int(answer) - 1, int(answer) + 1) if number >= 0]))
        source, parts, slipped = self._source(subject), list(seen), answer
        while slipped == answer:
            place = rng.randrange(len(parts))
            parts[place] = source.misread(parts[place], rng)
            slipped = source.solve(question, parts)[1]
        return slipped

    def _read_described(self, subject: ImageRef) -> Parts:
        return self._read(subject, "describe", "")

    def _read(self, subject: ImageRef, role: str, question: str) -> Parts:
        """Return a reading of the image: its parts, each misread with `error_rate`."""
        source, rng = self._source(subject), self._rng(role, subject, question)
        parts = self._truth[subject.image][1]
        return [source.misread(part, rng) if rng.random() < self._rates.error_rate else part for part in parts]

    def _source(self, subject: ImageRef) -> ImageSource:
        if subject.image not in self._truth:
            raise UserError(
                f"source '{subject.source}': image {subject.image[:12]}… is not one that we drew, and the embedded "
                "annotator reads drawn images only; set synthesize.annotator to 'endpoints' to have models annotate it "
                "(docs/synthesis.md), or to 'rows' with synthesize.rows, a file of existing rows about it."
            )
        return SOURCES[self._truth[subject.image][0]]

    def _rng(self, role: str, subject: ImageRef, question: str) -> Random:
        return Random(f"{self._seed} {role} {subject.image} {question}")
