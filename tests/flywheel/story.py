"""`make flywheel`: a new source arrives, a challenger is trained and decided on; then what can go wrong.

Everything is real but small: the stages, DeepSpeed, Prefect, MLflow, DVC and git, on a policy of a few thousand
weights and images of noise, in a project that is thrown away. It proves mechanics, never accuracy. Writes
reports/flywheel.json.
"""

import argparse
import contextlib
import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tasks import ROOT
from wethink.records import read_json, write_json, write_jsonl

REPORT = Path("reports/flywheel.json")
WORDS = [
    "how",
    "many",
    "things",
    "are",
    "red",
    "or",
    "blue",
    "?",
    "what",
    "is",
    "the",
    "level",
    "of",
    "green",
    "circle",
    "square",
]


def project(folder: Path) -> Path:
    """A git checkout in which the main job has just finished, with a miniature policy."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, folder / name)
    params = _params()
    (folder / "params.yaml").write_text(json.dumps(params, indent=1), encoding="utf-8")  # JSON is YAML
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "commit.gpgsign=false"]
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "start"]):
        subprocess.run(["git", *identity, *command], cwd=folder, check=True)
    _main_job(folder)
    return folder


def _params() -> dict[str, Any]:
    from wethink.config import load_params

    params = load_params(ROOT / "params.yaml").model_dump(mode="json", by_alias=True)
    params["validate"] |= {"min_rows": 5, "max_quarantined": 0.9, "max_answer_share": 1.0}
    params["grpo"]["optim"] |= {"batch": 4, "save_every": 1}
    params["grpo"] |= {"group": 4, "max_new_tokens": 8}
    params["evaluate"] |= {"max_new_tokens": 8, "batch": 16, "bootstrap": 50}
    params["retrain"] |= {"steps": 3}
    params["promotion"] |= {"min_scenes": 2, "resamples": 400, "looks": 4, "alpha": 0.5}
    params["launch"] |= {"processes": 1, "deadline_minutes": 10}
    return params


def _picture(name: str) -> bytes:
    from tests.miniature import NoiseImages

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

    from tests.miniature import policy
    from wethink.images import SCHEMA
    from wethink.models.policy import save_policy
    from wethink.runs import write_manifest

    images, rows, items = [], [], []
    for number in range(24):
        blob = _picture(f"noise {number}")
        image, split = hashlib.sha256(blob).hexdigest(), "reporting" if number % 3 == 0 else "train"
        images.append({"id": image, "bytes": blob, "source": "noise", "split": split, "cluster": image} | {
            "width": 56, "height": 56, "origin": f"{number}.png"
        })  # fmt: skip
        own = {
            "id": f"{number:016x}",
            "image": image,
            "source": "noise",
            "split": split,
            "scene": image,
            "kind": "count",
        }
        row = _row(number, image_path=f"noise/{number}.png", provenance={}, decisions={}, **own)
        if split == "train":
            rows.append(row | {"refined_cot": ""})
        else:
            items.append(
                {k: row[k] for k in (*own, "problem", "answer", "category", "abilities", "reward") if k != "split"}
            )
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
        (home / "images" / f"{number}.png").write_bytes(_picture(f"{name} {number}"))
        rows.append(_row(number, image_path=f"{number}.png"))
    (home / "images" / "broken.png").write_bytes(b"no image")
    rows.append(_row(1, image_path="broken.png"))
    write_jsonl(home / "rows.jsonl", rows)
    (home / "_SUCCESS").touch()
    return home


class Story:
    """The cases, run in order in one project; what they need of each other is in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = project(folder / "project")
        self.incoming = folder / "incoming"
        self.incoming.mkdir()
        own = {name: value for name, value in os.environ.items() if not name.startswith(("PREFECT_", "MLFLOW_"))}
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        self.environment = own | {"PATH": path, "PYTHONPATH": "", "PWD": str(self.folder)}  # prefect.yaml asks for PWD
        self.log = folder / "story.log"

    def run(self, *command: str, code: int = 0) -> str:
        """A command in the project; its output."""
        ended = subprocess.run(
            [sys.executable, "-m", *command], cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        with self.log.open("a", encoding="utf-8") as log:
            log.write(f"$ {' '.join(command)}\n{ended.stdout}{ended.stderr}\n")
        if ended.returncode != code:
            raise AssertionError(f"{' '.join(command)} ended with {ended.returncode}: {ended.stderr[-600:]}")
        return ended.stdout.strip()

    def retrain(self, name: str) -> str:
        return self.run("flows.retrain", name, "--bucket", str(self.incoming)).splitlines()[-1]

    def git(self, *command: str) -> str:
        return subprocess.run(["git", *command], cwd=self.folder, capture_output=True, text=True, check=True).stdout

    def versions(self) -> list[str]:
        return self.run("flows.promote", "list").splitlines()

    # -- the cases

    def without_a_champion_a_retrain_says_what_to_do(self) -> str:
        source(self.incoming, "first")
        ended = subprocess.run(
            [sys.executable, "-m", "flows.retrain", "first", "--bucket", str(self.incoming)],
            cwd=self.folder, env=self.environment, capture_output=True, text=True,
        )  # fmt: skip
        assert ended.returncode == 2 and "flows.promote first" in ended.stderr, ended.stderr[-600:]
        return ended.stderr.strip().splitlines()[-1]

    def the_main_jobs_result_becomes_the_first_champion(self) -> str:
        return self.run("flows.promote", "first")

    def a_new_source_makes_a_challenger_that_is_decided_on(self) -> str:
        said = self.retrain("first")
        assert "promoted" in said or "refused" in said, said
        (work,) = (self.folder / ".wethink/retrain").iterdir()
        union = read_json(work / "retrain/union/metrics.json")
        assert union["rows"]["old"] == 16 and union["items"]["old"] == 8
        assert union["rows"]["new"] + union["items"]["new"] == 16 == union["images"]
        assert read_json(work / "retrain/decision.json")["reasons"]
        assert (work / "retrain/decision.html").stat().st_size > 3000
        assert f"retrain/{work.name}" in self.git("branch", "--list", "retrain/*")
        committed = self.git("ls-tree", "-r", "--name-only", f"retrain/{work.name}")
        assert {"retrain/union.dvc", "retrain/challenger.dvc", "retrain/decision.html"} <= set(committed.split())
        return said

    def the_same_source_twice_does_nothing(self) -> str:
        before = self.versions()
        said = self.retrain("first")
        assert "nothing has changed" in said or "has learned from" in said, said
        assert self.versions() == before
        return said

    def a_flow_killed_during_training_goes_on_and_decides_once(self) -> str:
        source(self.incoming, "second")
        command = [sys.executable, "-m", "flows.retrain", "second", "--bucket", str(self.incoming)]
        with subprocess.Popen(command, cwd=self.folder, env=self.environment, stderr=subprocess.DEVNULL) as running:
            step = next(_until(lambda: self._trained("second"), running, 400))
            running.send_signal(signal.SIGKILL)
        before = len(self.versions())
        said = self.retrain("second")
        assert len(self.versions()) == before + 1
        log = next((self.folder / ".wethink/retrain").glob("second-*")) / ".wethink/runs/challenger.metrics.jsonl"
        steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
        assert steps == [1, 2, 3], steps
        return f"killed after step {step}; then: {said}"

    def _trained(self, name: str) -> int | None:
        for log in (self.folder / ".wethink/retrain").glob(f"{name}-*/.wethink/scratch/challenger/*/metrics.jsonl"):
            return len(log.read_text().splitlines()) or None
        return None

    def a_champion_named_by_hand_can_be_rolled_back(self) -> str:
        champion = self.run("flows.promote", "champion")
        other = next(line.split()[0] for line in self.versions() if line.split()[1] not in champion)
        self.run("flows.promote", "promote", other, "--because", "a test")
        assert self.run("flows.promote", "champion") != champion
        said = self.run("flows.promote", "rollback", "--because", "a test")
        assert self.run("flows.promote", "champion") == champion
        return said

    def a_second_clone_pulls_the_union_from_the_cache(self) -> str:
        branch = self.git("branch", "--list", "retrain/first-*", "--format=%(refname:short)").strip()
        clone = self.folder.parent / "clone"
        subprocess.run(["git", "clone", "--quiet", "-b", branch, str(self.folder), str(clone)], check=True)
        remote = f"[cache]\n    dir = {self.folder / '.dvc/cache'}\n"
        (clone / ".dvc/config.local").write_text(remote, encoding="utf-8")
        targets = ["retrain/union.dvc", "retrain/challenger.dvc"]
        command = [sys.executable, "-m", "dvc", "checkout", *targets]
        subprocess.run(command, cwd=clone, env=self.environment, check=True, capture_output=True)
        work = self.folder / ".wethink/retrain" / branch.removeprefix("retrain/")
        for name in ("union", "challenger"):
            manifests = [(place / "retrain" / name / "manifest.json").read_bytes() for place in (clone, work)]
            assert manifests[0] == manifests[1]
        return f"{branch}: the same manifests"

    def a_source_dropped_into_a_bucket_is_decided_on_with_nobody_touching_anything(self) -> str:
        with services(self) as (store, bucket):
            dropped = source(self.folder.parent / "to_upload", "third")
            for path in sorted(p for p in dropped.rglob("*") if p.is_file()):  # `_SUCCESS` sorts first: not before
                if path.name != "_SUCCESS":
                    store.upload_file(str(path), bucket, f"third/{path.relative_to(dropped).as_posix()}")
            begin = time.monotonic()
            for _ in range(2):  # closed twice: the same object, two messages
                store.put_object(Bucket=bucket, Key="third/_SUCCESS", Body=b"")
            run = _wait_for(lambda: next(iter(self._runs()), None), 60)
            noticed = time.monotonic() - begin
            _wait_for(lambda: self._runs()[0]["state_type"] in ("COMPLETED", "FAILED", "CRASHED") or None, 500)
            (ended,) = self._runs()  # one run of two messages
            assert ended["id"] == run["id"] and ended["state_type"] == "COMPLETED", ended["state"]
            assert "'third' made version" in ended["state"]["message"], ended["state"]
            told = (self.folder / ".wethink/watcher/told.txt").read_text().split()
            assert told == [run["parameters"]["event_id"]]
        return f"a run {noticed:.1f} s after the closing object; {ended['state']['message']}"

    def _runs(self) -> list[dict[str, Any]]:
        from tasks.events import _ask

        wanted = {"deployments": {"name": {"any_": ["retrain"]}}}
        return list(_ask(f"{self.environment['PREFECT_API_URL']}/flow_runs/filter", wanted))


@contextlib.contextmanager
def services(story: Story) -> Iterator[tuple[Any, str]]:
    """Prefect's server and worker, S3 with a queue, and the watcher, on loopback: the S3 client and the bucket."""
    from moto.server import ThreadedMotoServer

    from tasks.server import _free_port
    from tasks.sources import client

    s3 = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    s3.start()
    endpoint = "http://{}:{}".format(*s3.get_host_and_port())
    port = _free_port()
    keys = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ |= keys
    story.environment |= keys | {
        "AWS_ENDPOINT_URL": endpoint,
        "PREFECT_API_URL": f"http://127.0.0.1:{port}/api",
        "PREFECT_HOME": str(story.folder / ".prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
    }
    store, queue, bucket = client("s3", endpoint), client("sqs", endpoint), "images"
    store.create_bucket(Bucket=bucket)
    url = queue.create_queue(QueueName="closed")["QueueUrl"]
    arn = queue.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    told = {"QueueConfigurations": [{"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}]}
    store.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=told)
    running: list[subprocess.Popen[bytes]] = []
    log = (story.folder.parent / "services.log").open("ab")

    def start(*command: str) -> None:
        running.append(
            subprocess.Popen(
                [sys.executable, "-m", *command], cwd=story.folder, env=story.environment, stdout=log, stderr=log
            )
        )

    try:
        start("prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port))
        health = f"{story.environment['PREFECT_API_URL']}/health"
        _wait_for(lambda: _answers(health), 120)
        story.run("prefect", "work-pool", "create", "--type", "process", "local")
        story.run("prefect", "--no-prompt", "deploy", "--prefect-file", "infra/prefect.yaml", "--all")
        start("prefect", "worker", "start", "--pool", "local")
        start("tasks.watcher", "--bucket", bucket, "--queue", url, "--endpoint", endpoint)
        yield store, bucket
    finally:
        for process in reversed(running):  # watcher and worker before the server: without it they do not end
            process.terminate()
            try:
                process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        s3.stop()
        log.close()


def _answers(url: str) -> bool | None:
    with contextlib.suppress(urllib.error.URLError, OSError), urllib.request.urlopen(url, timeout=5):
        return True
    return None


def _wait_for(condition: Callable[[], Any], seconds: float) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found is not None:
            return found
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds:.0f} s in vain")


def _until(condition: Callable[[], Any], running: "subprocess.Popen[bytes]", seconds: float) -> Iterator[Any]:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and running.poll() is None:
        found = condition()
        if found is not None:
            yield found
            return
        time.sleep(0.05)
    raise AssertionError("it ended, or time was up, before it trained a step")


CASES = (
    "without_a_champion_a_retrain_says_what_to_do",
    "the_main_jobs_result_becomes_the_first_champion",
    "a_new_source_makes_a_challenger_that_is_decided_on",
    "the_same_source_twice_does_nothing",
    "a_flow_killed_during_training_goes_on_and_decides_once",
    "a_champion_named_by_hand_can_be_rolled_back",
    "a_second_clone_pulls_the_union_from_the_cache",
    "a_source_dropped_into_a_bucket_is_decided_on_with_nobody_touching_anything",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.flywheel", description=__doc__)
    parser.add_argument("--keep", type=Path, help="a new folder for the project, which is then left there")
    parser.add_argument("--only", nargs="*", choices=CASES, metavar="CASE", help="some of the cases, in order")
    args = parser.parse_args()
    folder = args.keep or Path(tempfile.mkdtemp(prefix="flywheel-"))
    folder.mkdir(parents=True, exist_ok=True)
    story, cases = Story(folder), []
    for name in args.only or CASES:
        begin = time.monotonic()
        try:
            passed, note = True, getattr(story, name)()
        except Exception as error:
            passed, note = False, f"{type(error).__name__}: {error}"
        seconds = round(time.monotonic() - begin, 1)
        note = note.replace(str(folder), "…")
        cases.append({"name": name.replace("_", " "), "passed": passed, "seconds": seconds, "note": note})
        print(f"{'passed' if passed else 'FAILED'}  {name.replace('_', ' ')} ({seconds} s): {note}", flush=True)
        write_json(REPORT, {"cases": cases})
    if args.keep is None:
        shutil.rmtree(folder, ignore_errors=True)
    return 0 if all(case["passed"] for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
