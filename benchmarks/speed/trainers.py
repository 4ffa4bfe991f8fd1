"""`make bench`: training and sampling speed on one core against TRL 1.16, `model.generate` and vLLM.

    .venv/bin/python -m benchmarks.speed.trainers

Both sides train the same tiny model on the same prompts with one thread, in processes that take turns. Figures are
medians of CPU seconds (all threads and children), so a busy machine slows both alike. A ratio above 1 favours wethink.
A step encodes prompts, samples and scores completions of a fixed length, and runs forward, backward, clipping and
AdamW. Writes reports/bench.json.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from benchmarks.speed.workload import GRPO, SFT_BATCH, TEXT, Setting

os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
os.environ |= {"DS_ACCELERATOR": "cpu", "HF_HUB_OFFLINE": "1"}

ROOT = Path(__file__).resolve().parents[2]
PEER = ROOT / ".venv-trl/bin/python"
GROWTH = tuple(Setting(f"{n}x prompts", prompts=8 * n, budget=2048) for n in (1, 2, 4))  # the first fills a pass, too


def build(folder: Path) -> None:
    """Save the tiny profile's model with random weights for plain Transformers."""
    from wethink.config.params import load_params
    from wethink.models.chat_prompts import chat_template
    from wethink.models.policy import Processor, save_policy
    from wethink.models.tiny import build_image_processor, build_model, build_tokenizer, words

    shape = load_params(ROOT / "profiles/tiny.yaml").base.tiny
    assert shape is not None
    tokenizer = build_tokenizer(words([TEXT, "think then answer"]))
    tokenizer.chat_template = chat_template("think then answer")
    processor = Processor(tokenizer, build_image_processor(84))
    save_policy(build_model(shape, tokenizer, 0), None, processor, folder, "a model to measure with")


# -- the two sides, each a process that answers each line of JSON with another


def serve(side: Callable[[Path], dict[str, Callable[..., Any]]], folder: Path, answers: IO[str]) -> None:
    handlers = side(folder)
    print(json.dumps("ready"), file=answers, flush=True)
    for line in sys.stdin:
        name, arguments = json.loads(line)
        print(json.dumps(handlers[name](**arguments)), file=answers, flush=True)


