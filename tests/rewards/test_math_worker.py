"""The child that compares expressions: it is killed at its deadline, comes back, and its faults are told apart."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from wethink.rewards.rules import math_worker, verify
from wethink.rewards.rules.math_client import COMPARER, Comparer
from wethink.rewards.rules.mathematics import expressions


@pytest.fixture
def comparer() -> Iterator[Comparer]:
    made = Comparer(seconds=1.0)
    yield made
    made.stop()


def test_a_comparison_that_takes_too_long_is_killed_counted_and_followed_by_the_next(comparer: Comparer) -> None:
    assert comparer.ask("x+1", "1+x") == {"equal": True}
    assert comparer.ask("2", "9" + "^{9" * 6 + "}" * 6) == {"fault": "timeout"}
    assert (comparer.timeouts, comparer.failures) == (1, 0)
    assert comparer.ask("x+1", "x+2") == {"equal": False}


SUM, OTHER = r"\sum_{k=7}^n k", r"\sum_{k=8}^n k"  # beyond the rules' own evaluation


def test_the_response_pays_for_a_timeout_and_the_machine_for_its_own_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    expressions.readable(SUM, "")
    monkeypatch.setattr(COMPARER, "ask", lambda gold, answer: {"fault": "timeout"})
    assert verify.verify(OTHER, SUM, "", "FIB", 0.001).reason == expressions.TIMEOUT
    monkeypatch.setattr(COMPARER, "ask", lambda gold, answer: {"fault": "unavailable"})
    assert verify.verify(r"\sum_{k=9}^n k", SUM, "", "FIB", 0.001).outcome == "unknown"
    assert verify.verify("7", r"\sum_{k=11}^n k", "", "FIB", 0.001).outcome == "unknown"  # nor can the gold be read
    assert verify.verify(SUM, SUM, "", "FIB", 0.001).outcome == "correct"  # needs nobody


def test_a_verdict_is_remembered_a_timeout_too_but_not_a_fault_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    gold, asked = r"\sum_{k=5}^n k", []
    expressions.readable(gold, "")

    def reply(fault: str) -> None:
        monkeypatch.setattr(COMPARER, "ask", lambda gold, answer: asked.append(fault) or {"fault": fault})
        for _ in range(3):
            verify.verify(r"\sum_{k=6}^{n} k", gold, "", "FIB", 0.001)

    reply("unavailable")
    assert asked == ["unavailable"] * 3
    reply("timeout")
    assert asked[3:] == ["timeout"]


def test_two_threads_are_served_by_two_children_at_once() -> None:
    made = Comparer(workers=2)
    with ThreadPoolExecutor(2) as pool:
        slow = pool.submit(made.ask, "2", "9" + "^{9" * 6 + "}" * 6)
        while made._idle.qsize() == 2:
            threading.Event().wait(0.01)
        assert made.ask("x+1", "1+x") == {"equal": True} and not slow.done()
        assert slow.result() == {"fault": "timeout"}
    assert len([child for child in made._children if child.process]) == 2
    made.stop()


def test_a_child_that_is_killed_between_two_questions_is_replaced(comparer: Comparer) -> None:
    assert comparer.ask("x+1", "1+x") == {"equal": True}
    assert comparer._child is not None
    os.killpg(comparer._child.pid, signal.SIGKILL)
    assert comparer.ask("x+1", "1+x") == {"equal": True}


def test_a_child_that_cannot_start_is_a_fault_of_the_machine(
    monkeypatch: pytest.MonkeyPatch, comparer: Comparer
) -> None:
    monkeypatch.setattr(math_worker, "__file__", "/nowhere/symbolic.py")
    assert comparer.ask("x", "x") == {"fault": "unavailable"}
    assert comparer.failures == 1


def test_a_silent_child_is_given_up(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    silent = os.path.join(str(tmp_path), "silent.py")
    with open(silent, "w") as file:
        file.write("import time\ntime.sleep(600)\n")
    monkeypatch.setattr(math_worker, "__file__", silent)
    impatient = Comparer(patience=0.2)
    assert impatient.ask("x", "x") == {"fault": "unavailable"}
    impatient.stop()


def test_questions_from_several_threads_get_their_own_answers() -> None:
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda n: COMPARER.ask(f"x+{n}", f"{n % 5}+x")["equal"], range(20)))
    assert found == [n < 5 for n in range(20)]
    assert threading.current_thread() is threading.main_thread()


def test_the_child_ends_with_the_process_that_asked() -> None:
    program = (
        "from wethink.rewards.rules.math_client import COMPARER\nimport os, signal\n"
        "COMPARER.ask('x', 'x')\nprint(COMPARER._child.pid, flush=True)\nos.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    child = int(done.stdout)
    for _ in range(100):
        try:
            with open(f"/proc/{child}/stat") as stat:
                if stat.read().split()[2] == "Z":
                    return
        except FileNotFoundError:
            return
        threading.Event().wait(0.1)
    pytest.fail("the child outlived its owner")


def test_nothing_heavy_is_imported_by_the_rules() -> None:
    program = (
        "import sys, wethink.rewards.hybrid; print({'sympy', 'math_verify', 'openai', 'torch'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        *[("(" * 9 + "x" + ")" * 9, "nested"), ("1" * 41, "digits"), ("x^{65}", "exponent"), ("x^65", "exponent")],
        *[("9^{9^9}", "tower"), ("9^9^9", "tower"), ("x^2+y^2", None), (r"30^\circ", None), ("2^{64}", None)],
    ],
)
def test_what_nobody_writes_who_has_the_answer_is_not_compared(expression: str, fault: str | None) -> None:
    found = expressions.excess(expression)
    assert (found is None) if fault is None else (found is not None and fault in found)
