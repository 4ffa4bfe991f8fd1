"""Control results: GRPO against each control arm on the same items, per seed and pooled.

The headline is GRPO minus the best control. The best is chosen on the reported items themselves, which can only make
our own claim look smaller.
"""

from collections.abc import Sequence
from typing import Any

from wethink.common.jsonl import Record
from wethink.evaluation.summary import accuracy_difference, by_setting

CONTROLS = ("more_sft", "rejection_sft", "grpo_from_base")  # other uses of the same compute
ARMS = (*CONTROLS, "shuffled_gold")
SETTINGS = ("greedy", "sampled")


def compare(records: Sequence[Record], summary: dict[str, Any], resamples: int, seed: int) -> dict[str, Any]:
    """Compare GRPO and SFT with each arm; add a headline per sampling setting.

    `records` are the arms' evaluation records, GRPO and SFT among them; `summary` is their `summarise`.
    """
    grouped = {name: by_setting([r for r in records if r["checkpoint"] == name]) for name in (*ARMS, "sft", "grpo")}

    def versus(after: str, before: str) -> dict[str, Any]:
        found = {
            s: accuracy_difference(grouped[after].get(s, []), grouped[before].get(s, []), resamples, seed)
            for s in SETTINGS
        }
        return found["greedy"] | {"sampled": found["sampled"]}

    arms = {
        name: summary[name] | {"grpo_minus_it": versus("grpo", name), "it_minus_sft": versus(name, "sft")}
        for name in ARMS
        if name in summary
    }
    for pixels in ("blank", "shuffled"):
        arms[f"{pixels}_image"] = {
            name: summary[name][pixels] for name in ("base", "sft", "grpo", *ARMS) if name in summary
        }
    return {"controls": arms, "headline": {s: _headline(arms, s) for s in SETTINGS}}


def _headline(arms: dict[str, Any], setting: str) -> dict[str, Any]:
    def accuracy(name: str) -> float:
        return float(arms[name]["accuracy"] if setting == "greedy" else arms[name]["sampled"]["accuracy"])

    best = max((name for name in CONTROLS if name in arms), key=accuracy)
    gap = arms[best]["grpo_minus_it"]
    gap = gap if setting == "greedy" else gap["sampled"]
    return {"best_control": best, "accuracy": accuracy(best)} | {key: gap[key] for key in ("mean", "low", "high", "n")}


def pool(seeds: Sequence[tuple[int, Sequence[Record]]], resamples: int) -> dict[str, Any]:
    """Pool paired differences over all seeds; scenes are distinct per seed.

    The differences are GRPO minus SFT, GRPO minus each arm, and shuffled golds minus SFT. The interval is over scenes,
    not over seeds: three seeds are too few to estimate the variance of training, so the per-seed figures stand beside
    it.
    """
    records = [
        record | {"scene": f"{seed}:{record['scene']}", "id": f"{seed}:{record['id']}"}
        for seed, found in seeds
        for record in found
    ]
    grouped = {name: by_setting([r for r in records if r["checkpoint"] == name]) for name in (*ARMS, "sft", "grpo")}
    pairs = [("grpo", name) for name in ("sft", *ARMS)] + [("shuffled_gold", "sft")]
    return {
        f"{after}_minus_{before}": {
            s: accuracy_difference(grouped[after].get(s, []), grouped[before].get(s, []), resamples, 0)
            for s in SETTINGS
        }
        for after, before in pairs
    }