class Worker:
    """Client of one side's process."""

    def __init__(self, python: Path, side: str, folder: Path) -> None:
        self.log = (folder / f"{side}.log").open("w")
        self.child = subprocess.Popen(
            [str(python), "-m", "benchmarks.speed.trainers", "--side", side, "--folder", str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        self.side = side
        self._read()

    def __call__(self, task: str, /, **arguments: Any) -> Any:
        assert self.child.stdin is not None
        print(json.dumps([task, arguments]), file=self.child.stdin, flush=True)
        return self._read()

    def _read(self) -> Any:
        assert self.child.stdout is not None
        line = self.child.stdout.readline()
        if not line:
            sys.exit(f"the side '{self.side}' ended:\n{Path(self.log.name).read_text()[-3000:]}")
        return json.loads(line)

    def close(self) -> None:
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait(60)


def turns(ours: Callable[[], list[float]], theirs: Callable[[], list[float]]) -> tuple[float, float]:
    """Return both medians, measured in turns: ours, theirs, ours, theirs."""
    found: tuple[list[float], list[float]] = ([], [])
    for _ in range(2):
        for seconds, measure in zip(found, (ours, theirs), strict=True):
            seconds += measure()
    return statistics.median(found[0]), statistics.median(found[1])


def row(name: str, setting: str, ours: float, theirs: float, unit: str, more_is_better: bool = False) -> dict[str, Any]:
    ratio = ours / theirs if more_is_better else theirs / ours
    line = {"name": name, "setting": setting, "ours": round(ours, 4), "theirs": round(theirs, 4)}
    print(f"{name:34} {setting:20} ours {ours:10.4g}  theirs {theirs:10.4g}  {unit:14} ratio {ratio:.2f}", flush=True)
    return line | {"ratio": round(ratio, 3), "unit": unit}


def profile(ours: Worker, setting: Setting) -> dict[str, float]:
    """Print and return the parts of wethink's step in CPU seconds."""
    found: dict[str, float] = ours("profile", **vars(setting))["parts"]
    whole = sum(found.values())
    print(f"\nour step, {setting.name}: {whole:.3f} CPU s", flush=True)
    for part, seconds in sorted(found.items(), key=lambda item: -item[1]):
        print(f"    {part:32} {seconds:8.4f}  {seconds / whole:6.1%}", flush=True)
    return {part: round(seconds, 4) for part, seconds in found.items()}


def measure(folder: Path) -> None:
    ours, theirs = Worker(Path(sys.executable), "ours", folder), Worker(PEER, "trl", folder)
    rows = []
    for setting in GRPO:
        mine, peer = turns(
            lambda s=setting: ours("grpo", **vars(s))["seconds"], lambda s=setting: theirs("grpo", **vars(s))["seconds"]
        )
        rows.append(row("GRPO step against TRL", setting.name, mine, peer, "CPU s"))
    mine, peer = turns(lambda: ours("sft")["seconds"], lambda: theirs("sft")["seconds"])
    rows.append(row("SFT against TRL", "16 samples", SFT_BATCH / mine, SFT_BATCH / peer, "samples/CPU s", True))
    theirs.close()
    tokens = GRPO[0].prompts * GRPO[0].group * GRPO[0].length
    mine, peer = turns(lambda: ours("rollout")["seconds"], lambda: ours("generate")["seconds"])
    rows.append(row("rollout against generate", "base", tokens / mine, tokens / peer, "tokens/CPU s", True))
    base = None
    for setting in GROWTH:
        found = ours("grpo", **vars(setting))
        seconds, peak = statistics.median(found["seconds"]), found["peak_mb"]
        if base is None:
            base = (seconds, peak)
            share = statistics.median(found["outside"])
            rows.append(row("share of a step outside the model", "bound 10 %", share, 0.1, "share"))
        else:
            scale = setting.prompts / GROWTH[0].prompts
            rows.append(row("time per prompt against 1x", setting.name, seconds / scale, base[0], "CPU s"))
            rows.append(row("peak memory against 1x", setting.name, peak, base[1], "MiB"))
    scored = json.loads(
        subprocess.run(
            [sys.executable, "-m", "benchmarks.speed.rewards", "--peer"], cwd=ROOT, stdout=subprocess.PIPE, check=True
        ).stdout
    )
    setting = f"{scored['completions']:,}, 30 % math"
    rows.append(row("scoring against math-verify alone", setting, scored["ours"], scored["theirs"], "CPU s"))
    profiles = {setting.name: profile(ours, setting) for setting in GRPO}
    write(rows, profiles)
    if (ROOT / ".venv-vllm/.installed").exists():  # last, so that the other rows are written without it
        peer = statistics.median(ours("vllm")["seconds"])
        rows.append(row("rollout against vLLM on the CPU", "base", tokens / mine, tokens / peer, "tokens/CPU s", True))
        write(rows, profiles)
    else:
        print("rollout against vLLM on the CPU: .venv-vllm is not built, so this is not measured", flush=True)
    ours.close()


def write(rows: list[dict[str, Any]], profiles: dict[str, dict[str, float]]) -> None:
    report = ROOT / "reports/bench.json"
    report.parent.mkdir(exist_ok=True)
    text = json.dumps({"rows": rows, "profiles": profiles}, indent=2, sort_keys=True)
    report.write_text(text + "\n", encoding="utf-8")
    print(f"written to {report.relative_to(ROOT)}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed.trainers", description=__doc__)
    parser.add_argument("--side", choices=("ours", "trl"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.side:
        answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # keep libraries' prints off the answers' pipe
        if chosen.side == "ours":
            from benchmarks.speed.ours import side
        else:
            from benchmarks.speed.trl import side
        serve(side, chosen.folder, answers)
        return 0
    if not PEER.exists():
        print("benchmarks.speed.trainers: .venv-trl is missing; `make bench` builds it.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build(folder / "model")
        measure(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
