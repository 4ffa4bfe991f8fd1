"""Dataset card: origin of the rows, filter funnel, distributions, models and licences."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ruamel.yaml import YAML

from wethink.data.image_store import ImageRecord
from wethink.data.schema import Row

NOT_STATED = "not stated"
SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))


def card(
    name: str,
    rows: Sequence[Row],
    images: Sequence[ImageRecord],
    funnel: Mapping[str, Any],
    licences: Mapping[str, str],
) -> str:
    """Return the text of README.md, with the hub's YAML in front."""
    parts = [
        _front(name, rows, licences),
        f"# {name}",
        _origin(rows),
        "```python\nfrom datasets import load_dataset\n\n"
        'load_dataset("<this folder, or its name on the hub>")  # pictures decoded in the column `image`\n'
        'load_dataset("json", data_files="rows/*.jsonl")  # the same rows as text, pictures named by `image_id`\n```',
        "## From images to rows\n\n" + _funnel(funnel, len(images), all(map(is_given, rows))),
        "## Distributions\n\n" + _distributions(rows),
        "## Who wrote the rows\n\n" + _writers(rows),
        "## Licences\n\n" + _licences(images, licences),
        "## Columns\n\n"
        "`problem`, `answer`, `category` (MC multiple choice, FIB fill in the blank, DES description), `abilities`, "
        "`refined_cot` (empty: no reasoning path), `image_path`, `reward` (`rule` or `model`: how an answer is "
        "checked) are those of the released WeThink data. Beside them: `id`, `image_id`, `source`, `split`, `scene` "
        "(images of the same content share one: split by it), `kind`, `decisions`, `provenance` and `columns` (JSON; "
        "the last holds other columns of a given row), `image`. "
        "`image_id` is the sha256 of the picture's bytes.",
    ]
    return "\n\n".join(parts) + "\n"


def is_given(row: Row) -> bool:
    """Return whether the row was given by the user, not written by an annotator."""
    return row["provenance"].get("annotator") == "rows"


def _origin(rows: Sequence[Row]) -> str:
    """State who wrote the rows."""
    files = Counter(str(row["provenance"].get("given", "a file of rows")) for row in rows if is_given(row))
    said = []
    if written := len(rows) - files.total():
        said.append(
            "Questions about images that need reasoning, with answers and (for some) a refined reasoning path, written "
            "by models and filtered by their agreement: synthetic data. An answer is what the annotators agreed on, "
            "not a verified truth."
        )
    if files:
        names = ", ".join(f"`{name}` ({count:,} rows)" for name, count in sorted(files.items()))
        start = "Questions about images with answers and (for some) a reasoning path" if not written else "Other rows"
        said.append(
            f"{start} were given by the user: {names}. They were checked for their form and normalised, not verified."
        )
        if written:
            said.append(f"{files.total():,} of {len(rows):,} rows were given, {written:,} written by models.")
    return " ".join(said)


def _front(name: str, rows: Sequence[Row], licences: Mapping[str, str]) -> str:
    import io

    found = sorted({row["split"] for row in rows})
    front = {
        "pretty_name": name,
        "license": licences.get("dataset", "unknown"),
        "task_categories": ["visual-question-answering", "image-text-to-text"],
        "tags": ["reasoning", *([] if all(map(is_given, rows)) else ["synthetic"])],
        "size_categories": [next((size for limit, size in SIZES if len(rows) < limit), "n>1M")],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": split, "path": f"data/{split}-*.parquet"} for split in found],
            },
        ],
    }
    text = io.StringIO()
    yaml = YAML()
    yaml.dump(front, text)
    return f"---\n{text.getvalue()}---"


def _funnel(funnel: Mapping[str, Any], images: int, are_given: bool) -> str:
    """Tabulate what became of images and candidates."""
    made, valid = funnel["rows"], funnel["valid"]
    lines: list[tuple[str, object]] = [("rows given", made["candidates"])]
    if not are_given:
        lines = [("images annotated", sum(made["images"].values())), ("candidates", made["candidates"])]
    if not are_given and made.get("given"):
        lines.append(("of them given by the user and kept", made["given"]))
    lines += [(f"rejected: {reason}", count) for reason, count in made["rejected"].items()]
    lines += [(f"failed: {reason}", count) for reason, count in made.get("failed", {}).items()]
    lines += [("kept by synthesis", made["kept"]), ("quarantined by validation", valid["quarantined"])]
    lines += [(f"dropped by curation: {reason}", count) for reason, count in valid["curated"].items()]
    lines += [("**rows of this dataset**", valid["kept"]), ("images of this dataset", images)]
    return _table(("step", "count"), lines)


def _distributions(rows: Sequence[Row]) -> str:
    tables = []
    for title, values in (
        ("split", [row["split"] for row in rows]),
        ("source", [row["source"] for row in rows]),
        ("type", [row["category"] for row in rows]),
        ("ability", [ability for row in rows for ability in row["abilities"]]),
        ("reward", [row["reward"] for row in rows]),
        ("reasoning path", ["with" if row["refined_cot"] else "without" for row in rows]),
    ):
        counts = Counter(values).most_common()
        tables.append(_table((title, "rows", "share"), [(n, c, f"{c / len(rows):.1%}") for n, c in counts]))
    lengths = sorted(len(row["refined_cot"].split()) for row in rows if row["refined_cot"])
    if lengths:
        tables.append(
            f"Reasoning paths have {lengths[0]} to {lengths[-1]} words, {lengths[len(lengths) // 2]} at the median."
        )
    return "\n\n".join(tables)


def _writers(rows: Iterable[Row]) -> str:
    """Tabulate who wrote the rows: the models of each step as the rows' provenance names them, or the user's file.

    Teams without models are listed by their name.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for row in rows:
        provenance = row["provenance"]
        steps = provenance.get("steps", {})
        if is_given(row):
            counts[("all steps", f"given by the user: {provenance.get('given', 'a file of rows')}")] += 1
            continue
        counts.update((step, str(entry.get("model", "?"))) for step, entry in steps.items())
        if not steps:
            counts[("all steps", f"the team '{provenance.get('annotator', 'unknown')}'")] += 1
    return _table(("step", "written by", "rows"), [(*key, count) for key, count in sorted(counts.items())])


def _licences(images: Iterable[ImageRecord], licences: Mapping[str, str]) -> str:
    counts = Counter(record.source for record in images)
    lines = [(source, count, licences.get(source, NOT_STATED)) for source, count in sorted(counts.items())]
    said = f"Rows and this card: {licences.get('dataset', NOT_STATED)}. Images keep the licence of their source:"
    return said + "\n\n" + _table(("source", "images", "licence"), lines)


def _table(head: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    def row(cells: Iterable[object]) -> str:
        return "| " + " | ".join(str(f"{c:,}" if isinstance(c, int) else c).replace("|", "\\|") for c in cells) + " |"

    return "\n".join([row(head), "|" + "---|" * len(head), *map(row, lines)])
