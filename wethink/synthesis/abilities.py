"""Ability taxonomy, and the constraint on the abilities that a question combines.

Reasoning is mandatory (paper); params.yaml sets the number of others. The paper does not name its further five;
these are MM-Vet's six, split where this project's questions differ. One of an ability's `cues` (English words) must
occur in the question or in the writer's stated need for it: a question that declares counting must count. An ability
without cues needs none.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

REASONING = "reasoning"


@dataclass(frozen=True)
class Ability:
    """An ability: its meaning, for the question writer's prompt, and its cues."""

    meaning: str
    cues: re.Pattern[str] | None = None

    def shows_in(self, text: str) -> bool:
        """Return whether a text has one of the cues, or none is needed."""
        return self.cues is None or self.cues.search(text) is not None


def _words(*stems: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{'|'.join(stems)})", re.IGNORECASE)


ABILITIES: dict[str, Ability] = {
    "recognition": Ability("tell what things, people, scenes, colours or styles are"),
    "ocr": Ability(
        "read text or numbers in the image",
        _words("read", "text", "word", "letter", "label", "sign", "writ", "title", "number", "say", "print", "name"),
    ),
    "counting": Ability(
        "count things or parts",
        _words("count", "how many", "number of", "total", "amount", r"\d", "twice", "pairs?\\b"),
    ),
    "spatial": Ability(
        "tell where things are, relative to each other or to the image",
        _words(
            *(
                "left",
                "right",
                "top",
                "bottom",
                "above",
                "below",
                "under",
                "over",
                "between",
                "next",
                "beside",
                "behind",
            ),
            *("front", "near", "far", "clos", "inside", "outside", "cent", "middle", "corner", "position", "locat"),
            *(
                "where",
                "direction",
                "facing",
                "around",
                "along",
                "across",
                "row",
                "column",
                "order",
                "adjacent",
                "opposite",
            ),
        ),
    ),
    "comparison": Ability(
        "compare two or more things",
        _words(
            "than", "most", "least", "more", "less", "few", "same", "equal", "differ", "compar", r"\w+est\b", r"\w+er\b"
        ),
    ),
    "math": Ability(
        "calculate with what is seen",
        _words(
            *(
                "add",
                "sum",
                "subtract",
                "difference",
                "multipl",
                "product",
                "divi",
                "ratio",
                "percent",
                "average",
                "mean",
            ),
            *(
                "total",
                "calculat",
                "comput",
                "how much",
                "area",
                "perimeter",
                "angle",
                "equation",
                "double",
                "half",
                r"\d",
            ),
        ),
    ),
    "knowledge": Ability("use what is generally known beyond the image"),
    "generation": Ability(
        "write an answer of several facts or sentences",
        _words("describ", "explain", "writ", "list", "summar", "tell", "name", "state", "give"),
    ),
}


def ability_fault(abilities: Sequence[str], least: int = 1) -> str | None:
    """Check the synergy constraint: known abilities, `least` or more beside reasoning.

    Returns:
        The fault, or None.

    >>> ability_fault(["reasoning"])
    'needs no ability beside reasoning'
    >>> ability_fault(["reasoning", "ocr"], least=2)
    'needs 1 ability beside reasoning, not 2'
    """
    unknown = sorted(set(abilities) - {REASONING, *ABILITIES})
    if unknown:
        return f"unknown ability {unknown[0]}"
    others = len(set(abilities) - {REASONING})
    if others >= least:
        return None
    return f"needs {others} ability beside reasoning, not {least}" if others else "needs no ability beside reasoning"
