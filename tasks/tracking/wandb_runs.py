"""Weights & Biases runs from metrics files: a run per stage, online or offline (`WANDB_MODE=offline`).

An offline run is a folder below `.wethink/wandb/`; `wandb sync` sends the folders of one run, of which each start of
the stage wrote one, in their order. The key is read from the environment variable WANDB_API_KEY alone.
"""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.tracking.stage_log import recall, remember
from tasks.versioning import dvc_status
from wethink.common.errors import UserError
from wethink.common.keys import read_key
from wethink.common.paths import WORK
from wethink.config.params import load_params
from wethink.dag.main_stages import STAGES
from wethink.dag.runner import settings

START_SECONDS, END_SECONDS = 30.0, 60.0  # a server that does not answer must not hold up training
FLUSH_SECONDS = 1.0  # of steps that W&B loses if the flow itself is killed (kill -9); its default is 15
WITHOUT_KEY = ("offline", "dryrun", "disabled")  # values of WANDB_MODE that send nothing


@dataclass
class WandbRun:
    """A stage's open W&B run and its last logged step."""

    id: str
    run: Any
    step: int

    def log(self, records: list[dict[str, Any]]) -> None:
        """Log the steps after the last logged one."""
        new = [record for record in records if int(record["step"]) > self.step]
        try:
            for record in new:
                values = {name: float(value) for name, value in record.items() if name != "step" and value is not None}
                self.run.log(values, step=int(record["step"]), commit=True)
                self.step = int(record["step"])
        finally:
            if new:
                remember("wandb", self.id, {"step": self.step})

    def finish(self, figures: dict[str, float]) -> None:
        """Put the results into the run's summary."""
        self.run.summary.update(figures)

    def close(self) -> None:
        """Hand everything over, and end the run until it is opened again."""
        self.run.finish()


def open_run(stage: str, key: str, experiment: str) -> WandbRun:
    """Continue the stage's run with this fingerprint, or create it."""
    import wandb

    params, run_id = load_params(), f"{stage}-{key}"
    runs_folder().mkdir(parents=True, exist_ok=True)
    # W&B names a run's folder by the second and would write over that of a start in the same one.
    while list(runs_folder().glob(f"wandb/*run-{time.strftime('%Y%m%d_%H%M%S')}-{run_id}")):
        time.sleep(0.1)
    run = wandb.init(
        project=os.environ.get("WANDB_PROJECT", experiment),
        id=run_id,
        name=stage,
        group=f"{params.profile}, seed {params.seed}",
        dir=str(runs_folder().resolve()),  # W&B's own process has the folder in which it was started
        config=settings(STAGES[stage], params) | {"git_commit": dvc_status.git("rev-parse", "HEAD") or "none"},
        resume="allow",
        settings=wandb.Settings(
            console="off",  # the stage's output is in its log; a run holds figures only
            silent=True,
            disable_git=True,  # it would send the remote's address and uncommitted changes
            save_code=False,
            init_timeout=START_SECONDS,
            finish_timeout=END_SECONDS,
            x_transaction_log_flush_interval=FLUSH_SECONDS,
        ),
    )
    return WandbRun(run_id, run, recall("wandb", run_id).get("step", 0))


def runs_folder() -> Path:
    """Return the folder in which W&B makes its own one, `wandb/`."""
    return Path(os.environ.get("WANDB_DIR", WORK))


def require_key() -> None:
    """Check that W&B has its key, unless it is offline.

    Raises:
        UserError: it has none.
    """
    if os.environ.get("WANDB_MODE", "online") not in WITHOUT_KEY and not read_key("WANDB_API_KEY"):
        raise UserError(
            "launch.report_to names wandb, but the environment variable WANDB_API_KEY is not set: set it, or set "
            "WANDB_MODE=offline, which keeps the runs in .wethink/wandb/ for `wandb sync`."
        )
