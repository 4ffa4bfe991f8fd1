"""Stage `base`: the starting policy, a named checkpoint or a pre-trained tiny model.

For the tiny model, pre-training stands in for a pre-trained checkpoint: it learns descriptions and direct answers of
the `pretrain` images, written by the annotator team. A declared share of them is in the response format (without any
reasoning), so that RL straight from base can earn rewards.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_jsonl, write_json
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.response_format import ResponseFormat
from wethink.config.training import Base
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, read_rows
from wethink.rewards.format import marks, render
from wethink.training.supervised import Sample, train

ASSETS = (
    "pretrain_wordings.txt",
)  # ways to ask for a description, of many lengths: perception must not depend on one wording


def base(*, images: Path, rows: Path, format: ResponseFormat, launch: Launch, run: StageRun[Base]) -> dict[str, Any]:
    """Publish the starting policy to `out`.

    Raises:
        UserError: the named model cannot be loaded, or there are no rows to pre-train a tiny one on.
    """
    config, out, seed = run.config, run.out, run.seed
    if config.model != "tiny":
        return _resolve(config, format, out)
    from wethink.models.chat_prompts import chat_template, read_prompt
    from wethink.models.policy import Processor, model_card
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words
    from wethink.models.vision_fast_paths import use_fast_paths

    assert config.tiny is not None and config.optim is not None  # the config's own validator
    everything = list(read_rows(rows / "rows.jsonl"))
    descriptions = [r for r in read_jsonl(rows / "descriptions.jsonl") if r["split"] == "pretrain"]
    answers = [row for row in everything if row["split"] == "pretrain"]
    if not answers or not descriptions:
        raise UserError(
            "base.model is 'tiny', which is pre-trained on the embedded annotator's rows about drawn images (split "
            "'pretrain'), and there are none; name an existing model in base.model, or set draw.pretrain above 0 and "
            "synthesize.annotator to embedded."
        )
    system = read_prompt("system_tiny.txt")
    wordings = Path(__file__).with_name(ASSETS[0]).read_text(encoding="utf-8").strip().splitlines()
    vocabulary = words(
        [system, *wordings, *(r["text"] for r in descriptions)]
        + [row[key] for row in everything for key in ("problem", "answer", "refined_cot")]
        + [str(number) for number in range(100)]
    )
    tokenizer = build_tokenizer(vocabulary, marks(format))
    tokenizer.chat_template = chat_template(system, format)
    size = ImageSet(images).records[0].width
    processor = Processor(tokenizer, build_image_processor(size, config.tiny.family))
    model = build_model(config.tiny, tokenizer, seed)
    use_fast_paths(model)
    samples = list(_samples(descriptions, answers, wordings, config, format, seed))
    card = model_card("base", config.model, format)
    if train(model, processor, samples, ImageSet(images), config.optim, launch, run, "base", card):
        write_json(
            out / "metrics.json",
            {"samples": len(samples), "steps": config.optim.max_steps, "vocabulary": len(tokenizer)},
        )
    return {"samples": len(samples)}


def _samples(
    descriptions: list[Record],
    answers: list[Row],
    wordings: list[str],
    config: Base,
    form: ResponseFormat,
    seed: int,
) -> Iterator[Sample]:
    """Yield one sample per described image, in a form chosen by a hash.

    Most are dialogues as in instruction data: describe the image, then answer questions about it. A `direct_share`
    answers the first question at once and describes afterwards (so that descriptions occur at many distances from the
    image). A `tagged_share` answers with the system prompt and in the response format; its thought is a guess (or, for
    a description, the description). No sample draws a conclusion from listed observations within one answer: that is
    left to SFT and GRPO.
    """
    of_image: dict[str, list[Row]] = {}
    for row in answers:
        of_image.setdefault(row["image"], []).append(row)
    for record in descriptions:
        image, text, rows = record["image"], record["text"], of_image.get(record["image"], [])
        wording = wordings[zlib.crc32(f"{seed} wording {image}".encode()) % len(wordings)]
        draw = zlib.crc32(f"{seed} form {image}".encode()) / 2**32
        if draw < config.tagged_share:
            problem, answer, thought = wording, text, text
            if rows and draw < config.tagged_share / 2:
                problem, answer, thought = rows[0]["problem"], rows[0]["answer"], f"it looks like {rows[0]['answer']}"
            yield Sample(problem, image, render(thought, answer, form))
        elif rows and draw < config.tagged_share + config.direct_share:
            first, *others = [(row["problem"], row["answer"]) for row in rows]
            yield Sample(first[0], image, first[1], system="", later=((wording, text), *others))
        else:
            yield Sample(wording, image, text, system="", later=tuple((row["problem"], row["answer"]) for row in rows))


def _resolve(config: Base, form: ResponseFormat, out: Path) -> dict[str, Any]:
    from wethink.models.chat_prompts import chat_template, system_prompt
    from wethink.models.policy import load_model, load_processor, model_card, save_policy

    model = load_model(config.model, config.revision)
    processor = load_processor(config.model, config.revision)
    processor.tokenizer.chat_template = chat_template(system_prompt(form), form)
    save_policy(model, None, processor, out, model_card("base", config.model, form))
    write_json(out / "metrics.json", {"model": config.model, "revision": config.revision})
    return {"model": config.model}
