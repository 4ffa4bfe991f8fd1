"""The model judge over real HTTP: what a reply is worth, what an outage is not, and what is paid for once."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from wethink.clients.request_form import PROBE
from wethink.common.errors import UserError
from wethink.common.statistics import wilson
from wethink.config.launch import Endpoint, Launch
from wethink.config.rewards import Judge, Rewards
from wethink.data.schema import Scorable
from wethink.rewards import format, hybrid
from wethink.rewards.hybrid import Scorer, open_scorer
from wethink.rewards.judge import calibration, model_judge
from wethink.rewards.verdict import Verdict

Script = Callable[[dict[str, str]], tuple[int, str, str]]  # what is shown, in parts → status, reply, finish reason


def read_prompt(user: str) -> dict[str, str]:
    parts = [line.partition(">") for line in user.split("\n")]
    return {name[1:]: json.loads(rest.rpartition("</")[0]) for name, _, rest in parts}


class Server:
    """A judge that follows a script, on loopback."""

    def __init__(self, script: Script) -> None:
        self.script, self.bodies = script, list[dict[str, Any]]()
        self.probe = (200, "OK", "stop")  # to a request that holds nothing to object to
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                outer.bodies.append(body)
                user = body["messages"][-1]["content"][0]["text"]
                probe = outer.probe if PROBE in user else None
                status, text, finish = probe or outer.script(read_prompt(user))
                message = {"role": "assistant", "content": text}
                choice = {"index": 0, "message": message, "finish_reason": finish}
                answer = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice]}
                blob = json.dumps(answer if status == 200 else {"error": {"message": "no"}}).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(blob)))
                self.end_headers()
                self.wfile.write(blob)

            def log_message(self, *_: object) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.http.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.http.server_port}/v1"


@pytest.fixture
def serve() -> Iterator[Callable[[Script], Server]]:
    running: list[Server] = []

    def start(script: Script) -> Server:
        running.append(Server(script))
        return running[-1]

    yield start
    for server in running:
        server.http.shutdown()
        server.http.server_close()


def honest(shown: dict[str, str]) -> tuple[int, str, str]:
    """A judge that knows one reference: equal is correct, half of it partial."""
    tier = (
        "correct"
        if shown["candidate"] == shown["reference"]
        else "partial"
        if shown["candidate"] in shown["reference"]
        else "incorrect"
    )
    return 200, json.dumps({"tier": tier}), "stop"


def settings(tmp_path: Path, url: str, **more: Any) -> tuple[Rewards, Launch]:
    config = Rewards(
        accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge=Judge(endpoint="e", model="m", **more)
    )
    endpoint = Endpoint(url=url, attempts=2, deadline_seconds=20.0)
    launch = Launch(
        device="cpu",
        processes=1,
        threads=1,
        deepspeed="x.json",
        deadline_minutes=1,
        endpoints={"e": endpoint},
        answers=str(tmp_path / "answers.sqlite"),
    )
    return config, launch


def row(gold: str) -> Scorable:
    return {"problem": "describe it", "answer": gold, "category": "DES", "reward": "model"}


def score(answer: str, scorer: Scorer, gold: str = "a red circle and a blue star") -> hybrid.Scored:
    return scorer.score([(format.render("secret thoughts", answer), row(gold))])[0]


def test_the_judges_tiers_become_rewards_and_it_sees_the_answer_alone(tmp_path: Path, serve: Any) -> None:
    server = serve(honest)
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer:
        found = [score(text, scorer) for text in ("a red circle and a blue star", "a red circle", "a dog")]
        again = score("a dog", scorer)
    assert [one.total for one in found] == pytest.approx([1.0, 0.65, 0.3]) and again == found[2]
    assert len(server.bodies) == 3  # the fourth was remembered
    assert "secret thoughts" not in json.dumps(server.bodies)
    assert server.bodies[0]["response_format"]["json_schema"]["strict"] is True
    with open_scorer(config, launch) as scorer:  # another run pays for nothing again
        assert score("a red circle", scorer).total == pytest.approx(0.65)
    assert len(server.bodies) == 3


@pytest.mark.parametrize(
    ("status", "reply", "finish", "reason"),
    [
        (200, "I think it is correct.", "stop", "the judge's reply is no verdict"),
        (200, '{"tier": "correct"', "length", "the judge's reply is cut off"),
        (200, "", "content_filter", "the judge refuses"),
        (200, "", "stop", "the judge's reply is empty"),
        (200, '<think>it is {"tier": "correct"}', "length", "the judge's reply is cut off"),
        (200, '<think>it is {"tier": "correct"}', "stop", "the judge's reply is empty"),
        (200, 'it is\n</think>\nI say {"tier": "correct"}', "stop", "the judge's reply is no verdict"),
        (200, '{"tier": "correct"} ' * 20, "stop", "the judge's reply is no verdict"),
    ],
)
def test_what_a_response_makes_of_the_judge_is_wrong_not_unknown(
    tmp_path: Path, serve: Any, status: int, reply: str, finish: str, reason: str
) -> None:
    server = serve(lambda shown: (status, reply, finish))
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer:
        found = score("a red circle", scorer)
    assert (found.verdict, found.total) == (Verdict("wrong", reason, 0.0), pytest.approx(0.3))


@pytest.mark.parametrize("status", [429, 500, 503])
def test_an_outage_is_unknown_and_not_remembered(tmp_path: Path, serve: Any, status: int) -> None:
    server = serve(lambda shown: (status, "", ""))
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer:
        found = score("a red circle", scorer)
        server.script = honest
        later = score("a red circle", scorer)
    assert found.total is None and found.verdict.outcome == "unknown" and str(status) in found.verdict.reason
    assert later.total == pytest.approx(0.65)


def test_a_request_that_is_refused_is_the_responses_doing_only_where_others_are_answered(
    tmp_path: Path, serve: Any
) -> None:
    server = serve(lambda shown: (400, "", "") if "bomb" in shown["candidate"] else honest(shown))
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer:
        assert score("a bomb", scorer).verdict.outcome == "wrong"  # a harmless request is answered
        assert score("a dog", scorer).verdict.outcome == "wrong"
        assert score("a bomb", scorer).verdict.outcome == "wrong"


def test_a_server_that_refuses_every_request_stops_the_run_and_no_answer_is_wrong_for_it(
    tmp_path: Path, serve: Any
) -> None:
    server = serve(lambda shown: (400, "", ""))
    server.probe = (400, "", "")
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer, pytest.raises(UserError, match=r"every call .*HTTP 400: “no”"):
        score("a red circle", scorer)


def test_no_credit_in_the_middle_stops_the_run_after_the_calls_in_flight_and_a_later_run_buys_only_the_rest(
    tmp_path: Path, serve: Any
) -> None:
    answered, lock, empty = list[str](), threading.Lock(), [True]

    def script(shown: dict[str, str]) -> tuple[int, str, str]:
        with lock:
            if empty[0] and len(answered) >= 5:
                return 402, "", ""
            answered.append(shown["candidate"])
        time.sleep(0.3 if len(answered) % 2 else 0)  # some are still in flight when another is refused
        return honest(shown)

    server = serve(script)
    config, launch = settings(tmp_path, server.url)
    batch = [(format.render("a", f"answer {number}"), row("answer 3")) for number in range(30)]
    with open_scorer(config, launch) as scorer, pytest.raises(UserError, match="no credit"):
        scorer.score(batch)
    assert len(answered) == 5
    empty[0] = False
    with open_scorer(config, launch) as scorer:
        scored = scorer.score(batch)
    assert len(answered) == len(set(answered)) == 30, "an answer was bought twice"
    assert [one.accuracy for one in scored] == [float(number == 3) for number in range(30)]


@pytest.mark.parametrize(("reply", "finish"), [("", "length"), ("I think it is correct.", "stop"), ("", "stop")])
def test_a_judge_without_a_verdict_in_its_first_replies_stops_the_run(
    tmp_path: Path, serve: Any, reply: str, finish: str
) -> None:
    server = serve(lambda shown: (200, reply, finish))
    config, launch = settings(tmp_path, server.url)
    batch = [(format.render("a", f"answer {number}"), row("answer 3")) for number in range(40)]
    with open_scorer(config, launch) as scorer, pytest.raises(UserError, match=r"first 32 replies .*max_tokens"):
        scorer.score(batch)


@pytest.mark.parametrize(
    "reply",
    [
        'I compare them.\n</think>\n{"tier": "correct"}',
        '<think>incorrect? {"tier": "incorrect"}</think>\n```json\n{"tier": "correct"}\n```',
        '```json\n{"tier": "correct"}\n```',
    ],
)
def test_a_judge_that_thinks_is_read_behind_its_thoughts(tmp_path: Path, serve: Any, reply: str) -> None:
    server = serve(lambda shown: (200, reply, "stop"))
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer:
        assert score("a red circle", scorer).verdict == Verdict("correct", "judge: correct", 1.0)


def test_a_key_that_is_refused_stops_the_run(tmp_path: Path, serve: Any) -> None:
    server = serve(lambda shown: (401, "", ""))
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer, pytest.raises(UserError, match="refuses"):
        score("a red circle", scorer)


def test_several_votes_give_the_median(tmp_path: Path, serve: Any) -> None:
    tiers = iter(["correct", "incorrect", "partial"])
    lock = threading.Lock()

    def script(shown: dict[str, str]) -> tuple[int, str, str]:
        with lock:
            return 200, json.dumps({"tier": next(tiers)}), "stop"

    server = serve(script)
    config, launch = settings(tmp_path, server.url, votes=3, temperature=1.0)
    with open_scorer(config, launch) as scorer:
        assert score("a red circle", scorer).accuracy == 0.5
    assert len(server.bodies) == 3


def test_many_answers_are_asked_for_together_and_then_known(tmp_path: Path, serve: Any) -> None:
    server = serve(honest)
    config, launch = settings(tmp_path, server.url)
    texts = [format.render("a", f"answer {number % 7}") for number in range(40)] + ["no tags"]
    with open_scorer(config, launch) as scorer:
        together = [scored.accuracy for scored in scorer.score([(text, row("answer 3")) for text in texts])]
        asked = len(server.bodies)
        found = [scorer.score([(text, row("answer 3"))])[0].accuracy for text in texts]
    assert asked == len(server.bodies) == 7
    assert found == together and sum(accuracy or 0 for accuracy in found) == 6


def test_an_answer_too_long_or_empty_never_reaches_the_judge_nor_does_a_row_without_gold(
    tmp_path: Path, serve: Any
) -> None:
    server = serve(honest)
    config, launch = settings(tmp_path, server.url)
    with open_scorer(config, launch) as scorer:
        assert score("x" * 4001, scorer).verdict.outcome == "wrong"
        assert score("anything", scorer, gold=" ").verdict.outcome == "unknown"
        assert scorer.score([("no tags", row("a dog"))])[0].total == 0.0
    assert not server.bodies


def test_nothing_is_scored_without_the_judge_that_is_named_and_an_unknown_endpoint_is_named(tmp_path: Path) -> None:
    config, launch = settings(tmp_path, "http://127.0.0.1:9/v1")
    with pytest.raises(UserError, match="nothing has connected it"):
        Scorer(config)
    with (
        pytest.raises(UserError, match=r"rewards\.judge\.endpoint"),
        open_scorer(config, launch.model_copy(update={"endpoints": {}})),
    ):
        pass


def test_calibration_figures_equal_those_computed_by_hand() -> None:
    def verdict(score: float | None) -> Verdict:
        return Verdict("unknown" if score is None else "correct" if score == 1 else "wrong", "", score)

    truth = ["correct", "correct", "partial", "incorrect", "incorrect", "correct"]
    found = [verdict(score) for score in (1.0, 0.5, 0.5, 0.0, 1.0, None)]
    swapped = [verdict(score) for score in (1.0, 1.0, 0.5, 0.0, 0.0, 1.0)]
    figures = calibration.measures(truth, found, swapped, [1, 2, 3, 4, 5, 6])
    assert (figures["agreement"]["low"], figures["agreement"]["high"]) == wilson(3 / 5, 5)
    assert figures["agreement"]["value"] == 3 / 5 and figures["unknown"] == pytest.approx(1 / 6)
    assert figures["kappa"] == pytest.approx((3 / 5 - 8 / 25) / (1 - 8 / 25))
    assert figures["confusion"]["correct"] == {"incorrect": 0, "partial": 1, "correct": 1, "unknown": 1}
    assert figures["false_correct"]["value"] == 1 / 2 and figures["correct_missed"]["value"] == 1 / 2
    assert figures["bias"] == pytest.approx((0 - 0.5 + 0 + 0 + 1) / 5)
    assert figures["bias_by_length"]["short"] == {"chars": [1, 2], "bias": pytest.approx(-0.25)}
    assert figures["position"]["flips"]["value"] == 2 / 5
    assert figures["position"]["bias"] == pytest.approx((0 - 0.5 + 0 + 0 + 1) / 5)


def test_calibrate_judges_a_labelled_file_and_refuses_an_unlabelled_one(
    tmp_path: Path, serve: Any, capsys: Any
) -> None:
    server = serve(honest)
    rewards, launch = settings(tmp_path, server.url)
    params: Any = type("Params", (), {"rewards": rewards, "launch": launch})
    labelled = tmp_path / "labelled.jsonl"
    row = {"problem": "describe it", "gold": "a dog", "answer": "a dog", "tier": "correct"}
    labelled.write_text(json.dumps(row) + "\n" + json.dumps(row | {"answer": "a cat", "tier": "incorrect"}) + "\n")
    figures = calibration.calibrate(labelled, params, tmp_path / "out.json")
    assert figures["agreement"]["value"] == 1.0 and json.loads((tmp_path / "out.json").read_text())["n"] == 2
    assert "kappa 1.000" in capsys.readouterr().out
    assert len(server.bodies) == 4  # both orders
    first = [body["messages"][1]["content"][0]["text"].split("\n")[1][:11] for body in server.bodies]
    assert sorted(first) == ["<candidate>"] * 2 + ["<reference>"] * 2
    labelled.write_text(json.dumps(row | {"tier": "fine"}) + "\n")
    with pytest.raises(UserError, match="row 1"):
        calibration.calibrate(labelled, params, tmp_path / "out.json")


@pytest.mark.parametrize(
    ("reply", "finish", "unread"),
    [
        ("I would say correct.", "stop", 12),
        ('{"tier": "correct"', "length", 12),
        ("", "content_filter", 12),
        ('{"tier": "incorrect"}', "stop", 0),  # a strict judge is none that cannot be read
    ],
)
def test_calibrate_tells_replies_that_cannot_be_read_from_a_strict_judge(
    tmp_path: Path, serve: Any, capsys: Any, reply: str, finish: str, unread: int
) -> None:
    server = serve(lambda shown: (200, reply, finish))
    rewards, launch = settings(tmp_path, server.url, votes=3, temperature=1.0)
    params: Any = type("Params", (), {"rewards": rewards, "launch": launch})
    labelled = tmp_path / "labelled.jsonl"
    row = {"problem": "describe it", "gold": "a dog", "answer": "a dog", "tier": "correct"}
    labelled.write_text(json.dumps(row) + "\n" + json.dumps(row | {"answer": "a cat", "tier": "incorrect"}) + "\n")
    figures = calibration.calibrate(labelled, params, tmp_path / "out.json")
    assert figures["replies"] == {"n": 12, "unread": unread}  # two answers, two orders, three votes
    assert f"replies: {unread} of 12 could not be read as a verdict" in capsys.readouterr().out
    assert figures["confusion"]["correct"]["incorrect"] == 1 and figures["unknown"] == 0.0


def test_the_prompt_says_which_tiers_there_are() -> None:
    rubric = Path(model_judge.__file__).with_name(model_judge.ASSETS[0]).read_text(encoding="utf-8")
    assert all(f'{{"tier": "{tier}"}}' in rubric for tier in model_judge.TIERS)
