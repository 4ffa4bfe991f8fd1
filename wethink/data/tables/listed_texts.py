"""Lists of texts inside a text cell, as JSON, Python and NumPy print them.

CSV and TSV have no lists, so programs write how a list prints: `["a", "b"]`, `['a', 'b']`, and for a column of arrays
`['a' 'b']`, which Python would read as one joined text.
"""

import ast
import io
import re
import tokenize
import warnings
from typing import Any

from wethink.common.jsonl import NotJson, parse_json

_BETWEEN_OBJECTS = re.compile(r"\}\s+\{")


def listed(cell: str) -> list[Any] | None:
    """Return the list that a text cell is, or None.

    >>> listed("['24/7', \\"it's\\"]"), listed("['cat' 'dog']"), listed("[1, 2]"), listed("[red]")
    (['24/7', "it's"], ['cat', 'dog'], [1, 2], None)
    """
    text = cell.strip()
    if not (text.startswith("[") and text.endswith("]")):
        return None
    try:
        found = parse_json(text)
    except NotJson:
        found = _printed(text)
    return found if isinstance(found, list) else None


def _printed(text: str) -> Any:
    """Read a list as Python or NumPy print it; None if it is none."""
    for form in (text, _BETWEEN_OBJECTS.sub("}, {", text)):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", SyntaxWarning)  # a backslash in a text
                tree = ast.parse(form, mode="eval").body
                if isinstance(tree, ast.List) and tree.elts and all(map(_is_text, tree.elts)):
                    tokens = tokenize.generate_tokens(io.StringIO(form).readline)
                    return [ast.literal_eval(token.string) for token in tokens if token.type == tokenize.STRING]
                return ast.literal_eval(tree)
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError, tokenize.TokenError):
            continue
    return None


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)
