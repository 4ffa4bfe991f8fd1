"""Pictures in base64: data URIs, and bare base64 whose first bytes are those of a picture."""

import base64
import binascii
import re

_URI = re.compile(r"data:image/[^,]{0,100};base64,", re.IGNORECASE)
_FIRST = ("iVBORw0KGgo", "/9j/", "UklGR", "R0lGOD", "Qk", "SUkq", "TU0A", "AAAA", "_9j_")  # as pictures begin
_BASE64 = re.compile(r"[A-Za-z0-9+/_\-\s]+={0,2}\s*")
SHORTEST = 60  # characters; the smallest picture has more


def decoded(text: str) -> bytes | None:
    """Decode a picture in base64; None for another text, which is a path.

    >>> decoded("photos/1.png") is None
    True
    """
    head = _URI.match(text)
    body = text[head.end() :] if head else text
    if head is None and not (len(text) >= SHORTEST and text.startswith(_FIRST) and _BASE64.fullmatch(text)):
        return None
    body = "".join(body.split()).rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        return base64.b64decode(body + "=" * (-len(body) % 4), validate=True)
    except (binascii.Error, ValueError):
        return b"" if head else None  # an empty file, which is refused by name
