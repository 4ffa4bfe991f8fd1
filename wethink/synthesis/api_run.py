"""Annotation of images through LLM endpoints, with stored responses.

Stored responses are reused; only misses are sent and billed. The same pipeline serves three purposes: the stage (it
assembles rows), `--fill i/n` (it fills the store for one part of the images and discards the rows, so that parts can
run concurrently), and `--dry-run` (`dry_run.py`: it counts calls with made-up responses). Each of them also writes the
paths of given rows (`paths.py`).
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from wethink.clients.chat import Chat, require_keys
from wethink.clients.ordered import ordered_map
from wethink.clients.response_store import ResponseStore
from wethink.common.errors import TRY_AGAIN_LATER, UserError
from wethink.common.jsonl import Record, write_json
from wethink.common.paths import WORK
from wethink.common.progress import track
from wethink.config.launch import Endpoint, Launch
from wethink.config.rewards import Rewards
from wethink.config.synthesis import Role, Synthesize, Team
from wethink.data.image_store import ImageRecord, ImageSet
from wethink.synthesis.endpoint_team import EndpointTeam
from wethink.synthesis.paths import path_figures, rationalize
from wethink.synthesis.pipeline import Annotated, annotate_image

WINDOW = 4  # images in progress per allowed concurrent call, so that a slow image does not stall the others
LEDGER = WORK / "runs" / "synthesize.ledger.json"  # costs; not an output, because it contains times
Take = Callable[[ImageRecord, Annotated], None]
T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class AnnotationJob:
    """The images to annotate, the given rows that get a path, and the configuration."""

    stored: ImageSet
    records: Sequence[ImageRecord]
    config: Synthesize
    rewards: Rewards
    seed: int
    launch: Launch
    processes: int = 1  # that divide the endpoints' concurrency
    rows: Sequence[Record] = ()

    def team(self) -> Team:
        """Return the team's configuration.

        Raises:
            UserError: the annotator uses no endpoints, or a role's endpoint is not one of launch.endpoints.
        """
        team = self.config.team
        if (self.config.annotator != "endpoints" and not self.config.write_paths) or team is None:
            raise UserError(
                f"params.yaml, synthesize.annotator is '{self.config.annotator}', which asks no models; "
                "set it to 'endpoints', or synthesize.write_paths to true for paths of given rows only."
            )
        for name, role in self._roles(team).items():
            if role.endpoint not in self.launch.endpoints:
                known = ", ".join(sorted(self.launch.endpoints))
                raise UserError(
                    f"params.yaml, synthesize.team.{name}.endpoint: launch.endpoints has no '{role.endpoint}' "
                    f"(it has: {known or 'none'})."
                )
        return team

    def endpoints(self) -> dict[str, Endpoint]:
        """Return the endpoints that the job uses."""
        return {role.endpoint: self.launch.endpoints[role.endpoint] for role in self._roles(self.team()).values()}

    def _roles(self, team: Team) -> dict[str, Role]:
        """Return the roles that are asked; paths alone need no adjudicator."""
        roles = {"vision": team.vision, "reasoner": team.reasoner, "adjudicator": team.adjudicator}
        return roles if self.records or not self.rows else {name: roles[name] for name in ("vision", "reasoner")}

    def part(self, number: int, parts: int) -> "AnnotationJob":
        """Return part `number` (from 1) of `parts`: consecutive images share shards."""

        def cut(every: Sequence[T]) -> Sequence[T]:
            first, last = (len(every) * edge // parts for edge in (number - 1, number))
            return every[first:last]

        processes = min(parts, self.launch.fill_parallel)
        return replace(self, records=cut(self.records), rows=cut(self.rows), processes=processes)


def annotate_all(work: AnnotationJob, take: Take) -> None:
    """Annotate every image and pass the results to `take`, in order.

    Responses are stored, so a later run continues.

    Raises:
        UserError: an endpoint cannot be used, the budget is spent, or retryable calls failed for a larger share of
            the images than `max_failed` (exit code TRY_AGAIN_LATER), or no image was annotated.
    """
    reasons = Counter[str]()  # why images have no candidate that was judged

    async def annotate(record: ImageRecord, team: EndpointTeam) -> Annotated:
        return await annotate_image(record, team, work.config, work.rewards, work.seed)

    def taken(record: ImageRecord, found: Annotated) -> bool:
        take(record, found)
        if all(candidate.get("retryable") is False for candidate in found.candidates):
            reasons[next((str(candidate["reason"]) for candidate in found.candidates), "")] += 1
        return any(candidate.get("retryable") for candidate in found.candidates)

    asyncio.run(_buy(work, work.records, "images", annotate, taken))
    _refuse_none(reasons, len(work.records), "images was annotated")


def write_paths(work: AnnotationJob) -> Record:
    """Write a reasoning path to the answer of every row of the job, in place.

    The answer is never changed; a row without a usable path keeps none, and `decisions.path` names the reason.

    Returns:
        The counts: `asked`, `written`, and `rejected` and `failed` by reason.

    Raises:
        UserError: as `annotate_all`, for rows.
    """
    records = {record.id: record for record in work.stored.records}

    async def annotate(row: Record, team: EndpointTeam) -> bool:
        return await rationalize(row, records[row["image"]], team.rationalize, work.rewards)

    asyncio.run(_buy(work, work.rows, "rows", annotate, lambda _, retryable: retryable))
    figures = path_figures(work.rows)
    if not figures["written"]:
        reasons = Counter[str](figures["rejected"]) + Counter(figures["failed"])
        _refuse_none(reasons, len(work.rows), "rows got a reasoning path")
    return figures


def _refuse_none(reasons: Counter[str], count: int, what: str) -> None:
    if count and reasons.total() == count:
        [(reason, most)] = reasons.most_common(1)
        raise UserError(
            f"none of the {count} {what}, most often because of '{reason}' ({most}); nothing is "
            "published. Correct the model or its settings in synthesize.team; replies to the same requests are stored, "
            "so another store in launch.answers asks for them again."
        )


async def _buy(
    work: AnnotationJob,
    items: Sequence[T],
    what: str,
    annotate: Callable[[T, EndpointTeam], Coroutine[Any, Any, R]],
    take: Callable[[T, R], bool],
) -> None:
    """Annotate every item; `take` returns whether a call about it failed for a reason that passes.

    Raises:
        UserError: these are more than `max_failed` allows.
    """
    models, endpoints, config = work.team(), work.endpoints(), work.config
    require_keys(endpoints)
    calls = sum(max(1, endpoint.concurrency // work.processes) for endpoint in endpoints.values())
    shaky = 0
    with ResponseStore(work.launch.answers) as store:
        async with Chat(endpoints, store, config.max_cost, work.processes) as chat:
            team = EndpointTeam(work.stored, models, config.min_abilities, chat.ask)

            async def annotated(item: T) -> tuple[T, R]:
                return item, await annotate(item, team)

            def job(item: T) -> Callable[[], Coroutine[Any, Any, tuple[T, R]]]:
                return lambda: annotated(item)

            try:
                async with aclosing(ordered_map(map(job, items), WINDOW * calls)) as results:
                    with track(items, "synthesize") as bar:
                        async for item, found in results:
                            shaky += take(item, found)
                            bar.set_postfix(bought=chat.bought, cost=f"{chat.cost:.2f}", refresh=False)
                            bar.update()
            finally:
                bill = {"calls": store.ledger(), "cost": store.spent(), "bought_twice": store.duplicate_charges()}
                write_json(LEDGER, bill)
    if shaky > config.max_failed * len(items):
        raise UserError(
            f"{shaky} of {len(items)} {what} have a call that failed for a passing reason, which is more than "
            f"synthesize.max_failed ({config.max_failed:g}); responses so far are stored, start again for the rest.",
            exit_code=TRY_AGAIN_LATER,
        )
