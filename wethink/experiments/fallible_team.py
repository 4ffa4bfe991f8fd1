"""Embedded annotator team with controlled, correlated errors, to measure filters.

The describer's misreadings propagate into the questions and into all answers of the text reasoner. The vision model
shares the describer's reading with probability `correlation` (a shared cause, and so the same wrong answer), else reads
the image itself; it also objects to invalid questions. The adjudicator reads the image itself. All misread each part of
an image at the same rate, and all from the same tables of likely confusions, so that even independent errors often
agree. Some questions are planted that their image cannot answer.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import cast

from wethink.config.synthesis import Embedded
from wethink.data.drawn.questions import DESCRIBE, Parts, Question
from wethink.synthesis.embedded_team import EmbeddedTeam, _Asking
from wethink.synthesis.team import ImageRef

ATTEMPTS = 12  # other images whose questions are tried before an image is left without a planted one


Aliens = Mapping[tuple[str, int], Question]  # (image, place among its questions) → the question planted there


class FallibleTeam(EmbeddedTeam):
    """Embedded team with correlated errors and access to the truth."""

    def __init__(self, drawn: Path, misread_rate: float, correlation: float, aliens: Aliens, seed: int) -> None:
        super().__init__(drawn, Embedded(error_rate=misread_rate, hurry_rate=0, slip_rate=0), seed)
        self._correlation, self._aliens = correlation, aliens
        self.asked: dict[tuple[str, str], Question] = {}  # (image, problem) → the question
        self.planted: set[tuple[str, str]] = set()

    def questions(self, subject: ImageRef, count: int) -> list[Question]:
        """Return the team's questions, some replaced by ones the image cannot answer."""
        written = super().questions(subject, count)
        for place, question in enumerate(written):
            alien = self._aliens.get((subject.image, place))
            if alien is not None and alien.problem not in {other.problem for other in written}:
                question = written[place] = alien
                self.planted.add((subject.image, question.problem))
            self.asked[subject.image, question.problem] = question
        return written

    def aliens(self, share: float, count: int) -> Aliens:
        """Choose questions that their image cannot answer, for `share` of all places.

        An image has `count` places for questions. The questions fit another image of the same source. Not every image
        has any, so the share may be smaller.
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
        """Tell whether the drawn scene answers the question."""
        if question.kind == DESCRIBE:
            return True
        source, parts = self._truth[image]
        kinds = cast(_Asking, self._source(ImageRef(image, source))).KINDS
        return question.arguments in kinds[question.kind].arguments(parts)

    def true_answer(self, image: str, question: Question) -> str:
        """Return the answer that follows from the drawn scene."""
        source, parts = self._truth[image]
        return self._source(ImageRef(image, source)).solve(question, parts)[1]

    def _read(self, subject: ImageRef, role: str, question: str) -> Parts:
        if role in ("look", "filter") and self._rng("shared", subject, question).random() < self._correlation:
            return self._described(subject)
        return super()._read(subject, role, question)
