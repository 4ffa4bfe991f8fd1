"""The page of `make gate`: every arm of every seed, what the filters caught, what the gate saw, and what was true."""

from typing import Any

from markupsafe import Markup

from benchmarks.promotion_gate.null_rate import sentence
from wethink.common.jsonl import Record
from wethink.report.decision import OWN_STYLE, forest
from wethink.report.render import STYLE, environment

CELLS = """
td, tbody th { white-space: nowrap; vertical-align: middle; }
td.why { white-space: normal; color: var(--muted); font-size: 0.85em; }
td.change { min-width: 150px; }
td.change svg { display: inline-block; width: 100px; min-width: 100px; vertical-align: middle; }
"""
PAGE = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>WeThink: is the gate a wall, or a door?</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<p class="eyebrow">WeThink · the promotion gate, with real training of the tiny profile</p>
<h1>A useful source: promoted in {{ useful.promoted }} of {{ useful.of }} seeds. One with 60 % wrong answers:
in {{ worst.promoted }} of {{ worst.of }}.</h1>
<p class="lead">A source of digits lands later, as its annotator wrote it and with declared shares of wrong answers.
Each time a challenger is trained and stands beside the champion, unless a filter stops the source before that.</p>
{% if equals %}<p class="note">{{ equals }}</p>{% endif %}

<section aria-labelledby="arms">
<h2 id="arms">Every arm</h2>
<p class="note">Challenger minus champion in percentage points, with 95 % intervals, on an axis from −{{ span }} to
+{{ span }}. The gate saw the declared mix, judged by the answers that the source brought. True: judged by what is
drawn, which the gate does not know. Contradicted: by the second look. Dropped: wrong rows + right rows.</p>
<div class="scroll" role="region" aria-labelledby="arms" tabindex="0">
<table>
<thead><tr><th scope="col">Source</th><th scope="col">Seed</th><th scope="col">Wrong</th>
<th scope="col">Contradicted</th><th scope="col">Dropped</th>
<th scope="col">Decision</th><th scope="col">The gate saw</th><th scope="col">True, old items</th>
<th scope="col">True, new items</th></tr></thead>
<tbody>
{% for arm, cells in arms %}
<tr><th scope="row">{{ arm.arm|replace('_', ' ') }}</th><td>{{ arm.seed }}</td>
<td class="num">{{ (arm.source.wrong / arm.source.rows)|percent }}</td><td>{{ contradicted(arm) }}</td>
<td>{{ dropped(arm) }}</td>
<td><span class="verdict {{ 'yes' if arm.decision and arm.decision.promoted else 'no' }}">
{%- if arm.stopped %}stopped{% else %}{{ 'promoted' if arm.decision.promoted else 'refused' }}{% endif %}</span></td>
{% for change, svg in cells %}<td class="change">{{ svg }}<span class="num">{{ change.mean|points }}</span></td>
{% else %}<td colspan="3" class="why">{{ arm.stopped.reason|truncate(180, end=' …') }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
</main>
<footer><p class="note">Wrong: rows whose answer is not the true one, of all that the source brought. An interval
resamples scenes; how much training varies, the seeds show.</p></footer>
</body>
</html>
"""


def gate_page(whole: Record) -> str:
    """`reports/gate.json` as one self-contained page."""
    changes = [change for arm in whole["arms"] for change in _changes(arm)]
    span = max((abs(change[end]) for change in changes for end in ("low", "high")), default=0.1)
    arms = [(arm, [(change, _drawn(change, span)) for change in _changes(arm)]) for arm in whole["arms"]]
    return (
        environment()
        .from_string(PAGE)
        .render(
            style=Markup(STYLE + OWN_STYLE + CELLS),
            useful=whole["promises"]["useful_promoted"],
            worst=whole["promises"]["wrong_60_promoted"],
            equals=whole["equals"] and sentence(whole["equals"]),
            span=f"{100 * span:.0f}",
            arms=arms,
            contradicted=contradicted,
            dropped=dropped,
        )
    )


def contradicted(arm: Record) -> str:
    """The share that the second look contradicted, of how many rows."""
    found = arm["second_look"]
    return (
        f"{100 * found['share']['value']:.0f} % of {found['rows'] - found['unknown']}"
        if found and found["share"]
        else "–"
    )


def dropped(arm: Record) -> str:
    """Rows that import, expectations and curation took out: wrong ones, and right ones."""
    taken = {name: entry for name, entry in arm["source"]["filters"].items() if name != "stopped"}
    wrong, rows = (sum(entry[key] for entry in taken.values()) for key in ("wrong", "rows"))
    return f"{wrong} + {rows - wrong}"


def _changes(arm: Record) -> list[dict[str, Any]]:
    if arm["stopped"]:
        return []
    return [arm["decision"]["gain"], *(arm["truth"][part]["change"] for part in ("old", "new"))]


def _drawn(change: dict[str, Any], span: float) -> Markup:
    return forest({"name": "change", "change": change, "margin": None, "passed": change["high"] >= 0}, span)
