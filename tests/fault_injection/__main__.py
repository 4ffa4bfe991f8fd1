"""Run the cases, each in the project that its room needs, and write reports/flywheel.json after every one."""

import argparse
import contextlib
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import tasks  # first: it sets the services' environment
from tests.fault_injection import clones, faults_delivery, faults_machine, faults_services, sizes, story
from tests.fault_injection.project import Project
from tests.fault_injection.services import running
from wethink.common.jsonl import write_json

REPORT = tasks.ROOT / "reports/flywheel.json"
Case = Callable[..., str]


def cases_of(module: ModuleType) -> list[Case]:
    """The public functions that a room defines, in the order in which they stand there."""
    own = [f for f in vars(module).values() if callable(f) and getattr(f, "__module__", "") == module.__name__]
    return [f for f in own if not f.__name__.startswith("_") and f.__doc__ and not isinstance(f, type)]


STORY = cases_of(story)
CLONES = cases_of(clones)
FAULTS = [case for room in (faults_services, faults_delivery, faults_machine) for case in cases_of(room)]
SIZES = cases_of(sizes)


class Ledger:
    """The outcome of every case, printed and written as it comes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.cases = folder, list[dict[str, Any]]()

    def run(self, case: Case, *given: object) -> None:
        begin, name = time.monotonic(), case.__name__.replace("_", " ")
        try:
            passed, note = True, case(*given)
        except Exception as error:  # a case that fails must not keep the others from being run
            passed, note = False, f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - begin, 1)
        self.cases.append({"name": name, "passed": passed, "seconds": seconds, "note": self._short(note)})
        print(f"{'passed' if passed else 'FAILED'}  {name} ({seconds} s): {self._short(note)}", flush=True)
        write_json(REPORT, {"cases": self.cases})

    def _short(self, note: str) -> str:
        return note.replace(str(self.folder), "…")


@contextlib.contextmanager
def stack(folder: Path) -> Iterator[Any]:
    """A project with stand-ins for the training, a champion, and the stack of `make up`."""
    project = Project(folder, stand_ins=True)
    with running(project) as services:
        project.run("flows.promote", "first")
        yield services


def _source(case: Case, end: str) -> str:
    """A name for the case's source: lower-case letters, digits, - and _."""
    return f"{'_'.join(case.__name__.split('_')[:3])}-{end}"


def main() -> int:
    every = {case.__name__: case for case in (*STORY, *CLONES, *FAULTS, *SIZES)}
    parser = argparse.ArgumentParser(prog="python -m tests.fault_injection", description="The flywheel and its faults.")
    parser.add_argument("--only", nargs="*", choices=sorted(every), metavar="CASE", help="some of the cases")
    parser.add_argument("--times", type=int, default=1, help="run each fault so often in a row (default: %(default)s)")
    parser.add_argument("--keep", type=Path, help="a new folder for the projects, which are then left there")
    args = parser.parse_args()
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    wanted = set(args.only or every)
    folder = (args.keep or Path(tempfile.mkdtemp(prefix="flywheel-"))).resolve()
    folder.chmod(0o755) if folder.is_dir() else folder.mkdir(parents=True)  # PostgreSQL's user must get through
    ledger = Ledger(folder)
    if chosen := [case for case in STORY if case.__name__ in wanted]:
        project = Project(folder / "story")
        for case in chosen:
            ledger.run(case, project)
    for case in CLONES:
        if case.__name__ in wanted:
            ledger.run(case, folder / "clones")
    faults, sizes_ = ([case for case in room if case.__name__ in wanted] for room in (FAULTS, SIZES))
    if faults or sizes_:
        with stack(folder / "faults") as services:
            for case in faults:
                for time_ in range(1, args.times + 1):
                    ledger.run(case, services, _source(case, str(time_)))
            for case in sizes_:
                ledger.run(case, services, _source(case, "size"))
    if args.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(case["passed"] for case in ledger.cases) else 1


if __name__ == "__main__":
    sys.exit(main())
