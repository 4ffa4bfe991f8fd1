"""Upload of a published checkpoint or an exported dataset, with its card, to the Hugging Face Hub.

Command `wethink push`. The token is read from the environment variable HF_TOKEN alone. What `package` lists is sent,
file by file, and nothing else.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from wethink.common.errors import UserError
from wethink.common.keys import read_key

CARD = "README.md"
TOKEN = "HF_TOKEN"


@dataclass(frozen=True)
class Package:
    """A folder's kind of repository, and the files of it that are sent: path in the repository → bytes."""

    folder: Path
    kind: Literal["model", "dataset"]
    files: dict[str, int]
    left_out: tuple[str, ...]  # hidden files

    @property
    def card(self) -> str:
        return (self.folder / CARD).read_text(encoding="utf-8")


def package(folder: Path) -> Package:
    """List what would be sent of a folder.

    Raises:
        UserError: it is neither a checkpoint nor an exported dataset, has no card, or a link leads out of it.
    """
    if not folder.is_dir():
        raise UserError(f"{folder} is no folder; give a checkpoint (models/grpo) or data (data/valid).")
    kind = _kind(folder)
    if not (folder / CARD).is_file():
        raise UserError(f"{folder} has no card ({CARD}); run its stage again, or write one.")
    files, left_out = dict[str, int](), []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder)
        if any(part.startswith(".") for part in name.parts):
            left_out += [name.as_posix()] if not path.is_dir() else []
        elif path.is_symlink() and (path.is_dir() or not path.resolve().is_relative_to(folder.resolve())):
            raise UserError(
                f"{path} is a link to {path.resolve()}; links to folders, and out of {folder}, are not followed, and "
                "nothing was sent. Put the file itself in its place (`dvc unprotect` does it for DVC's links), or "
                "remove it."
            )
        elif path.is_file():
            files[name.as_posix()] = path.stat().st_size
        elif not path.is_dir():
            raise UserError(f"{path} is no plain file; nothing was sent. Remove it.")
    return Package(folder, kind, files, tuple(left_out))


def _kind(folder: Path) -> Literal["model", "dataset"]:
    if (folder / "config.json").is_file() and any(folder.glob("*.safetensors")):
        return "model"
    if any(folder.glob("data/*.parquet")):
        return "dataset"
    raise UserError(
        f"{folder} is neither a checkpoint (config.json and *.safetensors) nor an exported dataset (data/*.parquet); "
        "`wethink export dataset` makes one of the rows."
    )


def push(found: Package, repository: str, private: bool) -> bool:
    """Send a package in one commit, and return whether the repository is private: one that was there stays as it was.

    Raises:
        UserError: HF_TOKEN is not set, the name is not valid, the hub refuses or cannot be reached, or the repository
            is there and public although a private one is wanted.
    """
    from huggingface_hub import CommitOperationAdd, HfApi
    from huggingface_hub.utils import httpx  # type: ignore[attr-defined]  # whichever the hub's library uses

    check_name(repository)
    token = read_key(TOKEN)
    if not token:
        raise UserError(f"{TOKEN} is not set; set this environment variable to a token with write access.")
    api = HfApi(token=token)
    about: dict[str, Any] = {"repo_id": repository, "repo_type": found.kind}
    additions = [CommitOperationAdd(name, found.folder / name) for name in found.files]
    try:
        api.create_repo(**about, private=private, exist_ok=True)
        is_private = bool(api.repo_info(**about).private)
        if private and not is_private:
            raise UserError(
                f"'{repository}' is there and public; nothing was sent. Push with --public, or to another name."
            )
        api.create_commit(**about, operations=additions, commit_message=f"wethink push {found.folder.name}")
    except (httpx.HTTPError, OSError, ValueError) as error:
        raise UserError(_refusal(repository, error, token)) from None
    return is_private


def address(kind: str, repository: str) -> str:
    """Return a repository's page."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repository}"


def check_name(repository: str) -> None:
    """Check that a repository's name is OWNER/NAME as the hub allows it.

    Raises:
        UserError: it is not.
    """
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # exported lazily

    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise UserError(f"'{repository}' is no repository's name: {str(error).splitlines()[0]}") from None
    if repository.count("/") != 1:
        raise UserError(f"'{repository}' is no repository's name: write OWNER/NAME, as in my-group/grpo.")


def _refusal(repository: str, error: Exception, token: str) -> str:
    """Say why the hub took nothing, without the token."""
    status = getattr(getattr(error, "response", None), "status_code", None)
    if status in (401, 403):
        owner = repository.partition("/")[0]
        return (
            f"pushing to '{repository}': the hub refuses the token in {TOKEN} ({status}); it needs write access to "
            f"'{owner}'."
        )
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"pushing to '{repository}' failed: {first.replace(token, '…')}"
