"""A retrain whose host is killed in the middle of a step, and which goes on on another host."""

import time
from pathlib import Path

from tasks.sources import s3
from tests.fault_injection.project import source
from tests.workers.site import BUCKET, PATIENCE, SPARE, Site, await_, work
from wethink.common.jsonl import read_json
from wethink.dag.retraining_stages import RETRAIN

SOURCE, VICTIM = "birds", "challenger"
STEPS = 8  # of GRPO


def retrain_on_both(here: Site) -> list[tuple[str, bool, str]]:
    """Run it; return findings: name, whether it held, note."""
    (first,) = here.pids.keys() - {SPARE}
    _promote(here, first)
    _drop(here.home / "upload")
    work(here, SPARE)
    run = here.start("retrain", source=SOURCE, bucket=BUCKET)
    victim = await_(
        lambda: next((host for host in here.pids if trained(here, host) > 0), None), PATIENCE, "a challenger"
    )
    other = next(host for host in here.pids if host != victim)
    done = ran(here, victim)
    at = time.monotonic()
    here.kill(victim)
    await_(lambda: trained(here, other), PATIENCE, f"{other} to go on")
    later = f"{', '.join(done)} had run on {victim}; {other} goes on {time.monotonic() - at:.0f} s later"
    (state,) = here.ended(run)
    also = ran(here, other)
    return [
        (f"{victim} is killed in the middle of a retrain's {VICTIM}: {other} goes on", bool(done), later),
        ("... and ends it", state == "COMPLETED", here.state(run)[1]),
        ("... and no step that had ended runs again", not set(done) & set(also), f"{', '.join(also)} on {other}"),
        ("... and each step has run", [step for step in RETRAIN if step in {*done, *also}] == list(RETRAIN), ""),
    ]


def _promote(here: Site, host: str) -> None:
    """Make the main job's result the first champion."""
    log = here.home / "promote.log"
    ended = here.spawn(host, "pipeline", log, "flows.promote", "first").wait(600)
    assert ended == 0, log.read_text()[-2000:]


def _drop(folder: Path) -> None:
    """Upload a source; its marker comes last."""
    store, made = s3.client("s3"), source(folder, SOURCE)
    files = sorted(path for path in made.rglob("*") if path.is_file() and path.name != "_SUCCESS")
    for path in [*files, made / "_SUCCESS"]:
        store.upload_file(str(path), BUCKET, f"{SOURCE}/{path.relative_to(made).as_posix()}")


def _worktrees(here: Site, host: str) -> list[Path]:
    return sorted((here.folder(host, "pipeline") / ".wethink/retrain").glob(f"{SOURCE}-*"))


def trained(here: Site, host: str) -> int:
    """Return how many steps of the challenger a host has trained."""
    logs = [log for w in _worktrees(here, host) for log in w.glob(f".wethink/scratch/{VICTIM}/*/metrics.jsonl")]
    return max((log.read_text().count("\n") for log in logs), default=0)


def ran(here: Site, host: str) -> list[str]:
    """List the steps that a host has run itself, to the end."""
    found = []
    for work_tree in _worktrees(here, host):
        for step in RETRAIN:
            record = work_tree / f".wethink/runs/{step}.run.json"
            log = here.folder(host, "pipeline") / f".wethink/logs/retrain-{work_tree.name}-{step}.log"
            fetched = log.exists() and "another machine has run it" in log.read_text()
            if record.exists() and "metrics" in read_json(record) and not fetched:
                found.append(step)
    return found
