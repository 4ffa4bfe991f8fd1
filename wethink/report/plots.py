"""Plots as inline SVG: curves over training steps, and dots with intervals.

Colours come from the page's CSS (light and dark). The same data give the same bytes.
"""

import csv
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from markupsafe import Markup, escape

from wethink.common.errors import UserError

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 320, 140, 36, 18, 6  # of a curve panel, in its own units
POINTS = 400  # a longer curve is averaged in blocks

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dot:
    """One estimate in a strip; `style` is a CSS class of the page (base, sft, grpo)."""

    style: str
    name: str
    value: float
    low: float
    high: float


def percent(value: float | None) -> str:
    """Format a share as a percentage: `0.745` → `74.5 %`; None is a dash."""
    return "–" if value is None else f"{figure(value)} %"


def figure(value: float | None) -> str:
    """Format a share without the percent sign, for intervals: `0.745` → `74.5`."""
    return "–" if value is None else f"{100 * value:.1f}"


def points(value: float | None) -> str:
    """Format a difference in percentage points, signed: `0.133` → `+13.3`."""
    return "–" if value is None else f"{100 * value:+.1f}".replace("-", "−")


def strip(dots: Sequence[Dot], majority: float | None) -> Markup:
    """Draw dots with intervals on a 0–100 % axis, one below the other.

    A tick marks the majority baseline.
    """
    # x positions are percentages: the strip fills any width, and its strokes stay thin
    height = 12 * len(dots) + 8
    spoken = "; ".join(
        f"{d.name} {percent(d.value)}, 95 % interval {percent(d.low)} to {percent(d.high)}" for d in dots
    )
    if majority is not None:
        spoken += f"; majority baseline {percent(majority)}"
    shapes = [f'<line class="grid" x1="{x}%" x2="{x}%" y1="0" y2="{height}"/>' for x in (0, 25, 50, 75, 100)]
    if majority is not None:
        x = _place(majority)
        shapes.append(f'<line class="majority" x1="{x}" x2="{x}" y1="0" y2="{height}"/>')
    for row, dot in enumerate(dots):
        y = 10 + 12 * row
        shapes.append(
            f'<g class="{escape(dot.style)}"><line class="interval" x1="{_place(dot.low)}" x2="{_place(dot.high)}" '
            f'y1="{y}" y2="{y}"/><circle cx="{_place(dot.value)}" cy="{y}" r="4"/></g>'
        )
    return Markup(
        f'<svg class="strip" role="img" aria-label="{escape(spoken)}" height="{height}">{"".join(shapes)}</svg>'
    )


def _place(share: float) -> str:
    return f"{100 * share:.2f}%"


def read_curves(path: Path) -> dict[str, Floats]:
    """Read the numeric columns of a `curves.csv`.

    A column with an empty, non-numeric or infinite field is left out.

    Raises:
        UserError: the file is missing or has no `step` column.
    """
    try:
        with path.open(newline="", encoding="utf-8") as handle:
            rows = list(csv.DictReader(handle))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run the stage that trains this model first.") from None
    columns: dict[str, Floats] = {}
    for name in rows[0] if rows else ():
        try:
            values = np.array([float(row[name]) for row in rows], dtype=np.float64)
        except (TypeError, ValueError):
            continue
        if np.isfinite(values).all():
            columns[name] = values
    if "step" not in columns:
        raise UserError(f"{path} has no 'step' column with numbers; run the stage that trains this model again.")
    return columns


@dataclass(frozen=True)
class Panel:
    """One small plot: title, columns (column → legend), and whether they are shares."""

    title: str
    columns: dict[str, str]
    share: bool = False


def curves(columns: dict[str, Floats], panels: Sequence[Panel]) -> list[dict[str, object]]:
    """Draw every panel that has a column, over steps, as title, legend and SVG."""
    drawn: list[dict[str, object]] = []
    for panel in panels:
        series = {label: columns[name] for name, label in panel.columns.items() if name in columns}
        if series:
            drawn.append(
                {
                    "title": panel.title,
                    "legend": list(series) if len(series) > 1 else [],
                    "svg": _panel(panel, columns["step"], series),
                }
            )
    return drawn


