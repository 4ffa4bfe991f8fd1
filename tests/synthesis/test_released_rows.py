"""A file of released rows with every quirk that is known of them: each line ends once, and the DAG trains on them."""

import json
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

from ruamel.yaml import YAML

from tests.flows.test_end_to_end import copy_of_the_project, run
from wethink.common.jsonl import read_json, read_jsonl
from wethink.config.training import TinyModel
from wethink.data.drawn import SOURCES

FOLDERS = ("sqa", "chartqa", "coco/train2017")  # of an image archive; rows name files relative to its root
MC, FIB, DES = ("multiple choice", "Fill-in-the-Blank", "descriptive")  # as others spell them
TIMES = 3  # pictures with each good quirk


def drawn_row(root: Path, number: int, category: str) -> dict[str, Any]:
    """Draw digits into an image root, and ask about them: a released row without quirks."""
    digits, rng = SOURCES["digits"], Random(f"released {number}")
    pool, question = sorted(digits.material()), None
    while question is None or question.category != category:
        truth = digits.sample(rng, pool)
        question = digits.ask(truth["parts"], rng)
    path = f"{FOLDERS[number % len(FOLDERS)]}/{number:04}.png"
    (root / path).parent.mkdir(parents=True, exist_ok=True)
    digits.render(truth, rng, 84).save(root / path)
    thought, answer = digits.solve(question, truth["parts"])
    row = {"problem": question.problem, "answer": answer, "category": category, "refined_cot": thought}
    return row | {"abilities": list(question.abilities), "image_path": path, "reward": question.reward}


def released(root: Path, held_out: str) -> list[tuple[dict[str, Any], str | None]]:
    """The file's lines, and why each is rejected (None: it is not). `held_out`: a picture of another source."""
    numbers = count()

    def row(of: str = "FIB", **changes: Any) -> dict[str, Any]:
        return drawn_row(root, next(numbers), of) | changes

    def wrapped(form: str, category: str = "FIB") -> dict[str, Any]:
        given = row(category)
        return given | {"refined_cot": form.format(path=given["refined_cot"], answer=given["answer"])}

    lines: list[tuple[dict[str, Any], str | None]] = []
    for _ in range(TIMES):
        mended = [
            *(row(category) for category in ("MC", "FIB", "DES")),
            wrapped("<think>{path}</think><answer>{answer}</answer>"),
            wrapped("<think>{path}</think>\n\n<answer>{answer}</answer>", "MC"),
            wrapped("{path} <answer>{answer}</answer>", "DES"),
            wrapped("<think>{path}"),
            wrapped("{path} <image> <|im_end|> <video>"),
            *({**r, "problem": f"<image>\n{r['problem']}"} for r in (row("MC"), row("FIB"))),
            *({**r, "answer": f"{r['answer']})"} for r in (row("MC"),)),
            *({**r, "answer": f"({r['answer'].lower()})"} for r in (row("MC"),)),
            *({**r, "answer": f"<think>so</think><answer>{r['answer']}</answer>"} for r in (row("FIB"),)),
            *(row(ours, category=theirs) for ours, theirs in (("MC", MC), ("FIB", FIB), ("DES", DES))),
            row(reward="rule_based"),
            row("DES", reward="Model-based reward"),
            row(abilities="Counting, Spatial"),
            *({**r, "image_path": f"./{r['image_path']}"} for r in (row(),)),
            *({**r, "image_path": f"llava/{r['image_path']}"} for r in (row(),)),
        ]
        lines += [(given, None) for given in mended]
    first = lines[0][0]
    lines += [
        (wrapped("<think> </think><answer>{answer}</answer>"), None),
        (wrapped("<answer>{answer}</answer>"), None),
        (row(refined_cot=""), None),
        (row(answer=" "), "empty answer"),
        (row(answer="<answer></answer>"), "empty answer"),
        (row(problem=""), "empty problem"),
        (row("MC", answer="none of these"), "answer names no option of the problem"),
        (row(category="riddle"), "unknown category 'riddle'"),
        (row(reward="none"), "unknown reward 'none'"),
        (row(image_path="sqa/of-another-archive.png"), "image_path names no ingested image"),
        (row(image_path="../../etc/passwd"), "image_path leaves the source's folder"),
        (row(image_path="/etc/passwd"), "image_path leaves the source's folder"),
        (row(image_path=held_out), "image is held out (reporting)"),
        ({k: v for k, v in row().items() if k != "answer"}, "no answer"),
        (dict(first), "same image and problem as line 1"),
    ]
    return lines


