"""A throw-away checkout in which the main job has just finished, and sources that arrive there."""

import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tasks import ROOT
from wethink.common.jsonl import read_json, write_jsonl

TEXT = "how many things are red or blue ? what is the level of green circle square"
WORDS = TEXT.split()
STAND_INS = Path(__file__).parent / "stand_ins"
NO_EXPECTATIONS = """

def _suite(config, sources): return None
def _checkpoint(frame, suite, scratch): return []
"""  # Great Expectations alone takes seconds to import
IDENTITY = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]


class Project:
    """A git checkout with a miniature policy, its environment, and a log of all that was run in it."""

    def __init__(self, home: Path, stand_ins: bool = False) -> None:
        self.home, self.folder, self.incoming = home, home / "project", home / "incoming"
        self.log = home / "story.log"
        self.incoming.mkdir(parents=True)
        make(self.folder, stand_ins)
        self.environment = environment() | {"PWD": str(self.folder)}  # prefect.yaml asks for it

    def run(self, *command: str, code: int = 0) -> str:
        """A Python module run in the project, with the exit code that is expected; its output."""
        ended = self.ended(*command)
        if ended.returncode != code:
            raise AssertionError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-600:]}")
        return ended.stdout.strip()

    def ended(self, *command: str) -> "subprocess.CompletedProcess[str]":
        ended = subprocess.run(
            [sys.executable, "-m", *command], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{ended.stdout}{ended.stderr}\n")
        return ended

    def retrain(self, name: str, bucket: str = "") -> str:
        """A retrain from the command line; what it says at last."""
        return self.run("flows.retrain", name, "--bucket", bucket or str(self.incoming)).splitlines()[-1]

    def remote(self, url: str) -> None:
        """Give DVC a remote, and commit that."""
        self.run("dvc", "remote", "add", "--default", "store", url)
        self.git(*IDENTITY, "commit", "--quiet", "--all", "--message", "a remote")

    def git(self, *command: str) -> str:
        return subprocess.run(["git", *command], cwd=self.folder, capture_output=True, text=True, check=True).stdout

    def branches(self, source: str) -> list[str]:
        return self.git("branch", "--list", f"retrain/{source}-*", "--format=%(refname:short)").split()

    def tags(self, source: str) -> list[str]:
        return self.git("tag", "--list", f"data/{source}-*").split()

    def versions(self) -> list[str]:
        """The registry, a line a version."""
        return [line for line in self.run("flows.promote", "list").splitlines() if line.strip()[0].isdigit()]

    def worktrees(self, source: str) -> list[Path]:
        return sorted((self.folder / ".wethink/retrain").glob(f"{source}-*"))

    def steps(self, source: str) -> list[int]:
        """The training steps that the source's challenger was made of, in the order in which they were logged."""
        (work,) = self.worktrees(source)
        log = work / ".wethink/runs/challenger.metrics.jsonl"
        return [json.loads(line)["step"] for line in log.read_text(encoding="utf-8").splitlines()]

    def trained(self, source: str) -> int | None:
        """The last step of a training that goes on; None before the first."""
        for log in (self.folder / ".wethink/retrain").glob(f"{source}-*/.wethink/scratch/challenger/*/metrics.jsonl"):
            return len(log.read_text(encoding="utf-8").splitlines()) or None
        return None

    def decision(self, source: str) -> dict[str, Any]:
        (work,) = self.worktrees(source)
        found: dict[str, Any] = read_json(work / "retrain/decision.json")
        return found


def environment() -> dict[str, str]:
    """That of another checkout's commands: nothing of this one's services."""
    own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return own | {"PATH": path, "PYTHONPATH": ""}


def checkout(folder: Path) -> None:
    """What git tracks or would track here, in another folder."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)


def make(folder: Path, stand_ins: bool) -> None:
    """The files of this checkout, committed, and what the main job leaves behind."""
    checkout(folder)
    params = _params()
    if stand_ins:
        for name in ("rl/trainer.py", "evaluation/evaluate.py"):
            shutil.copy(STAND_INS / name, folder / "wethink" / name)
        with (folder / "wethink/curation/validate.py").open("a", encoding="utf-8") as module:
            module.write(NO_EXPECTATIONS)
        params["retrain"] |= {"sft_steps": 0, "steps": 8}
    YAML().dump(params, folder / "params.yaml")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "start"]):
        subprocess.run(["git", *IDENTITY, *command], cwd=folder, check=True)
    _main_job(folder)


def _params() -> dict[str, Any]:
    from wethink.config.params import load_params

    params = load_params(ROOT / "params.yaml").model_dump(mode="json", by_alias=True)
    params["validate"] |= {"min_rows": 5, "max_quarantined": 0.9, "max_answer_share": 1.0}
    params["grpo"]["optim"] |= {"train_batch_size": 4, "save_steps": 1}
    params["grpo"] |= {"num_generations": 4, "max_completion_length": 8}
    params["evaluate"] |= {"max_new_tokens": 8, "batch_size": 16, "bootstrap": 50}
    params["retrain"] |= {"sft_steps": 4, "steps": 20}  # some of them are seen on the way
    params["promotion"] |= {"min_scenes": 2, "resamples": 800, "looks": 40, "alpha": 0.5}
    params["launch"] |= {"processes": 1, "deadline_minutes": 10}
    return params


def picture(name: str) -> bytes:
    """A PNG of noise that follows from the name."""
    from tests.support.miniature import NoiseImages

    buffer = io.BytesIO()
    NoiseImages().open(name).save(buffer, "PNG")
    return buffer.getvalue()


def _row(number: int, **own: Any) -> dict[str, Any]:
    problem = " ".join(WORDS[: 4 + number % 9])
    answer = str(1 + number % 3)
    return {"problem": problem, "answer": answer, "category": "FIB", "abilities": ["reasoning", "counting"]} | {
        "refined_cot": f"green {answer}",
        "reward": "rule",
    } | own  # fmt: skip


def _main_job(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from tests.support.miniature import policy
    from wethink.dag.publishing import write_manifest
    from wethink.data.image_store import SCHEMA
    from wethink.models.policy import save_policy

    images, rows, items = [], [], []
    for number in range(24):
        blob = picture(f"noise {number}")
        image, split = hashlib.sha256(blob).hexdigest(), "reporting" if number % 3 == 0 else "train"
        images.append({"id": image, "bytes": blob, "source": "noise", "split": split, "cluster": image} | {
            "width": 56, "height": 56, "origin": f"{number}.png"
        })  # fmt: skip
        own = {"id": f"{number:016x}", "image": image, "source": "noise", "scene": image, "kind": "count"}
        row = _row(number, image_path=f"noise/{number}.png", provenance={}, decisions={}, split=split, **own)
        if split == "train":
            rows.append(row | {"refined_cot": ""})
        else:
            items.append({key: row[key] for key in (*own, "problem", "answer", "category", "abilities", "reward")})
    for place in ("data/images", "data/valid", "data/drawn/items"):
        (folder / place).mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(images, schema=SCHEMA), folder / "data/images/shard-00000.parquet")
    write_jsonl(folder / "data/valid/rows.jsonl", rows)
    write_jsonl(folder / "data/valid/descriptions.jsonl", [])
    write_jsonl(folder / "data/drawn/items/reporting.jsonl", items)
    for name, seed in (("sft", 0), ("grpo", 1)):
        model, made = policy(seed)
        save_policy(model, None, made, folder / "models" / name, "card")
    for place in ("data/images", "data/valid", "data/drawn", "models/sft", "models/grpo"):
        write_manifest(folder / place)


def source(folder: Path, name: str, images: int = 16) -> Path:
    """A new source: images, rows about them, and the marker that closes it."""
    home = folder / name
    (home / "images").mkdir(parents=True)
    rows = []
    for number in range(images):
        (home / "images" / f"{number}.png").write_bytes(picture(f"{name} {number}"))
        rows.append(_row(number, image_path=f"{number}.png"))
    (home / "images" / "broken.png").write_bytes(b"no image")
    rows.append(_row(1, image_path="broken.png"))
    write_jsonl(home / "rows.jsonl", rows)
    (home / "_SUCCESS").touch()
    return home
