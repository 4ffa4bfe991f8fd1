"""How right answers are dressed, and how their cases are made."""

from collections.abc import Iterable, Iterator

from tests.rewards.adversarial import Case, wrap

COUNT = "How many circles are there?"
READING = "What is the value?"


def cases(
    rule: str, problem: str, gold: str, answers: Iterable[str], category: str = "FIB", family: str = "equivalent"
) -> Iterator[Case]:
    for answer in answers:
        yield Case(family, rule, wrap(answer), problem, gold, category)


def both_ways(rule: str, problem: str, gold: str, answers: list[str]) -> Iterator[Case]:
    yield from cases(rule, problem, gold, answers)
    for answer in answers:
        yield from cases(rule, problem, answer, [gold])


def dressed(answer: str) -> list[str]:
    """What surrounds an answer and is not part of it."""
    return [
        *(answer, f"{answer}.", f"**{answer}**", f"`{answer}`", f'"{answer}"', f"  {answer}\n", f"Answer: {answer}"),
        *(
            f"The answer is {answer}.",
            f"The correct answer is {answer}",
            f"Final answer: {answer}",
            f"The answer is: {answer}",
        ),
        *(f"**Answer:** {answer}", f"the final answer is {answer}.", f"*{answer}*", f"So the answer is {answer}."),
    ]
