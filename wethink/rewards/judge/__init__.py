"""Judges of descriptive answers: lexical, model-based, and their calibration."""
