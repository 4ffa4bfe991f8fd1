"""Synthesis and validation of one image source's rows, for inspection before training.

    python -m flows.source_rows SOURCE --bucket NAME     # or --bucket /folder, a watched folder of this machine

Runs the main job's stages `draw` to `validate` on this source alone, in its own git worktree. A source with
`rows.jsonl` is imported; any other is annotated by the models behind launch.endpoints. Stored responses are reused;
only misses are sent and billed.
"""

import argparse
import sys
from pathlib import Path
from typing import Annotated, Any

from prefect import flow
from prefect.artifacts import create_markdown_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from tasks.execution import command, retraining
from tasks.orchestration.local_server import local_server
from tasks.versioning import dvc_status, worktrees
from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.common.paths import WORK
from wethink.config.launch import absolute_store
from wethink.config.params import load_params
from wethink.dag.main_stages import STAGES

SourceName = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$", examples=["birds"])]
Bucket = Annotated[str, Field(examples=["images", "/srv/incoming"])]


@flow(name="synthesize-source", flow_run_name="synthesize {source}", persist_result=False)
def synthesize_source(source: SourceName, bucket: Bucket) -> State[Any]:
    """Annotate or import one source and validate its rows, without training.

    A gallery of every image and row is linked from the run's artifact.

    Args:
        source: the source's name: the first part of its keys in the bucket (lower-case letters, digits, - and _).
        bucket: the S3 bucket, or the absolute path of a watched folder on the worker's machine.
    """
    try:
        arrived = retraining.bring(source, bucket)
        folder = _workplace(source, arrived)
        minutes = load_params().launch.deadline_minutes
        command.run(f"dvc.yaml for {source}", "tasks.versioning.dvcfile", [], minutes, folder)
        command.run(f"rows of {source}", "dvc", ["repro", "validate"], 10 * minutes, folder)
        command.run(f"gallery of {source}", "wethink", ["gallery"], minutes, folder)
        counts = {name: read_json(folder / STAGES[name].out / "metrics.json") for name in ("synthesize", "validate")}
        page = folder / "reports/gallery/index.html"
        create_markdown_artifact(f"Every image and row: `{page}`", key=f"rows-{source.replace('_', '-')}")
        return Completed(message=f"the rows of '{source}' are in {folder / STAGES['validate'].out}", data=counts)
    except UserError as failure:
        return Failed(message=str(failure))


def _workplace(source: str, arrived: Path) -> Path:
    """Prepare a worktree whose only source is this one; return its folder."""
    rows = arrived / "rows.jsonl"
    images = arrived / "images" if (arrived / "images").is_dir() else arrived
    settings: dict[str, Any] = {
        "ingest.sources": [{"name": source, "kind": "folder", "path": str(images.resolve())}],
        "synthesize.annotator": "rows" if rows.is_file() else "endpoints",
        "synthesize.rows": str(rows.resolve()) if rows.is_file() else None,
        "launch.answers": absolute_store(load_params().launch.answers),  # of this checkout, not the worktree's own
    }
    return worktrees.checkout(WORK / "synthesize" / source, settings)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m flows.source_rows", description="The rows of one source.")
    parser.add_argument("source")
    parser.add_argument("--bucket", required=True, help="a bucket, or the absolute path of a folder")
    args = parser.parse_args()
    try:
        load_params()
        dvc_status.prepare()
        with local_server():
            state = synthesize_source(args.source, args.bucket, return_state=True)
    except UserError as error:
        print(f"wethink source: {error}", file=sys.stderr)
        return error.exit_code
    print(f"wethink source: {state.message}", file=sys.stdout if state.is_completed() else sys.stderr)
    return 0 if state.is_completed() else 2


if __name__ == "__main__":
    sys.exit(main())
