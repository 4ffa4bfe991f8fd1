"""Accounting check of row synthesis with images against a real vLLM server with untrained models.

    python -m benchmarks.interop.vllm_synthesis [--model models/grpo] [--images 6]

`.venv-vllm` serves two models in turn. The first is a checkpoint of the tiny profile, whose vocabulary has no braces:
it cannot write JSON, so vLLM 0.32 returns HTTP 500 to every request; synthesis must end with an error message and
publish nothing. The second has random weights over bytes and writes random JSON under a schema; every image must have
an outcome. Writes reports/vllm_synthesis.json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

from benchmarks.crash_safety.synthesis import environment, project
from wethink.clients.response_store import ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER
from wethink.common.jsonl import read_json, read_jsonl, write_json
from wethink.config.params import load_yaml
from wethink.config.training import TinyModel

ROOT = Path(__file__).resolve().parents[2]
PORT = 18431
PATIENCE = 1500.0  # seconds until a server on a busy machine is ready


def noise(folder: Path) -> Path:
    """Build and save a tiny Qwen2.5-VL with random weights and one token per byte."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    from wethink.models.chat_prompts import chat_template
    from wethink.models.policy import Processor, save_policy
    from wethink.models.tiny import EOS, PAD, SPECIAL, build_image_processor, build_model

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    core = Tokenizer(models.BPE({token: i for i, token in enumerate([*SPECIAL, *alphabet])}, []))
    core.pre_tokenizer, core.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    core.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=core, pad_token=PAD, eos_token=EOS, model_max_length=8192)
    tokenizer.chat_template = chat_template("")
    shape = TinyModel(
        hidden_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        intermediate_size=128,
        vision_depth=2,
        vision_hidden_size=64,
        initializer_range=0.02,
    )
    save_policy(
        build_model(shape, tokenizer, 0), None, Processor(tokenizer, build_image_processor(56)), folder, "noise"
    )
    config = read_json(folder / "config.json")
    for part in (config, config.get("text_config", {})):  # rotary positions allow any length
        part["max_position_embeddings"] = 8192
    write_json(folder / "config.json", config)
    return folder


@contextmanager
def served(model: Path, length: int, log: Path) -> Iterator[str]:
    """Start vLLM's server on loopback; yield its URL once it is ready."""
    command = [str(ROOT / ".venv-vllm/bin/python"), "-m", "vllm.entrypoints.openai.api_server", "--model", str(model)]
    command += ["--served-model-name", "tiny", "--host", "127.0.0.1", "--port", str(PORT), "--dtype", "float32"]
    command += ["--max-model-len", str(length), "--enforce-eager", "--limit-mm-per-prompt", '{"image": 1, "video": 0}']
    quiet = {"VLLM_CPU_KVCACHE_SPACE": "1", "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    with log.open("wb") as sink, subprocess.Popen(command, env=os.environ | quiet, stdout=sink, stderr=sink) as server:
        try:
            until = time.monotonic() + PATIENCE
            while True:
                if server.poll() is not None or time.monotonic() > until:
                    sys.exit(f"vLLM did not start; see {log}")
                try:
                    with urlopen(f"http://127.0.0.1:{PORT}/health", timeout=5):
                        break
                except (URLError, OSError):
                    time.sleep(1)
            yield f"http://127.0.0.1:{PORT}"
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def check(home: Path, name: str, model: Path, length: int, images: int, tokens: int) -> dict[str, Any]:
    """Annotate `images` photos; return the counts and whether they add up (`adds_up`)."""
    from ruamel.yaml import YAML

    begin = time.monotonic()
    with served(model, length, home / f"{name}.log") as url:
        ready = time.monotonic() - begin
        folder = project(home / name, images, url)
        params = load_yaml(folder / "params.yaml")
        role = {"endpoint": "vision", "model": "tiny", "temperature": 0.7, "max_tokens": tokens}
        params["synthesize"]["team"] |= dict.fromkeys(("vision", "reasoner", "adjudicator"), role)
        params["launch"]["endpoints"]["vision"] |= {"deadline_seconds": 300.0, "give_up_seconds": 30.0}
        YAML().dump(json.loads(json.dumps(params)), folder / "params.yaml")
        command = [sys.executable, "-m", "wethink", "synthesize"]
        done = subprocess.run(command, cwd=folder, env=environment(folder), capture_output=True, text=True)
    if done.returncode == TRY_AGAIN_LATER:
        with ResponseStore(folder / ".wethink/answers.sqlite") as store:
            calls = {f"{line['role']}: {line['outcome']}": line["calls"] for line in store.ledger()}
        answered = any(key.endswith(": answered") for key in calls)
        sound = not (folder / "data/rows").exists() and not answered and "has not answered for" in done.stderr
        return {"model": name, "adds_up": sound, "said": done.stderr.strip().splitlines()[-1], "calls": calls}
    if done.returncode:
        sys.exit(done.stdout + done.stderr)
    metrics = read_json(folder / "data/rows/metrics.json")
    ends = metrics["image_outcomes"]
    counted = ends["annotated"] + sum(ends["rejected"].values()) + sum(ends["failed"].values())
    lines = {name: list(read_jsonl(folder / f"data/rows/{name}.jsonl")) for name in ("rows", "rejected", "failed")}
    with ResponseStore(folder / ".wethink/answers.sqlite") as store:
        ledger = store.ledger()
    return {
        "model": name,
        "adds_up": counted == images == len({line["image"] for found in lines.values() for line in found}),
        "images": ends,
        "candidates": {key: metrics[key] for key in ("candidates", "kept", "rejected", "failed")},
        "calls": {f"{line['role']}: {line['outcome']}": line["calls"] for line in ledger},
        "prompt_tokens": sum(line["prompt_tokens"] for line in ledger),
        "completion_tokens": sum(line["completion_tokens"] for line in ledger),
        "seconds": {"until_ready": round(ready, 1), "all": round(time.monotonic() - begin, 1)},
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interop.vllm_synthesis", description=__doc__)
    parser.add_argument("--model", type=Path, default=Path("models/grpo"))
    parser.add_argument("--images", type=int, default=6)
    options = parser.parse_args()
    if not (options.model / "config.json").is_file():
        sys.exit(f"{options.model} is no checkpoint; run `make demo` first, or name one with --model.")
    home = Path(tempfile.mkdtemp(prefix="wethink-vllm-"))
    found = [
        check(home, "checkpoint", options.model.resolve(), 512, options.images, 96),
        check(home, "noise", noise(home / "random-bytes"), 8192, options.images, 512),
    ]
    write_json(Path("reports/vllm_synthesis.json"), {"runs": found})
    print(json.dumps(found, indent=2))
    answered = any(any(key.endswith(": answered") for key in run["calls"]) for run in found)
    return 0 if answered and all(run["adds_up"] for run in found) else 1


if __name__ == "__main__":
    sys.exit(main())
