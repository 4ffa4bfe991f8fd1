"""Laws of a hub model's own chat template: it stays, and every response format fits it or is refused."""

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.support.miniature import policy
from wethink.common.errors import UserError
from wethink.config.params import load_params
from wethink.config.response_format import Kind, ResponseFormat
from wethink.models.chat_prompts import system_prompt
from wethink.models.policy import check_template, load_processor, save_policy
from wethink.training.base_policy import base

ROOT = Path(__file__).parents[2]
KINDS: tuple[Kind, ...] = ("tags", "think", "free")  # json and boxed open nothing, as tags
TURNS = (
    "{%- for message in messages %}\n    {{- '<|im_start|>' + message.role + '\\n' }}\n"
    "    {%- if message.content is string %}\n        {{- message.content }}\n    {%- else %}\n"
    "        {%- for part in message.content %}\n            {%- if part.type == 'image' or 'image' in part %}\n"
    "                {{- '<|vision_start|><|image_pad|><|vision_end|>' }}\n"
    "            {%- else %}\n                {{- part.text }}\n            {%- endif %}\n        {%- endfor %}\n"
    "    {%- endif %}\n    {{- '<|im_end|>\\n' }}\n{%- endfor %}\n"
)
HEADER = "{%- if add_generation_prompt %}\n    {{- '<|im_start|>assistant\\n' }}\n"
NO, YES = "{{- '<think>\\n\\n</think>\\n\\n' }}", "{{- '<think>\\n' }}"
OWN = {  # shapes of templates that models have, written for this test
    "plain": TURNS + HEADER + "{%- endif %}\n",
    "greets": "{%- if messages[0].role != 'system' %}{{- '<|im_start|>system\\nBe kind.<|im_end|>\\n' }}{%- endif %}\n"
    + TURNS + HEADER + "{%- endif %}\n",
    "thinks by default": TURNS + HEADER
    + "    {%- if enable_thinking is defined and enable_thinking is false %}" + NO + "{%- else %}" + YES
    + "{%- endif %}\n{%- endif %}\n",
    "thinks if asked": TURNS + HEADER
    + "    {%- if enable_thinking is defined and enable_thinking is true %}" + YES + "{%- else %}" + NO
    + "{%- endif %}\n{%- endif %}\n",
    "silent if told": TURNS + HEADER
    + "    {%- if enable_thinking is defined and enable_thinking is false %}" + NO + "{%- endif %}\n{%- endif %}\n",
    "always thinks": TURNS + HEADER + "    " + YES + "\n{%- endif %}\n",
}  # fmt: skip
USER = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "how many ?"}]}


def published(folder: Path, template: str, form: ResponseFormat) -> Any:
    """The tokenizer of what `base` publishes for a model with this template."""
    from wethink.common.stage_run import StageRun

    model, made = policy()
    made.tokenizer.chat_template = template
    save_policy(model, None, made, folder / "hub", "card")
    (folder / "out").mkdir()
    params = load_params(ROOT / "profiles/tiny.yaml")
    config = params.base.model_copy(update={"model": str(folder / "hub"), "tiny": None, "optim": None})
    run = StageRun(config, folder / "out", folder, 0)
    base(images=folder, rows=folder, format=form, launch=params.launch, run=run)
    check_template(load_processor(folder / "out"), form, folder / "out")
    return AutoTokenizer.from_pretrained(folder / "out")


def text(tokenizer: Any, messages: list[Any], more: bool = True, **switch: bool) -> str:
    return str(tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=more, **switch))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", OWN)
def test_a_models_own_template_stays_word_for_word_and_gets_the_formats_system_prompt(
    name: str, kind: Kind, tmp_path: Path
) -> None:
    form = ResponseFormat(kind=kind)
    if name == "always thinks" and kind != "think":
        with pytest.raises(UserError, match=r"writes '<think>\\n' before every response.*set rewards\.format: think"):
            published(tmp_path, OWN[name], form)
        return
    tokenizer = published(tmp_path, OWN[name], form)
    assert OWN[name] in tokenizer.chat_template
    hub = AutoTokenizer.from_pretrained(tmp_path / "hub")
    asked = {"role": "system", "content": system_prompt(form)}
    thinking = kind == "think"
    said = text(hub, [asked, USER], enable_thinking=thinking)
    if thinking and not said.endswith("<think>\n"):
        said += "<think>\n"
    assert text(tokenizer, [USER]) == said
    own = [{"role": "system", "content": "Count."}, USER]
    assert text(tokenizer, own, more=False) == text(hub, own, more=False), "a system prompt of one's own is kept"
    many = [*own, {"role": "assistant", "content": "2"}, {"role": "user", "content": "sure ?"}]
    assert text(tokenizer, many, more=False) == text(hub, many, more=False)


@pytest.mark.parametrize("name", OWN)
def test_an_empty_system_prompt_asks_as_the_model_was_published_without_a_thought(name: str, tmp_path: Path) -> None:
    tokenizer = published(tmp_path, OWN[name], ResponseFormat(kind="think"))
    hub = AutoTokenizer.from_pretrained(tmp_path / "hub")
    empty = {"role": "system", "content": ""}
    assert text(tokenizer, [empty, USER]) == text(hub, [USER], enable_thinking=False)


def test_the_switch_stays_the_callers() -> None:
    from wethink.models.chat_prompts import around_own

    _, made = policy()
    hub = OWN["thinks by default"]
    made.tokenizer.chat_template = around_own(hub, "think", ResponseFormat())
    assert text(made.tokenizer, [USER]).endswith("</think>\n\n")
    assert text(made.tokenizer, [USER], enable_thinking=True).endswith("assistant\n<think>\n")


def test_the_card_says_what_was_added(tmp_path: Path) -> None:
    published(tmp_path, OWN["thinks by default"], ResponseFormat())
    card = (tmp_path / "out/README.md").read_text(encoding="utf-8")
    assert f"is that of `{tmp_path / 'hub'}` behind lines that set a default system prompt and leave thoughts" in card
