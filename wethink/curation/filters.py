"""Row filters: duplicate questions, benchmark contamination, difficulty, caps per group.

The filters run in this order, and a dropped row has the reason of its filter, so the counts add up. All but the first
are off unless params.yaml sets them.
"""

import hashlib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, numbered_jsonl
from wethink.config.curation import Curation
from wethink.curation import duplicate_questions
from wethink.curation.contamination import Benchmark, collection, contaminated
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, row_images

ASKED_BEFORE = "asked before"  # reason of a repeated row
REASONING = "reasoning"  # in every question, so no ability to balance


@dataclass(frozen=True)
class Curated:
    """The kept rows in order, the dropped rows with `reason`, and benchmark records."""

    kept: list[Row]
    dropped: list[Record]
    benchmarks: list[Record]

    @property
    def reasons(self) -> dict[str, int]:
        """Number of dropped rows by reason."""
        return dict(sorted(Counter(row["reason"].split(":")[0] for row in self.dropped).items()))


def curate(rows: Sequence[Row], images: ImageSet, config: Curation, seed: int) -> Curated:
    """Apply every configured filter to valid rows.

    Raises:
        UserError: a configured file is missing or malformed.
    """
    benchmarks: list[Record] = []
    filters: list[Callable[[Sequence[Row]], dict[str, str]]] = [
        lambda left: _repeated(left, images),
        lambda left: _tested(left, images, config, benchmarks),
        lambda left: _unfit(left, config),
        lambda left: balance(left, config.caps.model_dump(), seed),
    ]
    left, reasons = list(rows), dict[str, str]()
    for find in filters:
        found = find(left)
        reasons |= found
        left = [row for row in left if row["id"] not in found]
    return Curated(left, [row | {"reason": reasons[row["id"]]} for row in rows if row["id"] in reasons], benchmarks)


def _repeated(rows: Sequence[Row], images: ImageSet) -> dict[str, str]:
    found = duplicate_questions.duplicates(rows, images.pictures())
    return {row: f"{ASKED_BEFORE}: row {first}" for row, first in found.items()}


def _tested(rows: Sequence[Row], images: ImageSet, config: Curation, benchmarks: list[Record]) -> dict[str, str]:
    """Find rows about a benchmark's pictures or with its questions; append its record.

    Rows about near-duplicates of these pictures are included.
    """
    if not config.benchmarks:
        return {}
    ours = collection(rows, images)
    dropped: dict[str, str] = {}
    pictures = images.pictures()
    for path in map(Path, config.benchmarks):
        found = contaminated(ours, path)
        _report_unchecked(found, config.max_unreadable)
        shown = {pictures[image] for image in found.images}
        hits = {row["id"] for row in rows if not shown.isdisjoint(pictures[image] for image in row_images(row))}
        hits |= found.questions
        dropped |= {row: f"contaminated: {path.name}" for row in sorted(hits) if row not in dropped}
        benchmarks.append(found.as_record() | {"rows_dropped": len(hits)})
    return dropped


def _report_unchecked(found: Benchmark, limit: float) -> None:
    """Print how much of a benchmark could not be compared.

    Raises:
        UserError: it is all of it, or more than the limit.
    """
    if found.without_picture:
        print(f"{found.path}: {found.without_picture} of {found.rows} rows have no picture to compare", file=sys.stderr)
    if not found.unchecked:
        return
    counts = f"{found.unreadable} of {found.pictures} pictures"
    if found.unreadable_rows:
        counts += f" and {found.unreadable_rows} of {found.rows} rows"
    said = f"{found.path}: {counts} could not be read ({'; '.join(found.faults[:3])})"
    if found.unreadable == found.pictures or found.unchecked > limit * found.checkable:
        raise UserError(
            f"validate.curation.benchmarks: {said}, so that nobody knows whether the rows contain them; mend the file, "
            f"or raise validate.curation.max_unreadable ({limit:.0%})."
        )
    print(said, file=sys.stderr)


def _unfit(rows: Sequence[Row], config: Curation) -> dict[str, str]:
    """Find rows with a pass rate outside the limits; rows without one are kept."""
    if config.difficulty is None:
        return {}
    low, high = config.difficulty.low, config.difficulty.high
    rates = _rates(Path(config.difficulty.rates))
    if rows and not any(row["id"] in rates for row in rows):
        raise UserError(
            f"{config.difficulty.rates} has no pass rate of any of the {len(rows)} rows and would filter none; "
            "write it with `python -m wethink passrates` from these rows."
        )
    return {
        row["id"]: f"{'too easy' if rates[row['id']] > high else 'too hard'}: pass rate {rates[row['id']]:.2f}"
        for row in rows
        if row["id"] in rates and not low <= rates[row["id"]] <= high
    }


def _rates(path: Path) -> dict[str, float]:
    """Read pass rates by row id; a row without samples has none.

    Raises:
        UserError: a line is no pass rate.
    """
    rates: dict[str, float] = {}
    for number, record in numbered_jsonl(path, "write it with `python -m wethink passrates`"):
        name, passes, samples = (record.get(key) for key in ("id", "passes", "samples"))
        counts = type(passes) is int and type(samples) is int and 0 <= passes <= samples  # True is no count
        if not isinstance(name, str) or not counts:
            raise UserError(
                f"{path}, line {number}: no pass rate (id, passes, samples); write the file with "
                "`python -m wethink passrates`."
            )
        if record["samples"]:
            rates[name] = record["passes"] / record["samples"]
    return rates


def balance(rows: Sequence[Row], caps: dict[str, int | None], seed: int) -> dict[str, str]:
    """Find rows over the cap of their source, category or an ability, in hash order."""
    if not any(caps.values()):
        return {}
    counts: Counter[tuple[str, str]] = Counter()
    dropped = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(f"balance {seed} {row['id']}".encode()).digest()):
        groups = [("source", row["source"]), ("category", row["category"])]
        groups += [("ability", name) for name in row["abilities"] if name != REASONING]
        full = next((group for group in groups if (cap := caps[group[0]]) and counts[group] >= cap), None)
        if full:
            dropped[row["id"]] = f"over the cap: {full[0]} {full[1]}"
        else:
            counts.update(groups)
    return dropped
