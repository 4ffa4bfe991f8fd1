"""WeThink as a system: from plain images to an evaluated vision-language reasoner.

The library. It knows data, models and maths; it knows no orchestrator and no tracker
(those are adapted in `tasks/` and chained in `flows/`).
"""

__version__ = "0.1.0"
