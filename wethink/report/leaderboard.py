"""Leaderboard (`wethink leaderboard`): benchmark results beside published ones, down to each item.

    reports/leaderboard/index.html                    all benchmarks, intervals, groups, comparisons
                        items/<table>/<run>/1.html …  every item: picture, question, response, extraction, verdict
                        pictures/<hash>.png           the items' pictures, small, shared by all runs

All text of tables and models is escaped, pictures are decoded and written anew, and the pages' own policy lets no
script but theirs run and nothing be fetched from elsewhere.
"""

import hashlib
import io
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from wethink.common.jsonl import Record, read_json, write_json
from wethink.data.benchmark_table import NoImage, Table
from wethink.evaluation.benchmarks.published_scores import SOURCE
from wethink.evaluation.benchmarks.results import board, run_items
from wethink.evaluation.benchmarks.run import HOME, decoded
from wethink.report.plots import Dot, strip
from wethink.report.render import render

OUT = Path("reports/leaderboard")
PER_PAGE = 100
SIDE = 320  # pixels of a picture's longer side
STYLES = ("base", "sft", "grpo")  # colours of the first rows; later ones take the last


def write_leaderboard(home: Path = HOME, out: Path = OUT, order: Sequence[str] = ("base", "sft", "grpo")) -> Path:
    """Write the pages and `leaderboard.json`; return the path of the first page."""
    found = board(home, order)
    shutil.rmtree(out, ignore_errors=True)
    (out / "pictures").mkdir(parents=True)
    pages = {
        (entry["name"], row["run"]): _write_items(entry, row, out)
        for entry in found["benchmarks"]
        for row in entry["rows"]
        if not row.get("official") and "missing" not in row
    }
    html = render(
        "leaderboard.html.jinja",
        board=found,
        source=SOURCE,
        filled=[entry for entry in found["benchmarks"] if entry["rows"]],
        empty=[entry for entry in found["benchmarks"] if not entry["rows"]],
        pages=pages,
        strips={entry["name"]: _strip(entry) for entry in found["benchmarks"]},
        groups={entry["name"]: _groups(entry) for entry in found["benchmarks"]},
        styles={entry["name"]: _styles(entry) for entry in found["benchmarks"]},
    )
    (out / "index.html").write_text(html, encoding="utf-8")
    write_json(out / "leaderboard.json", _without_folders(found))
    return out / "index.html"


def _without_folders(found: dict[str, Any]) -> dict[str, Any]:
    rows = [
        entry | {"rows": [{k: v for k, v in row.items() if k not in ("folder", "about")} for row in entry["rows"]]}
        for entry in found["benchmarks"]
    ]
    return found | {"benchmarks": rows}


def _styles(entry: dict[str, Any]) -> dict[str, str]:
    """Give each run a colour: by its label if that names a stage, else in turn."""
    found: dict[str, str] = {}
    for place, row in enumerate(entry["rows"]):
        found[row["run"]] = row["label"] if row["label"] in STYLES else STYLES[min(place, len(STYLES) - 1)]
    return found


def _dot(style: str, name: str, figure: dict[str, Any]) -> Dot | None:
    if figure["value"] is None or figure["low"] is None:
        return None
    return Dot(style, name, figure["value"], figure["low"], figure["high"])


def _strip(entry: dict[str, Any]) -> Markup | None:
    styles = _styles(entry)
    dots = [
        _dot(styles[row["run"]], row["label"], row["figures"][entry["figures"][0]])
        for row in entry["rows"]
        if "figures" in row and entry["figures"][0] in row["figures"]
    ]
    drawn = [dot for dot in dots if dot]
    return strip(drawn, None) if drawn else None


def _groups(entry: dict[str, Any]) -> list[dict[str, Any]]:
    """Draw, for every grouping column, one strip per group with a dot per run."""
    styles = _styles(entry)
    rows = [row for row in entry["rows"] if row.get("groups")]
    columns = list(dict.fromkeys(column for row in rows for column in row["groups"]))
    found = []
    for column in columns:
        names = sorted({name for row in rows for name in row["groups"].get(column, {})})
        lines = []
        for name in names:
            cells = [(row, row["groups"][column][name]) for row in rows if name in row["groups"].get(column, {})]
            dots = [dot for row, figure in cells if (dot := _dot(styles[row["run"]], row["label"], figure))]
            lines.append({"name": name, "n": cells[0][1]["n"], "strip": strip(dots, None) if dots else None})
        found.append({"column": column, "lines": lines})
    return found


def _write_items(entry: dict[str, Any], row: dict[str, Any], out: Path) -> list[str]:
    """Write a run's item pages; return their addresses relative to the first page."""
    items = run_items(Path(row["folder"]))
    path = Path(read_json(Path(row["folder"]) / "run.json")["table"])
    table = Table(path) if path.is_file() else None
    folder = out / "items" / entry["name"] / row["run"]
    folder.mkdir(parents=True)
    count = -(-len(items) // PER_PAGE)
    addresses = []
    for number in range(count):
        part = items[number * PER_PAGE : (number + 1) * PER_PAGE]
        cards = [_card(record, table, out) for record in part]
        html = render(
            "leaderboard_items.html.jinja",
            title=entry["title"],
            label=row["label"],
            cards=cards,
            page=number + 1,
            pages=count,
            categories=sorted({card["category"] for card in cards} - {""}),
        )
        (folder / f"{number + 1}.html").write_text(html, encoding="utf-8")
        addresses.append(f"items/{entry['name']}/{row['run']}/{number + 1}.html")
    return addresses


def _card(record: Record, table: Table | None, out: Path) -> dict[str, Any]:
    item = table.items.get(record["index"]) if table else None
    return {
        "record": record,
        "question": item.get("question") if item else "(the table is no longer where it was)",
        "hint": item.get("hint") if item else "",
        "options": item.options() if item else {},
        "answer": item.get("answer") if item else "",
        "category": record["cells"].get("category", ""),
        "pictures": _pictures(table, record["index"], out) if table and item else [],
    }


def _pictures(table: Table, index: str, out: Path) -> list[dict[str, Any]]:
    """Write an item's pictures as small PNGs, addressed relative to an item page.

    They are decoded and encoded anew, so that nothing but pixels reaches the page.
    """
    found: list[dict[str, Any]] = []
    name = hashlib.sha256(table.items[index].shown.encode()).hexdigest()[:24]
    try:
        for place, data in enumerate(table.images(index)):
            path = out / "pictures" / f"{name}-{place}.png"
            if not path.exists():
                picture = decoded(data, SIDE * SIDE)
                picture.thumbnail((SIDE, SIDE))
                buffer = io.BytesIO()
                picture.save(buffer, "PNG")
                path.write_bytes(buffer.getvalue())
            found.append({"src": f"../../../pictures/{path.name}"})
    except NoImage:
        pass  # the record shows it: its verdict is unknown
    return found
