"""What a finished run tells people: reports/summary.json, artifacts in Prefect, and the last lines on the terminal."""

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tasks.execution.stage import run_record
from tasks.tracking.stage_log import flatten
from tasks.tracking.tensorboard_events import FOLDER as EVENTS
from tasks.tracking.wandb_runs import runs_folder
from wethink.common.jsonl import read_json, write_json
from wethink.common.paths import WORK
from wethink.config.params import load_params
from wethink.dag.main_stages import STAGES
from wethink.evaluation.summary import few_scenes
from wethink.training.cpp_extensions import build_seconds

SUMMARY = Path("reports/summary.json")
PAGE = Path(STAGES["report"].out)
DATA_DOCS = WORK / "data_docs"  # they carry times, so they are no part of a published folder
PREFECT_PAGE, MLFLOW_PAGE = "http://127.0.0.1:4200", "http://127.0.0.1:5000"
CHECKPOINTS = {"base": "base", "sft": "SFT", "grpo": "SFT + GRPO"}
MADE: dict[str, Callable[[dict[str, Any]], str]] = {  # what a stage made, from the metrics that it returned
    "draw": lambda found: f"{_total(found['images']):,} images, {_held_out(found):,} held-out items",
    "ingest": lambda found: f"{found['images']:,} images in {_number(len(found['sources']), 'source')}",
    "synthesize": lambda found: f"{found['kept']:,} rows of {found['candidates']:,} candidates",
    "validate": lambda found: f"{found['kept']:,} of {found['rows']:,} rows passed",
    "base": lambda found: f"{found['steps']:,} steps on {found['samples']:,} samples",
    "sft": lambda found: f"{found['steps']:,} steps on {found['samples']:,} rows",
    "grpo": lambda found: f"{found['steps']:,} steps on {found['prompts']:,} prompts",
    "evaluate": lambda found: f"accuracy on {found['items']:,} held-out items",
}


def made(stage: str) -> str:
    """Describe what a stage's last run made: its counts, else the path of its output; empty without a record."""
    if not run_record(stage).is_file():
        return ""
    with contextlib.suppress(KeyError, TypeError, ValueError):  # a resolved base has no steps
        return MADE[stage](read_json(run_record(stage))["metrics"])
    return STAGES[stage].out


