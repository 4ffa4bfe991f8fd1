"""Command line of the local service stack, behind `make up` and `make down`.

python -m tasks.stack up                # start the stopped services and wait until all are healthy
python -m tasks.stack status            # state of each service; exit code 1 if one is unhealthy
python -m tasks.stack restart worker    # or stop, start
python -m tasks.stack env               # a client's environment: eval "$(python -m tasks.stack env)"
python -m tasks.stack down
"""

import argparse
import shlex
import sys
from pathlib import Path

from tasks.stack import backup, up_down
from wethink.common.errors import UserError


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m tasks.stack", description="All services on this host.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="start the stopped services and wait until all are healthy")
    up.add_argument(
        "--any-ports", action="store_true", help="use any free ports instead of the usual ones, for a temporary stack"
    )
    commands.add_parser("down", help="stop all services and their process groups")
    commands.add_parser("status", help="show the state of each service")
    commands.add_parser("env", help="print the environment that a client of this stack needs")
    commands.add_parser("rotate", help="change the database's password and restart its clients")
    for name, summary in {
        "backup": "write databases, checkpoints and bucket to",
        "restore": "restore databases, checkpoints and bucket from",
    }.items():
        one = commands.add_parser(name, help=f"{summary} a folder")
        one.add_argument("folder", type=Path)
    for name, summary in {"start": "start", "stop": "stop", "restart": "restart"}.items():
        one = commands.add_parser(name, help=f"{summary} one service")
        one.add_argument("service")
    return top


def main() -> int:
    args, folder = parser().parse_args(), Path.cwd()
    try:
        match args.command:
            case "up":
                stack = up_down.up(folder, not args.any_ports, say=lambda line: print(line, flush=True))
                print(up_down.table(stack))
            case "down":
                up_down.down(folder, say=lambda line: print(line, flush=True))
            case "status":
                stack = up_down.known(folder)
                print(up_down.table(stack))
                for sentence in (faults := up_down.faults(stack)):
                    print(f"wethink stack: {sentence}", file=sys.stderr)
                return 1 if faults else 0
            case "env":
                for name, value in up_down.known(folder).client_environment().items():
                    print(f"export {name}={shlex.quote(value)}")
            case "rotate":
                up_down.rotate(folder)
                print("the database has another password; what used the old one was restarted")
            case "backup":
                for name, size in backup.backup(up_down.known(folder), args.folder).items():
                    print(f"{args.folder / name}: {size / 2**20:.1f} MB")
            case "restore":
                backup.restore(up_down.known(folder), args.folder)
                print(f"databases, files and bucket are restored from {args.folder}")
            case "stop":
                up_down.stop(up_down.known(folder), args.service)
            case "start":
                up_down.start(up_down.known(folder), args.service)
            case _:
                up_down.stop(up_down.known(folder), args.service)
                up_down.start(up_down.known(folder), args.service)
    except UserError as error:
        print(f"wethink stack: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("\nwethink stack: stopped; `make up` goes on, `make down` ends what runs.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
