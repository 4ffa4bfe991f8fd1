"""`make vllm-check`, second part: all that samples writes the same through a real vLLM server as in this process.

`evaluate`, `passrates`, the probe, rejection sampling, GRPO, `ask` and `benchmark` run on this folder's checkpoints
(`make demo`), once with each engine. Decoding is greedy, or so cold that it nearly is. An answer that differs is a
near-tie if the policy gives the two tokens at the first difference log-probs that differ by less than `TIE`; any other
difference fails. Writes reports/one_engine.json.
"""

import argparse
import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from wethink.common.jsonl import read_jsonl, write_json, write_jsonl
from wethink.common.paths import ROOT
from wethink.common.stage_run import StageRun
from wethink.config.params import Params, load_params
from wethink.data.image_store import ImageSet
from wethink.data.schema import read_items, row_images
from wethink.generation import vllm_connection
from wethink.generation.agreement import TEMPERATURE, differences
from wethink.generation.responses import Asked, Decoding, encode
from wethink.generation.sampler import published
from wethink.models.batching import pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import load_model, load_processor, save_config, save_processor
from wethink.rewards.hybrid import Scorer
from wethink.training.launch import free_port
from wethink.training.ranks import join

vllm_connection.START_SECONDS = 3600.0  # on a busy machine, too
TIE = 1e-3  # difference of log-probs
COLD = 0.01  # the lowest temperature that vLLM takes as it is
Lines = dict[str, str]  # what an engine wrote, by name


def untied(folder: Path, out: Path) -> Path:
    """Copy a checkpoint with a head of its own, which vLLM reloads on a CPU (docs/hardware.md)."""
    model = load_model(folder, dtype=None)
    save_file(save_config(model, dict(model.named_parameters()), out, untie=True), out / "model.safetensors")
    save_processor(load_processor(folder), out)
    return out


