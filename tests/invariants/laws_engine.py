"""Invariants of the vLLM sampler with the real engine on the CPU: it samples the last pushed policy.

A sampler that does not is rejected. The laws need `.venv-vllm` (`make .venv-vllm/.installed`) and about a minute for
each engine that they start.
"""

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from tests.invariants.invariant import Broken, Law, hold, planted
from tests.support.miniature import SHAPE, TEXT, NoiseImages, processor
from wethink.common.errors import UserError
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.params import load_params
from wethink.config.training import Family
from wethink.generation import vllm_connection
from wethink.generation.agreement import TEMPERATURE, differences
from wethink.generation.responses import Asked, Decoding
from wethink.generation.vllm import Vllm
from wethink.models.families.known import use_fast_paths
from wethink.models.policy import save_config, save_processor
from wethink.models.tiny import build_model
from wethink.rl.logprob_check import self_test
from wethink.training.launch import free_port
from wethink.training.ranks import Ranks, join

ROOT = Path(__file__).resolve().parents[2]
vllm_connection.START_SECONDS = 3600.0  # laws are about what an engine does, on a busy machine, too
BOUND = 1e-4  # largest |Δlogp| in fp32 on one machine; other weights differ by 0.01 and more
PUSHES = 4
HELD = ExitStack()  # engines that laws share
RANKS = Ranks(0, 1, torch.device("cpu"))
# Head sizes that vLLM's kernels take.
POLICY = SHAPE.model_copy(
    update={"hidden_size": 64, "num_attention_heads": 2, "num_key_value_heads": 1, "vision_hidden_size": 64}
)
ROWS = [{"id": str(i), "image": f"noise {i}", "problem": " ".join(TEXT.split()[3 : 6 + i % 5])} for i in range(8)]


def settings(**changes: Any) -> tuple[Grpo, Launch]:
    params = load_params(ROOT / "profiles/tiny.yaml")
    python = str(ROOT / ".venv-vllm/bin/python")
    launch = {"vllm_python": python, "vllm_context": 256, "threads": 1, "processes": 1} | changes
    return params.grpo.model_copy(update={"max_completion_length": 24}), params.launch.model_copy(update=launch)


def policy(family: Family) -> Any:
    model = build_model(POLICY.model_copy(update={"family": family}), processor(family).tokenizer, 0)
    use_fast_paths(model)
    return model


