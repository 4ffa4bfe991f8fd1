"""HTML report of `make gate`: filters, gate decision and true accuracy changes of every arm and seed."""

from typing import Any

from markupsafe import Markup

from benchmarks.promotion_gate.null_rate import sentence
from wethink.common.jsonl import Record
from wethink.report.decision import forest
from wethink.report.render import render

NEVER = {  # arms that must not be promoted → their names on the page
    "wrong_60": "60 % wrong answers",
    "blind": "answers that the questions give away",
    "shuffled": "images shuffled among its rows",
}


def gate_page(whole: Record) -> str:
    """Render `reports/gate.json` as one self-contained page."""
    changes = [change for arm in whole["arms"] for change in _changes(arm)]
    span = max((abs(change[end]) for change in changes for end in ("low", "high")), default=0.1)
    arms = [(arm, [(change, _drawn(change, span)) for change in _changes(arm)]) for arm in whole["arms"]]
    return render(
        "gate.html.jinja",
        useful=whole["promises"]["useful_promoted"],
        never=[(NEVER[name], whole["promises"][f"{name}_promoted"]) for name in NEVER],
        equals=whole["equals"] and sentence(whole["equals"]),
        span=f"{100 * span:.0f}",
        arms=arms,
        contradicted=contradicted,
        dropped=dropped,
    )


def contradicted(arm: Record) -> str:
    """Format the share of known rows that the label check contradicted."""
    found = arm["label_check"]
    return (
        f"{100 * found['share']['value']:.0f} % of {found['rows'] - found['unknown']}"
        if found and found["share"]
        else "–"
    )


def dropped(arm: Record) -> str:
    """Format the rows that import, expectations and curation dropped: wrong + right."""
    taken = {name: entry for name, entry in arm["source"]["filters"].items() if name != "stopped"}
    wrong, rows = (sum(entry[key] for entry in taken.values()) for key in ("wrong", "rows"))
    return f"{wrong} + {rows - wrong}"


def _changes(arm: Record) -> list[dict[str, Any]]:
    if arm["stopped"]:
        return []
    return [arm["decision"]["gain"], *(arm["truth"][part]["change"] for part in ("old", "new"))]


def _drawn(change: dict[str, Any], span: float) -> Markup:
    return forest({"name": "change", "change": change, "margin": None, "passed": change["high"] >= 0}, span)
