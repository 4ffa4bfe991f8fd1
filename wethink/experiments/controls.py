"""Control arms for GRPO: more SFT, rejection sampling, no warm start, shuffled golds.

A gain of GRPO means little without them: more SFT on the same paths, SFT on the policy's own right answers to the very
prompts and golds that GRPO had (rejection sampling), GRPO straight from base, and GRPO on shuffled golds, which must
not gain. More SFT and rejection sampling get the cost of GRPO's steps: CPU time over all ranks (on GPUs wall time), so
other load on the machine favours no arm.

Arms are stages like the others (lock, scratch, resume), kept out of dvc.yaml: `dvc repro` is the main job.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

from wethink.common.jsonl import Record, content_id, read_json, read_jsonl, write_json, write_jsonl
from wethink.common.progress import track
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Evaluate
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.config.response_format import ResponseFormat
from wethink.config.rewards import Rewards
from wethink.config.training import Optim, Sft
from wethink.data.image_store import ImageSet
from wethink.data.schema import image_keys, row_images
from wethink.evaluation.evaluate import evaluate_checkpoints
from wethink.generation.sampler import open_sampler
from wethink.models.batching import epoch_order
from wethink.models.policy import load_model, load_processor, model_card, save_policy
from wethink.rewards.format import parse, render
from wethink.rewards.hybrid import Scorer
from wethink.rl.prompt_dataset import training_rows
from wethink.rl.rollouts import generate_rollouts
from wethink.rl.trainer import grpo
from wethink.training.ranks import barrier, cost_clock, gather_objects, join
from wethink.training.sft import chosen_rows, completions, samples_of
from wethink.training.supervised import Sample, train


def costs_of(log: Path) -> list[float]:
    """Read the cost of every logged training step: seconds over all ranks."""
    return [float(record["cost_seconds"]) for record in read_jsonl(log)]


def budget(rival: Path, logs: Path) -> float:
    """Sum the step costs of the stage that published `rival`: s over all ranks."""
    stage = f"arm_{rival.name}" if rival.parent.name == "arms" else rival.name
    return sum(costs_of(logs / f"{stage}.metrics.jsonl"))


def affordable_steps(seconds: float, steps: Sequence[float]) -> int:
    """Return how many steps of the median length fit into `seconds`; at least 1."""
    ordered = sorted(steps)
    return max(1, int(seconds / ordered[len(ordered) // 2]))


def _continued(optim: Optim, steps: int) -> Optim:
    return optim.model_copy(update={"max_steps": steps})


def more_sft(
    *,
    images: Path,
    rows: Path,
    sft: Path,
    logs: Path,
    rival: Path,
    format: ResponseFormat,
    launch: Launch,
    run: StageRun[Sft],
) -> dict[str, Any]:
    """Continue SFT on the same paths for the cost of the steps of `rival` (GRPO)."""
    config, scratch = run.config, run.scratch
    chosen = chosen_rows(rows, config)
    samples = samples_of(chosen, completions(chosen, rows, config, format), config)
    steps = _frozen(scratch, affordable_steps(budget(rival, logs), costs_of(logs / "sft.metrics.jsonl")))
    return _train_on(samples, images, sft, _continued(config.optim, steps), launch, run, "more_sft", format)


def rejection_sft(
    *,
    images: Path,
    rows: Path,
    sft: Path,
    logs: Path,
    rival: Path,
    grpo: Grpo,
    scorer: Scorer,
    launch: Launch,
    run: StageRun[Sft],
) -> dict[str, Any]:
    """Continue SFT on the policy's own samples that got the full reward.

    Sampling and training together get the cost of the steps of `rival` (GRPO). Without such a sample, or if sampling
    has spent it all, the SFT checkpoint is published unchanged.
    """
    config, out, scratch, seed, form = run.config, run.out, run.scratch, run.seed, scorer.rewards.format
    store = scratch / "accepted.jsonl"
    if not store.exists():
        _sample_accepted(images, rows, sft, store, grpo, scorer, launch, seed)
    accepted = list(read_jsonl(store))
    left = budget(rival, logs) - read_json(scratch / "sampling.json")["cost_seconds"]
    if not accepted or left <= 0:  # nothing to learn from, or no time left to learn it
        nothing = {"samples": len(accepted), "steps": 0}
        if join(launch).first:
            save_policy(load_model(sft), None, load_processor(sft), out, model_card("rejection_sft", str(sft), form))
            write_json(out / "metrics.json", nothing)
        return nothing
    steps = _frozen(scratch, affordable_steps(left, costs_of(logs / "sft.metrics.jsonl")))
    samples = [Sample(r["problem"], row_images(r), r["completion"]) for r in accepted]
    return _train_on(samples, images, sft, _continued(config.optim, steps), launch, run, "rejection_sft", form)


def _sample_accepted(
    images: Path, rows: Path, sft: Path, store: Path, config: Grpo, scorer: Scorer, launch: Launch, seed: int
) -> None:
    """Sample GRPO's prompts from the SFT policy; store fully rewarded completions.

    The prompts are those of all GRPO steps, G samples each, drawn as GRPO would from a policy that does not change.
    """
    ranks = join(launch)
    started = cost_clock(ranks)
    model, processor, dataset = load_model(sft), load_processor(sft), ImageSet(images)
    prompts, _, _ = training_rows(rows, dataset, model, processor, config, launch, seed)
    order = list(islice(epoch_order(len(prompts), seed), config.optim.max_steps * config.optim.train_batch_size))
    model, accepted, form = model.to(ranks.device), list[Record](), scorer.rewards.format
    most = max(len(row_images(row)) for row in prompts)
    budget = config.optim.max_token_len_per_gpu
    sampler = open_sampler(
        config.sampler, processor, launch, store.parent, ranks.device, most,
        tokens=budget, first=ranks.first, meet=barrier,
    )  # fmt: skip
    sampler.sync(model, 0)
    batches = [
        order[i : i + config.optim.train_batch_size] for i in range(0, len(order), config.optim.train_batch_size)
    ]
    for step, batch in enumerate(track(batches, "rejection sampling", quiet=not ranks.first)):
        mine = [prompts[i] for i in batch][ranks.rank :: ranks.world]
        for group in generate_rollouts(sampler, mine, dataset, config, scorer, step, seed):
            for text, scored in zip(group.texts, group.scores, strict=True):
                parsed = parse(text, form)
                if scored.accuracy == scored.format == 1.0 and parsed.fault is None:
                    row = {"problem": group.row["problem"]} | image_keys(row_images(group.row))
                    accepted.append(row | {"completion": render(parsed.think, parsed.answer, form)})
    sampler.close()
    everyone = gather_objects((accepted, cost_clock(ranks) - started), ranks)
    unique = {content_id(r): r for found, _ in everyone for r in found}  # a completion sampled twice counts once
    if ranks.first:
        spent = sum(seconds for _, seconds in everyone)
        write_json(store.parent / "sampling.json", {"cost_seconds": spent, "accepted": len(unique)})
        write_jsonl(store, (unique[key] for key in sorted(unique)))
    gather_objects(None, ranks)  # a barrier: no rank reads the file before it is written


def _frozen(scratch: Path, steps: int) -> int:
    """Return the number of steps, decided once per scratch folder.

    A resumed run must not decide anew.
    """
    path = scratch / "steps.json"
    if not path.exists():
        write_json(path, {"steps": steps})
    return int(read_json(path)["steps"])


def _train_on(
    samples: Sequence[Sample],
    images: Path,
    start: Path,
    optim: Optim,
    launch: Launch,
    run: StageRun[object],
    title: str,
    form: ResponseFormat,
) -> dict[str, Any]:
    model, processor = load_model(start), load_processor(start)
    metrics = {"samples": len(samples), "steps": optim.max_steps}
    card = model_card(title, str(start), form)
    if train(model, processor, samples, ImageSet(images), optim, launch, replace(run, seed=run.seed + 1), title, card):
        write_json(run.out / "metrics.json", metrics)
    return metrics


def grpo_from_base(*, run: StageRun[Grpo], **given: Any) -> dict[str, Any]:
    """Train GRPO from base, without the warm start."""
    return grpo(run=_with(run, start="base"), **given)


def shuffled_gold(*, run: StageRun[Grpo], **given: Any) -> dict[str, Any]:
    """Train GRPO on golds permuted within each question kind.

    If this arm gains, the gain is not learning.
    """
    return grpo(run=_with(run, gold="shuffled"), **given)


def _with(run: StageRun[Grpo], **update: str) -> StageRun[Grpo]:
    return replace(run, config=run.config.model_copy(update=update))


def evaluate_arms(
    *,
    images: Path,
    drawn: Path,
    valid: Path,
    more_sft: Path,
    rejection_sft: Path,
    grpo_from_base: Path,
    shuffled_gold: Path,
    rewards: Rewards,
    launch: Launch,
    run: StageRun[Evaluate],
) -> dict[str, Any]:
    """Evaluate every arm on the items of the main evaluation."""
    arms = {
        "more_sft": more_sft,
        "rejection_sft": rejection_sft,
        "grpo_from_base": grpo_from_base,
        "shuffled_gold": shuffled_gold,
    }
    return evaluate_checkpoints(arms, images, drawn, rewards, launch, run, valid)
