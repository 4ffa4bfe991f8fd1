"""Templates and script of the leaderboard; in a module, as those of the report are."""

SCRIPT = """
const cards = [...document.querySelectorAll(".card")];
const buttons = [...document.querySelectorAll(".filters button")];
const chosen = { verdict: "", category: "" };
function update() {
  let shown = 0;
  for (const card of cards) {
    card.hidden = Object.entries(chosen).some(([key, value]) => value && card.dataset[key] !== value);
    shown += !card.hidden;
  }
  for (const button of buttons) {
    button.setAttribute("aria-pressed", String(chosen[button.dataset.key] === button.dataset.value));
  }
  document.getElementById("shown").textContent = shown + " of " + cards.length + " on this page shown";
}
for (const button of buttons) {
  button.addEventListener("click", () => { chosen[button.dataset.key] = button.dataset.value; update(); });
}
update();
"""

HEAD = """\
<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
"""

MACROS = """\
{% macro figure_cell(entry) %}
<td class="num">{% if entry is none %}<span class="muted">–</span>
{%- elif entry.value is none %}<span class="muted">withheld</span><small>{{ entry.withheld }}</small>
{%- else %}{{ entry.value|percent }}<small>
{%- if entry.low is not none %}{{ entry.low|figure }} – {{ entry.high|figure }}
{%- else %}{{ entry.note|default('no interval: no verdict per item') }}{% endif %}</small>{% endif %}</td>
{% endmacro %}
"""

PAGE = (
    MACROS
    + HEAD
    + """\
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>WeThink: leaderboard</title>
<style>{{ style }}
.dots td:last-child, .dots th:last-child { width: 62%; padding-left: 0; padding-right: 24px; }
details { margin: 14px 0; } summary { cursor: pointer; font-weight: 600; }
.published th, .published td { color: var(--muted); }
.published .chip { border: 1px solid var(--line); border-radius: 99px; padding: 0 8px; font-size: 0.78rem; }
</style>
</head>
<body>
<main>
<p class="eyebrow">WeThink · leaderboard</p>
<h1>Every result, and how sure it is</h1>
<p class="lead">Accuracies with 95 % intervals that resample what is shown. Beside each stands what the same model
scores with a blank and with another item's picture: what is right without seeing is no vision.</p>
<p class="note">Published rows are others' figures ({{ source }}), marked as such; nothing in them was measured here.
A number is withheld where more than 2 % of its items have an unknown verdict. {{ board.tests }}
comparison{{ '' if board.tests == 1 else 's' }} of checkpoints on this page; p-values are adjusted for all of them
(Holm).</p>

{% for entry in filled %}
<section aria-labelledby="{{ entry.name }}">
<h2 id="{{ entry.name }}">{{ entry.title }}</h2>
<p class="note">{{ entry.looks }} evaluated checkpoint{{ '' if entry.looks == 1 else 's' }} and settings so far: looks
at this table.</p>
<div class="scroll" role="region" aria-labelledby="{{ entry.name }}" tabindex="0">
<table>
<thead><tr><th scope="col">Model</th>
{% for name in entry.figures %}
<th scope="col">{{ name|capitalize if name in ('accuracy', 'mean', 'sum') else name }}</th>
{% endfor %}<th scope="col">Sampled</th><th scope="col">Blank image</th><th scope="col">Another's image</th>
<th scope="col">VLMEvalKit's protocol <small>no judge</small></th><th scope="col">Items</th></tr></thead>
<tbody>
{% for row in entry.rows %}
<tr><th scope="row" class="{{ styles[entry.name][row.run] }}">{{ row.label }}
{%- if row.official is defined %}<small>scored by VLMEvalKit</small>
{%- elif (entry.name, row.run) in pages %}<small><a href="{{ pages[(entry.name, row.run)][0] }}">every item</a></small>
{%- endif %}</th>
{% if row.missing is defined %}
<td colspan="{{ entry.figures|length + 5 }}">{{ row.missing }}</td>
{% else %}
{% for name in entry.figures %}{{ figure_cell(row.figures.get(name)) }}{% endfor %}
<td class="num">{% for name, found in (row.sampled|default({})).items() %}
{% if found.value is none %}{{ name }} withheld{% else %}{{ name }} {{ found.value|percent }}
<small>{{ found.low|figure }} – {{ found.high|figure }}</small>{% endif %}
{% else %}<span class="muted">not run</span>{% endfor %}</td>
{{ figure_cell(row.controls.get('blank')) }}{{ figure_cell(row.controls.get('shuffled')) }}
{{ figure_cell((row.kit|default({})).get(entry.figures[0])) }}
<td class="num">{% set head = row.figures[entry.figures[0]] if entry.figures[0] in row.figures else none %}
{%- if head %}{{ head.n if head.n is not none else '–' }}
{%- if head.unknown %}<small>{{ head.unknown|percent }} unknown</small>{% endif %}{% endif %}</td>
{% endif %}</tr>
{% endfor %}
{% for model, value in entry.published.items() %}
<tr class="published"><th scope="row">{{ model }} <span class="chip">published</span></th>
<td class="num">{{ value|percent }}</td><td colspan="{{ entry.figures|length + 4 }}"></td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% if strips[entry.name] %}
<table class="dots"><thead><tr><th scope="col"><span class="muted">{{ entry.figures[0] }}</span></th>
<th scope="col"><span class="axis"><span>0</span><span>25</span><span>50</span><span>75</span>
<span>100 %</span></span></th>
</tr></thead><tbody><tr><th scope="row">All items</th><td class="plot">{{ strips[entry.name] }}</td></tr>
</tbody></table>
{% endif %}
{% if entry.comparisons %}
<h3>Paired comparisons <small class="muted">item accuracy, percentage points</small></h3>
<div class="scroll" role="region" aria-label="Comparisons on {{ entry.title }}" tabindex="0">
<table>
<thead><tr><th scope="col">Pair</th><th scope="col">Difference</th><th scope="col">p</th>
<th scope="col">p, Holm</th></tr></thead>
<tbody>
{% for c in entry.comparisons %}
<tr><th scope="row">{{ c.labels|join(' − ') }}</th><td class="num">{{ c.mean|points }}
{%- if c.mean is not none %}<small>{{ c.low|points }} to {{ c.high|points }}, {{ c.n }} items</small>{% endif %}</td>
<td class="num">{{ '–' if c.p is none else '%.4f'|format(c.p) }}</td>
<td class="num">{{ '–' if c.holm is none else '%.4f'|format(c.holm) }}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
{% endif %}
{% for group in groups[entry.name] %}
<details><summary>By {{ group.column }}</summary>
<table class="dots"><tbody>
{% for line in group.lines %}
<tr><th scope="row">{{ line.name|replace('_', ' ') }}<small>{{ line.n }} items</small></th>
<td class="plot">{% if line.strip %}{{ line.strip }}{% else %}<span class="muted">withheld</span>{% endif %}</td></tr>
{% endfor %}
</tbody></table></details>
{% endfor %}
</section>
{% endfor %}

<section aria-labelledby="missing">
<h2 id="missing">Not run here</h2>
<p class="note">Benchmarks of the two boards without a result of ours, and what each needs.
The published figure of MMBench is
the mean of its English and its Chinese set.</p>
<div class="scroll" role="region" aria-labelledby="missing" tabindex="0">
<table>
<thead><tr><th scope="col">Benchmark</th><th scope="col">What is missing</th>
<th scope="col">Published <small>{{ source }}</small></th></tr></thead>
<tbody>
{% for entry in empty %}
<tr><th scope="row">{{ entry.title }}<small>{{ entry.name }}</small></th><td>{{ entry.missing }}</td>
<td class="num">{% for model, value in entry.published.items() %}
{{ model }} {{ value|percent }}{% if not loop.last %}<br>{% endif %}{% endfor %}</td></tr>
{% endfor %}
</tbody>
</table>
</div>
</section>
</main>
<footer><p class="note">Protocol, departures from VLMEvalKit and how to add a table: docs/benchmarks.md.</p></footer>
</body>
</html>
"""
)

