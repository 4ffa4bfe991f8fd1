"""The DAG as prose. Imports `tasks` first: it sets the services' environment before Prefect is imported."""

import tasks as tasks
