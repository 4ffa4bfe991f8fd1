"""CLI command `push`: a checkpoint or data with its card to the Hugging Face Hub, or what would be sent."""

import argparse
import contextlib
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from wethink.common.keys import read_key
from wethink.common.paths import WORK

OUT = Path("reports/push.json")
IMAGES, ROWS, VALID = Path("data/images"), Path("data/rows"), Path("data/valid")


def add_push(commands: Any) -> None:
    """Register the command with the parser's `subparsers`."""
    push = commands.add_parser("push", help="a checkpoint or data, with its card, to the Hugging Face Hub")
    push.add_argument("folder", type=Path, metavar="FOLDER", help="models/grpo, data/valid, exports/dataset, …")
    push.add_argument("repository", metavar="OWNER/NAME", help="made if it is not there (token: HF_TOKEN)")
    push.add_argument("--public", action="store_true", help="everybody may see it (default: private)")
    push.add_argument("--dry-run", action="store_true", help="show what would be sent; send nothing, need no token")
    push.add_argument("--json", action="store_true", help="print JSON in place of the list")


def push(args: argparse.Namespace) -> None:
    """Send a folder, or only list it; print the list or JSON, and write reports/push.json.

    Raises:
        UserError: the folder, the name or the token will not do, or the hub refuses.
    """
    from wethink.common.jsonl import write_json
    from wethink.export.hub import TOKEN, address, check_name, package
    from wethink.export.hub import push as send

    check_name(args.repository)
    with _as_published(args.folder) as folder:
        found = package(folder)
        written: dict[str, Any] = {
            "folder": str(args.folder),
            "repository": args.repository,
            "type": found.kind,
            "private": not args.public,
            "url": address(found.kind, args.repository),
            "files": [{"path": name, "bytes": size} for name, size in found.files.items()],
            "bytes": sum(found.files.values()),
            "left_out": list(found.left_out),
            "card": found.card,
            "sent": not args.dry_run,
            "token": bool(read_key(TOKEN)),
        }
        if not args.dry_run:
            written["private"] = send(found, args.repository, private=not args.public)
    write_json(OUT, written)
    if args.json:
        print(json.dumps(written, indent=2, sort_keys=True, ensure_ascii=False))
    else:
        print(as_text(written))


@contextlib.contextmanager
def _as_published(folder: Path) -> Iterator[Path]:
    """Yield the folder after checking its manifest; for the project's rows, their export as a dataset, made anew.

    Raises:
        UserError: a file was changed after its stage published it.
    """
    from wethink.dag.publishing import MANIFEST, verify_manifest

    if (folder / MANIFEST).is_file():
        verify_manifest(folder)
    if folder.resolve() != VALID.resolve() or not folder.is_dir():
        yield folder
        return
    from wethink.export.dataset import export_dataset

    WORK.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=WORK, prefix="push-") as made:
        out = Path(made) / "valid"
        export_dataset(IMAGES, ROWS, VALID, out, "WeThink data", {})
        yield out


def as_text(written: dict[str, Any]) -> str:
    """Return the list of files for people."""
    visible = "private" if written["private"] else "public"
    verb = "sent" if written["sent"] else "would be sent"
    width = max(len(f"{entry['bytes']:,}") for entry in written["files"])
    lines = [f"  {entry['bytes']:>{width},}  {entry['path']}" for entry in written["files"]]
    head = f"{verb} to {written['url']} ({visible} {written['type']}):"
    lines += [f"{len(written['files'])} files, {written['bytes']:,} bytes; the card is README.md"]
    if written["left_out"]:
        lines.append(f"left out, since hidden: {', '.join(written['left_out'])}")
    if not written["token"]:
        lines.append("HF_TOKEN is not set; without --dry-run it has to be.")
    return "\n".join([head, *lines])
