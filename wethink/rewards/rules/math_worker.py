"""Worker process that compares expressions with math-verify: `python -P math_worker.py SECONDS`.

The main process forks a worker and forks another when it dies, so a restart costs milliseconds instead of an import
of SymPy. The kernel enforces the deadline of a request, in processor time (SIGPROF): it can interrupt any code, and a
busy machine does not shorten it. Only `math_client` starts this script and imports it, for its path.

Standard input has requests as JSON lines, `{"gold": LaTeX, "answer": LaTeX or null}`; null asks whether the gold can
be parsed. Standard output has replies, `{"equal": bool}` or `{"fault": "timeout" | "died" | name of an exception}`.
"""

import json
import logging
import mmap
import os
import resource
import signal
import sys

MEMORY = 2 << 30  # bytes of address space


def main(seconds: float) -> None:
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # libraries may print
    logging.disable(logging.CRITICAL)
    compare("x", "x")  # imports SymPy and runs its set-up
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    busy = mmap.mmap(-1, 1)  # shared with the worker: whether a request awaits its reply
    while True:
        worker = os.fork()
        if worker == 0:
            serve(replies, busy, seconds)
            os._exit(0)
        _, status = os.waitpid(worker, 0)
        if os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0:
            return  # the parent has closed the input
        if busy[0]:
            timed_out = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGPROF
            send(replies, busy, {"fault": "timeout" if timed_out else "died"})


def serve(replies: int, busy: mmap.mmap, seconds: float) -> None:
    """Answer requests until the input ends; SIGPROF kills the process at the deadline."""
    signal.signal(signal.SIGPROF, signal.SIG_DFL)
    while line := read_line():
        busy[0] = 1
        signal.setitimer(signal.ITIMER_PROF, seconds)
        request = json.loads(line)
        try:
            reply: dict[str, object] = {"equal": compare(request["gold"], request["answer"])}
        except (Exception, RecursionError, MemoryError) as error:
            reply = {"fault": type(error).__name__}
        signal.setitimer(signal.ITIMER_PROF, 0)
        send(replies, busy, reply)


def read_line() -> bytes:
    """Read one line of standard input, unbuffered; empty at its end."""
    # A buffer would lose further requests with a worker that dies.
    line = b""
    while not line.endswith(b"\n"):
        part = os.read(0, 65536)
        if not part:
            return b""
        line += part
    return line


def send(replies: int, busy: mmap.mmap, reply: dict[str, object]) -> None:
    busy[0] = 0
    os.write(replies, json.dumps(reply).encode() + b"\n")


def compare(gold: str, answer: str | None) -> bool:
    """Return whether two expressions are equal; with None, whether the gold is one."""
    from math_verify import LatexExtractionConfig, parse, verify

    def read(text: str) -> list[object]:
        # No time limits of math-verify, which use signals in the main thread: SIGPROF is the deadline.
        found = parse(
            f"${text}$",
            extraction_config=[LatexExtractionConfig()],
            fallback_mode="no_fallback",
            parsing_timeout=None,
            raise_on_error=True,
        )
        return list(found)

    theirs = read(gold)
    if answer is None or not theirs:
        return bool(theirs)
    mine = read(answer)
    return bool(mine) and bool(verify(theirs, mine, timeout_seconds=None, raise_on_error=True))


if __name__ == "__main__":
    main(float(sys.argv[1]))
