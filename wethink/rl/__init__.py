"""GRPO: the objective (pure maths), the rollout (sampling), the trainer (the loop)."""
