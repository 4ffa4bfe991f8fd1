"""Commands beside the DAG: data quality, gallery, audit, export, pass rates, verdicts, pages.

The module that does the work is imported when its command runs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from wethink.cli.plan import add_plan
from wethink.cli.push import add_push, push
from wethink.common.errors import UserError
from wethink.config.params import load_params, response_format


def add_commands(commands: Any) -> None:
    """Register every command of this module with the parser's `subparsers`."""
    commands.add_parser("preview", help="how your sources and rows will be read: ten rows each, and what is dropped")
    commands.add_parser("quality", help="how good the filters of synthesis are, on drawn images → reports/quality.json")
    gallery = commands.add_parser(
        "gallery", help="every image, question, answer and verdict, as a page to look through"
    )
    gallery.add_argument("--out", type=Path, default=Path("reports/gallery"), help="a folder, which is replaced")
    export = commands.add_parser(
        "export", help="the rows as a Hugging Face dataset, in another trainer's form, or for a labelling tool"
    )
    forms = ["dataset", "sharegpt", "verl", "trl", "label-studio", "fiftyone"]
    export.add_argument("form", choices=forms, help="verl: EasyR1 reads it, too")
    export.add_argument(
        "--rows", type=int, help="label-studio, fiftyone: a stratified sample of so many (default: all)"
    )
    export.add_argument("--out", type=Path, help="a folder, which is replaced (default: exports/<form>)")
    export.add_argument("--name", default="WeThink data", help="dataset: its name in the card")
    export.add_argument(
        "--licence",
        action="append",
        default=[],
        metavar="WHAT=LICENCE",
        help="dataset: 'dataset=apache-2.0' for rows and card, 'SOURCE=…' for the images of a source; repeatable",
    )
    export.add_argument("--push", metavar="OWNER/NAME", help="dataset: upload it, as `wethink push` does")
    export.add_argument("--public", action="store_true", help="dataset: a pushed one may be seen by everybody")
    stores = commands.add_parser("answers", help="take over paid responses from the stores of other machines")
    stores.add_argument("stores", nargs="+", metavar="STORE", help="files or URLs, as launch.answers names one")
    verdicts = commands.add_parser("score", help="a verdict for each line of problem, gold and answer or response")
    verdicts.add_argument("file", metavar="FILE", help="JSON lines; - is standard input")
    audit = commands.add_parser(
        "audit", help="a random sample of rows for a human to accept or reject, and its estimate"
    )
    steps = audit.add_subparsers(dest="step", required=True, metavar="STEP")
    sample = steps.add_parser("sample", help="draw rows and write the page on which to judge them")
    sample.add_argument("--rows", type=int, default=100, help="how many (default: %(default)s)")
    sample.add_argument("--out", type=Path, default=Path("reports/audit.html"))
    estimate = steps.add_parser("estimate", help="the share of wrong rows that a saved file of verdicts shows")
    estimate.add_argument("verdicts", type=Path, help="the file that the page saved")
    estimate.add_argument("--out", type=Path, default=Path("reports/audit.json"))
    back = steps.add_parser("import", help="the verdicts of a labelling tool, for validate.verdicts")
    back.add_argument("export", type=Path, metavar="FILE", help="Label Studio's JSON, or FiftyOne's samples.json")
    back.add_argument("--out", type=Path, default=Path("data/verdicts.json"), help="default: %(default)s")
    add_plan(commands)
    add_push(commands)
    rates = commands.add_parser("passrates", help="how often a checkpoint solves each training row, for curation")
    rates.add_argument("--model", type=Path, default=Path("models/sft"), help="a checkpoint (default: %(default)s)")
    rates.add_argument("--rows", type=Path, default=Path("data/rows/rows.jsonl"), help="default: %(default)s")
    rates.add_argument("--samples", type=int, default=8, help="answers to each question (default: %(default)s)")
    rates.add_argument("--out", type=Path, default=Path("data/passrates.jsonl"))
    pages = commands.add_parser("open", help="serve all pages (report, gallery, decisions, …) with links, on loopback")
    pages.add_argument("--port", type=int, help="default: the same one every time, or a free one if it is in use")
    pages.add_argument("--no-browser", action="store_true", help="only print the address")


