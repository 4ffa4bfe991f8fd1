"""A source with questions and answers is read as people have it: every row has an outcome."""

import base64
import csv
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.test_ingest import encoded, photo, run
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.config.data import Columns, Source
from wethink.data.image_store import GIVEN_ROWS, NAMES, ImageSet
from wethink.data.schema import row_images
from wethink.synthesis.import_rows import import_given
from wethink.synthesis.rejections import remedy

PAIRS = [(0, "what shape ?", "circle"), (0, "which color ?", "teal"), (1, "how many ?", "3"), (2, "is it red ?", "no")]
PICTURES = [encoded(photo(n)) for n in range(3)]


def read_images(tmp_path: Path, path: Path, kind: str = "dataset", **about: Any) -> ImageSet:
    return run(tmp_path, Source(name="mine", kind=kind, path=str(path), **about))[1]


def rows_of(images: ImageSet) -> list[dict[str, Any]]:
    given = images.folder / GIVEN_ROWS
    return import_given(read_jsonl(given) if given.is_file() else [], images.records)


def read(tmp_path: Path, path: Path, kind: str = "dataset", **about: Any) -> list[dict[str, Any]]:
    return rows_of(read_images(tmp_path, path, kind, **about))


def jsonl_of(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def pictures(folder: Path) -> None:
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    for n, data in enumerate(PICTURES):
        (folder / "photos" / f"{n}.png").write_bytes(data)


def named(n: int) -> str:
    return f"photos/{n}.png"


def text_of(n: int) -> str:
    return base64.b64encode(PICTURES[n]).decode()


def jsonl(folder: Path) -> Path:
    pictures(folder)
    return jsonl_of(folder / "qa.jsonl", [{"image": named(n), "question": q, "answer": a} for n, q, a in PAIRS])


def json_array(folder: Path) -> Path:
    pictures(folder)
    rows = [{"img": named(n), "query": q, "gold": a} for n, q, a in PAIRS]
    (folder / "qa.json").write_text(json.dumps(rows))
    return folder / "qa.json"


def csv_of(folder: Path, sign: str, cell: Callable[[int], str]) -> Path:
    pictures(folder)
    path = folder / ("qa.tsv" if sign == "\t" else "qa.csv")
    with path.open("w", newline="") as handle:
        writer = csv.writer(handle, delimiter=sign)
        writer.writerows([("image", "Question", "Answer"), *((cell(n), q, a) for n, q, a in PAIRS)])
    return path


def parquet(folder: Path, cell: Callable[[int], Any]) -> Path:
    pictures(folder)
    path = folder / "qa.parquet"
    columns = {"picture": [cell(n) for n, _, _ in PAIRS], "question": [q for _, q, _ in PAIRS]}
    pq.write_table(pa.table(columns | {"answer": [a for _, _, a in PAIRS]}), path)
    return path


def saved(folder: Path) -> Path:
    import datasets

    shown = [{"bytes": PICTURES[n], "path": named(n)} for n, _, _ in PAIRS]
    features = datasets.Features(
        {"image": datasets.Image(), "question": datasets.Value("string"), "answer": datasets.Value("string")}
    )
    columns = {"image": shown, "question": [q for _, q, _ in PAIRS], "answer": [a for _, _, a in PAIRS]}
    datasets.Dataset.from_dict(columns, features).save_to_disk(str(folder / "saved"))
    return folder / "saved"


def imagefolder(folder: Path, ending: str = "jsonl") -> Path:
    home = folder / "imagefolder"
    (home / "photos").mkdir(parents=True)
    for n, data in enumerate(PICTURES):
        (home / named(n)).write_bytes(data)
    rows = [{"file_name": named(n), "question": q, "answer": a} for n, q, a in PAIRS]
    if ending == "jsonl":
        jsonl_of(home / "metadata.jsonl", rows)
    else:
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
        (home / "metadata.csv").write_text("\n".join(lines))
    return home


def webdataset(folder: Path, form: str = "json") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / "shard-000.tar", "w") as tar:
        for number, (n, q, a) in enumerate(PAIRS):
            members = {"png": PICTURES[n]}
            if form == "json":
                members["json"] = json.dumps({"question": q, "answer": a}).encode()
            else:
                members |= {"question.txt": q.encode(), "answer.txt": a.encode()}
            for ending, data in members.items():
                info = tarfile.TarInfo(f"part/{number:04}.{ending}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return folder / "shard-000.tar"


def sharegpt(folder: Path) -> Path:
    pictures(folder)
    talks = [[{"from": "human", "value": f"<image>\n{q}"}, {"from": "gpt", "value": a}] for _, q, a in PAIRS]
    rows = [{"image": named(n), "conversations": talk} for (n, _, _), talk in zip(PAIRS, talks, strict=True)]
    return jsonl_of(folder / "qa.jsonl", rows)


def messages(folder: Path, image: Callable[[int], dict[str, Any]]) -> Path:
    pictures(folder)
    return jsonl_of(
        folder / "qa.jsonl",
        [
            {
                "messages": [
                    {"role": "system", "content": "be brief"},
                    {"role": "user", "content": [image(n), {"type": "text", "text": q}]},
                    {"role": "assistant", "content": [{"type": "text", "text": a}]},
                ]
            }
            for n, q, a in PAIRS
        ],
    )


FORMS: dict[str, Callable[[Path], Path]] = {
    "jsonl": jsonl,
    "json array": json_array,
    "csv": lambda folder: csv_of(folder, ",", named),
    "csv with semicolons": lambda folder: csv_of(folder, ";", named),
    "tsv with base64": lambda folder: csv_of(folder, "\t", text_of),
    "csv with data URIs": lambda folder: csv_of(folder, ",", lambda n: f"data:image/png;base64,{text_of(n)}"),
    "parquet with bytes": lambda folder: parquet(folder, lambda n: PICTURES[n]),
    "parquet with paths": lambda folder: parquet(folder, named),
    "parquet with base64": lambda folder: parquet(folder, text_of),
    "parquet with structs": lambda folder: parquet(folder, lambda n: {"bytes": PICTURES[n], "path": named(n)}),
    "parquet with paths in structs": lambda folder: parquet(folder, lambda n: {"bytes": None, "path": named(n)}),
    "parquet with lists of one": lambda folder: parquet(folder, lambda n: [{"bytes": PICTURES[n], "path": None}]),
    "save_to_disk": saved,
    "imagefolder, metadata.jsonl": imagefolder,
    "imagefolder, metadata.csv": lambda folder: imagefolder(folder, "csv"),
    "webdataset": webdataset,
    "webdataset of texts": lambda folder: webdataset(folder, "txt"),
    "sharegpt": sharegpt,
    "messages with paths": lambda folder: messages(folder, lambda n: {"type": "image", "image": named(n)}),
    "messages with data URIs": lambda folder: messages(
        folder, lambda n: {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{text_of(n)}"}}
    ),
}
TEXTS = {"webdataset of texts": {"columns": Columns(question="question.txt", answer="answer.txt")}}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_the_same_pairs_gives_the_same_rows(form: str, tmp_path: Path) -> None:
    shown = read_images(tmp_path, FORMS[form](tmp_path / "given"), **TEXTS.get(form, {}))
    found = rows_of(shown)
    assert [row["reason"] for row in found] == [None] * 4
    rows = {(shown.bytes(row["image"]), row["problem"], row["answer"]) for row in found}
    assert rows == {(PICTURES[n], q, a) for n, q, a in PAIRS}
    assert {row["category"] for row in found} == {"FIB"} and {row["reward"] for row in found} == {"rule"}
    metrics = read_json(shown.folder / "metrics.json")
    assert metrics["rows"] == {"mine": 4} and metrics["images"] == 3


def test_a_folder_with_metadata_is_read_as_kind_folder_too(tmp_path: Path) -> None:
    home = imagefolder(tmp_path / "given")
    (home / "unasked.png").write_bytes(encoded(photo(9)))
    (home / "metadata.jsonl").open("a").write(json.dumps({"file_name": "gone.png", "question": "q", "answer": "a"}))
    images = read_images(tmp_path, home, "folder")
    rows = rows_of(images)
    assert [row["reason"] for row in rows][4:] == ["its image cannot be used: missing"] and len(rows) == 5
    assert len(images) == 4


def mixed(tmp_path: Path, *changes: dict[str, Any]) -> tuple[list[dict[str, Any]], int]:
    """Rows of a JSON-lines table with four photos, each with a question of its own, and the number of images stored."""
    home = tmp_path / "mixed"
    home.mkdir()
    for n in range(4):
        (home / f"{n}.png").write_bytes(encoded(photo(n)))
    rows = [{"image": "0.png", "question": f"q{n} ?", "answer": "x"} | change for n, change in enumerate(changes)]
    (home / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    images = read_images(tmp_path, home / "qa.jsonl", "dataset")
    return rows_of(images), len(images)


def test_rows_of_one_table_have_an_image_a_list_of_several_or_none(tmp_path: Path) -> None:
    five = [f"{n}.png" for n in (0, 1, 2, 3, 0)]
    rows, _ = mixed(tmp_path, {}, {"image": ["1.png", "0.png"]}, {"image": five}, {"image": []}, {"image": None})
    assert [row["reason"] for row in rows] == [None] * 5
    assert [len(row_images(row)) for row in rows] == [1, 2, 5, 0, 0]
    (zero,) = row_images(rows[0])
    one, again = row_images(rows[1])
    assert again == zero != one and row_images(rows[2])[:2] == (zero, one) and row_images(rows[2])[4] == zero
    assert "image" in rows[0] and "images" not in rows[0]  # as ever
    assert len({row["scene"] for row in rows[:3]}) == 1 and len({row["split"] for row in rows[:3]}) == 1
    assert len({row["id"] for row in rows}) == 5 and {row["source"] for row in rows} == {"mine"}


def test_images_of_one_row_are_of_one_scene_and_stay_different_pictures(tmp_path: Path) -> None:
    home = tmp_path / "mixed"
    home.mkdir()
    for n in range(4):
        (home / f"{n}.png").write_bytes(encoded(photo(n)))
    rows = [{"image": names, "question": "which ?", "answer": "x"} for names in ("0.png", ["0.png", "1.png"], "2.png")]
    (home / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    images = read_images(tmp_path, home / "qa.jsonl", "dataset")
    clusters, pictures = {record.id: record.cluster for record in images.records}, images.pictures()
    (first,), pair, (other,) = map(row_images, rows_of(images))
    assert first in pair and len({clusters[image] for image in pair}) == 1 != len({clusters[first], clusters[other]})
    assert len(set(pictures.values())) == len(images) == 3
    assert {line["image"] for line in read_jsonl(images.folder / "pictures.jsonl")} == set(pair)


def test_places_in_a_question_stay_where_they_are_and_those_before_it_are_removed(tmp_path: Path) -> None:
    pair = {"image": ["0.png", "1.png"]}
    rows, _ = mixed(
        tmp_path,
        pair | {"question": "<image>\n<image> Same?"},
        pair | {"question": "Is <image> larger than <image>?"},
        pair | {"question": "Which?", "options": ["<image>", "<image>"], "answer": "A"},
        {"question": "In <image>, how many?"},
        pair | {"question": "<image> Which?"},
        {"question": "<image> and <image>?"},
    )
    assert [row["problem"] for row in rows[:4]] == [
        "Same?", "Is <image> larger than <image>?", "Which?\nA. <image>\nB. <image>", "In <image>, how many?",
    ]  # fmt: skip
    assert [row["reason"] for row in rows] == [
        None, None, None, None, "question has 1 <image> for 2 images", "question has 2 <image> for one image",
    ]  # fmt: skip
    assert all(remedy(row["reason"]) for row in rows[4:])


def test_an_image_that_fails_in_a_row_of_three_costs_the_row_and_not_the_other_images(tmp_path: Path) -> None:
    rows, stored = mixed(tmp_path, {"image": ["1.png", "gone.png", "2.png"]}, {"image": "1.png"})
    assert [row["reason"] for row in rows] == ["one of its images cannot be used: missing", None]
    assert rows[0]["provenance"]["fault"] == "image 2 of 3, gone.png" and remedy(rows[0]["reason"])
    assert stored == 2


def test_a_text_only_row_that_asks_about_the_image_is_refused_and_others_are_not(tmp_path: Path) -> None:
    asks = ["What is in the image?", "In this figure, which is larger?", "Read the chart shown.", "See figure 2: why?"]
    asks += ["Which animal is shown?", "Describe what you see.", "According to the graph, how many?", "图中有几个人?"]
    fine = ["What is 2 + 2?", "Which graph has an Euler path?", "What does a photographer do?"]
    fine += ["What is the image of 3 under f(x) = 2x?", "What is the degree of the graph K5?"]
    rows, _ = mixed(tmp_path, {}, *({"image": None, "question": question} for question in (*asks, *fine)))
    expected = "asks about an image, and has none"
    assert [row["reason"] for row in rows] == [None, *[expected] * 8, *[None] * 5] and remedy(expected)


BAD: list[tuple[dict[str, Any], str]] = [
    ({"answer": None}, "no answer"),
    ({"answer": "  "}, "empty answer"),
    ({"answer": []}, "no answer"),
    ({"answer": [None, None]}, "no answer"),
    ({"answer": "[]"}, "no answer"),
    ({"answer": {"answer": None}}, "no answer"),
    ({"answer": float("nan")}, "not JSON"),
    ({"question": None}, "no question"),
    ({"image": ["photos/0.png", "photos/none.png"]}, "one of its images cannot be used: missing"),
    ({"image": [], "question": "What is in the picture?"}, "asks about an image, and has none"),
    ({"image": None, "question": "<image> ?"}, "question has 1 <image> for no images"),
    ({"image": "photos/none.png"}, "its image cannot be used: missing"),
    ({"image": "../../etc/passwd"}, "its image cannot be used: outside the source"),
    ({"question": "<image> and <image> ?"}, "question has 2 <image> for one image"),
    ({"options": ["a", "b"], "answer": "c"}, "answer names no option of the problem"),
]
GOOD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"answer": 7}, {"answer": "7"}),
    ({"answer": 2.0}, {"answer": "2"}),
    ({"answer": True}, {"answer": "true"}),
    ({"answer": ["red"]}, {"answer": "red"}),
    ({"answer": ["red", "blue", "blue"]}, {"answer": "blue"}),
    ({"answer": [{"answer": "cat"}, {"answer": "cat"}]}, {"answer": "cat"}),
    ({"answer": "['cat', 'dog', 'dog']"}, {"answer": "dog", "alternatives": ["cat", "dog", "dog"]}),
    ({"answer": "['cat' 'dog'\n 'dog']"}, {"answer": "dog", "alternatives": ["cat", "dog", "dog"]}),
    ({"answer": '["it\'s red", "red"]'}, {"answer": "it's red", "alternatives": ["it's red", "red"]}),
    (
        {"answer": "[{'answer': 'cat', 'answer_id': 1}\n {'answer': 'dog', 'answer_id': 2}]"},
        {"alternatives": ["cat", "dog"]},
    ),
    ({"answer": {"text": ["Paris", "paris"], "answer_start": [5, 9]}}, {"answer": "Paris", "alternatives": None}),
    ({"answer": {"answer": 3}}, {"answer": "3"}),
    ({"answer": "[1, 2]"}, {"answer": "[1, 2]", "alternatives": None}),
    ({"answer": "[red]"}, {"answer": "[red]", "alternatives": None}),
    ({"options": "['a dog\\'s', 'a cat']", "answer": "a cat"}, {"answer": "B", "problem": "q ?\nA. a dog's\nB. a cat"}),
    ({"options": "['red' 'blue']", "answer": 1}, {"answer": "B", "category": "MC"}),
    ({"image": ["photos/0.png"]}, {"answer": "x"}),
    (
        {"options": ["red", "blue"], "answer": "blue"},
        {"answer": "B", "category": "MC", "problem": "q ?\nA. red\nB. blue"},
    ),
    ({"options": ["red", "blue"], "answer": 1}, {"answer": "B", "category": "MC"}),
    ({"options": '["red", "blue"]', "answer": "A"}, {"answer": "A", "category": "MC"}),
    ({"options": {"A": "red", "B": "blue"}, "answer": "(b)"}, {"answer": "B"}),
    ({"options": ["3", "4"], "answer": "4"}, {"answer": "B"}),
    ({"options": [], "answer": "4"}, {"answer": "4", "category": "FIB"}),
    ({"answer": "a small red ball lies left of the box"}, {"category": "DES", "reward": "model"}),
    ({"reasoning": "I see it"}, {"refined_cot": "I see it"}),
    ({"answer": "<think>I see</think><answer>4</answer>"}, {"refined_cot": "I see", "answer": "4"}),
    ({"category": "Animals"}, {"category": "FIB", "columns": {"category": "Animals"}}),
    ({"category": "Multiple choice", "question": "q ? A. x B. y"}, {"category": "MC", "answer": "A"}),
    ({"page": 3, "box": [1, 2.5]}, {"columns": {"page": 3, "box": [1, 2.5]}}),
    ({"qid": "v-7"}, {"columns": {"id": "v-7"}}),
]


@pytest.mark.parametrize(("change", "reason"), BAD)
def test_a_row_that_cannot_be_used_is_rejected_by_name(change: dict, reason: str, tmp_path: Path) -> None:
    pictures(tmp_path / "given")
    good = {"image": "photos/0.png", "question": "q ?", "answer": "x"}
    path = jsonl_of(tmp_path / "given" / "qa.jsonl", [good, good | {"question": "other ?"} | change])
    first, second = read(tmp_path, path)
    assert first["reason"] is None and second["reason"] == reason


@pytest.mark.parametrize(("change", "expected"), GOOD)
def test_a_row_as_people_write_it_is_kept(change: dict, expected: dict, tmp_path: Path) -> None:
    pictures(tmp_path / "given")
    good = {"image": "photos/0.png", "question": "q ?", "answer": "x"} | change
    [row] = read(tmp_path, jsonl_of(tmp_path / "given" / "qa.jsonl", [good]))
    assert row["reason"] is None and {key: row.get(key) for key in expected} == expected


def test_a_number_that_may_be_an_options_text_or_its_number_is_no_guess(tmp_path: Path) -> None:
    pictures(tmp_path / "given")
    row = {"image": "photos/0.png", "question": "q ?", "options": ["1", "2", "3"], "answer": 1}
    [found] = read(tmp_path, jsonl_of(tmp_path / "given" / "qa.jsonl", [row]))
    assert found["reason"] == "answer names no option of the problem"


def test_columns_are_mapped_and_a_mapped_column_that_is_missing_is_named(tmp_path: Path) -> None:
    pictures(tmp_path / "given")
    path = jsonl_of(tmp_path / "given" / "qa.jsonl", [{"bild": "photos/0.png", "frage": "q ?", "antwort": "x"}])
    columns = Columns(image="bild", question="frage", answer="antwort")
    assert [row["answer"] for row in read(tmp_path, path, columns=columns)] == ["x"]
    with pytest.raises(UserError, match=r"columns\.answer: qa\.jsonl has no column 'reply'; it has: bild, frage"):
        read(tmp_path, path, columns=columns.model_copy(update={"answer": "reply"}))
    with pytest.raises(UserError, match=r"columns\.answer: qa\.jsonl has no column that looks like it"):
        read(tmp_path, path, columns=Columns(image="bild", question="frage"))


def test_a_solution_is_the_answer_where_there_is_no_other_and_else_the_path(tmp_path: Path) -> None:
    pictures(tmp_path / "given")
    row = {"image": "photos/0.png", "problem": "q ?", "solution": "4"}
    [alone] = read(tmp_path, jsonl_of(tmp_path / "given" / "a.jsonl", [row]))
    [beside] = read(tmp_path, jsonl_of(tmp_path / "given" / "b.jsonl", [row | {"answer": "5"}]))
    assert (alone["answer"], alone["refined_cot"]) == ("4", "") and (beside["answer"], beside["refined_cot"]) == (
        "5",
        "4",
    )


def test_an_address_is_named_and_not_fetched(tmp_path: Path) -> None:
    pictures(tmp_path / "given")
    rows = [
        {"image": f"{start}0.png", "question": "q ?", "answer": "x"} for start in ("photos/", "https://example.org/")
    ]
    found = read(tmp_path, jsonl_of(tmp_path / "given" / "qa.jsonl", rows))
    assert [row["reason"] for row in found] == [None, "its image cannot be used: an address"]


@pytest.mark.parametrize("content", ["", "image,question,answer\n", "\n\n"])
def test_a_table_without_rows_is_empty(content: str, tmp_path: Path) -> None:
    (tmp_path / "qa.csv").write_text(content)
    with pytest.raises(UserError, match=r"qa\.csv is empty"):
        read(tmp_path, tmp_path / "qa.csv")


def test_rows_are_not_read_where_the_source_says_so_and_their_images_are(tmp_path: Path) -> None:
    images = read_images(tmp_path, jsonl(tmp_path / "given"), rows=False)
    assert rows_of(images) == [] and len(images) == 3


def test_an_image_is_named_by_its_row_and_by_the_path_in_its_struct(tmp_path: Path) -> None:
    images = read_images(tmp_path, saved(tmp_path / "given"))
    names = {(line["name"], line["image"]) for line in read_jsonl(images.folder / NAMES)}
    by_name: dict[str, set[str]] = {}
    for name, image in names:
        by_name.setdefault(name, set()).add(image)
    assert {"0.png", "1.png", "2.png", "data-00000-of-00001.arrow#1"} == by_name.keys()  # the first row is the origin
    assert all(len(images) == 1 for images in by_name.values())


def test_a_hub_dataset_is_a_snapshot_of_one_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked: list[tuple[Any, ...]] = []

    def download(repository: str, *, repo_type: str, revision: str, allow_patterns: list[str]) -> str:
        asked.append((repository, repo_type, revision))
        return str(parquet(tmp_path / "cache", lambda n: PICTURES[n]).parent)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert len(read(tmp_path, Path("owner/name"), "hub", revision="abc123", files="*.parquet")) == 4
    assert asked == [("owner/name", "dataset", "abc123")]

    def offline(*_: Any, **__: Any) -> str:
        raise huggingface_hub.errors.LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(UserError, match=r"owner/name' at revision abc123 cannot be downloaded \(no network\)"):
        read(tmp_path, Path("owner/name"), "hub", revision="abc123")


def test_several_splits_in_one_folder_are_named_and_a_pattern_chooses(tmp_path: Path) -> None:
    for split in ("train", "test"):
        parquet(tmp_path / split, lambda n: PICTURES[n]).rename(tmp_path / f"{split}-00000-of-00001.parquet")
    home = tmp_path / "hub"
    home.mkdir()
    for path in tmp_path.glob("*.parquet"):
        path.rename(home / path.name)
    with pytest.raises(UserError, match=r"holds several splits \(test, train\); name one, for instance files: test\*"):
        read(tmp_path, home)
    assert len(read(tmp_path, home, files="train-*")) == 4
    with pytest.raises(UserError, match=r"\.files: no file of .* matches 'dev-\*'"):
        read(tmp_path, home, files="dev-*")
