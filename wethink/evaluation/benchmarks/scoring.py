"""Benchmark prompts and scoring, one scorer per family, without a judge model.

The prompts are VLMEvalKit's (its datasets' own, `use_custom_prompt=False`). A verdict is correct, wrong or unknown;
unknown is for faults that do not depend on the response: a failed call, an image that cannot be read, no gold.
"""

import ast
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from wethink.common.errors import UserError
from wethink.config.response_format import ResponseFormat
from wethink.config.rewards import Rewards
from wethink.data.benchmark_table import Item
from wethink.evaluation.benchmarks.answer_extraction import FAILURE, Protocol, answer_text, option, stated, yes_no
from wethink.evaluation.benchmarks.registry import Benchmark, Family
from wethink.evaluation.benchmarks.short_answers import SCORES, gold_list, mmmu_open, vqa_score
from wethink.rewards import format, hybrid
from wethink.rewards.verdict import Verdict, correct, graded, unknown, wrong

HANDWRITTEN_MATHS = "Handwritten Mathematical Expression Recognition"
TOLERANCE = 0.001  # relative, for numbers that our rules compare
OWN = Rewards(accuracy_weight=0.7, format_weight=0.3, tolerance=TOLERANCE, judge="lexical")


@dataclass(frozen=True)
class Given:
    """How a model was asked: leniently read if it was taught no format, and the format that it was taught."""

    lenient: bool
    form: ResponseFormat


@dataclass(frozen=True)
class Judged:
    """A response's verdict and the part of it that was judged."""

    extracted: str
    verdict: Verdict


def prompt(item: Item, benchmark: Benchmark) -> list[str | int]:
    """Build the user's turn as pieces: text, or the number of an image (from 0).

    Images come first, unless the benchmark places them in its text as `<image k>`.
    """
    text = _choice_prompt(item) if benchmark.family == "choice" else item.get("question") + benchmark.suffix
    if benchmark.interleave and "<image " in text:
        pieces: list[str | int] = []
        for piece in re.split(r"(<image \d+>)", text):
            place = re.fullmatch(r"<image (\d+)>", piece)
            pieces += [int(place.group(1)) - 1] if place else [piece] if piece else []
        return pieces
    return [*range(item.pictures), text]


def _choice_prompt(item: Item) -> str:
    options = item.options()
    hint = f"Hint: {item.get('hint')}\n" if item.get("hint") else ""
    listed = "".join(f"{letter}. {text}\n" for letter, text in options.items())
    closing = f"Options:\n{listed}Please select the correct answer from the options above. \n" if options else ""
    return f"{hint}Question: {item.get('question')}\n{closing}"


def score(
    item: Item,
    response: str,
    benchmark: Benchmark,
    protocol: Protocol,
    lenient: bool = False,
    form: ResponseFormat = format.DEFAULT,
) -> Judged:
    """Judge one response to an item.

    `form` is the response format that the model was taught. `lenient` is for models that were taught none; only the
    own suite reads it.

    Raises:
        UserError: the benchmark's items need VLMEvalKit.
    """
    if protocol.failed_unknown and FAILURE in response:
        return Judged("", unknown("failed call"))
    if benchmark.family not in SCORERS:
        raise UserError(f"{benchmark.name} is not scored natively: it needs {benchmark.missing} (docs/benchmarks.md).")
    given = Given(lenient, form)
    return SCORERS[benchmark.family](item, response, benchmark, protocol, given)


def _choice(item: Item, response: str, benchmark: Benchmark, protocol: Protocol, given: Given) -> Judged:
    options, gold = item.options(protocol.keep_none), item.get("answer").strip()
    answer = answer_text(response, protocol, given.form)
    listed = item.options()
    if benchmark.interleave and not protocol.open_by_rule:
        options, gold = opened(options, gold)
        listed |= options
    if not options and protocol.open_by_rule:
        return _mmmu_open(answer, gold) if benchmark.interleave else _open(item, response, benchmark, protocol, given)
    if not gold:
        return Judged("", unknown("the table has no answer"))
    if protocol.gold_needed and gold not in listed:
        return Judged("", unknown("the gold names no option"))
    found = option(answer, options, protocol)
    if found.value is None:
        return Judged("", wrong(f"names no option ({found.how})"))
    if found.value == gold:
        return Judged(found.value, correct(f"option by {found.how}"))
    return Judged(found.value, wrong(f"option {found.value} instead of {gold}, by {found.how}"))


def opened(options: dict[str, str], gold: str) -> tuple[dict[str, str], str]:
    """Turn an open question of MMMU into a choice, as VLMEvalKit does.

    A question is open if its option A is empty, also if only pandas reads it as empty.
    """
    if "A" in options:
        return options, gold
    return {"A": gold, "B": "Other Answers"} | {k: v for k, v in options.items() if k != "B"}, (
        gold if re.fullmatch("[A-Z]", gold) else "A"
    )


def _mmmu_open(answer: str, gold: str) -> Judged:
    golds = [text for text in gold_list(gold) if text.strip()]
    if not golds:
        return Judged("", unknown("the table has no answer"))
    hit = mmmu_open(answer, golds)
    return Judged(answer[:200], correct("MMMU reads the gold") if hit else wrong("MMMU reads no gold"))