def _audit(args: argparse.Namespace) -> None:
    from wethink.report.audit import counts, estimate, sample

    if args.step == "sample":
        count = sample(Path("data/images"), Path("data/valid"), args.out, args.rows, load_params().seed)
        print(f"{count} rows: open {args.out}, judge, save, then `python -m wethink audit estimate FILE`")
    elif args.step == "import":
        from wethink.export.labelling_tools import import_verdicts

        imported = import_verdicts(args.export, args.out)
        words = ", ".join(f"{count:,} {name}" for name, count in imported.items())
        print(f"{args.out}: {words}; name it in validate.verdicts")
    else:
        found = estimate(args.verdicts, args.out, load_params().quality.max_unjudged)
        error = found["error"]
        print(
            f"{error['value']:.1%} of the rows are wrong (95 % interval {error['low']:.1%} to {error['high']:.1%}; "
            f"{counts(found)})"
        )


def _passrates(args: argparse.Namespace) -> None:
    from wethink.evaluation.pass_rates import passrates
    from wethink.rewards.hybrid import open_scorer

    params = load_params()
    with open_scorer(params.rewards, params.launch) as scorer:
        counts = passrates(args.model, Path("data/images"), args.rows, args.out, args.samples, params, scorer)
    print(f"{args.out}: {counts['rows']:,} rows, {counts['always']:,} always and {counts['never']:,} never solved")


def _gallery(args: argparse.Namespace) -> None:
    from wethink.report.data_gallery import gallery

    counts = gallery(Path("data/images"), Path("data/rows"), Path("data/valid"), args.out)
    print(f"{counts['rows']:,} rows about {counts['images']:,} images: open {args.out / 'index.html'}")
    if counts["without_image"]:
        print(f"{counts['without_image']:,} of them stand apart: about no image, or about one that was not ingested")


def _open(args: argparse.Namespace) -> None:
    from wethink.report.pages import serve

    serve(Path.cwd(), args.port, open_browser=not args.no_browser)


def _export(args: argparse.Namespace) -> None:
    out = args.out or Path("exports") / args.form
    images, rows, valid = Path("data/images"), Path("data/rows"), Path("data/valid")
    if args.form in ("label-studio", "fiftyone"):
        from wethink.export.labelling_tools import export_rows

        counts = export_rows(args.form, images, valid, out, args.rows, load_params().seed)
        left = f", {counts['left_out']:,} about several images or none left out" if counts["left_out"] else ""
        print(
            f"{out}: {counts['rows']:,} rows about {counts['images']:,} images{left}; then `wethink audit import FILE`"
        )
        return
    if args.form != "dataset":
        from wethink.export.trainer_formats import export_for

        counts = export_for(args.form, images, valid, out, response_format())
        print(f"{out}: " + ", ".join(f"{count:,} rows {name}" for name, count in counts.items()))
        return
    from wethink.export import hub
    from wethink.export.dataset import export_dataset

    licences = dict(_licence(text) for text in args.licence)
    made = export_dataset(images, rows, valid, out, args.name, licences)
    print(f"{out}: {made['rows']:,} rows about {made['images']:,} images")
    if args.push:
        hub.push(hub.package(out), args.push, private=not args.public)
        print(f"pushed: {hub.address('dataset', args.push)}")


def _licence(text: str) -> tuple[str, str]:
    what, equals, licence = text.partition("=")
    if not (what and equals and licence):
        raise UserError(f"--licence {text}: write WHAT=LICENCE, as in dataset=apache-2.0.")
    return what, licence


def _score(args: argparse.Namespace) -> None:
    from wethink.cli.score import score

    score(args.file)


def _plan(args: argparse.Namespace) -> None:
    from wethink.cli.plan import plan

    plan(args)


def _preview(args: argparse.Namespace) -> None:
    import shutil

    from wethink.report.preview import lines, preview

    out = Path("reports")
    found = preview(load_params(), Path("data/drawn"), out)
    size = shutil.get_terminal_size()
    print("\n".join(lines(found, out, size.columns, size.lines)))


def _quality(args: argparse.Namespace) -> None:
    from wethink.experiments.filter_quality import OUT, quality, tables

    print(tables(quality(load_params())))
    print(f"written: {OUT} and {OUT.with_suffix('.md')}")


def _answers(args: argparse.Namespace) -> None:
    from wethink.clients.response_store import ResponseStore

    own = load_params().launch.answers
    with ResponseStore(own) as store:
        for path in args.stores:
            new = store.merge(path)
            also = f"; {new['kept']} known responses differ, ours stay" if new["kept"] else ""
            print(f"{path} → {own}: {new['answers']:,} responses and {new['calls']:,} calls are new{also}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "answers": _answers,
    "audit": _audit,
    "export": _export,
    "gallery": _gallery,
    "open": _open,
    "passrates": _passrates,
    "plan": _plan,
    "preview": _preview,
    "push": push,
    "quality": _quality,
    "score": _score,
}
