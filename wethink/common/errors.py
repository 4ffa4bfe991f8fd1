"""User-facing errors (`UserError`) and the exit codes of stages and ranks."""

import errno
import re

# Line ends of a library's message, and what a file's name or a value from outside would do to a terminal.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
WORD, MESSAGE = 500, 2_500  # characters; a key or name of a file from outside may have any number


class UserError(Exception):
    """An error that the user can fix.

    The message is one line of one or two sentences: the fault, its place (file, key or row) and the remedy.
    `python -m wethink` prints it without a traceback and exits with `exit_code`.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        words = re.sub(rf"\S{{{WORD},}}", lambda word: _shortened(word[0], WORD), _CONTROL.sub(" ", message))
        super().__init__(_shortened(words, MESSAGE))
        self.exit_code = exit_code


def _shortened(text: str, limit: int) -> str:
    """Leave the middle out of a text longer than the limit."""
    return text if len(text) <= limit else f"{text[: limit * 2 // 3]} … {text[-limit // 4 :]}"


FAILURE = "failure.json"  # in scratch: a rank's error for its launcher, which otherwise sees only exit codes
TRY_AGAIN_LATER = 69  # EX_UNAVAILABLE: an endpoint stayed busy or down; retry after a pause
AGAIN = 75  # EX_TEMPFAIL: the same command goes on from the last checkpoint
STOPPED = 143  # 128 + SIGTERM: of a rank that SIGTERM ended before it listened
DISK_FULL = 74  # EX_IOERR: a rank's exit code when it cannot write FAILURE


def is_disk_full(error: BaseException) -> bool:
    """Return whether a write failed on a full disk; safetensors has an exception of its own for it."""
    return getattr(error, "errno", None) == errno.ENOSPC or f"(os error {errno.ENOSPC})" in str(error)


def disk_full(error: BaseException) -> str:
    """Return the message for a write that failed on a full disk."""
    where = getattr(error, "filename2", None) or getattr(error, "filename", None) or "the project folder"
    return f"the disk is full ({where}); free some space, the same command goes on."
