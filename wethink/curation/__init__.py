"""Curation: near-duplicate pictures and questions, contamination by benchmarks, balance, difficulty."""
