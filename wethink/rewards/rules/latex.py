r"""Normalisation of LaTeX by its grammar: one spelling of spaces, groups, sizes, fonts, fractions and symbols.

A text is read as TeX reads it: control words, control symbols, groups in braces and single characters; an argument is
a group or the next token. Whatever has no effect on the value (sizes, fonts, thin spaces, redundant braces) is gone
afterwards, and symbols that have a Unicode character are that character, so that `\angle ABC` is `∠ABC`. What is left
of LaTeX is `\frac{}{}`, `\sqrt{}`, `\sqrt[]{}`, functions, raised and lowered groups, environments and set braces.
"""

import re
from functools import lru_cache

MAX_DEPTH = 24  # groups in groups; a deeper text is returned as it is

_TOKEN = re.compile(r"\\[A-Za-z]+\*?|\\.|.", re.DOTALL)
_SYMBOLS = {
    "infty": "∞", "angle": "∠", "measuredangle": "∠", "parallel": "∥", "perp": "⊥", "triangle": "△",
    "bigtriangleup": "△", "leq": "≤", "le": "≤", "leqslant": "≤", "geq": "≥", "ge": "≥", "geqslant": "≥", "lt": "<",
    "gt": ">", "neq": "≠", "ne": "≠", "in": "∈", "cup": "∪", "cap": "∩", "emptyset": "∅", "varnothing": "∅",
    "pm": "±", "mp": "∓", "times": "×", "cdot": "·", "ast": "*", "div": "÷", "to": "→", "rightarrow": "→",
    "longrightarrow": "→", "approx": "≈", "cong": "≅", "simeq": "≈", "degree": "°", "textdegree": "°", "circ": "°",
    "prime": "'", "cdots": "…", "ldots": "…", "dots": "…", "dotsc": "…", "mid": "|", "vert": "|", "lvert": "|",
    "rvert": "|", "lVert": "‖", "rVert": "‖", "Vert": "‖", "|": "‖", "backslash": "\\", "setminus": "\\",
    "colon": ":", "equiv": "≡", "sim": "∼", "land": "∧", "lor": "∨", "wedge": "∧", "vee": "∨", "neg": "¬",
    "subset": "⊂", "subseteq": "⊆", "odot": "⊙", "square": "□", "Box": "□", "therefore": "", "pounds": "£",
    "euro": "€", "textdollar": "$", "lbrace": "{", "rbrace": "}", "lbrack": "[", "rbrack": "]", "langle": "⟨",
    "rangle": "⟩", "permil": "‰", "pi": "π", "theta": "θ", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ",
    "lambda": "λ", "mu": "μ", "sigma": "σ", "phi": "φ", "varphi": "φ", "omega": "ω", "epsilon": "ε",
    "varepsilon": "ε", "rho": "ρ", "tau": "τ", "eta": "η", "xi": "ξ", "psi": "ψ", "chi": "χ", "kappa": "κ", "nu": "ν",
    "zeta": "ζ", "Delta": "Δ", "Omega": "Ω", "Sigma": "Σ", "Gamma": "Γ", "Theta": "Θ", "Phi": "Φ", "Lambda": "Λ",
    "Pi": "Π", "Psi": "Ψ", "ell": "l", "hbar": "ħ",
}  # fmt: skip
_SPACES = {"quad", "qquad", "enspace", "enskip", "space", "thinspace", "medspace", "thickspace", "newline", "hfill"}
_SIZES = {"left", "right", "middle", "displaystyle", "textstyle", "scriptstyle", "limits", "nolimits", "big", "Big"}
_SIZES |= {"bigg", "Bigg", "bigl", "bigr", "Bigl", "Bigr", "biggl", "biggr", "Biggl", "Biggr", "bigm", "Bigm"}
_SIZES |= {"negthinspace", "rm", "bf", "it", "large", "Large", "small", "huge", "centering", "noindent", "normalfont"}
_FONTS = {"text", "mbox", "hbox", "textnormal", "mathrm", "operatorname", "operatorname*", "textbf", "textit", "textrm"}
_FONTS |= {"mathbf", "mathit", "emph", "mathsf", "textsf", "texttt", "mathtt", "bm", "boldsymbol", "pmb", "mathbb"}
_FONTS |= {"boxed", "fbox", "mathcal", "mathscr", "mathfrak", "underline", "textup", "textsc", "textsl", "mathnormal"}
_FONTS |= {"bold", "Bbb", "unit", "si", "ce", "ensuremath", "color", "overline", "tag", "phantom"}
_ROMAN = {
    "text",
    "mbox",
    "hbox",
    "textnormal",
    "textbf",
    "textit",
    "textrm",
    "emph",
    "textsf",
    "texttt",
    "unit",
    "si",
    "ce",
}
_FRAMES = {"equation", "align", "aligned", "gather", "gathered", "displaymath", "math", "center", "split", "multline"}
_FRACTIONS = {"frac", "dfrac", "tfrac", "cfrac", "nicefrac", "sfrac"}
_VALUED = re.compile(r"[0-9.,;:=+\-*/^()|<>]|\\[A-Za-z]")  # a set in bare braces holds something like this


