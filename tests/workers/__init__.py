"""Two Prefect workers on two hosts of this machine's own, and the checks that need them (`make workers-check`)."""
