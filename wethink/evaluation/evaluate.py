"""Stage `evaluate`: base, SFT and GRPO on held-out items, of drawn sources and of the user's own.

Drawn items are scored against the truth, items of other sources by the answers that these brought. If there are any,
the headline is over them alone; drawn sources stand apart.

Passes are greedy and sampled; greedy controls show blank images or another item's, since accuracy without seeing is no
vision; items without images are not in them. The base model was never taught the response format, so it gets no system
prompt and is parsed leniently; the others are parsed strictly. The output is one record per item, checkpoint,
temperature and image variant.
"""

import multiprocessing
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from itertools import groupby, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_jsonl, write_json, write_jsonl
from wethink.common.processes import die_with_owners
from wethink.common.progress import say, track
from wethink.common.stage_run import StageRun
from wethink.config.evaluation import Evaluate
from wethink.config.launch import Launch
from wethink.config.rewards import Rewards
from wethink.curation.unanswerable import swap
from wethink.data.image_store import ImageSet
from wethink.data.schema import Item, held_out_items, read_items, row_images
from wethink.evaluation.summary import few_scenes, refusals, summarise
from wethink.models.batching import Images
from wethink.rewards import format
from wethink.rewards.hybrid import Scorer, open_scorer

if TYPE_CHECKING:
    from wethink.generation.sampler import Sampler

Pixels = Literal["true", "blank", "shuffled"]


@dataclass(frozen=True)
class Job:
    """One pass over the items: checkpoint, temperature and image variant."""

    checkpoint: str
    folder: Path
    temperature: float
    pixels: Pixels

    @property
    def name(self) -> str:
        return f"{self.checkpoint}-t{self.temperature}-{self.pixels}"


Asking = tuple[Job, Sequence[Item]]  # a pass and its items


class BlankImages:
    """Image source of mid-grey images in the sizes of the originals."""

    def __init__(self, images: Images) -> None:
        self._images = images

    def open(self, image: str) -> Image.Image:
        return Image.new("RGB", self._images.open(image).size, (128, 128, 128))


def evaluate(
    *,
    images: Path,
    drawn: Path,
    valid: Path,
    base: Path,
    sft: Path,
    grpo: Path,
    rewards: Rewards,
    launch: Launch,
    run: StageRun[Evaluate],
    unanswerable: float = 0.0,
) -> dict[str, Any]:
    """Evaluate base, SFT and GRPO on every held-out item.

    Writes `items.jsonl`, `metrics.json` and `headline.json` to `out`; returns the metrics. A share of the items is also
    asked about images that cannot answer them (`unanswerable`, validate.unanswerable): `unanswerable.jsonl`.

    Raises:
        UserError: there are no held-out items of the configured split.
    """
    checkpoints = {"base": base, "sft": sft, "grpo": grpo}
    return evaluate_checkpoints(checkpoints, images, drawn, rewards, launch, run, valid, unanswerable)


