r"""Parser of closed forms and algebra, in LaTeX, Unicode and plain notation, to trees.

A text normalised by `normalize.plain` is parsed as a whole or not at all.
"""

import re
from fractions import Fraction
from functools import lru_cache
from typing import Any

Tree = tuple[Any, ...]

MAX_CHARS, MAX_NESTING = 250, 20

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?|\.[0-9]+)|(?P<command>\\[A-Za-z]+)|(?P<word>[A-Za-z]+)|(?P<sign>\S))"
)
_FUNCTIONS: tuple[str, ...] = (
    "arcsin",
    "arccos",
    "arctan",
    "sinh",
    "cosh",
    "tanh",
    "sin",
    "cos",
    "tan",
    "cot",
    "sec",
    "csc",
)
_FUNCTIONS += ("ln", "exp", "log", "lg")
_INVERSE = {"sin": "arcsin", "cos": "arccos", "tan": "arctan"}
_GREEK = {"theta": "θ", "alpha": "α", "beta": "β", "gamma": "γ", "delta": "δ", "lambda": "λ", "mu": "μ", "sigma": "σ"}
_GREEK |= {"phi": "φ", "omega": "ω", "rho": "ρ", "tau": "τ", "pi": "π"}
_RUN = set("abcxyzmnkpqrtuvw")  # letters of a product written without signs: `xy`
_CLOSING = {"(": ")", "[": "]", "{": "}"}


class Unread(Exception):
    """The text is not an expression of this grammar."""


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.tokens: list[tuple[str, str]] = []
        end = 0
        text = text.replace("**", "^").strip()
        while end < len(text):
            match = _TOKEN.match(text, end)
            if match is None:
                raise Unread
            end = match.end()
            self._add(match, text[end : end + 1])
        self.place = self.depth = 0

    def _add(self, match: "re.Match[str]", after: str) -> None:
        sort, token = str(match.lastgroup), match[str(match.lastgroup)]
        if sort == "command":
            sort, token = ("word", token[1:]) if token[1:] in _FUNCTIONS else (sort, token)
        elif sort == "word" and token not in _FUNCTIONS and token not in ("sqrt", "deg", "degrees", "degree"):
            if token in _GREEK:
                sort, token = "letter", _GREEK[token]
            elif len(token) == 1 or (len(token) <= 3 and set(token) <= _RUN) or (token[-1] == "e" and after == "^"):
                if len(token) > 3:
                    raise Unread
                self.tokens += [("letter", letter) for letter in token]
                return
            elif len(token) <= 3 and token.isupper():
                sort = "letter"  # a segment or an angle is one name
            else:
                raise Unread
        elif sort == "sign" and token.isalpha():
            sort = "letter"
        self.tokens.append((sort, token))

    def peek(self, ahead: int = 0) -> tuple[str, str]:
        place = self.place + ahead
        return self.tokens[place] if place < len(self.tokens) else ("", "")

    def take(self, token: str) -> bool:
        if self.peek()[1] == token:
            self.place += 1
            return True
        return False

    def need(self, token: str) -> None:
        if not self.take(token):
            raise Unread

    def sum(self) -> Tree:
        self.depth += 1
        if self.depth > MAX_NESTING:
            raise Unread
        sign = self.peek()[1] if self.peek()[1] in ("+", "-", "±", "∓") else ""
        if sign:
            self.place += 1
        tree = self.product()
        if sign and sign != "+":
            tree = ("neg", tree) if sign == "-" else ("pm" if sign == "±" else "mp", ("n", Fraction(0)), tree)
        while self.peek()[1] in ("+", "-", "±", "∓"):
            sign = self.peek()[1]
            self.place += 1
            tree = ({"±": "pm", "∓": "mp"}.get(sign, sign), tree, self.product())
        self.depth -= 1
        return tree

    def product(self) -> Tree:
        tree = self.power()
        while True:
            sort, token = self.peek()
            if token in ("*", "·", "×", "/", "÷"):
                self.place += 1
                negative = self.take("-")
                right = self.power()
                right = ("neg", right) if negative else right
                tree = ("/" if token in "/÷" else "*", tree, right)
            elif self.starts_atom(sort, token):
                if sort == "number":
                    raise Unread  # `3 4`, `x2`
                tree = ("*", tree, self.power())
            else:
                return tree

    def starts_atom(self, sort: str, token: str) -> bool:
        return sort in ("number", "word", "letter", "command") or token in ("(", "[", "√", "∛", "{")

    def power(self) -> Tree:
        tree = self.postfix(self.atom())
        if self.take("^"):
            return self.postfix(("^", tree, self.raised()))
        return tree

    def postfix(self, tree: Tree) -> Tree:
        while self.peek()[1] in ("!", "°") or self.peek()[1] in ("deg", "degree", "degrees"):
            token = self.peek()[1]
            self.place += 1
            tree = ("!", tree) if token == "!" else ("*", tree, ("/", ("c", "π"), ("n", Fraction(180))))
        return tree

    def raised(self) -> Tree:
        if self.peek()[1] in _CLOSING:
            return self.group()
        if self.take("-"):
            return ("neg", self.raised())
        self.take("+")
        tree = self.atom()
        return ("^", tree, self.raised()) if self.take("^") else tree

    def group(self) -> Tree:
        opening = self.peek()[1]
        self.place += 1
        tree = self.sum()
        self.need(_CLOSING[opening])
        return tree

    def atom(self) -> Tree:
        sort, token = self.peek()
        if token in _CLOSING:
            return self.group()
        self.place += 1
        if sort == "number":
            return self.number(token)
        if sort == "letter":
            return self.letter(token)
        if sort == "word":
            return self.root("2") if token == "sqrt" else self.function(token)
        if token == "|":
            tree = self.sum()
            self.need("|")
            return ("abs", tree)
        if token in ("√", "∛"):
            return self.root("2" if token == "√" else "3")
        if sort == "command":
            return self.command(token)
        raise Unread

    def number(self, token: str) -> Tree:
        value = Fraction(token)
        mixed = self.peek()[1] == r"\frac" and value.denominator == 1
        if mixed:
            part = self.tokens[self.place + 1 : self.place + 7]
            signs = [text for _, text in part]
            whole = signs[0::3] == ["{", "{"] and signs[2::3] == ["}", "}"] and (signs[1] + signs[4]).isdigit()
            if whole and 0 < int(signs[1]) < int(signs[4]):
                self.place += 7
                return ("n", value + Fraction(int(signs[1]), int(signs[4])))
        return ("n", value)

    def letter(self, token: str) -> Tree:
        name = token
        if self.take("_"):
            name += "_" + self.lowered()
        while self.take("'"):
            name += "'"
        return ("c", name) if name in ("e", "i", "π") else ("v", name)

    def lowered(self) -> str:
        if self.take("{"):
            found = ""
            while not self.take("}"):
                if not self.peek()[1]:
                    raise Unread
                found += self.peek()[1]
                self.place += 1
            return found
        sort, token = self.peek()
        if sort == "number" and len(token) > 1:  # `\log_28`: one digit is lowered
            self.tokens[self.place] = ("number", token[1:])
            return token[0]
        self.place += 1
        if sort not in ("number", "letter"):
            raise Unread
        return token

    def root(self, degree: str) -> Tree:
        index: Tree = ("n", Fraction(int(degree)))
        if self.peek()[1] in ("(", "{"):
            return ("root", index, self.group())
        return ("root", index, self.atom())

    def command(self, token: str) -> Tree:
        if token in (r"\frac", r"\binom"):
            above, below = self.braced(), self.braced()
            return ("/" if token == r"\frac" else "binom", above, below)
        if token == r"\sqrt":
            index: Tree = ("n", Fraction(2))
            if self.peek()[1] == "[":
                index = self.group()
            return ("root", index, self.braced() if self.peek()[1] == "{" else self.atom())
        if token in (r"\vec", r"\hat") and self.take("{"):
            name = self.peek()[1]
            self.place += 1
            self.need("}")
            return ("v", f"{token[1:]} {name}")
        if token == r"\overline" and self.tokens[self.place - 2 : self.place - 1]:
            raise Unread
        raise Unread

    def braced(self) -> Tree:
        if self.peek()[1] != "{":
            raise Unread
        return self.group()

    def function(self, name: str) -> Tree:
        base: Tree | None = None
        if name == "log" and self.take("_"):
            base = self.group() if self.peek()[1] in "{(" else _letter_or_number(self.lowered())
        power = self.raised() if self.take("^") else None
        if power == ("neg", ("n", Fraction(1))):
            if name not in _INVERSE:
                raise Unread
            name, power = _INVERSE[name], None
        tree = self.argument()
        tree = ("log", base or ("n", Fraction(10)), tree) if name in ("log", "lg") else ("f", name, tree)
        return ("^", tree, power) if power else tree

    def argument(self) -> Tree:
        if self.peek()[1] in ("(", "[", "{"):
            return self.group()
        negative = self.take("-")
        tree = self.power()
        while self.peek()[0] in ("letter", "command") or self.peek()[1] == "√":  # `\sin 2x`, `\sin \frac{\pi}{3}`
            tree = ("*", tree, self.power())
        return ("neg", tree) if negative else tree


