"""Secrets in an image: its history, and every layer as it was saved, also what a later layer deletes."""

import io
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from typing import IO, cast

from tests.containers.engine import Engine

PLANTED = "-".join(("wethink", "planted", "secret"))  # not as one word here, since this file is in the image, too
NAMES = re.compile(
    r"(^|/)(\.env|\.netrc|\.pypirc|pip\.conf|config\.local|id_(rsa|ed25519)|\.aws/credentials|\.docker/config\.json)$"
)
CONTENT = re.compile(
    rf"{PLANTED}|-----BEGIN (RSA |OPENSSH |EC )?PRIVATE KEY-----|\bAKIA[0-9A-Z]{{16}}\b|://[^/\s:@]+:[^/\s:@]{{6,}}@(?!127\.|localhost)".encode()
)
LIBRARIES = (
    "usr/",
    "opt/venv/",
    "var/lib/dpkg/",
    "lib/",
)  # as they were installed: their names are looked at, not their words
LARGEST = 2_000_000  # bytes of a file that is read


def holds_no_secret(docker: Engine, image: str) -> str:
    """Look through the history and the layers."""
    history = docker.run("history", "--no-trunc", "--format", "{{.CreatedBy}}", image)
    configuration = docker.run("image", "inspect", image)
    for text in (history, configuration):
        assert not CONTENT.search(text.encode()), "the history or the configuration holds a secret"
    command = [docker.client, "save", image]
    with subprocess.Popen(command, env=_environment(docker), stdout=subprocess.PIPE) as saved:
        found, seen, layers = suspicious(cast(IO[bytes], saved.stdout))
    assert saved.returncode == 0 and layers > 3, f"docker save ended with {saved.returncode} after {layers} layers"
    assert not found, f"secrets: {', '.join(found[:5])}"
    return f"{seen} files in {layers} layers, and the history"


def suspicious(archive: IO[bytes]) -> tuple[list[str], int, int]:
    """Return the files that look like secrets, and how many files and layers were looked at."""
    found, seen, layers = list[str](), 0, 0
    with tarfile.open(fileobj=archive, mode="r|") as image:
        for member in image:
            layer = image.extractfile(member)
            if layer is None or not (member.name.endswith("layer.tar") or "blobs/" in member.name):
                continue
            try:
                names = list(_files(layer))
            except tarfile.ReadError:
                continue  # a blob that is a manifest
            layers += 1
            seen += len(names)
            found += [f"{name} ({why})" for name, why in names if why]
    return found, seen, layers


def _files(layer: IO[bytes]) -> Iterator[tuple[str, str]]:
    """Yield each file of a layer with why it is suspicious, or ''."""
    with tarfile.open(fileobj=layer, mode="r|*") as files:
        for file in files:
            name = file.name.removeprefix("./")
            if not file.isfile():
                continue
            why = "its name" if NAMES.search(name) and "site-packages" not in name else ""
            if not why and file.size <= LARGEST and not name.startswith(LIBRARIES):
                content = files.extractfile(file)
                if content is not None and (word := CONTENT.search(content.read())):
                    why = f"{word[0][:40].decode(errors='replace')}"
            yield name, why


def _environment(docker: Engine) -> dict[str, str]:
    import os

    return os.environ | dict(docker.environment)


def saved_image(files: dict[str, bytes]) -> io.BytesIO:
    """An archive as `docker save` writes it, with one layer of these files."""
    layer, image = io.BytesIO(), io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as archive:
        for name, content in files.items():
            archive.addfile(_entry(name, len(content)), io.BytesIO(content))
    with tarfile.open(fileobj=image, mode="w") as archive:
        archive.addfile(_entry("0/layer.tar", len(layer.getvalue())), io.BytesIO(layer.getvalue()))
        manifest = json.dumps([{"Layers": ["0/layer.tar"]}]).encode()
        archive.addfile(_entry("manifest.json", len(manifest)), io.BytesIO(manifest))
    image.seek(0)
    return image


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.size = size
    return entry
