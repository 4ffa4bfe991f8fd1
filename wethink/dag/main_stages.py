"""Stage table of the main DAG: function, params.yaml section, inputs and output of each stage.

Functions are named as strings, so that `--help` imports no torch and this table is no stage's dependency.
The same table serves the library, `python -m wethink <stage>`, dvc.yaml and the Prefect tasks.
"""

from wethink.dag.stage import Stage

STAGES: dict[str, Stage] = {
    "draw": Stage(
        "make the default image sources and the split",
        "wethink.data.drawn.draw:draw",
        "draw",
        {},
        "data/drawn",
        also=("ingest.sources",),
    ),
    "ingest": Stage(
        "image sources → content-addressed shards",
        "wethink.data.ingest:ingest",
        "ingest",
        {"drawn": "data/drawn"},
        "data/images",
        yields="images",
    ),
    "synthesize": Stage(
        "images → questions, answers and reasoning paths",
        "wethink.synthesis.synthesize:synthesize",
        "synthesize",
        {"images": "data/images", "drawn": "data/drawn"},
        "data/rows",
        also=("rewards",),
        launch=True,
        yields="kept",
    ),
    "validate": Stage(
        "rows → rows that passed Great Expectations",
        "wethink.curation.validate:validate",
        "validate",
        {"images": "data/images", "rows": "data/rows"},
        "data/valid",
        also=("rewards.functions",),
        yields="kept",
    ),
    "base": Stage(
        "resolve, or build and pre-train, the starting policy",
        "wethink.training.base_policy:base",
        "base",
        {"images": "data/images", "rows": "data/valid"},
        "models/base",
        also=("rewards.format",),
        ranks=True,
    ),
    "sft": Stage(
        "warm start on reasoning paths",
        "wethink.training.sft:sft",
        "sft",
        {"images": "data/images", "rows": "data/valid", "base": "models/base"},
        "models/sft",
        also=("rewards.format", "grpo.start"),
        ranks=True,
    ),
    "grpo": Stage(
        "GRPO with the hybrid reward",
        "wethink.rl.trainer:grpo",
        "grpo",
        {"images": "data/images", "rows": "data/valid", "base": "models/base", "sft": "models/sft"},
        "models/grpo",
        also=("rewards",),
        ranks=True,
        scorer=True,
    ),
    "evaluate": Stage(
        "base, SFT and GRPO on held-out items, against truth",
        "wethink.evaluation.evaluate:evaluate",
        "evaluate",
        {
            "images": "data/images",
            "drawn": "data/drawn",
            "valid": "data/valid",
            "base": "models/base",
            "sft": "models/sft",
            "grpo": "models/grpo",
        },
        "reports/evaluation",
        also=("rewards", "validate.unanswerable"),
        launch=True,
    ),
    "report": Stage(
        "one page a person wants to look at",
        "wethink.report.run_report:report",
        "report",
        {
            "images": "data/images",
            "rows": "data/rows",
            "valid": "data/valid",
            "sft": "models/sft",
            "grpo": "models/grpo",
            "evaluation": "reports/evaluation",
        },
        "reports/index.html",
        also=("rewards.format",),
    ),
}
