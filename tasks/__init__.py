"""The adapters: one file per outside service. Nothing in here knows data, models or maths.

Importing this package sets the services' environment, before any of them is imported: whoever starts
the flow (a terminal, a Prefect worker, a test) gets the same local, offline, silent set-up. A variable
that is already set wins: a shared Prefect server is PREFECT_API_URL, a shared tracker MLFLOW_TRACKING_URI.
"""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

ENVIRONMENT = {
    "PREFECT_HOME": str(ROOT / ".prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # the default of 20 is too short on a busy machine
    # A run survives (tests/fault_injection): a restarted server, a database that is away, a killed worker.
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # with growing pauses, about four minutes in all
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",  # what the server says while its database is away
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; infra/automations.yaml waits for it
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",  # not in memory
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "AWS_RETRY_MODE": "standard",  # also for DVC's client: a store that answers 503 now and then is slow, not down
    "AWS_MAX_ATTEMPTS": "10",
    "MLFLOW_TRACKING_URI": f"sqlite:///{ROOT / 'mlflow.db'}",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # a tracker that is down must not hold up training
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "TORCH_EXTENSIONS_DIR": str(ROOT / ".cache" / "torch_extensions"),
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
}

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