def move(model: Any, seed: int) -> None:
    """Other weights, all of them: a push that forgets some is seen."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.05 * torch.randn(p.shape, generator=generator))


@contextmanager
def engine(family: Family, model: Any, **changes: Any) -> Iterator[Vllm]:
    with tempfile.TemporaryDirectory() as scratch:
        sampler = Vllm(processor(family), settings(**changes)[1], Path(scratch), RANKS.device)
        try:
            sampler.sync(model, 0)
            yield sampler
        finally:
            sampler.close()


@cache
def running(family: Family) -> tuple[Vllm, Any]:
    """One engine per family for all laws that can share it; it ends with this process."""
    join(settings()[1])
    model = policy(family)
    return HELD.enter_context(engine(family, model)), model


def off(sampler: Vllm, model: Any, seed: int, rows: Sequence[dict[str, str]] = ROWS) -> float:
    asked = [Asked(row["problem"], (row["image"],), row["id"]) for row in rows]
    return float(differences(sampler, model, asked, NoiseImages(), Decoding(24, TEMPERATURE, seed, 2)).max())


def follows_every_push(mutant: str, family: Family) -> None:
    sampler, model = running(family)
    for push in range(1, PUSHES + 1):
        move(model, push)
        with planted(mutant, "wethink.generation.vllm_connection.Server.load", lambda self, weights: None):
            sampler.sync(model, push)
        found = off(sampler, model, push)
        hold(found <= BOUND, f"push {push}: largest |Δlogp| {found:.1e}")


def more_prompts_than_a_batch_holds(mutant: str) -> None:
    """A step of many rows: vLLM reads some of them later, and none in parts."""
    model = policy("qwen2_5_vl")
    many = [ROWS[i % len(ROWS)] | {"id": str(i), "problem": " ".join([TEXT] * 3)} for i in range(48)]
    with (
        planted(mutant, "wethink.generation.vllm_connection.WHOLE_PROMPTS", ()),
        engine("qwen2_5_vl", model) as sampler,
    ):
        try:
            found = off(sampler, model, 0, many)
        except UserError as error:
            raise Broken(str(error)) if "does not use offset" in str(error) else error from None
    hold(found <= 3 * BOUND, f"largest |Δlogp| {found:.1e}")  # of six times as many tokens after longer prompts


def refuses_a_stale_engine(mutant: str) -> None:
    sampler, model = running("qwen2_5_vl")
    sampler.sync(model, 10)
    move(model, 10)  # and no push
    config = settings()[0].model_copy(update={"max_logprob_diff": 1e3} if mutant else {})
    try:
        self_test(sampler, model, ROWS, NoiseImages(), config, RANKS)
    except UserError as refusal:
        assert "stale weights" in str(refusal)
        return
    raise Broken("an engine with other weights was believed")


def follows_a_tied_head(mutant: str) -> None:
    model = policy("qwen2_5_vl")

    def tied(model: Any, state: Any, folder: Path, untie: bool) -> Any:
        return save_config(model, state, folder, untie=False)

    with planted(mutant, "wethink.generation.vllm.save_config", tied), engine("qwen2_5_vl", model) as sampler:
        with torch.no_grad():
            model.get_input_embeddings().weight.mul_(0.8)
        sampler.sync(model, 1)
        found = off(sampler, model, 0)
        hold(found <= BOUND, f"largest |Δlogp| {found:.1e}")


def a_server_that_runs_already(mutant: str) -> None:
    """Served: over HTTP, started by somebody else (with the mutant: with vLLM's own defaults)."""
    model, port = policy("qwen2_5_vl"), free_port()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "model"
        save_file(save_config(model, dict(model.named_parameters()), folder, untie=True), folder / "model.safetensors")
        save_processor(processor(), folder)
        command = [str(ROOT / ".venv-vllm/bin/python"), "-P", str(ROOT / "wethink/generation/vllm_server.py")]
        command += ["--model", str(folder), "--host", "127.0.0.1", "--port", str(port), "--dtype", "float32"]
        command += ["--max-model-len", "256", "--enforce-eager", "--chat-template-content-format", "openai"]
        command += vllm_connection.WHOLE_PROMPTS
        command += ["--limit-mm-per-prompt", json.dumps({"image": 1, "video": 0})]
        if not mutant:
            command += ["--logprobs-mode", "processed_logprobs", "--generation-config", "vllm"]
        environment = {
            "VLLM_SERVER_DEV_MODE": "1",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_CPU_OMP_THREADS_BIND": "nobind",
            "OMP_NUM_THREADS": "1",
        }
        with open(os.devnull, "w") as null:
            server = subprocess.Popen(
                command, env=os.environ | environment, stdout=null, stderr=null, start_new_session=True
            )
        try:
            with engine("qwen2_5_vl", model, vllm_url=f"http://127.0.0.1:{port}") as sampler:
                for push in range(1, 4):
                    move(model, push)
                    sampler.sync(model, push)
                    found = off(sampler, model, push)
                    hold(found <= BOUND, f"push {push}: largest |Δlogp| {found:.1e}")
        except UserError as refusal:
            raise Broken(str(refusal)) if "but training needs" in str(refusal) else refusal from None
        finally:
            os.killpg(server.pid, 9)
            server.wait()


def ends_with_its_owner(mutant: str) -> None:
    """kill -9 of the trainer: nothing of the engine is left after ten seconds."""
    import psutil

    # A process of ours starts the server's file with a stand-in for vLLM that has a child, as vLLM has.
    with tempfile.TemporaryDirectory() as temporary:
        package = Path(temporary) / "vllm/entrypoints/openai"
        package.mkdir(parents=True)
        (package / "api_server.py").write_text(
            "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        )
        for place in (package, package.parent, package.parent.parent):
            (place / "__init__.py").touch()
        start = f"start_new_session={not mutant}"
        file = str(ROOT / "wethink/generation/vllm_server.py")
        owner = subprocess.Popen(
            [
                str(ROOT / ".venv/bin/python"),
                "-c",
                f"import subprocess, sys\nsubprocess.run([sys.executable, '-P', {file!r}], {start})",
            ],
            env=os.environ | {"PYTHONPATH": temporary},
            start_new_session=True,
        )
        family: list[psutil.Process] = []
        while len(family) < 2:
            family = psutil.Process(owner.pid).children(recursive=True)
            time.sleep(0.05)
        owner.kill()
        owner.wait()
        _, left = psutil.wait_procs(family, timeout=10)
        for process in left:
            process.kill()
        hold(not left, f"{len(left)} processes are left")


def _pushes(family: Family) -> Law:
    return Law(
        f"vLLM's log-probs agree with ours within {BOUND:g} after each of {PUSHES} pushes ({family})",
        lambda mutant: follows_every_push(mutant, family),
        "weights that are never reloaded",
    )


LAWS = [
    Law("kill -9 of the trainer leaves nothing of its vLLM", ends_with_its_owner, "no process group of its own"),
    _pushes("qwen2_5_vl"),
    Law("a stale vLLM engine is refused before the first step", refuses_a_stale_engine, "a bound that bounds nothing"),
    _pushes("qwen3_vl"),
    Law("vLLM follows a head that is tied to the embeddings", follows_a_tied_head, "a checkpoint with a tied head"),
    Law(
        "vLLM writes for more prompts than a batch holds",
        more_prompts_than_a_batch_holds,
        "prompts may be read in parts",
    ),
    Law(
        "a vLLM server that runs already follows 3 pushes over HTTP",
        a_server_that_runs_already,
        "a server with vLLM's own defaults",
    ),
]
