"""Stage run: the config section, folders and seed that the stage runner hands to every stage function."""

from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

Config = TypeVar("Config", covariant=True)


@dataclass(frozen=True)
class StageRun(Generic[Config]):
    """One run of a stage, whichever door started it."""

    config: Config  # the stage's own section of params.yaml
    out: Path  # the new output folder, published whole when the stage has ended
    scratch: Path  # work in progress: a restarted stage resumes from it
    seed: int
