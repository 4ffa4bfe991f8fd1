"""Prefect flows: the main job, synthesis, retraining, evaluation and experiments.

Imports `tasks` first, which sets the services' environment before Prefect is imported.
"""

import tasks as tasks
