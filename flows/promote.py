"""Command line of the model registry: list, register, promote and roll back the champion.

    python -m flows.promote first                          # the main job's result becomes the first champion
    python -m flows.promote list
    python -m flows.promote champion                       # its folder, verified
    python -m flows.promote register models/grpo           # a checkpoint as a version
    python -m flows.promote promote 4 --because "first"    # by hand; the retrain flow decides by the gate
    python -m flows.promote rollback --because "..."

The registry keeps the reason of every manual promotion and rollback, as it keeps those of the promotion gate.
"""

import argparse
import os
import sys
from pathlib import Path

import tasks
from tasks.execution import retraining
from tasks.orchestration.local_server import require
from tasks.tracking import model_registry
from wethink.common.errors import UserError

STACK = Path(".wethink/stack/postgres")  # exists once `make up` has run
SHELL = 'eval "$(.venv/bin/python -m tasks.stack env)"'


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m flows.promote", description="The model registry's champion.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("first", help="register the main job's checkpoint as the first champion")
    commands.add_parser("list", help="list all versions with their aliases, decisions, promotions and rollbacks")
    for alias in (model_registry.CHAMPION, model_registry.CHALLENGER):
        commands.add_parser(alias, help=f"print the {alias}'s folder after verifying every file")
    register = commands.add_parser("register", help="register a published checkpoint as a version")
    register.add_argument("folder", type=Path)
    promote = commands.add_parser("promote", help="promote a version to champion by hand")
    promote.add_argument("version")
    promote.add_argument("--because", required=True, help="reason, stored with the version")
    rollback = commands.add_parser("rollback", help="restore the previous champion")
    rollback.add_argument("--because", required=True, help="reason, stored with the version that is rolled back")
    return top


def run(args: argparse.Namespace) -> str:
    """Run the command; return the text to print."""
    match args.command:
        case "list":
            return "\n".join(map(_line, model_registry.every())) or "no checkpoint is registered; `register` one."
        case "first":
            version = retraining.first_champion()
            return f"version {version.number} is champion: {version.folder}"
        case "register":
            version = model_registry.register(args.folder, {"registered": "by hand"})
            return f"{args.folder} is version {version.number}: {version.folder}"
        case "promote":
            version = model_registry.get(args.version)
            before = model_registry.promote(version, args.because)
            if before is not None and before.number == version.number:
                return f"version {version.number} is champion already."
            return f"version {version.number} is champion" + (f"; it was version {before.number}." if before else ".")
        case "rollback":
            left, now = model_registry.rollback(args.because)
            return f"version {now.number} is champion again; version {left.number} was rolled back."
        case alias:
            found = model_registry.named(alias)
            if found is None:
                raise UserError(f"there is no {alias}; `python -m flows.promote promote VERSION` names a champion.")
            return str(model_registry.verified(found))


def _line(version: model_registry.Version) -> str:
    aliases = [a for a in (model_registry.CHAMPION, model_registry.CHALLENGER) if _is(a, version)]
    events = version.story.split("\n\n")
    lines = [f"{version.number:>4}  {version.digest[:12]}  {','.join(aliases) or '-':<10}  {events[0]}".rstrip()]
    return "\n".join([*lines, *(f"{'':32}{event}" for event in events[1:])])


def _is(alias: str, version: model_registry.Version) -> bool:
    found = model_registry.named(alias)
    return found is not None and found.number == version.number


def main() -> int:
    args = parser().parse_args()
    tracker = os.environ["MLFLOW_TRACKING_URI"]
    if tracker == tasks.ENVIRONMENT["MLFLOW_TRACKING_URI"] and (Path.cwd() / STACK).is_dir():
        print(f"wethink promote: this is the registry in {tracker}; for that of the stack: {SHELL}", file=sys.stderr)
    try:
        require(tracker, "MLFLOW_TRACKING_URI", patience=5)
        print(run(args))
    except UserError as error:
        print(f"wethink promote: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
