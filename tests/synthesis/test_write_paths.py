"""Paths for given answers: bought once, checked like any path, and never at the price of the answer."""

from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.support.chat_server import chat_server, stats
from tests.synthesis.test_given_rows import source
from tests.synthesis.test_teams import PARAMS, at
from wethink.cli.synthesize import fill, prepare
from wethink.clients.response_store import ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.jsonl import read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.params import load_params, load_yaml
from wethink.config.rewards import RewardFunction
from wethink.config.synthesis import Synthesize
from wethink.data.image_store import ImageSet
from wethink.data.schema import split_train_rows
from wethink.synthesis import api_run
from wethink.synthesis.api_run import AnnotationJob
from wethink.synthesis.dry_run import estimate
from wethink.synthesis.endpoint_team import EndpointTeam
from wethink.synthesis.paths import lacking
from wethink.synthesis.synthesize import shares, synthesize

FILES = ("rows.jsonl", "rejected.jsonl", "failed.jsonl", "metrics.json")


@pytest.fixture(autouse=True)
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api_run, "LEDGER", tmp_path / "ledger.json")


def pairs(count: int) -> list[dict[str, Any]]:
    return [{"image": f"{n % 4}.png", "question": f"how many are in row {n} ?", "answer": n} for n in range(count)]


def config(**changes: Any) -> Synthesize:
    given = {"annotator": "rows", "rows": None, "path_share": 1.0, "write_paths": True}
    return PARAMS.synthesize.model_copy(update=given | changes)


def written(tmp_path: Path, images: ImageSet, launch: Launch, **changes: Any) -> Path:
    out = tmp_path / f"rows{len(list(tmp_path.glob('rows*')))}"
    out.mkdir()
    stage = StageRun(config(**changes), out=out, scratch=tmp_path, seed=0)
    synthesize(images=images.folder, drawn=tmp_path, rewards=PARAMS.rewards, launch=launch, run=stage)
    return out


def job(images: ImageSet, launch: Launch, **changes: Any) -> AnnotationJob:
    _, _, rows = shares(images, images.records, set(), config(**changes), PARAMS.rewards, 0)
    return AnnotationJob(images, [], config(**changes), PARAMS.rewards, 0, launch, rows=rows)


def test_every_row_keeps_its_answer_and_every_path_leads_to_it(tmp_path: Path) -> None:
    images = source(tmp_path, pairs(60))
    with chat_server(tmp_path, content=0.1, faults=0.1, stall=0.2) as url:
        out = written(tmp_path, images, at(url, tmp_path / "a.sqlite", attempts=20))
        asked = stats(url)["distinct"]
        again = written(tmp_path, images, at(url, tmp_path / "a.sqlite"))
        assert stats(url)["distinct"] == asked, "what is in the store was asked for again"
    assert all((out / name).read_bytes() == (again / name).read_bytes() for name in FILES)
    rows, counts = list(read_jsonl(out / "rows.jsonl")), read_json(out / "metrics.json")["paths"]
    assert sorted(int(row["answer"]) for row in rows) == list(range(60)), "an answer was replaced, or a row lost"
    sft, grpo = split_train_rows(rows)  # type: ignore[arg-type]
    endings = [row["decisions"]["path"] for row in rows]
    assert (len(sft), counts["asked"], counts["unasked"]) == (counts["written"], 60, 0)
    assert len(sft) == endings.count("written") > 30
    for kind in ("rejected", "failed"):
        assert sum(counts[kind].values()) == sum(ending.startswith(f"{kind}: ") for ending in endings) > 0
    assert {"path does not lead to the answer", "the model finds no path from the image to the answer"} <= set(
        counts["rejected"]
    )
    with ResponseStore(tmp_path / "a.sqlite") as store:
        for row in sft:
            steps = row["provenance"]["steps"]  # type: ignore[typeddict-item]
            assert f"so the answer is {row['answer']} ." in row["refined_cot"]
            assert (
                {"rationalize", "conclude"}
                <= set(steps)
                <= {"rationalize", "conclude", *(f"{s}, repair" for s in steps)}
            )
            assert all(store.get(call) for step in steps.values() for call in step["calls"])
    assert not any(row["refined_cot"] for row in grpo)


