"""The main job's data and checkpoints as a version: pushed to DVC's remote, committed, tagged `data/<name>`.

    python -m flows.save_version NAME                             # after `make demo` or `dvc repro`
    dvc metrics diff data/ONE data/OTHER                     # what changed between two of them
    git clone -b data/NAME … && dvc pull                     # on another machine; `dvc repro` then has nothing to do

Pushed first: whoever has the commit can pull what it points to. The run cache goes along, so that another machine
fetches what was run before instead of running it.
"""

import argparse
import sys
from typing import Annotated

from pydantic import Field

from tasks.versioning import commits
from wethink.common.errors import UserError

VersionName = Annotated[str, Field(pattern=f"^{commits.NAME}$", examples=["2026-11"])]


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m flows.save_version", description="Keep the main job's data by a name."
    )
    parser.add_argument("name", help="of the version: letters, digits, . and -")
    name = parser.parse_args().name
    try:
        commits.ready(name)
        print(commits.save_data(name))
    except UserError as error:
        print(f"wethink version: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
