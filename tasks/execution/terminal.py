"""Terminal output of the main flow: a live table of stages, or plain lines where stdout is no terminal.

Prefect's console log, DVC's hints, launcher lines and warnings go to the run's log file instead. Only
`python -m flows.pipeline` uses this module; a Prefect worker that runs the flow logs as Prefect does.
"""

import contextlib
import logging
import os
import re
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TextIO

from prefect.logging.handlers import PrefectConsoleHandler
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tasks.execution.stage import LISTENER, StageEvent
from tasks.execution.summary import made
from tasks.processes import child_process
from wethink.common.paths import WORK
from wethink.dag.main_stages import STAGES

RUN_LOG = WORK / "logs" / "pipeline.log"
LAST_LINES = 12  # of a failed stage's log
REFRESHES = 2  # of the live table, a second: two cores have better things to do
STYLES = {"completed": "green", "cached": "blue", "running": "bold yellow", "waiting": "dim", "stopped": "yellow"}
FINISHED = ("completed", "cached")
TQDM = re.compile(r"\s*(?P<what>[^%|]*?):\s+\d+%\|.*\|\s*(?P<done>\d+)/(?P<total>\d+) \[(?P<time>[^\]]*)\]?\s*")


@dataclass(frozen=True)
class Row:
    """A stage's row in the table of stages."""

    state: str = "waiting"
    began: float = 0.0  # time.monotonic()
    seconds: float | None = None  # None until it has ended, and where nothing ran
    made: str = ""


@dataclass(frozen=True)
class Progress:
    """The latest progress line of a stage, as tqdm writes it."""

    what: str
    done: int
    total: int
    time: str  # elapsed<left, rate


@dataclass(frozen=True)
class Display:
    """The rows by stage, and a function that prints a line above them."""

    rows: dict[str, Row]
    say: Callable[[str], None]


def parse_progress(text: str) -> Progress | None:
    r"""Return the last progress line in a piece of a stage's output.

    >>> parse_progress("\rsft:   8%|8         | 74/900 [00:15<02:48,  4.92it/s]")
    Progress(what='sft', done=74, total=900, time='00:15<02:48,  4.92it/s')
    """
    for line in reversed(re.split(r"[\r\n]", text)):
        if match := TQDM.fullmatch(line):
            return Progress(match["what"], int(match["done"]), int(match["total"]), match["time"])
    return None


def next_row(row: Row, event: StageEvent, now: float) -> Row:
    """Return a stage's row after an event; one that never ran gets no seconds."""
    state = event.state.lower()
    if state == "running":
        return Row("running", began=now)
    seconds = now - row.began if row.state == "running" else None
    if state in FINISHED:
        return Row(state, row.began, seconds, made(event.name) or event.message.removeprefix(f"{event.name}: "))
    return Row(state, row.began, seconds, "" if state == "failed" else event.message)


def plain_line(name: str, row: Row) -> str:
    """Write a row as one line: a stage that starts, or one that has ended."""
    seconds = "" if row.seconds is None else f" after {row.seconds:.0f} s"
    detail = f"{row.state}{seconds}{': ' if row.made else ''}{row.made}"
    return f"{time.strftime('%H:%M:%S')}  {name:<11} {'started' if row.state == 'running' else detail}"


def stage_table(rows: dict[str, Row], progress: Progress | None, now: float, width: int = 100) -> RenderableType:
    """Draw the table of stages, with one progress line below while a stage runs."""
    table = Table("stage", "state")
    table.add_column("seconds", justify="right")
    table.add_column("what it made", min_width=min(53, width - 42))  # steady, though the texts come and go
    for name, row in rows.items():
        seconds = now - row.began if row.state == "running" else row.seconds
        shown = "" if seconds is None else f"{seconds:.0f}"
        doing = Text(STAGES[name].summary, style="dim") if row.state == "running" else Text(row.made)
        table.add_row(name, Text(row.state, style=STYLES.get(row.state, "bold red")), shown, doing)
    return Group(table, progress_line(progress)) if progress else table


def progress_line(progress: Progress) -> RenderableType:
    """Draw a stage's latest progress line as a bar with its time left."""
    elapsed, _, left = progress.time.partition("<")
    grid = Table.grid(padding=(0, 1))
    bar = ProgressBar(total=max(progress.total, 1), completed=progress.done, width=30)
    count = f"{progress.done:,}/{progress.total:,}"
    grid.add_row(progress.what, bar, count, Text(f"{elapsed}, left {left}" if left else elapsed, style="dim"))
    return grid


