"""Data versions: the main job's data and checkpoints in DVC's remote and a git tag `data/<name>`.

    python -m flows.save_version NAME                        # after `make demo` or `dvc repro`
    dvc metrics diff data/ONE data/OTHER                     # compare the metrics of two versions
    git clone -b data/NAME … && dvc pull                     # on another machine; `dvc repro` then has nothing to do

The push precedes the commit, so every commit can be pulled. DVC's run cache is pushed too: another machine fetches
finished stages instead of running them.
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
        prog="python -m flows.save_version", description="Save the main job's data under a version name."
    )
    parser.add_argument("name", help="version name: letters, digits, . and -")
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
