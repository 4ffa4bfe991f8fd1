"""Compatibility check of a published checkpoint with plain Transformers and real vLLM.

    .venv-vllm/bin/python benchmarks/interop/vllm_check.py models/grpo

Both answer the same held-out questions on images of data/images by greedy decoding; prints how often they agree.
"""

import io
import json
import os
import sys
from pathlib import Path

os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

ITEMS = 24
LIMIT = 48


def questions(count: int) -> list[tuple[object, str]]:
    """Load the first held-out items with their images."""
    import pyarrow.parquet as pq
    from PIL import Image

    lines = Path("data/drawn/items/reporting.jsonl").read_text(encoding="utf-8").splitlines()
    items = [json.loads(line) for line in lines[::7][:count]]
    wanted = {item["image"] for item in items}
    found = {}
    for shard in sorted(Path("data/images").glob("shard-*.parquet")):
        table = pq.read_table(shard, columns=["id", "bytes"])
        for key, blob in zip(table["id"].to_pylist(), table["bytes"].to_pylist(), strict=True):
            if key in wanted:
                found[key] = Image.open(io.BytesIO(blob)).convert("RGB")
    return [(found[item["image"]], item["problem"]) for item in items]


def conversation(problem: str) -> list[dict[str, object]]:
    return [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": problem}]}]


def with_transformers(folder: str, asked: list[tuple[object, str]]) -> list[str]:
    import torch
    from transformers import AutoModelForImageTextToText, AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    model = AutoModelForImageTextToText.from_pretrained(folder).eval()
    print(f"AutoProcessor: {type(processor).__name__}; model: {type(model).__name__}")
    texts = []
    for image, problem in asked:
        prompt = processor.apply_chat_template(conversation(problem), tokenize=False, add_generation_prompt=True)
        inputs = processor(text=[prompt], images=[image], return_tensors="pt")
        with torch.no_grad():
            out = model.generate(**inputs, max_new_tokens=LIMIT, do_sample=False)
        texts.append(processor.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True))
    return texts


def with_vllm(folder: str, asked: list[tuple[object, str]]) -> list[str]:
    from transformers import AutoProcessor
    from vllm import LLM, SamplingParams

    processor = AutoProcessor.from_pretrained(folder)
    engine = LLM(
        model=folder,
        dtype="float32",
        max_model_len=256,
        enforce_eager=True,
        limit_mm_per_prompt={"image": 1, "video": 0},
    )
    prompts = [
        {
            "prompt": processor.apply_chat_template(conversation(problem), tokenize=False, add_generation_prompt=True),
            "multi_modal_data": {"image": image},
        }
        for image, problem in asked
    ]
    outputs = engine.generate(prompts, SamplingParams(temperature=0.0, max_tokens=LIMIT))
    return [output.outputs[0].text for output in outputs]


def main() -> int:
    folder = sys.argv[1] if len(sys.argv) > 1 else "models/grpo"
    asked = questions(ITEMS)
    stock, served = with_transformers(folder, asked), with_vllm(folder, asked)
    same = sum(a.split() == b.split() for a, b in zip(stock, served, strict=True))
    for (_, problem), text in list(zip(asked, served, strict=True))[:4]:
        print(f"{problem}\n    {text}")
    print(f"vLLM and Transformers wrote the same for {same} of {len(asked)} questions")
    return 0 if same >= 0.9 * len(asked) else 1


if __name__ == "__main__":
    sys.exit(main())
