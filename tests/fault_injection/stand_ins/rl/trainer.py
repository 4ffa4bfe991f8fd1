"""Stands in for the trainer in the projects of the fault suite: a step a second, each one remembered, no model."""

import csv
import json
import time
from pathlib import Path
from typing import Any

from wethink.common.jsonl import file_sha256, read_json, write_json
from wethink.common.stage_run import StageRun
from wethink.config.grpo import Grpo
from wethink.config.launch import Launch
from wethink.rewards.hybrid import Scorer


def grpo(
    *, images: Path, rows: Path, base: Path, sft: Path, scorer: Scorer, launch: Launch, run: StageRun[Grpo]
) -> dict[str, Any]:
    """Count on from what the start had learned; killed, go on after the last step that was remembered."""
    config, out, scratch = run.config, run.out, run.scratch
    state, log, steps = scratch / "state.json", scratch / "metrics.jsonl", config.optim.max_steps
    done = read_json(state)["step"] if state.is_file() else 0
    lines = log.read_text(encoding="utf-8").splitlines()[:done] if log.is_file() else []
    log.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    for step in range(done + 1, steps + 1):
        time.sleep(1)
        with log.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps({"step": step, "reward": step / steps}) + "\n")
        write_json(state, {"step": step})
    learned = read_json(sft / "learned.json")["steps"] if (sft / "learned.json").is_file() else 0
    write_json(out / "learned.json", {"steps": learned + steps, "from": file_sha256(rows / "rows.jsonl")})
    with (out / "curves.csv").open("w", newline="", encoding="utf-8") as handle:
        csv.writer(handle).writerows([("step", "reward"), *((step, step / steps) for step in range(1, steps + 1))])
    write_json(out / "metrics.json", {"steps": steps})
    return {"steps": steps}
