"""Continued training on a new source: rows, union, challenger, promotion gate."""
