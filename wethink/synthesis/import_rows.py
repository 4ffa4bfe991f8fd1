"""Import of existing rows: a JSONL file with the released dataset's keys, normalised or rejected.

Quirks of released rows (paper.md, "Dataset") and their treatment:

* a `refined_cot` or an `answer` with `<think>`/`<answer>` wrappers is unwrapped;
* an empty reasoning or answer rejects the row;
* literal media tags and chat markers, which tokenizers would parse, are escaped: `<image>`, `<|im_end|>` become
  `[image]`, `[im_end]`;
* multiple-choice answers (`A)`, `(a)`, the option's text) become the letter;
* other spellings of `category` and `reward` are mapped by `CATEGORY_NAMES` and `REWARD_NAMES`;
* `image_path` is joined with the ingested images by their origin and must stay within the source's folder.

Every line becomes a row or a rejection with a reason.
"""

import json
import posixpath
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from unicodedata import normalize

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, encodable, file_sha256, json_lines
from wethink.data.image_store import ImageRecord
from wethink.data.schema import RELEASED_KEYS
from wethink.rewards.rules.options import choose

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

_THINK = re.compile(r"<think>(.*?)(?:</think>|$)", re.DOTALL | re.IGNORECASE)
_ANSWER = re.compile(r"<answer>(.*?)(?:</answer>|$)", re.DOTALL | re.IGNORECASE)
_TAGS = re.compile(r"</?(?:think|answer)>", re.IGNORECASE)
_NFC = "\0"  # marks the NFC form of a name, which is tried if no image has the name itself
_MEDIA = re.compile(r"<(image|video|audio)>|<\|([a-z0-9_]+)\|>", re.IGNORECASE)


def import_rows(path: Path, records: Sequence[ImageRecord], with_path: Callable[[str], bool]) -> list[Record]:
    """Read every line of a file as a row with its `reason` (None: kept).

    Args:
        path: the JSONL file.
        records: the ingested images.
        with_path: returns whether a train image's rows keep their reasoning path (SFT) or only the answer (GRPO).

    Raises:
        UserError: the file is missing or empty, none of its lines is an object, or all of its rows lack a released key.
    """
    if not path.is_file():
        raise UserError(f"params.yaml, synthesize.rows: {path} does not exist; name a JSONL file of existing rows.")
    lines = list(json_lines(path))
    if not lines:
        raise UserError(f"{path} is empty; params.yaml, synthesize.rows must name a file with rows.")
    if all(line.fault for line in lines):
        first = lines[0]
        raise UserError(
            f"{path}, line {first.number}: {first.fault}; rows are JSON objects, one a line ({first.detail})."
        )
    for key in RELEASED_KEYS:
        if all(line.record.get(key) is None for line in lines):
            raise UserError(f"{path}: no row has the key '{key}'; rows need {', '.join(RELEASED_KEYS)}.")
    origins = _by_origin(records)
    provenance = {"annotator": "rows", "file": file_sha256(path)[:16]}
    seen: dict[str, int] = {}
    rows = []
    for line in lines:
        row = _import(line.record, origins, with_path)
        row["provenance"] = provenance | {"line": line.number} | ({"fault": line.detail} if line.fault else {})
        row["reason"] = line.fault or row["reason"]
        if row["reason"] is None and seen.setdefault(row["id"], line.number) != line.number:
            row["reason"] = f"same image and problem as line {seen[row['id']]}"
        rows.append(row)
    return rows


def _by_origin(records: Sequence[ImageRecord]) -> dict[str, list[ImageRecord]]:
    """Index images by their path in the source, with and without the source's name.

    Names are indexed as they are and in Unicode's NFC: macOS writes NFD, other systems NFC.
    """
    found: dict[str, list[ImageRecord]] = {}
    for record in records:
        names = (record.origin, f"{record.source}/{record.origin}")
        for name in dict.fromkeys((*names, *(_NFC + normalize("NFC", name) for name in names))):
            found.setdefault(name, []).append(record)
    return found


def _import(given: Record, origins: dict[str, list[ImageRecord]], with_path: Callable[[str], bool]) -> Record:
    """Convert one line to a row; its first fault is its reason."""
    missing = [key for key in RELEASED_KEYS if given.get(key) is None]
    record, fault = _image(str(given.get("image_path") or ""), origins)
    category, reward = _mapped(given.get("category"), CATEGORY_NAMES), _mapped(given.get("reward"), REWARD_NAMES)
    problem = neutral(_text(given.get("problem"))).strip()
    answer, path = unwrap_answer(_text(given.get("answer"))), unwrap_path(_text(given.get("refined_cot")))
    if missing:
        fault = f"key '{missing[0]}' is missing"
    elif category is None:
        fault = f"unknown category {_text(given['category'])[:40]!r}"
    elif reward is None:
        fault = f"unknown reward {_text(given['reward'])[:40]!r}"
    elif not problem:
        fault = "empty problem"
    elif not answer:
        fault = "empty answer"
    elif not path:
        fault = "empty reasoning"
    elif category == "MC":
        letter = choose(answer, problem)
        fault, answer = fault or (None if letter else "answer names no option of the problem"), letter or answer
    keeps = record is not None and record.split == "train" and with_path(record.id)
    return {
        "problem": problem,
        "answer": answer,
        "category": category or _text(given.get("category")),
        "abilities": _abilities(given.get("abilities")),
        "refined_cot": path if keeps else "",
        "image_path": _text(given.get("image_path")),
        "reward": reward or _text(given.get("reward")),
        "id": content_id(record.id if record else "", problem),
        "image": record.id if record else "",
        "source": record.source if record else "",
        "split": record.split if record else "",
        "scene": record.cluster if record else "",
        "kind": f"imported {category}" if category else "imported",
        "decisions": {"path": "kept" if keeps else "set aside" if path else "none"},
        "reason": fault,
    }


def _image(path: str, origins: dict[str, list[ImageRecord]]) -> tuple[ImageRecord | None, str | None]:
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
