"""Prefect's temporary server in the user's environment: behind a proxy it starts and is asked directly."""

import os
import subprocess
import sys
import time
from pathlib import Path

from tasks import ROOT

CODE = """
import tasks
from prefect.client.orchestration import get_client
from tasks.orchestration.local_server import local_server
with local_server():
    with get_client(sync_client=True) as client:
        print("health:", client.api_healthcheck())
"""


def test_behind_a_proxy_the_server_starts_and_answers(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.upper().endswith("_PROXY")}
    nowhere = "http://127.0.0.1:9"
    environment |= {"HTTP_PROXY": nowhere, "http_proxy": nowhere, "HTTPS_PROXY": nowhere, "ALL_PROXY": nowhere}
    environment |= {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(ROOT)}
    environment.pop("PREFECT_API_URL", None)
    begin = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", CODE], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0 and "health: None" in done.stdout, done.stdout + done.stderr
    assert time.monotonic() - begin < 120
