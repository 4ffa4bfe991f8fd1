"""Synthesis: every candidate has one outcome, errors enter at their declared rates, truth does not leave."""

import asyncio
import json
import os
import signal
from pathlib import Path
from random import Random

import pytest
from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, read_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.data import Draw, Ingest, Source
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Embedded, Synthesize
from wethink.data.drawn import SOURCES
from wethink.data.drawn.draw import draw
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.data.ingest import ingest
from wethink.data.schema import RELEASED_KEYS
from wethink.rewards.hybrid import check
from wethink.synthesis.abilities import ABILITIES, REASONING, ability_fault
from wethink.synthesis.embedded_team import EmbeddedTeam
from wethink.synthesis.funnel import funnel
from wethink.synthesis.pipeline import has_path
from wethink.synthesis.synthesize import _annotate, synthesize
from wethink.synthesis.team import Draft, ImageRef, Reasoned, Refined, Team, Trace

REWARDS = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")
RATES = Embedded(error_rate=0.10, hurry_rate=0.35, slip_rate=0.05)
NEVER = Embedded(error_rate=0.0, hurry_rate=0.0, slip_rate=0.0)
DRAWN = tuple(Source(name=name, kind="drawn") for name in SOURCES)


def settings(rates: Embedded = RATES, **changes: object) -> Synthesize:
    given = {"annotator": "embedded", "rows": None, "embedded": rates, "questions_per_image": 2, "path_share": 0.5}
    return Synthesize.model_validate(given | {"agreement": True, "adjudication": True} | changes)


def ingested(folder: Path, drawn: Path, sources: tuple[Source, ...]) -> Path:
    out = folder / "images"
    out.mkdir(parents=True)
    config = Ingest(sources=sources, max_pixels=10**6, max_file_mb=5, shard_images=1000)
    ingest(drawn=drawn, run=StageRun(config, out=out, scratch=folder, seed=0))
    return out


def synthesized(world: Path, out: Path, config: Synthesize, seed: int = 0, images: str = "images") -> Path:
    out.mkdir()
    synthesize(
        images=world / images,
        drawn=world / "drawn",
        rewards=REWARDS,
        run=StageRun(config, out=out, scratch=out, seed=seed),
    )
    return out


