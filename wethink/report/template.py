"""The page's template and script.

They stand in modules, not in files beside them, so that a change of the page is a change of the stage's code.
"""

SCRIPT = """
const chosen = { source: "", outcome: "" };
const cards = [...document.querySelectorAll(".card")];
const buttons = [...document.querySelectorAll(".filters button")];
function update() {
  let shown = 0;
  for (const card of cards) {
    card.hidden = Object.entries(chosen).some(([key, value]) => value && card.dataset[key] !== value);
    shown += !card.hidden;
  }
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(chosen[button.dataset.key] === button.dataset.value));
  }
  document.getElementById("shown").textContent = shown + " of " + cards.length + " shown";
}
for (const button of buttons) {
  button.addEventListener("click", () => { chosen[button.dataset.key] = button.dataset.value; update(); });
}
update();
"""

MACROS = """\
{% macro cell(entry) %}
<td class="num">{% if entry %}{{ entry.accuracy|percent }}
{%- if entry.accuracy is not none %}<small>{{ entry.low|figure }} – {{ entry.high|figure }}</small>{% endif %}
{%- else %}<span class="muted">not run</span>{% endif %}</td>
{% endmacro %}
{% macro change(entry) %}
<td class="num">{{ entry.mean|points }}
{%- if entry.mean is not none %}<small>{{ entry.low|points }} to {{ entry.high|points }}</small>{% endif %}</td>
{% endmacro %}
"""

