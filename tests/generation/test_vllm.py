"""The vLLM sampler against a stand-in server; tests/invariants checks it against the real engine."""

import base64
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from tests.support.miniature import NoiseImages, policy, processor, prompts
from tests.support.vllm_stand_in import SETTINGS, served
from wethink.common.errors import UserError
from wethink.config.params import load_params
from wethink.generation.responses import Asked, Decoding
from wethink.generation.vllm import Vllm
from wethink.models.batching import encode_prompts

ROOT = Path(__file__).resolve().parents[2]


class Fake:
    """What a vLLM server would say, and everything that it was asked."""

    def __init__(self) -> None:
        self.settings = dict(SETTINGS)
        self.asked: list[tuple[str, Any]] = []
        self.prompt: list[int] = []
        self.tokens = [26, 27]

    def answer(self, path: str, body: Any) -> Any:
        self.asked.append((path, body))
        if path == "/v1/models":
            return {"data": [{"id": "policy"}]}
        if path == "/version":
            return {"version": "0.0"}
        if path.startswith("/server_info"):
            return {"vllm_config": {"model_config": self.settings}}
        if path == "/v1/chat/completions":
            entry = [{"logprob": -0.5} for _ in self.tokens]
            choice = {"token_ids": self.tokens, "logprobs": {"content": entry}}
            return {"prompt_token_ids": self.prompt, "choices": [choice | {"index": i} for i in (1, 0)]}
        return {}


@pytest.fixture
def fake() -> Iterator[tuple[Fake, str]]:
    said = Fake()
    with served(said) as url:
        yield said, url


def sampler(url: str | None, scratch: Path, **launch: Any) -> tuple[Vllm, Any, Any]:
    params = load_params(ROOT / "profiles/tiny.yaml")
    made = processor()
    changed = params.launch.model_copy(update={"vllm_url": url, "vllm_context": 256} | launch)
    (prompt,) = prompts(made, 1, ("a",))
    return Vllm(made, changed, scratch, torch.device("cpu")), prompt, policy()[0]


ROW = Asked("how many", ("a",), "r", 3)
DECODING = Decoding(16, 0.8, samples=2)


def test_a_request_holds_question_and_image_unexpanded_and_switches_off_what_training_cannot_follow(
    fake: tuple[Fake, str], tmp_path: Path
) -> None:
    said, url = fake
    engine, prompt, model = sampler(url, tmp_path)
    said.prompt = prompt.ids.tolist()
    engine.sync(model, 0)
    ((one, two),) = engine.sample([ROW], NoiseImages(), DECODING, [prompt])
    assert one.ids == two.ids == (26, 27) and one.logps == (-0.5, -0.5) and not one.finished
    body = dict(said.asked)["/v1/chat/completions"]
    picture, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "how many"}
    shown = Image.open(io.BytesIO(base64.b64decode(picture["image_url"]["url"].split(",")[1])))
    assert shown.size == (56, 56) and shown.tobytes() == NoiseImages().open("a").tobytes()
    assert (body["n"], body["temperature"], body["max_completion_tokens"]) == (2, 0.8, 16)
    assert (body["top_p"], body["top_k"], body["min_p"], body["repetition_penalty"]) == (1.0, 0, 0.0, 1.0)
    assert set(body["logit_bias"]) == {str(token) for token in engine.processor.banned}
    engine.close()


def test_a_request_holds_several_images_at_their_places_and_none_for_a_question_about_none(
    fake: tuple[Fake, str], tmp_path: Path
) -> None:
    said, url = fake
    engine, _, model = sampler(url, tmp_path)
    engine.sync(model, 0)
    shown: list[Any] = []
    for images, problem in ((["a", "b-wide"], "how <image> or <image> many"), ([], "how many")):
        (prompt,) = encode_prompts([problem], [images], NoiseImages(), engine.processor)
        said.prompt = prompt.ids.tolist()
        said.asked.clear()
        list(engine.sample([Asked(problem, tuple(images), "r")], NoiseImages(), DECODING))  # as nobody has encoded it
        content = dict(said.asked)["/v1/chat/completions"]["messages"][0]["content"]
        shown.append([part.get("text", part["type"]) for part in content])
    assert shown == [["how ", "image_url", " or ", "image_url", " many"], ["how many"]]
    engine.close()


def test_weights_are_pushed_before_the_first_rollout_and_every_cache_is_emptied(
    fake: tuple[Fake, str], tmp_path: Path
) -> None:
    said, url = fake
    engine, _, model = sampler(url, tmp_path)
    for step in (0, 1):
        said.asked.clear()
        engine.sync(model, step)
        posted = [path for path, _ in said.asked if "collective" in path or "reset" in path]
        assert posted == ["/collective_rpc", "/reset_encoder_cache", "/reset_mm_cache", "/reset_prefix_cache"]
        body = dict(said.asked)["/collective_rpc"]
        assert body["method"] == "reload_weights" and body["kwargs"]["weights_path"].endswith(f"step-{step}")
    assert not list(tmp_path.iterdir())  # weights do not pile up


