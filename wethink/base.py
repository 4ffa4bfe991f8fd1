"""`base`: the starting policy. The tiny profile builds a miniature Qwen2.5-VL and pre-trains it; others name one.

Pre-training stands in for a pre-trained checkpoint: descriptions and direct answers of the `pretrain`
images, written by the annotator team, and a declared share of them in the tagged format (without any
reasoning in it), so that RL straight from base can be rewarded at all.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wethink.config import Base, Launch
from wethink.errors import UserError
from wethink.images import ImageSet
from wethink.records import Record, content_id, read_jsonl, write_json
from wethink.rewards.grammar import render
from wethink.supervised import Sample, train

PROMPTS = ("describe.txt",)  # ways to ask for a description, of many lengths: seeing must not hang on one wording


def base(
    *, images: Path, rows: Path, out: Path, scratch: Path, config: Base, launch: Launch, seed: int
) -> dict[str, Any]:
    """Publish the starting policy to `out`.

    Raises:
        UserError: the named model cannot be loaded, or there is nothing to pre-train a tiny one on.
    """
    if config.model != "tiny":
        return _resolve(config, out)
    from wethink.models.policy import Processor, chat_template, model_card, save_policy, read_prompt
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words
    from wethink.models.vision import use_fast_paths

    assert config.tiny is not None and config.optim is not None  # the config's own validator
    everything = list(read_jsonl(rows / "rows.jsonl"))
    descriptions = [r for r in read_jsonl(rows / "descriptions.jsonl") if r["split"] == "pretrain"]
    answers = [row for row in everything if row["split"] == "pretrain"]
    if not answers or not descriptions:
        raise UserError(
            "base.model is 'tiny' but there are no rows of the 'pretrain' split to train it on; "
            "set draw.pretrain above 0, or name an existing model in base.model."
        )
    system = read_prompt("system_tiny.txt")
    wordings = read_prompt(PROMPTS[0]).splitlines()
    vocabulary = words(
        [system, *wordings, *(r["text"] for r in descriptions)]
        + [row[key] for row in everything for key in ("problem", "answer", "refined_cot")]
        + [str(number) for number in range(100)]
    )
    tokenizer = build_tokenizer(vocabulary)
    tokenizer.chat_template = chat_template(system)
    size = ImageSet(images).records[0].width
    processor = Processor(tokenizer, build_image_processor(size))
    model = build_model(config.tiny, tokenizer, seed)
    use_fast_paths(model)
    samples = list(_samples(descriptions, answers, wordings, config, seed))
    if train(model, processor, samples, ImageSet(images), config.optim, launch, scratch, out, seed, "base"):
        save_policy(model, None, processor, out, model_card("base", config.model))
        write_json(
            out / "metrics.json", {"samples": len(samples), "steps": config.optim.steps, "vocabulary": len(tokenizer)}
        )
    return {"samples": len(samples)}


def _samples(
    descriptions: list[Record], answers: list[Record], wordings: list[str], config: Base, seed: int
) -> Iterator[Sample]:
    """All descriptions, and as many hash-chosen answers as `caption_share` leaves room for.

    `tagged_share` of both come with the system prompt and in tags: a description is its own thought, an
    answer's thought is a guess. No sample lists what is seen and then concludes: that is left to learn.
    """
    room = len(descriptions) * (1 - config.caption_share) / config.caption_share
    chosen = sorted(answers, key=lambda row: content_id(seed, row["id"]))[: round(room)]
    plain = [
        (wordings[int(content_id(seed, r["image"]), 16) % len(wordings)], r["image"], r["text"], r["text"])
        for r in descriptions
    ]
    plain += [(row["problem"], row["image"], row["answer"], f"it looks like {row['answer']}") for row in chosen]
    for problem, image, answer, thought in plain:
        if zlib.crc32(f"{seed} {image} {problem}".encode()) / 2**32 < config.tagged_share:
            yield Sample(problem, image, render(thought, answer))
        else:
            yield Sample(problem, image, answer, system="")


def _resolve(config: Base, out: Path) -> dict[str, Any]:
    from wethink.models.policy import chat_template, load_model, load_processor, model_card, save_policy, read_prompt

    model = load_model(config.model, config.revision)
    processor = load_processor(config.model, config.revision)
    processor.tokenizer.chat_template = chat_template(read_prompt("system_wethink.txt"))
    save_policy(model, None, processor, out, model_card("base", config.model))
    write_json(out / "metrics.json", {"model": config.model, "revision": config.revision})
    return {"model": config.model}
