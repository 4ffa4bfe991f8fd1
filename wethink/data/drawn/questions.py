"""Questions about four parts: how every source asks and answers, written once.

A source declares a table of kinds. Asking enumerates what could be asked, groups it by answer and
chooses the answer first, so that no answer dominates; answering lists what is seen and concludes.
Both are pure functions of the parts, the question and the generator handed in: what is asked about
one image never depends on other images.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from random import Random
from typing import Any, Protocol

from PIL import Image

Part = dict[str, Any]  # what one cell, bar, slice or scan shows, as small JSON
Parts = Sequence[Part]
Truth = dict[str, Any]  # `parts`, `style` and `made_of` (ids of the material that it is drawn from)
Arguments = tuple[str, ...]

LETTERS = ("A", "B", "C", "D")
CELLS = ("top left", "top right", "bottom left", "bottom right")
DESCRIBE = "describe"
DESCRIBE_SHARE = 0.1  # of all questions


@dataclass(frozen=True)
class Question:
    """One question; `arguments` fill its kind's template."""

    kind: str
    arguments: Arguments
    problem: str
    category: str  # MC, FIB or DES
    abilities: tuple[str, ...]
    reward: str  # rule or model

    def as_record(self) -> dict[str, Any]:
        """The fields that a row or an item carries."""
        record = asdict(self) | {"abilities": list(self.abilities)}
        del record["arguments"]
        return record


@dataclass(frozen=True)
class Kind:
    """A kind of question: what can be asked about given parts, how it is worded, how it is concluded."""

    abilities: tuple[str, ...]
    wording: str  # a template over the arguments
    arguments: Callable[[Parts], list[Arguments]]  # empty: it cannot be asked about these parts
    conclude: Callable[[Arguments, Parts], tuple[str, str]]  # → the last step of the path, the answer
    options: tuple[str, ...] = ()  # all four answers, always in this order; makes it a multiple choice
    both: bool = False  # yes/no: ask only where both answers can be had
    weights: Mapping[str, float] = field(default_factory=dict)  # of answers that a world shows too often or too rarely


class ImageSource(Protocol):
    """What a module of this package offers; `draw` and the embedded annotator know nothing else of it."""

    def material(self) -> dict[str, str]:
        """Ids of the real things that images are made of, each with its content; split before anything is drawn."""

    def sample(self, rng: Random, pool: Sequence[str]) -> Truth:
        """Think of one image, made of material from `pool` only."""

    def scene(self, truth: Truth) -> str:
        """Hash of all that is to be seen, without position and tint; splits are made by it."""

    def render(self, truth: Truth, rng: Random, size: int) -> Image.Image:
        """Draw it; `rng` moves and tints."""

    def describe(self, parts: Parts) -> str:
        """Every part in order, in words."""

    def ask(self, parts: Parts, rng: Random, avoid: Collection[str] = ()) -> Question:
        """A question that these parts can answer, of a kind not in `avoid`."""

    def solve(self, question: Question, parts: Parts) -> tuple[str, str]:
        """The reasoning path (what is seen, then the conclusion) and the answer."""

    def misread(self, part: Part, rng: Random) -> Part:
        """What a careless eye makes of one part; never the part itself."""


def ask(kinds: Mapping[str, Kind], parts: Parts, rng: Random, avoid: Collection[str] = ()) -> Question:
    """Choose a kind, then an answer, then the arguments that lead to it."""
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
    """List what is seen, conclude, answer; parts may be misread, so every question has an answer."""
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
