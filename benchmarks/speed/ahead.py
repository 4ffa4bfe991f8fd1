"""`make bench-ahead`: wall time of GRPO that samples ahead (`grpo.max_staleness: 1`) against GRPO that waits.

    .venv/bin/python -m benchmarks.speed.ahead [--steps 8] [--turns 2]

Both run the stage itself in processes that take turns, one rank with one thread: a step of 8 prompts × 8 completions of
up to 64 tokens by a model with random weights. Sampling ahead needs a second core. Figures are medians of a step's
seconds on the wall without each process's first two steps, so the machine must be idle. Writes
reports/bench_ahead.json.
"""

import argparse
import hashlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.speed.workload import TEXT, picture, question

ROOT = Path(__file__).resolve().parents[2]
REPORT = ROOT / "reports/bench_ahead.json"
PROMPTS, WARM = 8, 2
SHAPE = {"hidden_size": 512, "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4}
SHAPE |= {"intermediate_size": 1408, "vision_depth": 4, "vision_hidden_size": 256}
OWN = "def even(completions):\n    return [float(len(completion) % 2 == 0) for completion in completions]\n"
AHEAD = {"max_staleness": 1, "rollout_correction": {"mode": "truncate", "level": "token", "floor": 0.0, "cap": 2.0}}


def build(folder: Path, steps: int) -> None:
    """Write images, rows, a starting policy and parameters as the stage expects them."""
    from wethink.common.jsonl import write_jsonl
    from wethink.config.params import load_params
    from wethink.config.response_format import ResponseFormat
    from wethink.data.image_shards import Shards
    from wethink.data.image_store import ImageRecord
    from wethink.models.chat_prompts import chat_template
    from wethink.models.policy import Processor, save_policy
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words

    for name in ("data/images", "data/valid"):
        (folder / name).mkdir(parents=True)
    shards, rows = Shards(folder / "data/images", 1000), []
    for i in range(PROMPTS * 4):
        buffer = io.BytesIO()
        picture(i).save(buffer, "PNG")
        image = hashlib.sha256(buffer.getvalue()).hexdigest()
        shards.add(ImageRecord(image, "noise", "train", str(i), 84, 84, str(i)), buffer.getvalue())
        row = {"id": f"{i:016x}", "image": image, "split": "train", "source": "noise", "scene": str(i), "kind": "noise"}
        rows.append(
            row | {"problem": question(i, 24), "answer": "1", "category": "FIB", "reward": "rule", "refined_cot": ""}
        )
    shards.close()
    write_jsonl(folder / "data/valid/rows.jsonl", rows)
    (folder / "own.py").write_text(OWN, encoding="utf-8")
    form = ResponseFormat(kind="free", allow_empty_thought=True)
    params = load_params(ROOT / "profiles/tiny.yaml")
    assert params.base.tiny is not None
    tokenizer = build_tokenizer(words([TEXT, "think then answer"]))
    tokenizer.chat_template = chat_template("think then answer", form)
    model = build_model(params.base.tiny.model_copy(update=SHAPE), tokenizer, 0)
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.1f} M parameters", flush=True)
    save_policy(model, None, Processor(tokenizer, build_image_processor(84)), folder / "models/base", "card")
    given: dict[str, Any] = params.model_dump(mode="json", by_alias=True)
    given["grpo"] |= {"start": "base", "max_completion_length": 64, "kl_coef": 0.0}
    given["grpo"]["optim"] |= {"max_steps": steps, "train_batch_size": PROMPTS, "save_steps": steps}
    given["rewards"] |= {"format": form.model_dump(), "functions": [{"function": "own.py:even", "weight": 1.0}]}
    given["launch"] |= {"processes": 1, "threads": 1, "deepspeed": str(ROOT / "infra/deepspeed/zero1_fp32.json")}
    (folder / "params.yaml").write_text(json.dumps(given), encoding="utf-8")  # JSON is YAML


def run(folder: Path, name: str, own: dict[str, Any]) -> list[float]:
    """Run the stage once; return the wall seconds of its steps, without the first ones."""
    params = json.loads((folder / "params.yaml").read_text(encoding="utf-8"))
    params["grpo"] |= own
    (folder / f"{name}.yaml").write_text(json.dumps(params), encoding="utf-8")
    code = (
        "import sys; from pathlib import Path; from wethink.config.params import load_params; "
        "from wethink.dag.runner import run_rank; scratch = Path(sys.argv[1]); scratch.mkdir(); "
        "run_rank('grpo', scratch, load_params(Path(sys.argv[2])))"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    subprocess.run(
        [sys.executable, "-c", code, name, f"{name}.yaml"],
        cwd=folder, env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip
    lines = [json.loads(line) for line in (folder / name / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    return [line["seconds"] for line in lines[WARM:]]


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.ahead", description=__doc__)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--turns", type=int, default=2)
    args = parser.parse_args()
    found: dict[str, list[float]] = {"waiting": [], "ahead": []}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build(folder, args.steps)
        for turn in range(args.turns):
            for name, own in (("waiting", {}), ("ahead", AHEAD)):
                found[name] += run(folder, f"{name}-{turn}", own)
                print(f"{name}: {statistics.median(found[name]):.2f} s a step", flush=True)
    waiting, ahead = (statistics.median(found[name]) for name in ("waiting", "ahead"))
    print(f"sampling ahead: {waiting / ahead:.2f} times as fast on the wall ({os.cpu_count()} cores)")
    REPORT.parent.mkdir(exist_ok=True)
    report = {"seconds": found, "ratio": round(waiting / ahead, 3), "cores": os.cpu_count()}
    REPORT.write_text(json.dumps(report, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
