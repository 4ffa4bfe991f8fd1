"""Synthesis benchmark: client overhead against the bare `openai` client, memory growth, no-op time.

    python -m benchmarks.speed.synthesis [client] [memory] [done] [--images 100000]

* client: 1,000 calls at a latency of 1 s and a concurrency of 50 with wethink's client (store, ledger, circuit breaker)
  and the bare client, against the same server: share of the ideal throughput C / L, and CPU seconds of the client.
* memory: the whole stage without network (scripted responses, a real store) over 1,000 and 100,000 stub images: growth
  of its peak resident memory.
* done: an unchanged stage with 100,000 images: seconds until the library and DVC report that it is up to date.

Rows {name, setting, ours, theirs, ratio, unit} are merged into reports/bench.json; other benchmarks' rows stay.
"""

import argparse
import asyncio
import hashlib
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from PIL import Image

from benchmarks.crash_safety.synthesis import environment, project
from tests.support.chat_script import reply_to
from tests.support.chat_server import chat_server
from wethink.common.jsonl import read_json, write_json
from wethink.config.params import load_yaml

CALLS, LATENCY, CONCURRENCY = 1000, 1.0, 50
REPORT = Path("reports/bench.json")
T = TypeVar("T")


def requests(count: int) -> list[Any]:
    from wethink.clients.request import Picture, Request
    from wethink.synthesis.prompts import load
    from wethink.synthesis.reply_schemas import Answered, schema

    buffer = io.BytesIO()
    Image.effect_noise((448, 448), 60).convert("RGB").save(buffer, "JPEG")
    picture = Picture("sha", lambda: (buffer.getvalue(), "image/jpeg"), 448 * 448)
    system, _ = load("look").render(problem="", form="")
    form = {"picture": picture, "schema_name": "Answered", "schema": schema(Answered)}
    sampling = {"temperature": 0.0, "max_tokens": 64}
    who = {"role": "look", "endpoint": "here", "model": "m", "revision": None, "system": system}
    return [Request(**who, user=f'Question: "how many are in {i} ?"', **form, **sampling) for i in range(count)]


def ours(url: str, home: Path) -> tuple[float, float]:
    """Measure seconds and CPU seconds of wethink's client."""
    from wethink.clients.chat import Chat
    from wethink.clients.response_store import ResponseStore
    from wethink.config.launch import Endpoint

    where = Endpoint.model_validate({"url": f"{url}/v1", "concurrency": CONCURRENCY, "deadline_seconds": 60.0})

    async def run() -> tuple[float, float]:
        with ResponseStore(home / "bench.sqlite") as store:
            async with Chat({"here": where}, store) as chat:
                await chat.ask(requests(CALLS + 1)[-1])  # the first call imports and connects
                wall, cpu = time.monotonic(), time.process_time()
                await asyncio.gather(*map(chat.ask, requests(CALLS)))
                return time.monotonic() - wall, time.process_time() - cpu

    return asyncio.run(run())


def bare(url: str, home: Path) -> tuple[float, float]:
    """Measure seconds and CPU seconds of the bare `openai` client.

    It uses a semaphore, requests JSON in the client's own way and parses it.
    """
    from openai import AsyncOpenAI

    async def run() -> tuple[float, float]:
        slots = asyncio.Semaphore(CONCURRENCY)
        async with AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60.0) as client:

            async def ask(request: Any) -> None:
                async with slots:
                    body = request.body()
                    body |= body.pop("extra_body")
                    reply = await client.chat.completions.create(**body)
                    json.loads(reply.choices[0].message.content)

            await ask(requests(CALLS + 1)[-1])
            wall, cpu = time.monotonic(), time.process_time()
            await asyncio.gather(*map(ask, requests(CALLS)))
            return time.monotonic() - wall, time.process_time() - cpu

    return asyncio.run(run())


def apart(name: str, *arguments: str) -> Any:
    """Run a function of this module in its own process; return its result."""
    call = f"import json, sys; from benchmarks.speed import synthesis as b; print(json.dumps(b.{name}(*sys.argv[1:])))"
    done = subprocess.run([sys.executable, "-c", call, *arguments], capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout.splitlines()[-1])


def client(home: Path, images: int) -> list[dict[str, Any]]:
    setting = f"{CALLS} calls, latency {LATENCY:g} s, concurrency {CONCURRENCY}"
    with chat_server(home, latency=LATENCY) as url:
        (bare_wall, bare_cpu), (wall, cpu) = apart("bare_", url, str(home)), apart("ours_", url, str(home))
    ideal = CALLS / CONCURRENCY * LATENCY
    return [
        row(
            "client: share of the ideal C/L",
            setting,
            ideal / wall,
            ideal / bare_wall,
            "share",
            wall and bare_wall / wall,
        ),
        row("client: CPU", setting, cpu, bare_cpu, "s", bare_cpu / cpu),
    ]


def bare_(url: str, home: str) -> tuple[float, float]:
    return bare(url, Path(home))


def ours_(url: str, home: str) -> tuple[float, float]:
    return ours(url, Path(home))


def stubs(folder: Path, count: int) -> Path:
    """Write `count` tiny images in shards, as `ingest` does."""
    from wethink.dag.publishing import write_manifest
    from wethink.data.image_shards import Shards
    from wethink.data.image_store import ImageRecord

    folder.mkdir(parents=True)
    shards = Shards(folder, 5000)
    for number in range(count):
        data = b"\x89PNG stub %d" % number
        image = hashlib.sha256(data).hexdigest()
        shards.add(ImageRecord(image, "mine", "train", image, 56, 56, f"{number:06d}.png"), data)
    shards.close()
    write_json(folder / "metrics.json", {"images": count})
    write_manifest(folder)
    return folder


