"""Registration of the Prefect automations in infra/automations.yaml, idempotent by name."""

import sys
from pathlib import Path
from typing import Any

import tasks
from wethink.common.errors import UserError
from wethink.config.params import load_yaml

FILE = tasks.ROOT / "infra" / "automations.yaml"


def declared(path: Path = FILE) -> list[dict[str, Any]]:
    """Read the declared automations."""
    found: list[dict[str, Any]] = load_yaml(path)["automations"]
    return found


def apply(path: Path = FILE) -> list[str]:
    """Create or update every declared automation; return their names.

    An automation that was disabled on the server stays disabled.

    Raises:
        UserError: Prefect's server is unavailable or rejects an automation.
    """
    from prefect.client.orchestration import get_client
    from prefect.events.schemas.automations import AutomationCore

    names = []
    try:
        with get_client(sync_client=True) as client:
            for wanted in declared(path):
                known = client.read_automations_by_name(wanted["name"])
                body = AutomationCore.model_validate(wanted | {"enabled": all(old.enabled for old in known)})
                if known:
                    client.update_automation(known[0].id, body)
                else:
                    client.create_automation(body)
                names.append(wanted["name"])
    except Exception as error:  # process boundary: pass on the server's own message
        raise UserError(f"{path.name} could not be applied: {error}") from error
    return names


def main() -> int:
    try:
        for name in apply():
            print(f"automation: {name}")
    except UserError as error:
        print(f"wethink automations: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
