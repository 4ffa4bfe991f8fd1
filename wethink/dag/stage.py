"""The `Stage` dataclass: one step of the DAG."""

from dataclasses import dataclass


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

    @property
    def module(self) -> str:
        return self.function.split(":")[0]
