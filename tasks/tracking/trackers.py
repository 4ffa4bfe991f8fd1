"""Trackers that `launch.report_to` names: MLflow, W&B and TensorBoard, each beside the others."""

import contextlib
import importlib.util
from collections.abc import Callable, Iterator

from tasks.tracking import curves, mlflow_runs, tensorboard_events, wandb_runs
from wethink.common.errors import UserError
from wethink.config.launch import Launch
from wethink.config.params import load_params

CURVES = {
    "tensorboard": curves.Tracker("tensorboard", "TensorBoard", tensorboard_events.open_events),
    "wandb": curves.Tracker("wandb", "W&B", wandb_runs.open_run),
}
LIBRARIES = {"tensorboard": "tensorboard>=2.21,<3", "wandb": "wandb>=0.31,<0.32"}  # as in pyproject.toml


def require(launch: Launch) -> None:
    """Check that every named tracker can be used, before a stage runs.

    Raises:
        UserError: a library or a key is missing; the message has the remedy.
    """
    for name in launch.report_to:
        if name in LIBRARIES and importlib.util.find_spec(name) is None:
            raise UserError(
                f"launch.report_to names {name}, which is not installed: pip install '{LIBRARIES[name]}', or take it "
                "out of launch.report_to."
            )
    if "wandb" in launch.report_to:
        wandb_runs.require_key()


@contextlib.contextmanager
def follow(stage: str, experiment: str) -> Iterator[Callable[[], None]]:
    """Yield a function that logs a running stage's new metrics to every tracker; call it repeatedly."""
    with contextlib.ExitStack() as stack:
        watches = [
            stack.enter_context(
                mlflow_runs.follow(stage, experiment)
                if name == "mlflow"
                else curves.follow(CURVES[name], stage, experiment)
            )
            for name in load_params().launch.report_to
        ]

        def watch() -> None:
            for each in watches:
                each()

        yield watch


def catch_up(stage: str, experiment: str) -> None:
    """Log the rest of a stage's last finished run to every tracker."""
    for name in load_params().launch.report_to:
        if name == "mlflow":
            mlflow_runs.catch_up(stage, experiment)
        else:
            curves.catch_up(CURVES[name], stage, experiment)
