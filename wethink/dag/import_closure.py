"""Import closure of a stage: the source files whose change must run it again.

The closure is the `deps` in dvc.yaml (a test compares them) and part of the fingerprint of a stage's scratch folder.
Only `wethink.*` imports count, also those inside functions. Prompts and page templates count for the module that
names them in its `ASSETS` tuple, relative to itself.
"""

import ast
from functools import cache
from pathlib import Path

from wethink.common.paths import ROOT


def closure(module: str) -> tuple[Path, ...]:
    """Return the files that `module` reaches through `wethink` imports.

    Paths are relative to the project root and sorted.

    >>> any(path.name == "errors.py" for path in closure("wethink.common.jsonl"))
    True
    """
    seen: dict[str, Path] = {}
    assets: set[Path] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        path = _file(name)
        if path is None or name in seen:
            continue
        seen[name] = path
        imports, named = _reads(path)
        assets |= {path.parent / asset for asset in named}
        todo += imports
        todo += [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]  # packages are imported, too
    return tuple(sorted({*seen.values(), *assets}))


def _file(module: str) -> Path | None:
    stem = Path(*module.split("."))
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


@cache
def _reads(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the wethink modules that a file imports, and its `ASSETS`."""
    imports: list[str] = []
    assets: tuple[str, ...] = ()
    for node in ast.walk(ast.parse((ROOT / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            imports += [alias.name for alias in node.names if alias.name.split(".")[0] == "wethink"]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "wethink":
            imports += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        elif isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == "ASSETS" for t in node.targets):
            assets = ast.literal_eval(node.value)
    return tuple(imports), assets
