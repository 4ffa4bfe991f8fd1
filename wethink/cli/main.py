"""The argument parser of `wethink`, and the dispatch of its commands."""

import argparse
import json
import sys
from pathlib import Path

from wethink.cli.data import COMMANDS, add_commands
from wethink.common.console import tolerate_encodings
from wethink.common.errors import DISK_FULL, UserError, disk_full, is_disk_full
from wethink.common.loopback import bypass_proxies
from wethink.common.processes import die_with_owners
from wethink.config.params import load_params
from wethink.dag.all_stages import EXTRA_STAGES
from wethink.dag.experiment_stages import ABLATIONS, CONTROLS
from wethink.dag.main_stages import STAGES
from wethink.dag.retraining_stages import RETRAIN
from wethink.dag.runner import run_rank, run_stage
from wethink.evaluation.benchmarks.registry import DECLARED

# `wethink --help` lists the commands by what people do; those without a help text are internal and are not listed.
GROUPS = {
    "run the pipeline": ("profile", "plan", *STAGES),
    "look at the results": ("open", "ask", "gallery", "audit"),
    "data": ("preview", "export", "push", "quality", "passrates", "answers"),
    "models and rewards": ("score", "rescore", "calibrate"),
    "benchmarks": ("suite", "benchmark", "official", "leaderboard"),
    "experiments and retraining": ("controls", "arms", "retrain"),
}


def parser() -> argparse.ArgumentParser:
    """Build the parser of all commands."""
    top = argparse.ArgumentParser(
        prog="wethink",
        usage="wethink COMMAND [options]",
        description="Teach a vision-language model to reason.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(
        dest="command", prog="wethink", required=True, metavar="COMMAND", help=argparse.SUPPRESS
    )
    for name, stage in STAGES.items():
        sub = commands.add_parser(name, help=stage.summary)
        sub.add_argument("--adopt", action="store_true", help="carry an unfinished run across a change of code")
        if name == "synthesize":
            sub.add_argument("--dry-run", action="store_true", help="estimate calls, tokens and cost; send nothing")
            sub.add_argument("--fill", metavar="I/N", help="only buy the answers of part I of N (annotator: endpoints)")
    controls = commands.add_parser(
        "controls", help="the arms beside GRPO (more SFT, rejection sampling, …); after `report`"
    )
    controls.add_argument("arms", nargs="*", choices=[[], *CONTROLS], metavar="ARM", help=f"of {', '.join(CONTROLS)}")
    arms = commands.add_parser("arms", help="ablations: train and measure the named arms; after `report`")
    arms.add_argument("stages", nargs="+", choices=ABLATIONS, metavar="STAGE", help="arm_<name> or measure_<name>")
    retrain = commands.add_parser("retrain", help="one step of a retrain, in its worktree; `flows.retrain` runs them")
    retrain.add_argument("step", choices=[*RETRAIN, "bundle"], metavar="STEP", help=f"of {', '.join(RETRAIN)}, bundle")
    rank = commands.add_parser("rank")  # one rank of a training stage; started by the launcher, not by people
    rank.add_argument("stage", choices=[name for name, stage in (STAGES | EXTRA_STAGES).items() if stage.ranks])
    rank.add_argument("--scratch", type=Path, required=True)
    ask = commands.add_parser("ask", help="answer one question about one image, thinking shown")
    ask.add_argument("--image", type=Path, help="an image file")
    ask.add_argument("--question")
    ask.add_argument("--item", type=int, metavar="N", help="in place of both: the N-th held-out item, with its answer")
    ask.add_argument(
        "--model", type=Path, default=Path("models/grpo"), help="any checkpoint folder (default: %(default)s)"
    )
    ask.add_argument("--temperature", type=float, default=0.0)
    again = commands.add_parser("rescore", help="judge a file of rollouts again, by the rewards of params.yaml")
    again.add_argument("file", type=Path, metavar="FILE", help="a rollouts.parquet, as in models/grpo/")
    again.add_argument("--out", type=Path, help="default: reports/rescored/<name of FILE>.parquet")
    add_commands(commands)
    profile = commands.add_parser("profile", help="rewrite params.yaml from profiles/tiny.yaml and named overlays")
    profile.add_argument("overlays", nargs="+", metavar="NAME")
    calibrate = commands.add_parser("calibrate", help="how far the judge can be trusted, on answers that people graded")
    calibrate.add_argument("file", type=Path, metavar="FILE", help="JSON lines: problem, gold, answer, tier")
    calibrate.add_argument("--out", type=Path, default=Path("reports/calibration.json"))
    _benchmark_commands(commands)
    top.epilog = grouped({action.dest: action.help or "" for action in commands._choices_actions})
    return top


def grouped(commands: dict[str, str]) -> str:
    """List commands and their help by group; one that no group names is listed last, not lost."""
    named = {name for names in GROUPS.values() for name in names}
    groups = GROUPS | {"other commands": tuple(name for name in commands if name not in named)}
    parts = []
    for title, names in groups.items():
        lines = [f"  {name:<12} {commands[name]}" for name in names if name in commands]
        parts += ["\n".join([f"{title}:", *lines])] if lines else []
    return "\n\n".join([*parts, "`wethink COMMAND --help` explains a command and its options."])


