"""Rank of a measured run: the product's own training code on a model with random weights.

It writes the times at which its phases begin to `phases-<rank>.jsonl`.
"""

import json
import os
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks.planning.cases import Case
from benchmarks.speed.workload import question


class Pictures:
    """Noise images of one size, by number."""

    def __init__(self, side: int) -> None:
        self.side = side

    def open(self, image: str) -> Any:
        from PIL import Image

        pixels = np.random.default_rng(int(image)).integers(0, 255, (self.side, self.side, 3), dtype=np.uint8)
        return Image.fromarray(pixels)


def build(case: Case, folder: Path) -> None:
    """Save a model with random weights and its processor."""
    from benchmarks.speed.workload import TEXT
    from wethink.models.chat_prompts import chat_template
    from wethink.models.policy import Processor, save_policy
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words

    made_up = [f"w{i}" for i in range(case.vocabulary)]
    vocabulary = [*words([TEXT, "think then answer"]), *made_up][: case.vocabulary]
    tokenizer = build_tokenizer(vocabulary, family=case.family)
    tokenizer.chat_template = chat_template("think then answer")
    processor = Processor(tokenizer, build_image_processor(case.image, case.family))
    save_policy(build_model(case.shape(), tokenizer, 0), None, processor, folder, "a model to measure with")
    _, grids = processor.pixels([Pictures(case.image).open("0")])
    prompt = len(processor.prompt_ids(question(0, case.words), grids.tolist()))
    config = json.loads((folder / "config.json").read_text())
    (folder.parent / "built.json").write_text(json.dumps({"prompt": prompt, "config": config}))


class Marks:
    """Log of the moments at which phases begin, with the processor time so far."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self, phase: str) -> None:
        line = {"phase": phase, "at": time.time(), "cpu": time.process_time()}
        with self.path.open("a", encoding="utf-8") as log:
            print(json.dumps(line), file=log)


def sft(case: Case, folder: Path, mark: Marks) -> None:
    from wethink.common.stage_run import StageRun
    from wethink.models.policy import load_model, load_processor
    from wethink.training import supervised
    from wethink.training.supervised import Sample, train

    params = case.params()
    processor = load_processor(folder / "model")
    samples = [
        Sample(question(i, case.words), (str(i),), question(i + 7, case.completion - 1))
        for i in range(case.batch * case.steps)
    ]
    built, stepped = supervised.build_engine, supervised.optimizer_step

    def build_engine(*arguments: Any) -> Any:
        engine = built(*arguments)
        mark("learn")
        return engine

    def optimizer_step(*arguments: Any) -> Any:
        mark("update")
        found = stepped(*arguments)
        mark("learn")
        return found

    with (
        mock.patch.object(supervised, "build_engine", build_engine),
        mock.patch.object(supervised, "optimizer_step", optimizer_step),
        mock.patch.object(supervised, "write_curves", lambda *_: None),  # publishing is no part of a step
        mock.patch.object(supervised, "save_trained", lambda *_: None),
    ):
        (folder / "scratch").mkdir(exist_ok=True)
        run = StageRun(params.sft, folder / "out", folder / "scratch", 0)
        model = load_model(folder / "model")
        train(model, processor, samples, Pictures(case.image), params.sft.optim, params.launch, run, "sft", "")
    mark("end")


def grpo(case: Case, folder: Path, mark: Marks) -> None:
    import torch

    from benchmarks.speed.ours import Endless, rows_of
    from wethink.generation.sampler import InProcess
    from wethink.models.policy import load_model, load_processor
    from wethink.rewards.hybrid import Scorer
    from wethink.rl.rollouts import generate_rollouts
    from wethink.rl.run import load_policies, sampling_policy
    from wethink.rl.update import accumulate_gradients
    from wethink.training.engine import optimizer_step, zero_stage
    from wethink.training.ranks import join

    params = case.params()
    config, launch, start = params.grpo, params.launch, folder / "model"
    stock = load_processor(start)
    processor = Endless(stock.tokenizer, stock.image_processor)
    ranks = join(launch)
    policies = load_policies(start, load_model(start), processor, config, launch)
    gathered = load_model(start) if zero_stage(launch) == 3 else None
    sampler = InProcess(processor, ranks.device, tokens=config.optim.max_token_len_per_gpu)
    for step in range(case.steps):
        mark("sync")
        sampler.sync(sampling_policy(policies.engine, gathered), step)
        mark("sample")
        rows = rows_of(case.batch, case.words, step * case.batch)[ranks.rank :: ranks.world]
        scorer = Scorer(params.rewards)
        groups = generate_rollouts(sampler, rows, Pictures(case.image), config, scorer, step, 0)
        drawn = torch.from_numpy(np.random.default_rng(step).normal(size=(len(groups), case.group))).float()
        groups = [
            replace(g, advantages=a, has_signal=True, place=i)  # random weights earn no reward
            for i, (g, a) in enumerate(zip(groups, drawn, strict=True))
        ]
        mark("learn")
        accumulate_gradients(policies, groups, config, ranks)
        mark("update")
        optimizer_step(policies.engine, config.optim, step)
    mark("end")


def work(case: Case, folder: Path, rank: int) -> None:
    """Run one rank in this process, which imported everything before it was forked."""
    import torch
    import torch.distributed

    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(case.ranks)}
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29519", "WETHINK_MEETING": str(folder / "meeting")}
    log = os.open(folder / f"log-{rank}", os.O_CREAT | os.O_WRONLY)
    os.dup2(log, 1)
    os.dup2(log, 2)
    torch.set_num_threads(1)
    mark = Marks(folder / f"phases-{rank}.jsonl")
    mark("load")
    (sft if case.stage == "sft" else grpo)(case, folder, mark)
    torch.distributed.destroy_process_group()


def import_everything() -> None:
    """Import what a rank needs, so that forked ranks need not: on a CPU that takes longer than their steps."""
    import deepspeed
    import peft
    import torch.distributed
    from transformers.models.qwen2_5_vl import modeling_qwen2_5_vl
    from transformers.models.qwen3_5 import modeling_qwen3_5
    from transformers.models.qwen3_vl import modeling_qwen3_vl

    import benchmarks.speed.ours
    import wethink.rl.trainer
    import wethink.training.supervised

    del deepspeed, peft, torch, modeling_qwen2_5_vl, modeling_qwen3_5, modeling_qwen3_vl, benchmarks, wethink
