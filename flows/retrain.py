"""Retraining on a new image source, with a promotion gate for the resulting challenger.

    python -m flows.retrain SOURCE --bucket NAME     # or --bucket /folder, a watched folder of this machine

The watcher (tasks/sources/watcher.py) starts it when a source closes. Each run has its own git worktree, which shares
this checkout's DVC cache, and commits its outputs and the gate's decision to its own branch. A repeated run on the
same source changes nothing.
"""

import argparse
import sys
from typing import Any

from prefect import flow
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.source_rows import Bucket, SourceName
from tasks.execution import promotion, retraining
from tasks.orchestration.approval import ask_a_person
from tasks.orchestration.local_server import local_server
from tasks.processes import retries
from tasks.processes.retries import retry_while_unavailable
from tasks.tracking import lineage, model_registry
from wethink.common.errors import UserError
from wethink.config.params import load_params
from wethink.dag.retraining_stages import RETRAIN


@flow(name="retrain", flow_run_name="retrain on {source}", persist_result=False)
def retrain(source: SourceName, bucket: Bucket, event_id: str | None = None, approval: bool = False) -> State[Any]:
    """Train a challenger on a new source; promote it if it passes the gate.

    The run's message and its `decision-<source>` artifact give the verdict and the reasons. A source that was already
    used ends the run as `Cached`.

    Args:
        source: the source's name: the first part of its keys in the bucket.
        bucket: the S3 bucket, or the absolute path of a watched folder on the worker's machine.
        event_id: id of the event that started this run; leave it empty for a manual start.
        approval: whether a challenger that passed the gate waits for a person's approval before promotion.
    """
    try:
        retries.refuse_endless_starts()
        with retraining.retraining_lock():
            champion = retry_while_unavailable(retraining.champion)
            arrived = retraining.bring(source, bucket)
            plan = retry_while_unavailable(retraining.plan, source, arrived, champion)
            if plan.done:
                return Completed(name="Cached", message=plan.done)
            folder = retry_while_unavailable(retraining.prepare_worktree, plan, champion)
            for step in RETRAIN:
                retraining.step(step, folder, plan)
            retry_while_unavailable(lineage.track, folder)
            decision = retry_while_unavailable(
                promotion.decide, plan, champion, folder, approve=ask_a_person if approval else None
            )
            retry_while_unavailable(retraining.commit, plan, folder, decision)
            retry_while_unavailable(model_registry.finish, decision["version"], plan.key)
            return Completed(message=retraining.sentence(plan, decision), data=decision)
    except UserError as failure:
        return Failed(message=str(failure))


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.retrain", description="Retrain on a new source.")
    parser.add_argument("source")
    parser.add_argument("--bucket", required=True, help="S3 bucket, or absolute path of a watched folder")
    args = parser.parse_args()
    try:
        load_params()
        with local_server():
            state = retrain(args.source, args.bucket, return_state=True)
    except UserError as error:
        print(f"wethink retrain: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wethink retrain: {state.message}", file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 2


if __name__ == "__main__":
    sys.exit(main())
