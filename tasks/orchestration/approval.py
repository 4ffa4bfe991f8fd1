"""Human approval of a promotion, through a form in Prefect's UI.

The flow run is suspended: its process ends. When the form is submitted, Prefect starts the run again; it skips the
finished steps, reuses the recorded decision and receives the answer. The form's key holds the digests of champion and
challenger, so an answer never applies to another pair.
"""

from prefect.context import FlowRunContext
from prefect.flow_runs import suspend_flow_run
from prefect.input import RunInput
from pydantic import Field

from tasks.tracking.model_registry import Version
from wethink.common.errors import UserError
from wethink.common.jsonl import Record


class Approval(RunInput):
    """The approval form."""

    approve: bool = Field(default=False, title="Make it champion", description="Off: the champion stays.")
    because: str = Field(min_length=3, title="Why", description="It is kept with the version.")


def ask_a_person(champion: Version, challenger: Version, decision: Record) -> Record:
    """Suspend the run until a person confirms or refuses the promotion.

    Returns:
        The decision with the person's reason added; `promoted` is false after a refusal.

    Raises:
        UserError: the run belongs to no deployment, so it cannot be suspended.
    """
    context = FlowRunContext.get()
    if context is None or context.flow_run is None or context.flow_run.deployment_id is None:
        raise UserError(
            f"version {challenger.number} passed the gate and needs approval, for which a run on a terminal cannot "
            f"wait; approve with `python -m flows.promote promote {challenger.number} --because WHY`."
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
