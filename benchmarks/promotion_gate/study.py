"""`make gate`: sensitivity and specificity of the promotion gate, by training the tiny profile.

    python -m benchmarks.promotion_gate.study [--seeds 0 1 2] [--arms ARM …]

Per seed, the main job trains a champion without one image source. In each arm that source arrives as the annotator
writes it, with a declared share of wrong answers, with a bias to one answer letter, with questions whose kind gives the
answer away, or with its images shuffled (benchmarks/promotion_gate/noisy_source.py); the steps of flows/retrain.py then
lead to a decision. A policy is also compared with itself 200 times. The gate's rule is the one in params.yaml. A
restart skips finished seeds and arms. Each arm's figures are in `.wethink/gate/seed-<n>/<arm>/result.json`, all of them
in `reports/gate.json`, `gate.md` and `gate.html`.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.promotion_gate.arm import CHAMPION, DOSES, FIRST, NEVER, SOURCE
from benchmarks.promotion_gate.null_rate import sentence
from benchmarks.promotion_gate.page import gate_page
from tasks import ROOT
from tasks.versioning import dvc_status
from tasks.versioning.worktrees import checkout, run_in
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, read_json, write_json
from wethink.config.params import load_params
from wethink.config.retraining import Promotion

HOME = Path(".wethink/gate")
REPORT = Path("reports/gate.json")
STAGES = ["arm_sft_two_sources", "arm_two_sources"]  # train the champion, as in `make ablations`
EQUALS = Path("equals/equals.json")
WORKERS = 2  # arms in parallel, each on one rank
HOURS = 6


def champion(seed: int) -> None:
    """Run a seed's main job up to its base, then train the champion without SOURCE."""
    folder = HOME / f"seed-{seed}" / "main"
    if not (folder / "models/base/manifest.json").is_file():
        run_in(folder, [*dvc_status.DVC, "repro", "validate", "base"], f"gate-{seed}-main")
    if not (folder / CHAMPION / "manifest.json").is_file():
        run_in(folder, [sys.executable, "-m", "wethink", "arms", *STAGES], f"gate-{seed}-champion")


def job(seed: int, what: str) -> None:
    """Run one arm (or `prepare`) in its own process, unless it is finished.

    Raises:
        UserError: the process failed; the message names its log.
    """
    home = HOME / f"seed-{seed}"
    if (home / what / "result.json").is_file():
        return
    print(f"== seed {seed}: {what}", flush=True)
    _python(["benchmarks.promotion_gate.arm", str(home), what], HOME / "logs" / f"seed-{seed}-{what}.log")


def _python(module: Sequence[str], log: Path) -> None:
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as handle:
        environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-m", *module]
        ended = subprocess.run(command, stdout=handle, stderr=subprocess.STDOUT, env=environment, timeout=HOURS * 3600)
    if ended.returncode != 0:
        raise UserError(f"{' '.join(module[:3])} ended with code {ended.returncode}; see {log}.")


def run(seeds: Sequence[int], arms: Sequence[str]) -> None:
    """Run everything that is not finished.

    The first arm of a seed generates the champion's responses; the other arms read them.
    """
    for seed in seeds:
        if not (HOME / f"seed-{seed}" / "main").is_dir():
            checkout(HOME / f"seed-{seed}" / "main", {"seed": seed, "launch.processes": 1})
    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(champion, seeds))
        list(pool.map(lambda seed: job(seed, "prepare"), seeds))
        list(pool.map(lambda seed: job(seed, FIRST), seeds))
        others = [(seed, arm) for arm in DOSES if arm in arms and arm != FIRST for seed in seeds]
        list(pool.map(lambda one: job(*one), others))
    home = HOME / f"seed-{seeds[0]}"
    if not (home / EQUALS).is_file():
        command = ["benchmarks.promotion_gate.null_rate", str(home / "main"), "--model", CHAMPION, "--new", SOURCE]
        _python([*command, "--out", str((home / EQUALS).parent)], HOME / "logs" / "equals.log")