def _benchmark_commands(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the commands of evaluation beside the pipeline, and of the page of all results."""
    bench = commands.add_parser("benchmark", help="answer benchmark tables (TSV) with a checkpoint or an endpoint")
    bench.add_argument("--tsv", type=Path, nargs="+", required=True, help="tables in VLMEvalKit's format")
    bench.add_argument("--model", required=True, help="a checkpoint folder, or an endpoint's URL with its /v1")
    bench.add_argument("--name", help="the model's name on the page (default: the folder's, or --served)")
    bench.add_argument("--served", help="the model's name at the endpoint")
    bench.add_argument("--key-env", help="the environment variable that holds the endpoint's key")
    bench.add_argument("--family", choices=DECLARED, help="how the tables are scored (default: by name and columns)")
    bench.add_argument("--system", choices=["own", "none", "wethink"], default="own", help="system prompt")
    bench.add_argument("--samples", type=int, default=0, metavar="K", help="samples per item, for pass@k")
    bench.add_argument("--temperature", type=float, default=1.0, help="of the samples (default: %(default)s)")
    bench.add_argument("--max-new-tokens", type=int, default=1024)
    bench.add_argument("--batch", type=int, default=64)
    bench.add_argument("--shard", default="1/1", metavar="I/N", help="answer every N-th item, beginning with the I-th")
    bench.add_argument("--no-controls", action="store_true", help="leave out the blank and the shuffled image")
    official = commands.add_parser("official", help="evaluate a served model with VLMEvalKit itself")
    official.add_argument("--tsv", type=Path, nargs="+", required=True, help="tables in VLMEvalKit's format")
    official.add_argument("--model", required=True, help="the endpoint's URL with its /v1")
    official.add_argument("--served", required=True, help="the model's name at the endpoint")
    official.add_argument("--name", required=True, help="the model's name on the page")
    official.add_argument("--key-env", help="the environment variable that holds the endpoint's key")
    official.add_argument("--max-new-tokens", type=int, default=2048)
    official.add_argument("--judge", default="exact_matching", help="the judge's name (default: %(default)s)")
    official.add_argument("--judge-url", help="the judge's endpoint with its /v1")
    official.add_argument("--judge-key-env", help="the environment variable that holds the judge's key")
    commands.add_parser("suite", help="write the held-out items as benchmark tables")
    board = commands.add_parser("leaderboard", help="every result beside the published ones, as a page")
    board.add_argument(
        "--order", nargs="*", default=["base", "sft", "grpo"], metavar="NAME", help="compared in this order"
    )


def dispatch(args: argparse.Namespace) -> None:
    if args.command == "synthesize" and (args.dry_run or args.fill):
        from wethink.cli.synthesize import prepare

        prepare(load_params(), args.fill, args.dry_run)
    elif args.command in STAGES:
        run_stage(args.command, load_params(), adopt=args.adopt)
    elif args.command == "controls":
        for arm in args.arms or CONTROLS:
            run_stage(arm, load_params(), once=True)
    elif args.command == "arms":
        for stage in args.stages:
            run_stage(stage, load_params(), once=True)
    elif args.command == "retrain":
        run_stage(args.step, load_params(), once=True)
    elif args.command == "rank":
        run_rank(args.stage, args.scratch, load_params())
    elif args.command == "ask":
        from wethink.evaluation.ask import ask, ask_held_out

        project = load_params() if Path("params.yaml").is_file() else None
        if args.item is not None:
            ask_held_out(args.item, args.model, args.temperature, project)
        elif args.image is None or args.question is None:
            raise UserError("give --image and --question, or --item N for a held-out one.")
        else:
            ask(args.image, args.question, args.model, args.temperature, project)
    elif args.command == "rescore":
        from wethink.rewards.hybrid import open_scorer
        from wethink.rl.rollout_log import rescore

        params = load_params()
        with open_scorer(params.rewards, params.launch) as scorer:
            print(json.dumps(rescore(args.file, scorer, args.out), indent=2, ensure_ascii=False))
    elif args.command in COMMANDS:
        COMMANDS[args.command](args)
    elif args.command == "profile":
        from wethink.config.profiles import switch

        switch(args.overlays)
    elif args.command == "calibrate":
        from wethink.rewards.judge.calibration import calibrate

        calibrate(args.file, load_params(), args.out)
    else:
        from wethink.cli import benchmarks as commands

        commands.dispatch(args)


def main() -> int:
    tolerate_encodings()  # first: `--help` prints as well
    bypass_proxies()
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
    except Exception as error:
        if not is_disk_full(error):
            raise
        print(f"wethink {args.command}: {disk_full(error)}", file=sys.stderr)
        return DISK_FULL if args.command == "rank" else 2
    return 0
