"""Colours and canvas shared by all drawn images."""

from random import Random

CANVAS = (128, 128, 128)  # zero after the model's normalisation, so an empty cell carries no signal
SUPERSAMPLE = 3
COLOURS = {
    "red": (225, 45, 45),
    "blue": (45, 85, 230),
    "green": (40, 175, 70),
    "yellow": (240, 215, 50),
}
NEAR_COLOURS = {
    "red": ("yellow", "green"),
    "blue": ("green", "red"),
    "green": ("blue", "yellow"),
    "yellow": ("green", "red"),
}


def tint(colour: str, rng: Random, spread: int = 18) -> tuple[int, int, int]:
    """Return a colour with each channel shifted by up to `spread`."""
    red, green, blue = (min(255, max(0, value + rng.randint(-spread, spread))) for value in COLOURS[colour])
    return red, green, blue