def _number(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def _total(counts: dict[str, dict[str, int]]) -> int:
    return sum(sum(splits.values()) for splits in counts.values())


def _held_out(metrics: dict[str, Any]) -> int:
    return sum(int(split["count"]) for split in metrics["items"].values())


def summarise() -> dict[str, Any]:
    """Join the evaluation with what this machine needed for it, as reports/summary.json."""
    evaluation = read_json(Path(STAGES["evaluate"].out) / "metrics.json")
    records = {name: read_json(run_record(name)) for name in STAGES if run_record(name).is_file()}
    summary: dict[str, Any] = evaluation | {
        "seed": load_params().seed,
        "start": load_params().grpo.start,
        "seconds": {name: record["seconds"] for name, record in records.items()},
        "install_seconds": _stamp(Path(sys.prefix) / ".installed"),
        "jit_seconds": build_seconds(),
        "peak_pss_mb": max((max(r["peak_pss_mb"], r.get("peak_tree_mb", 0.0)) for r in records.values()), default=0.0),
    }
    write_json(SUMMARY, summary)
    return summary


def funnel() -> list[dict[str, Any]]:
    """Return the counts of every data stage, one line each, from the metrics that it published."""
    lines = []
    for name in ("draw", "ingest", "synthesize", "validate"):
        path = Path(STAGES[name].out) / "metrics.json"
        figures = flatten(read_json(path)) if path.is_file() else {}
        lines += [{"stage": name, "figure": figure, "value": value} for figure, value in figures.items()]
    return lines


def accuracies(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the lines of the accuracy table: checkpoint, greedy accuracy, interval, accuracy at T = 1, items."""
    lines: list[tuple[str, ...]] = []
    for key, label in CHECKPOINTS.items():
        if found := summary.get(key):
            interval = f"[{found['low']:.3f}, {found['high']:.3f}]"
            sampled = found.get("sampled")
            sampled = sampled.get("accuracy") if isinstance(sampled, dict) else sampled
            at_one = "–" if sampled is None else f"{sampled:.3f}"
            label = "GRPO from base" if key == "grpo" and summary.get("start") == "base" else label
            lines.append((label, f"{found['accuracy']:.3f}", interval, at_one, str(found["n"])))
    return lines


def by_source(summary: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the lines of the sources' table: what the last checkpoint's greedy accuracy comes from."""
    lines: list[tuple[str, ...]] = []
    for name, group in summary.get("sources", {}).items():
        last = next((group[key] for key in reversed(CHECKPOINTS) if key in group), None)
        if last is None or last["accuracy"] is None:
            continue
        most = next(iter(last["answers"]["most"]), None)
        frequent = f"{most['answer'][:16]} {most['share']:.0%} ({most['gold']:.0%})" if most else "–"
        controls = [_figure(last.get(pixels)) for pixels in ("blank", "shuffled")]
        constant = f"{group['constant']['answer'][:16]} {group['constant']['accuracy']:.3f}"
        accuracy = f"{last['accuracy']:.3f} [{last['low']:.3f}, {last['high']:.3f}]"
        lines.append((name, accuracy, *controls, constant, frequent, str(last["n"])))
    return lines


def _figure(entry: dict[str, Any] | None) -> str:
    return f"{entry['accuracy']:.3f}" if entry and entry["accuracy"] is not None else "–"


SOURCE_COLUMNS = ("source", "accuracy", "blank", "swapped", "best constant", "most frequent (gold)", "items")
COLUMNS = ("checkpoint", "accuracy", "95 % interval", "T = 1", "items")


def show_in_prefect(summary: dict[str, Any]) -> None:
    """Funnel, accuracies and links as artifacts of the flow run."""
    create_table_artifact(funnel(), key="data-funnel", description="What every data stage read, kept and dropped")
    table = [COLUMNS, ["---"] * len(COLUMNS), *accuracies(summary)]
    sources = [SOURCE_COLUMNS, ["---"] * len(SOURCE_COLUMNS), *by_source(summary)]
    body, apart = ("\n".join(f"| {' | '.join(line)} |" for line in lines) for lines in (table, sources))
    create_markdown_artifact(
        f"{body}\n\n{_differences(summary)}\n\n{apart}", key="accuracy", description="On held-out images"
    )
    create_link_artifact(PAGE.resolve().as_uri(), link_text=str(PAGE), key="report")
    create_link_artifact((DATA_DOCS / "index.html").resolve().as_uri(), link_text="Data Docs", key="data-docs")


def show_on_terminal(summary: dict[str, Any], log: Path | None = None) -> None:
    """Print the accuracy table, the time it took, and where everything is."""
    console = Console()
    named = f" of {', '.join(summary['own'])}" if summary.get("own") else ""
    title = f"held-out items{named} over {summary.get('scenes')} scenes, seed {summary.get('seed')}"
    console.print(_table(title, COLUMNS, accuracies(summary)))
    console.print(_table("what it comes from, by source", SOURCE_COLUMNS, by_source(summary)))
    for line in (_differences(summary), *few_scenes(summary)):
        console.print(line, highlight=False, soft_wrap=True, markup=False)
    seconds = summary["seconds"]
    stages = ", ".join(f"{name} {value:.0f}" for name, value in seconds.items())
    apart = f"install {summary['install_seconds'] or 0:.0f}, JIT builds {summary['jit_seconds']:.0f}"
    console.print(
        f"seconds without DVC and start-up: {stages}; together {sum(seconds.values()):.0f}; apart from that: {apart}",
        highlight=False,
        soft_wrap=True,
    )
    console.print(f"peak memory {summary['peak_pss_mb']:.0f} MiB over the process tree\n", highlight=False)
    python, docs = sys.executable, (DATA_DOCS / "index.html").resolve().as_uri()
    home, prefect = os.environ["PREFECT_HOME"], Path(python).with_name("prefect")
    for label, text in {
        "report": str(PAGE.resolve()),
        "figures": str(SUMMARY.resolve()),
        "Data Docs": f"{python} -m webbrowser {docs}",
        "Prefect": server.removesuffix("/api")
        if (server := os.environ.get("PREFECT_API_URL"))
        else f"PREFECT_HOME={home} {prefect} server start   # {PREFECT_PAGE}",
        **tracker_pages(Path(python).parent),
        **({"log": str(log.resolve())} if log else {}),
    }.items():
        console.print(f"{label:>10}  {text}", soft_wrap=True, highlight=False, markup=False)


def tracker_pages(programs: Path) -> dict[str, str]:
    """Return where the curves are: each tracker of `launch.report_to` with its page or the command that shows it."""
    uri = os.environ["MLFLOW_TRACKING_URI"]
    local = f"{programs / 'mlflow'} ui --backend-store-uri {uri}   # {MLFLOW_PAGE}"
    pages = {
        "mlflow": ("MLflow", uri if uri.startswith("http") else local),
        "tensorboard": ("TensorBoard", f"{programs / 'tensorboard'} --logdir {EVENTS}"),
        "wandb": (
            "W&B",
            f"{programs / 'wandb'} sync {runs_folder() / 'wandb'}/offline-run-*   # if WANDB_MODE is offline",
        ),
    }
    return dict(pages[name] for name in load_params().launch.report_to)


def _table(title: str, columns: Sequence[str], lines: Sequence[Sequence[str]]) -> Table:
    table = Table(title=title)
    for position, column in enumerate(columns):
        table.add_column(column, justify="left" if position == 0 else "right")
    for line in lines:
        table.add_row(*(escape(cell) for cell in line))
    return table


def _differences(summary: dict[str, Any]) -> str:
    labels = {"sft_minus_base": "SFT − base", "grpo_minus_sft": "GRPO − SFT"}
    parts = []
    for key, label in labels.items():
        found = summary.get(key) or {}
        for how, gap in (("greedy", found), ("T = 1", found.get("sampled") or {})):
            if gap.get("mean") is not None:
                parts.append(f"{label}, {how}: {gap['mean']:+.3f} [{gap['low']:+.3f}, {gap['high']:+.3f}]")
    majority = summary.get("majority")
    return "; ".join([*parts, *([f"majority baseline: {majority:.3f}"] if isinstance(majority, float) else [])])


def _stamp(path: Path) -> float | None:
    """Seconds that the Makefile wrote into a stamp file."""
    try:
        return float(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