def blank_base(folder: Path, texts: list[str]) -> None:
    """A starting policy with random weights, as a folder that `base.model` can name."""
    from wethink.models.chat_prompts import chat_template
    from wethink.models.policy import Processor, save_policy
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words

    tokenizer = build_tokenizer(words([*texts, *map(str, range(20))]))
    tokenizer.chat_template = chat_template("")
    shape = TinyModel(
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        vision_depth=1,
        vision_hidden_size=32,
        initializer_range=0.05,
    )
    save_policy(build_model(shape, tokenizer, 0), None, Processor(tokenizer, build_image_processor(56)), folder, "base")


def test_every_line_is_accounted_for_and_the_dag_trains_on_what_is_left(tmp_path: Path) -> None:
    folder = copy_of_the_project(tmp_path / "wethink")
    lines = prepared(folder)
    run(folder, "dvc", "repro", seconds=1500)
    accounted_for(folder, lines)
    trained_on(folder)


def prepared(folder: Path) -> list[tuple[dict[str, Any], str | None]]:
    """Write an archive, its rows and a starting policy into a copy of the project; the lines, as `released` says."""
    run(folder, "wethink", "profile", "smoke")
    run(folder, "dvc", "repro", "draw")
    drawn = enumerate(read_jsonl(folder / "data/drawn/truth/scenes.jsonl"))
    held = next(place for place, truth in drawn if truth["split"] == "reporting")
    lines = released(folder / "archive", f"scenes.parquet#{held}")
    text = "\n".join(json.dumps(row) for row, _ in lines)
    (folder / "released.jsonl").write_text(text + "\n", encoding="utf-8")
    blank_base(
        folder / "starting-policy", [str(row.get(key)) for row, _ in lines for key in ("problem", "refined_cot")]
    )
    params = YAML().load(folder / "params.yaml")
    params["ingest"]["sources"].insert(0, {"name": "llava", "kind": "folder", "path": "archive", "reporting": 0.0})
    params["synthesize"] |= {"annotator": "rows", "rows": "released.jsonl"}
    params["base"]["model"] = "starting-policy"
    YAML().dump(params, folder / "params.yaml")
    run(folder, "tasks.versioning.dvcfile")
    return lines


def accounted_for(folder: Path, lines: list[tuple[dict[str, Any], str | None]]) -> None:
    """Each line of the file is in `rows` or in `rejected` with its reason, once; each of the rows in `valid`, once."""
    ends: dict[int, tuple[str, Any]] = {}
    for name in ("rows", "rejected"):
        for row in read_jsonl(folder / f"data/rows/{name}.jsonl"):
            line = row["provenance"]["line"]
            assert line not in ends, "a line with two ends"
            ends[line] = (name, row.get("reason"))
    wanted = {
        number: ("rows", None) if reason is None else ("rejected", reason)
        for number, (_, reason) in enumerate(lines, start=1)
    }
    assert ends == wanted
    after: dict[str, set[int]] = {
        name: {row["provenance"]["line"] for row in read_jsonl(folder / f"data/valid/{name}.jsonl")}
        for name in ("rows", "quarantine", "curated")
    }
    kept = {number for number, (name, _) in ends.items() if name == "rows"}
    assert set().union(*after.values()) == kept and sum(map(len, after.values())) == len(kept)
    assert after["rows"] == kept, "what was mended is fit to be trained on"


def trained_on(folder: Path) -> None:
    """SFT saw the rows with a path, GRPO had the others, and all that follows is there."""
    valid = list(read_jsonl(folder / "data/valid/rows.jsonl"))
    with_path = sum(bool(row["refined_cot"]) for row in valid)
    assert 0 < with_path < len(valid), "some rows are SFT's, the others GRPO's"
    assert read_json(folder / "models/sft/metrics.json")["samples"] == with_path
    assert len((folder / "models/grpo/curves.csv").read_text().splitlines()) == 1 + 4, (
        "a line for each of the smoke profile's steps"
    )
    metrics = read_json(folder / "reports/evaluation/metrics.json")
    assert metrics["base"]["n"] == metrics["grpo"]["n"] == 48
    assert (folder / "reports/index.html").stat().st_size > 10_000
