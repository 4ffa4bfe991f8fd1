"""Annotation of images through LLM endpoints, with stored responses.

Stored responses are reused; only misses are sent and billed. The same pipeline serves three purposes: the stage (it
assembles rows), `--fill i/n` (it fills the store for one part of the images and discards the rows, so that parts can
run concurrently), and `--dry-run` (`dry_run.py`: it counts calls with made-up responses).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from wethink.clients.chat import Chat, require_keys
from wethink.clients.ordered import ordered_map
from wethink.clients.response_store import ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.jsonl import write_json
from wethink.common.paths import WORK
from wethink.common.progress import track
from wethink.config.launch import Endpoint, Launch
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Synthesize, Team
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.synthesis.endpoint_team import EndpointTeam
from wethink.synthesis.pipeline import Annotated, annotate_image

WINDOW = 4  # images in progress per allowed concurrent call, so that a slow image does not stall the others
LEDGER = WORK / "runs" / "synthesize.ledger.json"  # costs; not an output, because it contains times
Take = Callable[[ImageRecord, Annotated], None]


@dataclass(frozen=True)
class AnnotationJob:
    """The images to annotate and the configuration."""

    stored: ImageSet
    records: Sequence[ImageRecord]
    config: Synthesize
    rewards: Rewards
    seed: int
    launch: Launch
    processes: int = 1  # that divide the endpoints' concurrency

    def team(self) -> Team:
        """Return the team's configuration.

        Raises:
            UserError: the annotator uses no endpoints, or a role's endpoint is not one of launch.endpoints.
        """
        if self.config.annotator != "endpoints" or self.config.team is None:
            raise UserError(
                f"params.yaml, synthesize.annotator is '{self.config.annotator}', which asks no models; "
                "set it to 'endpoints'."
            )
        for name in ("vision", "reasoner", "adjudicator"):
            endpoint, known = getattr(self.config.team, name).endpoint, ", ".join(sorted(self.launch.endpoints))
            if endpoint not in self.launch.endpoints:
                raise UserError(
                    f"params.yaml, synthesize.team.{name}.endpoint: launch.endpoints has no '{endpoint}' "
                    f"(it has: {known or 'none'})."
                )
        return self.config.team

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints that the team uses."""
        team = self.team()
        return {
            role.endpoint: self.launch.endpoints[role.endpoint]
            for role in (team.vision, team.reasoner, team.adjudicator)
        }

    def part(self, number: int, parts: int) -> "AnnotationJob":
        """Return part `number` (from 1) of `parts`: consecutive images share shards."""
        first, last = (len(self.records) * edge // parts for edge in (number - 1, number))
        return replace(self, records=self.records[first:last], processes=min(parts, self.launch.fill_parallel))


def annotate_all(work: AnnotationJob, take: Take) -> None:
    """Annotate every image and pass the results to `take`, in order.

    Responses are stored, so a later run continues.

    Raises:
        UserError: an endpoint cannot be used, the budget is spent, or retryable calls failed for a larger share of
            the images than `max_failed` (exit code TRY_AGAIN_LATER), or no image was annotated.
    """
    reasons = Counter[str]()  # why images have no candidate that was judged

    def taken(record: ImageRecord, found: Annotated) -> None:
        take(record, found)
        if all(candidate.get("retryable") is False for candidate in found.candidates):
            reasons[next((str(candidate["reason"]) for candidate in found.candidates), "")] += 1

    shaky, images, allowed = asyncio.run(_buy(work, taken)), len(work.records), work.config.max_failed
    if shaky > allowed * images:
        raise UserError(
            f"{shaky} of {images} images have a call that failed for a passing reason, which is more than "
            f"synthesize.max_failed ({allowed:g}); responses so far are stored, start again for the rest.",
            exit_code=TRY_AGAIN_LATER,
        )
    if reasons.total() == images:
        [(reason, count)] = reasons.most_common(1)
        raise UserError(
            f"none of the {images} images was annotated, most often because of '{reason}' ({count}); nothing is "
            "published. Correct the model or its settings in synthesize.team; replies to the same requests are stored, "
            "so another file in launch.answers asks for them again."
        )


async def _buy(work: AnnotationJob, take: Take) -> int:
    """Annotate every image and return the number of images with a retryable failure."""
    models, endpoints, config = work.team(), work.endpoints(), work.config
    require_keys(endpoints)
    calls = sum(max(1, endpoint.concurrency // work.processes) for endpoint in endpoints.values())
    shaky = 0
    with ResponseStore(Path(work.launch.answers)) as store:
        async with Chat(endpoints, store, config.max_cost, work.processes) as chat:
            team = EndpointTeam(work.stored, models, config.min_abilities, chat.ask)

            async def annotated(record: ImageRecord) -> tuple[ImageRecord, Annotated]:
                return record, await annotate_image(record, team, config, work.rewards, work.seed)

            def job(record: ImageRecord) -> Callable[[], Coroutine[Any, Any, tuple[ImageRecord, Annotated]]]:
                return lambda: annotated(record)

            try:
                async with aclosing(ordered_map(map(job, work.records), WINDOW * calls)) as results:
                    with track(work.records, "synthesize") as bar:
                        async for record, found in results:
                            take(record, found)
                            shaky += any(candidate.get("retryable") for candidate in found.candidates)
                            bar.set_postfix(bought=chat.bought, cost=f"{chat.cost:.2f}", refresh=False)
                            bar.update()
            finally:
                bill = {"calls": store.ledger(), "cost": store.spent(), "bought_twice": store.duplicate_charges()}
                write_json(LEDGER, bill)
    return shaky
