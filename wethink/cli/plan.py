"""CLI command `plan`: memory, time and money of training, before any device is rented."""

import argparse
import json
from pathlib import Path
from typing import Any

from wethink.common.errors import UserError
from wethink.config.params import Params, load_params

OUT = Path("reports/plan.json")


def add_plan(commands: Any) -> None:
    """Register the command with the parser's `subparsers`."""
    plan = commands.add_parser("plan", help="memory, time and money of training, before a GPU is rented")
    plan.add_argument("--model", help="a hub id, a checkpoint folder or a config.json (default: base.model)")
    plan.add_argument("--profile", metavar="NAME", help="plan a profile without switching to it")
    plan.add_argument("--device", help="h100, a100, l4, …, or cpu: this machine, measured (default: h100 or cpu)")
    plan.add_argument("--gpus", type=int, metavar="N", help="devices (default: launch.processes)")
    plan.add_argument("--stage", choices=["sft", "grpo"], help="default: both")
    plan.add_argument("--text", type=int, metavar="TOKENS", help="of a question, without its image")
    plan.add_argument("--completion", type=int, metavar="TOKENS", help="of a mean response")
    plan.add_argument("--longest", type=int, metavar="TOKENS", help="of the longest target text of SFT")
    plan.add_argument("--image", metavar="WxH", help="pixels of a mean image, as in 1024x768")
    plan.add_argument("--images", type=int, default=1, help="images of a question (default: %(default)s)")
    plan.add_argument("--host-memory", type=float, metavar="GIB", help="of one host, to check against")
    plan.add_argument("--price", type=float, help="of one device for an hour, in any currency")
    plan.add_argument("--json", action="store_true", help="print JSON in place of the table")


def plan(args: argparse.Namespace) -> None:
    """Plan the stages, print the table or JSON, and write reports/plan.json.

    Raises:
        UserError: an argument is not valid, or the configuration cannot be planned.
    """
    from wethink.common.jsonl import write_json
    from wethink.config.profiles import profile_params
    from wethink.training.planning.advice import Suggestion, suggest
    from wethink.training.planning.devices import GIB, device_named
    from wethink.training.planning.plan import StagePlan, model_of, placed, plan_stage
    from wethink.training.planning.table import as_json, as_text
    from wethink.training.planning.work import Lengths, Stage, assumptions

    for name in ("gpus", "text", "completion", "longest", "images", "price", "host_memory"):
        if (value := getattr(args, name)) is not None and value <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0, not {value}.")
    params = profile_params([args.profile]) if args.profile else load_params()
    device = device_named(args.device or ("h100" if params.launch.device == "cuda" else "cpu"))
    params = placed(params, device, args.gpus)
    base = params.base.model_copy(update={"model": args.model}) if args.model else params.base
    model = model_of(base)
    lengths = Lengths(args.text, args.completion, args.longest, _pixels(args.image), args.images)
    limit = args.host_memory and args.host_memory * GIB
    stages: tuple[Stage, ...] = (args.stage,) if args.stage else ("sft", "grpo")

    def planned(params: Params, stage: Stage) -> StagePlan:
        return plan_stage(params, model, device, stage, lengths, limit)

    plans = [planned(params, stage) for stage in stages]
    advice: dict[str, list[Suggestion]] = {
        found.stage: suggest(params, found.stage, planned) for found in plans if not found.fits
    }
    written = as_json(plans, advice, device, lengths, args.price)
    write_json(OUT, written)
    if args.json:
        print(json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        print(as_text(plans, advice, args.price, assumptions(params, lengths)))
        print(f"\nwritten: {OUT}")


def _pixels(image: str | None) -> int | None:
    if image is None:
        return None
    width, cross, height = image.partition("x")
    if not (cross and width.isdigit() and height.isdigit() and int(width) * int(height)):
        raise UserError(f"--image {image}: write WIDTHxHEIGHT in pixels, as in 1024x768.")
    return int(width) * int(height)
