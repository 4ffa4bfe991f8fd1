"""Exports: `load_dataset` reads ours, the card says what is so, and other trainers' forms hold field by field."""

import io
import json
from pathlib import Path
from typing import Any, get_args

import pytest
from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import write_json, write_jsonl
from wethink.config.response_format import Kind, ResponseFormat
from wethink.data.image_shards import Shards
from wethink.data.image_store import ImageRecord
from wethink.data.schema import RELEASED_KEYS
from wethink.export.dataset import export_dataset
from wethink.export.trainer_formats import export_for
from wethink.rewards.format import DEFAULT, opened, parse
from wethink.rewards.grammars import Parsed

SYSTEM = "You FIRST think about the reasoning process"
MODELS = {"annotator": "endpoints", "steps": {"look": {"model": "see-72b", "prompt": "ab", "calls": ["c1"]}}}


def row(number: int, split: str, path: str) -> dict[str, Any]:
    return {
        "id": f"r{number}",
        "image": f"{split}-{number // 2}",
        "problem": f"how many | of {number} ? <b>",
        "answer": str(number),
        "category": "FIB",
        "abilities": ["reasoning", "counting"],
        "refined_cot": path,
        "image_path": f"photos/{number // 2}.png",
        "reward": "rule",
        "source": "photos",
        "split": split,
        "scene": f"s{number // 2}",
        "kind": "written FIB",
        "decisions": {"description": "1", "vision": "1", "adjudicator": None, "agreed": True},
        "provenance": MODELS if number % 2 else {"annotator": "embedded", "seed": 0},
    }