def evaluate_checkpoints(
    checkpoints: dict[str, Path],
    images: Path,
    drawn: Path,
    rewards: Rewards,
    launch: Launch,
    run: StageRun[Evaluate],
    valid: Path | None = None,
    unanswerable: float = 0.0,
) -> dict[str, Any]:
    """Evaluate named checkpoints as `evaluate` does.

    A checkpoint named 'base' is parsed leniently. Finished passes are kept in scratch and reused. `valid` has the items
    of the user's own sources.

    Raises:
        UserError: there are no held-out items of the configured split, or no response could be judged.
    """
    config, out, scratch, seed = run.config, run.out, run.scratch, run.seed
    ingested = {record.source for record in ImageSet(images).records}
    items = held_out_items([drawn, *([valid] if valid else [])], config.split, ingested)
    own = own_sources(valid, config.split) if valid else frozenset()
    swapped = swap(items, unanswerable, seed).made
    settings: list[tuple[float, Pixels]] = [(temperature, "true") for temperature in config.temperatures]
    settings += [(0.0, "blank"), (0.0, "shuffled")]
    jobs = [Job(name, folder, *setting) for name, folder in checkpoints.items() for setting in settings]
    first = (config.temperatures[0], "true")  # of each checkpoint: the pass in which the swapped items are asked, too
    todo = [job for job in jobs if not (scratch / f"{job.name}.jsonl").exists()]
    asked = [(job, [*items, *swapped] if (job.temperature, job.pixels) == first else items) for job in todo]
    parts, done = shares(asked, config, launch), len(jobs) - len(todo)
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(launch.processes, mp_context=context, initializer=die_with_owners) as pool:
        running = [
            pool.submit(run_jobs, part, images, rewards, launch, index % launch.processes, run)
            for index, part in enumerate(parts)
        ]
        for finished in track(as_completed(running), "evaluate", len(parts) + done, done):
            finished.result()
    everything = [record for job in jobs for record in read_jsonl(scratch / f"{job.name}.jsonl")]
    refuse_unreadable(everything)
    made = {item["id"] for item in swapped}
    records = [record for record in everything if record["id"] not in made]
    metrics = summarise(records, config.bootstrap, seed, own)
    for sentence in few_scenes(metrics):
        say(f"evaluate: {sentence}")
    write_jsonl(out / "items.jsonl", records)
    if made:
        refused = [record for record in everything if record["id"] in made]
        metrics["unanswerable"] = refusals(refused, records, config.bootstrap, seed)
        write_jsonl(out / "unanswerable.jsonl", refused)
    write_json(out / "metrics.json", metrics)
    write_json(out / "headline.json", headline(metrics))
    return metrics


def refuse_unreadable(records: Sequence[Record]) -> None:
    """Check that some response could be judged.

    Raises:
        UserError: every verdict is unknown; the most frequent reasons are named.
    """
    if all(record["verdict"] == "unknown" for record in records):
        reasons = Counter(str(record["reason"]) for record in records).most_common(3)
        most = "; ".join(f"{reason} ({count})" for reason, count in reasons)
        raise UserError(
            f"none of {len(records)} responses could be judged: {most}. Mend the judge or the rewards section of "
            "params.yaml; the finished passes are kept in scratch until its settings change."
        )


def own_sources(valid: Path, split: str) -> frozenset[str]:
    """Return the sources of the held-out items that the user's own data brought."""
    path = valid / "items" / f"{split}.jsonl"
    return frozenset(item["source"] for item in read_items(path)) if path.is_file() else frozenset()


def headline(metrics: dict[str, Any]) -> dict[str, Any]:
    """Select the figures that two versions are compared by (`dvc metrics show`)."""
    found: dict[str, Any] = {"majority": metrics["majority"], "constant": metrics["constant"]["accuracy"]}
    if metrics.get("drawn"):
        found["drawn"] = headline(metrics["drawn"])
    for name, entry in metrics.items():
        if name not in found and isinstance(entry, dict) and "accuracy" in entry:
            found[name] = {"accuracy": entry["accuracy"], "sampled": entry.get("sampled", {}).get("accuracy")}
        elif isinstance(entry, dict) and "mean" in entry:
            found[name] = {"mean": entry["mean"], "low": entry["low"], "high": entry["high"]}
    return found


