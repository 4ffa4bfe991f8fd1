"""The embedded team with its faults under control, to measure what the filters of synthesis make of them.

One describer, whose misreadings propagate: into the questions and into all that the text reasoner says. A vision
model that, with probability `correlation`, sees just what the describer saw (a shared cause, and so the same wrong
answer), else looks for itself; it also objects to invalid questions. An adjudicator who looks for itself. All misread
each part of an image at the same rate, and all from the same tables of likely confusions, so that even independent
errors often agree. Some questions are planted that their image cannot answer.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from wethink.config.synthesis import Embedded
from wethink.data.drawn.questions import DESCRIBE, Parts, Question
from wethink.synthesis.embedded_team import EmbeddedAnnotator, _Asking
from wethink.synthesis.team import ImageRef

ATTEMPTS = 12  # other images whose questions are tried before an image is left without a planted one


Aliens = Mapping[tuple[str, int], Question]  # (image, place among its questions) → the question planted there


class FallibleTeam(EmbeddedAnnotator):
    """An embedded team whose errors are correlated, and which knows the truth when it is asked for it."""

    def __init__(self, drawn: Path, misread_rate: float, correlation: float, aliens: Aliens, seed: int) -> None:
        super().__init__(drawn, Embedded(error_rate=misread_rate, hurry_rate=0, slip_rate=0), seed)
        self._correlation, self._aliens = correlation, aliens
        self.asked: dict[tuple[str, str], Question] = {}  # (image, problem) → the question
        self.planted: set[tuple[str, str]] = set()

    def ask(self, subject: ImageRef, description: str, count: int) -> list[Question]:
        """The team's questions, some of them replaced by ones that this image cannot answer."""
        written = super().ask(subject, description, count)
        for place, question in enumerate(written):
            alien = self._aliens.get((subject.image, place))
            if alien is not None and alien.problem not in {other.problem for other in written}:
                question = written[place] = alien
                self.planted.add((subject.image, question.problem))
            self.asked[subject.image, question.problem] = question
        return written

    def aliens(self, share: float, count: int) -> Aliens:
        """For `share` of all places for questions (`count` an image), questions that the image there cannot answer.

        They fit another image of the same source. Not every image has any, so it may be fewer.
        """
        found: dict[tuple[str, int], Question] = {}
        pools: dict[str, list[str]] = {}
        for image, (source, _) in self._truth.items():
            pools.setdefault(source, []).append(image)
        places = [(image, place) for image in sorted(self._truth) for place in range(count)]
        places.sort(key=lambda key: hashlib.sha256(f"alien {self._seed} {key}".encode()).digest())
        for image, place in places:
            if len(found) >= share * len(places):
                break
            subject = ImageRef(image, self._truth[image][0])
            rng = self._rng("alien", subject, str(place))
            for _ in range(ATTEMPTS):
                parts = self._truth[rng.choice(pools[subject.source])][1]
                question = self._source(subject).ask(parts, rng, avoid=[DESCRIBE])
                if question.kind != DESCRIBE and not self.answerable(image, question):
                    found[image, place] = question
                    break
        return found

    def answerable(self, image: str, question: Question) -> bool:
        """Whether what is drawn can answer the question."""
        if question.kind == DESCRIBE:
            return True
        source, parts = self._truth[image]
        kinds = cast(_Asking, self._source(ImageRef(image, source))).KINDS
        return question.arguments in kinds[question.kind].arguments(parts)

    def true_answer(self, image: str, question: Question) -> str:
        """The answer that follows from what is drawn."""
        source, parts = self._truth[image]
        return self._source(ImageRef(image, source)).solve(question, parts)[1]

    def _read(self, subject: ImageRef, role: str, question: str) -> Parts:
        if role in ("look", "filter") and self._rng("shared", subject, question).random() < self._correlation:
            return self._described(subject)
        return super()._read(subject, role, question)
