"""Prefect: a local server, automations, and approval of promotions."""
