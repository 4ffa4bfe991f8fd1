"""Registry of the stages outside dvc.yaml: controls, ablations and retraining."""

from wethink.dag.experiment_stages import ABLATIONS, CONTROLS
from wethink.dag.retraining_stages import BUNDLE, RETRAIN
from wethink.dag.stage import Stage

EXTRA_STAGES: dict[str, Stage] = CONTROLS | ABLATIONS | RETRAIN | {"bundle": BUNDLE}  # not in dvc.yaml
