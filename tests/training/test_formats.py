"""Every response format trains: its targets, its prompts and its rewards fit together."""

from pathlib import Path
from typing import get_args

import pytest
from safetensors.torch import load_file
from transformers import AutoTokenizer

from tests.invariants.workshop import build, told
from tests.support.miniature import policy, processor, prompts
from wethink.common.jsonl import read_json, read_jsonl, write_jsonl
from wethink.config.response_format import JsonKeys, Kind, ResponseFormat
from wethink.models.batching import collate
from wethink.models.chat_prompts import chat_template, system_prompt
from wethink.models.policy import save_policy
from wethink.rewards import format
from wethink.training.supervised import Sample, tokenize

KINDS: tuple[Kind, ...] = get_args(Kind)
THINK = ResponseFormat(kind="think")


def moved(workshop: Path, scratch: str) -> bool:
    before = load_file(workshop / "models/base/model.safetensors")
    after = load_file(workshop / scratch / "out/model.safetensors")
    assert all(bool(value.isfinite().all()) for value in after.values())
    return any(not before[name].equal(value.to(before[name].dtype)) for name, value in after.items())


@pytest.mark.parametrize("kind", KINDS)
def test_sft_and_a_grpo_step_train_in_every_format(kind: Kind, tmp_path: Path) -> None:
    form = ResponseFormat(kind=kind)
    workshop = build(tmp_path, form)
    assert told(workshop, "sft", {"sft__optim__max_steps": 2}, "sft") == ""
    assert moved(workshop, "sft")
    assert read_json(workshop / "sft/out/metrics.json")["dropped_unwritable"] == 0
    assert told(workshop, "grpo", {"grpo__optim__max_steps": 2, "grpo__optim__lr": 0.01}, "grpo") == ""
    rollouts = list(read_jsonl(workshop / "grpo/rollouts.jsonl"))
    earned = [line for line in rollouts if line["format"]]
    assert len(earned) > len(rollouts) / 4, "the taught policy writes its format"
    for line in earned:
        assert format.parse(line["text"], form).fault is None
    assert moved(workshop, "grpo")


def test_a_thought_that_the_template_opens_is_prompt_and_not_completion() -> None:
    _, made = policy(form=THINK)
    (prompt,) = prompts(made, 1)
    opening = made.tokenizer.convert_tokens_to_ids("<think>")
    assert prompt.ids[-1] == opening and list(prompt.ids).count(opening) == 1
    asked = made.tokenizer.apply_chat_template(
        [{"role": "user", "content": "how many ?"}], tokenize=False, add_generation_prompt=True
    )
    assert asked.endswith("<|im_start|>assistant\n<think>\n")
    ids, learned = tokenize(Sample("how many ?", ("a",), format.render("red or blue", "2", THINK)), made)
    assert opening not in ids and all(learned)
    batch = collate([prompt], [ids], made.tokenizer.pad_token_id, learned=[learned])
    assert batch.targets.sum() == len(ids) and not batch.targets[0, : len(prompt.ids)].any()
    assert format.parse(made.decode(ids), THINK) == format.Parsed("red or blue", "2", None)


def test_a_model_that_was_never_taught_the_format_gets_no_opened_thought() -> None:
    made = processor(form=THINK)
    opening = made.tokenizer.convert_tokens_to_ids("<think>")
    assert opening not in made.prompt_ids("how many ?", [(1, 4, 4)], system="")
    assert made.prompt_ids("how many ?", [(1, 4, 4)], system="think")[-1] == opening
    assert opening not in made.turn_ids("how many ?"), "a later turn is answered at once"


def test_a_server_that_reads_the_checkpoint_gets_the_same_prompt(tmp_path: Path) -> None:
    model, made = policy(form=THINK)
    save_policy(model, None, made, tmp_path, "card")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    content = [{"type": "image"}, {"type": "text", "text": "how many ?"}]
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": content}], tokenize=False, add_generation_prompt=True
    )
    count = 4  # image tokens of 56 × 56 pixels
    ids = tokenizer(text.replace("<|image_pad|>", "<|image_pad|>" * count), add_special_tokens=False)["input_ids"]
    assert ids == made.prompt_ids("how many ?", [(1, 4, 4)])


def test_a_checkpoint_of_another_format_is_refused_with_a_sentence(tmp_path: Path) -> None:
    workshop = build(tmp_path)
    for stage in ("sft", "grpo"):
        said = told(workshop, stage, {"rewards__format": "think"}, stage)
        assert "models/base opens '' before a response, but rewards.format 'think' needs '<think>\\n'" in said


def test_a_row_that_the_format_cannot_hold_is_left_out_and_counted(tmp_path: Path) -> None:
    workshop = build(tmp_path)
    rows = list(read_jsonl(workshop / "data/valid/rows.jsonl"))
    paths = [row for row in rows if row["refined_cot"]]
    paths[0]["refined_cot"] += " <answer>"
    write_jsonl(workshop / "data/valid/rows.jsonl", rows)
    assert told(workshop, "sft", {"sft__optim__max_steps": 1}, "one") == ""
    metrics = read_json(workshop / "one/out/metrics.json")
    assert (metrics["dropped_unwritable"], metrics["samples"]) == (1, len(paths) - 1)
    for row in paths:
        row["refined_cot"] += " <answer>"
    write_jsonl(workshop / "data/valid/rows.jsonl", rows)
    assert "holds marks of the format 'tags'" in told(workshop, "sft", {}, "all")


@pytest.mark.parametrize("kind", KINDS)
def test_the_system_prompt_asks_for_the_format(kind: Kind) -> None:
    form = ResponseFormat(kind=kind, keys=JsonKeys(thought="why", answer="value") if kind == "json" else None)
    said = system_prompt(form)
    named = {"tags": "<answer>", "think": "</think>", "boxed": r"\boxed{}", "json": '"value"', "free": "last line"}
    assert named[kind] in said and "_KEY" not in said
    template = chat_template(said, form)
    assert ("<think>" in template.replace(said, "").replace("<think> </think>", "")) == (kind == "think")
