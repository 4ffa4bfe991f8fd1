r"""Pairs of gold and answer in other people's test files, read from their source by its syntax tree, never run.

Three shapes are read: tables of `pytest.mark.parametrize` and `parameterized.expand`, lists of completions and
solutions beside assertions on their rewards, and JSON files of cases. Nothing of these files is kept here: they are
read at a pinned commit from a clone in `.cache/peers/`, or from a folder or bare git directory that the user names.
"""

import ast
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CACHE = Path(".cache/peers")
GOLDS = ("gold", "label", "target", "ground_truth")
ANSWERS = ("pred", "prediction", "output", "model_output", "completion")
TRUTHS = ("expected", "result", "expected_score")


@dataclass(frozen=True)
class Source:
    """A repository at a commit: its test files, and the words of which a test's name must have one (all, if none)."""

    name: str
    url: str
    commit: str
    files: tuple[str, ...]
    only: tuple[str, ...] = ()


SOURCES = (
    Source(
        "Math-Verify",
        "https://github.com/huggingface/Math-Verify",
        "5d148cfaaf99214c2e4ffb4bc497ab042c592a7a",
        ("tests/test_all.py", "tests/test_yujianll.py"),
    ),
    Source(
        "lighteval",
        "https://github.com/huggingface/lighteval",
        "3fd15266bc8448b797e61462d293aa3fd40b3580",
        ("tests/unit/metrics/test_extractive_match.py",),
    ),
    Source(
        "NeMo-Skills",
        "https://github.com/NVIDIA/NeMo-Skills",
        "0b012df8a09cd4730d31b16e90a0d8f13d145fb8",
        ("tests/test_math_equal.py",),
    ),
    Source(
        "inspect_ai",
        "https://github.com/UKGovernmentBEIS/inspect_ai",
        "499e6152e7b8fc8cbd8ac5283536572aa6e4ab17",
        ("tests/scorer/math_cases.json",),
    ),
    Source(
        "ms-swift",
        "https://github.com/modelscope/ms-swift",
        "3602360a562313afbf2ef6065fdf61f271a2c5b9",
        ("tests/utils/test_rewards.py",),
    ),
    Source(
        "TRL",
        "https://github.com/huggingface/trl",
        "f2cd57710ae345ea6428ae95363267fcf38a3dc8",
        ("tests/test_rewards.py",),
        ("test_accuracy_reward",),
    ),
    Source(
        "open-r1",
        "https://github.com/huggingface/open-r1",
        "1416fa0cf21595d2083b399a2a0bbddd7f6e9563",
        ("tests/test_rewards.py",),
        ("test_accuracy_reward", "test_multiple_completions"),
    ),
    Source(
        "open-instruct",
        "https://github.com/allenai/open-instruct",
        "e6c3044aa6201c8bfa4573c1b03142af599e730d",
        ("open_instruct/test_ground_truth_utils.py",),
        ("test_basic_scenarios", "test_signed_number_extraction"),
    ),
)


@dataclass(frozen=True)
class Case:
    """A pair of a peer's own tests, and whether the peer holds it for right."""

    peer: str
    gold: str
    answer: str
    equal: bool


def texts(source: Source, folder: Path | None) -> dict[str, str]:
    """Read the files of a source from a folder, a bare git directory, or a clone made in `.cache/peers/`.

    Raises:
        OSError: it cannot be cloned, or has no such file.
    """
    place = folder or clone(source)
    if (place / source.files[0]).is_file():
        return {name: (place / name).read_text(encoding="utf-8") for name in source.files}
    git = place / ".git" if (place / ".git").exists() else place
    found: dict[str, str] = {}
    for name in source.files:
        shown = subprocess.run(
            ["git", f"--git-dir={git}", "show", f"{source.commit}:{name}"], capture_output=True, text=True
        )
        if shown.returncode:
            raise OSError(f"{source.name}: no {name} at {source.commit[:12]} in {place}")
        found[name] = shown.stdout
    return found


def clone(source: Source) -> Path:
    place = CACHE / source.name
    if not (place / "HEAD").is_file():
        place.parent.mkdir(parents=True, exist_ok=True)
        command = ["git", "clone", "--quiet", "--bare", "--filter=blob:none", source.url, str(place)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=600)
        if done.returncode:
            raise OSError(f"{source.name}: {done.stderr.strip().splitlines()[-1:]}")
    return place


