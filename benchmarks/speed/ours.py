"""wethink's side of `make bench`: training steps and samplers."""

import pkgutil
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import torch

from benchmarks.speed.workload import GRPO, REPEATS, SFT_BATCH, SFT_WORDS, picture, question
from wethink.common.jsonl import Record, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.config.training import Optim
from wethink.generation.responses import Asked, Decoding, encode
from wethink.generation.sampler import InProcess
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor, load_model, load_processor
from wethink.rewards.hybrid import Scorer
from wethink.rl.rollouts import generate_rollouts
from wethink.rl.update import Policies, accumulate_gradients
from wethink.training.engine import build_engine, optimizer_step
from wethink.training.ranks import join
from wethink.training.supervised import Sample, train

OPTIM = Optim(
    lr=1e-4,
    max_steps=REPEATS,
    train_batch_size=1,
    warmup_ratio=0.0,
    lr_scheduler_type="constant",
    micro_batch_size=64,
    max_token_len_per_gpu=4096,
)


class Endless(Processor):
    """Processor that bans stop tokens, so that completions have the requested length."""

    @property
    def banned(self) -> list[int]:
        return [*super().banned, *super().stop_ids]

    @property
    def stop_ids(self) -> tuple[int, ...]:
        return (self.image_token_id,)  # banned, so never sampled


class Pictures:
    def open(self, image: str) -> Any:
        return picture(int(image))


def rows_of(count: int, words: int, first: int = 0) -> list[Record]:
    return [
        {
            "id": str(i),
            "image": str(i),
            "problem": question(i, words),
            "answer": "1",
            "category": "FIB",
            "reward": "rule",
        }
        for i in range(first, first + count)
    ]


