"""The default image sources. Each is a module with the functions of `questions.ImageSource`.

Truth about an image is for the embedded annotator, `quality` and `evaluate` alone; what trains a model
reads rows.
"""

from wethink.data.drawn import charts, digits, scenes
from wethink.data.drawn.questions import ImageSource, Question

SOURCES: dict[str, ImageSource] = {"scenes": scenes, "charts": charts, "digits": digits}

__all__ = ["SOURCES", "ImageSource", "Question"]
