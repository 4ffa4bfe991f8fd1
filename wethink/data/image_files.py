"""Image files below a source's folder: links, names and limits.

A link that the owner's folder holds is the owner's word, wherever it leads: DVC (`cache.type symlink`), the Hugging
Face hub and git-annex make folders of links. A path that is written inside data is not: it must stay within the source,
and of the links that it may pass only those lead out that such a tool made, which name a file by its content's hash.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from wethink.data.image_decoding import Unusable

_STORED_BY_HASH = re.compile(
    r"/(?:files/(?:md5|sha256)/[0-9a-f]{2}/[0-9a-f]{30,}"  # DVC's cache
    r"|blobs/(?:[0-9a-f]{40}|[0-9a-f]{64})"  # the Hugging Face hub's
    r"|annex/objects/.+/[A-Z0-9]+-[^/]*--[^/]+)$"  # git-annex'
)
_LINKED_BY = {
    "/annex/objects/": "its content is not here; run `git annex get .`",
    "/files/md5/": "its content is not in DVC's cache; run `dvc pull`",
    "/blobs/": "its content is not in the hub's cache; download the snapshot again",
}


def walk(root: Path) -> list[Path]:
    """List every file below a folder, sorted; links to folders and unreadable folders are listed and not followed."""
    unreadable: list[OSError] = []
    paths: list[Path] = []
    for parent, folders, files in os.walk(root, onerror=unreadable.append):
        paths += [Path(parent, name) for name in files]
        paths += [Path(parent, name) for name in folders if Path(parent, name).is_symlink()]
    return sorted(paths + [Path(error.filename) for error in unreadable])


def read_own(path: Path, max_mb: int) -> bytes:
    """Read a file of the owner's folder, through links.

    Raises:
        Unusable: the file is missing, unreadable, not regular or too large.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            if path.is_symlink():
                raise Unusable("a linked folder: it is not followed; name the folder itself as a source")
            os.listdir(path)  # raises for an unreadable folder
        if not stat.S_ISREG(status.st_mode):  # reading a pipe would wait for ever
            raise Unusable("not a file: a folder or a device")
        check_size(status.st_size, max_mb)
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable(_missing(path)) from None
    except (OSError, RuntimeError, ValueError) as error:  # a loop of links; a null byte in a path
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise Unusable(f"unreadable: {reason}") from None


def read_named(name: str, root: Path, max_mb: int) -> bytes:
    """Read a file that a path inside data names.

    Names are found in any Unicode normalisation (macOS writes NFD) and with Windows' separators.

    Raises:
        Unusable: the path leads out of the root, or as `read_own`.
    """
    if "\0" in name:
        raise Unusable("unreadable: the path holds a null byte")
    for path in _spellings(name, root):
        if not is_within(path, root):
            raise Unusable("outside the source: the path leads out of its folder")
        if os.path.lexists(path):
            return read_own(path, max_mb)
    raise Unusable("missing: the path leads to no file")


def is_within(path: Path, root: Path) -> bool:
    """Return whether a path, written inside data, stays in the root or leads to a tool's store by a link there."""
    if not Path(os.path.abspath(path)).is_relative_to(os.path.abspath(root)):
        return False
    try:
        target = path.resolve()
    except (OSError, RuntimeError):  # a loop of links: reading it fails for its own reason
        return True
    return target.is_relative_to(root.resolve()) or (
        path.is_symlink()
        and path.parent.resolve().is_relative_to(root.resolve())
        and _STORED_BY_HASH.search(target.as_posix()) is not None
    )


def check_size(size: int, max_mb: int) -> None:
    """Check a file's size against the limit before it is read.

    Raises:
        Unusable: it is larger.
    """
    if size > max_mb * 2**20:
        raise Unusable(f"too large: {size / 2**20:.1f} MB, ingest.max_file_mb is {max_mb}")


def _missing(path: Path) -> str:
    try:
        target = f"/{os.readlink(path)}"
    except (OSError, ValueError):
        return "missing: the path leads to no file"
    advice = next((words for mark, words in _LINKED_BY.items() if mark in target), "its target does not exist")
    return f"missing: a broken link; {advice}"


def _spellings(name: str, root: Path) -> Iterator[Path]:
    """Yield the paths that a name may mean, as written first."""
    names = [name]
    if "\\" in name:
        names.append(name.replace("\\", "/"))
    for written in names:
        yield root / written
    if names[-1].isascii():
        return
    for form in ("NFC", "NFD"):
        yield root / unicodedata.normalize(form, names[-1])
    found = root
    for part in PurePosixPath(names[-1]).parts:  # folder and file may differ in their normalisation
        found = found / _listing(found).get(unicodedata.normalize("NFC", part), part)
    yield found


def _listing(folder: Path) -> dict[str, str]:
    """Return the names in a folder by their NFC form."""
    try:
        return {unicodedata.normalize("NFC", name): name for name in sorted(os.listdir(folder))}
    except (OSError, ValueError):
        return {}
