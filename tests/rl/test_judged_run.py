"""GRPO with a model judge whose account runs out of credit: the run stops with a sentence, and buys only the rest."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.chat_server import chat_server, stats
from wethink.clients.response_store import ResponseStore
from wethink.common.jsonl import read_json
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


def configured(folder: Path, url: str) -> None:
    params: dict[str, Any] = load_yaml(folder / "params.yaml")
    params["launch"]["endpoints"] = {"judge": {"url": f"{url}/v1", "concurrency": 4, "attempts": 2}}
    params["rewards"]["judge"] = {"endpoint": "judge", "model": "m"}
    params["grpo"] |= {"reward_route": "model"}
    params["grpo"]["optim"] |= {"max_steps": 4, "save_steps": 1, "train_batch_size": 2}
    params["grpo"]["outage"] |= {"retries": 0}
    params["base"]["optim"]["max_steps"] = params["sft"]["optim"]["max_steps"] = 2
    params["draw"] |= {"pretrain": 24, "train": 45, "tuning": 6, "reporting": 6}
    params["validate"] |= {"min_rows": 5, "max_quarantined": 1.0}
    YAML().dump(json.loads(json.dumps(params)), folder / "params.yaml")


def trained(folder: Path) -> list[Any]:
    """Return the run's result: the bytes of its weights and the reward of each step."""
    lines = [json.loads(line) for line in (folder / ".wethink/runs/grpo.metrics.jsonl").read_text().splitlines()]
    return [(folder / "models/grpo/model.safetensors").read_bytes(), [line["reward"] for line in lines]]


def test_a_run_whose_judge_runs_out_of_credit_stops_resumes_and_buys_nothing_twice(tmp_path: Path) -> None:
    folder, topped_up, store = tmp_path / "run", tmp_path / "topped_up", Path(".wethink/answers.sqlite")
    folder.mkdir()
    shutil.copy(ROOT / "params.yaml", folder)
    for name in ("profiles", "infra"):
        shutil.copytree(ROOT / name, folder / name)
    wethink(folder, "profile", "smoke")
    with chat_server(tmp_path, status=402, words="Insufficient credits", after=7, until=topped_up) as url:
        configured(folder, url)
        for stage in ("draw", "ingest", "synthesize", "validate", "base", "sft"):
            wethink(folder, stage)
        said = wethink(folder, "grpo", code=2)
        sentence = said.splitlines()[-1]
        assert sentence.startswith("wethink grpo: the account behind endpoint 'judge' ") and "Traceback" not in said
        assert "has no credit (HTTP 402: “Insufficient credits”); what is paid for is kept" in sentence
        assert not (folder / "models/grpo").exists()
        with ResponseStore(folder / store) as answers:
            assert answers._base.execute("SELECT COUNT(*) FROM answers").fetchone()[0] == 7
        topped_up.touch()
        wethink(folder, "grpo")
        resumed, seen = trained(folder), stats(url)
        assert seen["answered"] == seen["distinct"] > 7 and seen["probes"] == 0
        with ResponseStore(folder / store) as answers:
            assert answers.duplicate_charges() == 0
        assert read_json(folder / ".wethink/runs/grpo.run.json")["metrics"]
        shutil.rmtree(folder / "models/grpo")
        wethink(folder, "grpo")
        assert stats(url)["answered"] == seen["answered"], "a whole run again buys nothing"
    assert trained(folder) == resumed, "the run that stopped came to something else"