def test_a_path_that_leads_elsewhere_is_caught_by_the_check_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A mutant that trusts the writer keeps such paths."""
    images = source(tmp_path, pairs(60))

    def astray(out: Path) -> int:
        rows = [row for row in read_jsonl(out / "rows.jsonl") if row["refined_cot"]]
        return sum(f"so the answer is {row['answer']} ." not in row["refined_cot"] for row in rows)

    with chat_server(tmp_path) as url:
        assert astray(written(tmp_path, images, at(url, tmp_path / "a.sqlite"))) == 0
        monkeypatch.setattr("wethink.synthesis.paths._leads", lambda *_: True)
        assert astray(written(tmp_path, images, at(url, tmp_path / "a.sqlite"))) > 0


def test_only_rows_of_path_share_without_a_path_of_their_own_are_bought(tmp_path: Path) -> None:
    rows = [row | {"cot": "I see it" if row["answer"] % 2 else ""} for row in pairs(40)]
    images = source(tmp_path, rows)
    with chat_server(tmp_path) as url:
        out = written(tmp_path, images, at(url, tmp_path / "a.sqlite"), path_share=0.5)
        none = stats(url)["received"]
        off = written(tmp_path, images, at(url, tmp_path / "a.sqlite"), write_paths=False, path_share=0.5)
        assert stats(url)["received"] == none
    after = {row["id"]: row for row in read_jsonl(out / "rows.jsonl")}
    before = {row["id"]: row for row in read_jsonl(off / "rows.jsonl")}
    asked = {name for name, row in after.items() if row["decisions"] != before[name]["decisions"]}
    assert 0 < len(asked) == read_json(out / "metrics.json")["paths"]["asked"] < 20
    assert all(before[name]["refined_cot"] == "" for name in asked)
    assert all(row == before[name] for name, row in after.items() if name not in asked)


def test_an_answer_with_a_check_of_its_own_is_not_asked_about_and_counted(tmp_path: Path) -> None:
    images = source(tmp_path, [row | {"category": "BOX" if row["answer"] < 2 else "FIB"} for row in pairs(8)])
    own = RewardFunction.model_validate({"function": "mine.py:iou", "categories": ("BOX",)})
    rewards = PARAMS.rewards.model_copy(update={"functions": (own,)})
    given, _, rows = shares(images, images.records, set(), config(), rewards, 0)
    assert len(rows) == 6 and all(row["category"] == "FIB" for row in rows)
    assert sum(row["decisions"]["path"] == "not asked: its check is one of your own" for row in given) == 2
    assert lacking([row | {"answer": ""} for row in rows], lambda _: True, rewards) == []
    mixed = [rows[0] | {"images": []}, rows[1] | {"images": ["a", "b"]}, rows[2]]
    assert lacking(mixed, lambda _: True, rewards) == mixed[2:]
    assert all(row["decisions"]["path"] == "not asked: it is not about one image" for row in mixed[:2])


def test_parts_fill_the_store_and_a_dry_run_bounds_what_they_cost(tmp_path: Path) -> None:
    images = source(tmp_path, pairs(30))
    with chat_server(tmp_path) as url:
        launch = at(url, tmp_path / "a.sqlite", price_prompt=1.0, price_completion=1.0)
        before = estimate(job(images, launch))
        assert stats(url)["received"] == 0
        for number in (1, 2, 3):
            fill(job(images, launch), number, 3)
        calls = stats(url)["received"]
        written(tmp_path, images, launch)
        assert stats(url)["received"] == calls, "the stage bought what the parts had bought"
        after = estimate(job(images, launch))
    assert set(before["steps"]) == {"rationalize", "conclude"} and (before["images"], before["rows"]) == (0, 30)
    assert 30 < calls <= before["total"]["calls"] == 60
    assert before["total"]["cost"] > 0 and after["total"]["calls"] == 0 and after["total"]["paid"] == calls


def test_the_command_of_a_dry_run_prices_the_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    images = source(tmp_path, pairs(6))
    (tmp_path / "data").mkdir()
    images.folder.rename(tmp_path / "data" / "images")
    params = load_yaml(Path(__file__).resolve().parents[2] / "profiles" / "tiny.yaml")
    params["synthesize"] |= {"annotator": "rows", "write_paths": True, "path_share": 1.0}
    for endpoint in params["launch"]["endpoints"].values():
        endpoint |= {"price_prompt": 1, "price_completion": 2}
    YAML().dump(params, tmp_path / "params.yaml")
    monkeypatch.chdir(tmp_path)
    prepare(load_params(), None, dry_run=True)
    said = capsys.readouterr().out
    assert "\nrationalize " in said and "\nconclude " in said and "\ndescribe" not in said
    assert said.endswith("0 images and 6 given rows; nothing was sent; 0.00 spent so far\n")


def test_calls_that_failed_for_the_moment_publish_nothing(tmp_path: Path) -> None:
    images = source(tmp_path, pairs(5))
    with chat_server(tmp_path, status=500) as url:
        launch = at(url, tmp_path / "a.sqlite", attempts=1)
        with pytest.raises(UserError, match=r"5 of 5 rows have a call that failed.*max_failed") as stopped:
            written(tmp_path, images, launch)
    assert stopped.value.exit_code == TRY_AGAIN_LATER


def test_a_model_that_writes_no_path_at_all_stops_the_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, asked = source(tmp_path, pairs(5)), []

    async def refuse(self: EndpointTeam, *_: object) -> tuple[object, str]:
        asked.append(self)
        return None, "a fault"

    monkeypatch.setattr(EndpointTeam, "rationalize", refuse)
    with pytest.raises(UserError, match=r"none of the 5 rows got a reasoning path, most often because of 'a fault'"):
        written(tmp_path, images, at("http://127.0.0.1:9", tmp_path / "a.sqlite"))
    assert len(asked) == 5


def test_the_mode_needs_a_team() -> None:
    with pytest.raises(ValueError, match="'write_paths' needs 'team'"):
        Synthesize.model_validate(config().model_dump() | {"team": None})
