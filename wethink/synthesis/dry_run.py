"""Cost estimate of synthesis (`synthesize --dry-run`): upper bounds of calls, tokens and cost.

Nothing is sent. The pipeline runs over a sample of the images with made-up replies of the costliest kind: every turn
of detail mining is used, every question passes its filters, every pair of answers needs the adjudicator, every sample
without the image is drawn. Stored responses cost nothing. Repairs and retries are not included.
"""

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from wethink.clients.request import Request
from wethink.clients.response_store import Answer, ResponseStore
from wethink.common.jsonl import Record
from wethink.config.launch import Endpoint
from wethink.data.image_store import ImageRecord
from wethink.synthesis.abilities import ABILITIES, REASONING
from wethink.synthesis.api_run import AnnotationJob
from wethink.synthesis.endpoint_team import EndpointTeam
from wethink.synthesis.paths import rationalize
from wethink.synthesis.pipeline import annotate_image

T = TypeVar("T")
KEYS = ("calls", "paid", "prompt_tokens", "completion_tokens", "cost")
SAMPLE = 300  # images in the sample; the figures are scaled up to all
WORDS = "a thing of some colour stands left of another one and says 'word' . "  # of a made-up description
CUES = "count and read what is left of it, compare it (more than), add it up and list it"


@dataclass
class Estimate:
    """A stand-in for `Chat` that counts calls and makes up replies."""

    store: ResponseStore
    endpoints: dict[str, Endpoint]
    work: AnnotationJob
    lines: dict[str, Counter[str]] = field(default_factory=dict)  # step → calls, tokens, cost

    async def ask(self, request: Request) -> Answer:
        """Return the stored response, or a made-up one, and count its cost."""
        line = self.lines.setdefault(request.role, Counter())
        if stored := self.store.get(request.key):
            line["paid"] += 1
            return stored
        endpoint, prompt = self.endpoints[request.endpoint], request.prompt_tokens()
        cost = (prompt * endpoint.price_prompt + request.max_tokens * endpoint.price_completion) / 1e6
        line.update({"calls": 1, "prompt_tokens": prompt, "completion_tokens": request.max_tokens, "cost": cost})
        return Answer(json.dumps(self._reply(request)), "stop")

    def _reply(self, request: Request) -> dict[str, Any]:
        team, config = self.work.team(), self.work.config
        right, wrong = {"answer": "A"}, {"answer": "B"}  # read as a letter, or as a text
        match request.role:
            case "classify":
                return {"kinds": list(ABILITIES)}
            case "describe" | "merge":
                return {"description": WORDS * 20}
            case "mine":
                return {"questions": [f"what is at place {i} ?" for i in range(team.questions_per_turn)]}
            case "detail":
                return {"answers": [WORDS] * team.questions_per_turn}
            case "write":
                return {"questions": [self._question(number) for number in range(config.questions_per_image)]}
            case "filter":
                return {"reason": "", "answerable": True, "unambiguous": True}
            case "look":
                return wrong
            case "reason" | "adjudicate":
                return {"reasoning": WORDS * 20, **right}
            case "blind":
                return right if request.sample < team.blind.limit - 1 else wrong
            case "refine" | "rationalize":
                return {"path": WORDS * 10}
            case _:
                return right

    def _question(self, number: int) -> dict[str, Any]:
        team, least = self.work.team(), self.work.config.min_abilities
        category = team.categories[number % len(team.categories)]
        needs = [REASONING, *list(ABILITIES)[:least]]
        return {
            "question": f"how many things of kind {number} are left of it ?",
            "category": category,
            "options": [f"option {i}" for i in range(team.options)] if category == "MC" else [],
            "needs": [{"ability": ability, "need": CUES} for ability in needs],
            "steps": [f"step {i}" for i in range(team.min_steps)],
        }


def estimate(work: AnnotationJob) -> dict[str, Any]:
    """Estimate upper bounds of calls, tokens and cost.

    Returns:
        `images`, `rows` (given ones that get a path), `steps` {step: {calls, paid, prompt_tokens, completion_tokens,
        cost}}, their `total`, and `spent`, the cost so far; `paid` are calls with a stored response.

    Raises:
        UserError: as `AnnotationJob.team`.
    """
    with ResponseStore(work.launch.answers) as store:
        counted = Estimate(store, work.endpoints(), work)
        team = EndpointTeam(work.stored, work.team(), work.config.min_abilities, counted.ask)

        async def annotate(record: ImageRecord) -> None:
            await annotate_image(record, team, work.config, work.rewards, work.seed)

        async def write(row: Record) -> None:
            await rationalize(dict(row), images[row["image"]], team.rationalize, work.rewards)

        images = {record.id: record for record in work.stored.records}
        steps = _counted(counted, work.records, annotate)
        for step, line in _counted(counted, work.rows, write).items():
            steps[step] = {key: count + steps.get(step, {}).get(key, 0.0) for key, count in line.items()}
        total = {key: sum(line[key] for line in steps.values()) for key in KEYS}
        sizes = {"images": len(work.records), "rows": len(work.rows)}
        return sizes | {"steps": steps, "total": total, "spent": store.spent()}


def _counted(
    counted: Estimate, every: Sequence[T], annotate: Callable[[T], Coroutine[Any, Any, None]]
) -> dict[str, dict[str, float]]:
    """Walk through a sample; return the counts by step, scaled up to all."""

    async def walk() -> None:
        for one in sample:
            await annotate(one)

    sample, counted.lines = every[:: max(1, len(every) // SAMPLE)], {}
    asyncio.run(walk())
    scale = len(every) / max(1, len(sample))
    return {step: {key: line[key] * scale for key in KEYS} for step, line in counted.lines.items()}


def show(found: dict[str, Any]) -> str:
    """Format the estimate as a table."""
    head = f"{'step':<14}{'calls':>10}{'paid':>10}{'prompt tok.':>14}{'reply tok.':>14}{'cost':>12}"
    lines = [head]
    for step, line in [*found["steps"].items(), ("at most", found["total"])]:
        lines.append(
            f"{step:<14}{line['calls']:>10.0f}{line['paid']:>10.0f}{line['prompt_tokens']:>14.0f}"
            f"{line['completion_tokens']:>14.0f}{line['cost']:>12.2f}"
        )
    rows = f" and {found['rows']} given rows" if found["rows"] else ""
    return "\n".join([*lines, f"{found['images']} images{rows}; nothing was sent; {found['spent']:.2f} spent so far"])
