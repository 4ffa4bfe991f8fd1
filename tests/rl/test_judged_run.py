"""GRPO with a model judge that refuses, lacks parameters or thinks: sentences, and nothing bought twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.chat_script import PARAMETERS
from tests.support.chat_server import chat_server, stats
from wethink.clients.response_store import ResponseStore
from wethink.common.jsonl import read_json, read_jsonl
from wethink.config.params import load_yaml

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.xdist_group("end-to-end")

# An untrained policy writes no tags, and then no judge is asked: in GRPO all that it writes is the answer.
COMMAND = """
import sys
from wethink.cli.main import main
from wethink.rewards import format
if "grpo" in sys.argv:
    format.parse = lambda response, form=None: format.Parsed("t", response[:200] or "-", None)
sys.exit(main())
"""


def wethink(folder: Path, *arguments: str, code: int = 0) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", COMMAND, *arguments]
    ended = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=500)
    assert ended.returncode == code, (ended.stdout + ended.stderr)[-4000:]
    return ended.stderr


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the stages before GRPO, which no judge has seen."""
    folder = tmp_path_factory.mktemp("prepared")
    shutil.copy(ROOT / "params.yaml", folder)
    for name in ("profiles", "infra"):
        shutil.copytree(ROOT / name, folder / name)
    wethink(folder, "profile", "smoke")
    params: dict[str, Any] = load_yaml(folder / "params.yaml")
    params["grpo"] |= {"reward_route": "model"}
    params["grpo"]["optim"] |= {"max_steps": 4, "save_steps": 1, "train_batch_size": 2}
    params["grpo"]["outage"] |= {"retries": 0}
    params["base"]["optim"]["max_steps"] = params["sft"]["optim"]["max_steps"] = 2
    params["draw"] |= {"pretrain": 24, "train": 45, "tuning": 6, "reporting": 6}
    params["validate"] |= {"min_rows": 5, "max_quarantined": 1.0}
    write_params(folder, params)
    for stage in ("draw", "ingest", "synthesize", "validate", "base", "sft"):
        wethink(folder, stage)
    return folder


def judged(prepared: Path, folder: Path, url: str) -> Path:
    """Return a copy of the prepared folder whose judge is at `url`."""
    shutil.copytree(prepared, folder, symlinks=True)
    params: dict[str, Any] = load_yaml(folder / "params.yaml")
    params["launch"]["endpoints"] = {"judge": {"url": f"{url}/v1", "concurrency": 4, "attempts": 2}}
    params["rewards"]["judge"] = {"endpoint": "judge", "model": "m"}
    write_params(folder, params)
    return folder


def write_params(folder: Path, params: dict[str, Any]) -> None:
    YAML().dump(json.loads(json.dumps(params)), folder / "params.yaml")


def paid(folder: Path) -> int:
    """Return the number of stored replies; none was bought twice."""
    with ResponseStore(folder / ".wethink/answers.sqlite") as answers:
        assert answers.duplicate_charges() == 0
        return int(answers._base.execute("SELECT COUNT(*) FROM answers")[0][0])


def trained(folder: Path) -> list[Any]:
    """Return the run's result: the bytes of its weights and the reward of each step."""
    return [(folder / "models/grpo/model.safetensors").read_bytes(), [line["reward"] for line in metrics(folder)]]


def metrics(folder: Path) -> list[dict[str, Any]]:
    return list(read_jsonl(folder / ".wethink/runs/grpo.metrics.jsonl"))


def test_a_run_whose_judge_refuses_the_account_in_the_middle_stops_resumes_and_buys_nothing_twice(
    prepared: Path, tmp_path: Path
) -> None:
    """The sentences of other refusals are held by tests/clients/test_refusals.py."""
    mended, told = tmp_path / "mended", "has no credit (HTTP 402: “not any more”); what is paid for is kept"
    with chat_server(tmp_path, status=402, words="not any more", after=7, until=mended) as url:
        folder = judged(prepared, tmp_path / "run", url)
        said = wethink(folder, "grpo", code=2)
        sentence = said.splitlines()[-1]
        assert sentence.startswith("wethink grpo: ") and "endpoint 'judge'" in sentence and "Traceback" not in said
        assert told in sentence
        assert not (folder / "models/grpo").exists() and paid(folder) == 7
        mended.touch()
        wethink(folder, "grpo")
        resumed, seen = trained(folder), stats(url)
        assert seen["answered"] == seen["distinct"] == paid(folder) > 7 and seen["probes"] == 0
        assert read_json(folder / ".wethink/runs/grpo.run.json")["metrics"]
        shutil.rmtree(folder / "models/grpo")
        wethink(folder, "grpo")
        assert stats(url)["answered"] == seen["answered"], "a whole run again buys nothing"
    assert trained(folder) == resumed, "the run that stopped came to something else"


def test_a_run_whose_judge_refuses_every_call_stops_with_the_servers_words(prepared: Path, tmp_path: Path) -> None:
    with chat_server(tmp_path, status=400, words="no such template") as url:
        folder = judged(prepared, tmp_path / "run", url)
        sentence = wethink(folder, "grpo", code=2).splitlines()[-1]
        assert "refuses every call to model 'm'" in sentence and "HTTP 400: “no such template”" in sentence
        assert stats(url)["received"] <= 8 + 2
    assert not (folder / "models/grpo").exists() and paid(folder) == 0


def test_a_judge_whose_server_lacks_every_parameter_gives_all_its_verdicts(prepared: Path, tmp_path: Path) -> None:
    with chat_server(tmp_path, refuses=",".join(PARAMETERS)) as url:
        folder = judged(prepared, tmp_path / "run", url)
        wethink(folder, "grpo")
        seen = stats(url)
        assert seen["answered"] == paid(folder) > 7
        run = trained(folder)
        assert all(line["unknown"] == 0 for line in metrics(folder))
        shutil.rmtree(folder / "models/grpo")
        wethink(folder, "grpo")
        assert stats(url)["answered"] == seen["answered"] and trained(folder) == run


@pytest.mark.parametrize("shape", ["parts", "apart", "noopen"])
def test_a_judge_that_thinks_gives_the_run_of_one_that_does_not(
    prepared: Path, plain: list[Any], tmp_path: Path, shape: str
) -> None:
    with chat_server(tmp_path, shape=shape) as url:
        folder = judged(prepared, tmp_path / "run", url)
        wethink(folder, "grpo")
        seen = stats(url)
    assert trained(folder) == plain and seen["answered"] == seen["distinct"] == paid(folder)


@pytest.fixture(scope="module")
def plain(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Any]:
    home = tmp_path_factory.mktemp("plain")
    with chat_server(home) as url:
        folder = judged(prepared, home / "run", url)
        wethink(folder, "grpo")
    return trained(folder)


def test_a_judge_whose_replies_are_thoughts_alone_stops_the_run_and_nothing_counts_as_wrong(
    prepared: Path, tmp_path: Path
) -> None:
    with chat_server(tmp_path, shape="only_reasoning") as url:
        folder = judged(prepared, tmp_path / "run", url)
        said = wethink(folder, "grpo", code=2)
    assert "none of the first 32 replies of the judge 'm' is a verdict" in said.splitlines()[-1]
    assert "Traceback" not in said and not (folder / "models/grpo").exists()
