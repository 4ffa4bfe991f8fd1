"""The `Stage` dataclass: one step of the DAG."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Stage:
    """One step. Functions take `<input>=Path…, out, scratch, config, seed` and return small metrics."""

    summary: str
    function: str  # "module:function", imported only when it runs
    section: str  # passed as `config`
    inputs: dict[str, str]  # argument name → path
    out: str
    also: tuple[str, ...] = ()  # further sections, passed by their names
    ranks: bool = False  # runs on launch.processes ranks
    launch: bool = False  # takes `launch` as an argument; ranks always do
    judge: bool = False  # its rewards may ask a judge, whose connection the runner opens
    arguments: Mapping[str, Any] = field(default_factory=dict)  # constants, passed by name

    @property
    def module(self) -> str:
        return self.function.split(":")[0]
