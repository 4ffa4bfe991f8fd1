"""Lease on a stage that several machines share: one runs it, the others wait and fetch its output.

A lease is a slot of a global concurrency limit of the Prefect server that the machines share. Prefect renews it while
the stage runs, and frees it when its holder has died. It saves work and guards nothing: two machines that run the same
stage after all end with the same output.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator

from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import ConcurrencySlotAcquisitionError
from prefect.concurrency.sync import concurrency
from prefect.exceptions import ObjectAlreadyExists
from prefect.logging import get_run_logger

from tasks.versioning import dvc_status
from wethink.common.jsonl import file_sha256
from wethink.common.paths import ROOT
from wethink.config.params import Params
from wethink.dag.import_closure import closure
from wethink.dag.main_stages import STAGES
from wethink.dag.runner import settings

LIMITS = 1024  # two stages that share a limit by chance only wait for each other
SECONDS = 120.0  # after which the slot of a holder that died is free


def limit_of(name: str, params: Params) -> str:
    """Return the name of a stage's limit: the same for runs of the same code, parameters and inputs."""
    stage = STAGES[name]
    makers = {entry.out: maker for maker, entry in STAGES.items()}
    inputs = {path: dvc_status.out_md5(makers[path]) for path in stage.inputs.values() if path in makers}
    code = {str(path): file_sha256(ROOT / path) for path in closure(stage.module)}
    about = json.dumps([name, settings(stage, params), inputs, code], sort_keys=True)
    return f"wethink-stage-{int(hashlib.sha256(about.encode()).hexdigest(), 16) % LIMITS}"


@contextlib.contextmanager
def lease(name: str, params: Params, seconds: float = SECONDS) -> Iterator[None]:
    """Hold the stage's lease during the block.

    After the stage's deadline (`launch.deadline_minutes`) the block runs without it, beside its holder.
    """
    limit, minutes = limit_of(name, params), params.launch.deadline_minutes
    with get_client(sync_client=True) as client, contextlib.suppress(ObjectAlreadyExists):
        client.upsert_global_concurrency_limit_by_name(limit, 1)
    with contextlib.ExitStack() as stack:
        held = concurrency(
            limit,
            timeout_seconds=minutes * 60,
            lease_duration=seconds,
            strict=True,
            raise_on_lease_renewal_failure=False,  # a server that is away for a while ends no training
        )
        try:
            stack.enter_context(held)
        except (TimeoutError, ConcurrencySlotAcquisitionError) as error:
            get_run_logger().warning("%s: no lease after %g minutes (%s); it is run here, too", name, minutes, error)
        yield
