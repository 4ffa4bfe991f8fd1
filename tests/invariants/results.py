"""Results of laws, each with the commit and a hash of the code that it was measured on."""

import ast
import hashlib
import re
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

from wethink.common.jsonl import read_json, write_json
from wethink.common.paths import ROOT

REPORT = Path("reports/laws.json")
INPUTS = ("infra/deepspeed/*.json", "requirements*.lock")  # what every law may depend on beside code
MODULE = re.compile(r"(?:wethink|tests)(?:\.\w+)+")


def known(code: dict[str, str]) -> dict[str, dict[str, Any]]:
    """The report's results of the laws in `code` (name → hash), without those of other code."""
    if not REPORT.exists():
        return {}
    return {
        entry["name"]: entry
        for entry in read_json(REPORT)["laws"]
        if entry["name"] in code and entry.get("code") == code[entry["name"]]
    }


def write(results: dict[str, dict[str, Any]], order: list[str]) -> None:
    REPORT.parent.mkdir(exist_ok=True)
    write_json(REPORT, {"laws": [results[name] for name in order if name in results]})


def commit() -> str:
    """The commit that is checked out, with `-dirty` where files differ from it."""
    ended = subprocess.run(["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True)
    return ended.stdout.strip() or "none"


@cache
def code_of(module: str) -> str:
    """A hash of all files that the laws of a module depend on."""
    files = closure(module) | {path.relative_to(ROOT) for pattern in INPUTS for path in ROOT.glob(pattern)}
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path}\n".encode() + hashlib.sha256((ROOT / path).read_bytes()).digest())
    return digest.hexdigest()[:16]


def closure(module: str) -> set[Path]:
    """The files of `wethink` and `tests` that a module reaches, and those that they name.

    A module is reached by an import, also inside a function, or by a string: planted defects, processes and the stage
    table name modules so.
    """
    files: set[Path] = set()
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        while name and (path := _file(name)) is None:  # a function's module
            name = name.rpartition(".")[0]
        if name in seen or not name:
            continue
        seen.add(name)
        modules, named = _reads(path)
        files |= {path, *named}
        todo += [*modules, name.rpartition(".")[0]]  # importing a module runs its packages
    return files


def _file(module: str) -> Path | None:
    stem = Path(*module.split("."))
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


@cache
def _reads(path: Path) -> tuple[list[str], list[Path]]:
    """The modules and the files that a source file names."""
    modules: list[str] = []
    files: list[Path] = []
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 100:
            if match := MODULE.match(node.value):
                modules.append(match.group())
            files += [place / node.value for place in (Path(), path.parent) if _is_source(place / node.value)]
    return [module for module in modules if module.split(".")[0] in ("wethink", "tests")], files


def _is_source(path: Path) -> bool:
    """Return whether code reads this file: it is no page, no report and in no environment."""
    if "\0" in str(path) or path.is_absolute() or path.suffix == ".md" or path.parts[:1] == ("reports",):
        return False
    return not any(part.startswith(".") for part in path.parts) and (ROOT / path).is_file()
