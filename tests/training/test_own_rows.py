"""The tiny profile on rows of the user's own: nothing is unknown, half of the scenes teach base, SFT may be skipped."""

from pathlib import Path

import pytest

from tests.synthesis.test_given_rows import pairs, source, written
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.models.policy import load_processor
from wethink.models.tiny import build_tokenizer, words
from wethink.models.vocabulary import unknown
from wethink.training.base_policy import base, taught
from wethink.training.sft import sft

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("text", ["what is purple ?", "größe 日本語", "😀 ok", "x" * 400, "a\u0300 e\u0301", "12.5 %"])
def test_a_vocabulary_with_spelling_knows_every_text_and_gives_it_back(text: str) -> None:
    tokenizer = build_tokenizer(words(["what is red ?"]), with_spelling=True)
    ids = tokenizer(text)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids).replace(" ", "") == text.replace(" ", "")


def test_whole_words_stay_one_token_and_the_rarest_are_spelled() -> None:
    tokenizer = build_tokenizer(words(["red red red blue"], 1), with_spelling=True)
    assert len(tokenizer("red")["input_ids"]) == 1 and len(tokenizer("blue")["input_ids"]) == 4


def test_a_source_without_pretrain_images_gives_the_rows_of_half_of_its_scenes() -> None:
    rows = [{"source": "mine", "split": "train", "scene": str(n // 2), "id": str(n)} for n in range(400)]
    drawn = [{"source": "scenes", "split": split, "scene": "s", "id": split} for split in ("pretrain", "train")]
    chosen = taught([*rows, *drawn])  # type: ignore[list-item]
    assert "train" not in {row["id"] for row in chosen} and "pretrain" in {row["id"] for row in chosen}
    scenes = {row["scene"] for row in chosen if row["source"] == "mine"}
    assert 70 < len(scenes) < 130 and sum(row["source"] == "mine" for row in chosen) == 2 * len(scenes)


def test_base_and_sft_run_on_own_rows_alone(tmp_path: Path) -> None:
    params = load_params(ROOT / "profiles" / "tiny.yaml")
    images = source(tmp_path, pairs(24, 0))
    rows = tmp_path / "rows0"
    written(tmp_path, images, annotator="rows", rows=None)
    tiny = params.base.tiny.model_copy(
        update={"hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1,
                "intermediate_size": 32, "vision_depth": 1, "vision_hidden_size": 32}
    )  # fmt: skip
    optim = params.base.optim.model_copy(update={"max_steps": 2, "train_batch_size": 2})
    launch = params.launch.model_copy(update={"processes": 1})
    folders = {name: tmp_path / name for name in ("base", "sft")}
    for folder in folders.values():
        (folder / "scratch").mkdir(parents=True)
    config = params.base.model_copy(update={"tiny": tiny, "optim": optim})
    out, scratch = folders["base"] / "out", folders["base"] / "scratch"
    out.mkdir()
    base(
        images=images.folder,
        rows=rows,
        format=params.rewards.format,
        launch=launch,
        run=StageRun(config, out, scratch, 0),
    )
    processor = load_processor(out)
    assert unknown(processor, list(read_jsonl(rows / "rows.jsonl"))).share == 0  # type: ignore[arg-type]
    stage = StageRun(params.sft, folders["sft"] / "out", folders["sft"] / "scratch", 0)
    given = {
        "images": images.folder,
        "rows": rows,
        "base": out,
        "format": params.rewards.format,
        "launch": launch,
        "run": stage,
    }
    with pytest.raises(UserError, match=r"no train row with a reasoning path.*Skip it with grpo\.start: base"):
        sft(**given)
    assert sft(**given, start="base")["samples"] == 0
    weights = [(folder / "model.safetensors").read_bytes() for folder in (out, folders["sft"] / "out")]
    assert weights[0] == weights[1] and read_json(folders["sft"] / "out" / "metrics.json")["steps"] == 0


def test_words_that_a_vocabulary_lacks_are_counted_with_the_answers_that_hold_one() -> None:
    from tests.support.miniature import processor

    rows = [
        {"problem": "what is the teal shape ?", "answer": "rectangle", "category": "FIB", "reward": "rule"},
        {"problem": "how many ?", "answer": "2", "category": "FIB", "reward": "rule"},
    ]
    found = unknown(processor(), rows)  # type: ignore[arg-type]
    assert set(found.words) == {"teal", "shape", "rectangle"} and found.answers == 0.5
    assert found.share == pytest.approx(3 / 11)
