"""The page of `make seeds`: GRPO beside what the same compute could have bought, over seeds and per seed.

It shows `reports/seeds.json` and computes nothing else than which control is the best one.
"""

from typing import Any

from markupsafe import Markup

from wethink.experiments.control_results import ARMS, CONTROLS, SETTINGS
from wethink.report.plots import points
from wethink.report.render import STYLE, direction, environment
from wethink.report.template import MACROS

NAMES = {
    "base": "Base",
    "sft": "SFT",
    "grpo": "SFT + GRPO",
    "more_sft": "more SFT",
    "rejection_sft": "rejection-sampling SFT",
    "grpo_from_base": "GRPO from base",
    "shuffled_gold": "GRPO on shuffled golds",
}
ROWS = ("base", "sft", "grpo", *ARMS)
SETTING_NAMES = {"greedy": "Greedy", "sampled": "Sampled, T = 1", "blank": "Blank image", "shuffled": "Another's image"}

PAGE = (
    MACROS
    + """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>WeThink: is the gain real?</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<p class="eyebrow">WeThink · controls over {{ seeds|length }} seed{{ '' if seeds|length == 1 else 's' }}</p>
<h1>{{ headline.greedy }}</h1>
<p class="lead">{{ headline.sampled }}</p>
<p class="lead">{{ headline.shuffled_gold }}</p>

<section aria-labelledby="pooled">
<h2 id="pooled">GRPO against each arm</h2>
<p class="note">Differences on the same questions over all seeds, in percentage points (paired), with 95 % intervals
that resample scenes. More SFT and rejection-sampling SFT go on from SFT for the processor
time of GRPO's steps.</p>
<div class="scroll" role="region" aria-labelledby="pooled" tabindex="0">
<table>
<thead><tr><th scope="col">GRPO minus</th><th scope="col">Greedy</th><th scope="col">Sampled</th></tr></thead>
<tbody>
{% for name in compared %}
<tr><th scope="row">{{ names[name] }}</th>
{% for setting in ('greedy', 'sampled') %}{{ change(pooled['grpo_minus_' ~ name][setting]) }}{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
</section>

<section aria-labelledby="seeds">
<h2 id="seeds">Every seed</h2>
<p class="note">Accuracy on each seed's own held-out scenes. Data, split and training follow from the seed.</p>
{% for setting, title in setting_names.items() %}
<h3>{{ title }}</h3>
<div class="scroll" role="region" aria-label="{{ title }}" tabindex="0">
<table>
<thead><tr><th scope="col">Arm</th>
{% for run in seeds %}<th scope="col">Seed {{ run.seed }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name in rows %}
<tr><th scope="row">{{ names[name] }}</th>{% for run in seeds %}{{ cell(entry(run, name, setting)) }}{% endfor %}</tr>
{% endfor %}
<tr><th scope="row">Majority baseline</th>
{% for run in seeds %}<td class="num">{{ run.majority|percent }}</td>{% endfor %}</tr>
</tbody>
</table>
</div>
{% endfor %}
<h3>Processor time of training <small class="muted">seconds over all processes</small></h3>
<div class="scroll" role="region" aria-label="Processor time of training" tabindex="0">
<table>
<thead><tr><th scope="col">Arm</th>
{% for run in seeds %}<th scope="col">Seed {{ run.seed }}</th>{% endfor %}</tr></thead>
<tbody>
{% for name in rows %}
<tr><th scope="row">{{ names[name] }}</th>
{% for run in seeds %}<td class="num">{{ '%.0f'|format(run.cpu_seconds[name]) }}</td>{% endfor %}</tr>
{% endfor %}
</tbody>
</table>
</div>
</section>

<section aria-labelledby="errors">
<h2 id="errors">Annotators that err more, and less</h2>
<p class="note">Seed {{ seeds[0].seed }} with other error rates of the embedded annotator, all else the same.</p>
<div class="scroll" role="region" aria-labelledby="errors" tabindex="0">
<table>
<thead><tr><th scope="col">Error rate</th><th scope="col">SFT</th><th scope="col">SFT + GRPO</th>
<th scope="col">GRPO − SFT <small>greedy</small></th><th scope="col">GRPO − SFT <small>sampled</small></th>
<th scope="col">GRPO − best control <small>greedy</small></th>
<th scope="col">GRPO − best control <small>sampled</small></th></tr></thead>
<tbody>
{% for run in rates %}
<tr><th scope="row">{{ run.error_rate|percent }}</th>{{ cell(run.sft) }}{{ cell(run.grpo) }}
{{ change(run.grpo_minus_sft) }}{{ change(run.grpo_minus_sft.sampled) }}
{{ change(run.headline.greedy) }}{{ change(run.headline.sampled) }}</tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
</main>
<footer>
<p class="note">The best control is chosen on the reported items themselves, which can only make GRPO's lead look
smaller. Intervals over scenes do not say how much training varies from seed to seed: the single seeds stand above.</p>
</footer>
</body>
</html>
"""
)


def seeds_page(result: dict[str, Any]) -> str:
    """`reports/seeds.json` as one self-contained page."""
    seeds = result["seeds"]
    return (
        environment()
        .from_string(PAGE)
        .render(
            style=Markup(STYLE),
            headline={s: headline(result["pooled"], s, len(seeds)) for s in SETTINGS} | _shuffled(result["pooled"]),
            pooled=result["pooled"],
            compared=("sft", *ARMS),
            names=NAMES,
            setting_names=SETTING_NAMES,
            rows=ROWS,
            seeds=seeds,
            entry=_entry,
            rates=sorted([seeds[0], *result["error_rates"]], key=lambda run: float(run["error_rate"])),
        )
    )


def headline(pooled: dict[str, Any], setting: str, seeds: int) -> str:
    """GRPO over the best control, as a sentence that says so if the interval includes 0."""
    best = min(CONTROLS, key=lambda name: float(pooled[f"grpo_minus_{name}"][setting]["mean"]))
    found = pooled[f"grpo_minus_{best}"][setting]
    how = "greedy decoding" if setting == "greedy" else "sampled at T = 1"
    over = f"Over {seeds} seed{'' if seeds == 1 else 's'} GRPO"
    mean, interval = points(found["mean"]), f"{points(found['low'])} to {points(found['high'])}"
    return {
        "gain": f"{over} is {mean[1:]} points above the best control, {NAMES[best]} ({how}; 95 % interval {interval}).",
        "loss": f"{over} is {mean[1:]} points below the best control, {NAMES[best]} ({how}; 95 % interval {interval}).",
        "none": f"{over} is not shown to beat the best control, {NAMES[best]}: {mean} points, and the 95 % interval "
        f"{interval} includes 0 ({how}).",
    }[direction(found)]


def _shuffled(pooled: dict[str, Any]) -> dict[str, str]:
    found = pooled["shuffled_gold_minus_sft"]["sampled"]
    said = {"gain": "gains, so part of the gain is no learning", "loss": "loses", "none": "shows no effect"}
    figures = f"{points(found['mean'])} points, {points(found['low'])} to {points(found['high'])}"
    return {"shuffled_gold": f"GRPO on shuffled golds {said[direction(found)]} against SFT (sampled; {figures})."}


def _entry(run: dict[str, Any], name: str, setting: str) -> dict[str, Any] | None:
    whole = run["controls"].get(name) or run.get(name) or {}
    if setting == "greedy":
        return whole or None
    found: dict[str, Any] | None = whole.get(setting)
    return found