class Inside:
    """Timer of CPU seconds spent in model computation."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @contextmanager
    def __call__(self) -> Iterator[None]:
        begun = time.process_time()
        yield
        self.seconds += time.process_time() - begun


PARTS = {  # disjoint parts of a GRPO step: name → function
    "encode prompts and images": "wethink.rl.rollouts.encode_prompts",
    "sample: read the prompts": "wethink.generation.decoding.Decoder.__init__",
    "sample: a token for each row": "wethink.generation.decoding.Decoder.step",
    "sample: draw it": "wethink.generation.in_process._choose",
    "score": "wethink.rewards.hybrid.Scorer.score",
    "learn: forward": "wethink.models.logprobs.CompletionLogProbs.forward",
    "learn: backward": "deepspeed.DeepSpeedEngine.backward",
    "update": "benchmarks.speed.ours.optimizer_step",
}


@contextmanager
def parts() -> Iterator[dict[str, float]]:
    """Measure the CPU seconds of each part while the context lasts."""
    import deepspeed  # noqa: F401 - its engine is among the parts

    spent = dict.fromkeys(PARTS, 0.0)

    def clocked(part: str, work: Any) -> Any:
        def timed(*arguments: Any, **named: Any) -> Any:
            begun = time.process_time()
            try:
                return work(*arguments, **named)
            finally:
                spent[part] += time.process_time() - begun

        return timed

    with ExitStack() as planted:
        for part, target in PARTS.items():
            planted.enter_context(mock.patch(target, clocked(part, pkgutil.resolve_name(target))))
        yield spent


def side(folder: Path) -> dict[str, Callable[..., Any]]:
    torch.set_num_threads(1)
    params = load_params(Path("profiles/tiny.yaml"))
    launch = params.launch.model_copy(update={"processes": 1, "threads": 1, "vllm_context": 512})
    ranks = join(launch)
    stock = load_processor(folder / "model")
    processor = Endless(stock.tokenizer, stock.image_processor)
    images = Pictures()

    def grpo(name: str, prompts: int, group: int, words: int, length: int, budget: int) -> dict[str, Any]:
        optim = OPTIM.model_copy(update={"max_token_len_per_gpu": budget})
        config = params.grpo.model_copy(
            update={
                "optim": optim,
                "num_generations": group,
                "max_completion_length": length,
                "kl_coef": 0.0,
                "temperature": 1.0,
            }
        )
        engine = build_engine(CompletionLogProbs(load_model(folder / "model"), processor.banned), OPTIM, launch)
        sampler = InProcess(processor, ranks.device, tokens=budget)
        sampler.sync(engine.module.model, 0)
        seconds, outside = [], []
        for step in range(REPEATS):
            begun, inside = time.process_time(), Inside()
            groups = _timed_roll_out(sampler, rows_of(prompts, words, step * prompts), config, step, inside)
            with inside():
                accumulate_gradients(Policies(engine, None, processor), groups, config, ranks)
                optimizer_step(engine, OPTIM, step)
            sampler.sync(engine.module.model, step + 1)
            seconds.append(time.process_time() - begun)
            outside.append(1 - inside.seconds / seconds[-1])
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return {"seconds": seconds[1:], "whole": sum(seconds), "outside": outside[1:], "peak_mb": peak}

    def profile(**setting: Any) -> dict[str, Any]:
        """Measure each part's mean CPU seconds over all steps."""
        with parts() as spent:
            whole = grpo(**setting)["whole"]
        seconds = {part: value / REPEATS for part, value in spent.items()}
        return {"parts": seconds | {"everything else": whole / REPEATS - sum(seconds.values())}}

    def _timed_roll_out(sampler: InProcess, rows: list[Record], config: Any, step: int, inside: Inside) -> Any:
        whole = sampler.sample

        def timed(*arguments: Any) -> Any:
            with inside():
                return iter(list(whole(*arguments)))

        sampler.sample = timed  # type: ignore[method-assign]
        groups = generate_rollouts(sampler, rows, images, config, Scorer(params.rewards), step, 0)
        sampler.sample = whole  # type: ignore[method-assign]
        # Random weights earn no reward. Random advantages give every group a gradient, as in TRL's run.
        drawn = torch.from_numpy(np.random.default_rng(step).normal(size=(len(groups), config.group))).float()
        return [
            replace(g, advantages=a, has_signal=True, place=i)
            for i, (g, a) in enumerate(zip(groups, drawn, strict=True))
        ]

    def sft() -> dict[str, Any]:
        samples = [Sample(question(i, 12), (str(i),), question(i, SFT_WORDS)) for i in range(SFT_BATCH * REPEATS)]
        optim = OPTIM.model_copy(update={"train_batch_size": SFT_BATCH, "max_token_len_per_gpu": None})
        with tempfile.TemporaryDirectory() as temporary:
            scratch = Path(temporary)
            run = StageRun[object](None, scratch, scratch, 0)
            train(load_model(folder / "model"), stock, samples, images, optim, launch, run, "sft", "card")
            return {"seconds": [line["cost_seconds"] for line in read_jsonl(scratch / "metrics.jsonl")][1:]}

    base = GRPO[0]
    rows = rows_of(base.prompts, base.words)

    asked = [Asked(row["problem"], (row["image"],), row["id"]) for row in rows]
    decoding = Decoding(base.length, 1.0, samples=base.group)

    def encoded() -> Any:
        return encode(asked, images, processor)

    def rollout() -> dict[str, Any]:
        sampler = InProcess(processor, ranks.device)
        sampler.sync(load_model(folder / "model"), 0)
        return {"seconds": _repeated(lambda: list(sampler.sample(asked, images, decoding, encoded())))}

    def generate() -> dict[str, Any]:
        """Measure `model.generate` with left padding and one prompt and image per row."""
        model = load_model(folder / "model").eval()

        def once() -> Any:
            asked = [prompt for prompt in encoded() for _ in range(base.group)]
            width = max(len(prompt.ids) for prompt in asked)
            ids = torch.full((len(asked), width), stock.tokenizer.pad_token_id)
            for line, prompt in zip(ids, asked, strict=True):
                line[width - len(prompt.ids) :] = torch.from_numpy(prompt.ids)
            mask = torch.tensor([[0] * (width - len(p.ids)) + [1] * len(p.ids) for p in asked])
            return model.generate(  # type: ignore[operator]
                input_ids=ids,
                attention_mask=mask,
                mm_token_type_ids=(ids == stock.image_token_id).int(),
                pixel_values=torch.cat([picture.pixels for p in asked for picture in p.pictures]),
                image_grid_thw=torch.tensor([picture.grid for p in asked for picture in p.pictures]),
                max_new_tokens=base.length,
                min_new_tokens=base.length,
                do_sample=True,
                temperature=1.0,
                suppress_tokens=stock.banned,
            )

        return {"seconds": _repeated(once)}

    def vllm() -> dict[str, Any]:
        from wethink.generation.vllm import Vllm

        with tempfile.TemporaryDirectory() as temporary:
            sampler = Vllm(processor, launch, Path(temporary), ranks.device)
            sampler.sync(load_model(folder / "model"), 0)
            assert sampler.server.child is not None
            tree = psutil.Process(sampler.server.child.pid)

            def spent() -> float:
                times = [p.cpu_times() for p in [tree, *tree.children(recursive=True)]]
                return sum(t.user + t.system for t in times)

            found = _repeated(lambda: list(sampler.sample(asked, images, decoding, encoded())), spent)
            sampler.close()
        return {"seconds": found}

    return {"grpo": grpo, "profile": profile, "sft": sft, "rollout": rollout, "generate": generate, "vllm": vllm}


def _repeated(work: Callable[[], Any], others: Callable[[], float] = lambda: 0.0) -> list[float]:
    """Measure CPU seconds of this process and `others` per call, dropping the first."""
    found = []
    for _ in range(REPEATS):
        begun = time.process_time() + others()
        work()
        found.append(time.process_time() + others() - begun)
    return found[1:]
