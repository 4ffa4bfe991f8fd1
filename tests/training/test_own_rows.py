"""The tiny profile on rows of the user's own: nothing is unknown, half of the scenes teach base, SFT may be skipped."""

from pathlib import Path

import pytest

from tests.invariants.worlds import in_world
from tests.synthesis.test_given_rows import pairs, source, written
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.params import load_params
from wethink.models.chat_prompts import chat_template
from wethink.models.policy import Processor, load_processor
from wethink.models.tiny import build_image_processor, build_tokenizer, words
from wethink.models.vocabulary import unknown
from wethink.training.base_policy import _own_samples, _undescribed, base, taught
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


@pytest.mark.parametrize("scenes", [1, 2, 400])
def test_about_half_of_a_sources_rows_teach_base_however_few_its_scenes(scenes: int) -> None:
    for name in "abcdefgh":
        rows = [
            {"source": "mine", "split": "train", "scene": f"{name} {n % scenes}", "id": f"{name} {n}"}
            for n in range(400)
        ]
        assert 90 < len(taught(rows)) < 310  # type: ignore[arg-type]


def test_base_and_sft_run_on_own_rows_alone(tmp_path: Path) -> None:
    in_world(1, _base_and_sft, tmp_path)  # stages join a group of ranks, which this process must not keep


def _base_and_sft(tmp_path: Path) -> None:
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
    metrics = read_json(out / "metrics.json")
    assert metrics["dropped_overlong"] == 0 < metrics["rows"] <= len(list(read_jsonl(rows / "rows.jsonl")))
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


@pytest.mark.parametrize("tagged", [0.0, 1.0])
def test_every_row_of_base_is_in_one_sample_or_counted_as_too_long(tmp_path: Path, tagged: float) -> None:
    """Rows about one image share a sample as far as they fit; one that is too long takes no other with it."""
    params = load_params(ROOT / "profiles" / "tiny.yaml")
    images = source(tmp_path, pairs(2, 0))
    picture = images.records[0].id
    made = Processor(build_tokenizer(words(["what is red ?"]), with_spelling=True), build_image_processor(56))
    made.tokenizer.chat_template = chat_template("think then answer", params.rewards.format)
    problems = [f"what is red ? {n}" for n in range(6)] + ["red " * 300, "red " * 300, "red " * 600, "what is red ?"]
    row = {"answer": "red", "category": "FIB", "image": picture}
    rows = [row | {"id": f"{n}", "problem": problem} for n, problem in enumerate(problems)]
    rows += [row | {"id": f"text {n}", "problem": f"red ? {n}", "images": []} for n in range(3)]
    rows += [row | {"id": "five", "problem": "red ?", "images": [record.id for record in images.records] * 60}]
    config = params.base.model_copy(update={"tagged_share": tagged})
    samples, overlong = _own_samples(_undescribed([], rows), made, images, config, params.rewards.format, 0)  # type: ignore[arg-type]
    asked = [question for s in samples for question in (s.problem, *(problem for problem, _ in s.later))]
    fitting = [r["problem"] for r in rows if r["id"] not in ("8", "five")]
    assert sorted(question.strip() for question in asked) == sorted(problem.strip() for problem in fitting)
    assert overlong == len(rows) - len(fitting) == 2
    assert max(len(sample.later) for sample in samples) == (0 if tagged else 3)
    assert _own_samples(
        _undescribed([{"image": picture}], rows[:8]), made, images, config, params.rewards.format, 0
    ) == ([], 0)  # type: ignore[arg-type]


def test_words_that_a_vocabulary_lacks_are_counted_with_the_answers_that_hold_one() -> None:
    from tests.support.miniature import processor

    rows = [
        {"problem": "what is the teal shape ?", "answer": "rectangle", "category": "FIB", "reward": "rule"},
        {"problem": "how many ?", "answer": "2", "category": "FIB", "reward": "rule"},
    ]
    found = unknown(processor(), rows)  # type: ignore[arg-type]
    assert set(found.words) == {"teal", "shape", "rectangle"} and found.answers == 0.5
    assert found.share == pytest.approx(3 / 11)