def annotated(records: list[ImageRecord], team: Team, config: Synthesize) -> list[Record]:
    """Every candidate of these images."""
    found: list[Record] = []
    asyncio.run(_annotate(records, team, config, REWARDS, 0, lambda _, one: found.extend(one.candidates)))
    return found


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Drawn and ingested images of all splits."""
    folder = tmp_path_factory.mktemp("world")
    (folder / "drawn").mkdir()
    config = Draw(
        sources=("scenes", "charts", "digits"),
        image_size=56,
        pretrain=150,
        train=450,
        tuning=12,
        reporting=12,
        questions_per_image=1,
    )
    draw(run=StageRun(config, out=folder / "drawn", scratch=folder, seed=0))
    ingested(folder, folder / "drawn", DRAWN)
    return folder


@pytest.fixture(scope="module")
def rows(world: Path) -> Path:
    return synthesized(world, world / "rows", settings())


def subjects(world: Path) -> list[ImageRef]:
    return [ImageRef(record.id, record.source) for record in ImageSet(world / "images").records]


def truths(world: Path) -> dict[str, dict]:
    return {r["image"]: r for name in SOURCES for r in read_jsonl(world / "drawn" / "truth" / f"{name}.jsonl")}


def test_counts_in_equal_counts_out(world: Path, rows: Path) -> None:
    metrics = read_json(rows / "metrics.json")
    kept, rejected = list(read_jsonl(rows / "rows.jsonl")), list(read_jsonl(rows / "rejected.jsonl"))
    assert metrics["images"] == {"pretrain": 150, "train": 450}
    assert metrics["candidates"] + metrics["unasked"] == 600 * 2
    assert metrics["kept"] == len(kept) and sum(metrics["rejected"].values()) == len(rejected)
    assert metrics["kept"] + len(rejected) == metrics["candidates"]
    assert all(row["reason"] for row in rejected) and not any("reason" in row for row in kept)
    assert len({row["id"] for row in kept + rejected}) == metrics["candidates"]
    for counts in metrics["by"].values():
        assert sum(count["candidates"] for count in counts.values()) == metrics["candidates"]
        assert sum(count["kept"] for count in counts.values()) == metrics["kept"]


def test_rows_carry_the_released_keys_and_ours(rows: Path) -> None:
    ours = ("id", "image", "source", "split", "scene", "kind", "provenance", "decisions")
    for row in read_jsonl(rows / "rows.jsonl"):
        assert sorted(row) == sorted((*RELEASED_KEYS, *ours))
        assert row["abilities"][0] == REASONING and ability_fault(row["abilities"]) is None
        assert row["reward"] == ("model" if row["category"] == "DES" else "rule")
        assert row["provenance"]["annotator"] == "embedded"


def test_nothing_is_written_about_held_out_images(world: Path, rows: Path) -> None:
    held_out = {r.id for r in ImageSet(world / "images").records if r.split in ("tuning", "reporting")}
    assert len(held_out) == 24
    for name in ("rows.jsonl", "rejected.jsonl", "descriptions.jsonl"):
        assert held_out.isdisjoint(record["image"] for record in read_jsonl(rows / name))


def test_the_same_inputs_give_the_same_bytes_another_seed_others(world: Path, rows: Path, tmp_path: Path) -> None:
    again = synthesized(world, tmp_path / "again", settings())
    other = synthesized(world, tmp_path / "other", settings(), seed=1)
    for path in rows.iterdir():
        assert path.read_bytes() == (again / path.name).read_bytes()
    assert (rows / "rows.jsonl").read_bytes() != (other / "rows.jsonl").read_bytes()


def test_a_row_is_a_function_of_its_image_alone(world: Path, rows: Path) -> None:
    records = [r for r in ImageSet(world / "images").records if r.split == "train"][::-50]
    team = EmbeddedTeam(world / "drawn", RATES, 0)
    alone = annotated(records, team, settings())
    together = {row["id"]: row for name in ("rows", "rejected") for row in read_jsonl(rows / f"{name}.jsonl")}
    for row in alone:
        assert together[row["id"]] == {k: v for k, v in row.items() if (k, v) != ("reason", None)}


def test_paths_stand_on_the_chosen_share_of_train_images_only(rows: Path) -> None:
    kept = list(read_jsonl(rows / "rows.jsonl"))
    for row in kept:
        expected = row["split"] == "train" and has_path(row["image"], 0.5, 0)
        assert bool(row["refined_cot"]) == expected
    images = {row["image"]: bool(row["refined_cot"]) for row in kept if row["split"] == "train"}
    assert 0.40 < sum(images.values()) / len(images) < 0.60


def test_a_reader_misreads_each_part_at_the_declared_rate_and_independently(world: Path) -> None:
    team, known = EmbeddedTeam(world / "drawn", RATES, 0), truths(world)
    wrong: list[tuple[bool, bool]] = []
    for subject in subjects(world):
        one, other = (team._read(subject, role, "how many ?") for role in ("look", "adjudicate"))
        wrong += [(a != t, b != t) for a, b, t in zip(one, other, known[subject.image]["parts"], strict=True)]
    first, both = sum(a for a, _ in wrong) / len(wrong), sum(a and b for a, b in wrong) / len(wrong)
    assert first == pytest.approx(0.10, abs=0.02)  # n ≈ 2,400: one standard error is .006
    assert both == pytest.approx(0.01, abs=0.008)


def test_slips_and_hurried_paths_occur_at_their_declared_rates(world: Path) -> None:
    rates = Embedded(error_rate=0.0, hurry_rate=0.35, slip_rate=0.2)
    team, known = EmbeddedTeam(world / "drawn", rates, 0), truths(world)
    slips, hurried = [], []
    for subject in subjects(world):
        for question in team.questions(subject, 2):
            _, answer = SOURCES[subject.source].solve(question, known[subject.image]["parts"])
            slips.append(asyncio.run(team.look(subject, question, Trace())) != answer)
            refined, fault = asyncio.run(team.refine(subject, question, answer, "", Trace()))
            hurried.append(refined == Refined(f"it looks like {answer}", answer))
            assert fault is None
    assert sum(slips) / len(slips) == pytest.approx(0.20, abs=0.04)
    assert sum(hurried) / len(hurried) == pytest.approx(0.35, abs=0.05)


def test_a_team_that_never_errs_keeps_every_candidate_with_its_true_answer(world: Path, tmp_path: Path) -> None:
    out, known = synthesized(world, tmp_path / "rows", settings(NEVER)), truths(world)
    metrics = read_json(out / "metrics.json")
    assert metrics["rejected"] == {} and metrics["agreed"] == metrics["kept"] == metrics["candidates"]
    team = EmbeddedTeam(world / "drawn", NEVER, 0)
    questions = {
        (s.image, q.problem): SOURCES[s.source].solve(q, known[s.image]["parts"])
        for s in subjects(world)
        for q in team.questions(s, 2)
    }
    for row in read_jsonl(out / "rows.jsonl"):
        path, answer = questions[row["image"], row["problem"]]
        assert row["answer"] == answer
        assert row["refined_cot"] in ("", path)


def test_agreement_and_adjudication_keep_better_answers(world: Path, tmp_path: Path) -> None:
    known, team = truths(world), EmbeddedTeam(world / "drawn", RATES, 0)
    questions = {(s.image, q.problem): q for s in subjects(world) for q in team.questions(s, 2)}
    share, count = {}, {}
    for name, agreement, adjudication in (("none", False, False), ("agreement", True, False), ("both", True, True)):
        config = settings(agreement=agreement, adjudication=adjudication, path_share=0.0)
        found = list(read_jsonl(synthesized(world, tmp_path / name, config) / "rows.jsonl"))
        wrong = 0
        for row in found:
            question = questions[row["image"], row["problem"]]
            true = SOURCES[row["source"]].solve(question, known[row["image"]]["parts"])[1]
            verdict = check(row["answer"], row["problem"], true, row["category"], row["reward"], 0.001)
            wrong += verdict.outcome != "correct"
        share[name], count[name] = wrong / len(found), len(found)
    assert share["agreement"] < share["none"] / 2 and share["both"] < share["none"]
    assert count["agreement"] < count["both"] < count["none"]


def test_kept_answers_are_what_the_decisions_say(rows: Path) -> None:
    for row in read_jsonl(rows / "rows.jsonl"):
        decisions = row["decisions"]
        assert row["answer"] in (decisions["description"], decisions["vision"])
        assert decisions["agreed"] == (decisions["adjudicator"] is None)


class Stubborn:
    """A team whose every answer is set by hand."""

    blind_tries = blind_limit = 0

    def __init__(self, *, objection=None, reason="3", look="3", third="3", refined="3") -> None:
        self.provenance = {"annotator": "stubborn"}
        self._objection, self._answers = objection, (reason, look, third, refined)

    async def describe(self, subject, trace):
        return "red circle"

    async def mine(self, subject, coarse, trace):
        return [], coarse

    async def write(self, subject, description, count, trace):
        return [Draft(SOURCES["digits"].ask([{"digit": d} for d in (1, 2, 3, 4)], Random(3), avoid=["describe"]))]

    async def objection(self, subject, question, trace):
        return self._objection

    async def reason(self, subject, description, question, trace):
        return Reasoned(self._answers[0])

    async def look(self, subject, question, trace):
        return self._answers[1]

    async def adjudicate(self, subject, question, trace):
        return self._answers[2]

    async def refine(self, subject, question, answer, reasoning, trace):
        return Refined("a path", self._answers[3]), None


@pytest.mark.parametrize(
    ("team", "changes", "reason", "answer"),
    [
        (Stubborn(), {}, None, "3"),
        (Stubborn(objection="absurd"), {}, "absurd", ""),
        (Stubborn(look="4"), {"adjudication": False}, "answers disagree", ""),
        (Stubborn(look="4", third="5"), {}, "the adjudicator agrees with neither answer", ""),
        (Stubborn(look="4", third="4", refined="4"), {}, None, "4"),
        (Stubborn(look="4", third="4"), {}, "path does not lead to the answer", "4"),
        (Stubborn(look="4"), {"agreement": False}, None, "3"),
    ],
)
def test_each_filter_ends_a_candidate_with_its_own_reason(team, changes, reason, answer) -> None:
    record = ImageRecord("i" * 64, "digits", "train", "c", 56, 56, "o")
    config = settings(path_share=1.0, **changes)
    [row] = annotated([record], team, config)
    assert row["category"] == "FIB", "the case needs an open question"
    assert (row["reason"], row["answer"]) == (reason, answer)
    assert funnel([row])["kept"] == (reason is None)


def test_a_question_needs_known_abilities_beside_reasoning() -> None:
    assert ability_fault([REASONING, "spatial"]) is None
    assert ability_fault([REASONING]) == "needs no ability beside reasoning"
    assert ability_fault([REASONING, "telepathy"]) == "unknown ability telepathy"
    for source in SOURCES.values():
        for kind in source.KINDS.values():
            assert set(kind.abilities) <= set(ABILITIES)


def test_a_photo_of_ones_own_gives_a_sentence_that_names_its_source(world: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    Image.effect_noise((60, 60), 80).save(tmp_path / "mine" / "cat.png")
    photos = Source(name="holiday", kind="folder", path=str(tmp_path / "mine"), reporting=0.0)
    images = ingested(tmp_path, world / "drawn", (photos,))
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match=r"source 'holiday'.*drawn images only.*synthesize\.rows"):
        synthesize(
            images=images,
            drawn=world / "drawn",
            rewards=REWARDS,
            run=StageRun(settings(), out=tmp_path / "out", scratch=tmp_path, seed=0),
        )


def test_an_interrupt_ends_the_embedded_team_at_the_next_image(world: Path) -> None:
    records = [record for record in ImageSet(world / "images").records if record.split == "train"]
    taken: list[ImageRecord] = []

    def interrupt(record: ImageRecord, _: object) -> None:
        taken.append(record)
        if len(taken) == 2:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # it is ignored in a shell's background job
    try:
        with pytest.raises(KeyboardInterrupt):
            team = EmbeddedTeam(world / "drawn", RATES, 0)
            asyncio.run(_annotate(records, team, settings(), REWARDS, 0, interrupt))
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(taken) == 2


def test_metrics_hold_no_truth(rows: Path) -> None:
    text = json.dumps(read_json(rows / "metrics.json"))
    assert "truth" not in text and "true" not in text and "error" not in text
