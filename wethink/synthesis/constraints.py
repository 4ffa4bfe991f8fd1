"""Executable constraints on images to annotate, written questions and refined reasoning paths.

A question must meet its own declaration: reasoning and enough other abilities, each with its need and a cue, the
steps of reasoning, the form of its category. Neither a question nor a path may mention a description, as its reader
sees only the image.
"""

import re

import numpy as np
from PIL import Image

from wethink.config.synthesis import Team
from wethink.data.drawn.questions import Question
from wethink.rewards.rules.options import options
from wethink.synthesis.abilities import ABILITIES, REASONING, ability_fault
from wethink.synthesis.import_rows import neutral
from wethink.synthesis.reply_schemas import Written
from wethink.synthesis.team import Draft

SPEAKS = re.compile(
    r"\b(?:descriptions?|captions?|(?:as|is|are) described|according to the (?:text|notes|details)"
    r"|(?:given|provided|raw) (?:text|notes|details|information|answer))\b",
    re.IGNORECASE,
)
LEAST_SIDE = 28  # pixels: one visual token of Qwen2.5-VL
BLANK_LEVELS, BLANK_SHARE = 16, 1e-4  # of 255, and of the pixels: noise of a scan or of JPEG
_ALPHABET = "ABCDEFGHIJ"
FORMS = {  # answer formats that the reward rules can parse
    "MC": "The answer is the letter of the right option, and nothing else.",
    "FIB": "The answer is only the number, name or few words asked for, without a sentence around it.",
    "DES": "The answer is a list of short facts in the order of the question, separated by commas.",
}


def drafted(written: Written, config: Team, least: int) -> Draft:
    """Convert a written question to a draft, with the first constraint it violates."""
    text = neutral(written.question).strip()
    listed = [" ".join(neutral(option).split()) for option in written.options]
    problem = text
    if written.category == "MC":
        problem += "".join(f"\n{letter}. {option}" for letter, option in zip(_ALPHABET, listed, strict=False))
    abilities = [need.ability.strip().casefold() for need in written.needs]
    others = tuple(ability for ability in abilities if ability != REASONING)
    reward = "model" if written.category == "DES" else "rule"
    question = Question(f"written {written.category}", (), problem, written.category, others, reward)
    return Draft(question, _fault(written, text, listed, problem, abilities, config, least))


def _fault(
    written: Written, text: str, listed: list[str], problem: str, abilities: list[str], config: Team, least: int
) -> str | None:
    needs = {need.ability.strip().casefold(): need.need.strip() for need in written.needs}
    if not text:
        return "empty question"
    if SPEAKS.search(text):
        return "speaks of a description"
    if REASONING not in abilities:
        return "does not declare reasoning"
    if len(needs) < len(abilities):
        return "declares an ability twice"
    if fault := ability_fault(abilities, least):
        return fault
    for ability, need in needs.items():
        if not need:
            return f"does not say what {ability} is needed for"
        if ability != REASONING and not ABILITIES[ability].shows_in(f"{problem}\n{need}"):
            return f"declares {ability}, which nothing in it shows"
    steps = len({step.strip() for step in written.steps} - {""})
    if steps < config.min_steps:
        return f"declares fewer than {config.min_steps} steps of reasoning"
    if written.category not in config.categories:
        return f"category {written.category} was not asked for"
    if written.category != "MC":
        return f"{written.category} with options" if listed else None
    if len(listed) != config.options:
        return f"has not {config.options} options"
    if len({option.casefold() for option in listed} - {""}) < len(listed):
        return "has an empty option, or one twice"
    return None if list(options(problem).values()) == listed else "options that cannot be told apart"


def path_fault(path: str, problem: str, most_chars: int) -> str | None:
    """Return the constraint that a refined path violates, or None."""
    if len(path) > most_chars:
        return f"path longer than {most_chars} characters"
    if SPEAKS.search(path) and not SPEAKS.search(problem):
        return "path speaks of a description"
    return None


def pixel_fault(image: Image.Image) -> str | None:
    """Return why an image shows nothing to ask about, judged by its pixels alone; None if it may show something.

    It is too small if a side is below `LEAST_SIDE`; blank if all but `BLANK_SHARE` of its pixels are within
    `BLANK_LEVELS` of the median colour.
    """
    if min(image.size) < LEAST_SIDE:
        return f"a side is shorter than {LEAST_SIDE} pixels"
    pixels = np.asarray(image.convert("RGB"), np.int16).reshape(-1, 3)  # [H · W, 3]
    apart = (np.abs(pixels - np.median(pixels, axis=0)) > BLANK_LEVELS).any(axis=1)
    return "blank: nearly one colour" if apart.mean() <= BLANK_SHARE else None
