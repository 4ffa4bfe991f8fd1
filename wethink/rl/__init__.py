"""GRPO reinforcement learning: prompts, rollouts, objective, policy update, logs and checks."""
