"""Checkpoints of each model family as Transformers reads them, and models that are refused."""

import json
from pathlib import Path
from typing import get_args

import pytest
import torch

from tests.support.miniature import policy, prompts
from wethink.common.errors import UserError
from wethink.config.training import Family
from wethink.generation.in_process import sample
from wethink.models.families.known import FAMILIES
from wethink.models.policy import OWN_FILES, load_model, load_processor, save_policy

every = pytest.mark.parametrize("family", get_args(Family))


def test_the_table_of_families_is_the_one_of_the_configuration() -> None:
    assert tuple(FAMILIES) == get_args(Family)


@every
def test_plain_transformers_answers_as_the_published_policy_does(family: Family, tmp_path: Path) -> None:
    from transformers import AutoModelForImageTextToText, AutoTokenizer

    model, made = policy(family=family)
    save_policy(model, None, made, tmp_path, "card")
    (prompt,) = prompts(made, 1)
    ((ours,),) = sample(load_model(tmp_path), load_processor(tmp_path), [prompt], None, 8, 0.0)
    plain, tokenizer = AutoModelForImageTextToText.from_pretrained(tmp_path), AutoTokenizer.from_pretrained(tmp_path)
    ids = torch.from_numpy(prompt.ids)[None]
    out = plain.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == plain.config.image_token_id).int(),
        pixel_values=prompt.pictures[0].pixels,
        image_grid_thw=torch.tensor([prompt.pictures[0].grid]),
        max_new_tokens=8,
        do_sample=False,
        suppress_tokens=made.banned,
        eos_token_id=list(made.stop_ids),
    )
    assert out[0, ids.shape[1] :].tolist() == list(ours.ids)
    assert tokenizer.chat_template == made.tokenizer.chat_template
    text = "how many red things are 12 ?"
    assert tokenizer(text)["input_ids"] == made.text_ids(text)


@every
def test_processor_files_are_published_byte_for_byte(family: Family, tmp_path: Path) -> None:
    model, made = policy(family=family)
    save_policy(model, None, made, tmp_path / "base", "card")
    derived = {name: (tmp_path / "base" / name).read_bytes() for name in OWN_FILES}
    video = tmp_path / "base/video_preprocessor_config.json"
    video.write_text(json.dumps(json.loads(video.read_text()) | {"fps": 3, "max_frames": 99}))
    save_policy(model, None, load_processor(tmp_path / "base"), tmp_path / "sft", "card")
    assert (tmp_path / "sft/video_preprocessor_config.json").read_bytes() == video.read_bytes()
    assert (tmp_path / "sft/preprocessor_config.json").read_bytes() == derived["preprocessor_config.json"]


def _spoilt(folder: Path, name: str, **changes: object) -> Path:
    model, made = policy()
    save_policy(model, None, made, folder, "card")
    config = json.loads((folder / name).read_text()) | changes
    (folder / name).write_text(json.dumps(config))
    return folder


def test_quantised_weights_are_refused_in_a_sentence(tmp_path: Path) -> None:
    folder = _spoilt(tmp_path, "config.json", quantization_config={"quant_method": "awq", "bits": 4})
    with pytest.raises(UserError, match=r"is quantised \(awq\).*name the original"):
        load_model(folder)


def test_a_missing_shard_is_told_in_a_sentence(tmp_path: Path) -> None:
    model, made = policy()
    save_policy(model, None, made, tmp_path, "card")
    model.save_pretrained(tmp_path, max_shard_size="30KB")  # type: ignore[operator]
    (tmp_path / "model.safetensors").unlink(missing_ok=True)
    next(iter(sorted(tmp_path.glob("model-*.safetensors")))).unlink()
    with pytest.raises(UserError, match=r"cannot load the model|lacks \d+ of its tensors"):
        load_model(tmp_path)


def test_a_template_that_cannot_be_parsed_is_told_in_a_sentence(tmp_path: Path) -> None:
    model, made = policy()
    save_policy(model, None, made, tmp_path, "card")
    (tmp_path / "chat_template.jinja").write_text("{%- for message in messages %}{{ message.content ")
    with pytest.raises(UserError, match=r"chat template of the model .* cannot be read"):
        load_processor(tmp_path)
