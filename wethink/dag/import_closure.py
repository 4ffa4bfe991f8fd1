"""The import closure of a stage: exactly the files whose change must run it again.

Used twice, so that both agree: as the `deps` in dvc.yaml (a test compares them) and in the
fingerprint of a stage's scratch folder. Only `wethink.*` imports count, also those inside
functions; prompts and page templates count for whoever reads them (a module names them in a `ASSETS` tuple, relative
to itself).
"""

import ast
from functools import cache
from pathlib import Path

from wethink.common.paths import ROOT


def closure(module: str) -> tuple[Path, ...]:
    """Files (relative to the project root, sorted) that `module` reaches through `wethink` imports.

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
        todo += [name.rsplit(".", depth)[0] for depth in range(1, name.count(".") + 1)]  # packages run too
    return tuple(sorted({*seen.values(), *assets}))


def _file(module: str) -> Path | None:
    stem = Path(*module.split("."))
    for candidate in (stem.with_suffix(".py"), stem / "__init__.py"):
        if (ROOT / candidate).is_file():
            return candidate
    return None


@cache
def _reads(path: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The wethink modules that a file imports, and the prompts and templates that it names."""
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