def stage_(folder: str) -> dict[str, float]:
    """Run the whole stage without network; return seconds, CPU seconds and peak MiB."""
    os.chdir(folder)
    from wethink.clients.chat import Chat
    from wethink.clients.response_store import Answer
    from wethink.config.params import load_params
    from wethink.dag.runner import run_stage

    async def send(self: Chat, client: object, request: Any, *_: object) -> Any:
        await asyncio.sleep(0)
        return Answer(json.dumps(reply_to(request.body() | request.body()["extra_body"])), "stop"), 100, 20

    Chat._send = send  # type: ignore[method-assign]
    wall, cpu = time.monotonic(), time.process_time()
    found = run_stage("synthesize", load_params())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    took = {"seconds": time.monotonic() - wall, "cpu_seconds": time.process_time() - cpu, "peak_mb": peak}
    return took | {"candidates": found["candidates"], "kept": found["kept"]}


def done_(folder: str) -> float:
    """Measure the seconds until the library reports an unchanged stage."""
    os.chdir(folder)
    from wethink.config.params import load_params
    from wethink.dag.runner import run_stage

    begin = time.monotonic()
    run_stage("synthesize", load_params(), once=True)
    return time.monotonic() - begin


def prepared(home: Path, images: int) -> Path:
    """Create a project with stub images in data/images."""
    home.mkdir(exist_ok=True)
    folder = project(home / f"stubs-{images}", 1, "http://127.0.0.1:9")
    subprocess.run(["rm", "-rf", str(folder / "data/images")], check=True)
    stubs(folder / "data/images", images)
    return folder


def memory(home: Path, images: int) -> list[dict[str, Any]]:
    few, many = (apart("stage_", str(prepared(home, count))) for count in (1000, images))
    print(json.dumps({"1000": few, str(images): many}), flush=True)
    setting = f"{images} stub images, every step, no wire"
    return [
        row(
            "synthesize: growth of peak memory from 1,000 images", setting, many["peak_mb"] - few["peak_mb"], 100, "MiB"
        ),
        row("synthesize: CPU per 1,000 images", setting, many["cpu_seconds"] / images * 1000, None, "s"),
    ]


def done(home: Path, images: int) -> list[dict[str, Any]]:
    """Measure an unchanged stage by the library and by DVC.

    The stage has one imported row per image: the check does not depend on the annotator.
    """
    from ruamel.yaml import YAML

    folder, setting = prepared(home / "done", images), f"{images} images, nothing has changed"
    answer = {"answer": "3", "category": "FIB", "abilities": ["reasoning", "counting"], "reward": "rule"}
    with (folder / "mine.jsonl").open("w", encoding="utf-8") as lines:
        for number in range(images):
            asked = {"problem": f"how many are in {number} ?", "refined_cot": "one, two, three " * 40}
            lines.write(json.dumps(answer | asked | {"image_path": f"{number:06d}.png"}) + "\n")
    params = load_yaml(folder / "params.yaml")
    params["synthesize"] |= {"annotator": "rows", "rows": "mine.jsonl"}
    YAML().dump(json.loads(json.dumps(params)), folder / "params.yaml")
    door = [sys.executable, "-m", "dvc", "repro", "--single-item", "synthesize"]
    for command in ([sys.executable, "-m", "tasks.versioning.dvcfile"], door):
        subprocess.run(command, cwd=folder, env=environment(folder), check=True, capture_output=True)
    again = {"cwd": folder, "env": environment(folder), "check": True, "capture_output": True}
    said, dvc_cpu, dvc = timed(lambda: subprocess.run(door, **again))
    if b"didn't change" not in said.stdout:
        sys.exit(said.stdout.decode())
    library, library_cpu, _ = timed(lambda: apart("done_", str(folder)))
    return [
        row("done: library door", setting, library, 5, "s"),
        row("done: DVC door", setting, dvc, 15, "s"),
        row("done: library door, CPU with the imports of Python", setting, library_cpu, 5, "s"),
        row("done: DVC door, CPU with the imports of Python", setting, dvc_cpu, 15, "s"),
    ]


def timed(work: Callable[[], T]) -> tuple[T, float, float]:
    """Call `work`; return its result, its children's CPU seconds, and wall seconds."""

    def spent() -> float:
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    cpu, wall = spent(), time.monotonic()
    result = work()
    return result, spent() - cpu, time.monotonic() - wall


def row(
    name: str, setting: str, mine: float, theirs: float | None, unit: str, ratio: float | None = None
) -> dict[str, Any]:
    """Build a row of the report; a ratio above 1 favours wethink.

    `theirs` is the bare client's figure or the required limit.
    """
    ratio = ratio if ratio is not None else theirs / mine if theirs and mine > 0 else None
    rounded = {"ours": round(mine, 3), "theirs": theirs and round(theirs, 3), "ratio": ratio and round(ratio, 3)}
    return {"name": name, "setting": setting, "unit": unit} | rounded


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.synthesis", description=__doc__)
    parser.add_argument("parts", nargs="*", default=[])
    parser.add_argument("--images", type=int, default=100_000)
    options = parser.parse_args()
    parts = {"client": client, "memory": memory, "done": done}
    home = Path(tempfile.mkdtemp(prefix="wethink-bench-"))
    for name in options.parts or parts:
        rows = parts[name](home, options.images)
        old = read_json(REPORT)["rows"] if REPORT.is_file() else []
        names = {found["name"] for found in rows}
        write_json(REPORT, {"rows": [found for found in old if found["name"] not in names] + rows})
        for found in rows:
            print(json.dumps(found), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
