"""A plan as text for the terminal and as JSON for machines."""

from collections.abc import Mapping, Sequence
from typing import Any

from wethink.training.planning.advice import Suggestion
from wethink.training.planning.devices import GIB, Device
from wethink.training.planning.memory import PHASES, total
from wethink.training.planning.plan import StagePlan, gib
from wethink.training.planning.work import Lengths

Advice = Mapping[str, Sequence[Suggestion]]


def as_text(plans: Sequence[StagePlan], advice: Advice, price: float | None, assumed: Sequence[str]) -> str:
    """Lay plans out for people."""
    first = plans[0]
    device, ranks = first.setup.device, first.setup.ranks
    lines = [
        f"{first.shape.name} on {ranks} × {device.name} ({gib(device.memory)} each, {device.source})",
        *(f"assumed: {line}" for line in assumed),
    ]
    for plan in plans:
        lines += ["", *_stage(plan, advice.get(plan.stage, ()), price)]
    return "\n".join(lines)


def _stage(plan: StagePlan, suggestions: Sequence[Suggestion], price: float | None) -> list[str]:
    counts, work = plan.setup.counts, plan.setup.work
    parts = ", ".join(f"{part} {_count(size)}" for part, size in counts.weights.items() if size)
    lines = [
        f"{plan.stage}: {_count(counts.total)} parameters ({parts}); {_count(counts.learned)} are trained",
        f"  a step: {work.prompts * work.ranks:,.0f} prompts of {work.prompt:,.0f} tokens"
        + (f" × {work.group} completions" if work.group > 1 else "")
        + f" of {work.completion:,.0f}; a rank's largest pass: {work.pass_tokens:,} tokens",
        "",
        *_memory(plan),
        "",
        "  a step takes "
        + ", ".join(f"{part} {seconds:.3g} s" for part, seconds in plan.seconds.items() if seconds)
        + f": {sum(plan.seconds.values()):.3g} s",
        f"  {plan.steps:,} steps: {_count(plan.tokens)} tokens, {plan.hours:.3g} h" + _money(plan, price),
    ]
    if plan.fits:
        return [*lines, "  it fits."]
    lines += [f"  does not fit: {problem}" for problem in plan.problems]
    if not suggestions:
        return [*lines, "  no setting tried here makes it fit; take more or larger devices, or a smaller model."]
    lines.append("  it fits with" + (" one of:" if len(suggestions) > 1 else ":"))
    for found in suggestions:
        together = " and ".join(found.settings)
        lines.append(f"    {together}  (a rank's peak {gib(found.peak)}, {found.hours:.3g} h)")
    return lines


def _memory(plan: StagePlan) -> list[str]:
    phases = [phase for phase in PHASES if phase in plan.memory]
    parts = list(dict.fromkeys(part for phase in phases for part in plan.memory[phase]))
    lines = [f"  {'GiB a rank':<26}" + "".join(f"{phase:>9}" for phase in phases)]
    for part in parts:
        cells = [plan.memory[phase].get(part) for phase in phases]
        lines.append(f"  {part:<26}" + "".join(f"{'–' if cell is None else f'{cell / GIB:.2f}':>9}" for cell in cells))
    sums = [total(plan.memory[phase]) for phase in phases]
    lines.append(f"  {'sum':<26}" + "".join(f"{size / GIB:>9.2f}" for size in sums))
    if plan.host:
        inside = ", ".join(f"{part} {gib(size)}" for part, size in plan.host.items())
        lines.append(f"  a host's own memory: {gib(total(plan.host))} ({inside})")
    return lines


def _money(plan: StagePlan, price: float | None) -> str:
    return "" if price is None else f", {plan.hours * plan.setup.ranks * price:,.2f} at {price:g} a device and hour"


def _count(number: float) -> str:
    for size, letter in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if number >= size:
            return f"{number / size:.3g} {letter}"
    return f"{number:.0f}"


def as_json(
    plans: Sequence[StagePlan], advice: Advice, device: Device, lengths: Lengths, price: float | None
) -> dict[str, Any]:
    """Return the plan as the JSON object of reports/plan.json. Bytes and seconds."""
    return {
        "model": plans[0].shape.name,
        "device": {"name": device.name, "memory": round(device.memory), "ranks": plans[0].setup.ranks},
        "lengths": vars(lengths),
        "parameters": {plan.stage: dict(plan.setup.counts.weights) for plan in plans},
        "trained": {plan.stage: plan.setup.counts.learned for plan in plans},
        "memory": {
            "rank": {
                plan.stage: {
                    phase: {part: round(size) for part, size in parts.items()} for phase, parts in plan.memory.items()
                }
                for plan in plans
            },
            "host": {plan.stage: {part: round(size) for part, size in plan.host.items()} for plan in plans},
        },
        "seconds": {plan.stage: {part: round(value, 6) for part, value in plan.seconds.items()} for plan in plans},
        "steps": {plan.stage: plan.steps for plan in plans},
        "tokens": {plan.stage: round(plan.tokens) for plan in plans},
        "hours": {plan.stage: round(plan.hours, 4) for plan in plans},
        "money": {
            plan.stage: None if price is None else round(plan.hours * plan.setup.ranks * price, 2) for plan in plans
        },
        "fits": {plan.stage: plan.fits for plan in plans},
        "problems": {plan.stage: list(plan.problems) for plan in plans},
        "suggestions": {
            plan.stage: [
                {"settings": list(found.settings), "peak": round(found.peak), "hours": round(found.hours, 4)}
                for found in advice.get(plan.stage, ())
            ]
            for plan in plans
        },
    }
