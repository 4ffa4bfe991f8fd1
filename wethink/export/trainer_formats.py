"""Exports in the formats of other trainers: LLaMA-Factory, verl, EasyR1 and TRL.

* `sharegpt`: LLaMA-Factory's multimodal ShareGPT form, with `dataset_info.json` and the images as files. SFT rows.
* `verl`: one Parquet file that verl (`prompt`, `images`, `reward_model`, `extra_info`) and EasyR1 (`problem`, `answer`,
  `images`) both read. Its `ground_truth` is the row's gold with all that a hybrid reward needs, as JSON: EasyR1 passes
  nothing else to reward functions (`data.answer_key=ground_truth`). RL rows.
* `trl`: TRL's conversational prompt form; `grpo.parquet` for GRPOTrainer, `sft.parquet` (with completions) for
  SFTTrainer.

Only rows of the training split are exported: with a reasoning path for SFT, without one for RL, as in our own stages.
Each format has a function, and a test that checks it field by field.
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from wethink.common.errors import UserError
from wethink.common.jsonl import Record
from wethink.config.response_format import ResponseFormat
from wethink.data.image_store import ImageSet
from wethink.data.schema import IMAGE, Row, problem_parts, read_rows, row_images, split_train_rows
from wethink.export.parquet import picture, suffix, write_table
from wethink.models.chat_prompts import system_prompt
from wethink.rewards.format import Unwritable, message


def export_for(name: str, images: Path, valid: Path, out: Path, form: ResponseFormat) -> dict[str, int]:
    """Write valid rows in a trainer's format to `out` (replaced); return counts.

    `form` is the response format of the run: of the completions, and of the system prompt.

    Raises:
        UserError: there is no training row.
    """
    sft, rl = split_train_rows(read_rows(valid / "rows.jsonl"))
    if not sft and not rl:
        raise UserError(f"{valid / 'rows.jsonl'} has no row of the train split, so there is nothing to export.")
    staged = out.with_name(f".{out.name}.publishing")
    shutil.rmtree(staged, ignore_errors=True)
    staged.mkdir(parents=True)
    written, unwritable = _messages(sft, form)
    kept = [row for row in sft if row["id"] in written]
    counts = FORMS[name](kept, rl, ImageSet(images), staged, system_prompt(form), written)
    if unwritable:
        counts["left out (holds marks of the response format)"] = unwritable
    shutil.rmtree(out, ignore_errors=True)
    staged.rename(out)
    return counts


def _marked(row: Row) -> str:
    """Return the problem with `<image>` at the place of each image."""
    parts = problem_parts(row["problem"], len(row_images(row)))
    return "".join(IMAGE if part is None else part for part in parts)


def _sharegpt(
    sft: Sequence[Row], rl: Sequence[Row], images: ImageSet, out: Path, system: str, written: Mapping[str, str]
) -> dict[str, int]:
    """Write multimodal ShareGPT files for LLaMA-Factory.

    https://github.com/hiyouga/LLaMA-Factory/blob/main/data/README.md
    """
    (out / "images").mkdir()
    names: dict[str, str] = {}
    for image in sorted({image for row in sft for image in row_images(row)}):
        data = images.bytes(image)
        names[image] = f"images/{image}.{suffix(data)}"
        (out / names[image]).write_bytes(data)
    examples = [
        {
            "conversations": [
                {"from": "human", "value": _marked(row)},
                {"from": "gpt", "value": written[row["id"]]},
            ],
            "images": [names[image] for image in row_images(row)],
            "system": system,
        }
        for row in sft
    ]
    info = {
        "wethink_sft": {
            "file_name": "wethink_sft.json",
            "formatting": "sharegpt",
            "columns": {"messages": "conversations", "images": "images", "system": "system"},
        }
    }
    for name, value in (("wethink_sft.json", examples), ("dataset_info.json", info)):
        (out / name).write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return {"sft": len(sft), "left out (no reasoning path)": len(rl)}


def _verl(
    sft: Sequence[Row], rl: Sequence[Row], images: ImageSet, out: Path, system: str, written: Mapping[str, str]
) -> dict[str, int]:
    """Write one Parquet file for verl and EasyR1.

    https://verl.readthedocs.io/en/latest/preparation/prepare_data.html and EasyR1's examples/config.yaml.
    """
    from datasets import Features, Image, List, Value

    text = Value("string")
    message = {"role": text, "content": text}
    features = Features(
        {
            **dict.fromkeys(("data_source", "ability", "problem", "answer", "ground_truth"), text),
            "prompt": List(message),
            "images": List(Image()),
            "reward_model": {"style": text, "ground_truth": text},
            "extra_info": {
                "index": Value("int64"),
                **dict.fromkeys(("split", "id", "category", "reward", "answer"), text),
            },
        }
    )

    def converted() -> Iterator[Record]:
        for index, row in enumerate(rl):
            gold = {key: row[key] for key in ("answer", "category", "problem", "reward")}
            yield {
                "data_source": f"wethink/{row['source']}",
                "ability": ",".join(row["abilities"]),
                "problem": _marked(row),
                "answer": row["answer"],
                "ground_truth": json.dumps(gold, sort_keys=True, ensure_ascii=False),
                "prompt": [{"role": "system", "content": system}, {"role": "user", "content": _marked(row)}],
                "images": [picture(images, image) for image in row_images(row)],
                "reward_model": {"style": row["reward"], "ground_truth": row["answer"]},
                "extra_info": {"index": index}
                | {key: row[key] for key in ("split", "id", "category", "reward", "answer")},
            }

    return {"rl": write_table(out / "train.parquet", converted(), features), "left out (reasoning path)": len(sft)}


def _trl(
    sft: Sequence[Row], rl: Sequence[Row], images: ImageSet, out: Path, system: str, written: Mapping[str, str]
) -> dict[str, int]:
    """Write TRL's conversational Parquet files, with the images in their own column.

    https://huggingface.co/docs/trl/dataset_formats: prompt-only for GRPO, with completions for SFT.
    """
    from datasets import Features, Image, List, Value

    text = Value("string")
    message = {"role": text, "content": text}
    shared: dict[str, Any] = {"prompt": List(message), "images": List(Image())}
    kept: Final = ("id", "problem", "answer", "category", "reward")

    def prompt(row: Row) -> Record:
        # TRL puts all images before the text: the places in it are named.
        problem = row["problem"].replace(IMAGE, "[image]")
        asked = [{"role": "system", "content": system}, {"role": "user", "content": problem}]
        return {"prompt": asked, "images": [picture(images, image) for image in row_images(row)]}

    def answered(row: Row) -> Record:
        return {"completion": [{"role": "assistant", "content": written[row["id"]]}]}

    grpo = Features(shared | dict.fromkeys(kept, text))
    taught = Features(shared | {"completion": List(message)})
    return {
        "grpo": write_table(out / "grpo.parquet", (prompt(row) | {key: row[key] for key in kept} for row in rl), grpo),
        "sft": write_table(out / "sft.parquet", (prompt(row) | answered(row) for row in sft), taught),
    }


Writer = Callable[[Sequence[Row], Sequence[Row], ImageSet, Path, str, Mapping[str, str]], dict[str, int]]
FORMS: dict[str, Writer] = {
    "sharegpt": _sharegpt,
    "verl": _verl,
    "trl": _trl,
}


def _messages(rows: Sequence[Row], form: ResponseFormat) -> tuple[dict[str, str], int]:
    """Return the assistant's message by row id, and the number of rows that the format cannot hold."""
    written: dict[str, str] = {}
    for row in rows:
        with suppress(Unwritable):
            written[row["id"]] = message(row["refined_cot"], row["answer"], form)
    return written, len(rows) - len(written)
