"""The page of `make ablations`: claims with their verdicts here, and every arm of every seed."""

from typing import Any

from markupsafe import Markup

from wethink.report.render import STYLE, environment
from wethink.report.template import MACROS

PAGE = (
    MACROS
    + """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>WeThink: ablations in miniature</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<p class="eyebrow">WeThink · ablations in miniature · {{ seeds|length }} seed{{ '' if seeds|length == 1 else 's' }}</p>
<h1>{{ shown }} of {{ claims|length }} comparisons show what they claim; {{ contrary }} show the contrary</h1>
{% if budget == 'smoke' %}<p class="note warn">Reduced budget (smoke profile): this page proves mechanics and supports
no claim.</p>{% elif budget != 'full' %}<p class="note warn">Reduced budget (profiles/{{ budget }}.yaml): shorter
training and fewer questions than the main job's.</p>{% endif %}
{% if seeds|length < 3 %}<p class="note warn">Fewer than three seeds: how much training varies is not known.</p>
{% endif %}
<p class="lead">Each arm trains one thing differently beside the main job of its seed and is measured on the same
held-out questions. A claim that does not replicate in miniature is listed as such.</p>

<section aria-labelledby="claims">
<h2 id="claims">Claims</h2>
<p class="note">Differences in greedy accuracy on the same questions over all seeds, in percentage points, with 95 %
intervals that resample scenes; p-values of a sign-flip test over scenes, adjusted for all {{ claims|length }}
comparisons (Holm). Up to 0.05, the difference is taken for one. Controls (more SFT, rejection-sampling SFT) got what
the main job's GRPO steps cost, after the same start as their arm; GRPO from base skips SFT and so costs less, the
best tenth also samples its pass rates.</p>
{% for question, group in questions.items() %}
<h3>{{ question|capitalize }}</h3>
<div class="scroll" role="region" aria-label="{{ question }}" tabindex="0">
<table>
<thead><tr><th scope="col">Claim</th><th scope="col">Here</th><th scope="col">Difference</th>
<th scope="col">Sampled</th><th scope="col">Each seed</th><th scope="col">p, Holm</th></tr></thead>
<tbody>
{% for claim in group %}
<tr><th scope="row">{{ claim.text }}<small>{{ "the paper's" if claim.source == 'paper' else 'ours' }}</small></th>
<td><span class="chip {{ 'correct' if claim.verdict == 'shows' else 'wrong' if claim.verdict == 'the contrary' }}">
{{- claim.verdict }}</span></td>
{{ change(claim) }}{{ change(claim.sampled) }}
<td class="num">{% for value in claim.per_seed %}{{ value|points }}{{ '' if loop.last else ', ' }}{% endfor %}</td>
<td class="num">{{ '%.4f'|format(claim.holm) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endfor %}
</section>

<section aria-labelledby="arms">
<h2 id="arms">Every arm</h2>
<p class="note">Steps to target: until the moving average of the rollouts' accuracy is 95 % of the main GRPO's last.
Processor time is the arm's own training over all processes. Diversity is that of the rows it learned from.</p>
<div class="scroll" role="region" aria-labelledby="arms" tabindex="0">
<table>
<thead><tr><th scope="col">Arm</th><th scope="col">Seed</th><th scope="col">Greedy</th><th scope="col">Sampled</th>
<th scope="col">Blank</th><th scope="col">Another's</th><th scope="col">Steps to target</th>
<th scope="col">CPU s</th><th scope="col">Diversity <small>kinds, questions, words, bits</small></th></tr></thead>
<tbody>
{% for arm in arms|sort(attribute='seed')|sort(attribute='name') %}
<tr><th scope="row">{{ arm.name|replace('_', ' ') }}<small>{{ arm.question }}</small></th><td>{{ arm.seed }}</td>
{{ cell(arm) }}{{ cell(arm.sampled) }}{{ cell(arm.blank) }}{{ cell(arm.shuffled) }}
<td class="num">{{ '–' if arm.steps_to_target is none else arm.steps_to_target }}</td>
<td class="num">{{ '–' if arm.cpu_seconds is none else '%.0f'|format(arm.cpu_seconds) }}</td>
<td class="num">{{ arm.diversity.kinds }}, {{ arm.diversity.questions }}, {{ arm.diversity.words }},
{{ '%.2f'|format(arm.diversity.bits) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
</main>
<footer><p class="note">Processor time of all arms' training: {{ '%.0f'|format(cpu_seconds) }} s. Intervals over scenes
do not say how much training varies from seed to seed: the single seeds stand beside them.</p></footer>
</body>
</html>
"""
)


def ablations_page(result: dict[str, Any]) -> str:
    """`reports/ablations.json` as one self-contained page."""
    verdicts, questions = [claim["verdict"] for claim in result["claims"]], dict[str, list[Any]]()
    for claim in result["claims"]:
        questions.setdefault(claim["question"], []).append(claim)
    return (
        environment()
        .from_string(PAGE)
        .render(
            style=Markup(STYLE),
            shown=verdicts.count("shows"),
            contrary=verdicts.count("the contrary"),
            questions=questions,
            **{key: result[key] for key in ("arms", "claims", "seeds", "budget", "cpu_seconds")},
        )
    )
