"""Keys that `params.yaml` does not have, and what to use: renamed ones, and those of other trainers."""

RENAMED: dict[str, dict[str, str]] = {  # the key's own section → former name → present name
    "tiny": {
        "hidden": "hidden_size",
        "layers": "num_hidden_layers",
        "heads": "num_attention_heads",
        "kv_heads": "num_key_value_heads",
        "ff": "intermediate_size",
        "vision_hidden": "vision_hidden_size",
    },
    "optim": {
        "steps": "max_steps",
        "batch": "train_batch_size",
        "warmup": "warmup_ratio",
        "schedule": "lr_scheduler_type",
        "micro_batch": "micro_batch_size",
        "micro_tokens": "max_token_len_per_gpu",
        "save_every": "save_steps",
        "keep": "save_total_limit",
        "checkpointing": "gradient_checkpointing",
        "frozen": "frozen_parameters",
        "max_skipped": "max_skipped_steps",
    },
    "grpo": {
        "group": "num_generations",
        "updates": "steps_per_generation",
        "max_new_tokens": "max_completion_length",
        "refills": "max_resample_rounds",
        "advantage": "scale_rewards",
        "normalize": "multi_objective_aggregation",
        "ratio": "importance_sampling_level",
        "aggregation": "loss_agg_mode",
        "clip_low": "clip_ratio_low",
        "clip_high": "clip_ratio_high",
        "dual_clip": "clip_ratio_c",
        "kl": "kl_coef",
        "kl_correction": "use_bias_correction_kl",
        "correction": "rollout_correction",
        "overlong": "mask_truncated_completions",
        "overlong_buffer": "overlong_buffer_len",
        "max_dlogp": "max_logprob_diff",
        "route": "reward_route",
        "best_share": "prompt_share",
    },
    "sources": {
        "column": "columns.image",
    },
    "evaluate": {
        "batch": "batch_size",
    },
    "retrain": {
        "second_look": "label_check",
    },
}

FOREIGN: dict[str, dict[str, str]] = {  # the key's own section → another trainer's key → why there is none here
    "optim": {
        "optim": "the optimizer is AdamW, and Muon where 'muon_lr' is set. 8-bit Adam is not supported, since "
        "checkpoints hold whole moments for any number of ranks; to save memory use 'lora' or a file of ZeRO-2, ZeRO-3 "
        "or offload in launch.deepspeed",
    },
}
