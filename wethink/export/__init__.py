"""Exports of rows: Hugging Face datasets and other trainers' formats."""