def test_a_server_that_sleeps_is_woken_before_it_is_asked(fake: tuple[Fake, str], tmp_path: Path) -> None:
    said, url = fake
    engine, prompt, model = sampler(url, tmp_path)
    said.prompt = prompt.ids.tolist()
    engine.sync(model, 0)
    engine.server.sleeps = True  # as our own server on a GPU does
    said.asked.clear()
    for _ in range(2):  # a self-test, then the first rollout; or a refill
        list(engine.sample([ROW], NoiseImages(), DECODING, [prompt]))
    engine.sync(model, 1)
    asked = [path.partition("?")[0] for path, _ in said.asked]
    awake, states = True, {"/sleep": False, "/wake_up": True}
    for path in asked:
        awake = states.get(path, awake)
        assert awake or path in ("/sleep",), f"{path} was asked of a server that sleeps: {asked}"
    assert asked.count("/sleep") == 2 and asked.count("/wake_up") == 2


@pytest.mark.parametrize(("name", "value"), [("logprobs_mode", "raw_logprobs"), ("generation_config", "auto")])
def test_a_server_with_vllms_own_defaults_is_refused(
    fake: tuple[Fake, str], tmp_path: Path, name: str, value: str
) -> None:
    said, url = fake
    said.settings[name] = value
    engine, _, model = sampler(url, tmp_path)
    with pytest.raises(UserError, match=f"{name} = {value}.*--{name.replace('_', '-')} {SETTINGS[name]}"):
        engine.sync(model, 0)


def test_another_prompt_than_the_trainers_is_refused(fake: tuple[Fake, str], tmp_path: Path) -> None:
    said, url = fake
    engine, prompt, model = sampler(url, tmp_path)
    said.prompt = prompt.ids.tolist()[:-1]
    engine.sync(model, 0)
    with pytest.raises(UserError, match=r"row r .* same processor files and pixel budget"):
        list(engine.sample([ROW], NoiseImages(), DECODING, [prompt]))


def test_an_image_token_in_a_completion_is_refused(fake: tuple[Fake, str], tmp_path: Path) -> None:
    said, url = fake
    engine, prompt, model = sampler(url, tmp_path)
    said.prompt, said.tokens = prompt.ids.tolist(), [26, engine.processor.image_token_id]
    engine.sync(model, 0)
    with pytest.raises(UserError, match="banned token"):
        list(engine.sample([ROW], NoiseImages(), DECODING, [prompt]))


def test_a_missing_vllm_and_one_that_dies_are_told_in_a_sentence(tmp_path: Path) -> None:
    engine, _, model = sampler(None, tmp_path, vllm_python=str(tmp_path / "nowhere/python"))
    with pytest.raises(UserError, match=r"launch.vllm_python names .*nowhere"):
        engine.sync(model, 0)
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho no such kernel >&2\nexit 7\n")
    broken.chmod(0o755)
    engine, _, model = sampler(None, tmp_path / "scratch", vllm_python=str(broken))
    with pytest.raises(UserError, match=r"(?s)ended with code 7.*no such kernel"):
        engine.sync(model, 0)


DIES = """
import http.server, json, os, socketserver, sys
from pathlib import Path

class Handler(http.server.BaseHTTPRequestHandler):
    def reply(self):
        if self.path == "/v1/chat/completions":
            print("out of memory in a kernel", file=sys.stderr, flush=True)
            os._exit(9)
        settings = {"logprobs_mode": "processed_logprobs", "generation_config": "vllm"}
        body = {"data": [{"id": "p"}], "vllm_config": {"model_config": settings}}
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    do_GET = do_POST = reply

    def address_string(self):
        return "unix"

class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    pass

Server(sys.argv[sys.argv.index("--uds") + 1], Handler).serve_forever()
"""


def test_a_vllm_that_dies_while_it_writes_ends_the_stage_with_its_last_words(tmp_path: Path) -> None:
    (tmp_path / "dies.py").write_text(DIES)
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {sys.executable} {tmp_path / "dies.py"} "$@"\n')
    wrapper.chmod(0o755)
    engine, prompt, model = sampler(None, tmp_path / "scratch", vllm_python=str(wrapper))
    engine.sync(model, 0)
    with pytest.raises(UserError, match=r"(?s)ended with code 9.*out of memory in a kernel"):
        list(engine.sample([ROW], NoiseImages(), DECODING, [prompt]))
    engine.close()


def test_a_server_that_is_gone_is_a_sentence(fake: tuple[Fake, str], tmp_path: Path) -> None:
    _, url = fake
    engine, prompt, model = sampler(url, tmp_path)
    engine.sync(model, 0)
    engine.server.url = "http://127.0.0.1:9"  # the discard port: nobody listens
    with pytest.raises(UserError, match=r"vLLM did not answer POST /v1/chat/completions .*Look at the server at http"):
        list(engine.sample([ROW], NoiseImages(), DECODING, [prompt]))
