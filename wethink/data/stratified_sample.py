"""Stratified sample of rows for a human audit, at most one row per scene."""

import hashlib
import math
from collections import Counter
from collections.abc import Sequence

from wethink.data.schema import Row


def stratum(row: Row) -> str:
    """Return a row's stratum: its source and question type."""
    return f"{row['source']} {row['category']}"


def draw(rows: Sequence[Row], count: int, seed: int) -> list[Row]:
    """Draw up to `count` rows in hash order, strata in proportion, one row per scene."""
    order = sorted(rows, key=lambda row: hashlib.sha256(f"audit {seed} {row['id']}".encode()).digest())
    one_each: dict[str, Row] = {}
    for row in order:
        one_each.setdefault(row["scene"], row)
    distinct = list(one_each.values())
    wanted = min(count, len(distinct))
    sizes = Counter(map(stratum, distinct))
    exact = {name: wanted * size / len(distinct) for name, size in sizes.items()}
    quota = {name: math.floor(share) for name, share in exact.items()}
    for name in sorted(exact, key=lambda name: (quota[name] - exact[name], name))[: wanted - sum(quota.values())]:
        quota[name] += 1
    chosen = []
    for row in distinct:
        if quota[stratum(row)]:
            quota[stratum(row)] -= 1
            chosen.append(row)
    return chosen
