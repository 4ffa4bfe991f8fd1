"""A run that died goes on by itself; one that has ended is never started again, however late its heart was heard."""

from typing import Any

from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import State, StateType

from tasks.orchestration.automations import declared


@flow
def nothing() -> None:
    pass


def run_in(client: Any, *states: StateType) -> Any:
    """A flow run of a deployment that went through these states."""
    flow_id = client.create_flow(nothing)
    deployment = client.create_deployment(flow_id, name="nothing")
    run = client.create_flow_run_from_deployment(deployment)
    for state in states:
        client.set_flow_run_state(run.id, State(type=state), force=True)
    return run


def moved(client: Any, run: Any, action: dict[str, Any]) -> str:
    """What the server's automation does: a state change that it may refuse; the state's name thereafter."""
    change = State(type=StateType(action["state"]), name=action["name"], message=action["message"])
    client.set_flow_run_state(run.id, change, force=action.get("force", False))
    return str(client.read_flow_run(run.id).state_name)


def test_a_run_that_has_ended_is_not_started_again_by_a_late_sign_of_life(prefect_server: None) -> None:
    silent, restart = declared()
    (lost,), (again,) = silent["actions"], restart["actions"]
    with get_client(sync_client=True) as client:
        for ending in (StateType.COMPLETED, StateType.FAILED, StateType.CANCELLED, StateType.CRASHED):
            run = run_in(client, StateType.PENDING, StateType.RUNNING, ending)
            assert moved(client, run, lost) == ending.value.title()
        run = run_in(client, StateType.PENDING, StateType.RUNNING)
        assert moved(client, run, lost) == lost["name"]
        assert restart["trigger"]["expect"] == [f"prefect.flow-run.{lost['name']}"], "and only then it starts again"
        assert moved(client, run, again) == "AwaitingRetry"
    assert f"prefect.flow-run.{lost['name']}" in silent["trigger"]["expect"], "said once"
