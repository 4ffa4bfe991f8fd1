"""Terminals and pipes that are not UTF-8."""

import io
import sys


def tolerate_encodings() -> None:
    """Replace characters that stdout and stderr cannot encode, instead of raising UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")
