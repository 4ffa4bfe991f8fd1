"""Which rows GRPO asks, when it stops early, and rollouts that can be judged again."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from wethink.common.errors import UserError
from wethink.config.params import load_params
from wethink.rewards.hybrid import Scorer
from wethink.rl.heldout_probe import best_step, should_stop
from wethink.rl.prompt_dataset import PassRates, Prompts, hold_out
from wethink.rl.rollout_log import rescore, summarise_step
from wethink.rl.update import split_by_update

ROWS = [{"id": str(i), "kind": "ab"[i % 2], "image": f"i{i // 2}"} for i in range(10)]
REWARDS = load_params(Path(__file__).resolve().parents[2] / "profiles/tiny.yaml").rewards


def test_the_stream_goes_on_from_its_cursor_as_if_it_had_not_stopped() -> None:
    whole, cursors, steps = Prompts(ROWS, 0, 0), [], []
    for _ in range(9):
        cursors.append(whole.cursor)
        steps.append([row["id"] for row in whole.take(3, 1, PassRates())])
    resumed = Prompts(ROWS, 0, cursors[4])
    assert [[row["id"] for row in resumed.take(3, 1, PassRates())] for _ in range(5)] == steps[4:]
    assert resumed.cursor == whole.cursor
    first = [row for step in steps for row in step][:10]
    assert sorted(first) == sorted(row["id"] for row in ROWS), "an epoch asks every row once"
    assert all(len(set(step)) == 3 for step in steps), "a step asks no row twice, where one epoch ends, too"


def test_a_refill_asks_nothing_twice_in_a_step_and_ends_when_all_have_been_asked() -> None:
    stream, asked = Prompts(ROWS, 0, 0), list[str]()
    for _ in range(20):
        asked += [row["id"] for row in stream.take(3, 1, PassRates(), asked)]
    assert sorted(asked) == sorted(row["id"] for row in ROWS)
    assert stream.take(3, 1, PassRates(), asked) == []


def test_the_curriculum_asks_what_is_half_right_and_learns_pass_rates_from_known_verdicts_only() -> None:
    rates = PassRates()
    for row, right in zip(ROWS, (0, 4, 2, 4, 0, 1, 4, 0, 4, 0), strict=True):
        rates.add(
            {"row": row["id"], "kind": row["kind"], "reward": 1.0, "verdict": "correct" if i < right else "wrong"}
            for i in range(4)
        )
        rates.add([{"row": row["id"], "kind": row["kind"], "reward": None, "verdict": "unknown"}] * 50)
    assert {row["id"] for row in Prompts(ROWS, 0, 0).take(2, 5, rates)} == {"2", "5"}
    assert rates.of({"id": "new", "kind": "a"}) == 10 / 20 and rates.of({"id": "new", "kind": "c"}) == 0.5


def test_what_the_probe_holds_out_shares_no_scene_with_what_is_trained_on() -> None:
    records = [SimpleNamespace(id=f"i{i}", cluster=f"scene {i // 2}") for i in range(5)]
    kept, held = hold_out(ROWS, SimpleNamespace(records=records), 1, 0)  # type: ignore[arg-type]
    scene = {record.id: record.cluster for record in records}
    assert len(kept) + len(held) == len(ROWS) and len({scene[row["image"]] for row in held}) == 1
    assert not {scene[row["image"]] for row in kept} & {scene[row["image"]] for row in held}


def test_the_probe_holds_out_rows_about_several_images_and_about_none_as_whole_scenes() -> None:
    records = [SimpleNamespace(id=f"i{i}", cluster=f"c{i}") for i in range(4)]
    rows = [{"id": "one", "image": "i0"}, {"id": "both", "images": ["i0", "i1"]}, {"id": "other", "image": "i2"}]
    rows += [{"id": f"text {n}", "images": [], "scene": f"text {n // 2}"} for n in range(4)]
    seen = set()
    for seed in range(12):
        kept, held = hold_out(rows, SimpleNamespace(records=records), 1, seed)  # type: ignore[arg-type]
        assert len(kept) + len(held) == len(rows)
        seen.add(tuple(row["id"] for row in held))
    assert seen == {("one", "both"), ("other",), ("text 0", "text 1"), ("text 2", "text 3")}


def log(rewards: list[float], probes: list[float]) -> list[dict[str, Any]]:
    return [
        {"step": step + 1, "reward": reward, "probe": probes[step // 2] if step % 2 else 0.9}
        for step, reward in enumerate(rewards)
    ]


@pytest.mark.parametrize(
    ("rewards", "probes", "stops"),
    [
        ([0.2, 0.2, 0.4, 0.4, 0.6, 0.6], [0.6, 0.4, 0.4], True),  # rises while held-out accuracy is below the start
        ([0.2, 0.2, 0.2, 0.1, 0.1, 0.1], [0.6, 0.4, 0.4], False),  # the reward does not rise
        ([0.2, 0.2, 0.4, 0.4, 0.6, 0.6], [0.4, 0.4, 0.6], False),  # it has come back
        ([0.2, 0.2, 0.4, 0.4], [0.6, 0.4], False),  # only once so far
    ],
)
def test_training_stops_when_the_reward_rises_and_held_out_accuracy_falls(
    rewards: list[float], probes: list[float], stops: bool
) -> None:
    lines = log(rewards, probes)
    assert should_stop(lines, start=0.5, every=2, patience=2) is stops
    assert not should_stop(lines, start=0.5, every=2, patience=0)


def test_the_best_step_is_the_earliest_of_the_best_probes_and_none_if_the_start_was_better() -> None:
    assert best_step(log([0.0] * 6, [0.6, 0.7, 0.7]), start=0.5, every=2) == 4
    assert best_step(log([0.0] * 6, [0.6, 0.7, 0.7]), start=0.8, every=2) == 0


def test_updates_share_the_groups_by_their_place_whoever_holds_them() -> None:
    groups = [SimpleNamespace(place=place) for place in (7, 1, 4, 9)]
    everyone = [0, 1, 4, 5, 7, 9, 11]
    mine = split_by_update(groups, 3, everyone)  # type: ignore[arg-type]
    other = split_by_update([SimpleNamespace(place=place) for place in (0, 5, 11)], 3, everyone)  # type: ignore[misc]
    parts = [sorted(g.place for g in a + b) for a, b in zip(mine, other, strict=True)]
    assert parts == [[0, 1, 4], [5, 7], [9, 11]]
    assert split_by_update(groups[:1], 5, [7]) == [groups[:1]]  # type: ignore[arg-type]


def rollout(text: str, verdict: str, reward: float | None) -> dict[str, Any]:
    return {
        "step": 1, "row": "r", "problem": "how many ?", "gold": "3", "category": "FIB", "route": "rule", "text": text,
        "format": 1.0, "accuracy": reward, "reward": reward, "verdict": verdict, "reason": "", "advantage": 0.5,
        "tokens": 4, "finish": "stop", "kept": True,
    }  # fmt: skip


def test_rollouts_are_judged_again_by_the_rewards_of_now_and_the_folder_of_the_stage_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models" / "grpo" / "rollouts.parquet"
    path.parent.mkdir(parents=True)
    texts = [("<think> x </think> <answer> 3 </answer>", "wrong"), ("<think> x </think> <answer> 4 </answer>", "wrong")]
    pq.write_table(pa.Table.from_pylist([rollout(text, verdict, 0.3) for text, verdict in texts]), path)
    before = path.read_bytes()
    found = rescore(path, Scorer(REWARDS))
    assert found["rollouts"] == 2 and found["verdicts"] == {"wrong": 1, "wrong → correct": 1}
    assert found["reward"] == pytest.approx((1.0 + 0.3) / 2)
    again = pq.read_table(found["out"]).to_pylist()
    assert [r["verdict"] for r in again] == ["correct", "wrong"] and {r["advantage"] for r in again} == {0.5}
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path], "the output of a DVC stage has changed"
    assert found["out"] == "reports/rescored/rollouts.parquet"
    assert rescore(path, Scorer(REWARDS), tmp_path / "mine.parquet")["out"] == str(tmp_path / "mine.parquet")
    with pytest.raises(UserError, match="would be overwritten; name another file with --out"):
        rescore(Path(found["out"]), Scorer(REWARDS))


def test_a_file_that_holds_no_rollouts_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        rescore(tmp_path / "none.parquet", Scorer(REWARDS))
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"text": ["x"]}), other)
    with pytest.raises(UserError, match="has no column row, problem, gold"):
        rescore(other, Scorer(REWARDS))
    other.write_text("no parquet")
    with pytest.raises(UserError, match=r"other\.parquet is no Parquet file; name .* models/grpo/rollouts\.parquet\.$"):
        rescore(other, Scorer(REWARDS))


def test_unknown_rollouts_count_as_unknown_and_as_nothing_else() -> None:
    known = [rollout("", "correct", 1.0), rollout("", "wrong", 0.0)]
    line = summarise_step([*known, rollout("", "unknown", None)], [])
    assert (line["reward"], line["accuracy"], line["completions"]) == (0.5, 0.5, 3)
    assert line["unknown"] == pytest.approx(1 / 3)
    assert line["kept_groups"] == 1.0 and line["all_right"] == 0.0
