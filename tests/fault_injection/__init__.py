"""`make flywheel`: a source that arrives becomes a decided challenger, and everything that can go wrong on the way.

    python -m tests.fault_injection [--only CASE …] [--times 3] [--keep FOLDER]

Three rooms of cases: the story with real training on a miniature policy (story), the injected faults against a real
Prefect server on PostgreSQL, a real worker, the watcher and an S3-compatible store with a queue (faults_*), and what a
second clone sees (clones). Writes reports/flywheel.json.
"""
