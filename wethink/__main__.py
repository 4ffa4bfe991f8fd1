"""`python -m wethink <stage>`: each stage of the DAG, and a few commands for people.

Imports nothing heavy: `--help` answers at once. A user's mistake prints one sentence and exits 2.
"""

import argparse
import errno
import sys
from pathlib import Path

from wethink.config import load_params
from wethink.errors import UserError
from wethink.runs import die_with_owners
from wethink.stages import CONTROLS, OTHERS, RETRAIN, STAGES, run_rank, run_stage


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m wethink", description="Teach a vision-language model to reason.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, stage in STAGES.items():
        sub = commands.add_parser(name, help=stage.summary)
        sub.add_argument("--adopt", action="store_true", help="carry an unfinished run across a change of code")
    controls = commands.add_parser(
        "controls", help="the arms beside GRPO (more SFT, rejection sampling, …); after `report`"
    )
    controls.add_argument("arms", nargs="*", choices=[[], *CONTROLS], metavar="ARM", help=f"of {', '.join(CONTROLS)}")
    retrain = commands.add_parser("retrain", help="one step of a retrain, in its worktree; `flows.retrain` runs them")
    retrain.add_argument("step", choices=[*RETRAIN, "bundle"], metavar="STEP", help=f"of {', '.join(RETRAIN)}, bundle")
    rank = commands.add_parser("rank")  # one rank of a training stage; started by the launcher, not by people
    rank.add_argument("stage", choices=[name for name, stage in (STAGES | OTHERS).items() if stage.ranks])
    rank.add_argument("--scratch", type=Path, required=True)
    ask = commands.add_parser("ask", help="answer one question about one image, thinking shown")
    ask.add_argument("--image", type=Path, required=True)
    ask.add_argument("--question", required=True)
    ask.add_argument(
        "--model", type=Path, default=Path("models/grpo"), help="any checkpoint folder (default: %(default)s)"
    )
    ask.add_argument("--temperature", type=float, default=0.0)
    profile = commands.add_parser("profile", help="rewrite params.yaml from profiles/tiny.yaml and named overlays")
    profile.add_argument("overlays", nargs="+", metavar="NAME")
    return top


def dispatch(args: argparse.Namespace) -> None:
    if args.command in STAGES:
        run_stage(args.command, load_params(), adopt=args.adopt)
    elif args.command == "controls":
        for arm in args.arms or CONTROLS:
            run_stage(arm, load_params(), once=True)
    elif args.command == "retrain":
        run_stage(args.step, load_params(), once=True)
    elif args.command == "rank":
        run_rank(args.stage, args.scratch, load_params())
    elif args.command == "ask":
        from wethink.ask import ask

        ask(args.image, args.question, args.model, args.temperature)
    elif args.command == "profile":
        from wethink.profiles import switch

        switch(args.overlays)


def main() -> int:
    args = parser().parse_args()
    die_with_owners()
    try:
        dispatch(args)
    except UserError as error:
        print(f"wethink {args.command}: {error}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print(
            f"\nwethink {args.command}: stopped; what was finished is kept, the same command goes on.", file=sys.stderr
        )
        return 130
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        where = error.filename or "the project folder"
        print(
            f"wethink {args.command}: the disk is full ({where}); free some space, the same command goes on.",
            file=sys.stderr,
        )
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
