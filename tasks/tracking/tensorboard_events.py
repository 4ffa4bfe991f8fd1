"""TensorBoard event files from metrics files: `tensorboard --logdir .wethink/tensorboard`.

The event files themselves tell which steps were logged, also after a kill.
"""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from wethink.common.paths import WORK

FOLDER = WORK / "tensorboard"


@dataclass
class EventFile:
    """A stage's open event file and the last logged step of every metric."""

    writer: Any
    logged: dict[str, int]

    def log(self, records: list[dict[str, Any]]) -> None:
        """Append the steps after each metric's last logged step."""
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.compat.proto.summary_pb2 import Summary

        for record in records:
            step = int(record["step"])
            new = {
                name: float(value)
                for name, value in record.items()
                if name != "step" and value is not None and step > self.logged.get(name, 0)
            }
            if new:
                values = [Summary.Value(tag=name, simple_value=value) for name, value in new.items()]
                self.writer.add_event(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
                self.logged |= dict.fromkeys(new, step)
        self.writer.flush()

    def finish(self, figures: dict[str, float]) -> None:
        """Append the results as values of step 1."""
        self.log([{"step": 1, **figures}])

    def close(self) -> None:
        """Write the file out."""
        self.writer.close()


def open_events(stage: str, key: str, experiment: str) -> EventFile:
    """Open an event file beside those that earlier starts of the stage wrote; TensorBoard reads them as one curve."""
    from tensorboard.summary.writer.event_file_writer import EventFileWriter

    folder = FOLDER / experiment / f"{stage}-{key}"
    logged = last_steps(folder)
    # Files are read in the order of their names, which have whole seconds and then the process's number.
    while list(folder.glob(f"*.tfevents.{int(time.time()):010d}.*")):
        time.sleep(0.1)
    return EventFile(EventFileWriter(str(folder)), logged)


def last_steps(folder: Path) -> dict[str, int]:
    """Read the last step of every metric from a folder's event files; a torn last record is left out."""
    if not folder.is_dir():
        return {}
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    events: Any = EventAccumulator(str(folder), size_guidance={SCALARS: 1})  # the newest is the one that is kept
    events.Reload()
    return {tag: events.Scalars(tag)[-1].step for tag in events.Tags()["scalars"]}
