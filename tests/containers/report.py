"""The cases of a check: printed as they end, and written to reports/<name>.json with seconds and processor seconds."""

import time
from collections.abc import Callable
from typing import Any

from tasks import ROOT
from tests.containers.engine import processor_seconds
from wethink.common.jsonl import write_json


class Report:
    def __init__(self, name: str) -> None:
        self.name, self.cases = name, list[dict[str, Any]]()
        self._begin, self._spent = time.monotonic(), processor_seconds()

    def case(self, name: str, work: Callable[[], str]) -> bool:
        """Run a case; whether it passed. What it returns, or raises, is its note."""
        begin, spent = time.monotonic(), processor_seconds()
        try:
            passed, note = True, work()
        except Exception as error:  # a case that fails must not keep the others from being run
            passed, note = False, f"{type(error).__name__}: {error}"
        seconds, cpu = round(time.monotonic() - begin, 1), round(processor_seconds() - spent, 1)
        self.cases.append({"name": name, "passed": passed, "seconds": seconds, "processor_seconds": cpu, "note": note})
        print(f"{'passed' if passed else 'FAILED'}  {name} ({seconds} s, {cpu} processor s): {note}", flush=True)
        self._write()
        return passed

    def end(self) -> int:
        """Print the sum; return the exit code."""
        failed = [case["name"] for case in self.cases if not case["passed"]]
        sums = f"{self._figures()['seconds']} s, {self._figures()['processor_seconds']} processor s"
        print(f"{'failed: ' + ', '.join(failed) if failed else 'all held'} in {sums}: reports/{self.name}.json")
        return 1 if failed else 0

    def _figures(self) -> dict[str, Any]:
        spent = processor_seconds() - self._spent
        return {"seconds": round(time.monotonic() - self._begin), "processor_seconds": round(spent)}

    def _write(self) -> None:
        write_json(ROOT / f"reports/{self.name}.json", {"cases": self.cases} | self._figures())
