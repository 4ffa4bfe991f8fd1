r"""Text normalisation of answers: markup, Unicode folding, word forms, invisible characters.

Markup is Markdown, LaTeX (`\boxed{}`, `\text{}`, `$…$`) and phrases such as "the answer is". Unicode is not folded
by NFKC alone, which changes values: 2² must not become 22, nor 1½ 11/2.
"""

import re
import unicodedata

from wethink.rewards.rules.latex import flatten
from wethink.rewards.rules.numerals import ORDINAL

UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn"}  # control, format, surrogate, private, unassigned
_BLANK_LETTERS = "\u115f\u1160\u2800\u3164\uffa0"  # letters and symbols without a visible glyph

_DASHES = str.maketrans({**dict.fromkeys("−–—‒‐‑⁃", "-"), **dict.fromkeys("’‘ʼ", "'"), **dict.fromkeys("“”„", '"')})
_CHINESE = str.maketrans("。、「」『』【】〔〕《》〈〉", '.,""""[][]""⟨⟩')
_ARABIC = str.maketrans("٫٬٪،؛", ".,%,;")
_OTHER_DIGITS = re.compile(r"(?![0-9０-９])\d")
_SUPERSCRIPT = re.compile(r"[⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ]+")
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ⁿ", "0123456789+-n")
_LOWERED = re.compile("[₀-₉]+")
_VULGAR = re.compile("[¼-¾⅐-⅞↉]")

_MATHS = (("$$", "$$"), ("$", "$"), (r"\(", r"\)"), (r"\[", r"\]"))
_INNER_MATHS = re.compile(r"(?<![\\$])\$([^$\s](?:[^$]*[^$\s\\])?)\$(?![0-9$])")
_BOLD = re.compile(r"(?<![\w)*])\*\*([^*\s](?:[^*]*[^*\s])?)\*\*(?![\w(*])")
_SIGNS = (("<=", "≤"), ("+/-", "±"), (">=", "≥"), ("=<", "≤"), ("′′", '"'), ("″", '"'), ("′", "'"))
_UNEQUAL = re.compile(r"(?<![0-9!])!=(?=[^=])|(?<=\d )!=(?=[^=])|=/=")
_ANNOUNCED = re.compile(
    r"(?:(?:so|thus|therefore|hence),? )?(?:the |my )?(?:(?:correct|final|right|best) )?(?:answer|option|choice)"
    r"(?:[*_]*:[*_]*| is:?| =)? (?=\S)|(?:it|this|that) is (?=\S)|(?:it|that)'s (?=\S)|they are (?=\S)|total: (?=\S)"
    r"|(?:\[答案\]|(?:所以|因此|故)?(?:正确|最终)?(?:答案|选项)(?:应该|应|是|为|选)*(?=\W|[A-Za-z0-9]|[^\W\d_])"
    r"|(?:所以|因此)?(?:故|应该|应)?选(?:择|项)?(?=[: ]*[A-Za-z(]))[: ]*(?=\S)",
    re.IGNORECASE,
)
_RAISED_ENDING = re.compile(r"(?<=[0-9])\^\{? ?(st|nd|rd|th) ?\}?(?![A-Za-z])")  # 6^{th}
_QUOTES = "*`\"'_ "
# An article stands before a word: never last ("Hepatitis A"), nor behind the noun that a letter names ("type A blood").
_BEFORE = "and or on in of with at for to from is by like as under over near behind holding wearing"
_ARTICLE = re.compile(r"(?:^(?:the\s+)?an?|\bthe)\s+(?=\S)")
_INNER_ARTICLE = re.compile(rf"\b({_BEFORE.replace(' ', '|')}) (?:a|an) (?=\S)")
_SPACED_SIGN = re.compile(r"\s*([∠△∥⊥≅∼⊙→=<>≤≥≠∈+*/^|~_])\s*")
_FORMULA = re.compile(r"(?:[A-Z][a-z]?_?\{?[0-9]*\}?|[()])+(?:\^?\{?[0-9]?[+-]\}?)?")  # H_2O, SO4^{2-}
_HYPHEN = re.compile(r"(?<=[^\W\d]{2})-(?=[^\W\d])|(?<=[^\W\d])-(?=[^\W\d]{2})")  # T-shirt, but not x-y
_ENDINGS = {1: "st", 2: "nd", 3: "rd"}
_ORDINALS = {
    name.replace("-", " "): f"{n}{'th' if 10 < n < 20 else _ENDINGS.get(n % 10, 'th')}" for name, n in ORDINAL.items()
}
_ORDINAL = re.compile(rf"\b(?:{'|'.join(sorted(_ORDINALS, key=len, reverse=True))})\b")
_SURE = re.compile(r"(?<=[a-z)\u4e00-\u9fff])!+$", re.IGNORECASE)  # 3! is a factorial, "Yes!" is a yes

