"""Model judge of descriptive answers: a rubric with discrete tiers over a chat-completions endpoint.

The prompt holds the question, the gold and the extracted answer, never the thinking. Each is a JSON string between
tags, with `<` and invisible characters escaped, so that an answer cannot inject tags or hide text. A reply must be
exactly one verdict. The judge's responses are stored by request: equal requests are billed once.

A verdict is unknown only for faults that no response can cause: an endpoint that is down or busy. A misconfigured one
or an account without credit stops the run (wethink/clients). If the judge refuses an answer, gives no verdict or is cut
off, the answer is wrong.
"""

import asyncio
import json
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from statistics import median_low

from wethink.clients.chat import Chat, Unavailable
from wethink.clients.ordered import gather_all
from wethink.clients.request import Request
from wethink.clients.response_store import Answer, ResponseStore
from wethink.clients.thoughts import unwrapped
from wethink.common.errors import UserError
from wethink.common.jsonl import encodable
from wethink.config.launch import Endpoint, Launch
from wethink.config.rewards import Judge as JudgeConfig
from wethink.config.rewards import Rewards
from wethink.rewards.rules.normalize import UNSEEN
from wethink.rewards.verdict import Verdict, unknown, wrong

TIERS = {"incorrect": 0.0, "partial": 0.5, "correct": 1.0}
MAX_CHARS = 4000  # of an answer and of a gold
MAX_REPLY_CHARS = 200
FIRST_REPLIES = 32  # without a verdict among them the judge is of no use
ASSETS = ("rubric.txt",)
FINISHES = {
    "refusal": "the judge refuses",
    "length": "the judge's reply is cut off",
    "empty": "the judge's reply is empty",
    "overlong": "the judge's reply is too long",
}
SCHEMA = {
    "type": "object",
    "properties": {"tier": {"type": "string", "enum": list(TIERS)}},
    "required": ["tier"],
    "additionalProperties": False,
}

Asked = tuple[str, str, str]  # problem, gold, answer


def prompt(problem: str, gold: str, answer: str, swapped: bool = False) -> str:
    """Build the judge's user prompt.

    Args:
        swapped: put the candidate before the reference, to measure position bias.
    """
    parts = [("question", problem), ("reference", gold), ("candidate", answer)]
    if swapped:
        parts[1], parts[2] = parts[2], parts[1]
    return "\n".join(f"<{name}>{_quoted(text.strip())}</{name}>" for name, text in parts)


def _quoted(text: str) -> str:
    """Encode text as JSON with `<`, `>`, `&` and invisible characters escaped."""

    def safe(char: str) -> str:
        if char in "<>&" or unicodedata.category(char) in (*UNSEEN, "Zl", "Zp"):
            return json.dumps(char)[1:-1] if ord(char) > 0xFFFF else f"\\u{ord(char):04x}"
        return char

    return "".join(map(safe, json.dumps(encodable(text), ensure_ascii=False)))


def shown(text: str) -> str:
    """Extract the candidate from a text written by `prompt`."""
    inside = text.partition("<candidate>")[2].partition("</candidate>")[0]
    return str(json.loads(inside))


def read_reply(text: str) -> float | None:
    """Return the score of a judge's reply, or None if it is not exactly one verdict.

    >>> read_reply('{"tier": "partial"}'), read_reply('The verdict is {"tier": "correct"}')
    (0.5, None)
    """
    if len(text) > MAX_REPLY_CHARS:
        return None
    try:
        pairs = json.loads(text.strip(" \n\r\t"), object_pairs_hook=list)
    except (json.JSONDecodeError, RecursionError):
        return None
    match pairs:
        case [("tier", str(tier))] if text.lstrip(" \n\r\t").startswith("{"):
            return TIERS.get(tier)
    return None


