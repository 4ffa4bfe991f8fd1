"""Column roles of a table: image, question, answer and the others, as configured or guessed by their names.

A guess compares names without case and punctuation, in the order of `NAMES`. Where no name is known for the image, it
is the only column that holds pictures (bytes, or a struct of bytes and path). Single capital letters A, B, … are the
options of a multiple choice. `solution` is the answer where there is no other, as in sets of mathematics.
"""

import re
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from wethink.common.errors import UserError
from wethink.config.data import Columns

NAMES: dict[str, tuple[str, ...]] = {
    "image": ("image", "images", "img", "picture", "photo", "imagepath", "imagefile", "imagename", "filename", "file"),
    "question": ("question", "problem", "query", "prompt", "instruction"),
    "answer": (
        "answer", "goldanswer", "gold", "groundtruth", "gt", "correctanswer", "multiplechoiceanswer", "answers",
        "directanswers", "label", "target", "response", "output", "correctchoiceidx", "answeridx",
    ),
    "options": ("options", "choices", "candidates"),
    "path": (
        "refinedcot", "cot", "chainofthought", "reasoning", "reasoningpath", "rationale", "thinking", "thought",
        "thoughts", "explanation", "solution",
    ),
    "id": ("id", "questionid", "qid", "uid", "index"),
    "category": ("category",),
    "abilities": ("abilities", "ability", "skills"),
    "reward": ("reward",),
    "messages": ("messages", "conversations", "conversation", "dialog", "dialogue"),
}  # fmt: skip
PLACE = ("split", "scene")  # columns of these names are always read: the image's split, and what it shows
TEXT_ROLES = ("question", "answer", "messages")


@dataclass(frozen=True)
class Roles:
    """The column of each role; `guessed` names the roles that no configuration named."""

    columns: dict[str, str] = field(default_factory=dict)
    letters: tuple[str, ...] = ()  # option columns A, B, …
    guessed: frozenset[str] = frozenset()
    others: tuple[str, ...] = ()  # columns without a role

    @property
    def has_rows(self) -> bool:
        """Whether the table has questions with answers."""
        return {"question", "answer"} <= self.columns.keys() or "messages" in self.columns

    @property
    def is_strict(self) -> bool:
        """Whether an unknown category is a fault: it was named, or stands beside a reward as in released rows."""
        return "category" in self.columns and ("category" not in self.guessed or "reward" in self.columns)

    def lack(self) -> str:
        """Tell which role of rows no column has, so that only images are read; empty if there are rows.

        >>> Roles({"image": "photo", "answer": "label"}, others=("text",)).lack()
        'no column looks like the question, so only the images are read; name one in columns.question (others: text)'
        """
        missing = [] if self.has_rows else [role for role in ("question", "answer") if role not in self.columns]
        named = " and ".join(f"columns.{role}" for role in missing)
        left = f" (others: {', '.join(self.others)})" if self.others else ""
        what = " or the ".join(missing)
        return (
            f"no column looks like the {what}, so only the images are read; name one in {named}{left}" if what else ""
        )

    def shown(self) -> str:
        """Return the roles as a text for people.

        >>> Roles({"image": "photo", "question": "q"}, guessed=frozenset({"image"})).shown()
        'image=photo (guessed), question=q'
        """
        parts = [f"{role}={name}{' (guessed)' * (role in self.guessed)}" for role, name in self.columns.items()]
        return ", ".join([*parts, *(["options=" + "".join(self.letters)] if self.letters else [])])


def plain_name(column: str) -> str:
    """Return a column's name without case and punctuation."""
    return re.sub(r"[^a-z0-9]", "", column.casefold())


def resolve(named: Columns, there: Sequence[str], pictures: Collection[str], key: str, name: str) -> Roles:
    """Find the column of each role.

    Args:
        named: the configured columns.
        there: the table's columns.
        pictures: those that hold pictures, where the format tells.
        key: the configuration's key, for errors.
        name: the table's name, for errors.

    Raises:
        UserError: a configured column is not there, occurs twice, or has a question without an answer.
    """
    configured = named.named()
    for role, column in configured.items():
        if column not in there:
            raise UserError(f"{key}.{role}: {name} has no column '{column}'; it has: {', '.join(there)}.")
    free = [column for column in there if column not in configured.values()]
    found, guessed = dict(configured), set()
    for role, names in NAMES.items():
        plain = {plain_name(column): column for column in reversed(free)}
        guess = next((plain[wanted] for wanted in names if wanted in plain), None)
        if role == "image" and guess is None and len(pictures) == 1:
            (guess,) = pictures
        if role not in found and guess is not None:
            found[role] = guess
            guessed.add(role)
            free = [other for other in free if other != guess]
    if "answer" not in found and "path" in guessed and "question" in found and plain_name(found["path"]) == "solution":
        found["answer"] = found.pop("path")
        guessed = (guessed - {"path"}) | {"answer"}
    for role, column in [*found.items(), *((column, column) for column in PLACE)]:
        if (count := list(there).count(column)) > 1:
            raise UserError(f"{key}.{role}: {name} has the column '{column}' {count} times; rename the others.")
    letters = tuple(letter for letter in string.ascii_uppercase if letter in there)
    letters = letters if letters[:2] == ("A", "B") and "options" not in found else ()
    order = [role for role in NAMES if role in found]
    left = tuple(column for column in free if column not in (*PLACE, *letters) and column not in found.values())
    roles = Roles({role: found[role] for role in order}, letters, frozenset(guessed), left)
    asked = [role for role in TEXT_ROLES if role in configured]
    if asked and not roles.has_rows:
        missing = "answer" if asked[0] == "question" else "question"
        raise UserError(f"{key}.{missing}: {name} has no column that looks like it; it has: {', '.join(there)}.")
    return roles
