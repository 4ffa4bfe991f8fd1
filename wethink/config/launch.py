"""`launch` section of `params.yaml`: device, ranks, vLLM server and LLM endpoints."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from wethink.config.base import Positive, Section, Share


def _plain(url: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("must be http:// or https://, a host and a path, with no key, user or query in it")
    return url


Url = Annotated[str, AfterValidator(_plain)]
SECRET = ("endpoints", "vllm_url")  # values at these keys may hold an API key by mistake and are never shown


class Endpoint(Section):
    """LLM endpoint: a server with an OpenAI-compatible chat completions API."""

    url: Url  # with its /v1
    key_env: str | None = None  # the environment variable that holds the key, never the key itself
    concurrency: Positive = 16  # concurrent calls
    deadline_seconds: Annotated[float, Field(gt=0)] = 120.0  # of one attempt
    attempts: Positive = 8  # of one call
    give_up_seconds: Annotated[float, Field(gt=0)] = 600.0  # without any response before the run stops
    price_prompt: Annotated[float, Field(ge=0)] = 0.0  # per million tokens, in the currency of synthesize.max_cost
    price_completion: Annotated[float, Field(ge=0)] = 0.0


class Launch(Section):
    """Machine settings; not part of any fingerprint: a change of machine does not rerun a stage."""

    device: Literal["cpu", "cuda"]
    processes: Positive  # ranks on this machine, or on each node of a Slurm job, without a hostfile
    threads: Positive  # per rank, CPU only
    hostfile: str | None = None  # DeepSpeed hostfile: several hosts, with `slots` ranks each
    deepspeed: str  # JSON file under infra/deepspeed/
    deadline_minutes: Positive
    vllm_python: str = ".venv-vllm/bin/python"  # Python interpreter of the vLLM server, for grpo.sampler: vllm
    vllm_url: Url | None = None  # a running vLLM server, instead of one started per process
    vllm_memory: Share = 0.4  # share of each GPU's memory for the servers that a run starts
    vllm_context: Positive = 4096  # tokens of a prompt and its completion
    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    answers: str = ".wethink/answers.sqlite"  # cache of paid responses; several projects may share one
    fill_shards: Positive = 8  # shards in which a flow sends requests; a failed shard is retried alone
    fill_parallel: Positive = 2  # shards at a time; each has its share of an endpoint's concurrency
