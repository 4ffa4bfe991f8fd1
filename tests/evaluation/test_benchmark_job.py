"""Evaluation as a job: every item in every pass exactly once, whatever was killed, sharded or broken in between."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.evaluation.test_benchmark_tables import cell, png, write_table
from wethink.cli import benchmarks
from wethink.cli.main import parser
from wethink.common.errors import UserError
from wethink.data.benchmark_table import Table
from wethink.evaluation.benchmarks.engines import Query, Reply, System
from wethink.evaluation.benchmarks.results import board
from wethink.evaluation.benchmarks.run import Settings, records_of, run, shard_of

COLOURS = ("red", "blue", "green", "yellow")


class Seer:
    """An engine that sees the picture's colour and says its option: blind, it says A."""

    def __init__(self, fails_after: int | None = None, name: str = "seer") -> None:
        self.asked: list[Query] = []
        self.fails_after, self.name = fails_after, name

    def describe(self, system: System) -> dict[str, Any]:
        return {"engine": "test", "model": self.name, "system": system}

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        self.asked += queries
        if self.fails_after is not None and len(self.asked) > self.fails_after:
            raise KeyboardInterrupt
        return [Reply(f"<think>looked</think><answer>{self._letter(query)}</answer>", 5) for query in queries]

    def _letter(self, query: Query) -> str:
        pixel = query.pictures[0].getpixel((0, 0))
        shown = [i for i, name in enumerate(COLOURS) if Image.new("RGB", (1, 1), name).getpixel((0, 0)) == pixel]
        return "ABCD"[shown[0]] if shown else "A"

    def close(self) -> None:
        pass


def colours(path: Path, count: int = 12) -> Table:
    rows = [
        {
            "index": str(n),
            "image": cell(png(COLOURS[n % 4], 8 + n)),
            "question": "Which colour?",
            **dict(zip("ABCD", COLOURS, strict=True)),
            "answer": "ABCD"[n % 4],
            "category": "even" if n % 2 == 0 else "odd",
        }
        for n in range(count)
    ]
    return Table(write_table(path / "Colours.tsv", rows))


SETTINGS = Settings("seer", samples=2, batch=5)
PASSES = 5  # greedy, blank, shuffled, two samples


