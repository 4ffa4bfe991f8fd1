"""CLI commands `benchmark`, `official`, `suite` and `leaderboard`: evaluation on VLMEvalKit tables."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.config.params import response_format

if TYPE_CHECKING:
    from wethink.evaluation.benchmarks.engines import Engine
    from wethink.evaluation.benchmarks.run import Settings


def dispatch(args: argparse.Namespace) -> None:
    """Run the benchmark command that `args.command` names."""
    if args.command == "benchmark":
        benchmark(args)
    elif args.command == "official":
        from wethink.evaluation.benchmarks.run import HOME as RESULTS
        from wethink.evaluation.benchmarks.vlmevalkit import run_official

        found = run_official(
            args.name,
            args.model,
            args.served,
            args.tsv,
            RESULTS,
            args.judge,
            args.judge_url,
            args.key_env,
            args.judge_key_env,
            args.max_new_tokens,
        )
        for name, files in found.items():
            print(f"{name}: {', '.join(files) or 'VLMEvalKit left no file'}")
    elif args.command == "suite":
        from wethink.evaluation.benchmarks.heldout_suite import HOME, suite

        made = suite(Path("data/drawn"), Path("data/valid"), Path("data/images"))
        for name, about in made["tables"].items():
            print(f"{HOME / name}: {about['items']} items about {about['scenes']} scenes")
        if left := made.get("left_out"):
            print(f"left out: {left:,} items about no image, which a table of VLMEvalKit cannot hold")
        print(f"version {made['version']}")
    elif args.command == "leaderboard":
        from wethink.report.leaderboard import write_leaderboard

        print(f"written: {write_leaderboard(order=args.order).resolve()}")


def benchmark(args: argparse.Namespace) -> None:
    """Run the model on the named tables, one after the other, and print accuracies.

    Raises:
        UserError: a table, the model or an argument is not valid; or, after all tables, calls failed or a table has no
            known verdict.
    """
    from wethink.data.benchmark_table import Table
    from wethink.evaluation.benchmarks.engines import Checkpoint
    from wethink.evaluation.benchmarks.results import spoken
    from wethink.evaluation.benchmarks.run import Settings, native, run, shard_of

    shard = shard_of(args.shard)
    tables = [Table(path) for path in args.tsv]
    label = args.name or args.served or Path(args.model).name
    settings = Settings(
        label=label,
        system=args.system,
        samples=args.samples,
        temperature=args.temperature,
        max_new_tokens=args.max_new_tokens,
        batch=args.batch,
        controls=not args.no_controls,
        family=args.family,
        form=response_format(),
    )
    for table in tables:  # refused before any call is paid for
        native(table, settings.family)
    faults: list[str] = []
    most = max((item.pictures for table in tables for item in table.items.values()), default=1)
    engine = _engine(args, settings, most)
    try:
        for table in tables:
            if isinstance(engine, Checkpoint):
                asked = [(item.get("question"), item.get("answer")) for item in table.items.values()]
                engine.tell_unknown(table.name, asked)
            did = run(table, engine, settings, shard=shard)
            print(
                f"{table.name}: {did['answered']} answers new, {did['kept']} kept, of {did['items']} items "
                f"({did['skipped_without_image']} rows without image left out); family {did['family']}; {did['folder']}"
            )
            faults += _faults(table.name, did)
            if any(item.get("answer") for item in table.items.values()):
                print(*(f"  {line}" for line in spoken(Path(did["folder"]))), sep="\n")
            else:
                print("  the table has no gold answers (column 'answer'): no accuracy can be computed")
    finally:
        engine.close()
    if faults:
        again = any("asks them again" in fault for fault in faults)
        raise UserError("; ".join(faults) + ".", exit_code=TRY_AGAIN_LATER if again else 2)


def _faults(name: str, did: dict[str, Any]) -> list[str]:
    """Name what failed in a run: calls, or every item."""
    if failed := did["failed"]:
        count, reason = sum(failed.values()), next(iter(failed))
        more = f" and {len(failed) - 1} other reasons" if len(failed) > 1 else ""
        return [f"{name}: {count} calls failed ({reason}{more}); the same command asks them again"]
    return [f"{name}: no item could be asked ({did['unasked']})"] if did["unasked"] else []


def _engine(args: argparse.Namespace, settings: "Settings", images: int) -> "Engine":
    if args.model.startswith(("http://", "https://")):
        from wethink.evaluation.benchmarks.endpoint_engine import Served

        if not args.served:
            raise UserError("--served is missing: the name under which the endpoint serves the model.")
        served: Engine = Served(
            args.model, args.served, args.key_env, args.max_new_tokens, args.batch, form=settings.form
        )
        return served
    from wethink.config.params import load_params
    from wethink.evaluation.benchmarks.engines import Checkpoint

    params = load_params()
    return Checkpoint(Path(args.model), settings, params.launch, params.evaluate.sampler, images)