@contextmanager
def server(folder: Path, context: int) -> Iterator[str]:
    """Start vLLM on loopback as a person would, and yield its address."""
    port = free_port()
    command = [str(ROOT / ".venv-vllm/bin/python"), "-P", str(ROOT / "wethink/generation/vllm_server.py")]
    command += ["--model", str(folder), "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
    command += ["--max-model-len", str(context), "--max-num-batched-tokens", str(max(context, 2048))]
    command += ["--enforce-eager", "--no-enable-chunked-prefill", "--chat-template-content-format", "openai"]
    command += ["--limit-mm-per-prompt", json.dumps({"image": 1, "video": 0})]
    command += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"]
    quiet = {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    quiet |= {"HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        command, env=os.environ | quiet, stdout=subprocess.DEVNULL, stderr=subprocess.STDOUT
    ) as child:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            child.terminate()


def evaluated(params: Params, folder: Path, count: int) -> Lines:
    """Run greedy passes of `evaluate`: base without, grpo with a system prompt; other and blank images."""
    from wethink.evaluation.evaluate import Job, run_jobs

    config = params.evaluate.model_copy(update={"batch_size": 16})
    items = list(read_items(Path("data/drawn/items/reporting.jsonl")))[::7][:count]
    jobs = [Job("base", Path("models/base"), 0.0, "true"), Job("grpo", Path("models/grpo"), 0.0, "true")]
    jobs += [Job("grpo", Path("models/grpo"), 0.0, "shuffled"), Job("grpo", Path("models/grpo"), 0.0, "blank")]
    run_jobs(
        [(job, items) for job in jobs],
        Path("data/images"), params.rewards, params.launch, 0, StageRun(config, folder, folder, 0),
    )  # fmt: skip
    return {
        f"{job.name} {record['id']}": f"{record['verdict']} {record['response']}"
        for job in jobs
        for record in read_jsonl(folder / f"{job.name}.jsonl")
    }


def pass_rated(params: Params, folder: Path, count: int) -> Lines:
    from wethink.evaluation.pass_rates import passrates

    rows = [row for row in read_jsonl(Path("data/valid/rows.jsonl")) if row["split"] == "train"][:count]
    write_jsonl(folder / "rows.jsonl", rows)
    scorer = Scorer(params.rewards)
    passrates(Path("models/sft"), Path("data/images"), folder / "rows.jsonl", folder / "rates", 2, params, scorer)
    return {record["id"]: f"{record['passes']} of {record['samples']}" for record in read_jsonl(folder / "rates")}


def probed(params: Params, folder: Path, count: int) -> Lines:
    from wethink.rl.heldout_probe import accuracy

    rows = [row for row in read_jsonl(Path("data/valid/rows.jsonl")) if row["split"] == "train"][-count:]
    images, ranks = ImageSet(Path("data/images")), join(params.launch)
    with published(Path("models/sft"), params.grpo.sampler, params.launch) as sampler:
        return {"accuracy": str(accuracy(sampler, rows, images, params.grpo, Scorer(params.rewards), ranks))}


def rejected(params: Params, folder: Path, count: int) -> Lines:
    """Sample as rejection sampling does; what it accepts is the text of full reward."""
    from wethink.experiments.controls import _sample_accepted

    store = folder / "accepted.jsonl"
    _sample_accepted(
        Path("data/images"), Path("data/valid"), Path("models/sft"), store,
        params.grpo, Scorer(params.rewards), params.launch, 0,
    )  # fmt: skip
    return {record["problem"] + str(row_images(record)): record["completion"] for record in read_jsonl(store)}


def grpo_rolled(params: Params, folder: Path, count: int) -> Lines:
    """Train GRPO for two steps, the second of which samples from pushed weights; return its rollouts."""
    from wethink.rl.trainer import grpo

    (folder / "out").mkdir()
    given = {name: Path(path) for name, path in {"images": "data/images", "rows": "data/valid"}.items()}
    given |= {name: Path("models") / name for name in ("base", "sft")}
    run = StageRun(params.grpo, folder / "out", folder, 0)
    grpo(**given, scorer=Scorer(params.rewards), launch=params.launch, run=run)
    found = list(read_jsonl(folder / "rollouts.jsonl"))
    return {f"step {r['step']} {r['row']} {i % params.grpo.num_generations}": r["text"] for i, r in enumerate(found)}


def asked_once(params: Params, folder: Path, count: int) -> Lines:
    from wethink.evaluation.ask import ask

    item = list(read_items(Path("data/drawn/items/reporting.jsonl")))[3]
    ImageSet(Path("data/images")).open(item["image"]).save(folder / "item.png")
    with contextlib.redirect_stdout(io.StringIO()) as told:
        ask(folder / "item.png", item["problem"], Path("models/grpo"), 0.0, params)
    return {"ask": told.getvalue()}


def benchmarked(params: Params, folder: Path, count: int) -> Lines:
    from wethink.evaluation.benchmarks.engines import Checkpoint, Query
    from wethink.evaluation.benchmarks.run import Settings

    images = ImageSet(Path("data/images"))
    items = list(read_items(Path("data/drawn/items/reporting.jsonl")))[:count]
    settings = Settings("grpo", max_new_tokens=params.evaluate.max_new_tokens, batch=16)
    engine = Checkpoint(Path("models/grpo"), settings, params.launch, params.evaluate.sampler)
    queries = [Query(item["id"], (images.open(item["image"]), item["problem"]), 0.0, 0) for item in items]
    replies = engine.answer(queries)
    engine.close()
    return {item["id"]: reply.text for item, reply in zip(items, replies, strict=True)}


COMMANDS: dict[str, Callable[[Params, Path, int], Lines]] = {
    "evaluate": evaluated, "passrates": pass_rated, "probe": probed, "rejection sampling": rejected,
    "grpo": grpo_rolled, "ask": asked_once, "benchmark": benchmarked,
}  # fmt: skip


def settings(engine: str, url: str) -> Params:
    """Return this folder's parameters with one engine for all, cold sampling and two small steps."""
    found = load_params()
    optim = found.grpo.optim.model_copy(update={"max_steps": 2, "train_batch_size": 8})
    cold = {"sampler": engine, "temperature": COLD, "num_generations": 2, "optim": optim}
    alone = {"processes": 1, "threads": 1, "vllm_url": url, "vllm_context": 512}
    return found.model_copy(
        update={
            "launch": found.launch.model_copy(update=alone),
            "evaluate": found.evaluate.model_copy(update={"sampler": engine}),
            "grpo": found.grpo.model_copy(update=cold),
        }
    )


def near_ties(url: str, count: int) -> dict[str, Any]:
    """Compare greedy token ids of held-out items, and log-probs of sampled tokens."""
    model, made = load_model(Path("models/grpo"), dtype=None).eval(), load_processor(Path("models/grpo"))
    images, tokens = ImageSet(Path("data/images")), settings("vllm", url).evaluate.max_new_tokens
    items = list(read_items(Path("data/drawn/items/reporting.jsonl")))[:count]
    asked = [Asked(item["problem"], row_images(item), item["id"]) for item in items]
    written = []
    for engine in ("in_process", "vllm"):
        with published(Path("models/grpo"), engine, settings(engine, url).launch) as sampler:  # type: ignore[arg-type]
            written.append([group[0].ids for group in sampler.sample(asked, images, Decoding(tokens, 0.0))])
            off = differences(sampler, model, asked, images, Decoding(tokens, TEMPERATURE, samples=2))
    same, ties = 0, 0
    for one, a, b in zip(asked, *written, strict=True):
        if a == b:
            same += 1
            continue
        at = next(i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y)
        batch = pack(encode([one], images, made) * 2, [a[: at + 1], b[: at + 1]], 1)
        with torch.no_grad():
            logps = CompletionLogProbs(model, made.banned)(batch, 1.0)[0]
        ties += abs(float(logps[at] - logps[-1])) < TIE
    return {
        "items": count,
        "same": same,
        "near_ties": ties,
        "dlogp_mean": float(off.mean()),
        "dlogp_max": float(off.max()),
    }


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.interop.one_engine", description=__doc__)
    parser.add_argument("--items", type=int, default=48)
    parser.add_argument("--url", help="a vLLM server that runs already, with a head of its own (docs/hardware.md)")
    parser.add_argument("--only", nargs="*", choices=[*COMMANDS, "near ties"], default=[*COMMANDS, "near ties"])
    given = parser.parse_args(arguments)
    found: dict[str, Any] = {}
    with contextlib.ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="wethink-engines-")))
        url = given.url or stack.enter_context(server(untied(Path("models/grpo"), home / "served"), 512))
        for name, command in COMMANDS.items():
            if name not in given.only:
                continue
            told = []
            for engine in ("in_process", "vllm"):
                folder, begun = home / f"{name} {engine}", time.perf_counter()
                folder.mkdir()
                told.append(command(settings(engine, url), folder, given.items))
                print(f"{name}, {engine}: {time.perf_counter() - begun:.0f} s", flush=True)
            keys = sorted(told[0].keys() | told[1].keys())
            differ = [key for key in keys if told[0].get(key) != told[1].get(key)]
            found[name] = {"compared": len(keys), "same": len(keys) - len(differ)}
            print(f"{name}: {found[name]['same']} of {len(keys)} the same", flush=True)
            for key in differ[:3]:
                print(f"  {key}\n    in process: {told[0].get(key)!r}\n    vllm:       {told[1].get(key)!r}")
        if "near ties" in given.only:
            found["near ties"] = near_ties(url, given.items)
            print(found["near ties"])
    write_json(Path("reports/one_engine.json"), found)
    ties = found.get("near ties", {"items": 0, "same": 0, "near_ties": 0})
    unexplained = ties["items"] - ties["same"] - ties["near_ties"]
    alike = all(entry["same"] >= 0.98 * entry["compared"] for name, entry in found.items() if name != "near ties")
    return 0 if alike and not unexplained else 1


if __name__ == "__main__":
    sys.exit(main())
