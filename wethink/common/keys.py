"""API keys in environment variables, made fit for an HTTP header."""

import os

from wethink.common.errors import UserError


def read_key(variable: str) -> str:
    """Return the key in an environment variable without surrounding blanks and line ends; '' if there is none.

    Raises:
        UserError: it holds a character that no header can; the message names the variable and not the key.
    """
    key = os.environ.get(variable, "").strip().strip("\ufeff\u200b").strip()
    odd = next((place for place, char in enumerate(key, 1) if not " " <= char <= "~"), None)
    if odd is not None:
        sign = "a control character" if ord(key[odd - 1]) < 32 or key[odd - 1] == "\x7f" else "a sign that is not ASCII"
        raise UserError(
            f"the key in the environment variable {variable} has {sign} at place {odd} of {len(key)}, which no HTTP "
            "header can hold; copy the key anew."
        )
    return key