def extract(source: Source, files: dict[str, str]) -> list[Case]:
    """Return the distinct pairs of a source; a pair that its tests hold for both right and wrong is left out."""
    truths: dict[tuple[str, str], set[bool]] = {}
    for name, text in files.items():
        found = _from_json(text) if name.endswith(".json") else _from_tests(ast.parse(text), source.only)
        for gold, answer, equal in found:
            truths.setdefault((_final(gold), _final(answer)), set()).add(equal)
    return [
        Case(source.name, gold, answer, next(iter(truth)))
        for (gold, answer), truth in truths.items()
        if len(truth) == 1 and gold.strip() and answer.strip()
    ]


def _final(text: str) -> str:
    r"""The final answer of a completion: what stands between answer tags, or in the last `\boxed{}`; else all of it."""
    text = text.rpartition("</think>")[2]
    tagged = re.findall(r"<answer>(.*?)</answer>", text, re.DOTALL)
    text = tagged[-1] if tagged else text
    start = text.rfind(r"\boxed{")
    if start < 0:
        return text
    depth = 0
    for place in range(start + 6, len(text)):
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            return text[start + 7 : place]
    return text


def _from_json(text: str) -> Iterator[tuple[str, str, bool]]:
    for row in json.loads(text):
        yield str(row["target"]), str(row["output"]), row["expected"] in ("C", 1, True)


def _from_tests(tree: ast.Module, only: tuple[str, ...]) -> Iterator[tuple[str, str, bool]]:
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or not node.name.startswith("test"):
            continue
        if only and not any(word in node.name for word in only):
            continue
        for decorator in node.decorator_list:
            yield from _from_table(decorator, node)
        yield from _from_lists(node)


def _from_table(decorator: ast.expr, test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str, bool]]:
    if not isinstance(decorator, ast.Call) or not isinstance(decorator.func, ast.Attribute):
        return
    arguments = [argument.arg for argument in test.args.args if argument.arg != "self"]
    if decorator.func.attr == "parametrize" and len(decorator.args) > 1:
        named = _value(decorator.args[0])
        names = [name.strip() for name in named.split(",")] if isinstance(named, str) else list(named or ())
        table = decorator.args[1]
    elif decorator.func.attr == "expand" and decorator.args:
        names, table = arguments, decorator.args[0]
    else:
        return
    for row in table.elts if isinstance(table, ast.List | ast.Tuple) else ():
        if not isinstance(row, ast.Tuple):
            continue
        values = [_value(cell) for cell in row.elts]
        if names == ["output_pair"]:  # a table of equal or of unequal pairs: the test's name says which
            cells, truth = dict(zip(("gold", "pred"), values, strict=False)), "incorrect" not in test.name
        else:
            cells = {name.lstrip("_"): value for name, value in zip(names, values, strict=False)}
            truth = _first(cells, TRUTHS)
        gold, answer = _first(cells, GOLDS), _first(cells, ANSWERS)
        if isinstance(gold, str | int | float) and isinstance(answer, str | int | float) and truth is not None:
            yield str(gold), str(answer), bool(truth)


def _from_lists(test: ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[tuple[str, str, bool]]:
    lists: dict[str, list[Any]] = {}
    truths: dict[int, bool] = {}
    for node in ast.walk(test):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = _value(node.value)
            if isinstance(value, list):
                name = node.targets[0].id.rstrip("s")
                if name in lists:  # two cases in one test: which rewards are whose cannot be told
                    return
                lists[name] = value
        elif isinstance(node, ast.Assert | ast.Call):
            truths |= dict(_asserted(node))
    for place, truth in truths.items():
        golds, answers = lists.get("solution", []), lists.get("completion", [])
        if place < len(golds) and place < len(answers) and isinstance(golds[place], str):
            answer = answers[place]
            answer = answer[0]["content"] if isinstance(answer, list) else answer
            yield golds[place], answer, truth


def _asserted(node: ast.Assert | ast.Call) -> Iterator[tuple[int, bool]]:
    """Yield place and truth of `assert rewards[0] == 1.0` and of `self.assertEqual(rewards[0], 1.0)`."""
    sides: list[ast.expr] = []
    if isinstance(node, ast.Assert) and isinstance(node.test, ast.Compare) and isinstance(node.test.ops[0], ast.Eq):
        sides = [node.test.left, *node.test.comparators]
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "assertEqual":
        sides = node.args[:2]
    if len(sides) == 2 and isinstance(sides[0], ast.Subscript) and ast.unparse(sides[0].value) == "rewards":
        place, truth = _value(sides[0].slice), _value(sides[1])
        if isinstance(place, int) and isinstance(truth, int | float):
            yield place, truth > 0.5


def _first(cells: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((cells[name] for name in names if name in cells), None)


def _value(node: ast.expr) -> Any:
    """The value of a literal, also of arithmetic between literals such as `5 / 2`; None for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
        top, below = _value(node.left), _value(node.right)
        return top / below if isinstance(top, int | float) and isinstance(below, int | float) else None
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
