"""HTML report of `make seeds`: GRPO against controls with the same compute, pooled and per seed.

It shows `reports/seeds.json`; the only thing computed here is which control is best.
"""

from typing import Any

from wethink.experiments.control_results import ARMS, CONTROLS, SETTINGS
from wethink.report.plots import points
from wethink.report.render import direction, render

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


def seeds_page(result: dict[str, Any]) -> str:
    """Render `reports/seeds.json` as one self-contained page."""
    seeds = result["seeds"]
    return render(
        "controls.html.jinja",
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


def headline(pooled: dict[str, Any], setting: str, seeds: int) -> str:
    """Compare GRPO with the best control, or state that the interval includes 0."""
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
