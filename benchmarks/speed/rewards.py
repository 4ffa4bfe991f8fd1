"""CPU and wall time of rule-based rewards: mixed responses of the attack suite, and groups as in training.

    python -m benchmarks.speed.rewards            # the three mixes, before and after a change of the rules
    python -m benchmarks.speed.rewards --peer     # beside math-verify alone, as JSON (a row of `make bench`)

The first mix is 10,000 right, wrong and (1 %) hostile responses in every form of the attack suite. The second is
20,000 completions in groups of eight, 30 % of whose golds are expressions; groups repeat answers, as a policy's do: 3.5
of 8 are distinct on average. It is also printed for distinct answers only, and per million completions, which is a
multiplication. The CPU time includes the child processes that compare expressions and their start.
"""

import json
import logging
import random
import resource
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import replace

from tests.rewards.adversarial import TARGETS, Case, wrap
from tests.rewards.adversarial.equivalent import equivalent
from tests.rewards.adversarial.hostile import hostile
from wethink.config.rewards import Rewards
from wethink.data.schema import Scorable
from wethink.rewards.hybrid import Scorer
from wethink.rewards.rules.math_client import COMPARER

RESPONSES, HOSTILE, LIMIT = 10_000, 100, 20.0  # the limit in CPU seconds
GROUPS, GROUP, EXPRESSIONS = 2_500, 8, 0.3
MILLION = 1_000_000
BATCH = 256  # responses scored together, as in a step of GRPO
PEER_SHARE = 5  # every fifth group is scored beside math-verify alone
CONFIG = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=0.001, judge="lexical")


def mixed(seed: int = 0) -> list[Case]:
    rng = random.Random(seed)
    right = [case for case in equivalent() if case.category != "DES"]
    tricks = [case for case in hostile() if case.category != "DES"]
    rules = sorted({case.rule for case in right})
    by_rule = {rule: [case for case in right if case.rule == rule] for rule in rules}
    honest = [rng.choice(by_rule[rng.choice(rules)]) for _ in range(RESPONSES - HOSTILE)]
    wrong = [target for target in TARGETS if target.category != "DES"]
    for place in range(0, len(honest), 3):  # a third are wrong: another row's gold
        other = rng.choice(wrong)
        honest[place] = replace(honest[place], response=wrap(other.wrong))
    families = sorted({case.family for case in tricks})
    attacks = [rng.choice([c for c in tricks if c.family == families[n % len(families)]]) for n in range(HOSTILE)]
    cases = honest + attacks
    rng.shuffle(cases)
    return cases


def expression(rng: random.Random) -> tuple[str, list[str]]:
    """Draw an expression gold and its answers: the first two are right, in other forms."""
    a, b, c = rng.randint(2, 40), rng.randint(2, 40), rng.choice((2, 3, 5, 7, 11, 13))
    match rng.randrange(6):
        case 0:
            gold, right = f"x^2 + {a + b}x + {a * b}", [f"(x+{a})(x+{b})", f"{a * b} + {a + b}x + x^2"]
            wrong = [f"(x+{a})(x-{b})", f"x^2 + {a + b}x - {a * b}"]
        case 1:
            gold, right = rf"{a}\sqrt{{{c}}}", [rf"\sqrt{{{a * a * c}}}", f"{a}√{c}"]
            wrong = [rf"{a + 1}\sqrt{{{c}}}", rf"{a}\sqrt{{{c + 1}}}"]
        case 2:
            gold, right = rf"\frac{{{a}\pi}}{{{c}}}", [rf"{a}\pi/{c}", rf"\frac{{{a}}}{{{c}}}\pi"]
            wrong = [rf"\frac{{{c}\pi}}{{{a}}}", rf"{a}\pi"]
        case 3:
            gold, right = f"y = {a}x - {b}", [f"y = -{b} + {a}x", f"{a}x - y = {b}"]
            wrong = [f"y = {a}x + {b}", f"x = {a}y - {b}"]
        case 4:
            gold, right = rf"\frac{{x+{a}}}{{x-{b}}}", [f"(x+{a})/(x-{b})", rf"\frac{{{a}+x}}{{x-{b}}}"]
            wrong = [rf"\frac{{x-{a}}}{{x+{b}}}", rf"\frac{{x+{a}}}{{{b}-x}}"]
        case _:
            gold, right = rf"e^{{{a}x}} + {b}", [rf"{b} + \exp({a}x)", rf"{b}+e^{{{a}x}}"]
            wrong = [rf"e^{{{b}x}} + {a}", rf"e^{{{a}x}} - {b}"]
    return gold, [*right, *wrong, str(a)]


