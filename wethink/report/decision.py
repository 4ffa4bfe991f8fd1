"""HTML report of a promotion decision: verdict, reasons, evidence and lineage.

It shows the decision's record and computes nothing. All text is escaped; the page runs no script and fetches nothing.
"""

import re
from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from wethink.common.jsonl import Record
from wethink.report.plots import points
from wethink.report.render import render

UNCHECKED = "nobody checked"  # a label check without a reader (wethink/retraining/label_check.py)


def decision_page(decision: Record, lineage: Mapping[str, Any]) -> str:
    """Render a `Decision.as_record` and the models' lineage as one page."""
    groups = decision["groups"]
    reach = max((abs(x) for g in groups for x in (g["change"]["low"], g["change"]["high"], g["margin"])), default=0.1)
    span = max(0.05, -(-reach // 0.05) * 0.05)  # the next five points
    return render(
        "decision.html.jinja",
        decision=decision,
        lineage=lineage,
        warnings=warnings(lineage),
        uses=[(use, {c["control"]: c for c in use["comparisons"]}) for use in decision["image_use"]],
        groups=[(group, forest(group, span)) for group in groups],
        span=round(100 * span),
    )


def warnings(lineage: Mapping[str, Any]) -> list[str]:
    """Return what a reader must know before the verdict, a sentence each."""
    looked = str(lineage.get("label check", ""))
    if not looked.startswith(UNCHECKED) and not re.search(r" could read none of \d+ rows\b", looked):
        return []
    return [
        f"No one but their author has checked the rows of the new source (label check: {looked}). Its held-out "
        "questions are scored by these very answers: if they are wrong, so are the figures of the new items."
    ]


def forest(group: Record, span: float) -> Markup:
    """Draw a group's change, interval and any margin on an axis of ±`span`."""

    def place(value: float) -> str:
        return f"{50 + 50 * value / span:.2f}%"

    change, margin = group["change"], Markup()
    if group["margin"] is not None:
        line = Markup('<line class="margin" x1="{0}" x2="{0}" y1="0" y2="20"/>')
        margin = line.format(place(-group["margin"]))
    spoken = f"{group['name']}: {points(change['mean'])} points, {points(change['low'])} to {points(change['high'])}"
    return Markup(
        '<svg class="forest{fails}" role="img" aria-label="{spoken}" height="20">'
        '<line class="zero" x1="50%" x2="50%" y1="0" y2="20"/>'
        "{margin}"
        '<line class="interval" x1="{low}" x2="{high}" y1="10" y2="10"/><circle cx="{mean}" cy="10" r="4"/></svg>'
    ).format(
        fails=" fails" if group["passed"] is False else "",
        spoken=escape(spoken),
        margin=margin,
        low=place(change["low"]),
        high=place(change["high"]),
        mean=place(change["mean"]),
    )
