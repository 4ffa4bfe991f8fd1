"""DVC and git: dvc.yaml, status, commits and worktrees."""