@contextlib.contextmanager
def redirected(log: Path) -> Iterator[TextIO]:
    """Send file descriptors 1 and 2 of this process to a log, and yield the former stdout.

    Children inherit them, so that nothing of any library or program gets past the log.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(log.open("a", encoding="utf-8", errors="replace"))
        real = {number: os.dup(number) for number in (1, 2)}
        for number, kept in real.items():
            stack.callback(os.close, kept)
            stack.callback(os.dup2, kept, number)
        stack.callback(_flush)
        _flush()
        for handler in console_handlers():
            stack.callback(setattr, handler, "console", handler.console)
            handler.console = Console(file=handler.stream, color_system=None)  # no colours in a file
        for number in real:
            os.dup2(sink.fileno(), number)
        yield stack.enter_context(os.fdopen(os.dup(real[1]), "w", encoding=sys.stdout.encoding, errors="replace"))


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):  # a full disk under the log is told by the stage that meets it
            stream.flush()


def console_handlers() -> set[PrefectConsoleHandler]:
    """Return Prefect's console handlers; its API handlers, which fill the UI, are none of them."""
    loggers = [logging.getLogger(), *logging.root.manager.loggerDict.values()]
    handlers = [handler for logger in loggers for handler in getattr(logger, "handlers", [])]
    return {handler for handler in handlers if isinstance(handler, PrefectConsoleHandler)}


@contextlib.contextmanager
def display(log: Path = RUN_LOG) -> Iterator[Display]:
    """Show the stages that run in this block; everything else that it writes goes to the log."""
    live = sys.stdout.isatty() and os.environ.get("TERM") not in (None, "", "dumb")
    rows = dict.fromkeys(STAGES, Row())
    with redirected(log) as stdout:
        child_process.to_stdout(f"\n== {time.strftime('%Y-%m-%d %H:%M:%S')} {Path.cwd()}\n")
        console = Console(file=stdout, force_terminal=live, highlight=False, soft_wrap=not live)
        with _live(console, rows) if live else _plain(console, rows) as shown:
            yield shown


@contextlib.contextmanager
def _plain(console: Console, rows: dict[str, Row]) -> Iterator[Display]:
    def listen(event: StageEvent) -> None:
        rows[event.name] = next_row(rows[event.name], event, time.monotonic())
        say(plain_line(event.name, rows[event.name]))

    def say(line: str) -> None:
        with contextlib.suppress(OSError, ValueError):  # a reader that has gone is no reason to stop training
            console.print(line, markup=False)

    token = LISTENER.set(listen)
    try:
        yield Display(rows, say)
    finally:
        LISTENER.reset(token)


@contextlib.contextmanager
def _live(console: Console, rows: dict[str, Row]) -> Iterator[Display]:
    latest: list[Progress] = []

    def listen(event: StageEvent) -> None:
        latest.clear()
        rows[event.name] = next_row(rows[event.name], event, time.monotonic())

    def read(text: str) -> None:
        child_process.to_stdout(text)
        running = [name for name, row in rows.items() if row.state == "running"]
        progress = parse_progress(text)
        if progress and (not running or progress.what.split(" ")[0] in running):
            latest[:] = [progress]

    def draw() -> RenderableType:
        return stage_table(rows, next(iter(latest), None), time.monotonic(), console.width)

    listener, output = LISTENER.set(listen), child_process.OUTPUT.set(read)
    screen = Live(
        console=console,
        get_renderable=draw,
        refresh_per_second=REFRESHES,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    try:
        with screen:
            try:
                yield Display(rows, lambda line: console.print(escape(line), soft_wrap=True))
            finally:
                latest.clear()
                for name, row in rows.items():
                    if row.state == "running":
                        rows[name] = replace(row, state="stopped", seconds=time.monotonic() - row.began)
    finally:
        LISTENER.reset(listener)
        child_process.OUTPUT.reset(output)


def failure(sentence: str, rows: dict[str, Row], log: Path = RUN_LOG) -> str:
    """Return what a failed run shows: its sentence, the last lines of the stage's log, and where all of it is."""
    failed = [name for name, row in rows.items() if row.state not in (*FINISHED, "waiting", "running", "stopped")]
    culprit = WORK / "logs" / f"{failed[-1]}.log" if failed else log
    lines = [f"wethink: {sentence}", f"The last lines of {culprit.resolve()}:"]
    lines += [f"    {line}" for line in last_lines(culprit)]
    if failed:
        lines.append(f"The rest of the run's output: {log.resolve()}")
    return "\n".join(lines)


def last_lines(log: Path, count: int = LAST_LINES) -> list[str]:
    """Return the last lines of a log that are not empty; of a redrawn progress bar, its last state."""
    try:
        with log.open("rb") as stream:
            stream.seek(max(0, log.stat().st_size - 64_000))
            text = stream.read().decode("utf-8", errors="replace")
    except OSError as error:
        return [f"(it cannot be read: {error.strerror})"]
    lines = [line.rstrip().rsplit("\r", 1)[-1] for line in text.split("\n")]
    return [line for line in lines if line.strip()][-count:]
