"""Sampling completions from a policy: in process, and through vLLM."""
