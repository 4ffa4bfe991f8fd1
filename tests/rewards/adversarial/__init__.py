"""The attack suite: hostile responses that no rule, judge or parser may reward, and right ones that they must.

Written before the rules that it attacks. `python -m tests.rewards.adversarial` (`make attacks`) runs all of it.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A row to be attacked: a checkable question, its gold, and an answer that is wrong."""

    rule: str
    problem: str
    gold: str
    category: str
    wrong: str

    @property
    def reward(self) -> str:
        return "model" if self.category == "DES" else "rule"


@dataclass(frozen=True)
class Case:
    """A whole response to a row. In `hostile` none is right; in `equivalent` each is."""

    family: str
    rule: str
    response: str
    problem: str
    gold: str
    category: str

    @property
    def reward(self) -> str:
        return "model" if self.category == "DES" else "rule"


COLOURS = "which thing is top left ? A red circle B blue star C green square D yellow cross"
CITIES = "Which city is shown in the photo?\nA. Paris\nB. New York\nC. The Hague\nD. Rio de Janeiro"
BOX = "Give the bounding box of the red car as [x1, y1, x2, y2]."
POINT = "Click on the search button: give its pixel coordinates."

TARGETS = (
    Target("option", COLOURS, "B", "MC", "C"),
    Target("option", CITIES, "C", "MC", "A"),
    Target("integer", "How many circles are there?", "3", "FIB", "4"),
    Target("integer", "What is 12 * 13?", "156", "FIB", "165"),
    Target("thousands", "How many people live there?", "1234", "FIB", "1243"),
    Target("decimal", "What is the value of the needle?", "3.14159", "FIB", "2.71"),
    Target("fraction", "Which part is shaded?", "3/4", "FIB", "4/3"),
    Target("percent", "What percentage is blue?", "45%", "FIB", "54%"),
    Target("unit", "How long is the pencil?", "5 cm", "FIB", "6 cm"),
    Target("currency", "What does the book cost?", "$12.50", "FIB", "$15.20"),
    Target("date", "When was the letter written?", "2024-03-05", "FIB", "2024-05-03"),
    Target("yes/no", "Is the cat on the mat?", "yes", "FIB", "no"),
    Target("yes/no", "Is the dog on the mat?", "no", "FIB", "yes"),
    Target("list", "Name the colours from left to right.", "red, blue, green", "FIB", "green, blue, red"),
    Target("text", "Which building is this?", "Eiffel Tower", "FIB", "Big Ben"),
    Target("mathematics", r"Simplify \sqrt{12}.", r"2\sqrt{3}", "FIB", r"3\sqrt{2}"),
    Target("mathematics", "Expand (x+1)^2.", "x^2+2x+1", "FIB", "x^2-2x+1"),
    Target("box", BOX, "[10, 20, 110, 220]", "FIB", "[300, 300, 400, 400]"),
    Target("point", POINT, "[420, 310]", "FIB", "[20, 30]"),
    Target("judge", "describe the picture", "red circle , none , blue star , green cross", "DES", "a yellow triangle"),
)


def wrap(answer: str) -> str:
    """An answer in the format that earns a reward."""
    return f"<think>I look at the picture.</think><answer>{answer}</answer>"
