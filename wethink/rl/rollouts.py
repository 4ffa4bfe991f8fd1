"""Rollout generation, reward scoring with retries after judge outages, and group advantages."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from wethink.common.errors import UserError
from wethink.common.progress import say
from wethink.config.grpo import Grpo, Outage
from wethink.config.rewards import Rewards
from wethink.data.schema import Row, row_images
from wethink.generation.responses import Asked, Completion, Decoding, encode
from wethink.generation.sampler import Sampler
from wethink.models.batching import Images, Prompt
from wethink.rewards.hybrid import Scored, Scorer
from wethink.rl.objective import component_advantages, group_advantages, overlong_penalty, varied
from wethink.training.ranks import Ranks, gather_objects


@dataclass(frozen=True)
class Group:
    """One prompt's G completions with rewards; `place` is its index in the step over all ranks."""

    row: Row
    prompt: Prompt
    completions: list[Completion]
    texts: list[str]
    scores: list[Scored]
    penalties: list[float]  # soft overlong punishment, ≤ 0
    place: int = 0
    advantages: Tensor | None = None  # [G]
    has_signal: bool = False  # whether the total reward varies

    @property
    def known(self) -> list[bool]:
        return [scored.total is not None for scored in self.scores]

    @property
    def totals(self) -> list[float]:
        """Sum reward and overlong penalty; an unknown reward counts as 0."""
        return [(s.total or 0.0) + penalty for s, penalty in zip(self.scores, self.penalties, strict=True)]

    def loss_mask(self, config: Grpo) -> list[bool]:
        """Mark the completions that carry loss: [G].

        Their reward is known and, under `mask_truncated_completions`, they are not truncated.
        """
        cut = [config.mask_truncated_completions and not completion.finished for completion in self.completions]
        return [known and not out for known, out in zip(self.known, cut, strict=True)]


def generate_rollouts(
    sampler: Sampler,
    rows: Sequence[Row],
    images: Images,
    config: Grpo,
    scorer: Scorer,
    step: int,
    seed: int,
) -> list[Group]:
    """Sample and score G completions for each row."""
    if not rows:
        return []
    asked = [Asked(row["problem"], row_images(row), row["id"], step) for row in rows]
    decoding = Decoding(config.max_completion_length, config.temperature, seed, config.num_generations)
    prompts = encode(asked, images, sampler.processor)
    sampled = list(sampler.sample(asked, images, decoding, prompts))
    written = [[sampler.processor.decode(completion.ids) for completion in completions] for completions in sampled]
    pairs = [(text, row) for row, texts in zip(rows, written, strict=True) for text in texts]
    scored = iter(scorer.score(pairs))
    groups = []
    for row, prompt, completions, texts in zip(rows, prompts, sampled, written, strict=True):
        scores = [next(scored) for _ in texts]
        lengths = [len(completion.ids) for completion in completions]
        penalties = [
            overlong_penalty(length, config.max_completion_length, config.overlong_buffer_len) for length in lengths
        ]
        groups.append(Group(row, prompt, completions, texts, scores, penalties))
    return groups


def rescore_until_known(groups: list[Group], scorer: Scorer, outage: Outage, ranks: Ranks) -> list[Group]:
    """Score unknown completions again until few enough verdicts are unknown.

    The share is taken over all ranks and compared with `max_unknown`; each retry follows a pause. Unknown verdicts
    are never counted as wrong.

    Raises:
        UserError: the share is still above `max_unknown` after `retries` pauses.
    """
    for attempt in range(outage.retries + 1):
        unknown = [s.verdict.reason for group in groups for s in group.scores if s.total is None]
        everyone = gather_objects((unknown, sum(len(group.scores) for group in groups)), ranks)
        reasons = [reason for found, _ in everyone for reason in found]
        share = len(reasons) / max(1, sum(total for _, total in everyone))
        if share <= outage.max_unknown:
            return groups
        if attempt < outage.retries:
            if ranks.first:
                say(f"grpo: {share:.0%} of the verdicts are unknown ({reasons[0]}); retry in {outage.pause_seconds} s")
            time.sleep(outage.pause_seconds)
            groups = _rescore_unknown(groups, scorer)
    raise UserError(
        f"grpo: {share:.0%} of a step's verdicts are unknown ({reasons[0]}) after {outage.retries} pauses of "
        f"{outage.pause_seconds} s; fix the judge or the rows (grpo.outage.max_unknown is {outage.max_unknown}), then "
        "start again: it goes on from the last checkpoint."
    )


def _rescore_unknown(groups: list[Group], scorer: Scorer) -> list[Group]:
    """Score again the completions whose reward is unknown; known scores stay."""
    open_ = [(g.texts[i], g.row) for g in groups for i, known in enumerate(g.known) if not known]
    fresh = iter(scorer.score(open_))
    return [replace(g, scores=[s if s.total is not None else next(fresh) for s in g.scores]) for g in groups]


def assign_advantages(groups: Sequence[Group], config: Grpo, rewards: Rewards, ranks: Ranks) -> list[Group]:
    """Set `advantages` and `has_signal` of this rank's groups.

    Both are computed from the rewards of all ranks' groups, which a batch std needs.
    """
    if not any(gather_objects(len(groups), ranks)):
        return []
    mine = [
        (
            g.place,
            g.totals,
            g.known,
            [s.accuracy or 0.0 for s in g.scores],
            [s.format for s in g.scores],
            [s.own for s in g.scores],
            g.penalties,
        )
        for g in groups
    ]
    table = sorted(entry for found in gather_objects(mine, ranks) for entry in found)
    places, *columns = zip(*table, strict=True)
    totals, known, accuracy, form, own, penalty = (torch.tensor(column) for column in columns)  # [B, G]
    if config.multi_objective_aggregation == "normalize_then_sum" and config.scale_rewards != "none":
        weights = [rewards.accuracy_weight, rewards.format_weight, 1.0, 1.0]
        components = [accuracy, form, own, penalty]
        advantages = component_advantages(components, weights, known, config.scale_rewards)
        advantages = torch.where(varied(totals, known).unsqueeze(1), advantages, torch.zeros_like(advantages))
    else:
        advantages = group_advantages(totals, known, config.scale_rewards)
    kept = varied(totals, known)  # [B]
    row_of = {place: i for i, place in enumerate(places)}
    return [replace(g, advantages=advantages[row_of[g.place]], has_signal=bool(kept[row_of[g.place]])) for g in groups]
