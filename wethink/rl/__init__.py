"""GRPO: prompts, rollouts, objective, update, logs and checks."""