ITEMS = (
    HEAD
    + """\
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src 'self' file:; style-src 'unsafe-inline'; script-src 'sha256-{{ script_hash }}'">
<title>{{ title }}: {{ label }}, items</title>
<style>{{ style }}
.answers { grid-template-columns: 1fr; }
</style>
</head>
<body>
<main>
<p class="eyebrow"><a href="../../../index.html">Leaderboard</a> · {{ title }} · {{ label }}</p>
<h1>Every item, page {{ page }} of {{ pages }}</h1>
<p class="note">Greedy answers to the true picture. What the judge read of a response is its extraction.</p>
<p>{% if page > 1 %}<a href="{{ page - 1 }}.html">previous</a>{% endif %}
{% if page < pages %}<a href="{{ page + 1 }}.html">next</a>{% endif %}</p>
<div class="filters" role="group" aria-label="Choose items">
<div>{% for value in ('', 'correct', 'wrong', 'unknown') %}
<button type="button" data-key="verdict" data-value="{{ value }}" aria-pressed="false">
{{- value or 'All verdicts' }}</button>
{% endfor %}</div>
{% if categories|length > 1 %}<div>
<button type="button" data-key="category" data-value="" aria-pressed="true">All categories</button>
{% for name in categories %}
<button type="button" data-key="category" data-value="{{ name }}" aria-pressed="false">{{ name }}</button>
{% endfor %}</div>{% endif %}
<span class="note" id="shown" role="status"></span>
</div>
<div class="cards">
{% for card in cards %}
<article class="card" id="item-{{ card.record.index }}" data-verdict="{{ card.record.verdict }}"
 data-category="{{ card.category }}">
<header>{% for picture in card.pictures %}<img src="{{ picture.src }}" alt="Picture of item {{ card.record.index }}"
 loading="lazy">{% endfor %}
<div><p class="question">{{ card.question }}</p>
{% if card.hint %}<p class="meta">Hint: {{ card.hint }}</p>{% endif %}
{% for letter, text in card.options.items() %}<p class="meta">{{ letter }}. {{ text }}</p>{% endfor %}
<p class="meta">Answer: <strong>{{ card.answer }}</strong></p>
<p class="meta">{{ card.record.index }}{% for name, cell in card.record.cells.items() %} · {{ cell }}{% endfor %}</p>
</div></header>
<div class="answers"><div>
<h4>{{ label }} <span class="chip {{ card.record.verdict }}">{{ card.record.verdict }}</span></h4>
<p class="think">{{ card.record.response }}</p>
<p class="final">{{ card.record.extracted or '(nothing extracted)' }}</p>
<p class="meta">{{ card.record.reason }}
{%- if card.record.kit_verdict != card.record.verdict %}; VLMEvalKit's protocol without a judge:
{{ card.record.kit_verdict }}{% endif %}</p></div></div>
</article>
{% endfor %}
</div>
</main>
<script>{{ script }}</script>
</body>
</html>
"""
)