def result(seeds: Sequence[int]) -> dict[str, Any]:
    """Build `reports/gate.json`: rule, arms, self-comparison and promises."""
    rule: Promotion = load_params().promotion
    found = [
        read_json(HOME / f"seed-{seed}" / arm / "result.json")
        for arm in DOSES
        for seed in seeds
        if (HOME / f"seed-{seed}" / arm / "result.json").is_file()
    ]
    told = [HOME / f"seed-{seed}" / EQUALS for seed in seeds]
    same = next((read_json(path) for path in told if path.is_file()), None)
    return {
        "rule": rule.model_dump(mode="json"),
        "new_source": SOURCE,
        "arms": found,
        "equals": same,
        "promises": {
            **{f"{name}_promoted": _promotions(found, name) for name in (FIRST, *NEVER)},
            "equals_promoted": same and round(same["promoted"] / same["evaluations"], 4),
        },
    }


def _promotions(arms: Sequence[Record], name: str) -> dict[str, int]:
    decisions = [arm["decision"] for arm in arms if arm["arm"] == name]
    return {"promoted": sum(bool(found and found["promoted"]) for found in decisions), "of": len(decisions)}


def table(whole: Record) -> str:
    """Format a Markdown table, one line per arm and seed, and the self-comparison."""
    lines = [
        "| the new source | seed | wrong answers in it | caught by filters | gain that the gate saw (mix) | p "
        "| decision | true change, old | true change, new |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for arm in whole["arms"]:
        source = arm["source"]
        caught = sum(entry["wrong"] for entry in source["filters"].values())
        rows = sum(entry["rows"] for entry in source["filters"].values())
        cells = [arm["arm"].replace("_", " "), str(arm["seed"])]
        cells += [f"{source['wrong']:,} of {source['rows']:,}", f"{caught:,} ({rows - caught:,} right ones lost)"]
        if arm["stopped"]:
            cells += ["–", "–", f"stopped by {arm['stopped']['by']}", "–", "–"]
        else:
            decision, truth = arm["decision"], arm["truth"]
            gain = decision["gain"]  # None: a part has too few scenes
            cells += [_interval(gain), f"{decision['p']:.2g}"] if gain else ["–", "–"]
            cells += [_verdict(decision)]
            cells += [_interval(truth[part]["change"]) for part in ("old", "new")]
        lines.append(f"| {' | '.join(cells)} |")
    same = whole["equals"]
    if same:
        lines += ["", sentence(same)]
    return "\n".join(lines) + "\n"


def _verdict(decision: Record) -> str:
    if decision["promoted"]:
        return "**promoted**"
    failed = [group["name"] for group in decision["groups"] if group["passed"] is False]
    if decision["p"] is None:
        return "refused: too few scenes"
    why = (["no gain shown"] if decision["p"] > decision["level"] else []) + failed
    formal = [use["part"] for use in decision["image_use"] if _formal(use)]
    why += [f"form, not source ({', '.join(formal)})"] if formal else []
    return f"refused: {', '.join(why)}"


def _formal(use: Record) -> bool:
    """Tell whether a part's figures do not show that the images were used."""
    return any(entry["passed"] is False for entry in (*use["comparisons"], *use["answers"]))


def _interval(change: Record) -> str:
    shown = [f"{100 * change[key]:+.1f}".replace("-", "−") for key in ("mean", "low", "high")]
    return f"{shown[0]} [{shown[1]}, {shown[2]}]"


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.promotion_gate.study", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    known = list(DOSES)
    parser.add_argument("--arms", nargs="*", default=known, choices=known, metavar="ARM", help=f"of {', '.join(known)}")
    args = parser.parse_args()
    try:
        run(args.seeds, args.arms)
    except UserError as error:
        print(f"gate: {error}", file=sys.stderr)
        return error.exit_code
    whole = result(args.seeds)
    write_json(REPORT, whole)
    REPORT.with_suffix(".md").write_text(table(whole), encoding="utf-8")
    REPORT.with_suffix(".html").write_text(gate_page(whole), encoding="utf-8")
    print(table(whole) + f"written: {REPORT}, its table in gate.md, and a page in gate.html")
    promises = whole["promises"]
    useful = promises["useful_promoted"]
    kept = (
        3 * useful["promoted"] >= 2 * useful["of"]
        and not any(promises[f"{name}_promoted"]["promoted"] for name in NEVER)
        and (promises["equals_promoted"] or 0) <= 0.05
    )
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())
