"""Errors, progress, JSON lines, statistics, processes and paths; no machine learning."""
