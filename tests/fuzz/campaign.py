"""Fuzzing campaign: names of the readers, endless inputs for each, and counts of failures."""

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.fuzz import generated, listings, readers
from tests.fuzz.mutation import mutated, recoded
from tests.fuzz.readers import Reader

READERS = {
    reader.name: reader
    for reader in (
        Reader("rows", readers.rows, readers.ROW_SEEDS, generated.ROWS),
        Reader("json lines", readers.records, readers.ROW_SEEDS, generated.ROWS),
        Reader("score lines", readers.scores, readers.SCORE_SEEDS, generated.SCORE_LINES),
        Reader("json documents", readers.document, [b'{"a": [1, 2.5, null]}', b"{}"], generated.LINE),
        Reader(
            "parameters", readers.params, [readers.TINY],
            generated.changed(readers.TREE).map(lambda tree: json.dumps(tree).encode()),
        ),
        Reader("benchmark tables", readers.tables, readers.TABLE_SEEDS, generated.tables()),
        Reader("contamination filter", readers.gate, readers.TABLE_SEEDS, generated.tables()),
        Reader("model replies", readers.replies, readers.REPLY_SEEDS, generated.REPLY),
        Reader("pictures", readers.pictures, readers.PICTURE_SEEDS, tokens=readers.PICTURE_TOKENS, text=False),
    )
}  # fmt: skip
LISTINGS = "sources' listings"
NAMES = (*READERS, LISTINGS)


@dataclass
class Campaign:
    """Counts of one reader's inputs and failures."""

    name: str
    inputs: int = 0
    tracebacks: int = 0
    lost: int = 0

    def record(self) -> dict[str, Any]:
        return asdict(self)


def check_of(name: str) -> Callable[[bytes, Path], None]:
    if name == LISTINGS:
        return lambda data, folder: listings.listing(int(data), folder / "listing")
    return READERS[name].check


def inputs_of(name: str, rng: Random) -> Iterator[bytes]:
    """Yield inputs without end: mutated seeds and, where the reader has them, generated ones."""
    while True:
        if name == LISTINGS:
            yield str(rng.randrange(2**32)).encode()
            continue
        reader = READERS[name]
        for _ in range(100):
            data = mutated(reader.seeds, reader.tokens, rng)
            yield recoded(data, rng) if reader.text else data
        if reader.strategy is not None:
            yield from _generated(reader.strategy, 50, rng.randrange(2**32))


def _generated(strategy: st.SearchStrategy[bytes], count: int, start: int) -> list[bytes]:
    found: list[bytes] = []

    @seed(start)
    @settings(
        max_examples=count, database=None, deadline=None, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(strategy)
    def collect(data: bytes) -> None:
        found.append(data)

    collect()
    return found
