"""Drawn rollouts for the TRL law: responses that the product scores, in groups with unequal rewards."""

from dataclasses import dataclass
from functools import cache
from typing import Any
from unittest import mock

import numpy as np
import torch

from tests.support.miniature import MIXED, TEXT, NoiseImages, policy
from wethink.common.paths import ROOT
from wethink.config.params import load_params
from wethink.config.rewards import Rewards
from wethink.config.training import Family
from wethink.data.schema import image_keys, row_images
from wethink.generation.in_process import Completion
from wethink.models.batching import Prompt, encode_prompts, pack
from wethink.models.logprobs import CompletionLogProbs
from wethink.models.policy import Processor
from wethink.rewards import hybrid
from wethink.rewards.judge import lexical_judge
from wethink.rewards.verdict import Verdict, graded
from wethink.rl.rollouts import Group

PROMPTS, GROUP, LIMIT = 5, 4, 16
APART = 0.02  # between the means, and between the stds, of any two groups, and of a group and the batch
NOISE = 0.25  # std of the recorded log-probs around those of the present policy
FINE = 3e-4  # of a full reward, where an ε of 1e-6 beside the std must show
REWARDS = load_params(ROOT / "profiles/tiny.yaml").rewards
ANSWERS = {  # quality → text, by the row's reward route
    "rule": {"right": "3", "half": "2", "wrong": "4"},
    "model": {"right": "red circle , blue square", "half": "red circle , green square", "wrong": "green , red"},
}
QUALITIES = ("right", "half", "wrong", "cut", "untagged")


@dataclass(frozen=True)
class Rollouts:
    """The same for both sides; everything is drawn."""

    rows: list[dict[str, Any]]
    completions: list[list[list[int]]]
    logps: list[list[list[float]]]  # of a policy a little beside the present one
    now: torch.Tensor  # [N]: log-probs of the present one


def prompts_of(rows: list[dict[str, Any]], made: Processor) -> list[Prompt]:
    return encode_prompts([row["problem"] for row in rows], [row_images(row) for row in rows], NoiseImages(), made)


def _response(rng: np.random.Generator, quality: str, route: str) -> str:
    thought = " ".join(rng.choice(TEXT.split(), int(rng.integers(1, 4))))
    opened, closed = "" if quality == "untagged" else "<answer>", "" if quality == "cut" else "</answer>"
    return f"<think> {thought} </think> {opened} {ANSWERS[route].get(quality, 'red')} {closed}".strip()


@cache
def rollouts(family: Family, temperature: float, mixed: bool = False) -> Rollouts:
    """Responses of unequal length and quality, some without their stop token, with log-probs at this temperature.

    Prompts are about one image each; mixed ones about 0, 1, 2 and 5, the two in places of the question.
    """
    model, made = policy(family=family)
    words = TEXT.split()
    rows = [
        {
            "id": str(i),
            "image": f"noise {i}" + " wide" * (i % 2),
            "problem": " ".join(words[3 : 6 + i]),
            "answer": ANSWERS[("rule", "model")[i % 2]]["right"],
            "category": ("FIB", "DES")[i % 2],
            "reward": ("rule", "model")[i % 2],
        }
        for i in range(PROMPTS)
    ]
    if mixed:
        for i, row in enumerate(rows):
            del row["image"]
            row |= image_keys(MIXED[i % len(MIXED)])
        rows[2]["problem"] += " <image> or <image>"
    rng = np.random.default_rng(1)
    while True:  # until the groups differ from each other as they must
        texts = [[_response(rng, rng.choice(QUALITIES), row["reward"]) for _ in range(GROUP)] for row in rows]
        if vary(scored(rows, texts, True)) and vary(plain := scored(rows, texts, False)) and are_apart(plain):
            break
    ids = [[made.text_ids(text) for text in group] for group in texts]
    flat = [completion for group in ids for completion in group]
    for completion, text in zip(flat, (text for group in texts for text in group), strict=True):
        if text.endswith("</answer>") and rng.random() < 0.8:
            completion.append(made.tokenizer.eos_token_id)
    assert max(map(len, flat)) <= LIMIT and any(c[-1] != made.tokenizer.eos_token_id for c in flat)
    with torch.no_grad():
        now, _ = CompletionLogProbs(model, [])(pack(prompts_of(rows, made), flat, GROUP), temperature)
    beside = (now + NOISE * torch.from_numpy(rng.normal(size=len(now))).float()).split([len(one) for one in flat])
    lists = [part.tolist() for part in beside]
    return Rollouts(rows, ids, [lists[i : i + GROUP] for i in range(0, len(lists), GROUP)], now)


def rewards_of(fine: bool) -> Rewards:
    """The product's weights; where rewards are fine, only accuracy counts, so that they are not lost in rounding."""
    return REWARDS.model_copy(update={"accuracy_weight": 1.0, "format_weight": 0.0}) if fine else REWARDS


def scored(rows: list[dict[str, Any]], texts: list[list[str]], fine: bool) -> list[list[hybrid.Scored]]:
    """Scores of all responses by the product; fine ones by a judge whose grades are nearly equal."""
    asked = [row | {"reward": "model"} if fine else row for row in rows]
    pairs = [(text, row) for row, group in zip(asked, texts, strict=True) for text in group]
    with mock.patch.object(lexical_judge, "judge", _fine_judge if fine else lexical_judge.judge):
        flat = hybrid.Scorer(rewards_of(fine)).score(pairs)
    return [flat[i : i + GROUP] for i in range(0, len(flat), GROUP)]


_judge = lexical_judge.judge


def _fine_judge(answer: str, gold: str) -> Verdict:
    return graded(FINE * float(_judge(answer, gold).score or 0.0), "a grade near zero")


def vary(scores: list[list[hybrid.Scored]]) -> bool:
    """Return whether rewards and accuracies vary in each group; one without variance has no signal."""
    return all(len({s.total for s in group}) > 1 and len({s.accuracy for s in group}) > 1 for group in scores)


def are_apart(scores: list[list[hybrid.Scored]]) -> bool:
    """Return whether the means and stds of rewards differ between any two groups, and from the batch's."""
    totals = torch.tensor([[s.total for s in group] for group in scores])  # [B, G]
    for statistic in (torch.mean, torch.std):
        values = torch.stack([*(statistic(group) for group in totals), statistic(totals)])  # [B + 1]
        distances = (values.unsqueeze(0) - values.unsqueeze(1)).abs()  # [B + 1, B + 1]
        if float(distances[~torch.eye(len(values), dtype=torch.bool)].min()) < APART:
            return False
    return True


def groups_of(given: Rollouts, family: Family, fine: bool) -> list[Group]:
    """The rollouts as the product's trainer has them, scored by it."""
    made = policy(family=family)[1]
    texts = [[made.decode(ids) for ids in group] for group in given.completions]
    scores = scored(given.rows, texts, fine)
    groups = []
    for place, (row, prompt) in enumerate(zip(given.rows, prompts_of(given.rows, made), strict=True)):
        completions = [
            Completion(tuple(ids), tuple(logps), ids[-1] == made.tokenizer.eos_token_id)
            for ids, logps in zip(given.completions[place], given.logps[place], strict=True)
        ]
        groups.append(Group(row, prompt, completions, texts[place], scores[place], [0.0] * GROUP, place))
    return groups
