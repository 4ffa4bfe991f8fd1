"""`Stage` dataclass: one step of the pipeline DAG."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """Step of the DAG.

    Its function takes `<input>=Path…` and `run` (`common.stage_run.StageRun`) and returns a small dict of metrics.
    """

    summary: str
    function: str  # "module:function", imported only when it runs
    section: str  # passed as `config`
    inputs: dict[str, str]  # argument name → path
    out: str
    also: tuple[str, ...] = ()  # further sections, or parts of one ("rewards.format"), passed by their last names
    ranks: bool = False  # runs on launch.processes ranks
    launch: bool = False  # takes `launch` as an argument; ranks always do
    scorer: bool = False  # takes `scorer`, with its judge connected, in place of the section `rewards`
    yields: str | None = None  # the metric that must be above 0: else the stage made nothing usable
    arguments: Mapping[str, Any] = field(default_factory=dict)  # constants, passed by name

    @property
    def module(self) -> str:
        return self.function.split(":")[0]