def test_a_job_that_is_stopped_goes_on_and_asks_nothing_twice(tmp_path: Path) -> None:
    table = colours(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        run(table, Seer(fails_after=17), SETTINGS, tmp_path / "out")
    (folder,) = (tmp_path / "out" / "Colours").iterdir()
    path = folder / "items-1of1.jsonl"
    with path.open("a") as log:
        log.write('{"index": "3", "pixels": "tr')  # the kill came in the middle of a line
    kept = len(records_of(folder))
    assert 0 < kept < 12 * PASSES
    second = Seer()
    did = run(table, second, SETTINGS, tmp_path / "out")
    assert len(second.asked) == did["answered"] == 12 * PASSES - kept and did["kept"] == kept
    records = records_of(folder)
    assert len(records) == 12 * PASSES
    third = Seer()
    run(table, third, SETTINGS, tmp_path / "out")
    assert not third.asked


def test_shards_together_are_the_whole_and_overlapping_ones_are_refused(tmp_path: Path) -> None:
    table = colours(tmp_path)
    for number in (1, 2, 3):
        did = run(table, Seer(), SETTINGS, tmp_path / "out", shard=(number, 3))
    folder = Path(did["folder"])
    whole = tmp_path / "whole"
    alone = Path(run(table, Seer(), SETTINGS, whole)["folder"])

    def order(records: list[dict[str, Any]]) -> list[str]:
        return sorted(map(str, records))

    assert order(records_of(folder)) == order(records_of(alone)) and folder.name == alone.name
    run(table, Seer(), SETTINGS, tmp_path / "out", shard=(1, 2))
    with pytest.raises(UserError, match="in two shards"):
        records_of(folder)


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b"])
def test_a_shard_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(UserError, match="i/n"):
        shard_of(text)


def test_blank_and_shuffled_pictures_are_shown_and_stand_beside_the_number(tmp_path: Path) -> None:
    table = colours(tmp_path)
    run(table, Seer(), SETTINGS, tmp_path / "out")
    found = board(tmp_path / "out", ["seer"])["benchmarks"][0]
    (row,) = found["rows"]
    assert row["figures"]["accuracy"]["value"] == 1.0
    assert row["controls"]["blank"]["value"] == 0.25
    assert row["controls"]["shuffled"]["value"] < 1.0
    assert row["sampled"]["pass@2"]["value"] == 1.0
    assert row["groups"]["category"]["even"]["n"] == 6
    assert found["looks"] == 1


def test_another_setting_or_model_never_shares_a_folder(tmp_path: Path) -> None:
    table = colours(tmp_path)
    names = {
        run(table, Seer(name=name), settings, tmp_path / "out")["folder"]
        for name in ("one", "two")
        for settings in (SETTINGS, Settings("seer", max_pixels=784, batch=5), Settings("seer", system="none", batch=5))
    }
    assert len(names) == 6


def test_an_item_that_cannot_be_asked_is_unknown_and_too_many_withhold_the_number(tmp_path: Path) -> None:
    rows = [
        {"index": "1", "image": cell(png("red")), "question": "?", "A": "red", "B": "blue", "answer": "A"},
        {"index": "2", "image": cell(b"this is no picture at all, but long enough " * 2), "question": "?"},
    ]
    rows[1] |= {"A": "red", "B": "blue", "answer": "A"}
    table = Table(write_table(tmp_path / "Broken.tsv", rows))
    did = run(table, Seer(), Settings("seer", controls=False), tmp_path / "out")
    verdicts = {record["index"]: record["verdict"] for record in records_of(Path(did["folder"]))}
    assert verdicts == {"1": "correct", "2": "unknown"}
    figure = board(tmp_path / "out")["benchmarks"][0]["rows"][0]["figures"]["accuracy"]
    assert figure["value"] is None and "50.0% unknown" in figure["withheld"]


def printed(table: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> list[str]:
    """What the command says about a table, two samples included."""
    monkeypatch.chdir(table.parent)
    monkeypatch.setattr(benchmarks, "_engine", lambda args, seed, form: Seer())
    benchmarks.benchmark(parser().parse_args(["benchmark", "--tsv", str(table), "--model", "seer", "--samples", "2"]))
    return str(capsys.readouterr().out).splitlines()


def test_the_command_says_how_right_and_how_unknown_the_answers_are_at_each_temperature(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    path = colours(tmp_path).path
    first, greedy, constant, drawn = printed(path, monkeypatch, capsys)
    assert first.startswith("Colours: 60 answers new") and "; family choice; " in first
    assert constant == "  without a model: always 'A' has accuracy 25.0 %, chance 25.0 %"
    assert greedy == "  temperature 0: accuracy 100.0 % [100.0, 100.0] of 12; 0 of 12 verdicts unknown"
    assert drawn == "  temperature 1: accuracy 100.0 % [100.0, 100.0] of 12; 0 of 24 verdicts unknown"
    path.write_text(path.read_text().replace("\tA\teven", "\tE\teven"))
    _, greedy, *_ = printed(path, monkeypatch, capsys)
    assert greedy == (
        "  temperature 0: accuracy withheld (25.0% unknown, above the limit of 2%); 3 of 12 verdicts unknown"
    )


class Down(Seer):
    """Fails every call about a blue picture while `down`, as an endpoint without credit would."""

    down = True

    def answer(self, queries: Sequence[Query]) -> list[Reply]:
        replies = super().answer(queries)
        blue = [self._letter(query) == "B" for query in queries]
        return [
            Reply("", None, "endpoint: HTTP 418") if self.down and b else r for b, r in zip(blue, replies, strict=True)
        ]


@pytest.mark.parametrize("reason", ["endpoint: HTTP 402", "endpoint: connection lost after 4 attempts"])
def test_calls_that_failed_are_asked_again_and_replaced_and_broken_pictures_stay(tmp_path: Path, reason: str) -> None:
    rows = [
        {
            "index": str(n),
            "image": cell(png(COLOURS[n % 4], 8 + n)),
            "question": "?",
            "A": "red",
            "B": "blue",
            "answer": "B",
        }
        for n in range(8)
    ]
    rows[3]["image"] = cell(b"this is no picture at all, but long enough " * 2)
    table = Table(write_table(tmp_path / "T.tsv", rows))
    settings, down = Settings("seer", controls=False, batch=3), Down()
    did = run(table, down, settings, tmp_path / "out")
    assert did["failed"] == {"endpoint: HTTP 418": 2} and did["answered"] == 8
    path = Path(did["folder"]) / "items-1of1.jsonl"
    path.write_text(path.read_text().replace("endpoint: HTTP 418", reason))
    well = Down()
    well.down = False
    again = run(table, well, settings, tmp_path / "out")
    assert (again["failed"], again["answered"], again["kept"], len(well.asked)) == ({}, 2, 6, 2)
    records = {record["index"]: record for record in records_of(Path(did["folder"]))}
    assert len(records) == 8 and records["1"]["verdict"] == records["5"]["verdict"] == "correct"
    assert records["3"]["reason"].startswith("image: ")
    last = run(table, well, settings, tmp_path / "out")
    assert (last["answered"], len(well.asked)) == (0, 2)


def test_the_command_s_exit_code_says_that_calls_failed_or_that_nothing_could_be_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    engine = Down()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmarks, "_engine", lambda args, seed, form: engine)
    rows = [
        {"index": str(n), "image": cell(b"no picture " * 9), "question": "?", "A": "x", "B": "y", "answer": "A"}
        for n in (1, 2)
    ]
    paths = [str(colours(tmp_path).path), str(write_table(tmp_path / "Broken.tsv", rows))]
    call = parser().parse_args(["benchmark", "--tsv", *paths, "--model", "seer", "--no-controls"])
    with pytest.raises(
        UserError, match=r"Colours: 3 calls failed \(endpoint: HTTP 418\).*Broken: no item could be asked"
    ) as caught:
        benchmarks.benchmark(call)
    assert caught.value.exit_code == 69 and "Broken: 2 answers new" in capsys.readouterr().out
    engine.down = False
    with pytest.raises(UserError, match=r"^Broken: no item could be asked \(image: ") as caught:
        benchmarks.benchmark(call)
    assert caught.value.exit_code == 2
    benchmarks.benchmark(parser().parse_args(["benchmark", "--tsv", paths[0], "--model", "seer", "--no-controls"]))


def test_the_command_says_that_a_table_has_no_gold_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    row = {"index": "1", "image": cell(png("red")), "question": "?", "A": "red", "B": "blue"}
    lines = printed(write_table(tmp_path / "Hidden.tsv", [row]), monkeypatch, capsys)
    assert lines[1:] == ["  the table has no gold answers (column 'answer'): no accuracy can be computed"]


def test_an_unfinished_run_has_no_number(tmp_path: Path) -> None:
    table = colours(tmp_path)
    run(table, Seer(), SETTINGS, tmp_path / "out", shard=(1, 2))
    (row,) = board(tmp_path / "out")["benchmarks"][0]["rows"]
    assert "figures" not in row and row["missing"].startswith("30 answers are missing")


def test_all_fourteen_benchmarks_have_a_row_that_is_filled_or_says_what_is_missing(tmp_path: Path) -> None:
    found = board(tmp_path / "none")["benchmarks"]
    assert len(found) == 14
    assert all(entry["missing"] and not entry["rows"] for entry in found)
    assert "judge" in next(e["missing"] for e in found if e["name"] == "MathVista_MINI")
    assert "not public" in next(e["missing"] for e in found if e["name"] == "MMBench_TEST_CN_V11")
    assert all(entry["published"] for entry in found)


def test_checkpoints_are_compared_on_the_same_items_and_adjusted_together(tmp_path: Path) -> None:
    class Blind(Seer):
        def _letter(self, query: Query) -> str:
            return "A"

    table = colours(tmp_path, 40)
    run(table, Blind(name="base"), Settings("base", controls=False), tmp_path / "out")
    run(table, Seer(name="sft"), Settings("sft", controls=False), tmp_path / "out")
    run(table, Seer(name="grpo"), Settings("grpo", controls=False), tmp_path / "out")
    found = board(tmp_path / "out")
    compared = found["benchmarks"][0]["comparisons"]
    assert found["tests"] == 2
    assert [c["mean"] for c in compared] == [0.75, 0.0]
    assert compared[0]["p"] < 0.01 and compared[0]["holm"] == pytest.approx(2 * compared[0]["p"])
    assert compared[1]["p"] == 1.0


def test_evaluation_costs_little_beside_generation(tmp_path: Path) -> None:
    """An engine that works as long as a tiny model does (20 ms an item): what is ours stays under 5 % of the whole."""
    import time

    class Working(Seer):
        def answer(self, queries: Sequence[Query]) -> list[Reply]:
            until = time.process_time() + 0.02 * len(queries)
            while time.process_time() < until:
                pass
            return super().answer(queries)

    did = run(colours(tmp_path, 120), Working(), Settings("seer", batch=64), tmp_path / "out")
    assert (did["cpu_seconds"] - did["engine_cpu_seconds"]) / did["cpu_seconds"] < 0.05


def test_a_picture_above_the_pixel_budget_is_scaled_before_any_engine_sees_it(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (400, 300), "red").save(buffer, "PNG")
    rows = [{"index": "1", "image": cell(buffer.getvalue()), "question": "?", "A": "red", "B": "blue", "answer": "A"}]
    engine = Seer()
    run(Table(write_table(tmp_path / "T.tsv", rows)), engine, Settings("s", max_pixels=10_000), tmp_path / "out")
    assert all(query.pictures[0].width * query.pictures[0].height <= 10_000 for query in engine.asked)
