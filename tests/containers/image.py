"""`make image`: build `wethink:cpu` from the last commit, with each builder, and check it → reports/image.json.

    python -m tests.containers.image [--base IMAGE] [--builder legacy|buildkit] [--wheels FOLDER]

Where the base cannot be pulled, Debian's packages make one (tests/containers/debian.py) and this machine's pip fetches
the wheels, which the build installs over loopback: nothing of this machine's pip configuration gets into a layer.
"""

import argparse
import contextlib
import functools
import hashlib
import http.server
import re
import subprocess
import sys
import tempfile
import threading
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

from tasks import ROOT
from tests.containers import debian, layers
from tests.containers.engine import LOGS, Engine, engine
from tests.containers.report import Report
from wethink.common.errors import UserError

BASE, TAG = "python:3.11-slim-bookworm", "wethink:cpu"
BUILDERS = {"legacy": "0", "buildkit": "1"}
WHEELS, PORT = ROOT / ".wethink/wheels", 3141  # one port, since the address is part of a layer's cache key
LOCKED_DOWN = ["--rm", "--network", "none", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--init"]
QUICK = "tests/common tests/config tests/rewards tests/tasks/test_infra.py tests/test_architecture.py"
FAULTS = {  # a line of a failed build's log → what it means
    r"(dial tcp|lookup .*|connection refused|i/o timeout|no such host|failed to resolve source metadata)": (
        "a registry cannot be reached; name a base that is here (--base), or see docs/operations.md, In containers"
    ),
    r"(Temporary failure resolving|Unable to fetch|Failed to fetch)": (
        "Debian's mirror cannot be reached from the build"
    ),
    r"(No matching distribution found|Could not find a version|Failed to establish a new connection)": (
        "pip found no package index in the build, or not the locked version there (--wheels FOLDER helps)"
    ),
    r"no space left on device": "the disk is full",
}


def base_image(docker: Engine, wanted: str) -> tuple[str, bool]:
    """Return an image to build from and whether it had to be made.

    Raises:
        UserError: it is not here, cannot be pulled, and is not the default one or cannot be made.
    """
    if docker.has(wanted):
        return wanted, False
    if wanted == BASE and docker.has(debian.BASE):
        return debian.BASE, True
    pulled = docker.ended("pull", "--quiet", wanted, timeout=600)
    if pulled.returncode == 0:
        return wanted, False
    why = f"{wanted} is not here and cannot be pulled ({pulled.stderr.strip().splitlines()[-1][:200]})"
    if wanted != BASE or debian.missing():
        lacks = f"; to make one of Debian's packages, {debian.missing()}" if debian.missing() else ""
        raise UserError(f"{why}. Name another base with ARGS='--base IMAGE'{lacks}.")
    print(f"{why}; debootstrap makes one of Debian's packages.", flush=True)
    return debian.base(docker), True


def wheels_of_the_lock() -> Path:
    """Fetch the locked wheels with this machine's pip, once per lock; return their folder.

    Raises:
        UserError: pip failed.
    """
    digest = hashlib.sha256((ROOT / "requirements.lock").read_bytes()).hexdigest()[:16]
    if not (WHEELS / digest).is_dir():
        partial = WHEELS / f"{digest}.partial"
        log = LOGS / "wheels.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--requirement", str(ROOT / "requirements.lock")]
        with log.open("w", encoding="utf-8") as file:
            if subprocess.run([*command, "--wheel-dir", str(partial)], stdout=file, stderr=file).returncode:
                raise UserError(f"pip cannot fetch the locked wheels; see {log}.")
        partial.rename(WHEELS / digest)
    return WHEELS / digest


@contextlib.contextmanager
def served(folder: Path) -> Iterator[list[str]]:
    """Serve a folder of wheels on loopback; yield the build arguments that make pip install from it alone.

    Raises:
        UserError: the port is taken.
    """

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", PORT), functools.partial(Quiet, directory=str(folder)))
    except OSError as error:
        raise UserError(f"port {PORT} of this machine is taken ({error.strerror}); end what uses it.") from None
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        arguments = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": f"http://127.0.0.1:{PORT}/"}
        yield ["--network", "host", *(f"--build-arg={name}={value}" for name, value in arguments.items())]
    finally:
        server.shutdown()
        server.server_close()


def context(folder: Path, planted: bool = True) -> Path:
    """Clone the last commit to build from, with planted secrets where people keep theirs, to see that none gets in."""
    place = folder / "context"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", str(ROOT), str(place)], check=True)
    if planted:
        for name in (".env", ".dvc/config.local", "infra/docker/.env"):
            (place / name).write_text(f"key = {layers.PLANTED}\n", encoding="utf-8")
        address = f"https://{layers.PLANTED}@localhost/project.git"
        subprocess.run(["git", "remote", "set-url", "origin", address], cwd=place, check=True)
    return place


def build(docker: Engine, place: Path, builder: str, base: str, tag: str, *arguments: str) -> str:
    """Build an image; return its size and number of layers.

    Raises:
        UserError: it was not built; the message has the reason and the log.
    """
    for argument in arguments:
        if urllib.parse.urlsplit(argument.split("=", 2)[-1]).password:
            raise UserError("a build argument holds a password, which would stand in the image's history.")
    log = LOGS / f"image-{builder}.log"
    command = ["build", "--file", str(place / "infra/docker/Dockerfile"), "--tag", tag, f"--build-arg=BASE={base}"]
    if docker.logged(
        log, [*command, *arguments, str(place)], DOCKER_BUILDKIT=BUILDERS[builder], BUILDKIT_PROGRESS="plain"
    ):
        raise UserError(f"{why(log.read_text(encoding='utf-8', errors='replace'))} (all of the build's output: {log}).")
    size = int(docker.run("image", "inspect", "--format", "{{.Size}}", tag)) / 1e9
    parts = [line for line in docker.run("history", "--format", "{{.Size}}", tag).splitlines() if line != "0B"]
    return f"{size:.2f} GB in {len(parts)} layers ({', '.join(reversed(parts))})"


