"""The `launch` section of `params.yaml`: device, ranks, vLLM server and LLM endpoints."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wethink.config.base import Positive, Section, Share


def _plain(url: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("must be http:// or https://, a host and a path, with no key, user or query in it")
    return url


Url = Annotated[str, AfterValidator(_plain)]
SECRET = ("endpoints", "vllm_url")  # what stands at these keys may be a key by mistake, and is never shown


class Endpoint(Section):
    """Where models are asked: a server that speaks chat completions."""

    url: Url  # with its /v1
    key_env: str | None = None  # the environment variable that holds the key, never the key itself
    concurrency: Positive = 16  # calls in flight
    deadline_seconds: Annotated[float, Field(gt=0)] = 120.0  # of one attempt
    attempts: Positive = 8  # of one call
    give_up_seconds: Annotated[float, Field(gt=0)] = 600.0  # without any answer, after which the run stops
    price_prompt: Annotated[float, Field(ge=0)] = 0.0  # per million tokens, in the currency of synthesize.max_cost
    price_completion: Annotated[float, Field(ge=0)] = 0.0


class Launch(Section):
    """Where work is done. Not part of any fingerprint: the same work on another machine is the same work."""

    device: Literal["cpu", "cuda"]
    processes: Positive  # ranks on this machine
    threads: Positive  # per rank, CPU only
    hostfile: str | None = None  # DeepSpeed hostfile for several nodes
    deepspeed: str  # JSON file under infra/deepspeed/
    deadline_minutes: Positive
    vllm_python: str = ".venv-vllm/bin/python"  # where grpo.sampler is vllm: whose Python serves it
    vllm_url: Url | None = None  # a server that runs already, in place of one of our own per process
    vllm_memory: Share = 0.4  # of each GPU, for our own servers
    vllm_context: Positive = 4096  # tokens of a prompt and its completion
    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    answers: str = ".wethink/answers.sqlite"  # what was paid for; several projects may share one
    fill_shards: Positive = 8  # parts in which a flow buys answers; one that fails is tried again alone
    fill_parallel: Positive = 2  # of them at a time; each has its share of an endpoint's concurrency
