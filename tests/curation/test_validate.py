"""The gate: a planted bad row of every kind is quarantined with its reason, good ones pass unchanged."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json, read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.curation import Caps, Curation, Validate
from wethink.config.rewards import RewardFunction
from wethink.curation.validate import validate
from wethink.data.image_store import SCHEMA

CURATION = Curation(
    benchmarks=(), max_unreadable=0.02, caps=Caps(source=None, category=None, ability=None), difficulty=None
)
CONFIG = Validate(
    curation=CURATION, min_rows=1, max_quarantined=1.0, max_problem_chars=200, max_cot_chars=300, max_answer_share=0.75
)


def good(number: int, split: str = "train") -> dict:
    return {
        "id": f"row{number:04d}",
        "image": f"{split}{number % 5}",
        "source": "scenes",
        "split": split,
        "scene": f"{split}{number % 5}",
        "kind": "count",
        "problem": f"how many things are there in picture {number} ?",
        "answer": str(number % 4),
        "category": "FIB",
        "abilities": ["reasoning", "counting"],
        "refined_cot": "red circle , none . things : 1" if split == "train" else "",
        "image_path": f"scenes/{number}.png",
        "reward": "rule",
        "provenance": {},
        "decisions": {},
    }


MC = {"category": "MC", "problem": "which ? A red B blue", "answer": "B"}
BAD = [
    ({"problem": None}, "problem is given, as text"),
    ({"answer": 3}, "answer is given, as text"),
    ({"refined_cot": None}, "refined_cot is given, as text"),
    ({"category": "ABC"}, "category is one of MC, FIB, DES"),
    ({"reward": "luck"}, "reward is one of rule, model"),
    ({"split": "reporting"}, "split is pretrain or train"),
    ({"split": "pretrain", "refined_cot": ""}, "split is that of the image"),
    ({"source": "elsewhere"}, "source is an ingested one"),
    ({"abilities": "counting"}, "abilities are a list of names"),
    ({"image": "f00"}, "image exists among the ingested images"),
    (MC | {"answer": "C"}, "a multiple-choice answer is the letter of a listed option"),
    (MC | {"answer": "blue"}, "a multiple-choice answer is the letter of a listed option"),
    (MC | {"problem": "which ?"}, "a multiple-choice answer is the letter of a listed option"),
    ({"category": "DES", "reward": "model", "answer": " , "}, "the answer can be checked, and passes its own check"),
    ({"answer": " "}, "the answer can be checked, and passes its own check"),
    ({"problem": ""}, "problem has 1 to 200 characters"),
    ({"problem": "how many ? " * 20}, "problem has 1 to 200 characters"),
    ({"answer": ""}, "answer has 1 to 1000 characters"),
    ({"refined_cot": "so " * 101}, "refined_cot has 0 to 300 characters"),
    ({"problem": "how many </image> ?"}, "problem has no tags or chat markers inside"),
    ({"problem": "how many <image> or <image> ?"}, "problem has one <image> for each image, or none"),
    ({"image": "", "images": ["train0", "gone"]}, "image exists among the ingested images"),
    ({"answer": "<answer>3</answer>"}, "answer has no tags or chat markers inside"),
    ({"refined_cot": "a </think> b"}, "refined_cot has no tags or chat markers inside"),
    ({"refined_cot": "a <|im_end|> b"}, "refined_cot has no tags or chat markers inside"),
    ({"category": "DES"}, "MC and FIB are checked by rule, DES by model"),
    ({"reward": "model"}, "MC and FIB are checked by rule, DES by model"),
    ({"split": "pretrain", "image": "pretrain1"}, "only rows of the train split have a reasoning path"),
]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Validate given rows over ten known images; returns the published folder."""
    monkeypatch.chdir(tmp_path)
    images, rows = tmp_path / "images", tmp_path / "rows"
    images.mkdir()
    rows.mkdir()
    known = [(f"{split}{number}", split) for split in ("train", "pretrain") for number in range(5)]
    stored = [
        {"id": i, "bytes": b"", "source": "scenes", "split": s, "cluster": i, "width": 1, "height": 1, "origin": i}
        for i, s in known
    ]
    pq.write_table(pa.Table.from_pylist(stored, SCHEMA), images / "shard-00000.parquet")
    write_jsonl(rows / "descriptions.jsonl", [{"image": "train0", "source": "scenes", "split": "train", "text": "x"}])

    def validated(
        given: list[dict], config: Validate = CONFIG, name: str = "valid", functions: tuple[RewardFunction, ...] = ()
    ) -> Path:
        write_jsonl(rows / "rows.jsonl", given)
        (tmp_path / name).mkdir()
        (tmp_path / f"{name}-scratch").mkdir()
        validate(
            images=images,
            rows=rows,
            run=StageRun(config, out=tmp_path / name, scratch=tmp_path / f"{name}-scratch", seed=0),
            functions=functions,
        )
        return tmp_path / name

    return validated