class Judge:
    """Client of the judge's endpoint; it sends concurrently and caches verdicts.

    Close it after use.
    """

    def __init__(
        self, config: JudgeConfig, endpoints: Mapping[str, Endpoint], store: Path | str, processes: int = 1
    ) -> None:
        """Open the response store; the endpoint is connected at the first request.

        Args:
            store: file or URL of the response store.
            processes: number of processes that share the endpoint's concurrency.

        Raises:
            UserError: the judge's endpoint is not one of `endpoints`.
        """
        if config.endpoint not in endpoints:
            raise UserError(
                f"params.yaml, rewards.judge.endpoint: launch.endpoints has no '{config.endpoint}' "
                f"(it has: {', '.join(sorted(endpoints)) or 'none'})."
            )
        self._config = config
        self._endpoints = {config.endpoint: endpoints[config.endpoint]}
        self._store, self._processes = ResponseStore(store), processes
        self._system = Path(__file__).with_name(ASSETS[0]).read_text(encoding="utf-8").strip()
        self._runner, self._stack = asyncio.Runner(), AsyncExitStack()
        self._chat: Chat | None = None
        self._known: dict[tuple[Asked, bool], Verdict] = {}
        self.replies = self.unread = 0  # replies, with votes and stored ones; those that are no verdict

    def close(self) -> None:
        self._runner.run(self._stack.aclose())
        self._runner.close()
        self._store.__exit__()

    def ask(self, asked: Sequence[Asked], swapped: bool = False) -> list[Verdict]:
        """Return one verdict per question, in order; requests are concurrent.

        Raises:
            UserError: no request can succeed (no key, no credit, a wrong model, an endpoint that refuses everything or
                has been down for long), or none of the judge's first replies is a verdict.
        """
        todo = [one for one in dict.fromkeys(asked) if (one, swapped) not in self._known and _fault(one) is None]
        if todo:
            found = self._runner.run(self._all(todo, swapped))
            fresh = dict(zip(todo, found, strict=True))
            self._known |= {(one, swapped): verdict for one, verdict in fresh.items() if verdict.outcome != "unknown"}
        else:
            fresh = {}
        return [_fault(one) or fresh.get(one) or self._known[one, swapped] for one in asked]

    async def _all(self, asked: Sequence[Asked], swapped: bool) -> list[Verdict]:
        if self._chat is None:
            self._chat = await self._stack.enter_async_context(
                Chat(self._endpoints, self._store, share=self._processes)
            )
        return await gather_all(self._one(one, swapped) for one in asked)

    async def _one(self, asked: Asked, swapped: bool) -> Verdict:
        votes = await gather_all(self._vote(asked, swapped, sample) for sample in range(self._config.votes))
        missing = [vote for vote in votes if vote.outcome == "unknown"]
        if missing:
            return missing[0]
        middle = median_low([vote.score or 0.0 for vote in votes])
        return next(vote for vote in votes if vote.score == middle)

    async def _vote(self, asked: Asked, swapped: bool, sample: int) -> Verdict:
        assert self._chat is not None
        config = self._config
        request = Request(
            role="judge",
            endpoint=config.endpoint,
            model=config.model,
            revision=config.revision,
            system=self._system,
            user=prompt(*asked, swapped),
            picture=None,
            schema_name="Verdict",
            schema=SCHEMA,
            temperature=config.temperature,
            max_tokens=config.max_tokens,
            sample=sample,
        )
        try:
            answer = await self._chat.ask(request)
        except Unavailable as error:
            if error.retryable:
                return unknown(f"the judge is unavailable: {error.reason}")
            # Not the endpoint's fault, or the client would have stopped the run: this request's content is refused.
            self._count(read=False)
            return wrong(f"the judge's server refuses the answer: {error.reason}")
        self._count(answer.finish == "stop" and read_reply(unwrapped(answer.said)) is not None)
        return verdict_of(answer)

    def _count(self, read: bool) -> None:
        """Count a reply.

        Raises:
            UserError: none of the first replies was a verdict: that is no doing of the answers.
        """
        self.replies += 1
        self.unread += not read
        if self.unread == self.replies >= FIRST_REPLIES:
            raise UserError(
                f"none of the first {FIRST_REPLIES} replies of the judge '{self._config.model}' is a verdict; see "
                "`wethink calibrate`, and raise rewards.judge.max_tokens (now "
                f"{self._config.max_tokens}) for a model that thinks, or name another."
            )


def verdict_of(answer: Answer) -> Verdict:
    """Convert a judge's reply to a verdict; only a full score is `correct`."""
    if answer.finish != "stop":
        return wrong(FINISHES.get(answer.finish, answer.finish))
    score = read_reply(unwrapped(answer.said))
    if score is None:
        return wrong("the judge's reply is no verdict")
    return Verdict("correct" if score == 1 else "wrong", f"judge: {_tier(score)}", score)


def _tier(score: float) -> str:
    return next(name for name, value in TIERS.items() if value == score)


def _fault(asked: Asked) -> Verdict | None:
    """Return the verdict of a question that needs no judge, or None.

    A gold that is empty or too long is unknown; an answer that is empty or too long is wrong.
    """
    _, gold, answer = asked
    if not gold.strip() or len(gold) > MAX_CHARS:
        return unknown("gold is empty" if not gold.strip() else f"gold longer than {MAX_CHARS} characters")
    if len(answer) > MAX_CHARS:
        return wrong(f"answer longer than {MAX_CHARS} characters")
    return None if answer.strip() else wrong("empty answer")


@contextmanager
def judge_connection(rewards: Rewards, launch: Launch) -> Iterator[Judge | None]:
    """Connect the configured judge during the block; yield None for the lexical judge."""
    if rewards.judge == "lexical":
        yield None
        return
    judge = Judge(rewards.judge, launch.endpoints, launch.answers, launch.processes)
    try:
        yield judge
    finally:
        judge.close()
