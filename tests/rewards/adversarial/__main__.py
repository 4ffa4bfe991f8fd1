"""`make attacks`: run the suite, print what failed, and write reports/attacks.json."""

import contextlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from tests.rewards.adversarial import Case
from tests.rewards.adversarial.equivalent import equivalent
from tests.rewards.adversarial.hostile import hostile
from tests.rewards.adversarial.judging import NO_VERDICTS, VERDICTS, candidates
from wethink.common.jsonl import write_json
from wethink.config.rewards import Rewards
from wethink.rewards.rules.math_client import COMPARER

CONFIG = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")
SHOWN = 25  # failures printed of each sort


class Tally:
    """What happened, and how much processor time the costliest took: wall time would say how busy the machine was."""

    def __init__(self) -> None:
        self.n = Counter[str]()
        self.failed: dict[str, list[str]] = {}
        self.worst = self.worst_wall = 0.0  # seconds
        self.slowest = ""

    def run(self, sort: str, name: str, check: Callable[[], str | None]) -> None:
        """`check` returns the kind of failure, or None; an exception is a crash."""
        self.n[sort] += 1
        wall, start = time.perf_counter(), spent()
        try:
            failure = check()
        except Exception as error:
            failure = "crashes"
            name += f" ({type(error).__name__}: {str(error)[:80]})"
        self.worst_wall = max(self.worst_wall, time.perf_counter() - wall)
        seconds = spent() - start
        if seconds > self.worst:
            self.worst, self.slowest = seconds, name
        if failure:
            self.failed.setdefault(failure, []).append(name)

    def count(self, failure: str) -> int:
        return len(self.failed.get(failure, []))


def spent() -> float:
    """Processor seconds of this process and of the child that compares expressions, with its worker's."""
    total, child = time.process_time(), COMPARER._child
    if child is not None:
        with contextlib.suppress(OSError, psutil.Error):
            workers = Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split()
            total += sum(sum(psutil.Process(pid).cpu_times()[:4]) for pid in (child.pid, *map(int, workers)))
    return total


def run(hostile_cases: Iterable[Case], equivalent_cases: Iterable[Case]) -> Tally:
    """Score every case as training does, and attack the judge's prompt and parser."""
    from wethink.rewards import hybrid

    tally = Tally()
    COMPARER.ask("x", None)  # its start is paid once per process, and by no response

    def outcome(case: Case, bad: dict[str, str]) -> str | None:
        scored = hybrid.score(case.response, case.problem, case.gold, case.category, case.reward, CONFIG)
        return bad.get(scored.verdict.outcome)

    def reading(reply: str, wanted: float | None, failure: str) -> str | None:
        return None if read_tier(reply) == wanted else failure

    for case in hostile_cases:
        bad = {"correct": "false_correct", "unknown": "unknown_on_hostile"}
        tally.run("hostile", f"{case.rule} {case.family}: {_short(case)}", partial(outcome, case, bad))
    for case in equivalent_cases:
        bad = {"wrong": "false_wrong", "unknown": "unknown_on_gold"}
        tally.run("equivalent", f"{case.rule}: {_short(case)}", partial(outcome, case, bad))
    for text in candidates():
        tally.run("hostile", f"judge's prompt: {text[:60]!r}", partial(prompt_fault, text))
    for reply in NO_VERDICTS:
        tally.run("hostile", f"judge's reply: {reply[:60]!r}", partial(reading, reply, None, "false_correct"))
    for reply, score in VERDICTS.items():
        tally.run("equivalent", f"judge's reply: {reply!r}", partial(reading, reply, score, "false_wrong"))
    return tally


def prompt_fault(candidate: str) -> str | None:
    """An answer must reach the judge as one delimited piece of data, and come out of the prompt unchanged."""
    from wethink.rewards.judge import model_judge

    prompt = model_judge.prompt("describe the picture", "red circle", candidate)
    whole = prompt.count("<candidate>") == prompt.count("</candidate>") == 1
    return (
        None
        if whole and model_judge.shown(prompt) == candidate.strip().encode("utf-8", "replace").decode()
        else "false_correct"
    )


def read_tier(reply: str) -> float | None:
    from wethink.rewards.judge import model_judge

    return model_judge.read_reply(reply)


def _short(case: Case) -> str:
    answer = case.response.partition("<answer>")[2].rpartition("</answer>")[0] or case.response
    return f"{answer[:70]!r} for gold {case.gold!r}" + ("" if answer[:70] == answer else " …")


def report(tally: Tally) -> dict[str, Any]:
    """The figures of reports/attacks.json: `false_correct` of the hostile cases, the other rates of the right ones."""
    hostile_n, right_n = tally.n["hostile"], tally.n["equivalent"]
    return {
        "false_correct": tally.count("false_correct") / max(1, hostile_n),
        "unknown_on_hostile": tally.count("unknown_on_hostile") / max(1, hostile_n),
        "false_wrong": tally.count("false_wrong") / max(1, right_n),
        "unknown_on_gold": tally.count("unknown_on_gold") / max(1, right_n),
        "crashes": tally.count("crashes"),
        "worst_seconds": round(tally.worst, 3),
        "worst_wall_seconds": round(tally.worst_wall, 3),
        "n": hostile_n + right_n,
        "hostile": hostile_n,
        "equivalent": right_n,
    }


def main() -> int:
    start = time.process_time()  # the child is not there yet
    tally = run(hostile(), equivalent())
    figures = report(tally)
    for failure, names in sorted(tally.failed.items()):
        print(f"{failure}: {len(names)}")
        shown = names if "-v" in sys.argv else names[:SHOWN]
        print("".join(f"    {name.encode('utf-8', 'replace').decode()}\n" for name in shown), end="")
    print(", ".join(f"{name} {value:g}" for name, value in figures.items()))
    slowest = tally.slowest.encode("utf-8", "replace").decode()
    print(f"costliest {tally.worst:.3f} s of processor time: {slowest}; all together {spent() - start:.1f} s")
    write_json(Path("reports/attacks.json"), figures)
    held = not (tally.failed.keys() & {"false_correct", "crashes"})
    return 0 if held and figures["false_wrong"] <= 0.02 and figures["unknown_on_gold"] <= 0.02 else 1


if __name__ == "__main__":
    sys.exit(main())
