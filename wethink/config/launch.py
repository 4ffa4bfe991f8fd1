"""`launch` section of `params.yaml`: device, ranks, vLLM server and LLM endpoints."""

import re
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote

from pydantic import AfterValidator, Field

from wethink.config.base import Positive, Section, Share


def _plain(url: str) -> str:
    if not re.fullmatch(r"https?://[^/\s@?#]+(/[^\s@?#]*)?", url):
        raise ValueError("must be http:// or https://, a host and a path, with no key, user or query in it")
    return url


def is_url(store: str) -> bool:
    """Return whether a response store is a database, and no file."""
    return "://" in store


def plain_store(store: str) -> str:
    """Return the file or URL of a response store.

    Raises:
        ValueError: it is another URL than PostgreSQL's, or has a password in it.
    """
    if not is_url(store):
        return store
    scheme, _, rest = store.partition("://")
    address, _, query = rest.partition("?")
    user, _, host = address.rpartition("@")
    if scheme != "postgresql" or not re.fullmatch(r"[^/\s@]+/[^/\s#]+", host):
        raise ValueError("must be a file, or postgresql://USER@HOST/DATABASE")
    if ":" in user or "pass" in unquote(query).lower():
        raise ValueError(
            "must have no password in it: set WETHINK_ANSWERS_PASSWORD or PGPASSWORD, or write it to ~/.pgpass"
        )
    return store


def absolute_store(store: str) -> str:
    """Return a response store's URL, or its file's absolute path."""
    return store if is_url(store) else str(Path(store).absolute())


Url = Annotated[str, AfterValidator(_plain)]
SECRET = ("endpoints", "vllm_url", "answers")  # values at these keys may hold a secret by mistake: never shown


def _once(names: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(names)) < len(names):
        raise ValueError("names a tracker twice")
    return names


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
    report_to: Annotated[tuple[Literal["mlflow", "wandb", "tensorboard"], ...], AfterValidator(_once)] = ("mlflow",)
    vllm_python: str = ".venv-vllm/bin/python"  # Python interpreter of the vLLM server, for grpo.sampler: vllm
    vllm_url: Url | None = None  # a running vLLM server, instead of one started per process
    vllm_memory: Share = 0.4  # share of each GPU's memory for the servers that a run starts
    vllm_context: Positive = 4096  # tokens of a prompt and its completion
    endpoints: dict[str, Endpoint] = Field(default_factory=dict)
    answers: Annotated[str, AfterValidator(plain_store)] = (
        ".wethink/answers.sqlite"  # paid responses: a file, or postgresql://
    )
    fill_shards: Positive = 8  # shards in which a flow sends requests; a failed shard is retried alone
    fill_parallel: Positive = 2  # shards at a time; each has its share of an endpoint's concurrency
