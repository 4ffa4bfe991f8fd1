"""Imports run one way: flows → tasks → wethink; heavy and outside libraries stay where they belong."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tasks import ROOT

SERVICES = {"prefect", "prefect_aws", "mlflow", "dvc", "boto3", "botocore"}
ONE_HOME = ("vllm", "deepspeed", "great_expectations", "openai")  # each imported by one module of wethink


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


@pytest.mark.parametrize("library", ONE_HOME)
def test_each_outside_engine_is_imported_by_one_module(library: str) -> None:
    homes = [str(path.relative_to(ROOT)) for path in sources("wethink") if library in imports(path)]
    assert len(homes) <= 1, homes


def test_only_one_adapter_speaks_to_aws() -> None:
    homes = [path.name for folder in ("tasks", "flows") for path in sources(folder) if "boto3" in imports(path)]
    assert homes == ["sources.py"]


def test_great_expectations_is_imported_only_where_it_is_used() -> None:
    assert not [path for path in sources("wethink") if "great_expectations" in imports(path, lazy=False)]


def test_files_stay_readable() -> None:
    lengths = {
        str(path.relative_to(ROOT)): path.read_text(encoding="utf-8").count("\n")
        for package in ("wethink", "tasks", "flows")
        for path in sources(package)
    }
    assert not {name: length for name, length in lengths.items() if length > 360}


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