def shares(asked: Sequence[Asking], config: Evaluate, launch: Launch) -> list[Sequence[Asking]]:
    """Divide the passes: one a process, or, since a vLLM server takes a minute to start, one share for each server."""
    if config.sampler == "in_process":
        return [[one] for one in asked]
    servers = 1 if launch.vllm_url else min(launch.processes, len(asked))
    cuts = [len(asked) * i // max(1, servers) for i in range(servers + 1)]
    return [asked[begin:end] for begin, end in pairwise(cuts)]


def run_jobs(
    jobs: Sequence[Asking], images: Path, rewards: Rewards, launch: Launch, index: int, run: StageRun[Evaluate]
) -> None:
    """Run passes in this process, on GPU `index`; write the records of each to scratch at its end."""
    from wethink.generation.sampler import published

    config, stored = run.config, ImageSet(images)
    most = max((len(row_images(item)) for _, items in jobs for item in items), default=1)
    for folder, group in groupby(jobs, key=lambda one: one[0].folder):
        with published(folder, config.sampler, launch, most, config.batch_size, index) as sampler:
            for job, items in group:
                answered = answer_items(job, items, stored, sampler, run)
                with open_scorer(rewards, launch) as scorer:
                    records = judge_items(answered, job, scorer)
                write_jsonl(run.scratch / f"{job.name}.jsonl", records)


def answer_items(
    job: Job, items: Sequence[Item], dataset: Images, sampler: "Sampler", run: StageRun[Evaluate]
) -> list[tuple[Item, str, int]]:
    """Answer the items of one pass; return each with the response and its number of tokens."""
    from wethink.generation.responses import Asked, Decoding
    from wethink.generation.sampler import answers

    config, seed = run.config, run.seed
    shown = {item["id"]: row_images(item) for item in items}
    if job.pixels == "shuffled":
        shown = shuffled(items, seed)
        items = [item for item in items if item["id"] in shown]
    elif job.pixels == "blank":
        dataset = BlankImages(dataset)
        items = [item for item in items if shown[item["id"]]]
    system = "" if job.checkpoint == "base" else None
    asked = [Asked(item["problem"], shown[item["id"]], item["id"], system=system) for item in items]
    responses = answers(sampler, asked, dataset, Decoding(config.max_new_tokens, job.temperature, seed))
    return [(item, found.text, found.tokens) for item, (found,) in zip(items, responses, strict=True)]


def shuffled(items: Sequence[Item], seed: int) -> dict[str, tuple[str, ...]]:
    """Map each item's id to as many images of another scene of the same source.

    The scenes of a source and number of images are permuted by the seed and rotated by one; a scene is shown by the
    images of its first item. Items without images, and those of a source that shows one scene only, have no others and
    are left out.
    """
    scenes: dict[tuple[str, int], dict[str, tuple[str, ...]]] = {}  # source, images an item → scene → its first images
    for item in items:
        if images := row_images(item):
            scenes.setdefault((item["source"], len(images)), {}).setdefault(item["scene"], images)
    other: dict[tuple[str, int, str], tuple[str, ...]] = {}
    for n, key in enumerate(sorted(scenes, key=lambda key: (key[1] > 1, key))):  # one image first: seeds stay
        names = list(scenes[key])
        order = [names[i] for i in np.random.default_rng([seed, n]).permutation(len(names))]
        if len(order) > 1:
            other |= {(*key, a): scenes[key][b] for a, b in zip(order, order[1:] + order[:1], strict=True)}
    keys = {item["id"]: (item["source"], len(row_images(item)), item["scene"]) for item in items}
    return {item: other[key] for item, key in keys.items() if key in other}


def judge_items(answered: Sequence[tuple[Item, str, int]], job: Job, scorer: Scorer) -> list[Record]:
    """Judge responses against the items' true answers.

    The responses of `base`, which was never taught the format, are parsed leniently.

    Args:
        answered: tuples (item, response, its number of tokens).
    """
    lenient, form = job.checkpoint == "base", scorer.rewards.format
    parsed = [format.parse(text, form) for _, text, _ in answered]
    if lenient:
        extracted = [format.lenient(text, form) for _, text, _ in answered]
        verdicts = scorer.check(list(zip(extracted, (item for item, _, _ in answered), strict=True)))
    else:
        extracted = [found.answer or "" for found in parsed]
        verdicts = [scored.verdict for scored in scorer.score([(text, item) for item, text, _ in answered])]
    return [
        {
            **item,
            "checkpoint": job.checkpoint,
            "temperature": job.temperature,
            "pixels": job.pixels,
            "response": text,
            "extracted": answer,
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "tokens": tokens,
            "strict": found.fault is None,
        }
        for (item, text, tokens), found, answer, verdict in zip(answered, parsed, extracted, verdicts, strict=True)
    ]
