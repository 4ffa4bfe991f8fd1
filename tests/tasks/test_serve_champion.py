"""The server of the champion takes prompts as training makes them."""

import json
from pathlib import Path

from tasks import ROOT
from tasks.stack.serve_champion import command
from wethink.config.params import load_params


def test_a_prompt_may_have_as_many_images_as_its_context_holds(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps({"text_config": {"max_position_embeddings": 512}}))
    words = command(tmp_path, load_params(ROOT / "profiles/tiny.yaml").launch, 8000)
    limits = json.loads(words[words.index("--limit-mm-per-prompt") + 1])
    assert limits == {"video": 0}, "vLLM takes 999 images where no number stands"
    assert words[words.index("--max-model-len") + 1] == "512"
