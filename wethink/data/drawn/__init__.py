"""Default image sources with known truth: scenes, charts, digits.

Each source is a module with the functions of `questions.ImageSource`. Only the embedded annotator, `quality` and
`evaluate` read an image's truth; training stages read rows.
"""

from wethink.data.drawn import charts, digits, scenes
from wethink.data.drawn.questions import ImageSource, Question

SOURCES: dict[str, ImageSource] = {"scenes": scenes, "charts": charts, "digits": digits}

__all__ = ["SOURCES", "ImageSource", "Question"]