def test_every_planted_fault_is_quarantined_with_its_reason_and_good_rows_pass_unchanged(run) -> None:
    fine = [good(n) for n in range(20)] + [good(n, "pretrain") | {"id": f"p{n}"} for n in range(20)]
    planted = [good(100 + n) | change for n, (change, _) in enumerate(BAD)]
    missing = {key: value for key, value in good(900).items() if key != "reward"}
    twins = [good(901), good(901)]
    mixed = [row for pair in zip(planted, fine, strict=False) for row in pair]
    given = [*mixed, *fine[len(planted) :], missing, *twins]
    out = run(given)
    quarantined = {row["id"]: row["reasons"] for row in read_jsonl(out / "quarantine.jsonl")}
    for row, (_, reason) in zip(planted, BAD, strict=True):
        assert reason in quarantined[row["id"]]
    assert "reward is given, as text" in quarantined["row0900"]
    assert quarantined["row0901"] == ["id is unique"]
    assert list(read_jsonl(out / "rows.jsonl")) == fine
    metrics = read_json(out / "metrics.json")
    assert metrics["rows"] == len(given) == metrics["kept"] + metrics["quarantined"]
    assert metrics["quarantined"] == len(list(read_jsonl(out / "quarantine.jsonl"))) == len(BAD) + 3
    tried = {entry["description"] for entry in metrics["expectations"] if entry["failed"]}
    assert {reason for _, reason in BAD} <= tried
    assert [record["text"] for record in read_jsonl(out / "descriptions.jsonl")] == ["x"]


def test_the_terminal_tells_how_many_rows_are_repeated(run, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [good(n) for n in range(8)]
    run(rows, name="none")
    assert "no row is repeated" in capsys.readouterr().err
    again = [rows[n] | {"id": f"again{n}"} for n in range(3)]
    run([*rows, *again, rows[4] | {"id": "another answer", "answer": "9"}], name="some")
    said = [line for line in capsys.readouterr().err.splitlines() if "repeated" in line]
    assert len(said) == 1 and said[0].startswith("validate: 3 repeated rows are left out")


def test_what_is_published_is_a_function_of_the_rows_and_the_docs_stand_elsewhere(run, tmp_path: Path) -> None:
    first, second = run([good(n) for n in range(8)], name="one"), run([good(n) for n in range(8)], name="two")
    names = [
        "contamination.json",
        "curated.jsonl",
        "descriptions.jsonl",
        "metrics.json",
        "quarantine.jsonl",
        "rows.jsonl",
    ]
    assert sorted(path.name for path in first.iterdir()) == names
    for name in names:
        assert (first / name).read_bytes() == (second / name).read_bytes()
    assert "id is unique" in "".join(p.read_text() for p in (tmp_path / ".wethink" / "data_docs").rglob("*.html"))


@pytest.mark.parametrize(
    ("rows", "changes", "sentence"),
    [
        ([good(n) for n in range(9)] + [good(9) | {"answer": ""}], {"max_quarantined": 0.05}, "1 of 10 rows failed"),
        ([good(n) for n in range(9)], {"min_rows": 10}, "only 9 rows passed"),
        ([good(n) | {"answer": str(int(n < 12))} for n in range(60)], {}, "'count': 48 of 60 answers are '0'"),
        ([], {}, "has no rows"),
    ],
)
def test_the_gate_stops_with_a_sentence(rows: list[dict], changes: dict, sentence: str, run) -> None:
    with pytest.raises(UserError) as caught:
        run(rows, CONFIG.model_copy(update=changes))
    assert sentence in str(caught.value)


def test_the_gate_shows_a_row_and_names_the_reason_that_tells_more(run) -> None:
    """Rows of which none can be scored: the sentence says why, and where to look."""
    strict = CONFIG.model_copy(update={"max_quarantined": 0.05})
    place = {"provenance": {"given": "mine/qa.jsonl", "line": 7}}
    long = [good(n) | place | {"answer": "y" * 1500} for n in range(30)]
    with pytest.raises(UserError, match=r"30 of 30 rows.*answer has 1 to 1000 .*line 7 of mine/qa\.jsonl: gold longer"):
        run(long, strict, "long")
    dots = [good(n) | {"answer": " , ", "category": "DES", "reward": "model"} for n in range(30)]
    with pytest.raises(UserError, match=r"passes its own check \(for example row row0000: gold has no facts\)"):
        run(dots, strict, "dots")
    with pytest.raises(UserError, match=r"answer is given, as text \(for example row row0000"):
        run([good(n) | {"answer": 3} for n in range(30)], strict, "numbers")


def test_a_small_kind_is_not_held_to_the_answer_share(run) -> None:
    assert read_json(run([good(n) | {"answer": "0"} for n in range(49)]) / "metrics.json")["kept"] == 49


def test_categories_and_routes_of_the_users_own_pass_and_others_do_not(run) -> None:
    functions = (
        RewardFunction(function="mine.py:schema", route="json"),
        RewardFunction(function="mine.py:short", categories=("LETTER",)),
    )
    own = {"category": "LETTER"}
    changes = [{"reward": "json"}, own | {"reward": "model"}, own | {"reward": "json"}, own, {"category": "DES"}]
    out = run([good(n) | change for n, change in enumerate(changes)], functions=functions)
    assert [row["id"] for row in read_jsonl(out / "rows.jsonl")] == [good(n)["id"] for n in range(3)]
