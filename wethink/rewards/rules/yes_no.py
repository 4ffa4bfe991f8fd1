"""Yes and no: the first word decides, and what follows must be a sentence that neither contradicts nor doubts it."""

import re

from wethink.rewards.rules.normalize import word_form
from wethink.rewards.verdict import Verdict, correct, wrong

GOLDS = frozenset(["yes", "no", "true", "false", "是", "否", "对", "错", "正确", "错误", "不是", "是的"])
_YES_NO = {"yes": "yes", "true": "yes", "no": "no", "false": "no", "not": "no", "是": "yes", "是的": "yes", "对": "yes"}
_YES_NO |= {"正确": "yes", "否": "no", "不是": "no", "不": "no", "不对": "no", "错": "no", "错误": "no", "没有": "no"}
_YES_NO |= dict.fromkeys(("yeah", "yep", "yup"), "yes") | dict.fromkeys(("nope", "nah"), "no")
_DOUBTING = """
or but unless maybe perhaps possibly probably sure unsure wrong right correct incorrect if except however although
guess think either neither unclear unknown opposite
"""
_DOUBTS = set(_DOUBTING.split())
_UNDECIDED = re.compile(
    r"\bdepend|\b(?:can't|can ?not|impossible to|unable to|hard to|no way to|no one can) (?:be )?"
    r"(?:tell|say|know|see|determine|decide)"
    r"|\b(?:don't|doesn't|do not|not|nobody|no one) (?:know|clear|certain|enough|given)"
    r"|uncertain|ambigu|\b(?:partly|partially|sometimes|sort of|kind of|more or less|at times|both|half)\b"
)
# "no" before any other word is no answer, but a part of "no way to tell", "no idea", "no one".
_AFTER_POLARITY = """
it he she they we i you this that these those there here the a an his her its their my our your all each indeed sir
thanks because since as
"""
_SENTENCE = re.compile(
    rf"(?:yes|no|true|false)(?: (?=[a-z])(?!(?:{'|'.join(_AFTER_POLARITY.split())})\b)|\.? ?[0-9])", re.IGNORECASE
)


def compare(text: str, gold: str) -> Verdict:
    """Compare an answer with a gold of `GOLDS`; both are normalised by `normalize.plain`."""
    wanted = _YES_NO[word_form(gold)]
    words = re.findall(r"[^\W\d_]+", text.casefold().replace("isn't", "is not"))
    polarity = {_YES_NO[word] for word in words if word in _YES_NO}
    if len(polarity) > 1:
        return wrong("both yes and no")
    if not words or words[0] not in _YES_NO or words[0] == "not" or not text[:1].isalpha():
        return wrong("neither yes nor no")
    if _SENTENCE.match(text) or _UNDECIDED.search(text.casefold()):
        return wrong("no answer of yes or no")
    if _DOUBTS.intersection(words) or re.search(r"[?/+<>=|±]", text):
        return wrong("a doubtful yes or no")
    return correct(f"{wanted}") if polarity == {wanted} else wrong(f"not {wanted}")
