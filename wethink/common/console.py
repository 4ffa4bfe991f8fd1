"""Terminals and pipes that are not UTF-8."""

import io
import sys


def tolerate_encodings() -> None:
    """Replace characters that stdout and stderr cannot encode, instead of raising UnicodeEncodeError."""
    for stream in (sys.stdout, sys.stderr):
        # In the locale "C" Python sets surrogateescape, which encodes no more characters than strict.
        if isinstance(stream, io.TextIOWrapper) and stream.errors in ("strict", "surrogateescape"):
            stream.reconfigure(errors="replace")