def _letter_or_number(token: str) -> Tree:
    if token.replace(".", "").isdigit():
        return ("n", Fraction(token))
    return ("c", token) if token == "e" else ("v", token)


@lru_cache(maxsize=8192)
def parse(text: str) -> Tree | None:
    r"""Parse a whole text; None if it is no expression of this grammar.

    >>> parse("2x")
    ('*', ('n', Fraction(2, 1)), ('v', 'x'))
    >>> parse("red"), parse("3 4"), parse("x2")
    (None, None, None)
    """
    if not text or len(text) > MAX_CHARS:
        return None
    try:
        parser = _Parser(text)
        tree = parser.sum()
    except (Unread, RecursionError, ZeroDivisionError, ValueError, IndexError):
        return None
    return tree if parser.place == len(parser.tokens) else None


def names(tree: Tree) -> frozenset[str]:
    """Return the variables of a tree."""
    if tree[0] == "v":
        return frozenset([tree[1]])
    return frozenset().union(*(names(part) for part in tree[1:] if isinstance(part, tuple)))


def has(tree: Tree, *sorts: str) -> bool:
    """Return whether a tree has a node of one of these sorts."""
    return tree[0] in sorts or any(has(part, *sorts) for part in tree[1:] if isinstance(part, tuple))


def branches(tree: Tree) -> tuple[Tree, Tree] | None:
    """Return the two expressions that ± stands for; None without a ±."""
    if not has(tree, "pm", "mp"):
        return None

    def pick(node: Tree, upper: bool) -> Tree:
        parts = tuple(pick(part, upper) if isinstance(part, tuple) else part for part in node)
        return ("+" if upper == (node[0] == "pm") else "-", *parts[1:]) if node[0] in ("pm", "mp") else parts

    return pick(tree, True), pick(tree, False)