PAGE = (
    MACROS
    + """\
{% macro panels(drawn) %}
<div class="panels">
{% for panel in drawn %}
<figure><figcaption>{{ panel.title }}
{%- for label in panel.legend %} <span class="line{{ loop.index0 }}">{{ label }}</span>{% endfor %}</figcaption>
{{ panel.svg }}</figure>
{% endfor %}
</div>
{% endmacro %}
{% macro bars(rows) %}
{% for row in rows %}
<tr><th scope="row">{{ row.name }}</th>
<td class="track"><svg class="strip" height="12" aria-hidden="true">
<rect width="{{ '%.2f'|format(row.width) }}%" height="12" rx="2" fill="currentColor"/></svg></td>
<td class="num">{{ row.count|count }}{% if row.lost %}<small>{{ row.lost }}</small>{% endif %}</td></tr>
{% endfor %}
{% endmacro %}
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{{ script_hash }}'">
<title>WeThink: what the training changed</title>
<style>{{ style }}</style>
</head>
<body>
<main>
<p class="eyebrow">WeThink · report of one run</p>
<h1>{{ headline.main }}</h1>
<p class="lead">{{ headline.more }}</p>
<p class="note">One run, without controls beside it: <code>make seeds</code> asks what the same compute would have
bought otherwise, and writes <code>reports/seeds.html</code>.</p>
<dl class="hero">
{% for key, name in names.items() %}
<div class="{{ key }}"><dt>{{ name }}</dt>
<dd class="num">{{ summary[key].accuracy|percent }}
<small>{{ summary[key].low|figure }} – {{ summary[key].high|figure }}</small></dd></div>
{% endfor %}
</dl>
<p class="note">Greedy accuracy on {{ summary['items']|count }} held-out questions about {{ summary.scenes|count }}
distinct scenes. The best constant answer per question kind would score {{ summary.majority|percent }}.</p>
{% if weak_sources %}
<p class="note warn">Not shown to beat that constant answer: {{ weak_sources|join(', ') }}. Neither SFT nor GRPO has an
interval that lies above the baseline there.</p>
{% endif %}

<section aria-labelledby="results">
<h2 id="results">Results</h2>
<div class="scroll" role="region" aria-labelledby="results" tabindex="0">
<table>
<caption>Accuracy with 95 % intervals: cluster bootstrap over scenes</caption>
<thead><tr><th scope="col">Measure</th>
{% for key, name in names.items() %}<th scope="col" class="{{ key }}">{{ name }}</th>{% endfor %}</tr></thead>
<tbody>
<tr><th scope="row">Greedy</th>{% for key in names %}{{ cell(summary[key]) }}{% endfor %}</tr>
<tr><th scope="row">Sampled <small>{{ sampled_at }}</small></th>
{% for key in names %}{{ cell(summary[key].get('sampled')) }}{% endfor %}</tr>
<tr><th scope="row">Majority baseline <small>best constant answer per kind</small></th>
<td class="num" colspan="{{ names|length }}">{{ summary.majority|percent }}</td></tr>
<tr><th scope="row">Blank image <small>control, greedy</small></th>
{% for key in names %}{{ cell(summary[key].get('blank')) }}{% endfor %}</tr>
<tr><th scope="row">Another item's image <small>control, greedy</small></th>
{% for key in names %}{{ cell(summary[key].get('shuffled')) }}{% endfor %}</tr>
<tr><th scope="row">Exact response format</th>
{% for key in names %}<td class="num">{{ summary[key].format|percent }}</td>{% endfor %}</tr>
<tr><th scope="row">Unknown verdicts</th>
{% for key in names %}<td class="num">{{ summary[key].unknown|percent }}</td>{% endfor %}</tr>
<tr><th scope="row">Mean length <small>tokens</small></th>
{% for key in names %}<td class="num">{{ '%.1f'|format(summary[key].mean_tokens) }}</td>{% endfor %}</tr>
</tbody>
</table>
</div>
<div class="scroll" role="region" aria-label="Paired differences" tabindex="0">
<table>
<caption>Differences on the same questions, in percentage points (paired)</caption>
<thead><tr><th scope="col">Step</th><th scope="col">Greedy</th><th scope="col">Sampled</th></tr></thead>
<tbody>
{% for key, name in (('sft_minus_base', 'SFT − base'), ('grpo_minus_sft', 'GRPO − SFT')) if key in summary %}
<tr><th scope="row">{{ name }}</th>{{ change(summary[key]) }}{{ change(summary[key].sampled) }}</tr>
{% endfor %}
</tbody>
</table>
</div>
{% if lenient %}
<p class="note">Scored leniently: {{ lenient|join(', ') }}. Answers outside the required format were accepted there, so
the comparison does not punish a model for tags that it was never taught.</p>
{% endif %}
</section>

<section aria-labelledby="where">
<h2 id="where">Where it changed</h2>
<ul class="legend">{% for key, name in names.items() %}<li class="{{ key }}">{{ name }}</li>{% endfor %}
<li class="tick">majority baseline</li></ul>
<p class="note">Greedy accuracy with 95 % intervals; the thin lines stand at 0, 25, 50, 75 and 100 %.</p>
{% for group in groups %}
<h3>{{ group.title }}</h3>
<table class="dots">
<thead><tr><th scope="col"><span class="muted">Group</span></th>
<th scope="col"><span class="axis"><span>0</span><span>25</span>
<span>50</span><span>75</span><span>100 %</span></span></th>
<th scope="col">GRPO − SFT <small>points, greedy</small></th></tr></thead>
<tbody>
{% for row in group.rows %}
<tr><th scope="row">{{ row.name }}<small>{{ row['items']|count }} questions, majority {{ row.majority|percent }}
{%- if row.at_majority %}, not beaten{% endif %}</small></th>
<td class="plot">{{ row.strip }}</td>
{% if row.difference %}{{ change(row.difference) }}{% else %}<td>–</td>{% endif %}</tr>
{% endfor %}
</tbody>
</table>
{% endfor %}
</section>

<section aria-labelledby="training">
<h2 id="training">Training</h2>
<p class="note">Every logged step faintly, a centred moving average on top. Curves are on training data; the results
above are not.</p>
<h3>SFT</h3>
<div class="of-sft">{{ panels(sft_curves) }}</div>
<h3>GRPO</h3>
{{ panels(grpo_curves) }}
</section>

<section aria-labelledby="data">
<h2 id="data">Data</h2>
<p class="note">What was synthesised, what the filters and the validation left of it, and why the rest fell out.</p>
<table class="bars sft"><caption>From images to rows</caption><tbody>{{ bars(funnel.steps) }}</tbody></table>
{% if funnel.uses %}
<p class="note">Used as {% for name, count in funnel.uses %}{{ name }}: {{ count|count }}{{ '' if loop.last else ', ' }}
{%- endfor %}.</p>
{% endif %}
<div class="columns">
{% for group in funnel.reasons %}
<div><h3>{{ group.title }}</h3><table class="bars base"><tbody>{{ bars(group.rows) }}</tbody></table></div>
{% endfor %}
</div>
</section>

<section aria-labelledby="gallery">
<h2 id="gallery">Before and after GRPO</h2>
<p>Held-out images, answered greedily before ({{ start }}) and after reinforcement learning. Which items stand here is
decided by a hash, in equal numbers of each outcome where there are enough, so the mix is not the true one. These are
the true proportions over all {{ pairs|count }} questions:</p>
<div class="scroll" role="region" aria-label="True proportions of the outcomes" tabindex="0">
<table>
<thead><tr><th scope="col">Source</th>
{% for name in proportions %}
<th scope="col">{{ name|capitalize }}<small>{{ outcomes[name] }}</small></th>
{% endfor %}</tr></thead>
<tbody>
{% for source, shares in by_source.items() %}
<tr><th scope="row">{{ source }}</th>
{% for name in proportions %}
<td class="num">{{ shares[name].share|percent if name in shares else '0.0 %' }}</td>
{% endfor %}</tr>
{% endfor %}
<tr><th scope="row">All</th>
{% for share in proportions.values() %}
<td class="num">{{ share.share|percent }}<small>{{ share.count|count }}</small></td>
{% endfor %}</tr>
</tbody>
</table>
</div>
<div class="filters" role="group" aria-label="Choose examples">
<div><button type="button" data-key="source" data-value="" aria-pressed="true">All sources</button>
{% for name in by_source %}
<button type="button" data-key="source" data-value="{{ name }}" aria-pressed="false">{{ name }}</button>
{% endfor %}</div>
<div><button type="button" data-key="outcome" data-value="" aria-pressed="true">All outcomes</button>
{% for name in proportions if name != 'unknown' %}
<button type="button" data-key="outcome" data-value="{{ name }}" aria-pressed="false">{{ name }}</button>
{% endfor %}</div>
<span class="note" id="shown" role="status"></span>
</div>
<div class="cards">
{% for card in cards %}
<article class="card" data-source="{{ card['item'].source }}" data-outcome="{{ card.outcome }}">
<header><img{% if card.picture.pixelated %} class="pixelated"{% endif %} src="{{ card.picture.uri }}"
 alt="Held-out image of source {{ card['item'].source }}" loading="lazy">
<div><p class="question">{{ card['item'].problem }}</p>
<p class="meta">True answer: <strong>{{ card['item'].answer }}</strong></p>
<p class="meta">{{ card['item'].source }} · {{ card['item'].category }} · {{ card['item'].kind|replace('_', ' ') }}</p>
<span class="chip">{{ card.outcome }}</span></div></header>
<div class="answers">
{% for answer in card.answers %}
<div><h4>{{ answer.name }} <span class="chip {{ answer.verdict }}">{{ answer.verdict }}</span></h4>
{% if answer.raw %}
<p class="think">{{ answer.raw }}</p><p class="meta">not in the required format</p>
{% else %}
<p class="think">{{ answer.think }}</p><p class="final">{{ answer.answer }}</p>
{% endif %}</div>
{% endfor %}
</div>
</article>
{% endfor %}
</div>
</section>
</main>
<footer>
<p class="note">Intervals resample scenes, since questions about one scene are not independent; one run shows nothing
about the spread over seeds. Verdicts that are unknown are counted above and left out of every accuracy. The majority
baseline is chosen on these very items, so it flatters a guesser that knows only the kind of a question. The held-out
images come from the sources of this run: no figure here is a result on a public benchmark.</p>
<p class="note">The method follows <a href="https://arxiv.org/abs/2506.07905">WeThink (arXiv 2506.07905)</a>; this page
reports this run and none of the paper's results.</p>
</footer>
<script>{{ script }}</script>
</body>
</html>
"""
)
