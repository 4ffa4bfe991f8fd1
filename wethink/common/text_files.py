"""Text files from outside: encodings with and without a mark, and bytes that are none of them.

Editors and shells on Windows write UTF-8 or UTF-16 with a byte order mark; JSON in UTF-16 without one is known by its
zero bytes.
"""

import codecs
import io
from pathlib import Path
from typing import BinaryIO

from wethink.common.errors import UserError

UNDECODED = "\udcff"  # stands in a text for each byte that is none of its encoding; no decoded text can hold it
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_NO_TEXT = {
    b"PAR1": "Parquet",
    b"\x1f\x8b": "gzip",
    b"PK\x03\x04": "zip",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"ARRO": "Arrow",
}


def _mark(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)
    return UNDECODED * (error.end - error.start), error.end


codecs.register_error("wethink.mark", _mark)


def open_text(path: Path, remedy: str) -> io.TextIOWrapper:
    """Open a text file of any Unicode encoding; LF, CRLF and CR end a line.

    Bytes that are none of its encoding become UNDECODED.

    Args:
        remedy: the advice in the error for a missing file.

    Raises:
        UserError: the file is missing, unreadable, or of a binary format.
    """
    try:
        handle = path.open("rb")
        head = handle.peek(4)[:4]
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; {remedy}.") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror or error}); {remedy}.") from None
    if kind := _NO_TEXT.get(head) or _NO_TEXT.get(head[:2]):
        handle.close()
        raise UserError(f"{path} is a {kind} file, not text; convert it to text first.")
    return as_text(handle)


def as_text(handle: BinaryIO) -> io.TextIOWrapper:
    """Decode a binary stream, as `open_text` does a file."""
    buffered = handle if isinstance(handle, io.BufferedReader) else io.BufferedReader(handle)  # type: ignore[type-var]
    return io.TextIOWrapper(buffered, encoding=_encoding(buffered.peek(4)[:4]), errors="wethink.mark")


def read_text(path: Path, remedy: str) -> str:
    """Read a whole text file.

    Raises:
        UserError: as `open_text`, or some bytes are none of its encoding (the line is named).
    """
    with open_text(path, remedy) as handle:
        text = handle.read()
        encoding = handle.encoding
    if (place := text.find(UNDECODED)) >= 0:
        line = text.count("\n", 0, place) + 1
        raise UserError(f"{path}, line {line}: a byte that is no {encoding.upper()}; save the file as UTF-8.")
    return text


def _encoding(head: bytes) -> str:
    for mark, name in _MARKS:
        if head.startswith(mark):
            return name
    zeros = [place for place, byte in enumerate(head) if not byte]
    return {(1, 3): "utf-16-le", (0, 2): "utf-16-be", (1, 2, 3): "utf-32-le", (0, 1, 2): "utf-32-be"}.get(
        tuple(zeros), "utf-8"
    )