def _panel(panel: Panel, steps: Floats, series: dict[str, Floats]) -> Markup:
    smooth = {label: _smooth(_blocks(values)) for label, values in series.items()}
    at = _blocks(steps)
    first, last = float(at[0]), float(at[-1])
    everything = np.concatenate([_blocks(values) for values in series.values()])
    ticks = _ticks(float(everything.min()), float(everything.max()))
    low, high = min(ticks[0], float(everything.min())), max(ticks[-1], float(everything.max()))

    def x(step: float) -> float:
        return LEFT + (WIDTH - LEFT - 4) * (step - first) / ((last - first) or 1)

    def y(value: float) -> float:
        return TOP + (HEIGHT - TOP - BOTTOM) * (high - value) / (high - low)

    def path(values: Floats) -> str:
        return " ".join(f"{x(s):.1f},{y(v):.1f}" for s, v in zip(at, values, strict=True))

    shapes = []
    for tick in ticks:
        label = f"{100 * tick:g} %" if panel.share else f"{tick:g}".replace("-", "−")
        shapes.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - 4}" y1="{y(tick):.1f}" y2="{y(tick):.1f}"/>')
        shapes.append(f'<text x="{LEFT - 5}" y="{y(tick) + 3.5:.1f}" text-anchor="end">{label}</text>')
    for place, step, anchor in ((LEFT, at[0], "start"), (WIDTH - 4, at[-1], "end")):
        words = f"step {step:g}" if anchor == "start" else f"{step:g}"
        shapes.append(f'<text x="{place}" y="{HEIGHT - 3}" text-anchor="{anchor}">{words}</text>')
    for number, (label, values) in enumerate(series.items()):
        shapes.append(f'<polyline class="raw line{number}" points="{path(_blocks(values))}"/>')
        shapes.append(f'<polyline class="line{number}" points="{path(smooth[label])}"/>')
    ends = "; ".join(
        f"{label} from {_spoken(float(values[0]), panel.share)} to {_spoken(float(values[-1]), panel.share)}"
        for label, values in smooth.items()
    )
    alt = escape(f"{panel.title} over {steps[-1]:g} steps, smoothed: {ends}")
    return Markup(
        f'<svg class="curve" role="img" aria-label="{alt}" viewBox="0 0 {WIDTH} {HEIGHT}">{"".join(shapes)}</svg>'
    )


def _spoken(value: float, share: bool) -> str:
    return percent(value) if share else f"{value:.3g}"


def _blocks(values: Floats) -> Floats:
    """Reduce a curve to at most POINTS values, the means of equal blocks."""
    if len(values) <= POINTS:
        return values
    edges = np.linspace(0, len(values), POINTS + 1).astype(int)
    sums = np.add.reduceat(values, edges[:-1])
    means: Floats = sums / np.diff(edges)
    return means


def _smooth(values: Floats) -> Floats:
    """Average over a centred window of a tenth of the curve, shorter at the ends."""
    half = len(values) // 20
    total = np.concatenate([[0.0], np.cumsum(values)])
    places = np.arange(len(values))
    start, stop = np.maximum(places - half, 0), np.minimum(places + half + 1, len(values))
    means: Floats = (total[stop] - total[start]) / (stop - start)
    return means


def _ticks(low: float, high: float) -> list[float]:
    """Return three to five round numbers that cover `low` to `high`."""
    if high - low < 1e-9:
        low, high = low - abs(low) / 2, high + (abs(high) / 2 or 1)
    raw = (high - low) / 3
    magnitude = 10.0 ** math.floor(math.log10(raw))
    step = next(nice * magnitude for nice in (1, 2, 2.5, 5, 10) if nice * magnitude >= raw * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(number * step, 10) for number in range(first, last + 1)]
