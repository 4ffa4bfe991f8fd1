"""Stage `base`: the starting policy, a named checkpoint or a pre-trained tiny model.

For the tiny model, pre-training stands in for a pre-trained checkpoint: it learns descriptions and direct answers of
the `pretrain` images, written by the annotator team, and of a source without such images the answers of half of its
scenes. A declared share of them is in the response format (without any reasoning), so that RL straight from base can
earn rewards. With rows of the user's own, the vocabulary spells the words that it lacks, so that nothing is unknown.
"""

import zlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_jsonl, write_json
from wethink.common.progress import say
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.response_format import ResponseFormat
from wethink.config.training import Base
from wethink.data.image_store import ImageSet
from wethink.data.schema import IMAGE, Row, read_rows, row_images
from wethink.rewards.format import marks, render
from wethink.training.ranks import join
from wethink.training.supervised import Sample, tokenize, train

if TYPE_CHECKING:
    from wethink.models.policy import Processor

ASSETS = (
    "pretrain_wordings.txt",
)  # ways to ask for a description, of many lengths: perception must not depend on one wording


MOST_WORDS = 8000  # of the vocabulary of own rows; rarer ones are spelled
SMALLEST, LARGEST = 56, 112  # pixels: photos are scaled to a square of at least and at most this area
TURNS = 4  # questions about one image in a sample
CONTEXT, FRAME = 512, 64  # tokens of the tiny model; of them for the system prompt and the turns' headers


def base(*, images: Path, rows: Path, format: ResponseFormat, launch: Launch, run: StageRun[Base]) -> dict[str, Any]:
    """Publish the starting policy to `out`.

    Raises:
        UserError: the named model cannot be loaded, or there are no rows to pre-train a tiny one on.
    """
    config, out, seed = run.config, run.out, run.seed
    if config.model != "tiny":
        return _resolve(config, format, out)
    from wethink.models.chat_prompts import chat_template, read_prompt
    from wethink.models.families.known import use_fast_paths
    from wethink.models.policy import Processor, model_card
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words

    assert config.tiny is not None and config.optim is not None  # the config's own validator
    everything = list(read_rows(rows / "rows.jsonl"))
    descriptions = [r for r in read_jsonl(rows / "descriptions.jsonl") if r["split"] == "pretrain"]
    answers = taught(everything, {record["source"] for record in descriptions})
    if not answers:
        raise UserError(
            f"base.model is 'tiny', which is pre-trained on the answers of rows, and {rows / 'rows.jsonl'} has none "
            "of the splits pretrain and train; name an existing model in base.model, or add rows."
        )
    system = read_prompt("system_tiny.txt")
    wordings = Path(__file__).with_name(ASSETS[0]).read_text(encoding="utf-8").strip().splitlines()
    is_own = any(row["provenance"].get("annotator") != "embedded" for row in everything)  # words of any kind
    vocabulary = words(
        [system, *wordings, *(r["text"] for r in descriptions)]
        + [row[key] for row in everything for key in ("problem", "answer", "refined_cot")]
        + [str(number) for number in range(100)],
        MOST_WORDS if is_own else None,
    )
    tokenizer = build_tokenizer(vocabulary, marks(format), is_own, config.tiny.family)
    tokenizer.chat_template = chat_template(system, format)
    size = ImageSet(images).records[0].width
    if is_own:  # photos of any size: at least the drawn images' 4 image tokens, at most 16
        size = min(max(size, SMALLEST), LARGEST)
    processor = Processor(tokenizer, build_image_processor(size, config.tiny.family))
    model = build_model(config.tiny, tokenizer, seed)
    use_fast_paths(model)
    samples = [*_samples(descriptions, answers, wordings, config, format, seed)]
    undescribed = _undescribed(descriptions, answers)
    own, overlong = _own_samples(undescribed, processor, ImageSet(images), config, format, seed)
    samples += own
    if not samples:
        raise UserError(
            f"{rows / 'rows.jsonl'}: all questions are too long for the tiny model's context; shorten them."
        )
    metrics = {"samples": len(samples), "steps": config.optim.max_steps, "vocabulary": len(tokenizer)}
    if undescribed:  # rows = those learned + dropped_overlong
        metrics |= {"rows": sum(map(len, undescribed.values())), "dropped_overlong": overlong}
    if overlong and join(launch).first:
        say(
            f"base: {overlong:,} of {metrics['rows']:,} rows are too long, with their images, for the tiny model's "
            f"context of {CONTEXT} tokens and are left out."
        )
    card = model_card("base", config.model, format)
    if train(model, processor, samples, ImageSet(images), config.optim, launch, run, "base", card):
        write_json(out / "metrics.json", metrics)
    return metrics


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
    of_image = _by_images(answers)
    for record in descriptions:
        image, text, rows = record["image"], record["text"], of_image.get((record["image"],), [])
        wording = wordings[zlib.crc32(f"{seed} wording {image}".encode()) % len(wordings)]
        draw = zlib.crc32(f"{seed} form {image}".encode()) / 2**32
        if draw < config.tagged_share:
            problem, answer, thought = wording, text, text
            if rows and draw < config.tagged_share / 2:
                problem, answer, thought = rows[0]["problem"], rows[0]["answer"], f"it looks like {rows[0]['answer']}"
            yield Sample(problem, (image,), render(thought, answer, form))
        elif rows and draw < config.tagged_share + config.direct_share:
            first, *others = rows
            later = ((wording, text), *map(_turn, others))
            yield Sample(first["problem"], (image,), first["answer"], system="", later=later)
        else:
            yield Sample(wording, (image,), text, system="", later=tuple(map(_turn, rows)))


