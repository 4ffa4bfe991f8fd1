"""Chat template and system prompts, per response format."""

import json
from pathlib import Path

from wethink.config.response_format import ResponseFormat
from wethink.rewards.format import DEFAULT, opened, with_keys

ASSETS = (
    "prompts/chat_template.jinja",
    "prompts/opened_thought.jinja",
    "prompts/before_own_template.jinja",
    "prompts/system_wethink.txt",
    "prompts/system_think.txt",
    "prompts/system_boxed.txt",
    "prompts/system_json.txt",
    "prompts/system_free.txt",
    "prompts/system_tiny.txt",
)
PROMPT_FOLDER = Path(__file__).resolve().parent / "prompts"


def chat_template(system: str, form: ResponseFormat = DEFAULT) -> str:
    """Return Qwen's chat template with `system` as its default system prompt.

    It opens what the response format lets the completion go on from, unless the system prompt is empty: that is how a
    model is asked that was never taught the format.
    """
    template = (PROMPT_FOLDER / "chat_template.jinja").read_text(encoding="utf-8")
    template = template.replace('"SYSTEM_PROMPT"', json.dumps(system))
    if text := opened(form):
        more = (PROMPT_FOLDER / "opened_thought.jinja").read_text(encoding="utf-8")
        template += more.replace('"OPENED"', json.dumps(text))
    return template


def around_own(template: str, system: str, form: ResponseFormat = DEFAULT) -> str:
    """Return a model's own chat template, verbatim behind lines that set its defaults.

    A conversation without a system prompt gets `system`. Where the template has the switch `enable_thinking` and the
    caller leaves it open, thoughts are opened by the format `think` only; in the other formats the completion writes
    its thought itself. An empty system prompt asks as the model was published, without a thought.
    """
    before = (PROMPT_FOLDER / "before_own_template.jinja").read_text(encoding="utf-8").rstrip("\n")
    before = before.replace('"SYSTEM_PROMPT"', json.dumps(system))
    return before.replace("THINKING", "true" if opened(form) else "false") + template


def opening(template: str, form: ResponseFormat) -> str:
    """Return a template of `around_own` that also opens what the format lets a completion go on from."""
    text = json.dumps(opened(form))
    return template + "{%- if add_generation_prompt and enable_thinking -%}{{- " + text + " -}}{%- endif -%}"


def system_prompt(form: ResponseFormat) -> str:
    """Return the system prompt that asks for responses in a format."""
    name = "wethink" if form.kind == "tags" else form.kind
    return with_keys(form, read_prompt(f"system_{name}.txt"))


def read_prompt(name: str) -> str:
    """Read a prompt file, without surrounding whitespace."""
    return (PROMPT_FOLDER / name).read_text(encoding="utf-8").strip()
