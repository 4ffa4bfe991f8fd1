"""`grpo` section of `params.yaml`: GRPO hyperparameters and checks of their combinations."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Count, Positive, Section, Share
from wethink.config.training import Optim


class Correction(Section):
    """Importance weights exp(old − sampled) that correct engine log-probs towards the trainer's."""

    mode: Literal["none", "truncate", "mask"]
    level: Literal["token", "sequence"]
    floor: Annotated[float, Field(ge=0)]
    cap: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def _one_lies_between(self) -> "Correction":
        if not self.floor <= 1 <= self.cap:
            raise ValueError("'floor' must be at most 1 and 'cap' at least 1: a token without mismatch has weight 1")
        return self


class Probe(Section):
    """Held-out accuracy during training, compared with the starting policy's. every = 0: off."""

    every: Count  # steps between probes
    images: Positive  # clusters of images, and questions about none; their rows are never trained on
    patience: Count  # stop after this many consecutive probes below the start while the reward rises; 0 = never

    @model_validator(mode="after")
    def _patience_needs_probes(self) -> "Probe":
        if self.patience and not self.every:
            raise ValueError("'patience' needs 'every' above 0: without probes nothing can be below the start")
        return self


class Outage(Section):
    """Retries after a judge outage: too many unknown verdicts in a step pause the loop, then stop it."""

    max_unknown: Share  # highest share of a step's rollouts with unknown verdicts
    pause_seconds: Count  # before they are scored again
    retries: Count


class Grpo(Section):
    """GRPO hyperparameters; symbols as in docs/paper.md, defaults and their sources in params.yaml."""

    start: Literal["base", "sft"]
    gold: Literal["answer", "shuffled"]  # 'shuffled' is the negative control
    optim: Optim  # train_batch_size = prompts per step
    steps_per_generation: Positive  # optimizer updates per step; 1 = on policy
    num_generations: Annotated[int, Field(ge=2)]  # G
    temperature: Annotated[float, Field(gt=0)]
    max_completion_length: Positive
    max_staleness: Annotated[int, Field(ge=0, le=1)] = 0  # updates by which rollouts may be older than the policy
    max_resample_rounds: Count  # further rounds of prompts to replace groups without variance; 0 = train on fewer
    curriculum_pool: Positive  # candidates per prompt; those with pass rates nearest 1/2 are asked. 1 = off
    scale_rewards: Literal["group", "none", "batch"]  # what the centred reward is divided by
    multi_objective_aggregation: Literal["sum_then_normalize", "normalize_then_sum"]  # the latter: GDPO
    importance_sampling_level: Literal["token", "sequence", "none"]  # sequence: GSPO; none: REINFORCE
    loss_agg_mode: Literal["token-mean", "seq-mean-token-mean", "seq-mean-token-sum-norm"]
    clip_ratio_low: Annotated[float, Field(gt=0)]
    clip_ratio_high: Annotated[float, Field(gt=0)]
    clip_ratio_c: Annotated[float, Field(ge=0)]  # caps the loss of a negative advantage; 0 = off
    kl_coef: Annotated[float, Field(ge=0)]  # β of the penalty; 0 = off, no reference model
    kl_estimator: Literal["k1", "k3"]
    use_bias_correction_kl: bool  # multiply the penalty by the ratio, which corrects its gradient
    rollout_correction: Correction
    mask_truncated_completions: bool  # a completion without its stop token carries no loss
    overlong_buffer_len: Count  # L_c of the soft punishment, in tokens; 0 = off
    probe: Probe
    outage: Outage
    sources: tuple[str, ...] | None = None  # image sources to learn from; None: all
    categories: tuple[Literal["MC", "FIB", "DES"], ...] | None = None  # question types; None: all
    reward_route: Literal["row", "rule", "model"] = "row"  # the row's own reward, rules only, or the judge for all
    prompt_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # share of prompts kept, with pass rates nearest to 1/2
    sampler: Literal["in_process", "vllm"]
    max_logprob_diff: Annotated[float, Field(gt=0)]  # mean |Δlogp| of sampler and trainer beyond which training stops
    shared_prefix: bool  # compute a prompt once for its G completions; exact, so off is for comparison only

    @model_validator(mode="after")
    def _combinations(self) -> "Grpo":
        refused = {
            "'multi_objective_aggregation: normalize_then_sum' changes nothing with 'scale_rewards: none'": (
                self.multi_objective_aggregation == "normalize_then_sum" and self.scale_rewards == "none"
            ),
            "'importance_sampling_level: none' needs 'steps_per_generation: 1': a second update needs a ratio": (
                self.importance_sampling_level == "none" and self.steps_per_generation > 1
            ),
            "'use_bias_correction_kl' needs 'kl_coef' above 0": self.use_bias_correction_kl and self.kl_coef == 0,
            "'use_bias_correction_kl' needs an 'importance_sampling_level' other than none, whose ratio it uses": (
                self.use_bias_correction_kl and self.importance_sampling_level == "none" and self.kl_estimator == "k3"
            ),
            "'kl_estimator: k1' needs 'use_bias_correction_kl': without it the mean of its gradient is zero": (
                self.kl_coef > 0 and self.kl_estimator == "k1" and not self.use_bias_correction_kl
            ),
            "'max_staleness: 1' needs 'rollout_correction.mode: truncate' or 'mask': an older policy sampled": (
                self.max_staleness > 0 and self.rollout_correction.mode == "none"
            ),
            "'clip_ratio_c' must be 0 or above 1 + 'clip_ratio_high'": 0
            < self.clip_ratio_c
            <= 1 + self.clip_ratio_high,
            "'overlong_buffer_len' must be below 'max_completion_length'": (
                self.overlong_buffer_len >= self.max_completion_length
            ),
            "'steps_per_generation' must not exceed 'optim.train_batch_size': an update needs a prompt": (
                self.steps_per_generation > self.optim.train_batch_size
            ),
        }
        for sentence, found in refused.items():
            if found:
                raise ValueError(sentence)
        return self
