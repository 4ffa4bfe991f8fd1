"""The search for secrets in an image finds them, and nothing else."""

import pytest

from tests.containers.image import why
from tests.containers.layers import PLANTED, saved_image, suspicious

KEY = "-----BEGIN OPENSSH " + "PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("home/wethink/project/.env", ""),
        ("home/wethink/project/.dvc/config.local", ""),
        ("home/wethink/project/notes.txt", f"password {PLANTED}"),
        ("home/wethink/project/.git/config", "url = https://" + "me:password123@github.com/x.git"),
        ("root/.ssh/id_ed25519", ""),
        ("root/key", KEY),
        ("etc/pip.conf", ""),
    ],
)
def test_a_planted_secret_is_found_by_its_name_or_by_its_words(name: str, content: str) -> None:
    found, seen, layers = suspicious(saved_image({"a": b"nothing", name: content.encode()}))
    assert (seen, layers) == (2, 1) and len(found) == 1 and found[0].startswith(name)


def test_ordinary_files_are_no_secrets() -> None:
    found, seen, _ = suspicious(
        saved_image({"home/wethink/project/README.md": b"see .env", "opt/venv/x.py": KEY.encode()})
    )
    assert not found and seen == 2


@pytest.mark.parametrize(
    ("log", "said"),
    [
        ("#3 ERROR: failed to do request: dial tcp 10.0.0.1:443: i/o timeout\nmore", "a registry cannot be reached"),
        ("E: Failed to fetch http://deb/x  Temporary failure resolving 'deb'", "Debian's mirror"),
        ("ERROR: No matching distribution found for zipp==4.1.2", "pip found no package index"),
        ("write /x: no space left on device", "the disk is full"),
        ("step 3\nsomething else broke\n", "the build failed: something else broke"),
    ],
)
def test_a_failed_build_is_explained_in_a_sentence(log: str, said: str) -> None:
    assert why(log).startswith(said) and "\n" not in why(log)
