"""Synthesis of question-answer rows by annotator teams, or their import."""
