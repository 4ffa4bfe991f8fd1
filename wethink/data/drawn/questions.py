"""Question templates and answers for drawn images, shared by all sources.

A source declares a table of kinds. `ask` enumerates the possible arguments, groups them by answer and
chooses the answer first, so that no answer dominates; `solve` lists the parts and concludes.
Both are pure functions of the parts, the question and the generator: questions about one image never depend
on other images.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Protocol

from PIL import Image

Part = dict[str, Any]  # content of one cell, bar, slice or scan, as small JSON
Parts = Sequence[Part]
Truth = dict[str, Any]  # `parts`, `style` and `made_of` (ids of the material that it is drawn from)
Arguments = tuple[str, ...]

LETTERS = ("A", "B", "C", "D")
CELLS = ("top left", "top right", "bottom left", "bottom right")
DESCRIBE = "describe"
DESCRIBE_SHARE = 0.1  # of all questions


@dataclass(frozen=True)
class Question:
    """One question; `arguments` fill the template of its kind."""

    kind: str
    arguments: Arguments
    problem: str
    category: str  # MC, FIB or DES
    abilities: tuple[str, ...]
    reward: str  # rule or model

    def as_record(self) -> dict[str, Any]:
        """Return the fields of a row or an item."""
        record = asdict(self) | {"abilities": list(self.abilities)}
        del record["arguments"]
        return record


@dataclass(frozen=True)
class Kind:
    """A kind of question: its possible arguments, its wording and its conclusion."""

    abilities: tuple[str, ...]
    wording: str  # a template over the arguments
    arguments: Callable[[Parts], list[Arguments]]  # empty: the question does not apply to these parts
    conclude: Callable[[Arguments, Parts], tuple[str, str]]  # → the last step of the path, the answer
    options: tuple[str, ...] = ()  # all four answers, always in this order; makes it a multiple choice
    both: bool = False  # yes/no: ask only where both answers are possible
    weights: Mapping[str, float] = field(default_factory=dict)  # sampling weights that balance the answers


class ImageSource(Protocol):
    """Interface of an image source, for `draw` and the embedded annotator."""

    def material(self) -> dict[str, str]:
        """Return ids of the real material (scans, table rows), each with its content.

        The material is split before images are drawn.
        """

    def sample(self, rng: Random, pool: Sequence[str]) -> Truth:
        """Sample the truth of one image, with material from `pool` only."""

    def scene(self, truth: Truth) -> str:
        """Hash the visible content, without position and tint; splits use this hash."""

    def render(self, truth: Truth, rng: Random, size: int) -> Image.Image:
        """Draw the image; `rng` jitters positions and tints."""

    def describe(self, parts: Parts) -> str:
        """List every part in order, in words."""

    def ask(self, parts: Parts, rng: Random, avoid: Collection[str] = ()) -> Question:
        """Ask a question about these parts, of a kind not in `avoid`."""

    def solve(self, question: Question, parts: Parts) -> tuple[str, str]:
        """Return the reasoning path (parts, then conclusion) and the answer."""

    def misread(self, part: Part, rng: Random) -> Part:
        """Return a plausible misreading of one part, never the part itself."""


def ask(kinds: Mapping[str, Kind], parts: Parts, rng: Random, avoid: Collection[str] = ()) -> Question:
    """Choose a kind, then an answer, then arguments with that answer.

    Returns:
        A question of a kind not in `avoid`; a description if no such kind applies.
    """
    if DESCRIBE not in avoid and rng.random() < DESCRIBE_SHARE:
        return _description()
    for name in rng.sample(sorted(set(kinds) - set(avoid)), k=len(set(kinds) - set(avoid))):
        kind = kinds[name]
        by_answer: dict[str, list[Arguments]] = {}
        for arguments in kind.arguments(parts):
            by_answer.setdefault(kind.conclude(arguments, parts)[1], []).append(arguments)
        if not by_answer or (kind.both and len(by_answer) < 2):
            continue
        answers = sorted(by_answer)
        answer = rng.choices(answers, [kind.weights.get(value, 1.0) for value in answers])[0]
        arguments = rng.choice(by_answer[answer])
        problem = kind.wording.format(*arguments)
        if not kind.options:
            return Question(name, arguments, problem, "FIB", kind.abilities, "rule")
        problem += "".join(f" {letter} {value}" for letter, value in zip(LETTERS, kind.options, strict=True))
        return Question(name, arguments, problem, "MC", kind.abilities, "rule")
    return _description()


def solve(kinds: Mapping[str, Kind], description: str, question: Question, parts: Parts) -> tuple[str, str]:
    """Return the reasoning path and the answer, also for misread parts."""
    if question.kind == DESCRIBE:
        return description, description
    kind = kinds[question.kind]
    conclusion, answer = kind.conclude(question.arguments, parts)
    if kind.options:
        answer = LETTERS[kind.options.index(answer)]
        conclusion += f" {answer}"
    return f"{description} . {conclusion}", answer


def _description() -> Question:
    return Question(DESCRIBE, (), "describe the picture", "DES", ("recognition", "generation"), "model")
