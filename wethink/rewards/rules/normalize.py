r"""Text normalisation of answers: markup, Unicode folding, word forms, invisible characters.

Markup is Markdown, LaTeX (`\boxed{}`, `\text{}`, `$…$`) and phrases such as "the answer is". Unicode is not folded
by NFKC alone, which changes values: 2² must not become 22, nor 1½ 11/2.
"""

import re
import unicodedata

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, format, surrogate, private, unassigned
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols without a visible glyph

_DASHES = str.maketrans({**dict.fromkeys("−–—‒‐‑⁃", "-"), **dict.fromkeys("’‘ʼ", "'"), **dict.fromkeys("“”„", '"')})
_SUPERSCRIPT = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")

_WRAPPED = re.compile(r"\\(?:boxed|fbox|text|textbf|textit|textrm|mathrm|mathbf|mathit|emph)\s*\{")
_MATHS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_LATEX = (  # spacing and escapes with a plain-text equivalent
    (re.compile(r"\{,\}"), ","),
    (re.compile(r"\\[,;:! ]|\\(?:quad|qquad)\b"), " "),
    (re.compile(r"(?<=[\w.}])~(?=\s*[\w\\])"), " "),
    (re.compile(r"\\([%$&#_])"), r"\1"),
    (re.compile(r"\\(?:left|right|[bB]igg?[lr]?)(?=[\[\](){}|\\.])"), ""),
    (re.compile(r"\\([{}])"), r"\1"),
    (re.compile(r"\^\s*(?:\{\s*\\circ\s*\}|\\circ\b)|\\degree\b"), "°"),
)
_ANNOUNCED = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?(?:the |my )?(?:(?:correct|final|right|best) )?(?:answer|option|choice)"
    r"(?:[*_]*:[*_]*| is:?| =)? (?=\S)|(?:it|this|that) is (?=\S)|(?:it|that)'s (?=\S)|they are (?=\S)|total: (?=\S)",
    re.IGNORECASE,
)
_QUOTES = "*`\"'_ "
_ARTICLE = re.compile(r"\b(?:a|an|the)\s+")
_HYPHEN = re.compile(r"(?<=[^\W\d]{2})-(?=[^\W\d])|(?<=[^\W\d])-(?=[^\W\d]{2})")  # T-shirt, but not x-y
_ORDINALS = dict(zip(("first", "second", "third", "fourth", "fifth"), ("1st", "2nd", "3rd", "4th", "5th"), strict=True))
_ORDINAL = re.compile(rf"\b(?:{'|'.join(_ORDINALS)})\b")
_SURE = re.compile(r"(?<=[a-z)])!+$", re.IGNORECASE)  # 3! is a factorial, "Yes!" is a yes


def unseen(text: str) -> set[str]:
    """Return the invisible characters of a text, other than white space.

    >>> unseen("3\\u200b4") == {"\\u200b"}
    True
    """
    if text.isascii() and text.isprintable():
        return set()
    return {
        char
        for char in set(text)
        if (unicodedata.category(char) in UNSEEN and not char.isspace()) or char in _BLANK_LETTERS
    }


def shows(text: str) -> bool:
    """Return whether a text has a visible character."""
    return any(not char.isspace() and not unseen(char) for char in text)


def fold(text: str) -> str:
    """Unify digits, dashes, quotes and spaces; keep line ends.

    >>> fold("m², 1½ and −３")
    'm^2, 1 1/2 and -3'
    """
    if not text.isascii():
        text = re.sub(r"(?<=[0-9])º", "°", text)
        text = _SUPERSCRIPT.sub(lambda match: "^" + match.group().translate(_RAISED), text)
        text = _VULGAR.sub(lambda match: " " + unicodedata.normalize("NFKC", match.group()), text)
        text = unicodedata.normalize("NFKC", text).translate(_DASHES).replace("⁄", "/").replace("∕", "/")
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def plain(text: str) -> str:
    r"""Return an answer on one line, without markup and announcing phrases.

    >>> plain(r"The answer is: **$\boxed{\text{red}}$**")
    'red'
    """
    text = " ".join(fold(text).split())
    for _ in range(8):  # one layer of markup each; honest answers have fewer
        bare = _undress(text.strip(_QUOTES))
        if bare == text:
            break
        text = bare
    for pattern, instead in _LATEX if "\\" in text or "~" in text or "{,}" in text else ():
        text = pattern.sub(instead, text)
    return " ".join(text.split())


def _undress(text: str) -> str:
    text = _ANNOUNCED.sub("", text, count=1) if _ANNOUNCED.match(text) else text
    stop = text[-1:] == "." and text[:1] in ("\\", "$", "*")  # `$3$.`
    body = text[:-1].rstrip() if stop else text
    for left, right in _MATHS:
        inner = body[len(left) : -len(right)]
        if len(body) > len(left + right) and body.startswith(left) and body.endswith(right):
            unescaped = inner.replace("\\$", "")
            if left not in unescaped and not inner.endswith("\\"):
                return inner.strip()
    match = _WRAPPED.match(body)
    if match and _closing(body, match.end()) == len(body) - 1:
        return body[match.end() : -1].strip()
    if match is None and "\\" in text:  # `5\text{ cm}`: words inside mathematics
        return _unwrap_words(text)
    return text


def _unwrap_words(text: str) -> str:
    match = _WRAPPED.search(text)
    end = _closing(text, match.end()) if match else -1
    if match is None or end < 0:
        return text
    words, rest = text[match.end() : end].rstrip(), text[end + 1 :]
    return " ".join(f"{text[: match.start()]} {words}{'' if rest.startswith('^') else ' '}{rest}".split())


def _closing(text: str, start: int) -> int:
    """Return the index of the brace that closes the one before `start`, or -1."""
    depth = 1
    for place in range(start, len(text)):
        depth += (text[place] == "{") - (text[place] == "}")
        if depth == 0:
            return place
    return -1


def bare(text: str) -> str:
    """Strip outer brackets, dollar signs and final full stops."""
    text = _SURE.sub("", text.strip().rstrip(".")).strip()
    for left, right in ("[]", "()", "{}", "$$"):
        if len(text) > 1 and text[0] == left and text[-1] == right and _paired(text):
            text = text[1:-1].strip()
    return text


def _paired(text: str) -> bool:
    """Return whether the last bracket closes the first: `(a)`, but not `(a)(b)`."""
    return text[0] not in text[1:-1] or text[0] == "$" or balanced(text[1:-1])


def balanced(text: str) -> bool:
    """Return whether every bracket is closed by one of its kind, in order."""
    opened = []
    for char in text:
        if char in "([{":
            opened.append(char)
        elif char in ")]}" and (not opened or opened.pop() + char not in ("()", "[]", "{}")):
            return False
    return not opened


def word_form(text: str) -> str:
    """Return a text's form for comparison of words.

    It has no case, articles, outer punctuation, inner hyphens and stops, and no repeated spaces.

    >>> word_form("The  T-shirt.") == word_form("a t shirt")
    True
    """
    text = bare(text.casefold()).strip(",;:*`\"'_ ").removeprefix("- ").rstrip("-")
    text = _HYPHEN.sub(" ", text).replace(" & ", " and ")
    text = _ORDINAL.sub(lambda match: _ORDINALS[match.group()], text)
    if "." in text:  # "U.S.A.", "Dr. Smith"
        text = re.sub(r"(?<=\b[a-z])\.|(?<=\b(?:dr|mr|ms|st))\.|(?<=\bmrs)\.", "", text)
    return " ".join(_ARTICLE.sub("", text + " ").split()) or text
