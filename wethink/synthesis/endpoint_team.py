"""Annotator team of LLM endpoints: every step of the paper's synthesis pipeline as model calls.

A step is a prompt file, a role and a reply schema. A malformed reply gets one repair call, which is stored like any
other; a second malformed reply fails the step. Transport is left to `ask`, which may send the request, return the
stored response, or (for an estimate) make one up.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeVar

from wethink.clients.chat import Unavailable
from wethink.clients.request import Picture, Request
from wethink.clients.response_store import Answer
from wethink.common.jsonl import dumps
from wethink.config.synthesis import Role, Team
from wethink.data.drawn.questions import Question
from wethink.data.image_decoding import accept
from wethink.data.image_store import ImageSet
from wethink.rewards.rules.options import choose
from wethink.synthesis import reply_schemas
from wethink.synthesis.abilities import ABILITIES
from wethink.synthesis.constraints import FORMS, drafted, path_fault, pixel_fault
from wethink.synthesis.import_rows import neutral
from wethink.synthesis.prompts import Verbatim, load
from wethink.synthesis.reply_schemas import Malformed, Reply
from wethink.synthesis.team import Draft, ImageRef, Reasoned, Refined, StepFailed, Trace, Turn

Ask = Callable[[Request], Awaitable[Answer]]
R = TypeVar("R", bound=Reply)
NO_PATH = "none"  # the reply of a model that finds no path to a given answer
SORTER_TOKENS = 128  # of the names of all kinds, and some
UNUSABLE = {"refusal": "refused", "overlong": "overlong reply", "empty": "empty reply"}
_MAGIC = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"RIFF": "image/webp"}


class EndpointTeam:
    """A `Team` (`wethink.synthesis.team`) of models behind endpoints."""

    def __init__(self, images: ImageSet, config: Team, min_abilities: int, ask: Ask) -> None:
        self._images, self._config, self._least, self._ask = images, config, min_abilities, ask
        self._roles: dict[str, Role] = {
            "vision": config.vision,
            "reasoner": config.reasoner,
            "adjudicator": config.adjudicator,
            "sorter": config.vision.model_copy(update={"max_tokens": min(SORTER_TOKENS, config.vision.max_tokens)}),
            "guesser": config.reasoner.model_copy(update={"temperature": config.blind.temperature}),
        }
        self.provenance: dict[str, Any] = {"annotator": "endpoints"}
        self.blind_tries, self.blind_limit = config.blind.tries, config.blind.limit

    async def screen(self, subject: ImageRef, trace: Trace) -> str | None:
        """Look at the pixels, and then ask for the kinds of questions that the image bears: one call, a short reply."""
        if fault := await asyncio.to_thread(lambda: pixel_fault(self._images.open(subject.image))):
            return fault
        known = {"abilities": {name: ability.meaning for name, ability in ABILITIES.items()}}
        found = await self._step("classify", "sorter", reply_schemas.Kinds, trace, known, self._picture(subject))
        named = [kind for kind in found.kinds if kind.strip().casefold() not in ("", "none")]
        return None if named else "bears no question"

    async def describe(self, subject: ImageRef, trace: Trace) -> str:
        found = await self._step("describe", "vision", reply_schemas.Described, trace, {}, self._picture(subject))
        return neutral(found.description).strip()

    async def mine(self, subject: ImageRef, coarse: str, trace: Trace) -> tuple[list[Turn], str]:
        """Mine details until the reasoner finds nothing missing; merge them.

        Without any turn the coarse description is returned.
        """
        turns: list[Turn] = []
        for _ in range(self._config.turns):
            most = self._config.questions_per_turn
            known = {"description": coarse, "turns": [turn.__dict__ for turn in turns], "most": most}
            wanted = await self._step("mine", "reasoner", reply_schemas.Missing, trace, known)
            questions = [neutral(question).strip() for question in wanted.questions if question.strip()][:most]
            if not questions:
                break
            asked = {"questions": questions}
            details = await self._step("detail", "vision", reply_schemas.Details, trace, asked, self._picture(subject))
            if len(details.answers) != len(questions):
                raise StepFailed("detail", "another number of answers than of questions", retryable=False)
            turns += [
                Turn(question, neutral(a).strip()) for question, a in zip(questions, details.answers, strict=True)
            ]
        if not turns:
            return [], coarse
        known = {"description": coarse, "turns": [turn.__dict__ for turn in turns]}
        merged = await self._step("merge", "vision", reply_schemas.Described, trace, known, self._picture(subject))
        return turns, neutral(merged.description).strip()

    async def write(self, subject: ImageRef, description: str, count: int, trace: Trace) -> list[Draft]:
        constraints = {
            "description": description,
            "count": count,
            "abilities": {name: ability.meaning for name, ability in ABILITIES.items()},
            "least": self._least,
            "steps": self._config.min_steps,
            "categories": list(self._config.categories),
            "options": self._config.options,
        }
        written = await self._step("write", "reasoner", reply_schemas.Questions, trace, constraints)
        return [drafted(one, self._config, self._least) for one in written.questions[:count]]

    async def objection(self, subject: ImageRef, question: Question, trace: Trace) -> str | None:
        asked, picture = {"problem": question.problem}, self._picture(subject)
        found = await self._step("filter", "vision", reply_schemas.Checked, trace, asked, picture)
        if not found.answerable:
            return "cannot be answered from the image"
        return None if found.unambiguous else "ambiguous"

    async def reason(self, subject: ImageRef, description: str, question: Question, trace: Trace) -> Reasoned:
        asked = {"description": description, **_asked(question)}
        found = await self._step("reason", "reasoner", reply_schemas.Reasoned, trace, asked)
        return Reasoned(_plain(found.answer, question), neutral(found.reasoning))

    async def look(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        picture = self._picture(subject)
        found = await self._step("look", "vision", reply_schemas.Answered, trace, _asked(question), picture)
        return _plain(found.answer, question)

    async def adjudicate(self, subject: ImageRef, question: Question, trace: Trace) -> str:
        picture = self._picture(subject)
        found = await self._step("adjudicate", "adjudicator", reply_schemas.Reasoned, trace, _asked(question), picture)
        return _plain(found.answer, question)

    async def blind(self, subject: ImageRef, question: Question, sample: int, trace: Trace) -> str:
        found = await self._step("blind", "guesser", reply_schemas.Answered, trace, _asked(question), sample=sample)
        return _plain(found.answer, question)

    async def refine(
        self, subject: ImageRef, question: Question, answer: str, reasoning: str, trace: Trace
    ) -> tuple[Refined, str | None]:
        """Write a path and conclude its answer from the path alone.

        A path at fault gets no conclusion.
        """
        asked = {"problem": question.problem, "answer": answer, "reasoning": reasoning}
        rewritten = await self._step("refine", "vision", reply_schemas.Path, trace, asked, self._picture(subject))
        return await self._concluded(neutral(rewritten.path).strip(), question, trace)

    async def rationalize(
        self, subject: ImageRef, question: Question, answer: str, trace: Trace
    ) -> tuple[Refined, str | None]:
        """Write a path to a given answer (rationalization, https://arxiv.org/abs/2203.14465) and conclude as `refine`.

        A vision model that finds none says so.
        """
        asked = {"problem": question.problem, "answer": answer}
        written = await self._step("rationalize", "vision", reply_schemas.Path, trace, asked, self._picture(subject))
        path = neutral(written.path).strip()
        if path.rstrip(".").casefold() == NO_PATH:
            return Refined("", ""), "the model finds no path from the image to the answer"
        return await self._concluded(path, question, trace)

    async def _concluded(self, path: str, question: Question, trace: Trace) -> tuple[Refined, str | None]:
        if fault := path_fault(path, question.problem, self._config.max_path_chars):
            return Refined(path, ""), fault
        read = {"path": path, **_asked(question)}
        found = await self._step("conclude", "reasoner", reply_schemas.Answered, trace, read)
        return Refined(path, _plain(found.answer, question)), None

    async def _step(
        self,
        step: str,
        role: str,
        form: type[R],
        trace: Trace,
        values: Mapping[str, object],
        picture: Picture | None = None,
        sample: int = 0,
    ) -> R:
        """Send a step's request, parse the reply and repair it once.

        Raises:
            StepFailed: the call failed, was refused, or brought a malformed reply twice.
        """
        answer = await self._call(step, step, role, form, trace, values, picture, sample)
        try:
            return reply_schemas.parse(answer.text, form)
        except Malformed as fault:
            asked = {"reply": answer.said, "fault": str(fault), "schema": Verbatim(dumps(reply_schemas.schema(form)))}
        mended = await self._call(step, "repair", role, form, trace, asked, None, 0)
        try:
            return reply_schemas.parse(mended.text, form)
        except Malformed:
            raise StepFailed(step, "malformed reply twice", retryable=False) from None

    async def _call(
        self,
        step: str,
        prompt: str,
        role: str,
        form: type[Reply],
        trace: Trace,
        values: Mapping[str, object],
        picture: Picture | None,
        sample: int,
    ) -> Answer:
        asked, file = self._roles[role], load(prompt)
        system, user = file.render(**values)
        request = Request(
            role=step if prompt == step else f"{step}, repair",
            endpoint=asked.endpoint,
            model=asked.model,
            revision=asked.revision,
            system=system,
            user=user,
            picture=picture,
            schema_name=form.__name__,
            schema=reply_schemas.schema(form),
            temperature=asked.temperature,
            max_tokens=asked.max_tokens,
            sample=sample,
        )
        try:
            answer = await self._ask(request)
        except Unavailable as fault:
            raise StepFailed(step, fault.reason, fault.retryable) from None
        model = f"{asked.model}@{asked.revision}" if asked.revision else asked.model
        trace.note(request.role, model, file.hash, request.key)
        if answer.finish in UNUSABLE:
            raise StepFailed(step, UNUSABLE[answer.finish], retryable=False)
        if answer.finish == "length" and not answer.said:
            raise StepFailed(step, "cut off while thinking", retryable=False)
        return answer

    def _picture(self, subject: ImageRef) -> Picture:
        """Return the stored image, scaled down to the endpoints' pixel budget."""
        image, budget = subject.image, self._config.max_pixels
        if subject.pixels <= budget:
            return Picture(image, lambda: _typed(self._images.bytes(image)), subject.pixels)
        return Picture(f"{image}@{budget}", lambda: _typed(accept(self._images.bytes(image), budget).data), budget)


def _asked(question: Question) -> dict[str, object]:
    return {"problem": question.problem, "form": Verbatim(FORMS[question.category])}


def _plain(answer: str, question: Question) -> str:
    """Return an answer as in a row: for multiple choice, the letter."""
    answer = neutral(answer).strip()
    return (choose(answer, question.problem) or answer) if question.category == "MC" else answer


def _typed(data: bytes) -> tuple[bytes, str]:
    return data, next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "image/png")
