"""Two workers on two hosts of this machine's own: `make workers-check` → reports/workers.json.

Synthesis by both hosts into one response store; the main job of the smoke profile started on both at once, one host
killed in the middle of a stage; its outputs beside those of one host alone; a retrain whose host is killed.
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from PIL import Image
from ruamel.yaml import YAML

from tests.hosts.namespaces import missing
from tests.support.chat_server import chat_server, stats
from tests.workers import retrain
from tests.workers.retrain import retrain_on_both
from tests.workers.site import HOSTS, HUB, PATIENCE, ROOT, Site, await_, clone, deploy, git, install, python, site
from wethink.clients.response_store import ResponseStore
from wethink.config.params import load_yaml
from wethink.dag.main_stages import STAGES

IMAGES = 40
STEPS = 200  # of `base`, so that there is a middle in which a host can be killed
VICTIM = "base"  # the stage


class Cases:
    """The check's findings, each with its seconds."""

    def __init__(self) -> None:
        self.found: list[dict[str, Any]] = []
        self._begin = time.monotonic()

    def tell(self, name: str, passed: bool, note: object = "") -> None:
        """Keep and print a finding, with the seconds since the one before."""
        seconds, self._begin = round(time.monotonic() - self._begin, 1), time.monotonic()
        self.found.append({"name": name, "passed": bool(passed), "seconds": seconds, "note": str(note)})
        print(f"{'held  ' if passed else 'FAILED'} {seconds:6.1f} s  {name}{f': {note}' if note else ''}", flush=True)


def main() -> int:
    if lacks := missing((), ""):
        print(f"workers-check is skipped: {lacks}.")
        return 0
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that hosts and servers are removed then, too
    home, cases, begin = Path(tempfile.mkdtemp(prefix="wethink-workers-")), Cases(), time.monotonic()
    try:
        with site(home) as here, chat_server(home, host=HUB, latency=0.1) as models, logs_of_a_failure(home):
            synthesis = project(home / "origin/synthesis", here, models)
            pipeline = project(home / "origin/pipeline", here)
            for origin in (synthesis, pipeline):
                install(here, origin.name, origin)
            deploy(here, pipeline)
            cases.tell("two hosts with a worker each are up", True)
            synthesis_on_both(here, models, cases)
            pipeline_on_both(here, pipeline, cases)
            for name, held, note in retrain_on_both(here):
                cases.tell(name, held, note)
    except KeyboardInterrupt:
        print("\nworkers-check: stopped; nothing of it is left.", file=sys.stderr)
        return 130
    finally:
        shutil.rmtree(home, ignore_errors=True)
        (ROOT / "reports").mkdir(exist_ok=True)
        (ROOT / "reports/workers.json").write_text(json.dumps({"cases": cases.found}, indent=2) + "\n")
    used, failed = os.times(), [case["name"] for case in cases.found if not case["passed"]]
    print(
        f"{'failed: ' + '; '.join(failed) if failed else 'all held'} in {time.monotonic() - begin:.0f} s "
        f"({used.children_user + used.children_system:.0f} processor seconds without the hosts): reports/workers.json"
    )
    return 1 if failed else 0


@contextmanager
def logs_of_a_failure(home: Path) -> Iterator[None]:
    """Print the ends of the workers' and Prefect's logs if the block fails."""
    try:
        yield
    except Exception:
        for log in sorted(home.glob("*.log")):
            print(f"--- {log.name}\n{log.read_text(errors='replace')[-3000:]}", file=sys.stderr)
        raise


def project(folder: Path, here: Site, models: str | None = None) -> Path:
    """Make a git repository of the smoke profile; with `models`, synthesis of photos asks them."""
    clone(ROOT, folder)
    python(here, folder, "wethink", "profile", "smoke")
    params = load_yaml(folder / "params.yaml")
    params["base"]["optim"] |= {"max_steps": STEPS, "save_steps": 50}
    params["retrain"]["steps"] = retrain.STEPS
    params["launch"]["deadline_minutes"] = 60  # of a busy machine
    if models is not None:
        (folder / "photos").mkdir()
        for number in range(IMAGES):
            noise = random.Random(number).randbytes(12 * 12 * 3)
            Image.frombytes("RGB", (12, 12), noise).resize((56, 56)).save(folder / f"photos/{number:04d}.png")
        params["ingest"]["sources"] = [{"name": "mine", "kind": "folder", "path": "photos"}]
        params["synthesize"] |= {"annotator": "endpoints"}
        served = {"url": f"{models}/v1", "concurrency": 4}
        params["launch"] |= {"endpoints": dict.fromkeys(("vision", "reasoner", "adjudicator"), served)}
        params["launch"] |= {"answers": here.answers, "fill_shards": 3, "fill_parallel": 2}
    YAML().dump(json.loads(json.dumps(params)), folder / "params.yaml")
    python(here, folder, "tasks.versioning.dvcfile")
    python(here, folder, "dvc", "remote", "add", "--force", "--default", "store", f"s3://{folder.name}")
    git(folder, "add", ".")
    git(folder, "commit", "--quiet", "--message", "the check's project")
    return folder


