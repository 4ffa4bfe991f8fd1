"""Which prompts GRPO learns from: by source, question type, reward route and pass rate. All by default."""

from collections.abc import Mapping, Sequence

from wethink.config import Grpo
from wethink.records import Record


def chosen_rows(rows: Sequence[Record], config: Grpo) -> list[Record]:
    """The rows of the configured sources, question types and reward route."""
    kept = [
        row
        for row in rows
        if (config.sources is None or row["source"] in config.sources)
        and (config.categories is None or row["category"] in config.categories)
        and not (config.route == "rule" and row["reward"] != "rule")
    ]
    return [row | {"reward": "model"} for row in kept] if config.route == "model" else kept


def nearest_half(rows: Sequence[Record], rates: Mapping[str, float], share: float) -> list[Record]:
    """The share of the rows whose pass rate is nearest to ½, where a group's rewards vary most; in the rows' order."""
    count = max(1, round(share * len(rows)))
    best = sorted(rows, key=lambda row: (abs(rates[row["id"]] - 0.5), row["id"]))[:count]
    kept = {row["id"] for row in best}
    return [row for row in rows if row["id"] in kept]