def _by_images(rows: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Group rows by the images that they are about."""
    found: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        found.setdefault(row_images(row), []).append(row)
    return found


def _turn(row: Row) -> tuple[str, str]:
    """Return question and answer for a later turn, whose images stand in the first."""
    return row["problem"].replace(IMAGE, "").strip(), row["answer"]


def taught(rows: Sequence[Row], described: Collection[str] = ()) -> list[Row]:
    """Choose the rows on whose answers the tiny model is pre-trained: those of the split pretrain.

    Of a source without that split, as rows of the user's own have none, the rows of half of its scenes are taken, or
    half of its rows if its scenes are too large for that. SFT and GRPO train on all its rows, these among them;
    held-out scenes are in neither.

    Args:
        rows: all validated rows.
        described: sources with descriptions of pretrain images.
    """
    split = {row["source"] for row in rows if row["split"] == "pretrain"} | set(described)
    own: dict[str, list[Row]] = {}
    for row in rows:
        if row["split"] == "train" and row["source"] not in split:
            own.setdefault(row["source"], []).append(row)
    chosen = set[str]()
    for mine in own.values():
        half = [row["id"] for row in mine if zlib.crc32(row["scene"].encode()) % 2]
        if not 1 <= 4 * len(half) / len(mine) <= 3:  # rows about several images may join most images into one scene
            half = [row["id"] for row in mine if zlib.crc32(row["id"].encode()) % 2]
        chosen.update(half)
    return [row for row in rows if row["split"] == "pretrain" or row["id"] in chosen]


def _undescribed(descriptions: Sequence[Record], answers: Sequence[Row]) -> dict[tuple[str, ...], list[Row]]:
    """Group the rows that `_samples` leaves by their images: those without a description."""
    described = {(record["image"],) for record in descriptions}
    return {images: rows for images, rows in _by_images(answers).items() if images not in described}


def _own_samples(
    undescribed: Mapping[tuple[str, ...], Sequence[Row]],
    processor: "Processor",
    images: ImageSet,
    config: Base,
    form: ResponseFormat,
    seed: int,
) -> tuple[list[Sample], int]:
    """Build samples of images without a description: up to `TURNS` questions with their answers in each.

    A `tagged_share` has one question and answers it with the system prompt and in tags. A sample has as many of its
    turns as fit into the context.

    Returns:
        The samples, each row in one of them, and the number of rows left out because they exceed the context alone.
    """
    from wethink.models.context_length import image_tokens

    sizes = {record.id: (record.width, record.height) for record in images.records}
    samples, overlong = list[Sample](), 0
    for shown, rows in undescribed.items():
        room = CONTEXT - FRAME - sum(image_tokens(*sizes[image], processor) for image in shown)
        left = list(rows)
        while left:
            first = left[0]
            is_tagged = zlib.crc32(f"{seed} form {first['id']}".encode()) / 2**32 < config.tagged_share
            most = 1 if is_tagged or not shown else TURNS  # text-only rows have nothing in common
            tried = (_sample(left[:turns], is_tagged, form) for turns in range(min(most, len(left)), 0, -1))
            fitting = next((sample for sample in tried if _length(sample, processor) <= room), None)
            if fitting is None:
                overlong += 1
            else:
                samples.append(fitting)
            left = left[1 + (len(fitting.later) if fitting else 0) :]
    return samples, overlong


def _sample(rows: Sequence[Row], is_tagged: bool, form: ResponseFormat) -> Sample:
    """Build the sample of a row, with later rows about the same images as its later turns."""
    first, *others = rows
    shown, answer = row_images(first), first["answer"]
    if is_tagged:
        return Sample(first["problem"], shown, render(f"it looks like {answer}", answer, form))
    return Sample(first["problem"], shown, answer, system="", later=tuple(map(_turn, others)))


def _length(sample: Sample, processor: "Processor") -> int:
    """Count the text tokens of a sample but for the template's."""
    return len(processor.text_ids(sample.problem)) + len(tokenize(sample, processor)[0])


def _resolve(config: Base, form: ResponseFormat, out: Path) -> dict[str, Any]:
    from wethink.models.chat_prompts import chat_template, system_prompt
    from wethink.models.policy import load_model, load_processor, model_card, save_policy

    model = load_model(config.model, config.revision, dtype=None)  # published as it is
    processor = load_processor(config.model, config.revision)
    own = processor.tokenizer.chat_template
    if isinstance(own, dict):  # several by name
        own = processor.tokenizer.chat_template = own.get("default")
    if own:
        processor.tokenizer.chat_template = _own_template(processor.tokenizer, config.model, form)
        told = f"Its chat template is that of `{config.model}` behind lines that set a default system prompt"
        told += " and leave thoughts to the response" if "enable_thinking" in own and form.kind != "think" else ""
    else:
        processor.tokenizer.chat_template = chat_template(system_prompt(form), form)
        told = f"`{config.model}` has no chat template; this one is Qwen's"
    card = model_card("base", config.model, form) + f"\n{told}.\n"
    save_policy(model, None, processor, out, card)
    write_json(out / "metrics.json", {"model": config.model, "revision": config.revision})
    return {"model": config.model}


def _own_template(tokenizer: Any, model: str, form: ResponseFormat) -> str:
    """Return the model's own template with the format's system prompt and, if the format has one, its opened thought.

    Raises:
        UserError: the template itself opens something that the format cannot go on from.
    """
    from wethink.models.chat_prompts import around_own, opening, system_prompt
    from wethink.models.policy import continues, written_before

    plain = around_own(tokenizer.chat_template, system_prompt(form), form)
    for template in (plain, opening(plain, form)):
        tokenizer.chat_template = template
        if continues(written := written_before(tokenizer), form):
            return template
    raise UserError(
        f"base.model '{model}': its own chat template writes {written!r} before every response, and a response in "
        f"rewards.format '{form.kind}' cannot go on from that; "
        + ("set rewards.format: think." if form.kind != "think" else "choose another format or model.")
    )
