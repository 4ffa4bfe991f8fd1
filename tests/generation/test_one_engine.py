"""All that samples writes the same through vLLM as in this process, where decoding is greedy; and what is refused."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from PIL import Image

from tests.support.miniature import TEXT, NoiseImages, policy, taught
from tests.support.vllm_stand_in import StandIn, serving
from wethink.common.errors import UserError
from wethink.common.jsonl import read_jsonl, write_jsonl
from wethink.common.stage_run import StageRun
from wethink.config.launch import Launch
from wethink.config.params import Params, load_params
from wethink.evaluation import evaluate, pass_rates
from wethink.evaluation.benchmarks.engines import Checkpoint, Query
from wethink.evaluation.benchmarks.run import Settings
from wethink.evaluation.evaluate import Job, run_jobs, shares
from wethink.generation import vllm_connection
from wethink.generation.responses import Asked, Decoding
from wethink.generation.sampler import answers, open_sampler, published
from wethink.models.policy import save_policy
from wethink.rewards.hybrid import Scorer
from wethink.rl.heldout_probe import accuracy
from wethink.training.ranks import Ranks

ROOT = Path(__file__).resolve().parents[2]
PARAMS = load_params(ROOT / "profiles/tiny.yaml")
WORDS = TEXT.split()
ITEMS: list[Any] = [
    {
        "id": f"{i:04x}", "image": f"noise {i % 4}", "scene": f"scene {i % 4}", "source": "noise", "kind": "count",
        "problem": " ".join(WORDS[3 : 6 + i % 5]), "answer": str(1 + i % 3), "category": "FIB", "abilities": [],
        "reward": "rule", "split": "train",
    }
    for i in range(9)
]  # fmt: skip
ITEMS[3] |= {"images": ["noise 1", "noise 2 wide"], "problem": "how many <image> or <image> ?"}
ITEMS[4] |= {"images": []}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    (state, made), (model, _) = taught(), policy()
    model.load_state_dict(state)
    save_policy(model, None, made, folder, "card")
    return folder


@pytest.fixture
def served() -> Iterator[tuple[StandIn, str]]:
    with serving() as found:
        yield found


def params(engine: str, url: str | None) -> Params:
    """The tiny profile with one engine for all, and answers of few tokens."""
    launch = PARAMS.launch.model_copy(update={"vllm_url": url, "vllm_context": 128})
    short = {"sampler": engine}
    return PARAMS.model_copy(
        update={
            "launch": launch,
            "evaluate": PARAMS.evaluate.model_copy(update=short | {"max_new_tokens": 8, "batch_size": 4}),
            "grpo": PARAMS.grpo.model_copy(update=short | {"max_completion_length": 8, "temperature": 1e-5}),
        }
    )


def both(url: str) -> list[Params]:
    return [params("in_process", None), params("vllm", url)]


def test_evaluate_records_the_same(checkpoint: Path, served: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setattr(evaluate, "ImageSet", lambda path: NoiseImages())
    told = []
    for number, one in enumerate(both(served[1])):
        scratch = tmp_path / str(number)
        scratch.mkdir()
        run = StageRun(one.evaluate, scratch, scratch, 0)
        jobs = [Job("base", checkpoint, 0.0, "true"), Job("grpo", checkpoint, 0.0, "shuffled")]
        asked = [(job, ITEMS) for job in (*jobs, Job("grpo", checkpoint, 0.0, "blank"))]
        for part in shares(asked, one.evaluate, one.launch):
            run_jobs(part, tmp_path, one.rewards, one.launch, 0, run)
        told.append({path.name: list(read_jsonl(path)) for path in scratch.iterdir()})
    assert told[0] == told[1] and len(told[0]) == 3
    assert len({record["response"] for record in told[0]["base-t0.0-true.jsonl"]}) > 1
    assert served[0].pushes == 1, "one checkpoint is loaded once for all its passes"


def test_pass_rates_and_the_probe_find_the_same(
    checkpoint: Path, served: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(pass_rates, "ImageSet", lambda path: NoiseImages())
    monkeypatch.setattr("wethink.rl.heldout_probe.gather_objects", lambda value, ranks: [value])
    write_jsonl(tmp_path / "rows.jsonl", ITEMS)
    rates, probed, scorer, ranks = [], [], Scorer(PARAMS.rewards), Ranks(0, 1, torch.device("cpu"))
    for one in both(served[1]):
        out = tmp_path / "rates.jsonl"
        pass_rates.passrates(checkpoint, tmp_path, tmp_path / "rows.jsonl", out, 2, one, scorer)
        rates.append(list(read_jsonl(out)))
        with published(checkpoint, one.grpo.sampler, one.launch, 2) as sampler:
            probed.append(accuracy(sampler, ITEMS, NoiseImages(), one.grpo, scorer, ranks))
    assert rates[0] == rates[1] and len(rates[0]) == len(ITEMS)
    assert probed[0] == probed[1]


def test_benchmark_replies_are_the_same_and_name_their_engine(checkpoint: Path, served: Any) -> None:
    pictures = [NoiseImages().open("a"), NoiseImages().open("b wide")]
    queries = [Query("1", (pictures[0], "how many ?"), 0.0, 0), Query("2", ("red", *pictures, "?"), 0.0, 0, "none")]
    replies, about = [], []
    for one in both(served[1]):
        settings = Settings("grpo", max_new_tokens=8, batch=4)
        engine = Checkpoint(checkpoint, settings, one.launch, one.evaluate.sampler, 2)
        replies.append(engine.answer(queries))
        about.append(engine.describe("own"))
        engine.close()
    assert replies[0] == replies[1]
    assert [found["engine"] for found in about] == ["in-process", "vllm"]
    assert about[1]["versions"] == {"vllm": "stand-in"} and about[0]["dtype"] == about[1]["dtype"] == "torch.float32"


def test_ask_prints_the_same(checkpoint: Path, served: Any, tmp_path: Path, capsys: Any) -> None:
    from wethink.evaluation.ask import ask

    NoiseImages().open("a").save(tmp_path / "a.png")
    printed = []
    for one in both(served[1]):
        ask(tmp_path / "a.png", "how many ?", checkpoint, 0.0, one)
        printed.append(capsys.readouterr().out)
    assert printed[0] == printed[1] and printed[0].strip()


def question(sampler: Any, problem: str = "how many ?") -> list[Any]:
    asked = [Asked(problem, ("a",), str(i)) for i in range(5)]
    return list(answers(sampler, asked, NoiseImages(), Decoding(8, 0.0)))


def connect(folder: Path, url: str) -> None:
    with published(folder, "vllm", params("vllm", url).launch):
        pass


def test_a_server_that_keeps_another_model_is_refused(checkpoint: Path, served: Any, tmp_path: Path) -> None:
    said, url = served
    other, made = policy(seed=5)
    save_policy(other, None, made, tmp_path, "card")
    said.is_stale = True
    with published(tmp_path, "vllm", params("vllm", url).launch) as sampler:
        assert len(question(sampler)) == 5
    with pytest.raises(UserError, match=r"vLLM's log-probs differ from those of .* another model or revision"):
        connect(checkpoint, url)


def test_a_server_that_cannot_load_the_weights_is_told(checkpoint: Path, served: Any, monkeypatch: Any) -> None:
    said, url = served
    monkeypatch.setattr(said, "load", lambda folder: 1 / 0)
    with pytest.raises(UserError, match=r"cannot load this policy's weights: it serves another model, policy"):
        connect(checkpoint, url)


@pytest.mark.parametrize(
    ("setting", "told"),
    [({"quantization": "awq"}, r"runs quantised \(awq\)"), ({"max_model_len": 64}, r"takes 64 tokens.*vllm_context")],
)
def test_a_server_with_unfit_settings_is_refused(
    checkpoint: Path, served: Any, setting: dict[str, Any], told: str
) -> None:
    said, url = served
    said.settings |= setting
    with pytest.raises(UserError, match=told), published(checkpoint, "vllm", params("vllm", url).launch):
        pass


def test_a_server_that_dies_in_the_middle_ends_with_a_sentence(checkpoint: Path, served: Any) -> None:
    said, url = served
    with published(checkpoint, "vllm", params("vllm", url).launch) as sampler:
        said.dies_at = said.questions + 3
        with pytest.raises(UserError, match=rf"vLLM did not answer POST /v1/chat/completions .* server at {url}"):
            question(sampler)


def test_a_server_that_is_down_is_waited_for_and_then_told(checkpoint: Path, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.setattr(vllm_connection, "START_SECONDS", 0.2)
    with pytest.raises(UserError, match=r"vLLM did not answer within 0.2 s .*Look at the server at http://127.0.0.1:9"):
        connect(checkpoint, "http://127.0.0.1:9")


def test_another_kind_of_server_is_told_at_once(checkpoint: Path, served: Any, monkeypatch: Any) -> None:
    refused = vllm_connection.Refused("vLLM refused GET /health (404)", 404)
    monkeypatch.setattr(vllm_connection.Server, "_call", lambda self, *given: (_ for _ in ()).throw(refused))
    with pytest.raises(UserError, match="404"):
        connect(checkpoint, served[1])


def test_the_prefix_cache_of_older_weights_is_asked_for_until_it_is_dropped(
    checkpoint: Path, served: Any, monkeypatch: Any
) -> None:
    """vLLM answers 200 and keeps the cache while a request that has ended still holds blocks."""
    said, url = served
    said.held = 3
    with published(checkpoint, "vllm", params("vllm", url).launch):
        assert said.held == -1
    monkeypatch.setattr(vllm_connection, "RESET_SECONDS", 0.1)
    said.held = 10**6
    with pytest.raises(UserError, match=r"did not drop its prefix cache within 0.1 s .* must serve nobody else"):
        connect(checkpoint, url)


def test_a_question_that_exceeds_the_servers_context_is_told(checkpoint: Path, served: Any) -> None:
    told = pytest.raises(UserError, match=r"the question 0 has \d+ tokens.*exceed launch.vllm_context \(128\)")
    with told, published(checkpoint, "vllm", params("vllm", served[1]).launch) as sampler:
        question(sampler, "how " * 200)


@pytest.mark.parametrize("engine", ["in_process", "vllm"])
def test_a_checkpoint_answers_in_the_precision_in_which_it_is_stored(engine: Any, served: Any, tmp_path: Path) -> None:
    """Sharded, too; vLLM agrees within the bound of bf16."""
    model, made = policy()
    save_policy(model.to(torch.bfloat16), None, made, tmp_path, "card")
    model.save_pretrained(tmp_path, max_shard_size="30KB")  # type: ignore[operator]
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    with published(tmp_path, engine, params(engine, served[1] if engine == "vllm" else None).launch) as sampler:
        assert sampler.dtype == torch.bfloat16 and len(question(sampler)) == 5


def test_weights_that_cannot_be_used_are_refused_before_any_server_starts(tmp_path: Path, served: Any) -> None:
    said, url = served
    with pytest.raises(UserError, match="cannot load the model"):
        connect(tmp_path, url)
    assert not said.pushes


def test_a_server_is_started_once_for_the_passes_that_it_can_share() -> None:
    asked: Any = [(name, []) for name in "abcdefg"]
    launch: Launch = PARAMS.launch.model_copy(update={"processes": 3})
    config = PARAMS.evaluate.model_copy(update={"sampler": "vllm"})
    assert [len(part) for part in shares(asked, PARAMS.evaluate, launch)] == [1] * 7
    assert [len(part) for part in shares(asked, config, launch)] == [2, 2, 3]
    at_one = launch.model_copy(update={"vllm_url": "http://127.0.0.1:1"})
    assert [len(part) for part in shares(asked, config, at_one)] == [7] and shares([], config, launch) == []


def test_each_rank_samples_through_the_engine_that_is_named(tmp_path: Path) -> None:
    made, device = SimpleNamespace(), torch.device("cpu")
    found = [
        type(open_sampler(name, made, PARAMS.launch, tmp_path, device)).__name__ for name in ("in_process", "vllm")
    ]
    assert found == ["InProcess", "Vllm"]


def test_an_image_of_any_size_has_the_grid_that_the_processor_gives_it() -> None:
    from wethink.models.context_length import grid_of

    made = policy()[1]
    for size in ((56, 56), (84, 56), (31, 200), (500, 300), (57, 57)):
        _, grids = made.pixels([Image.new("RGB", size)])
        assert grid_of(*size, made) == tuple(grids[0].tolist())