def synthesis_on_both(here: Site, models: str, cases: Cases) -> None:
    """Run the synthesis on both hosts at the same moment: each question is asked once, by one of them."""
    runs = [here.start("synthesis") for _ in HOSTS]
    states = here.ended(*runs)
    messages = [here.state(run)[1] for run in runs]
    cases.tell("synthesis on both hosts at once ends", states == ["COMPLETED"] * 2, messages)
    seen = stats(models)
    by_host = [seen["clients"].get(f"{HUB[:-1]}1{number}", 0) for number in (1, 2)]
    once = seen["answered"] == seen["distinct"] > 0
    cases.tell("... no question is bought twice", once, f"{seen['answered']} bought, {seen['distinct']} distinct")
    cases.tell("... and both hosts have bought", all(by_host), f"{by_host[0]} by h1, {by_host[1]} by h2")
    os.environ["WETHINK_ANSWERS_PASSWORD"] = here.environment["WETHINK_ANSWERS_PASSWORD"]
    with ResponseStore(here.answers) as store:
        bill = {line["outcome"]: 0 for line in store.ledger()}
        for line in store.ledger():
            bill[line["outcome"]] += line["calls"]
        agrees = bill == {"answered": seen["answered"]} and not store.duplicate_charges()
    cases.tell("... the ledger has each call once", agrees, bill)
    locks = [outputs(here.folder(host, "synthesis")) for host in HOSTS]
    cases.tell("... both have the same rows", "synthesize" in locks[0] and locks[0] == locks[1])


def pipeline_on_both(here: Site, origin: Path, cases: Cases) -> None:
    """Start the main job on both hosts at once, kill one in the middle of a stage, and let the other end it."""
    runs = [here.start("pipeline", save_as="one") for _ in HOSTS]
    victim = await_(lambda: next((h for h in HOSTS if steps(here, h)), None), PATIENCE, f"{VICTIM} to train")
    other = next(host for host in HOSTS if host != victim)
    before = list(STAGES)[: list(STAGES).index(VICTIM)]
    await_(lambda: before[-1] in outputs(here.folder(other, "pipeline")), PATIENCE, f"{other} to fetch {before[-1]}")
    done, also = ran(here, victim), ran(here, other)
    once = sorted([*done, *also], key=list(STAGES).index) == before
    note = f"{', '.join(done)} on {victim}; {', '.join(also) or 'none'} on {other}"
    cases.tell("of two hosts that start a stage at once one runs it", once, note)
    same = {name: outputs(here.folder(victim, "pipeline")).get(name) for name in before}
    fetched = outputs(here.folder(other, "pipeline"))
    cases.tell("... the other waits and fetches it", fetched == same and not steps(here, other), ", ".join(fetched))

    at, trained = time.monotonic(), steps(here, victim)
    here.kill(victim)
    in_the_middle = 0 < trained < STEPS and ran(here, victim) == done
    alone = here.home / "alone"
    clone(origin, alone)
    await_(lambda: steps(here, other), PATIENCE, f"{other} to begin {VICTIM}")
    note = f"after step {trained} of {STEPS}; {time.monotonic() - at:.0f} s later"
    cases.tell(f"{victim} is killed in the middle of {VICTIM}, and {other} runs it", in_the_middle, note)
    await_(lambda: "COMPLETED" in [here.state(run)[0] for run in runs], PATIENCE, "the job to end")
    cases.tell("... and the stages after it", set(done) | set(ran(here, other)) == set(STAGES))
    states = here.ended(*runs)
    cases.tell("... the run of the dead host goes on there, and ends", states == ["COMPLETED"] * 2, states)
    also = ran(here, other)
    note = f"{len(done)} on {victim}, {len(also)} on {other}, {len(set(done) & set(also))} on both"
    cases.tell("no stage that had ended has run again", not set(done) & set(also), note)

    python(here, alone, "dvc", "repro")
    one_host = outputs(alone)
    cases.tell("one host alone runs the job", ran_in(alone) == list(STAGES))
    differ = [name for name, digest in outputs(here.folder(other, "pipeline")).items() if one_host[name] != digest]
    cases.tell("... with the same bytes in every output", not differ and len(one_host) == len(STAGES), differ or "")


def ran(here: Site, host: str) -> list[str]:
    return ran_in(here.folder(host, "pipeline"))


def ran_in(folder: Path) -> list[str]:
    """List the stages that a clone has run to the end, in the DAG's order."""
    return [name for name in STAGES if (folder / f".wethink/runs/{name}.run.json").exists()]


def steps(here: Site, host: str) -> int:
    """Return how many steps of the victim a host has trained."""
    logs = here.folder(host, "pipeline").glob(f".wethink/scratch/{VICTIM}/*/metrics.jsonl")
    return max((log.read_text().count("\n") for log in logs), default=0)


def outputs(folder: Path) -> dict[str, str]:
    """Return DVC's hash of each stage's output, by dvc.lock."""
    lock = folder / "dvc.lock"
    stages = load_yaml(lock)["stages"] if lock.exists() else {}
    return {name: stages[name]["outs"][0]["md5"] for name in STAGES if name in stages}


if __name__ == "__main__":
    sys.exit(main())
