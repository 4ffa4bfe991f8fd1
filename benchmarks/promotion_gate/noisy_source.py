"""Image source with controlled faults for `make gate`: drawn images, rows with true answers.

The main job's annotator writes the rows, with its declared errors and filters. A dose raises the share of wrong
answers to a declared value by plausible replacements (the opposite, a neighbouring number, another letter). A bias
sets a share of the multiple-choice answers to A. A hash selects the rows; a larger dose contains all wrong rows of a
smaller one. Two faults leave nothing to learn from the images: a source of which every question's kind gives away the
answer (all of its rows are true), and one whose images are shuffled among its rows.
"""

import asyncio
import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, write_jsonl
from wethink.config.params import Params
from wethink.data.drawn.questions import Question
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.schema import RELEASED_KEYS
from wethink.synthesis.embedded_team import EmbeddedTeam
from wethink.synthesis.pipeline import annotate_image
from wethink.synthesis.team import ImageRef

LETTER = "A"


@dataclass(frozen=True)
class Dose:
    """Faults of a source: a share of wrong answers, of MC answers set to LETTER, or images that teach nothing."""

    wrong: float | None = None  # None: as the annotator wrote them
    letter: float = 0.0
    blind: bool = False  # only the rows with the most frequent answer of their kind: no image is needed
    shuffled: bool = False  # every question is put about another image


class Remembering(EmbeddedTeam):
    """Team that keeps its questions, to give true and wrong answers to them."""

    def __init__(self, drawn: Path, params: Params) -> None:
        super().__init__(drawn, params.synthesize.embedded, params.seed)
        self.asked: dict[tuple[str, str], Question] = {}

    def questions(self, subject: ImageRef, count: int) -> list[Question]:
        """Ask as the embedded team does, and keep the questions."""
        written = super().questions(subject, count)
        self.asked |= {(subject.image, question.problem): question for question in written}
        return written

    def true_answer(self, subject: ImageRef, problem: str, shown: str | None = None) -> str:
        """Derive the true answer from the drawn scene, or from that of the image `shown` in its place."""
        parts = self._truth[shown or subject.image][1]
        return self._source(subject).solve(self.asked[subject.image, problem], parts)[1]

    def wrong_answer(self, subject: ImageRef, problem: str, truth: str) -> str:
        """Return a plausible answer that is not the true one."""
        question, parts = self.asked[subject.image, problem], self._truth[subject.image][1]
        return self._slip(Random(f"wrong {subject.image} {problem}"), subject, question, parts, truth)


def written(drawn: Path, images: Path, source: str, params: Params) -> list[Record]:
    """Annotate a drawn source's train images; add `truth`, `slip`, `kind` and `moved` to each kept row.

    `truth` is the true answer, `slip` a plausible wrong one; `moved` has what changes if the question is put about the
    next image in the order of a hash. Every row has a reasoning path, as released rows have, and
    the `id` that an import will give it.

    Raises:
        UserError: no train image of that source exists.
    """
    records = [record for record in ImageSet(images).records if (record.source, record.split) == (source, "train")]
    rows = asyncio.run(_written(records, Remembering(drawn, params), params))
    if not rows:
        raise UserError(f"{images} has no train image of '{source}'; name one of draw.sources.")
    return rows


async def _written(records: Sequence[ImageRecord], team: Remembering, params: Params) -> list[Record]:
    config = params.synthesize.model_copy(update={"path_share": 1.0})
    rows: list[Record] = []
    order = sorted((r.id for r in records), key=lambda image: hashlib.sha256(f"moved {image}".encode()).digest())
    following = dict(zip(order, order[1:] + order[:1], strict=True))
    for record in records:
        subject = ImageRef(record.id, record.source)
        for row in (await annotate_image(record, team, config, params.rewards, params.seed)).candidates:
            if row["reason"] is None:
                truth = team.true_answer(subject, row["problem"])
                slip = team.wrong_answer(subject, row["problem"], truth)
                kept = {key: row[key] for key in RELEASED_KEYS} | {"image_path": f"{record.id}.png"}
                kept |= {"id": content_id(record.id, row["problem"]), "kind": row["kind"], "truth": truth, "slip": slip}
                other = following[record.id]
                moved = {"image_path": f"{other}.png", "id": content_id(other, row["problem"])}
                rows.append(kept | {"moved": moved | {"truth": team.true_answer(subject, row["problem"], other)}})
    return rows


def dosed(rows: Sequence[Record], dose: Dose, seed: int) -> list[Record]:
    """Return the rows with the dose's faults, in the same order.

    Raises:
        UserError: the annotator's own errors exceed the dose.
    """
    if dose.blind:
        rows = guessable(rows)
    if dose.shuffled:
        rows = [row | row["moved"] for row in rows]
    answers = {row["id"]: row["answer"] for row in rows}
    order = sorted(rows, key=lambda row: hashlib.sha256(f"dose {seed} {row['id']}".encode()).digest())
    if dose.letter:
        choices = [row for row in order if row["category"] == "MC"]
        answers |= {row["id"]: LETTER for row in choices[: round(dose.letter * len(choices))]}
    if dose.wrong is not None:
        more = round(dose.wrong * len(rows)) - sum(row["answer"] != row["truth"] for row in rows)
        if more < 0:
            raise UserError(f"a dose of {dose.wrong:.0%} is less than what the annotator itself gets wrong.")
        right = [row for row in order if row["answer"] == row["truth"]]
        answers |= {row["id"]: row["slip"] for row in right[:more]}
    return [row | {"answer": answers[row["id"]]} for row in rows]


def guessable(rows: Sequence[Record]) -> list[Record]:
    """Return the rows with the true and most frequent answer of their kind of question and category.

    Choices are left out: all of one letter, they would be stopped by validation before the gate.
    """
    kinds: dict[tuple[str, str], Counter[str]] = {}
    for row in rows:
        kinds.setdefault((row["kind"], row["category"]), Counter())[row["truth"]] += 1
    most = {name: max(sorted(counts), key=lambda answer: counts[answer]) for name, counts in kinds.items()}
    open_ended = [row for row in rows if row["category"] != "MC"]
    return [row for row in open_ended if row["answer"] == row["truth"] == most[row["kind"], row["category"]]]


def write_source(folder: Path, rows: Sequence[Record]) -> None:
    """Write the source's `rows.jsonl` with the released keys only, without `truth`."""
    folder.mkdir(parents=True, exist_ok=True)
    write_jsonl(folder / "rows.jsonl", ({key: row[key] for key in RELEASED_KEYS} for row in rows))


def wrong(rows: Sequence[Record]) -> set[str]:
    """Return the ids of the rows with a wrong answer."""
    return {row["id"] for row in rows if row["answer"] != row["truth"]}
