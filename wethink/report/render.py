"""Shared parts of the HTML pages: environment, style and number formats."""

from typing import Any

from jinja2 import Environment, StrictUndefined

from wethink.report.plots import figure, percent, points


def direction(difference: dict[str, Any]) -> str:
    """What a paired difference shows: gain, loss, none (its interval includes 0) or unknown."""
    mean, low, high = difference["mean"], difference["low"], difference["high"]
    if mean is None:
        return "unknown"
    return "none" if low <= 0 <= high else "gain" if low > 0 else "loss"


def environment() -> Environment:
    """Templates that escape all text, and the filters that write figures."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters.update(percent=percent, points=points, figure=figure, count=lambda value: f"{value:,}")
    return environment


STYLE = """
:root { color-scheme: light dark; --page: #fbfbfa; --card: #ffffff; --text: #1c1f23; --muted: #5d6670;
  --line: #e3e5e8;
  --base: #7b8490; --sft: #2f6fd0; --grpo: #c2480c; --right: #1a7a42; --right-soft: #e4f4ea; --wrong: #b3261e;
  --wrong-soft: #fbe9e7; --soft: #f1f2f3; }
@media (prefers-color-scheme: dark) { :root { --page: #131518; --card: #1b1e22; --text: #e8eaed; --muted: #a0a9b4;
  --line: #2e3338; --base: #98a2ae; --sft: #73a7f5; --grpo: #f5925a; --right: #76cf96; --right-soft: #1a3324;
  --wrong: #f2938b; --wrong-soft: #3b2220; --soft: #23272c; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--page); color: var(--text);
  font: 16px/1.55 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Liberation Sans", Arial, sans-serif; }
main, footer { max-width: 1080px; margin: 0 auto; padding: 0 24px; }
h1 { font-size: clamp(1.6rem, 1.1rem + 2.2vw, 2.5rem); line-height: 1.18; letter-spacing: -0.02em; font-weight: 650;
  margin: 10px 0 14px; max-width: 25em; text-wrap: balance; }
h2 { font-size: 1.3rem; letter-spacing: -0.01em; margin: 0 0 4px; }
h3 { font-size: 0.95rem; margin: 28px 0 8px; }
p { margin: 0 0 12px; max-width: 44em; }
a { color: var(--sft); }
section { padding: 44px 0 8px; }
.eyebrow { margin: 56px 0 0; color: var(--muted); font-size: 0.85rem; }
.lead { font-size: 1.08rem; }
.muted, .note, caption { color: var(--muted); }
.note { font-size: 0.9rem; }
.warn { border-left: 3px solid var(--grpo); padding-left: 12px; }
.num { font-variant-numeric: tabular-nums; white-space: nowrap; }
.hero + .note { margin-top: 20px; }
.hero { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 28px 0 8px; }
.hero div { border-top: 3px solid currentColor; padding: 10px 0 0; }
.hero dt { font-weight: 600; font-size: 0.95rem; }
.hero dd { margin: 0; color: var(--text); font-size: 2.1rem; letter-spacing: -0.03em; line-height: 1.2; }
.hero dd small { display: block; font-size: 0.85rem; letter-spacing: 0; color: var(--muted); }
.base { color: var(--base); } .sft { color: var(--sft); } .grpo { color: var(--grpo); }
.scroll { overflow-x: auto; margin: 12px 0; }
.scroll:focus-visible, button:focus-visible { outline: 2px solid var(--sft); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-size: 0.95rem; }
caption { text-align: left; font-size: 0.9rem; padding-bottom: 8px; }
th, td { text-align: left; padding: 8px 16px 8px 0; border-bottom: 1px solid var(--line); vertical-align: top; }
th { font-weight: 600; }
thead th { color: var(--muted); font-size: 0.85rem; vertical-align: bottom; }
thead th.base { color: var(--base); } thead th.sft { color: var(--sft); } thead th.grpo { color: var(--grpo); }
td small, th small { display: block; color: var(--muted); font-weight: 400; font-size: 0.82rem; }
.legend { display: flex; flex-wrap: wrap; gap: 4px 18px; padding: 0; margin: 8px 0 0; list-style: none;
  font-size: 0.88rem; color: var(--muted); }
.legend li::before { content: ""; display: inline-block; width: 9px; height: 9px; border-radius: 50%;
  margin-right: 6px;
  background: currentColor; }
.legend .tick::before { width: 0; height: 13px; border-radius: 0; border-left: 2px dashed var(--muted);
  background: none;
  vertical-align: -2px; }
.dots td, .dots th { padding: 9px 0; }
.dots th[scope=row] { width: 30%; padding-right: 16px; overflow-wrap: anywhere; }
.dots .axis { display: flex; justify-content: space-between; font-weight: 400; font-variant-numeric: tabular-nums; }
.dots .axis span { width: 0; display: flex; justify-content: center; white-space: nowrap; }
.dots th:last-child, .dots td:last-child { width: 20%; padding-left: 44px; }
svg { overflow: visible; }
.strip { display: block; width: 100%; }
.strip .grid, .curve .grid { stroke: var(--line); }
.strip .majority { stroke: var(--muted); stroke-width: 2; stroke-dasharray: 3 3; }
.strip .interval { stroke: currentColor; stroke-width: 2.5; stroke-linecap: round; opacity: 0.55; }
.strip circle { fill: currentColor; }
.panels { display: grid; grid-template-columns: repeat(auto-fill, minmax(270px, 1fr)); gap: 26px 30px;
  margin: 12px 0; }
figure { margin: 0; }
figcaption { font-size: 0.88rem; font-weight: 600; margin-bottom: 6px; display: flex; gap: 12px; }
figcaption span { font-weight: 400; }
.curve { display: block; width: 100%; height: auto; }
.curve text { fill: var(--muted); font-size: 10.5px; font-variant-numeric: tabular-nums; }
.curve polyline { fill: none; stroke: currentColor; stroke-width: 1.8; stroke-linejoin: round; }
.curve .raw { stroke-width: 1; opacity: 0.22; }
.of-sft .line0 { color: var(--sft); } .line0 { color: var(--grpo); } .line1 { color: var(--right); }
.line2 { color: var(--base); }
.bars th { width: 34%; overflow-wrap: anywhere; font-weight: 400; color: var(--text); }
.bars td.num { width: 7em; text-align: right; padding-right: 0; color: var(--text); }
.bars .track { padding-right: 0; vertical-align: middle; }
.columns { display: grid; grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); gap: 0 44px; }
.filters { position: sticky; top: 0; z-index: 1; background: var(--page); padding: 10px 0; display: flex;
  flex-wrap: wrap;
  gap: 8px 24px; border-bottom: 1px solid var(--line); }
.filters div { display: flex; flex-wrap: wrap; gap: 6px; }
button { font: inherit; font-size: 0.86rem; padding: 4px 12px; border: 1px solid var(--line); border-radius: 999px;
  background: var(--card); color: var(--text); cursor: pointer; }
button[aria-pressed=true] { background: var(--text); border-color: var(--text); color: var(--page); }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 480px), 1fr)); gap: 18px;
  margin: 18px 0; }
