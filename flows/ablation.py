"""Arms of the ablations as a Prefect flow: what `make ablations` does, started from the UI.

One task per seed runs `python -m flows.ablations` in a child process; it is resumable arm by arm, so a run that was
cancelled goes on where it was.
"""

from enum import Enum
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.ablations import Budget
from tasks import commands
from wethink.arms import ARMS
from wethink.config.params import load_params
from wethink.errors import UserError

Arm = Enum("Arm", {name: name for name in ARMS}, type=str)  # type: ignore[misc]  # so that the UI offers a list
Seeds = Annotated[list[int], Field(min_length=1, max_length=10)]


@flow(name="ablation", persist_result=False)
def ablation(arms: list[Arm], seeds: Seeds = [0, 1, 2], budget: Budget = "full") -> State[Any]:  # noqa: B006
    """Train and measure arms of the ablations, each beside its equal-compute controls.

    Args:
        arms: which ones (wethink/arms.py says what each changes); arms that they start from are trained as well.
        seeds: a git worktree with a main job of its own for each.
        budget: full; short: a third of the training and half the questions; smoke: mechanics, no claims.
    """
    try:
        names = [arm.value for arm in arms]
        minutes = load_params().launch.deadline_minutes
        for done, seed in enumerate(seeds):  # what is done is left alone, and the report is over all seeds so far
            told = map(str, seeds[: done + 1])
            chosen = ["--seeds", *told, "--only", *names, "--budget", budget]
            commands.run(f"ablations of seed {seed}", "flows.ablations", chosen, 10 * minutes * (3 + len(names)))
        page = "reports/ablations.html"
        create_markdown_artifact(f"{', '.join(names)}: `{page}` on the worker's machine", key="ablations")
        return Completed(message=f"{', '.join(names)} for seeds {', '.join(map(str, seeds))}: {page}")
    except UserError as failure:
        return Failed(message=str(failure))
