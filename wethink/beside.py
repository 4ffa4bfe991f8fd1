"""Stages beside the DAG, which DVC does not know: the controls, the arms of the ablations, the steps of a retrain."""

from wethink.arms import ARMS, MAIN, RESULTS, folder
from wethink.stages import STAGES, Stage

# Whose compute a control may spend, and the logs that say how much that was.
_RIVAL = {"logs": ".wethink/runs", "rival": "models/grpo"}

CONTROLS: dict[str, Stage] = {  # beside the main job, not part of it (wethink/controls.py)
    "more_sft": Stage(
        "control: more SFT for GRPO's compute",
        "wethink.controls:more_sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "sft": "models/sft", **_RIVAL},
        "models/arms/more_sft",
        ranks=True,
    ),
    "rejection_sft": Stage(
        "control: SFT on the policy's own right samples for GRPO's compute",
        "wethink.controls:rejection_sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "sft": "models/sft", **_RIVAL},
        "models/arms/rejection_sft",
        also=("grpo", "rewards"),
        ranks=True,
    ),
    "grpo_from_base": Stage(
        "control: GRPO without a warm start",
        "wethink.controls:grpo_from_base",
        "grpo",
        STAGES["grpo"].inputs,
        "models/arms/grpo_from_base",
        also=("rewards",),
        ranks=True,
    ),
    "shuffled_gold": Stage(
        "control: GRPO on shuffled golds, which must not gain",
        "wethink.controls:shuffled_gold",
        "grpo",
        STAGES["grpo"].inputs,
        "models/arms/shuffled_gold",
        also=("rewards",),
        ranks=True,
    ),
    "evaluate_arms": Stage(
        "control: all arms on the main job's held-out items",
        "wethink.controls:evaluate_arms",
        "evaluate",
        {
            "images": "data/images",
            "drawn": "data/drawn",
            **{arm: f"models/arms/{arm}" for arm in ("more_sft", "rejection_sft", "grpo_from_base", "shuffled_gold")},
        },
        "reports/arms",
        also=("rewards",),
    ),
}


def _ablations() -> dict[str, Stage]:
    """Two stages per arm of wethink/arms.py (training, evaluation), and an evaluation of each main checkpoint."""
    found: dict[str, Stage] = {}
    for name, arm in ARMS.items():
        supervised = arm.trains in ("sft", "more_sft", "rejection_sft")
        inputs = {"images": "data/images", "rows": "data/valid", "start": folder(arm.start)}
        found[f"arm_{name}"] = Stage(
            f"ablation: {name.replace('_', ' ')}",
            f"wethink.ablation:train_{name}",
            "sft" if supervised else "grpo",
            inputs | (_RIVAL | {"rival": folder(arm.rival)} if arm.trains in ("more_sft", "rejection_sft") else {}),
            folder(name),
            also={"grpo": ("rewards",), "rejection_sft": ("grpo", "rewards")}.get(arm.trains, ()),
            ranks=True,
        )
    for name in (*MAIN, *ARMS):
        found[f"measure_{name}"] = Stage(
            f"ablation: {name.replace('_', ' ')} on the held-out items",
            f"wethink.ablation:evaluate_{name}",
            "evaluate",
            {"images": "data/images", "drawn": "data/drawn", "checkpoint": folder(name)},
            f"{RESULTS}/{name}",
            also=("rewards",),
        )
    return found


ABLATIONS = _ablations()  # beside the main job, too (flows/ablations.py)


RETRAIN: dict[str, Stage] = {  # a new source, in a worktree of its own (flows/retrain.py); in topological order
    "new_images": Stage(
        "retrain: the images of the new source",
        "wethink.arrival:new_images",
        "ingest",
        {"source": "retrain/source"},
        "retrain/images",
        also=("retrain",),
    ),
    "new_rows": Stage(
        "retrain: the rows of the new source",
        "wethink.arrival:new_rows",
        "retrain",
        {"source": "retrain/source", "images": "retrain/images"},
        "retrain/rows",
        also=("synthesize", "rewards"),
    ),
    "union": Stage(
        "retrain: old and new images, rows and held-out items",
        "wethink.retrain:union",
        "retrain",
        {"old": "retrain/old", "images": "retrain/images", "rows": "retrain/rows"},
        "retrain/union",
        also=("ingest", "evaluate"),
    ),
    "union_valid": Stage(
        "retrain: rows of the union that passed Great Expectations",
        "wethink.validation:validate",
        "validate",
        {"images": "retrain/union/images", "rows": "retrain/union/rows"},
        "retrain/valid",
    ),
    "challenger": Stage(
        "retrain: GRPO on the union, from where the configured checkpoint stopped",
        "wethink.retrain:challenger",
        "grpo",
        {"images": "retrain/union/images", "rows": "retrain/valid", "start": "retrain/start"},
        "retrain/challenger",
        also=("rewards", "retrain"),
        ranks=True,
    ),
    "versus": Stage(
        "retrain: champion and challenger on the same old and new items",
        "wethink.retrain:versus",
        "evaluate",
        {"union": "retrain/union", "champion": "retrain/champion", "challenger": "retrain/challenger"},
        "retrain/evaluation",
        also=("rewards",),
    ),
}

BUNDLE = Stage(  # what the first champion learned from, in the form of a union
    "the main job's images, rows and held-out items as the old part of a first retrain",
    "wethink.retrain:bundle",
    "evaluate",
    {"images": "data/images", "rows": "data/valid", "drawn": "data/drawn"},
    ".wethink/bundle",
)
OTHERS: dict[str, Stage] = CONTROLS | ABLATIONS | RETRAIN | {"bundle": BUNDLE}  # that DVC does not know