.card { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px; }
.card[hidden] { display: none; }
.card header { display: flex; gap: 16px; }
.card img { width: 132px; height: 132px; object-fit: contain; border-radius: 4px; flex: none;
  background: var(--soft); }
.card img.pixelated { image-rendering: pixelated; }
.card header > div { min-width: 0; overflow-wrap: anywhere; }
.question { font-weight: 600; line-height: 1.4; margin: 0 0 6px; white-space: pre-line; }
.meta { font-size: 0.82rem; color: var(--muted); margin: 0 0 6px; }
.answers { display: grid; grid-template-columns: 1fr 1fr; gap: 16px; margin-top: 14px; padding-top: 12px;
  border-top: 1px solid var(--line); }
.answers > div { min-width: 0; overflow-wrap: anywhere; }
.answers h4 { display: flex; flex-wrap: wrap; gap: 4px 8px; align-items: center; margin: 0 0 6px;
  font-size: 0.86rem; }
.think { color: var(--muted); font-size: 0.88rem; line-height: 1.5; margin: 0 0 6px; white-space: pre-line;
  max-height: 15em;
  overflow-y: auto; }
.final { margin: 0; font-weight: 700; white-space: pre-line; }
.chip { font-size: 0.76rem; font-weight: 600; padding: 1px 8px; border-radius: 999px; background: var(--soft);
  color: var(--muted); white-space: nowrap; }
.chip.correct { background: var(--right-soft); color: var(--right); }
.chip.wrong { background: var(--wrong-soft); color: var(--wrong); }
footer { padding-top: 28px; padding-bottom: 56px; margin-top: 36px; border-top: 1px solid var(--line); }
@media (max-width: 620px) {
  main, footer { padding-left: 16px; padding-right: 16px; }
  .eyebrow { margin-top: 28px; }
  .hero { grid-template-columns: repeat(3, 1fr); } .hero dd { font-size: 1.45rem; }
  .hero dd small { font-size: 0.74rem; }
  .dots, .dots tbody, .dots td, .dots th { display: block; width: auto !important; padding: 0 !important; border: 0; }
  .dots thead { display: none; }
  .dots tr { display: grid; grid-template-columns: 1fr auto; gap: 8px 12px; padding: 12px 0;
    border-bottom: 1px solid var(--line); }
  .dots td.plot { grid-column: 1 / -1; grid-row: 2; margin: 0 6px; } .dots td:last-child { text-align: right; }
  th, td { padding-right: 10px; } .scroll thead small { display: none; } .scroll table { font-size: 0.88rem; }
  .bars th { width: 42%; }
  .card img { width: 104px; height: 104px; }
  .filters { position: static; }
}
@media print { .filters { display: none; } .card { break-inside: avoid; } }
"""
