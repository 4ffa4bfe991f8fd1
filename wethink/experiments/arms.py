"""Table of ablation arms: training function, starting checkpoint and changed settings.

Arms run in a finished checkout of the main job and share its data, its base checkpoint and, where their definition
allows, its SFT checkpoint; so an arm costs one training and one evaluation. `wethink/dag/main_stages.py` reads this
table, so it imports nothing heavy.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

MODELS = "models/arms"
RESULTS = "reports/ablations"
MAIN = {"base": "models/base", "sft": "models/sft", "grpo": "models/grpo"}


@dataclass(frozen=True)
class Arm:
    """One arm; `start` names the checkpoint or arm from which it trains."""

    question: str  # the ablation to which it belongs
    trains: Literal["sft", "grpo", "more_sft", "rejection_sft"]
    start: str
    changes: Mapping[str, Any] = field(default_factory=dict)  # of its section of params.yaml
    rewards: Mapping[str, float] = field(default_factory=dict)  # of the section `rewards`
    lenient: bool = False  # never taught the tags: parsed as base is
    longer: int = 1  # times evaluate.max_new_tokens
    rival: str = "grpo"  # whose compute a control may spend


def _weights(accuracy: float) -> dict[str, float]:
    return {"accuracy_weight": accuracy, "format_weight": round(1 - accuracy, 6)}


TWO = ("scenes", "charts")
ARMS: dict[str, Arm] = {
    "sft_answers": Arm("paths", "sft", "base", {"paths": "answers"}, lenient=True),
    "sft_raw": Arm("paths", "sft", "base", {"paths": "raw"}, longer=3),
    "from_base": Arm("start", "grpo", "base"),
    "rules_only": Arm("reward", "grpo", "sft", {"reward_route": "rule"}),
    "judge_only": Arm("reward", "grpo", "sft", {"reward_route": "model"}),
    "choice_only": Arm("types", "grpo", "sft", {"categories": ("MC",)}),
    "sft_one_source": Arm("sources", "sft", "base", {"sources": ("scenes",)}),
    "one_source": Arm("sources", "grpo", "sft_one_source", {"sources": ("scenes",)}),
    "one_source_more_sft": Arm("sources", "more_sft", "sft_one_source", {"sources": ("scenes",)}, rival="one_source"),
    "sft_two_sources": Arm("sources", "sft", "base", {"sources": TWO}),
    "two_sources": Arm("sources", "grpo", "sft_two_sources", {"sources": TWO}),
    "two_sources_more_sft": Arm("sources", "more_sft", "sft_two_sources", {"sources": TWO}, rival="two_sources"),
    "new_source": Arm("sources", "grpo", "two_sources", {"sources": ("digits",)}),
    "new_source_more_sft": Arm("sources", "more_sft", "two_sources", {"sources": ("digits",)}, rival="new_source"),
    "best_tenth": Arm("pass rate", "grpo", "sft", {"prompt_share": 0.1}),
    "weights_100_group": Arm("weights", "grpo", "sft", {"scale_rewards": "group"}, _weights(1.0)),
    "weights_50_group": Arm("weights", "grpo", "sft", {"scale_rewards": "group"}, _weights(0.5)),
    "weights_100_none": Arm("weights", "grpo", "sft", {"scale_rewards": "none"}, _weights(1.0)),
    "weights_70_none": Arm("weights", "grpo", "sft", {"scale_rewards": "none"}, _weights(0.7)),
    "weights_50_none": Arm("weights", "grpo", "sft", {"scale_rewards": "none"}, _weights(0.5)),
    "more_sft": Arm("control", "more_sft", "sft"),
    "rejection_sft": Arm("control", "rejection_sft", "sft"),
}
REFERENCE = ("base", "sft", "grpo")  # of the main job: the other side of most comparisons


def folder(checkpoint: str) -> str:
    """Return the folder of a checkpoint of the main job or of an arm."""
    return MAIN.get(checkpoint) or f"{MODELS}/{checkpoint}"
