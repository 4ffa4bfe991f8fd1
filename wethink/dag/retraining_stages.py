"""Stage table of retraining: new rows, union, challenger, and the snapshot of the main run."""

from wethink.dag.stage import Stage

RETRAIN: dict[str, Stage] = {  # a new source, in a worktree of its own (flows/retrain.py); in topological order
    "new_images": Stage(
        "retrain: the images of the new source",
        "wethink.retraining.new_source:new_images",
        "ingest",
        {"source": "retrain/source"},
        "retrain/images",
        also=("retrain",),
        yields="images",
    ),
    "new_rows": Stage(
        "retrain: the rows of the new source",
        "wethink.retraining.new_source:new_rows",
        "retrain",
        {"source": "retrain/source", "images": "retrain/images"},
        "retrain/rows",
        also=("synthesize", "rewards"),
        launch=True,
    ),
    "union": Stage(
        "retrain: old and new images, rows and held-out items",
        "wethink.retraining.union:merge_datasets",
        "retrain",
        {"old": "retrain/old", "images": "retrain/images", "rows": "retrain/rows"},
        "retrain/union",
        also=("ingest", "evaluate"),
    ),
    "union_valid": Stage(
        "retrain: rows of the union that passed Great Expectations",
        "wethink.curation.validate:validate",
        "validate",
        {"images": "retrain/union/images", "rows": "retrain/union/rows"},
        "retrain/valid",
        also=("rewards.functions",),
        yields="kept",
    ),
    "warm_start": Stage(
        "retrain: SFT on the union's reasoning paths, from the configured checkpoint",
        "wethink.retraining.challenger:warm_start",
        "sft",
        {"images": "retrain/union/images", "rows": "retrain/valid", "start": "retrain/start"},
        "retrain/warm_start",
        also=("rewards.format", "retrain"),
        ranks=True,
    ),
    "challenger": Stage(
        "retrain: GRPO on the union, from the warm start",
        "wethink.retraining.challenger:challenger",
        "grpo",
        {"images": "retrain/union/images", "rows": "retrain/valid", "start": "retrain/warm_start"},
        "retrain/challenger",
        also=("rewards", "retrain"),
        ranks=True,
        scorer=True,
    ),
    "versus": Stage(
        "retrain: champion and challenger on the same old and new items",
        "wethink.retraining.challenger:evaluate_challenger",
        "evaluate",
        {"union": "retrain/union", "champion": "retrain/champion", "challenger": "retrain/challenger"},
        "retrain/evaluation",
        also=("rewards",),
        launch=True,
    ),
}

BUNDLE = Stage(  # what the first champion learned from, in the form of a union
    "the main job's images, rows and held-out items as the old part of a first retrain",
    "wethink.retraining.union:snapshot_main_run",
    "evaluate",
    {"images": "data/images", "rows": "data/valid", "drawn": "data/drawn"},
    ".wethink/bundle",
    launch=True,
)
