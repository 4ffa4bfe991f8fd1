"""Adapters to outside services (Prefect, MLflow, DVC, git, S3), free of data, model and maths code.

Importing this package sets the services' environment variables before any service library is imported, so a flow has
the same local, offline set-up without telemetry in a terminal, a Prefect worker and a test; this machine's own servers
are asked without a proxy, and a terminal that is not UTF-8 gets replaced characters. Variables that are already
set win: PREFECT_API_URL selects a shared Prefect server, MLFLOW_TRACKING_URI a shared tracker.
"""

import os
from pathlib import Path

from wethink.common.console import tolerate_encodings
from wethink.common.loopback import bypass_proxies

ROOT = Path(__file__).resolve().parent.parent

ENVIRONMENT = {
    "PREFECT_HOME": str(ROOT / ".prefect"),
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "120",  # the default of 20 is too short on a busy machine
    # With these a run survives a restarted server, an unavailable database and a killed worker (tests/fault_injection).
    "PREFECT_CLIENT_MAX_RETRIES": "7",  # with growing pauses, about four minutes in all
    "PREFECT_CLIENT_RETRY_EXTRA_CODES": "500",  # the server's code while its database is unavailable
    "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",  # seconds; infra/automations.yaml waits for it
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",  # not in memory
    "PREFECT_WORKER_QUERY_SECONDS": "5",
    "AWS_RETRY_MODE": "standard",  # also read by DVC's S3 client: an occasional 503 is retried
    "AWS_MAX_ATTEMPTS": "10",
    "MLFLOW_TRACKING_URI": f"sqlite:///{ROOT / 'mlflow.db'}",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",  # a tracker that is down must not hold up training
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "WANDB_ERROR_REPORTING": "false",
    "GX_ANALYTICS_ENABLED": "false",
    "TORCH_EXTENSIONS_DIR": str(ROOT / ".cache" / "torch_extensions"),
    "TOKENIZERS_PARALLELISM": "false",
    "DO_NOT_TRACK": "1",
}

for _name, _value in ENVIRONMENT.items():
    os.environ.setdefault(_name, _value)
bypass_proxies()
tolerate_encodings()
