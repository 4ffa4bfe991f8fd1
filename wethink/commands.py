"""Commands for people beside the DAG: what they are called with, and the module that does the work (imported late)."""

import argparse
from collections.abc import Callable
from typing import Any

from wethink.config import load_params


def add_commands(commands: Any) -> None:
    """Register every command of this module with the parser's `subparsers`."""
    commands.add_parser("quality", help="how good the filters of synthesis are, on drawn images → reports/quality.json")
    gallery = commands.add_parser(
        "gallery", help="every image, question, answer and verdict, as a page to look through"
    )
    gallery.add_argument("--out", type=Path, default=Path("reports/gallery"), help="a folder, which is replaced")


def _gallery(args: argparse.Namespace) -> None:
    from wethink.gallery.build import gallery

    counts = gallery(Path("data/images"), Path("data/rows"), Path("data/valid"), args.out)
    print(f"{counts['rows']:,} rows about {counts['images']:,} images: open {args.out / 'index.html'}")


def _quality(args: argparse.Namespace) -> None:
    from wethink.quality import OUT, quality, tables

    print(tables(quality(load_params())))
    print(f"written: {OUT} and {OUT.with_suffix('.md')}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "gallery": _gallery,
    "quality": _quality,
}
