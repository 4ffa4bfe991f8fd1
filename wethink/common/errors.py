"""The one exception meant for people: a sentence that names what, where and the remedy."""


class UserError(Exception):
    """A mistake or a missing thing that the user can mend.

    The message is one or two sentences: what is wrong, where (file, key or row), what to do.
    `python -m wethink` prints it without a traceback and exits with `exit_code`.
    """

    def __init__(self, message: str, exit_code: int = 2) -> None:
        super().__init__(message)
        self.exit_code = exit_code


FAILURE = "failure.json"  # in scratch: what a rank tells its launcher, which itself has only exit codes
TRY_AGAIN_LATER = 69  # EX_UNAVAILABLE: an endpoint stayed busy or away; worth another try after a pause
DISK_FULL = 74  # EX_IOERR: how a rank tells its launcher, when it may not be able to write a word


def disk_full(error: OSError) -> str:
    """What to say of a write for which there was no room."""
    where = error.filename2 or error.filename or "the project folder"
    return f"the disk is full ({where}); free some space, the same command goes on."
