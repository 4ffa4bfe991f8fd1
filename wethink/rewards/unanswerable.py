"""Refusals: the forms in which an answer says that the image does not answer the question.

A gold that is one of these forms marks an unanswerable question, and every form is a right answer to it. An ordinary
gold accepts none of them. In multiple choice the options alone count.
"""

import re
from functools import lru_cache

from wethink.rewards.rules.normalize import plain, word_form

GOLD = "cannot be answered"  # of the questions that `validate.unanswerable` makes
KIND = "unanswerable"  # of these questions and of the verdicts about refusals
FORMS = (
    "unanswerable",
    "not answerable",
    "cannot be answered",
    "cannot answer",
    "cannot be determined",
    "cannot determine",
    "cannot be known",
    "cannot tell",
    "cannot be told",
    "impossible to answer",
    "impossible to tell",
    "impossible to determine",
    "not possible to answer",
    "not possible to determine",
    "not enough information",
    "not enough info",
    "insufficient information",
    "not shown",
    "not visible",
)
MAX_CHARS = 200  # a refusal with its whole sentence is shorter
_SUBJECT = (
    r"(?:(?:sorry )?(?:(?:(?:the|this) )?(?:question|answer)|it|this|that|i|we)(?: is)? "
    r"|there is |(?:the )?image (?:has|gives) )?"
)
_OBJECT = r"(?: (?:the |this )?(?:question|answer|it|this|that))?"
_PLACE = (
    r"(?:(?:the|this|an?) )?(?:given |provided )?(?:image|picture|photo|figure|chart|diagram|information)(?: alone)?"
)
_PURPOSE = r"(?: to (?:answer|tell|determine)(?: (?:the |this )?(?:question|it|this))?)?"
_TAIL = rf"{_PURPOSE}(?: (?:from|by|in|with|based on|using) {_PLACE})?"
_REFUSAL = re.compile(f"{_SUBJECT}(?:{'|'.join(FORMS)}){_OBJECT}{_TAIL}")


@lru_cache(maxsize=8192)
def refuses(text: str) -> bool:
    """Return whether a text says as a whole that the question cannot be answered.

    >>> refuses("The question can't be answered from this image."), refuses("Cannot be answered, but 3")
    (True, False)
    """
    if len(text) > MAX_CHARS:
        return False
    words = re.sub(r"\bcan(?:'t| not)\b", "cannot", plain(text).casefold())
    return _REFUSAL.fullmatch(re.sub(r",", "", word_form(words))) is not None
