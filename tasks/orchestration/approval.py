"""A person's word before a challenger becomes champion, where that is asked for: a form in Prefect's UI.

The run is suspended: its process ends, and nobody else waits for it. When the form is sent, the run starts anew, finds
every step done and the gate's decision taken, and gets the answer. The form belongs to one challenger and one
champion: an answer given to one is never taken for another.
"""

from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from tasks.tracking.model_registry import Version
from wethink.common.errors import UserError
from wethink.common.jsonl import Record


class Approval(RunInput):
    """The form."""

    approve: bool = Field(default=False, title="Make it champion", description="Off: the champion stays.")
    because: str = Field(min_length=3, title="Why", description="It is kept with the version.")


def ask_a_person(champion: Version, challenger: Version, decision: Record) -> Record:
    """The gate's decision to promote, confirmed or refused by a person; suspends the run until there is an answer.

    Raises:
        UserError: nobody can be asked, because the run belongs to no deployment.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        raise UserError(
            f"version {challenger.number} passed the gate and needs approval, for which a run on a terminal cannot "
            f"wait; `python -m flows.promote promote {challenger.number} --because WHY` is it."
        )
    reasons = "\n".join(f"- {reason}" for reason in decision["reasons"])
    asked = Approval.with_initial_data(
        description=f"**Version {challenger.number} passed the gate** against version {champion.number}."
        f"\n\n{reasons}\n\n"
        "The decision page is an artifact of the experiment `promotion` in MLflow."
    )
    answer = suspend_flow_run(wait_for_input=asked, key=f"{champion.digest[:16]}-{challenger.digest[:16]}")
    if answer.approve:
        return decision | {"reasons": [*decision["reasons"], f"A person approved it: {answer.because}"]}
    return decision | {
        "promoted": False,
        "reasons": [f"A person refused it: {answer.because}", *decision["reasons"]],
    }