def groups(seed: int = 0) -> Iterator[Case]:
    rng = random.Random(seed)
    others = [case for case in equivalent() if case.category != "DES" and case.rule != "mathematics"]
    for number in range(GROUPS):
        if number < GROUPS * EXPRESSIONS:
            gold, answers = expression(rng)
            row = Case("training", "mathematics", "", "What is the value?", gold, "FIB")
            responses = [wrap(answer) for answer in answers]
        else:
            row = rng.choice(others)
            responses = [row.response, *(wrap(rng.choice(TARGETS).wrong) for _ in range(4))]
        weights = [rng.random() ** 2 + 0.02 for _ in responses]
        for response in rng.choices(responses, weights, k=GROUP):
            yield replace(row, response=response)


def measure(name: str, cases: Sequence[Case]) -> float:
    """Score cases, print what it cost, and return the CPU seconds."""
    start, clock, before = time.process_time(), time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    asked, timeouts = COMPARER.asked, COMPARER.timeouts
    outcomes: Counter[str] = Counter()
    scorer = Scorer(CONFIG)
    for first in range(0, len(cases), BATCH):
        rows: list[tuple[str, Scorable]] = [
            (
                case.response,
                {"problem": case.problem, "answer": case.gold, "category": case.category, "reward": case.reward},
            )
            for case in cases[first : first + BATCH]
        ]
        outcomes.update(scored.verdict.outcome for scored in scorer.score(rows))
    own, wall = time.process_time() - start, time.perf_counter() - clock
    asked, timeouts = COMPARER.asked - asked, COMPARER.timeouts - timeouts
    COMPARER.close()  # waits for the children, so that their time is counted
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime
    distinct = len({(case.response, case.gold, case.problem) for case in cases})
    print(f"{name}: {len(cases)} responses ({distinct} distinct): {dict(sorted(outcomes.items()))}")
    print(f"  processor time {own + child:.1f} s (rules {own:.1f}, math-verify for {asked} expressions {child:.1f})")
    print(f"  wall time {wall:.1f} s; {timeouts} comparisons ran into their deadline")
    times = MILLION / len(cases)
    print(f"  per million: processor {(own + child) * times:.0f} s, wall {wall * times:.0f} s")
    return own + child


def peer(cases: Sequence[Case]) -> float:
    """Return the CPU seconds of math-verify alone, as TRL's `accuracy_reward` calls it for each completion."""
    from math_verify import LatexExtractionConfig, parse, verify

    settings = [LatexExtractionConfig()]
    parse("$x$", extraction_config=settings)  # imports SymPy
    start = time.process_time()
    for case in cases:
        answer = case.response.rpartition("<answer>")[2].partition("</answer>")[0]
        gold, mine = (
            parse(f"${text}$", extraction_config=settings, parsing_timeout=None) for text in (case.gold, answer)
        )
        verify(gold, mine, timeout_seconds=None)
    return time.process_time() - start


def compare() -> None:
    """Print what the groups cost ours and math-verify, in CPU seconds, as one line of JSON."""
    training = [case for place, case in enumerate(groups()) if place // GROUP % PEER_SHARE == 0]
    with redirect_stdout(sys.stderr):
        ours = measure("groups of eight, 30 % expressions", training)
        logging.disable(logging.CRITICAL)  # math-verify warns of every call without a time limit
        theirs = peer(training)
    print(json.dumps({"ours": ours, "theirs": theirs, "completions": len(training)}))


def main() -> None:
    if sys.argv[1:] == ["--peer"]:
        return compare()
    spent = measure("attack suite's forms, 1 % hostile", mixed())
    training = list(groups())
    measure("groups of eight, 30 % expressions", training)
    measure("the same, each answer once", list(dict.fromkeys(groups(seed=1))))
    print(f"the first took {spent:.1f} of {LIMIT} s of processor time")
    raise SystemExit(spent > LIMIT)


if __name__ == "__main__":
    main()