def _open(item: Item, response: str, benchmark: Benchmark, protocol: Protocol, given: Given) -> Judged:
    """Check a free answer by the reward's rules; a list of golds is read as a row's alternatives."""
    answer, golds = answer_text(response, protocol, given.form), gold_list(item.get("answer"))
    said = stated(answer) if protocol.free_form else None
    answer = answer if said is None else said
    golds = [gold for gold in golds if gold.strip()]
    if not golds:
        return Judged("", unknown("the table has no answer"))
    return Judged(answer[:200], open_verdict(answer, item.get("question"), golds))


def open_verdict(answer: str, question: str, golds: Sequence[str]) -> Verdict:
    """Check an answer to an open question against a list of golds, as a row's alternatives are."""
    row = {"problem": question, "answer": golds[0], "category": "FIB", "reward": "rule", "alternatives": golds}
    return hybrid.check_row(answer, row, TOLERANCE)


def _short(item: Item, response: str, benchmark: Benchmark, protocol: Protocol, given: Given) -> Judged:
    """Score a short answer against its golds: VQA score, relaxed accuracy, ANLS or exact match."""
    answer, golds = answer_text(response, protocol, given.form), gold_list(item.get("answer"))
    said = stated(answer) if protocol.free_form else None
    answer = answer if said is None else said
    if not any(gold.strip() for gold in golds):
        return Judged("", unknown("the table has no answer"))
    if benchmark.family == "vqa":
        value = vqa_score(answer, golds, protocol.few_golds)
    else:
        value = SCORES[benchmark.family](answer, golds)
    return Judged(answer[:200], graded(value, f"{benchmark.family} {value:.2f}"))


_SPELLINGS = {"yes": "Yes", "true": "Yes", "y": "Yes", "是": "Yes", "对": "Yes"} | {
    word: "No" for word in ("no", "false", "n", "否", "不是", "错")
}


def _yes_no_gold(item: Item, benchmark: Benchmark, folding: bool) -> str:
    gold = item.get("answer").strip()
    folded = unicodedata.normalize("NFKC", gold).casefold()
    if folding:
        return _SPELLINGS.get(folded, gold)
    return folded.capitalize() if benchmark.rating == "amber" else gold  # VLMEvalKit folds case for AMBER only


def gold_of(item: Item, benchmark: Benchmark) -> str:
    """Return an item's gold as the figures compare it."""
    return _yes_no_gold(item, benchmark, True) if benchmark.family == "yes_no" else item.get("answer").strip()


def _yes_no(item: Item, response: str, benchmark: Benchmark, protocol: Protocol, given: Given) -> Judged:
    found = yes_no(answer_text(response, protocol, given.form), protocol)
    gold = _yes_no_gold(item, benchmark, protocol.gold_spelling)
    if gold not in ("Yes", "No"):
        return Judged("", unknown("the table's answer is neither Yes nor No"))
    if found.value is None:
        return Judged("", wrong(f"names neither yes nor no ({found.how})"))
    return Judged(found.value, correct("same word") if found.value == gold else wrong(f"{found.value}, not {gold}"))


def _ocr(item: Item, response: str, benchmark: Benchmark, protocol: Protocol, given: Given) -> Judged:
    """Score OCRBench: correct if any gold is part of the answer.

    Case is ignored; in handwritten mathematics, blanks are instead.
    """
    try:
        golds = [str(gold) for gold in ast.literal_eval(item.get("answer"))]
    except (ValueError, SyntaxError, TypeError):
        return Judged("", unknown("the table's answer is no list"))
    maths = item.get("category") == HANDWRITTEN_MATHS

    def plain(text: str) -> str:
        text = text.strip().replace("\n", " ")
        return text.replace(" ", "") if maths else text.lower()

    answer = answer_text(response, protocol, given.form)
    wanted = [plain(gold) for gold in golds]
    if protocol.gold_needed:
        wanted = [gold for gold in wanted if gold]
        if not wanted:
            return Judged("", unknown("the table's answer is empty"))
    hit = any(gold in plain(answer) for gold in wanted)
    return Judged(answer[:200], correct("contains the answer") if hit else wrong("does not contain the answer"))


def _own(item: Item, response: str, benchmark: Benchmark, protocol: Protocol, given: Given) -> Judged:
    """Score by the pipeline's own rules and judge, in the response format or leniently."""
    names = {"problem": "question"} | {name: name for name in ("answer", "category", "reward")}
    row: dict[str, Any] = {name: item.get(column) for name, column in names.items()}
    row["alternatives"] = json.loads(item.get("alternatives") or "[]")
    if given.lenient:
        said = format.lenient(response, given.form)
        return Judged(said[:200], hybrid.check_row(said, row, TOLERANCE))
    parsed, rewards = format.parse(response, given.form), OWN.model_copy(update={"format": given.form})
    return Judged(parsed.answer[:200], hybrid.score_row(response, row, rewards).verdict)


GRADED = frozenset(("vqa", "anls"))  # families whose records have a score between right and wrong

SCORERS: dict[Family, Callable[[Item, str, Benchmark, Protocol, Given], Judged]] = {
    "choice": _choice,
    "yes_no": _yes_no,
    "ocr": _ocr,
    "vqa": _short,
    "relaxed": _short,
    "anls": _short,
    "exact": _short,
    "open": _open,
    "own": _own,
}
