"""Hybrid rewards: response format, rule verification, judges."""