_NAMED = {"angle": "∠", "triangle": "△", "||": "∥", "~": "∼", "//": "∥"}


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
        text = re.sub(r"(?<=[0-9]) ?[º˚∘](?! ?[A-Za-z]{2})| ?[º˚∘⁰](?= ?[CF]\b)", "°", text)
        text = _in_one_script(text)
        text = _SUPERSCRIPT.sub(lambda match: "^" + match.group().translate(_RAISED), text)
        text = _LOWERED.sub(lambda match: "_{" + unicodedata.normalize("NFKC", match.group()) + "}", text)
        text = _VULGAR.sub(lambda match: " " + unicodedata.normalize("NFKC", match.group()), text)
        text = unicodedata.normalize("NFKC", text).translate(_DASHES).translate(_CHINESE)
        text = text.replace("⁄", "/").replace("∕", "/")
    for written, sign in _SIGNS if any(char in text for char in "=′″/") else ():
        text = text.replace(written, sign)
    text = _UNEQUAL.sub("≠", text) if "!=" in text or "=/=" in text else text
    return "\n".join(" ".join(line.split()) for line in text.splitlines())


def _in_one_script(text: str) -> str:
    """Write figures of Arabic, Devanagari or another script as ours, in a text that has no other and no letters."""
    figures = _OTHER_DIGITS.findall(text)
    if len({ord(figure) - unicodedata.decimal(figure) for figure in figures}) != 1 or re.search(r"[0-9A-Za-z\\]", text):
        return text  # mixed figures are look-alikes
    return _OTHER_DIGITS.sub(lambda match: str(unicodedata.decimal(match.group())), text).translate(_ARABIC)


def plain(text: str) -> str:
    r"""Return an answer on one line, without markup and announcing phrases, its LaTeX in one spelling.

    >>> plain(r"The answer is: **$\boxed{\text{red}}$**"), plain(r"$66$ degrees"), plain("答案：B。")
    ('red', '66 degrees', 'B.')
    """
    text = " ".join(fold(text).replace("`", " ").replace("$$", "$").split())
    text = re.sub(r"(?<=[A-Z]) ?~ ?(?=[A-Z△])", " ∼ ", text) if "~" in text else text
    for _ in range(8):  # one layer of markup each; honest answers have fewer
        bare = flatten(_undress(_unquoted(_BOLD.sub(r"\1", text))))
        if bare == text:
            break
        text = bare
    return _RAISED_ENDING.sub(r"\1", " ".join(text.split()))


def _unquoted(text: str) -> str:
    """Strip quotes and emphasis; the marks of feet, inches and minutes stay: `5'3"`."""
    if re.search(r"[0-9]['\"]+$", text) and text[0] not in _QUOTES:
        return text.strip("*`_ ")
    return text.strip(_QUOTES)


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
    if body.count("{") == body.count("}") and re.match(r"\\(?:boxed|fbox|text\w*|mathrm|mathbf)\s*\{", body):
        text = body
    return _INNER_MATHS.sub(lambda match: f"{match[1]}\\ ", text) if "$" in text else text  # what follows stands apart


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
    text = _SPACED_SIGN.sub(r"\1", text)
    return " ".join(_INNER_ARTICLE.sub(r"\1 ", _ARTICLE.sub("", text)).split()) or text


def formula(text: str) -> str | None:
    """Return a chemical formula without marks of lowering; None if the text is none.

    >>> formula("H_2O"), formula("C_6H_{12}O_6"), formula("red")
    ('H2O', 'C6H12O6', None)
    """
    text = text.replace(" ", "").rstrip(".")
    if len(text) > 60 or not _FORMULA.fullmatch(text):
        return None
    return re.sub("[_{}^]", "", text)


def signed(text: str) -> str:
    """Write words and doubled signs of geometry as their signs."""
    text = re.sub(r"\b(angle|triangle)(?= [A-Z]{1,4}\b)", lambda match: _NAMED[match.group()], text)
    text = re.sub(r"^(?:line )?segment (?=[A-Z]{2}\b)", "", text)
    text = re.sub(r"^\(?([0-9]+)\)?_\{?\(?([0-9]+)\)?\}?\.?$", r"\1_\2", text)
    return re.sub(r"(?<=[A-Z]) ?(\|\||//|~) ?(?=[A-Z△])", lambda match: _NAMED[match[1]], text)
