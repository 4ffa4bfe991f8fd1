"""Tiny project folder in which `sft` and `grpo` run in seconds, for invariants of whole stages."""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from unittest import mock

import pyarrow as pa
import pyarrow.parquet as pq

from tests.invariants.worlds import in_world
from tests.support.miniature import TEXT, NoiseImages, policy, taught
from wethink.common.errors import UserError
from wethink.common.jsonl import write_json, write_jsonl
from wethink.config.params import load_params, parse_params
from wethink.config.response_format import ResponseFormat
from wethink.config.training import Family
from wethink.dag.runner import run_rank
from wethink.data.image_store import SCHEMA
from wethink.data.schema import image_keys
from wethink.models.policy import save_policy
from wethink.rewards.format import DEFAULT

ROOT = Path(__file__).resolve().parents[2]
SFT_STEPS, GRPO_STEPS = 12, 6


def build(folder: Path, form: ResponseFormat = DEFAULT, mixed: bool = False, family: Family = "qwen2_5_vl") -> Path:
    """Drawn images, rows and a miniature base policy that writes the format and guesses answers.

    Rows are about one image each; mixed ones about 0, 1, 2 and 5, some placed in the question.
    """
    images, records = NoiseImages(), []
    for i in range(12):
        buffer = io.BytesIO()
        images.open(f"noise {i}").save(buffer, "PNG")
        blob = buffer.getvalue()
        records.append(
            {
                "id": hashlib.sha256(blob).hexdigest(),
                "bytes": blob,
                "source": "noise",
                "split": "train",
                "cluster": str(i),
                "width": 56,
                "height": 56,
                "origin": str(i),
            }
        )
    (folder / "data/images").mkdir(parents=True)
    (folder / "data/valid").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(records, schema=SCHEMA), folder / "data/images/shard-00000.parquet")
    vocabulary = TEXT.split()
    rows = [
        {
            "id": f"{i:016x}",
            "image": record["id"],
            "split": "train",
            "kind": "count",
            "problem": " ".join(vocabulary[3 : 6 + i % 5]),
            "answer": str(1 + i % 3),
            "category": "FIB",
            "reward": "rule",
            "refined_cot": " ".join(vocabulary[8 : 10 + i % 6]) if i % 2 else "",
        }
        for i, record in enumerate(records * 2)
    ]
    if mixed:
        ids = [record["id"] for record in records]
        for i, row in enumerate(rows):
            shown = [ids[(i + k) % len(ids)] for k in range((0, 1, 2, 5)[i // 2 % 4])]
            del row["image"]
            row |= image_keys(shown) | {"problem": row["problem"] + " or <image>" * len(shown) * (i // 8 % 2)}
    write_jsonl(folder / "data/valid/rows.jsonl", rows)
    (state, made), (model, _) = taught(form, family), policy(form=form, family=family)
    model.load_state_dict(state)
    for name in ("base", "sft"):
        save_policy(model, None, made, folder / "models" / name, "card")
    params = load_params(ROOT / "params.yaml").model_dump(mode="json", by_alias=True)
    params["sft"]["optim"] |= {"max_steps": SFT_STEPS, "train_batch_size": 5, "micro_batch_size": 2, "save_steps": 4}
    params["sft"]["optim"] |= {"lr": 0.01, "muon_lr": 0.02}
    params["grpo"]["optim"] |= {
        "max_steps": GRPO_STEPS,
        "train_batch_size": 4,
        "micro_batch_size": 8,
        "save_steps": 2,
        "lr": 0.001,
    }
    params["rewards"]["format"] = form.model_dump()
    params["grpo"] |= {"num_generations": 4, "max_completion_length": 12, "start": "base"}
    params["launch"] |= {"processes": 1, "threads": 1, "deepspeed": str(ROOT / "infra/deepspeed/zero1_fp32.json")}
    write_json(folder / "params.json", params)
    (folder / "params.yaml").write_text((folder / "params.json").read_text())  # JSON is YAML
    return folder


def changed(folder: Path, overrides: Mapping[str, Any]) -> dict[str, Any]:
    """The folder's parameters with some of them changed: dotted keys with `__` for the dot."""
    params: dict[str, Any] = json.loads((folder / "params.json").read_text())
    for key, value in overrides.items():
        *path, last = key.split("__")
        section = params
        for part in path:
            section = section[part]
        section[last] = value
    return params


def rank(folder: Path, name: str, scratch: Path, overrides: Mapping[str, Any]) -> None:
    """One rank of a stage in this process, for worlds of forked ranks; it leaves `scratch/out`."""
    os.chdir(folder)
    scratch.mkdir(exist_ok=True)
    run_rank(name, scratch, parse_params(changed(folder, overrides), "params.json"))


def told(
    workshop: Path, name: str, overrides: Mapping[str, Any], scratch: str = "scratch", world: int = 1, **plant: Any
) -> str:
    """What a stage told the user, '' if it finished; `plant` replaces functions (`__` for the dot) in every rank."""
    patches = [mock.patch(f"wethink.{target.replace('__', '.')}", defect) for target, defect in plant.items()]
    for patch in patches:
        patch.start()
    try:
        return str(in_world(world, _told, workshop, name, workshop / scratch, dict(overrides))[0])
    finally:
        for patch in patches:
            patch.stop()


def _told(folder: Path, name: str, scratch: Path, overrides: Mapping[str, Any]) -> str:
    try:
        rank(folder, name, scratch, overrides)
    except UserError as error:
        return str(error)
    return ""


def stage(
    folder: Path, name: str, processes: int = 1, kill_after_step: int | None = None, **overrides: Any
) -> dict[str, str]:
    """Run a stage with the folder's parameters; return the sha256 of what it published.

    `overrides` are dotted keys with `__` for the dot: `grpo__optim__max_steps=3`, `launch__deepspeed=…`.
    """
    params = changed(folder, {"launch__processes": processes} | overrides)
    (folder / "params.yaml").write_text(json.dumps(params))
    log = folder / f".wethink/runs/{name}.metrics.jsonl"
    log.unlink(missing_ok=True)  # an earlier run's
    child = subprocess.Popen(
        [sys.executable, "-m", "wethink", name],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    if kill_after_step is not None:
        while not log.exists() or sum(1 for _ in log.open()) < kill_after_step:
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.005)
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        return {}
    _, errors = child.communicate(timeout=400)
    assert child.returncode == 0, errors.decode()[-3000:]
    return dict(json.loads((folder / "models" / name / "manifest.json").read_text()))


def untimed(folder: Path, name: str) -> list[dict[str, Any]]:
    """The log rows of the last run, without what a clock measured."""
    text = (folder / f".wethink/runs/{name}.metrics.jsonl").read_text()
    return [{k: v for k, v in json.loads(line).items() if "second" not in k} for line in text.splitlines()]
