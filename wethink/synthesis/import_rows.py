"""Import of existing rows: those that sources bring and those of a file, normalised or rejected by name.

A row needs a question and an answer, and has one image, several or none; all else is optional (docs/data.md):

* a reasoning path makes it a row for SFT; without one it is for GRPO and evaluation;
* `category` is MC if the row has options, of which the answer names one; DES if the answer has over `SHORT` words;
  FIB otherwise. `reward` is `rule` for MC and FIB, else `model`. Other spellings are mapped by `CATEGORY_NAMES` and
  `REWARD_NAMES`; names that `rewards.functions` declares are taken as they are;
* answers and paths with `<think>`/`<answer>` wrappers are unwrapped; an answer's thought is the path if there is none;
* literal media tags and chat markers, which tokenizers would parse, are escaped: `<|im_end|>` becomes `[im_end]`;
* where an answer is a list of several, all are `alternatives` of the row, and the most frequent one is its gold;
* multiple-choice answers (`A)`, `(a)`, the option's text, its number from 0) become the letter;
* a row of a file finds its images by their paths in the source, which must not leave the source's folder;
* `<image>` stays where the question places its images; the images of a row are of one split.

Every line becomes a row or a rejection with a reason.
"""

import json
import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, encodable, file_sha256
from wethink.config.data import Columns
from wethink.config.rewards import RewardFunction
from wethink.data.image_store import ImageRecord
from wethink.data.linked import linked
from wethink.data.schema import IMAGE, SPLITS, image_id, image_keys
from wethink.data.tables.columns import Roles, resolve
from wethink.data.tables.files import TEXT_SUFFIXES, Table, json_table, tables
from wethink.data.tables.given import given
from wethink.rewards.alternatives import counted
from wethink.rewards.rules.options import choose, options

# Spellings without case, spaces and punctuation → the names of `schema`.
CATEGORY_NAMES = {
    **dict.fromkeys(("mc", "mcq", "multiplechoice", "multichoice", "singlechoice", "choice"), "MC"),
    **dict.fromkeys(("fib", "fillintheblank", "fillinblank", "fillintheblanks", "blank", "shortanswer"), "FIB"),
    **dict.fromkeys(("des", "desc", "descriptive", "description", "openended", "freeform"), "DES"),
}
REWARD_NAMES = {
    **dict.fromkeys(("rule", "rules", "rulebased", "rulebasedreward", "rulereward", "verifier"), "rule"),
    **dict.fromkeys(("model", "modelbased", "modelbasedreward", "modelreward", "judge", "llmjudge", "llm"), "model"),
}
SHORT = 6  # words of an answer that is checked by rules; a longer one is a description
LETTERS = "ABCDEFGHIJ"