class _TooDeep(Exception):
    """Groups are nested more deeply than any answer's."""


class _Reader:
    """Position in a list of TeX tokens."""

    def __init__(self, text: str) -> None:
        self.tokens = _TOKEN.findall(text)
        self.place = 0

    def peek(self) -> str:
        return self.tokens[self.place] if self.place < len(self.tokens) else ""

    def take(self) -> str:
        token = self.peek()
        self.place += 1
        return token

    def skip_spaces(self) -> None:
        while self.peek() and (self.peek().isspace() or self.peek() == "~"):
            self.place += 1

    def argument(self, depth: int) -> str:
        """Read one argument as TeX does: a group, or one token."""
        self.skip_spaces()
        token = self.peek()
        if token == "{":
            self.place += 1
            return self.read(depth + 1, "}").strip()
        if token in ("", "}", "&"):
            return ""
        if token.startswith("\\"):
            return self.command(depth).strip()
        return self.take()

    def digits(self) -> str:
        """Read the figures of `x^10`: TeX would raise the first only, but nobody means that."""
        found = ""
        while self.peek().isdigit():
            found += self.take()
        return found

    def option(self, depth: int) -> str:
        """Read an argument in square brackets, empty if there is none."""
        self.skip_spaces()
        if self.peek() != "[":
            return ""
        self.place += 1
        return self.read(depth + 1, "]").strip()

    def read(self, depth: int, end: str = "") -> str:
        """Read to the end of the group, and past its closing character."""
        if depth > MAX_DEPTH:
            raise _TooDeep
        found: list[str] = []
        while token := self.peek():
            if token == end:
                self.place += 1
                return _over(found)
            found.append(self.piece(depth, found))
        if end:
            raise _TooDeep  # never closed
        return _over(found)

    def piece(self, depth: int, before: list[str]) -> str:
        token = self.peek()
        if token == "{":
            return self.group(depth, before)
        if token in "^_" and token:
            self.place += 1
            raised = self.digits() or self.argument(depth)
            if token == "^" and raised in ("°", "'"):
                return raised
            if token == "^" and raised == "o" and before and before[-1][-1:].isdigit():
                return "°"  # as if it were `\\circ`
            alone = len(raised) == 1 and not (
                raised.isdigit() and (self.peek().isdigit() or self.peek() == "{")
            )  # `x^{1}0`
            return f"{token}{raised}" if alone or not raised else f"{token}{{{raised}}}"
        if token.startswith("\\") and len(token) > 1:
            made = self.command(depth)
            words = made.startswith("\x01")
            if words:  # words in mathematics stand apart: `5\text{cm}`
                made = made[1:]
                left = before and before[-1] != "μ" and before[-1][-1:].isalnum() and made[:1].isalnum()
                right = made[-1:].isalnum() and re.match(r"[A-Za-z0-9\\(]", self.peek() or " ")
                made = f"{' ' if left else ''}{made}{' ' if right else ''}"
            return made
        self.place += 1
        return " " if token == "~" and (before or depth) else token

    def group(self, depth: int, before: list[str]) -> str:
        whole = self.place == 0
        self.place += 1
        inside = self.read(depth + 1, "}")
        if inside in (",", ".") or (inside and not inside.strip()):
            return inside
        whole = whole and self.place >= len(self.tokens)
        if before and re.search(r"\\[A-Za-z]+ ?$", before[-1]):  # `\sin{2x}`: the argument of a function
            return f"({inside})"
        listed = any(mark in inside for mark in ",;") or (
            whole and inside.strip() and not inside.lstrip().startswith("\\frac")
        )
        return f"{{{inside}}}" if listed or not inside.strip() else inside

    def command(self, depth: int) -> str:
        token = self.take()
        name = token[1:]
        if name in _FRACTIONS:
            return f"\\frac{{{self.argument(depth)}}}{{{self.argument(depth)}}}"
        if name == "sqrt":
            root = self.option(depth)
            inside = self.argument(depth)
            return f"\\sqrt[{root}]{{{inside}}}" if root and root != "2" else f"\\sqrt{{{inside}}}"
        if name in ("binom", "dbinom", "tbinom"):
            return f"\\binom{{{self.argument(depth)}}}{{{self.argument(depth)}}}"
        if name in ("overline", "bar"):
            inside = self.argument(depth)
            return inside if re.fullmatch("[A-Z]{2,}'?", inside) else f"\\{name}{{{inside}}}"
        if name in ("vec", "overrightarrow", "dot", "hat", "widehat"):
            return f"\\{name.replace('overrightarrow', 'vec').removeprefix('wide')}{{{self.argument(depth)}}}"
        if name in ("begin", "end"):
            inside = self.argument(depth)
            if inside.rstrip("*") in _FRAMES:
                return " "
            if inside == "array":
                inside = "matrix"
                if name == "begin":
                    self.argument(depth)  # the columns
            return f"\\{name}{{{inside}}}"
        if name in ("hspace", "vspace", "hskip", "color", "phantom", "label", "tag"):
            self.argument(depth)
            return " "
        if name == "textcolor":
            self.argument(depth)
            return self.argument(depth)
        if name in _FONTS:
            return self.words(name, depth)
        return _plain_command(token, name, self)

    def words(self, name: str, depth: int) -> str:
        self.skip_spaces()
        grouped = self.peek() == "{"
        inside = self.argument(depth) if not grouped else ""
        if grouped:
            self.place += 1
            inside = self.read(depth + 1, "}")
        inside = inside if name in _ROMAN else inside.strip()
        alone = len(inside) == 1 and name not in _ROMAN  # \mathrm{e}, \mathbf{x}: a letter of the formula
        return inside if alone or not inside.strip() else "\x01" + inside


