"""Vocabulary check: the share of a text's words that a model's tokenizer reads as unknown."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from wethink.common.progress import say
from wethink.models.policy import Processor

MOST_TEXTS = 2000  # evenly chosen, so that the check takes a second


@dataclass(frozen=True)
class Unknown:
    """Words that a vocabulary lacks: their share, the most frequent, and the share of answers that hold one."""

    share: float
    words: tuple[str, ...]
    answers: float


def unknown(processor: Processor, rows: Sequence[Mapping[str, Any]]) -> Unknown:
    """Count the unknown words of some rows' questions and answers; none for a tokenizer without unknown words."""
    sign = processor.tokenizer.unk_token_id
    chosen = rows[:: -(-len(rows) // MOST_TEXTS) or 1]
    if sign is None or not chosen:
        return Unknown(0.0, (), 0.0)
    counts = Counter(word for row in chosen for word in _words(f"{row['problem']} {row['answer']}"))
    known = {word: sign not in ids for word, ids in zip(counts, _tokens(processor, list(counts)), strict=True)}
    lacking = Counter({word: count for word, count in counts.items() if not known[word]})
    answers = sum(not all(known[word] for word in _words(row["answer"])) for row in chosen)
    share = lacking.total() / max(1, counts.total())
    return Unknown(share, tuple(word for word, _ in lacking.most_common(5)), answers / len(chosen))


def tell_unknown(processor: Processor, rows: Sequence[Mapping[str, Any]], stage: str) -> None:
    """Print a sentence if the vocabulary lacks words of the rows."""
    found = unknown(processor, rows)
    if found.words:
        examples = ", ".join(found.words)
        say(
            f"{stage}: this model's vocabulary lacks {found.share:.1%} of the words of the rows ({examples}), and "
            f"{found.answers:.1%} of the answers hold one; it reads them as unknown and cannot say them. Start "
            "from a model whose vocabulary is whole, or train base.model: tiny anew with these rows among its sources."
        )


def _words(text: str) -> list[str]:
    return re.findall(r"\w+|[^\w\s]+", text)


def _tokens(processor: Processor, texts: list[str]) -> list[list[int]]:
    return list(processor.tokenizer(texts, add_special_tokens=False)["input_ids"]) if texts else []
