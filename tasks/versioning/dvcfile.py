"""Generator of dvc.yaml from the table of stages: `python -m tasks.versioning.dvcfile`.

A stage depends on its inputs, the files of its import closure, its own parameters, the lock file, and the user's files
that params.yaml names (image folders, a rows file, a model folder). It depends neither on `launch` nor on the table.
"""

import io
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from wethink.config.params import Params, load_params
from wethink.dag.import_closure import closure
from wethink.dag.main_stages import STAGES
from wethink.dag.runner import own_files
from wethink.dag.stage import Stage

DVCFILE = Path("dvc.yaml")
HEADER = """\
# The DAG for DVC, written by `make dvc.yaml` from wethink/dag/main_stages.py and the imports of each stage:
# change those, not this file (a test compares them). `dvc repro` runs what has changed.
"""
PLOTS: list[dict[str, Any]] = [
    {"sft": {"title": "SFT: loss", "x": "step", "y": {"models/sft/curves.csv": "loss"}}},
    *(
        {f"grpo_{name}": {"title": f"GRPO: {name}", "x": "step", "y": {"models/grpo/curves.csv": name}}}
        for name in ("reward", "accuracy", "length")
    ),
]


def entry(name: str, stage: Stage, params: Params) -> dict[str, Any]:
    """Build a stage's entry for dvc.yaml."""
    code = [str(path) for path in closure(stage.module)]
    return {
        "desc": stage.summary,
        "cmd": f"python -m wethink {name}",
        "params": ["seed", *dict.fromkeys((stage.section, *stage.also))],
        "deps": sorted({*stage.inputs.values(), *code, *own_files(name, params), "requirements.lock"}),
        "outs": [stage.out],
    }


def dvcfile(params: Params) -> str:
    """Render dvc.yaml."""
    document = {
        "stages": {name: entry(name, stage, params) for name, stage in STAGES.items()},
        "metrics": ["reports/evaluation/headline.json"],
        "plots": PLOTS,
    }
    yaml = YAML()
    yaml.width = 120
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = io.StringIO()
    yaml.dump(document, text)
    return HEADER + text.getvalue()


def update(params: Params) -> bool:
    """Write dvc.yaml if it differs from the table; return whether it did."""
    text = dvcfile(params)
    stale = not DVCFILE.is_file() or DVCFILE.read_text(encoding="utf-8") != text
    if stale:
        DVCFILE.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    update(load_params())