def _plain_command(token: str, name: str, reader: _Reader) -> str:
    if name in _SIZES:
        reader.skip_spaces()
        if reader.peek() == "." and name in ("left", "right"):
            reader.place += 1
        return ""
    if name == "not" and reader.peek() in ("=", r"\in"):
        return "≠" if reader.take() == "=" else "∉"
    if name in _SPACES or name in (",", ";", ":", " ", ">"):
        return " "
    if name == "!":
        reader.skip_spaces()
        return ""
    if name in _SYMBOLS:
        before = reader.place
        if name.isalpha():
            reader.skip_spaces()
        word = reader.place > before and "".join(reader.tokens[reader.place : reader.place + 2]).isalpha()
        return _SYMBOLS[name] + (" " if word and len(reader.tokens) > reader.place + 1 else "")  # `\pi and 3`
    if name in ("(", ")", "[", "]", "-", "/"):
        return ""
    if name in ("{", "}"):
        return name
    if name in ("%", "$", "&", "#", "_"):
        return name
    return f"{token} " if name.isalpha() and reader.peek()[:1].isalnum() else token


def _over(found: list[str]) -> str:
    r"""Join the pieces of a group; `a \over b` is a fraction."""
    names = [piece.strip() for piece in found]
    for mark, command in ((r"\over", r"\frac"), (r"\choose", r"\binom")):
        if names.count(mark) != 1:
            continue
        place = names.index(mark)
        return f"{command}{{{''.join(found[:place]).strip()}}}{{{''.join(found[place + 1 :]).strip()}}}"
    return "".join(found)


@lru_cache(maxsize=4096)
def flatten(text: str) -> str:
    r"""Return a text in one spelling of LaTeX; one whose groups do not close is returned as it is.

    >>> flatten(r"32,\!349"), flatten(r"{1 \over 2}"), flatten(r"\frac1{3}"), flatten(r"5\mbox{cm}^2")
    ('32,349', '\\frac{1}{2}', '\\frac{1}{3}', '5 cm^2')
    >>> flatten(r"\left[ 0,\, 1 \right)"), flatten(r"\{1, 2\}"), flatten(r"x_{1}^{10}"), flatten(r"\angle ABC")
    ('[ 0,  1 )', '{1, 2}', 'x_1^{10}', '∠ ABC')
    """
    if not any(mark in text for mark in "\\{~^_"):
        return text
    reader = _Reader(text)
    try:
        found = reader.read(0)
    except _TooDeep:
        return text
    return found.replace("\x01", "")