ROWS = [row(n, "train", "I see it." if n < 4 else "") for n in range(10)] + [row(n, "pretrain", "") for n in range(2)]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Images, rows and valid rows as the stages write them."""
    for name in ("images", "rows", "valid"):
        (tmp_path / name).mkdir()
    shards = Shards(tmp_path / "images", 3)
    for number, image in enumerate(sorted({one["image"] for one in ROWS})):
        buffer = io.BytesIO()
        Image.new("RGB", (40, 30), (number * 20, 90, 30)).save(buffer, "PNG" if number % 2 else "JPEG")
        shards.add(ImageRecord(image, "photos", image.split("-")[0], image, 40, 30, f"{number}.png"), buffer.getvalue())
    shards.close()
    write_jsonl(tmp_path / "valid" / "rows.jsonl", ROWS)
    write_json(tmp_path / "valid" / "metrics.json", {"kept": 12, "quarantined": 2, "curated": {"contaminated": 3}})
    made = {"images": {"train": 9}, "candidates": 40, "kept": 17, "rejected": {"answers disagree": 23}}
    write_json(tmp_path / "rows" / "metrics.json", made)
    return tmp_path


def dataset(home: Path, **licences: str) -> Path:
    out = home / "out"
    export_dataset(home / "images", home / "rows", home / "valid", out, "Mine", licences)
    return out


def trainer(home: Path, form: str, given: ResponseFormat = DEFAULT) -> tuple[Path, dict[str, int]]:
    return home / form, export_for(form, home / "images", home / "valid", home / form, given)


def test_load_dataset_reads_rows_with_their_pictures_and_as_text(home: Path) -> None:
    from datasets import load_dataset

    out = dataset(home)
    read = load_dataset(str(out), cache_dir=str(home / "cache"))
    assert {split: len(part) for split, part in read.items()} == {"train": 10, "pretrain": 2}
    for given, got in zip(ROWS[:10], read["train"], strict=True):
        assert {key: got[key] for key in RELEASED_KEYS} == {key: given[key] for key in RELEASED_KEYS}
        assert got["image"].size == (40, 30) and got["image_id"] == given["image"] and got["scene"] == given["scene"]
        assert json.loads(got["provenance"]) == given["provenance"]
    text = load_dataset("json", data_files=str(out / "rows" / "train.jsonl"), cache_dir=str(home / "cache"))["train"]
    assert text["id"] == read["train"]["id"] and "image" not in text.column_names
    assert sorted([*text.column_names, "image"]) == sorted(read["train"].column_names)


def test_the_card_gives_funnel_distributions_models_and_licences(home: Path) -> None:
    from ruamel.yaml import YAML

    text = (dataset(home, dataset="apache-2.0", photos="cc-by-4.0") / "README.md").read_text()
    _, front, body = text.split("---\n", 2)
    head = YAML(typ="safe").load(front)
    assert head["license"] == "apache-2.0" and head["size_categories"] == ["n<1K"]
    assert [config["config_name"] for config in head["configs"]] == ["default"]
    for said in (
        "| candidates | 40 |",
        "| rejected: answers disagree | 23 |",
        "| dropped by curation: contaminated | 3 |",
        "| **rows of this dataset** | 12 |",
        "| photos | 12 | 100.0% |",
        "| look | see-72b | 6 |",
        "| all steps | the team 'embedded' | 6 |",
        "| photos | 6 | cc-by-4.0 |",
        "| with | 4 | 33.3% |",
    ):
        assert said in body
    unstated = (dataset(home) / "README.md").read_text()
    assert "license: unknown" in unstated and "| photos | 6 | not stated |" in unstated


def given(number: int, file: str) -> dict[str, Any]:
    provenance = {"annotator": "rows", "given": file, "line": number}
    return row(number, "train", "") | {"provenance": provenance, "columns": {"page": number}}


def test_rows_of_the_users_own_are_never_called_synthetic(home: Path) -> None:
    own = [given(n, "mine/qa.csv") for n in range(3)]
    write_jsonl(home / "valid" / "rows.jsonl", own)
    text = (dataset(home) / "README.md").read_text()
    assert "synthetic" not in text and "written by models" not in text and "annotated" not in text
    assert "given by the user: `mine/qa.csv` (3 rows)" in text and "| rows given | 40 |" in text
    assert "| all steps | given by the user: mine/qa.csv | 3 |" in text
    [line, *_] = (home / "out" / "rows" / "train.jsonl").read_text().splitlines()
    assert json.loads(json.loads(line)["columns"]) == {"page": 0}


def test_a_mixed_card_says_how_many_rows_were_given_and_how_many_written(home: Path) -> None:
    write_jsonl(home / "valid" / "rows.jsonl", [given(0, "my.jsonl"), *ROWS[2:4]])
    text = (dataset(home) / "README.md").read_text()
    assert "- synthetic" in text and "1 of 3 rows were given, 2 written by models." in text
    assert "| look | see-72b | 1 |" in text and "given by the user: my.jsonl | 1 |" in text


def test_an_exported_dataset_is_read_again_as_a_source(home: Path) -> None:
    from tests.data.test_ingest import run
    from wethink.common.jsonl import read_jsonl
    from wethink.config.data import Source
    from wethink.data.image_store import GIVEN_ROWS
    from wethink.synthesis.import_rows import import_given

    write_jsonl(home / "valid" / "rows.jsonl", [one for one in ROWS if one["split"] == "train"])
    out = dataset(home)
    images = run(home, Source(name="again", kind="dataset", path=str(out)))[1]
    read = import_given(read_jsonl(images.folder / GIVEN_ROWS), images.records)
    assert [one["reason"] for one in read] == [None] * 10
    assert [{key: one[key] for key in ("problem", "answer", "refined_cot", "scene")} for one in read] == [
        {key: one[key] for key in ("problem", "answer", "refined_cot", "scene")} for one in ROWS[:10]
    ]


def test_the_same_rows_give_the_same_bytes(home: Path) -> None:
    first = {path.relative_to(home / "out"): path.read_bytes() for path in dataset(home).rglob("*") if path.is_file()}
    again = {path.relative_to(home / "out"): path.read_bytes() for path in dataset(home).rglob("*") if path.is_file()}
    assert first == again and len(first) == 5


def test_sharegpt_is_what_llama_factory_documents(home: Path) -> None:
    out, counts = trainer(home, "sharegpt")
    assert counts == {"sft": 4, "left out (no reasoning path)": 6}
    info = json.loads((out / "dataset_info.json").read_text())["wethink_sft"]
    assert info["formatting"] == "sharegpt"
    examples = json.loads((out / info["file_name"]).read_text())
    columns = info["columns"]
    for given, example in zip(ROWS[:4], examples, strict=True):
        human, gpt = example[columns["messages"]]
        assert (human["from"], gpt["from"]) == ("human", "gpt")
        assert human["value"] == "<image>" + given["problem"], "one mark for one picture"
        assert gpt["value"] == f"<think>I see it.</think><answer>{given['answer']}</answer>"
        assert example[columns["system"]].startswith(SYSTEM)
        [name] = example[columns["images"]]
        assert Image.open(out / name).size == (40, 30)


def test_one_parquet_is_what_verl_and_easyr1_document(home: Path) -> None:
    from datasets import load_dataset

    out, counts = trainer(home, "verl")
    assert counts == {"rl": 6, "left out (reasoning path)": 4}
    read = load_dataset("parquet", data_files=str(out / "train.parquet"), cache_dir=str(home / "cache"))["train"]
    for index, (given, got) in enumerate(zip(ROWS[4:10], read, strict=True)):
        asked = "<image>" + given["problem"]
        # verl: data_source, prompt (chat), images, ability, reward_model {style, ground_truth}, extra_info
        assert got["data_source"] == "wethink/photos" and got["ability"] == "reasoning,counting"
        assert [message["role"] for message in got["prompt"]] == ["system", "user"]
        assert got["prompt"][1]["content"] == asked and got["prompt"][0]["content"].startswith(SYSTEM)
        assert got["reward_model"] == {"style": "rule", "ground_truth": given["answer"]}
        assert (got["extra_info"]["index"], got["extra_info"]["split"]) == (index, "train")
        # EasyR1: prompt_key problem, answer_key answer, image_key images; reward functions see the ground truth only
        assert (got["problem"], got["answer"]) == (asked, given["answer"])
        assert json.loads(got["ground_truth"]) == {
            key: given[key] for key in ("answer", "category", "problem", "reward")
        }
        assert [picture.size for picture in got["images"]] == [(40, 30)]


def test_prompts_are_what_trl_documents(home: Path) -> None:
    from datasets import load_dataset

    out, counts = trainer(home, "trl")
    assert counts == {"grpo": 6, "sft": 4}
    files = {"grpo": str(out / "grpo.parquet"), "sft": str(out / "sft.parquet")}
    grpo, sft = (
        load_dataset("parquet", data_files=files[name], cache_dir=str(home / "cache"))["train"] for name in files
    )
    assert [message["role"] for message in grpo[0]["prompt"]] == ["system", "user"]
    assert grpo[0]["prompt"][1]["content"] == ROWS[4]["problem"], "TRL puts the picture before the first user message"
    assert [picture.size for picture in grpo[0]["images"]] == [(40, 30)] and grpo[0]["answer"] == ROWS[4]["answer"]
    [said] = sft[0]["completion"]
    assert said == {"role": "assistant", "content": f"<think>I see it.</think><answer>{ROWS[0]['answer']}</answer>"}


@pytest.mark.parametrize("kind", get_args(Kind))
def test_other_trainers_get_messages_and_system_prompt_of_the_format(home: Path, kind: Kind) -> None:
    form = ResponseFormat(kind=kind)
    out, _ = trainer(home, "sharegpt", form)
    for given, example in zip(ROWS[:4], json.loads((out / "wethink_sft.json").read_text()), strict=True):
        said = example["conversations"][1]["value"]
        assert said.startswith("<think>\n") if kind == "think" else True, (
            "their template opens no thought for a message"
        )
        assert parse(said.removeprefix(opened(form)), form) == Parsed("I see it.", given["answer"], None)
        assert example["system"].startswith(SYSTEM) and ("<answer>" in example["system"]) == (kind == "tags")


def test_a_row_that_the_format_cannot_hold_is_left_out_and_counted(home: Path) -> None:
    rows = [ROWS[0] | {"refined_cot": "I see\n</think>"}, *ROWS[1:]]
    write_jsonl(home / "valid" / "rows.jsonl", rows)
    for form, kept in (("sharegpt", "sft"), ("trl", "sft")):
        counts = trainer(home, form)[1]
        assert (counts[kept], counts["left out (holds marks of the response format)"]) == (3, 1)


def test_a_mistake_is_a_sentence(home: Path) -> None:
    with pytest.raises(UserError, match="no source 'phtos'; those there are: photos"):
        dataset(home, phtos="mit")
    write_jsonl(home / "valid" / "rows.jsonl", ROWS[10:])
    with pytest.raises(UserError, match="no row of the train split"):
        trainer(home, "trl")
    write_jsonl(home / "valid" / "rows.jsonl", [])
    with pytest.raises(UserError, match="has no rows"):
        dataset(home)
