"""Imports run one way: flows → tasks → wethink; heavy and outside libraries stay where they belong."""

import ast
import subprocess
import sys
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from tasks import ROOT
from tests.support import package_tree

SERVICES = {"prefect", "prefect_aws", "mlflow", "wandb", "tensorboard", "dvc", "boto3", "botocore"}
HOMES = {  # outside engines, and the modules of wethink that may import them
    "vllm": set[str](),  # served in an environment of its own: generation/vllm_server.py runs there as a file
    "deepspeed": {"wethink/training/engine.py", "wethink/training/ranks.py"},
    "great_expectations": {"wethink/curation/validate.py"},
    "openai": {"wethink/clients/connection.py"},
    "bitsandbytes": {"wethink/models/low_bit.py"},
}
# Each package imports only those before it.
ORDER = (
    "common", "config", "data", "clients", "rewards", "synthesis", "curation", "models", "training", "generation", "rl",
    "evaluation", "experiments", "retraining", "report", "export", "dag", "cli",
)  # fmt: skip
MOST_FILES, MOST_LINES = 16, 360


def sources(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imports(path: Path, lazy: bool = True) -> set[str]:
    """Top-level packages that a file imports, with or without those that functions import."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    inside = {
        node for function in ast.walk(tree) if isinstance(function, ast.FunctionDef) for node in ast.walk(function)
    }
    typing_only = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.dump(block.test)
        for node in ast.walk(block)
    }
    found = set()
    for node in ast.walk(tree):
        if node in typing_only or (not lazy and node in inside):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add((node.module or "").split(".")[0])
    return found


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [("wethink", SERVICES | {"tasks", "flows", "tests"}), ("tasks", {"flows", "tests"}), ("flows", {"tests"})],
)
def test_imports_run_one_way(package: str, forbidden: set[str]) -> None:
    assert sources(package)
    assert not {str(path): found for path in sources(package) if (found := imports(path) & forbidden)}


def test_the_detector_sees_imports_inside_functions_too(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("import json\ndef work():\n    from mlflow.entities import Metric\n")
    assert imports(planted) == {"json", "mlflow"}
    assert imports(planted, lazy=False) == {"json"}


@pytest.mark.parametrize("library", HOMES)
def test_each_outside_engine_is_imported_only_where_it_is_wrapped(library: str) -> None:
    homes = {path.relative_to(ROOT).as_posix() for path in sources("wethink") if library in imports(path)}
    assert homes <= HOMES[library]


def test_only_one_adapter_speaks_to_aws() -> None:
    homes = [path.name for folder in ("tasks", "flows") for path in sources(folder) if "boto3" in imports(path)]
    assert homes == ["s3.py"]


def package_imports(path: Path) -> set[str]:
    """Packages of wethink that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names = [node.module] if node.module != "wethink" else [f"wethink.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("wethink.")}
    return found


def backward(package: str, path: Path) -> set[str]:
    """Packages that a file imports although they stand after its own."""
    return {name for name in package_imports(path) if ORDER.index(name) > ORDER.index(package)}


@pytest.mark.parametrize("package", ORDER)
def test_a_package_imports_only_those_before_it(package: str) -> None:
    files = sources(f"wethink/{package}")
    assert files
    assert not {str(path): found for path in files if (found := backward(package, path))}


def test_the_detector_sees_a_backward_import(tmp_path: Path) -> None:
    planted = tmp_path / "planted.py"
    planted.write_text("def work():\n    from wethink.dag.stage import Stage\n    from wethink.common import errors\n")
    assert backward("data", planted) == {"dag"} and not backward("cli", planted)


def test_every_package_stands_in_the_order() -> None:
    folders = {path.name for path in (ROOT / "wethink").iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ORDER)
    assert len([path for path in (ROOT / "wethink").iterdir() if path.name != "__pycache__"]) <= 20


def module_imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Modules of wethink that a file imports when it is imported itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = set[str]()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found & set(modules)


def test_no_modules_import_each_other_in_a_circle() -> None:
    modules = {".".join(path.relative_to(ROOT).with_suffix("").parts): path for path in sources("wethink")}
    graph = {name: module_imports(path, modules) for name, path in modules.items()}
    assert list(TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("package", ["wethink", "tasks", "flows", "benchmarks"])
def test_no_package_has_more_files_than_one_can_hold_in_mind(package: str) -> None:
    counts = Counter(
        path.parent.relative_to(ROOT).as_posix() for path in sources(package) if path.name != "__init__.py"
    )
    assert not {name: count for name, count in counts.items() if count > MOST_FILES}


def test_great_expectations_is_imported_only_where_it_is_used() -> None:
    assert not [path for path in sources("wethink") if "great_expectations" in imports(path, lazy=False)]


def test_files_stay_readable() -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n")
        for package in ("wethink", "tasks", "flows", "benchmarks")
        for path in sources(package)
    }
    assert not {name: length for name, length in lengths.items() if length > MOST_LINES}


def test_the_tree_in_the_docs_is_that_of_the_packages() -> None:
    text = package_tree.PAGE.read_text(encoding="utf-8")
    assert package_tree.page(text) == text, "run `make docs`"


# Functions that may be longer, with the reason.
LONG = {
    "benchmarks/speed/ours.py:side": "handlers of one process, closures over its ranks, processors and images",
}
MOST_FUNCTION_LINES = 60


def test_functions_stay_short_but_for_named_ones() -> None:
    found = {}
    for path in (path for package in ("wethink", "tasks", "flows", "benchmarks") for path in sources(package)):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                length = (node.end_lineno or node.lineno) - node.lineno + 1
                if length > MOST_FUNCTION_LINES:
                    found[f"{path.relative_to(ROOT).as_posix()}:{node.name}"] = length
    assert set(found) == set(LONG)


@pytest.mark.parametrize("arguments", [["--help"], ["grpo", "--help"], ["ask", "--help"]])
def test_help_imports_nothing_heavy(arguments: list[str]) -> None:
    probe = (
        "import runpy, sys\n"
        f"sys.argv = ['wethink', *{arguments!r}]\n"
        "try:\n    runpy.run_module('wethink', run_name='__main__')\n"
        "except SystemExit as end:\n    assert not end.code\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'great_expectations', 'datasets', 'PIL', 'sklearn'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage" in done.stdout
