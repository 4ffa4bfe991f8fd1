"""CPU time of rule-based rewards over 10,000 mixed responses, 1 % of them hostile.

    python -m benchmarks.speed.rewards

The responses are right answers in every form of the attack suite, wrong answers, and hostile ones of every family, in
a seeded order. The CPU time includes the child process that compares expressions and its start.
"""

import random
import resource
import time
from collections import Counter
from dataclasses import replace

from tests.rewards.adversarial import TARGETS, Case, wrap
from tests.rewards.adversarial.equivalent import equivalent
from tests.rewards.adversarial.hostile import hostile
from wethink.config.rewards import Rewards
from wethink.rewards.hybrid import score
from wethink.rewards.rules.math_client import COMPARER

RESPONSES, HOSTILE, LIMIT = 10_000, 100, 20.0  # the limit in CPU seconds
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


def main() -> None:
    cases = mixed()
    start, clock = time.process_time(), time.perf_counter()
    outcomes: Counter[str] = Counter()
    for case in cases:
        found = score(case.response, case.problem, case.gold, case.category, case.reward, CONFIG)
        outcomes[found.verdict.outcome] += 1
    own, wall = time.process_time() - start, time.perf_counter() - clock
    asked, timeouts = COMPARER.asked, COMPARER.timeouts
    COMPARER.close()  # waits for the child, so that its time is counted
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    child = used.ru_utime + used.ru_stime
    distinct = len({(case.response, case.gold) for case in cases})
    print(f"{len(cases)} responses ({distinct} distinct, {HOSTILE} hostile): {dict(sorted(outcomes.items()))}")
    print(f"processor time {own + child:.1f} s (rules {own:.1f}, comparing {asked} expressions {child:.1f}) of {LIMIT}")
    print(f"wall time {wall:.1f} s; {timeouts} comparisons ran into their deadline")
    raise SystemExit(own + child > LIMIT)


if __name__ == "__main__":
    main()
