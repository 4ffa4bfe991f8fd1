"""Response formats (`rewards.format`): how a policy writes thought and answer, and how both are read.

Everything that writes, asks for or reads responses does so through this module: SFT targets, rewards, evaluation,
benchmarks, exports and the system prompt. The grammars are in grammars.py.
"""

import json
import re

from wethink.common.errors import UserError
from wethink.config.response_format import JsonKeys, ResponseFormat
from wethink.rewards.grammars import (
    BOX,
    TAGS,
    Parsed,
    closing_brace,
    parse_boxed,
    parse_free,
    parse_json_object,
    parse_tags,
    parse_think,
    visible,
)

DEFAULT = ResponseFormat()
_KEYS = JsonKeys()


class Unwritable(UserError):
    """A text that the response format cannot hold, because it has the format's own marks."""


def parse(response: str, form: ResponseFormat = DEFAULT) -> Parsed:
    r"""Parse a response, or name the first rule of its format that it breaks.

    >>> parse("<think>two dots</think> <answer>2</answer>")
    Parsed(think='two dots', answer='2', fault=None)
    >>> parse("2").fault
    'no tags'
    >>> parse("two dots, so $\\boxed{2}$.", ResponseFormat(kind="boxed"))
    Parsed(think='two dots, so', answer='2', fault=None)
    """
    return visible(_split(response, form), form.allow_empty_thought)


def _split(response: str, form: ResponseFormat) -> Parsed:
    match form.kind:
        case "tags":
            return parse_tags(response)
        case "think":
            return parse_think(response)
        case "boxed":
            return parse_boxed(response)
        case "json":
            return parse_json_object(response, form.keys or _KEYS)
        case "free":
            return parse_free(response)


def render(think: str, answer: str, form: ResponseFormat = DEFAULT) -> str:
    """Format a response so that `parse` returns its parts, without surrounding white space.

    Raises:
        Unwritable: the parts cannot be told apart again, because one of them has the format's own marks or is empty.
    """
    text = _written(think, answer, form)
    parsed = parse(text, form)
    if parsed != Parsed(think.strip(), answer.strip(), None):
        raise Unwritable(
            f"the response format '{form.kind}' cannot hold the answer {answer[:40]!r} with its thought "
            f"({parsed.fault or 'it would be read in other parts'}); reword them, or choose another rewards.format."
        )
    return text


def _written(think: str, answer: str, form: ResponseFormat) -> str:
    match form.kind:
        case "tags":
            return f"<think>{think}</think><answer>{answer}</answer>"
        case "think":  # the line ends are those of Qwen's templates
            return f"{think}\n</think>\n\n{answer}"
        case "boxed":
            return f"{think}\n{BOX}{answer}}}"
        case "json":
            keys = form.keys or _KEYS
            return json.dumps({keys.thought: think, keys.answer: answer}, ensure_ascii=False)
        case "free":
            return f"{think}\n{answer}"


def lenient(response: str, form: ResponseFormat = DEFAULT) -> str:
    """Extract the answer of a base model that was not trained on the format.

    Returns:
        The answer in the format's own marks (an answer block if there is exactly one, the last box, the key of a JSON
        object, the last line), else the text after the last `</think>`, else the whole text.
    """
    parsed = parse(response, form)
    if parsed.fault is None:
        return parsed.answer
    rest = response.rpartition("</think>")[2].strip()
    match form.kind:
        case "tags":
            blocks = re.findall(r"<answer>(.*?)</answer>", response, re.DOTALL)
            return str(blocks[0]).strip() if len(blocks) == 1 else rest
        case "boxed":
            start = response.rfind(BOX) + len(BOX)
            end = closing_brace(response, start) if start >= len(BOX) else 0
            return response[start : end - 1].strip() if end else rest
        case "json":
            inner = parse(response[response.find("{") : response.rfind("}") + 1], form)
            return rest if inner.fault else inner.answer
        case "free":
            return rest.splitlines()[-1].strip() if rest else rest
        case "think":
            return rest


def opened(form: ResponseFormat) -> str:
    """Return what the chat template writes after the assistant's header: the completion goes on from there."""
    return "<think>\n" if form.kind == "think" else ""


def message(think: str, answer: str, form: ResponseFormat) -> str:
    """Return the assistant's whole message: what the chat template opens, then the completion."""
    return opened(form) + render(think, answer, form)


def joined(thoughts: str, said: str, form: ResponseFormat) -> str:
    """Return a response whose thoughts a server has sent apart, in one text of the format."""
    return f"{thoughts}\n</think>\n\n{said}" if form.kind == "think" else f"<think>{thoughts}</think>{said}"


def marks(form: ResponseFormat) -> tuple[str, ...]:
    """List the literal texts that a format writes around thought and answer."""
    match form.kind:
        case "tags":
            return TAGS
        case "think":
            return TAGS[:2]
        case "boxed":
            return (BOX, "}")
        case "json":
            thought, answer = (json.dumps(key, ensure_ascii=False) for key in _names(form))
            return (f'{{{thought}: "', f'", {answer}: "', '"}')
        case "free":
            return ("\n",)


def _names(form: ResponseFormat) -> tuple[str, str]:
    keys = form.keys or _KEYS
    return keys.thought, keys.answer


def shape(form: ResponseFormat) -> str:
    """Describe in words what the model writes, for model cards."""
    thought, answer = _names(form)
    return {
        "tags": "the model thinks in `<think> </think>` and answers in `<answer> </answer>`",
        "think": "it opens `<think>`, the model closes its thought with `</think>` and then answers",
        "boxed": "the model thinks freely and answers in `\\boxed{}`",
        "json": f"the model writes one JSON object with the keys `{thought}` and `{answer}`",
        "free": "the model thinks freely and answers on its last line",
    }[form.kind]


def with_keys(form: ResponseFormat, text: str) -> str:
    """Fill the names of the JSON object's keys into the text of a system prompt."""
    thought, answer = _names(form)
    return text.replace("THOUGHT_KEY", thought).replace("ANSWER_KEY", answer)