_THINK = re.compile(r"<think>(.*?)(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_NFC = "\0"  # marks the NFC form of a name, which is tried if no image has the name itself
_MEDIA = re.compile(r"<(image|video|audio)>|<\|([a-z0-9_]+)\|>", re.IGNORECASE)

Origins = Mapping[str, list[ImageRecord]]


@dataclass(frozen=True)
class Declared:
    """Categories and reward routes that `rewards.functions` declares."""

    categories: frozenset[str] = frozenset()
    routes: frozenset[str] = frozenset()


def declared(functions: Sequence[RewardFunction]) -> Declared:
    """Collect what the user's own reward functions declare."""
    categories = frozenset(name for entry in functions for name in entry.categories or ())
    return Declared(categories, frozenset(entry.route for entry in functions if entry.route is not None))


def import_rows(
    path: Path,
    records: Sequence[ImageRecord],
    names: Iterable[Record] = (),
    columns: Columns = Columns(),  # noqa: B008 - immutable
    own: Declared = Declared(),
) -> list[Record]:
    """Read every row of a file with its `reason` (None: kept).

    Args:
        path: a table file; JSON lines if its name does not tell.
        records: the ingested images.
        names: their further names, as `data/images/names.jsonl` has them.
        columns: the file's columns by role.
        own: categories and routes of the user's own.

    Raises:
        UserError: the file is missing or empty, none of its rows can be read, or it has no column for images,
            questions or answers.
    """
    found, roles = rows_table(path, columns)
    origins = _by_origin(records, names)
    file = {"annotator": "rows", "given": path.name, "file": file_sha256(path)[:16]}
    rows = []
    for number, cells in found.read(found.columns):
        row = given(cells, roles)
        named = [_name(cell) for cell in row.images]
        shown, faults = zip(*(_image(name, origins) for name in named), strict=True) if named else ((), ())
        fault = next((fault for fault in faults if fault), None)
        about = [record for record in shown if record is not None]
        made = to_row(row.record(), about, ", ".join(named), row.fault or fault, own)
        made["source"] = made["source"] or ("" if row.images else path.stem)
        made["split"] = made["split"] or ("" if row.images else "train")
        made["provenance"] = file | {"line": number} | ({"fault": row.detail} if row.detail else {})
        rows.append(made)
    return unrepeated(_joined(rows, {record.id: record.cluster for record in records}))


def _name(cell: Any) -> str:
    return str((cell.get("path") or "") if isinstance(cell, dict) else cell if isinstance(cell, str) else "")


def _joined(rows: list[Record], clusters: Mapping[str, str]) -> list[Record]:
    """Give the rows about images of several scenes, and the others about these, one scene."""
    several = [[clusters[image] for image in row["images"]] for row in rows if len(row.get("images", ())) > 1]
    of = linked(several)
    for row in rows:
        row["scene"] = of.get(row["scene"], row["scene"])
    return rows


def rows_table(path: Path, columns: Columns, key: str = "params.yaml, synthesize") -> tuple[Table, Roles]:
    """Open a file of rows and find its columns.

    Raises:
        UserError: as `import_rows`.
    """
    if not path.is_file():
        raise UserError(f"{key}.rows: {path} does not exist; name a file of existing rows.")
    known = path.name.casefold().endswith((*TEXT_SUFFIXES, ".parquet", ".arrow", ".tar", ".tgz", ".tar.gz"))
    found = tables(path, None, key)[0] if known else json_table(path, path.name)
    if not found.rows:
        raise UserError(f"{path} is empty; {key}.rows must name a file with rows.")
    if not found.columns:
        number, broken = next(iter(found.read(())))
        fault, detail = getattr(broken, "fault", "no column"), getattr(broken, "detail", "an empty object")
        raise UserError(f"{path}, line {number}: {fault}; rows are JSON objects, one a line ({detail}).")
    roles = resolve(columns, found.columns, found.pictures, f"{key}.columns", str(path))
    there = ", ".join(found.columns)
    for role in ("question", "answer"):
        if role not in roles.columns and "messages" not in roles.columns:
            raise UserError(f"{path}: no column looks like the {role}; it has: {there}. Name it in columns.{role}.")
    if "image" not in roles.columns and "messages" not in roles.columns:
        raise UserError(f"{path}: no column looks like the image; it has: {there}. Name it in columns.image.")
    return found, roles


def import_given(
    lines: Iterable[Record],
    records: Sequence[ImageRecord],
    own: Declared = Declared(),
) -> list[Record]:
    """Convert the rows that sources bring (`data/images/given_rows.jsonl`), as `import_rows` does those of a file."""
    by_id = {record.id: record for record in records}
    rows = []
    for line in lines:
        images = line["images"] if "images" in line else [line["image"]]
        about = [by_id[image] for image in images if image in by_id]
        lost = any(image and image not in by_id for image in images)
        fault = line.get("fault") or ("its image was put into quarantine" if lost else None)
        if not images and line["split"] not in SPLITS:
            fault = fault or f"unknown split {line['split'][:40]!r}"
        made = to_row(line, about, line["name"], fault, own)
        made["source"] = made["source"] or line["source"]
        made["split"] = made["split"] or line.get("split", "")
        place = {"annotator": "rows", "given": f"{line['source']}/{line['table']}", "line": line["number"]}
        made["provenance"] = place | ({"fault": line["detail"]} if line.get("detail") else {})
        rows.append(made)
    return unrepeated(rows)


def unrepeated(rows: list[Record]) -> list[Record]:
    """Reject rows about the same image and problem as an earlier one."""
    seen: dict[str, int] = {}
    for row in rows:
        line = row["provenance"]["line"]
        if row["reason"] is None and seen.setdefault(row["id"], line) != line:
            row["reason"] = f"same image and problem as line {seen[row['id']]}"
    return rows


def _by_origin(records: Sequence[ImageRecord], names: Iterable[Record]) -> Origins:
    """Index images by their names in the source, with and without the source's name.

    Names are indexed as they are and in Unicode's NFC: macOS writes NFD, other systems NFC.
    """
    by_id = {record.id: record for record in records}
    called = [(record, record.source, record.origin) for record in records]
    called += [(by_id[n["image"]], n["source"], posixpath.normpath(n["name"])) for n in names if n["image"] in by_id]
    found: dict[str, list[ImageRecord]] = {}
    for record, source, name in called:
        both = (name, f"{source}/{name}")
        for spelt in dict.fromkeys((*both, *(_NFC + normalize("NFC", one) for one in both))):
            found.setdefault(spelt, []).append(record)
    return found


def to_row(line: Record, about: Sequence[ImageRecord], name: str, fault: str | None, own: Declared) -> Record:
    """Convert a given row (`data.tables.given`) to a row; its first fault is its reason.

    Args:
        line: the row as it was given.
        about: its images, as far as they are there; none without a fault: the row is about none.
        name: what the row calls its images.
        fault: the reason why it is no row, as far as that is known.
        own: categories and routes of the user's own.
    """
    answer, path = _text(line["answer"]), line["path"]
    path = unwrap_path(path) or (unwrap_path(answer) if _THINK.search(answer) else "")
    fault = fault or ("its images are of different splits" if len({one.split for one in about}) > 1 else None)
    keep = neutral if fault else _placing  # without a fault, each place is that of an image
    problem, unplaced = keep(line["question"]).strip(), fault is not None
    answer, columns = unwrap_answer(answer), dict(line["columns"])
    listed = list(line.get("options", ()))
    category, reward, unknown = _routes(line, own, columns)
    if not unplaced:
        fault = unknown or ("empty problem" if not problem else "empty answer" if not answer else None)
    if listed and not options(problem) and len(listed) <= len(LETTERS):
        problem += "\n" + "\n".join(f"{letter}. {keep(t)}" for letter, t in zip(LETTERS, listed, strict=False))
    given_answers = [text for text in map(unwrap_answer, line.get("alternatives", ())) if text]
    letter, letters = _letters(line["answer"], answer, given_answers, listed, problem)
    if category == "MC" or (category is None and (listed or letter)):
        category, answer, given_answers = "MC", letter or answer, letters
        fault = fault or (None if letter else "answer names no option of the problem")
        fault = fault or ("answer names several options" if len(set(letters)) == len(letters) > 1 else None)
    if category is None:
        long = len(answer.split()) > SHORT and reward != "rule"
        category = "DES" if long or reward == "model" else "FIB"
    reward = reward or ("rule" if category in ("MC", "FIB") else "model")  # rules check no others
    images = [record.id for record in about]
    first = about[0] if about else None
    is_text = not about and not fault
    scene = first.cluster if first else content_id("text", line["question"]) if is_text else ""
    return {
        "problem": problem,
        "answer": answer,
        "category": category,
        "abilities": _abilities(line.get("abilities")),
        "refined_cot": path,
        "image_path": encodable(name),
        "reward": reward,
        "id": content_id(image_id(images) if about or is_text else "", problem),
        **(image_keys(images) if about or is_text else {"image": ""}),
        "source": first.source if first else "",
        "split": first.split if first else "",
        "scene": scene,
        "kind": f"imported {category}",
        "decisions": {"path": "kept" if path else "none"},
        "reason": fault,
    } | _further(given_answers, columns)


def _routes(line: Record, own: Declared, columns: Record) -> tuple[str | None, str | None, str | None]:
    """Return category and reward as far as they are given, and the fault of an unknown one.

    A category that the row need not have, and that is unknown, stays among the user's columns.
    """
    given_category, given_reward = line.get("category"), line.get("reward")
    category = given_category if given_category in own.categories else _mapped(given_category, CATEGORY_NAMES)
    reward = given_reward if given_reward in own.routes else _mapped(given_reward, REWARD_NAMES)
    fault = None
    if given_category and category is None:
        if line.get("is_strict"):
            fault = f"unknown category {given_category[:40]!r}"
        else:
            columns["category"] = given_category
    if given_reward and reward is None:
        fault = fault or f"unknown reward {given_reward[:40]!r}"
    return category, reward, fault


def _further(answers: Sequence[str], columns: Record) -> Record:
    """Return the keys that only some rows have: given answers that differ, and the user's other columns."""
    found: Record = {"alternatives": list(answers)} if len(counted(answers)) > 1 else {}
    return found | ({"columns": columns} if columns else {})


def _letters(
    raw: Any, answer: str, answers: Sequence[str], listed: list[str], problem: str
) -> tuple[str | None, list[str]]:
    """Return the letter of the option that is the gold, and of several answers the letters of those that name one."""
    if not answers:
        return _letter(raw, answer, listed, problem), []
    letters = [letter for text in answers if (letter := _letter(text, text, listed, problem))]
    return (max(letters, key=letters.count) if letters else None), letters


def _letter(raw: Any, answer: str, listed: list[str], problem: str) -> str | None:
    """Return the letter of the option that an answer names: by its text, its letter, or its number from 0.

    None: it names none, or a number that is also the text of another option.
    """
    is_number = isinstance(raw, int) or (isinstance(raw, str) and raw.strip().isdigit())
    if listed and is_number and 0 <= int(raw) < len(listed):
        by_text, by_number = choose(answer, problem), LETTERS[int(raw)]
        return by_number if by_text in (None, by_number) else None if isinstance(raw, int) else by_text
    return choose(answer, problem) if options(problem) else None


def _image(path: str, origins: Origins) -> tuple[ImageRecord | None, str | None]:
    """Return the image that a path names, or None, and the fault, or None."""
    clean = posixpath.normpath(path.replace("\\", "/")) if path else ""
    if clean.startswith(("/", "../")) or clean == "..":
        return None, "image_path leaves the source's folder"
    named = origins.get(clean) or origins.get(_NFC + normalize("NFC", clean), [])
    found = {record.id: record for record in named}
    if len(found) != 1:
        return None, "image_path names several images" if found else "image_path names no ingested image"
    record = next(iter(found.values()))
    return record, None


def unwrap_path(text: str) -> str:
    """Strip wrappers and answer blocks from a reasoning path.

    >>> unwrap_path("<think>two and two</think><answer>4</answer>")
    'two and two'
    """
    inner = _THINK.search(text)
    return neutral(_TAGS.sub(" ", inner.group(1) if inner else _ANSWER.sub(" ", text))).strip()


def unwrap_answer(text: str) -> str:
    """Strip wrappers from an answer; for a whole response return its answer block."""
    inner = _ANSWER.search(text)
    return neutral(_TAGS.sub(" ", inner.group(1) if inner else _THINK.sub(" ", text))).strip()


def neutral(text: str) -> str:
    """Escape media tags and chat markers as plain words in brackets."""
    return _MEDIA.sub(lambda match: f"[{match.group(1) or match.group(2)}]", text)


def _placing(text: str) -> str:
    """Escape as `neutral` does, all but the places of images."""
    return IMAGE.join(map(neutral, text.split(IMAGE)))


def _text(value: Any) -> str:
    return encodable(
        "" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    )


def _mapped(value: Any, names: dict[str, str]) -> str | None:
    return names.get(re.sub(r"[^a-z]", "", _text(value).casefold()))


def _abilities(value: Any) -> list[str]:
    """Return abilities, a list or one string, as a list of lower-case names."""
    names = value if isinstance(value, list) else re.split(r"[,;/]", _text(value))
    return [name for name in (_text(name).strip().casefold() for name in names) if name]
