"""The `grpo` section of `params.yaml`; impossible combinations are refused with the names of both keys."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Count, Positive, Section, Share
from wethink.config.training import Optim


class Correction(Section):
    """Weights exp(old − sampled) for tokens that the engine sampled with other log-probs than the trainer's."""

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
    """Held-out accuracy during training, against the policy that training started from. every = 0: off."""

    every: Count  # steps between probes
    images: Positive  # their rows are never trained on
    patience: Count  # stop after so many probes in a row below the start while the reward rises; 0 = never

    @model_validator(mode="after")
    def _patience_needs_probes(self) -> "Probe":
        if self.patience and not self.every:
            raise ValueError("'patience' needs 'every' above 0: without probes nothing can be below the start")
        return self


class Outage(Section):
    """A judge that fails makes verdicts unknown; too many of them in one step pause the loop, then stop it."""

    max_unknown: Share  # of a step's rollouts
    pause_seconds: Count  # before they are scored again
    retries: Count


class Grpo(Section):
    """GRPO; symbols as in docs/paper.md. Defaults and their sources stand in params.yaml."""

    start: Literal["base", "sft"]
    gold: Literal["answer", "shuffled"]  # 'shuffled' is the control that must not gain
    optim: Optim  # batch = prompts per step
    updates: Positive  # optimizer updates per step; 1 = on policy
    group: Annotated[int, Field(ge=2)]  # G
    temperature: Annotated[float, Field(gt=0)]
    max_new_tokens: Positive
    refills: Count  # more rounds of prompts in place of groups without variance; 0 = train on fewer
    curriculum_pool: Positive  # candidates per prompt; those with pass rates nearest 1/2 are asked. 1 = off
    advantage: Literal["group", "none", "batch"]  # what the centred reward is divided by
    normalize: Literal["total", "components"]  # components: each by its own std, then weighted and summed
    ratio: Literal["token", "sequence", "none"]  # sequence: GSPO; none: REINFORCE
    aggregation: Literal["token", "sequence", "constant"]
    clip_low: Annotated[float, Field(gt=0)]
    clip_high: Annotated[float, Field(gt=0)]
    dual_clip: Annotated[float, Field(ge=0)]  # caps the loss of a negative advantage; 0 = off
    kl: Annotated[float, Field(ge=0)]  # β of the penalty; 0 = off, no reference model
    kl_estimator: Literal["k1", "k3"]
    kl_correction: bool  # multiply the penalty by the ratio, which mends its gradient
    correction: Correction
    overlong: Literal["keep", "mask"]  # mask: a completion without its stop token carries no loss
    overlong_buffer: Count  # L_c of the soft punishment, in tokens; 0 = off
    probe: Probe
    outage: Outage
    sources: tuple[str, ...] | None = None  # image sources to learn from; None: all
    categories: tuple[Literal["MC", "FIB", "DES"], ...] | None = None  # question types; None: all
    route: Literal["row", "rule", "model"] = "row"  # the row's own reward, rules only, or the judge for all
    best_share: Annotated[float, Field(gt=0, le=1)] = 1.0  # of the prompts, those whose pass rate is nearest to half
    sampler: Literal["in_process", "vllm"]
    max_dlogp: Annotated[float, Field(gt=0)]  # mean |Δlogp| of sampler and trainer beyond which training stops
    shared_prefix: bool  # compute a prompt once for its G completions; exact, so off is for comparison only

    @model_validator(mode="after")
    def _combinations(self) -> "Grpo":
        refused = {
            "'normalize: components' changes nothing with 'advantage: none', which divides by no std": (
                self.normalize == "components" and self.advantage == "none"
            ),
            "'ratio: none' needs 'updates: 1': without a ratio nothing mends a second update": (
                self.ratio == "none" and self.updates > 1
            ),
            "'kl_correction' needs 'kl' above 0": self.kl_correction and self.kl == 0,
            "'kl_correction' needs a 'ratio': with 'ratio: none' its gradient would carry no ratio of the policies": (
                self.kl_correction and self.ratio == "none" and self.kl_estimator == "k3"
            ),
            "'kl_estimator: k1' needs 'kl_correction': without it the mean of its gradient is zero": (
                self.kl > 0 and self.kl_estimator == "k1" and not self.kl_correction
            ),
            "'dual_clip' must be 0 or above 1 + 'clip_high'": 0 < self.dual_clip <= 1 + self.clip_high,
            "'overlong_buffer' must be below 'max_new_tokens'": self.overlong_buffer >= self.max_new_tokens,
            "'updates' must not exceed 'optim.batch': an update needs a prompt": self.updates > self.optim.batch,
        }
        for sentence, found in refused.items():
            if found:
                raise ValueError(sentence)
        return self
