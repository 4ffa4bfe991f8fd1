"""Validation and filters of rows: duplicates, caps, difficulty, benchmark contamination."""
