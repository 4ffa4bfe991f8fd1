"""A decision of the gate as one self-contained page: what was decided, why, and what it rests on.

It shows the decision's record and computes nothing. All text is escaped; the page runs no script and fetches nothing.
"""

from collections.abc import Mapping
from typing import Any

from markupsafe import Markup, escape

from wethink.common.jsonl import Record
from wethink.report.plots import points
from wethink.report.render import STYLE, environment
from wethink.report.template import MACROS

OWN_STYLE = """
.verdict { display: inline-block; padding: 2px 12px; border-radius: 999px; font-weight: 650; font-size: 0.95rem; }
.yes { background: var(--right-soft); color: var(--right); } .no { background: var(--wrong-soft); color: var(--wrong); }
.plain { background: var(--soft); color: var(--muted); }
.reasons li { margin: 0 0 8px; max-width: 46em; overflow-wrap: anywhere; }
.forest { display: block; width: 100%; min-width: 200px; color: var(--sft); } .forest.fails { color: var(--wrong); }
.forest .zero { stroke: var(--muted); } .forest .margin { stroke: var(--grpo); stroke-dasharray: 3 3; stroke-width: 2; }
.forest .interval { stroke: currentColor; stroke-width: 2.5; stroke-linecap: round; opacity: 0.55; }
.forest circle { fill: currentColor; }
.key { display: inline-block; width: 0; height: 0.9em; border-left: 2px dashed var(--grpo); margin: 0 6px -1px 0; }
td.wide { width: 34%; } .facts td { overflow-wrap: anywhere; }
.facts th { width: 30%; font-weight: 400; color: var(--muted); }
"""

PAGE = (
    MACROS
    + """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>WeThink: {{ 'promoted' if decision.promoted else 'refused' }}</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<p class="eyebrow">WeThink · decision of the promotion gate</p>
<h1>{{ 'The challenger takes the place of the champion.' if decision.promoted else 'The champion stays.' }}</h1>
<p><span class="verdict {{ 'yes' if decision.promoted else 'no' }}">
{{- 'promoted' if decision.promoted else 'refused' }}</span></p>
<ul class="reasons">
{% for reason in decision.reasons %}
<li>{{ reason }}</li>
{% endfor %}
</ul>

{% if decision.gain %}
<section aria-labelledby="gain">
<h2 id="gain">On the declared mix</h2>
<p class="note">Challenger minus champion on the same questions, in percentage points; 95 % intervals resample scenes.
The gain is promoted only if p is at most what this look may spend of the programme's chance of error.</p>
<dl class="hero">
<div class="sft"><dt>Change</dt><dd class="num">{{ decision.gain.mean|points }}
<small>{{ decision.gain.low|points }} to {{ decision.gain.high|points }}</small></dd></div>
<div class="base"><dt>p</dt><dd class="num">{{ '%.2g'|format(decision.p) }}
<small>allowed {{ '%.2g'|format(decision.level) }}</small></dd></div>
<div class="base"><dt>Look</dt><dd class="num">{{ decision.look }}
<small>of its programme</small></dd></div>
<div class="base"><dt>Questions</dt><dd class="num">{{ decision.gain['items']|count }}
<small>{{ decision.gain.scenes|count }} scenes</small></dd></div>
</dl>
</section>
{% endif %}

<section aria-labelledby="parts">
<h2 id="parts">Accuracy</h2>
<div class="scroll" role="region" aria-labelledby="parts" tabindex="0">
<table>
<thead><tr><th scope="col">Held-out items</th><th scope="col">Weight</th><th scope="col">Champion</th>
<th scope="col">Challenger</th></tr></thead>
<tbody>
{% for part, weight in decision.weights.items() %}
<tr><th scope="row">{{ part }}</th><td class="num">{{ weight|percent }}</td>
{% for model in ('champion', 'challenger') %}
<td class="num">{{ decision.accuracy[model].get(part)|percent }}</td>
{% endfor %}</tr>
{% endfor %}
<tr><th scope="row">Unknown verdicts</th><td></td>
{% for model in ('champion', 'challenger') %}<td class="num">{{ decision.unknown[model]|percent }}</td>{% endfor %}</tr>
</tbody>
</table>
</div>
</section>

{% if groups %}
<section aria-labelledby="groups">
<h2 id="groups">No group may be worse than its margin</h2>
<p class="note"><span class="key"></span>the margin. A group passes if the lower bound of its change (one-sided) lies
above it. Dots and lines: change and 95 % interval; the thin line is no change.</p>
<div class="scroll" role="region" aria-labelledby="groups" tabindex="0">
<table>
<thead><tr><th scope="col">Group</th><th scope="col">−{{ span }} … +{{ span }} points</th><th scope="col">Change</th>
<th scope="col">Lower bound</th><th scope="col">Margin</th><th scope="col">Scenes</th><th scope="col"></th></tr></thead>
<tbody>
{% for group, svg in groups %}
<tr><th scope="row">{{ group.name }}</th><td class="wide">{{ svg }}</td>
<td class="num">{{ group.change.mean|points }}</td><td class="num">{{ group.bound|points }}</td>
<td class="num">{{ (-group.margin)|points }}</td><td class="num">{{ group.change.scenes|count }}</td>
<td><span class="verdict {{ {true: 'yes', false: 'no'}.get(group.passed, 'plain') }}">
{{- {true: 'passes', false: 'fails'}.get(group.passed, 'too few') }}</span></td></tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
{% endif %}

<section aria-labelledby="lineage">
<h2 id="lineage">Lineage</h2>
<table class="facts">
<tbody>
{% for name, value in lineage.items() %}
<tr><th scope="row">{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}
</tbody>
</table>
</section>
</main>
<footer>
<p class="note">Questions about one scene are not independent, so scenes are resampled, not questions. Verdicts that are
unknown are left out of every accuracy and counted above. Looks share one budget of error (alpha spending, Lan and
DeMets 1983), since a set of items that is asked often enough promotes somebody by luck.</p>
</footer>
</body>
</html>
"""
)


def decision_page(decision: Record, lineage: Mapping[str, Any]) -> str:
    """A decision's record (`Decision.as_record`) and where the two models come from, as one page."""
    groups = decision["groups"]
    reach = max((abs(x) for g in groups for x in (g["change"]["low"], g["change"]["high"], g["margin"])), default=0.1)
    span = max(0.05, -(-reach // 0.05) * 0.05)  # the next five points
    return (
        environment()
        .from_string(PAGE)
        .render(
            style=Markup(STYLE + OWN_STYLE),
            decision=decision,
            lineage=lineage,
            groups=[(group, forest(group, span)) for group in groups],
            span=round(100 * span),
        )
    )


def forest(group: Record, span: float) -> Markup:
    """A group's change and interval on an axis from −span to +span, with its margin if it has one."""

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
