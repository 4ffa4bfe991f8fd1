"""Pictures in base64: data URIs, and bare base64 whose first characters are those of a picture."""

import re

from wethink.data.benchmark_table import NoImage, decode_base64

_FIRST = ("iVBORw0KGgo", "/9j/", "_9j_", "UklGR", "R0lGOD", "Qk", "SUkq", "TU0A", "AAAA")  # as pictures begin
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]+={0,2}\s*")
SHORTEST = 60  # characters; the smallest picture has more


def decoded(text: str) -> bytes | None:
    """Decode a picture in base64; None for another text, which is a path.

    A data URI that holds none is an empty file, which is refused by name.

    >>> decoded("photos/1.png") is None
    True
    """
    is_uri = text[:11].casefold() == "data:image/"
    if not is_uri and not (len(text) >= SHORTEST and text.startswith(_FIRST) and _BASE64.fullmatch(text)):
        return None
    try:
        return decode_base64(text)
    except NoImage:
        return b"" if is_uri else None