def why(log: str) -> str:
    """Return in one sentence why a build failed."""
    for pattern, meaning in FAULTS.items():
        if re.search(pattern, log):
            return meaning
    lines = [line.strip() for line in log.splitlines() if line.strip()]
    return f"the build failed: {lines[-1][:300] if lines else 'no output'}"


def shell(docker: Engine, image: str, script: str, *options: str) -> str:
    """Return what a script prints in a container without network, capabilities or a way to more rights."""
    ended = docker.ended("run", *LOCKED_DOWN, *options, image, "bash", "-euc", script, timeout=3000)
    if ended.returncode:
        raise AssertionError(f"exit code {ended.returncode}: {(ended.stdout + ended.stderr)[-1500:]}")
    return ended.stdout.strip()


OTHERS = "find / -xdev -writable -type f ! -user wethink ! -path '/proc/*' ! -path '/sys/*' 2>/dev/null | head -n 3"


def nothing_runs_as_root(docker: Engine, image: str) -> str:
    said = shell(docker, image, "id -u; grep CapEff /proc/self/status; touch probe; git status --short")
    uid, capabilities, *changed = said.splitlines()
    assert uid == "10001" and int(capabilities.split()[1], 16) == 0, said
    assert changed == ["?? probe"], f"the checkout is not as it was committed: {changed}"
    owners = shell(docker, image, f"find . ! -user wethink | head -n 3; {OTHERS}")
    assert not owners, f"not the user's own, or the user may write to it: {owners}"
    return "user 10001, no capability; the checkout is its own and clean; it may write to nobody else's files"


def smoke(docker: Engine, image: str) -> str:
    said = shell(
        docker,
        image,
        "python -m wethink profile smoke; python -m flows.pipeline; test -s reports/index.html; "
        "cat /sys/fs/cgroup/memory/memory.max_usage_in_bytes /sys/fs/cgroup/memory.peak 2>/dev/null || true",
        "--env=OMP_NUM_THREADS=1",
    )
    peak = int(said.splitlines()[-1]) / 1e9 if said.splitlines()[-1].isdigit() else float("nan")
    return f"no network, all capabilities dropped; {peak:.1f} GB at most"


def quick_tests(docker: Engine, image: str) -> str:
    said = shell(docker, image, f"python -m pytest -q -p no:cacheprovider -n 2 --dist loadfile {QUICK}")
    return said.splitlines()[-1]


def unreachable_registry(docker: Engine, image: str) -> str:
    """An address that nobody answers must end in a sentence."""
    try:
        base_image(docker, "127.0.0.1:9/python:3.11")
    except UserError as error:
        assert len(str(error)) < 500 and "cannot be pulled" in str(error), error
        return str(error)
    raise AssertionError("it was pulled")


def check(docker: Engine, args: argparse.Namespace) -> int:
    report = Report("image")
    base, made = base_image(docker, args.base)
    if subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True).stdout.strip():
        print("The image is built from the last commit; what is not committed is not in it.", flush=True)
    wheels = args.wheels or (wheels_of_the_lock() if made else None)
    with tempfile.TemporaryDirectory(prefix="wethink-image-") as folder:
        place = context(Path(folder))
        with (
            served(wheels) if wheels else contextlib.nullcontext(["--network", "host"] if docker.own else []) as options
        ):
            for builder in [args.builder] if args.builder else BUILDERS:
                arguments = [*options, f"--build-arg=TORCH_INDEX={args.torch_index}"]
                built = functools.partial(build, docker, place, builder, base, args.tag, *arguments)
                if not report.case(f"built from {base}, {builder}", built):
                    return report.end()
                for case in (layers.holds_no_secret, nothing_runs_as_root):
                    report.case(
                        f"{case.__name__.replace('_', ' ')}, {builder}", functools.partial(case, docker, args.tag)
                    )
    report.case("the smoke DAG", functools.partial(smoke, docker, args.tag))
    report.case("the quick part of the tests", functools.partial(quick_tests, docker, args.tag))
    report.case("a registry that cannot be reached", functools.partial(unreachable_registry, docker, args.tag))
    return report.end()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.containers.image", description="Build the image and check it."
    )
    parser.add_argument("--base", default=BASE, help="an image of Debian or Ubuntu (default: %(default)s)")
    parser.add_argument("--builder", choices=sorted(BUILDERS), help="one builder instead of both")
    parser.add_argument("--tag", default=TAG, help="the image's name (default: %(default)s)")
    parser.add_argument("--wheels", type=Path, help="install from the wheels in this folder, and from nowhere else")
    parser.add_argument(
        "--torch-index", default="https://download.pytorch.org/whl/cpu", help="index of PyTorch's build"
    )
    args = parser.parse_args()
    try:
        if args.wheels and not any(args.wheels.glob("*.whl")):
            raise UserError(f"{args.wheels} holds no wheel.")
        with engine() as docker:
            return check(docker, args)
    except UserError as error:
        print(f"wethink image: {error}", file=sys.stderr)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
