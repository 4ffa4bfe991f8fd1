"""Stage table of controls and ablation arms, which are not in dvc.yaml."""

from wethink.dag.main_stages import STAGES
from wethink.dag.stage import Stage
from wethink.experiments.arms import ARMS, MAIN, RESULTS, folder

# The run whose compute a control may spend, and the logs that hold the amount.
_BUDGET_INPUTS = {"logs": ".wethink/runs", "rival": "models/grpo"}

CONTROLS: dict[str, Stage] = {  # run apart from the main job (wethink/experiments/controls.py)
    "more_sft": Stage(
        "control: more SFT for GRPO's compute",
        "wethink.experiments.controls:more_sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "sft": "models/sft", **_BUDGET_INPUTS},
        "models/arms/more_sft",
        also=("rewards.format",),
        ranks=True,
    ),
    "rejection_sft": Stage(
        "control: SFT on the policy's own right samples for GRPO's compute",
        "wethink.experiments.controls:rejection_sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "sft": "models/sft", **_BUDGET_INPUTS},
        "models/arms/rejection_sft",
        also=("grpo", "rewards"),
        ranks=True,
        scorer=True,
    ),
    "grpo_from_base": Stage(
        "control: GRPO without a warm start",
        "wethink.experiments.controls:grpo_from_base",
        "grpo",
        STAGES["grpo"].inputs,
        "models/arms/grpo_from_base",
        also=("rewards",),
        ranks=True,
        scorer=True,
    ),
    "shuffled_gold": Stage(
        "control: GRPO on shuffled golds, which must not gain",
        "wethink.experiments.controls:shuffled_gold",
        "grpo",
        STAGES["grpo"].inputs,
        "models/arms/shuffled_gold",
        also=("rewards",),
        ranks=True,
        scorer=True,
    ),
    "evaluate_arms": Stage(
        "control: all arms on the main job's held-out items",
        "wethink.experiments.controls:evaluate_arms",
        "evaluate",
        {
            "images": "data/images",
            "drawn": "data/drawn",
            "valid": "data/valid",
            **{arm: f"models/arms/{arm}" for arm in ("more_sft", "rejection_sft", "grpo_from_base", "shuffled_gold")},
        },
        "reports/arms",
        also=("rewards",),
        launch=True,
    ),
}


def _ablations() -> dict[str, Stage]:
    """Build a training and an evaluation stage per ablation arm.

    Each main checkpoint gets an evaluation stage, too.
    """
    found: dict[str, Stage] = {}
    for name, arm in ARMS.items():
        supervised = arm.trains in ("sft", "more_sft", "rejection_sft")
        inputs = {"images": "data/images", "rows": "data/valid", "start": folder(arm.start)}
        found[f"arm_{name}"] = Stage(
            f"ablation: {name.replace('_', ' ')}",
            "wethink.experiments.ablations:train_arm",
            "sft" if supervised else "grpo",
            inputs
            | (_BUDGET_INPUTS | {"rival": folder(arm.rival)} if arm.trains in ("more_sft", "rejection_sft") else {}),
            folder(name),
            also={"grpo": ("rewards",), "rejection_sft": ("grpo", "rewards")}.get(arm.trains, ("rewards.format",)),
            ranks=True,
            scorer=arm.trains in ("grpo", "rejection_sft"),
            arguments={"arm": name},
        )
    for name in (*MAIN, *ARMS):
        found[f"measure_{name}"] = Stage(
            f"ablation: {name.replace('_', ' ')} on the held-out items",
            "wethink.experiments.ablations:evaluate_arm",
            "evaluate",
            {"images": "data/images", "drawn": "data/drawn", "valid": "data/valid", "checkpoint": folder(name)},
            f"{RESULTS}/{name}",
            also=("rewards",),
            launch=True,
            arguments={"name": name},
        )
    return found


ABLATIONS = _ablations()  # run by flows/ablations.py
