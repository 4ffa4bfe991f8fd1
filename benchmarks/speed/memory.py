"""Peak host memory of each training rank, and the seconds of a learning step, before and after what saves memory.

    .venv/bin/python -m benchmarks.speed.memory [--layers 24] [--files zero2_bf16 zero3_bf16]

A Qwen2.5-VL of random weights (0.3 billion with 24 layers) is saved in bf16 and trained by two ranks on the CPU.
Before: weights loaded in fp32 and whole, log-probs through logits in chunks of 256 MB with activation checkpointing.
After: weights loaded as the mapped file, at ZeRO-3 partitioned one by one, log-probs without logits. Memory is the
proportional set size (PSS): a mapped file counts once for both ranks. Steps of both kinds alternate in the same
processes, in processor seconds. Writes reports/memory.json.
"""

import argparse
import contextlib
import json
import os
import statistics
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import deepspeed.runtime.zero.stage3
import deepspeed.runtime.zero.stage_1_and_2  # noqa: F401 - imported before forking
import torch

from benchmarks.speed.ours import OPTIM, Pictures
from wethink.config.launch import Launch
from wethink.models.batching import encode_prompts, pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import load_model, load_processor
from wethink.training.engine import build_engine, optimizer_step, precision
from wethink.training.ranks import barrier, join

ROOT = Path(__file__).resolve().parents[2]
RANKS, ROWS, WORDS = 2, 3, 128
KINDS = ("before", "after")


def build(folder: Path, layers: int) -> int:
    """Save the model in bf16; return its number of weights."""
    from wethink.config.training import TinyModel
    from wethink.models.chat_prompts import chat_template
    from wethink.models.policy import Processor, save_policy
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words

    shape = TinyModel(
        hidden_size=1024, num_hidden_layers=layers, num_attention_heads=16, num_key_value_heads=4,
        intermediate_size=2816, vision_depth=2, vision_hidden_size=64, initializer_range=0.02,
    )  # fmt: skip
    tokenizer = build_tokenizer(words([" ".join(f"w{i}" for i in range(31_900))]))
    tokenizer.chat_template = chat_template("w1 w2")
    model = build_model(shape, tokenizer, 0).to(torch.bfloat16)
    save_policy(model, None, Processor(tokenizer, build_image_processor(84)), folder, "a model to measure with")
    return sum(p.numel() for p in model.parameters())


class Peak:
    """Largest PSS of this process, MiB, sampled by a thread."""

    def __init__(self) -> None:
        self.most, self.over = 0.0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self.over.wait(0.05):
            self.most = max(self.most, pss())

    def take(self) -> float:
        found, self.most = max(self.most, pss()), 0.0
        return round(found)


def pss() -> float:
    """Return this process's proportional set size in MiB."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


@contextlib.contextmanager
def scored(kind: str) -> Iterator[None]:
    """Score as before: logits in large chunks, each computed twice."""
    if kind == "after":
        yield
        return
    with (
        mock.patch("wethink.models.logprobs.LOGITS", 2**26),
        mock.patch("wethink.models.logprobs.is_fusible", lambda head: False),
    ):
        yield


def rank(folder: Path, kind: str, file: str, steps: int) -> dict[str, Any]:
    """Load the policy, build the engine, learn; return the peak of each phase, MiB, and seconds of each step."""
    path = ROOT / f"infra/deepspeed/{file}.json"
    launch = Launch(device="cpu", processes=RANKS, threads=1, deepspeed=str(path), deadline_minutes=30)
    join(launch)
    processor = load_processor(folder)
    peak = Peak()
    found = {"start": peak.take()}
    model = load_model(folder, dtype=torch.float32 if kind == "before" else precision(launch))
    found["load"] = peak.take()
    barrier()
    whole = mock.patch("deepspeed.zero.Init") if kind == "before" else contextlib.nullcontext()
    with whole:
        engine = build_engine(CompletionLogProbs(model, processor.banned), OPTIM, launch)
    found["engine"] = peak.take()
    barrier()
    prompts = encode_prompts(["w3 w4 w5"] * ROWS, [str(i) for i in range(ROWS)], Pictures(), processor)
    written = [[100 + (7 * i + j) % 30_000 for j in range(WORDS)] for i in range(ROWS)]
    batch = pack(prompts, written)
    seconds: dict[str, list[float]] = {name: [] for name in KINDS}
    for step in range(2 * steps + 1 if steps else 0):  # the first, of this rank's kind, shows the peak and warms up
        way = KINDS[step % 2] if step else kind
        begun = time.process_time()
        with scored(way):
            engine.backward(-engine(batch)[0].mean())
        if step:
            seconds[way].append(time.process_time() - begun)
        optimizer_step(engine, OPTIM, 0)
        if not step:
            found["step"] = peak.take()
    peak.over.set()
    return {"mb": found, "seconds": {name: values for name, values in seconds.items() if values}}


def measured(folder: Path, kind: str, file: str, steps: int) -> list[dict[str, Any]]:
    """Fork the ranks from this process, which has imported everything, and return what each found."""
    with tempfile.TemporaryDirectory() as meeting:
        os.environ |= {"WORLD_SIZE": str(RANKS), "WETHINK_MEETING": f"{meeting}/store"}
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "0"}
        children = []
        for number in range(RANKS):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    os.environ |= {"RANK": str(number), "LOCAL_RANK": str(number)}
                    Path(meeting, str(number)).write_text(json.dumps(rank(folder, kind, file, steps)))
                    code = 0
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
            children.append(child)
        if any([os.waitpid(child, 0)[1] for child in children]):
            raise SystemExit("a rank has failed; its last lines are above.")
        return [json.loads(Path(meeting, str(number)).read_text()) for number in range(RANKS)]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.memory", description=__doc__)
    parser.add_argument("--layers", type=int, default=24)
    parser.add_argument("--files", nargs="+", default=["zero2_bf16", "zero3_bf16"])
    parser.add_argument("--steps", type=int, default=3, help="of each kind, in turns; 0: loading only")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as temporary:
        count = build(Path(temporary) / "model", chosen.layers)
        for file in chosen.files:
            for kind in KINDS:
                found = measured(Path(temporary) / "model", kind, file, chosen.steps)
                row = {"file": file, "kind": kind, "weights": count}
                row |= {f"{part}_mb": max(one["mb"][part] for one in found) for part in found[0]["mb"]}
                spent = found[0]["seconds"]
                row |= {f"{name}_step_seconds": round(statistics.median(values), 3) for name, values in spent.items()}
                rows.append(row)
                print(json.dumps(row), flush=True)
    report = ROOT / "reports/memory.json"
    report.parent.mkdir(exist_ok=True)
    report.write_text(json.dumps({"rows": rows}, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
