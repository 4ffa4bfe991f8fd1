"""Links that tools make in the owner's folder are read; paths written inside data never leave their root."""

import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.test_ingest import encoded, folder, parquet, photo, run
from wethink.config.data import Source
from wethink.data.image_files import read_named
from wethink.data.image_readers import Unusable

DIGEST = "0123456789abcdef" * 4


def linked(at: Path, target: str, store: Path | None = None, content: bytes | None = None) -> None:
    """A relative or absolute link, and its target's content."""
    at.parent.mkdir(parents=True, exist_ok=True)
    at.symlink_to(target)
    if content is not None:
        real = store or at.parent / target
        real.parent.mkdir(parents=True, exist_ok=True)
        real.write_bytes(content)


def by_dvc(tmp_path: Path, name: str, content: bytes | None) -> None:
    store = tmp_path / "cache" / "files" / "md5" / "aa" / f"{abs(hash(name)):032x}"[:32]
    linked(tmp_path / "photos" / name, str(store), store, content)


def by_the_hub(tmp_path: Path, name: str, content: bytes | None) -> None:
    up = "../" * (name.count("/") + 1)
    store = tmp_path / "blobs" / f"{abs(hash(name)):064x}"
    linked(tmp_path / "photos" / name, f"{up}blobs/{store.name}", store, content)


def by_annex(tmp_path: Path, name: str, content: bytes | None) -> None:
    key = f"SHA256E-s99--{abs(hash(name)):064x}.png"
    store = tmp_path / ".git" / "annex" / "objects" / "Xk" / "1z" / key / key
    up = "../" * (name.count("/") + 1)
    linked(tmp_path / "photos" / name, f"{up}.git/annex/objects/Xk/1z/{key}/{key}", store, content)


TOOLS = {"DVC": (by_dvc, "dvc pull"), "hub": (by_the_hub, "snapshot again"), "git-annex": (by_annex, "git annex get")}


@pytest.mark.parametrize("tool", TOOLS)
def test_a_folder_of_links_is_read_and_a_broken_one_named_with_the_remedy(tool: str, tmp_path: Path) -> None:
    link, remedy = TOOLS[tool]
    for number, name in enumerate(("a.png", "sub/b.png", "sub/deep/c.png")):
        link(tmp_path, name, encoded(photo(number)))
    link(tmp_path, "sub/absent.png", None)
    source = Source(name="photos", kind="folder", path=str(tmp_path / "photos"))
    _, images, reasons = run(tmp_path, source)
    assert [record.origin for record in images.records] == ["a.png", "sub/b.png", "sub/deep/c.png"]
    assert list(reasons) == ["sub/absent.png"]
    assert reasons["sub/absent.png"].startswith("missing: a broken link") and remedy in reasons["sub/absent.png"]


@pytest.mark.parametrize("tool", TOOLS)
def test_a_table_may_name_files_that_a_tool_linked(tool: str, tmp_path: Path) -> None:
    link, remedy = TOOLS[tool]
    link(tmp_path, "img/a.png", encoded(photo()))
    link(tmp_path, "img/absent.png", None)
    source = parquet(tmp_path / "photos" / "t.parquet", ["img/a.png", "img/absent.png"])
    _, images, reasons = run(tmp_path, source)
    assert [record.origin for record in images.records] == ["t.parquet#0"]
    assert remedy in reasons["t.parquet#1"]


def test_a_hub_snapshot_whose_tables_are_links_is_read(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    pq.write_table(pa.table({"image": [encoded(photo())]}), tmp_path / "blobs" / DIGEST)
    linked(tmp_path / "snapshots" / "1" / "data" / "train.parquet", f"../../../blobs/{DIGEST}")
    source = Source(name="set", kind="dataset", path=str(tmp_path / "snapshots" / "1"))
    assert len(run(tmp_path, source)[1]) == 1


def test_a_saved_dataset_whose_files_are_links_is_read(tmp_path: Path) -> None:
    import datasets

    cells = [{"bytes": encoded(photo(n)), "path": None} for n in range(2)]
    features = datasets.Features({"image": datasets.Image()})
    datasets.Dataset.from_dict({"image": cells}, features).save_to_disk(str(tmp_path / "saved"))
    for number, path in enumerate(sorted((tmp_path / "saved").iterdir())):
        store = tmp_path / "files" / "md5" / f"{number:02x}" / ("c" * 30)
        store.parent.mkdir(parents=True)
        shutil.move(path, store)
        path.symlink_to(store)
    assert len(run(tmp_path, Source(name="set", kind="dataset", path=str(tmp_path / "saved")))[1]) == 2


def test_the_owners_own_link_is_followed_but_a_linked_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "one.png").write_bytes(encoded(photo(5)))
    source = folder(tmp_path / "photos", {"b.png": encoded(photo())})
    (tmp_path / "photos" / "one.png").symlink_to(tmp_path / "elsewhere" / "one.png")
    (tmp_path / "photos" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "photos" / "self").symlink_to(tmp_path / "photos")
    (tmp_path / "photos" / "gone").symlink_to(tmp_path / "nowhere")
    metrics, images, reasons = run(tmp_path, source)
    assert [record.origin for record in images.records] == ["b.png", "one.png"]
    assert {name: reason.split(":")[0] for name, reason in reasons.items()} == {
        "more": "a linked folder",
        "self": "a linked folder",
        "gone": "missing",
    }
    assert metrics["sources"]["photos"]["found"] == 5


