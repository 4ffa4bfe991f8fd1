"""Experiments beside the main job: controls, ablation arms, filter quality."""