@pytest.mark.parametrize(
    "name",
    [
        "../secret.png", "in/../../secret.png", "{root}/../secret.png", "/etc/hostname", "link.png",
        "folder/secret.png", "..\\secret.png", "in\\..\\..\\secret.png", "hashed/../../secret.png",
    ],
)  # fmt: skip
def test_a_path_inside_data_never_leaves_its_root(name: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    (root / "in").mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(encoded(photo()))
    (root / "link.png").symlink_to(tmp_path / "secret.png")
    (root / "folder").symlink_to(tmp_path)
    (root / "hashed").symlink_to(tmp_path / "files")
    with pytest.raises(Unusable, match=r"^(outside the source|missing)") as refused:
        read_named(name.format(root=root), root, 1)
    assert str(refused.value).startswith("outside")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every folder")
def test_a_folder_that_may_not_be_listed_is_named(tmp_path: Path) -> None:
    source = folder(tmp_path / "photos", {"a.png": encoded(photo()), "locked/b.png": encoded(photo(1))})
    (tmp_path / "photos" / "locked").chmod(0)
    try:
        assert run(tmp_path, source)[2]["locked"].startswith("unreadable")
    finally:
        (tmp_path / "photos" / "locked").chmod(0o700)


def test_a_folder_that_cannot_be_listed_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = folder(tmp_path / "photos", {"a.png": encoded(photo()), "locked/b.png": encoded(photo(1))})
    scan, listdir = os.scandir, os.listdir

    def refuse(call):  # type: ignore[no-untyped-def]
        def wrapped(path="."):  # type: ignore[no-untyped-def]
            if str(path).endswith("locked"):
                raise PermissionError(13, "Permission denied", str(path))
            return call(path)

        return wrapped

    monkeypatch.setattr(os, "scandir", refuse(scan))
    monkeypatch.setattr(os, "listdir", refuse(listdir))
    assert run(tmp_path, source)[2] == {"locked": "unreadable: Permission denied"}


NAMES = ["é.png", "Ünïcode/ö.png", "한글/가.png", "が/ぎ.png", "plain.png"]


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("on_disk", ["NFC", "NFD", "folders NFD, files NFC"])
def test_a_cell_finds_its_picture_in_any_normalisation(written: str, on_disk: str, tmp_path: Path) -> None:
    root = tmp_path / "set"
    for number, name in enumerate(NAMES):
        parent, _, last = name.rpartition("/")
        forms = ("NFD", "NFC") if "," in on_disk else (on_disk, on_disk)
        path = root / unicodedata.normalize(forms[0], parent) / unicodedata.normalize(forms[1], last)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(photo(number)))
    cells = [unicodedata.normalize(written, name) for name in NAMES]
    _, images, reasons = run(tmp_path, parquet(root / "t.parquet", [*cells, "ä.png"]))
    assert len(images) == len(NAMES) and reasons == {"t.parquet#5": "missing: the path leads to no file"}


def test_names_with_windows_separators_are_found(tmp_path: Path) -> None:
    folder(tmp_path / "set", {"in/a.png": encoded(photo()), "in/b\\c.png": encoded(photo(1))})
    _, images, _ = run(tmp_path, parquet(tmp_path / "set" / "t.parquet", ["in\\a.png", "in/b\\c.png"]))
    assert len(images) == 2


def test_dvc_itself_with_links_into_its_cache(tmp_path: Path) -> None:
    """The way from `dvc add` to stored images, with DVC's own links."""
    folder(tmp_path / "photos", {f"{n}.png": encoded(photo(n)) for n in range(3)})

    def dvc(*arguments: str) -> None:
        ran = subprocess.run(
            [sys.executable, "-m", "dvc", *arguments], cwd=tmp_path, capture_output=True, text=True,
            env=os.environ | {"DVC_NO_ANALYTICS": "1"},
        )  # fmt: skip
        assert ran.returncode == 0, ran.stderr

    dvc("init", "--no-scm", "-q")
    dvc("config", "cache.type", "symlink")
    dvc("add", "-q", "photos")
    assert (tmp_path / "photos" / "0.png").is_symlink()
    _, images, reasons = run(tmp_path, Source(name="photos", kind="folder", path=str(tmp_path / "photos")))
    assert len(images) == 3 and not reasons
