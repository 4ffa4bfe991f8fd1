"""Backup and restore of a stack: databases, registered checkpoints and data sets, local bucket.

A backup runs beside the live services: the databases are dumped before the checkpoints and data sets that they name,
which are content-addressed and never deleted. A restore replaces the databases and the bucket and adds files. MLflow's
database holds absolute paths, so a backup can only be restored to the folder that it came from.
"""

import io
import os
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tasks.sources.s3 import client, closes, objects
from tasks.stack import postgres, up_down
from tasks.stack.layout import Stack
from wethink.common.errors import UserError
from wethink.common.jsonl import file_sha256, read_json, write_json

FILES = (".wethink/checkpoints", ".wethink/datasets", ".wethink/watcher/told.txt", ".wethink/stack/mlflow")
CLIENTS = ("worker", "watcher", "champion", "mlflow", "prefect")  # services that use the databases, in stop order


def backup(stack: Stack, folder: Path) -> dict[str, Any]:
    """Write a backup to a new folder atomically; return file name → size in bytes.

    Raises:
        UserError: the folder exists, or a PostgreSQL program failed.
    """
    if folder.exists():
        raise UserError(f"{folder} exists; name a new folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".backup-", dir=folder.parent))  # mkdtemp: readable by its owner only
    try:
        for name in postgres.DATABASES:
            postgres.client(stack, "pg_dump", ["--format=custom", f"--file={staged / name}.dump", name])
        with tarfile.open(staged / "files.tar", "w") as archive:
            for name in FILES:
                if (stack.folder / name).exists():
                    archive.add(stack.folder / name, arcname=name)
        if stack.local_store:
            _save_bucket(stack, staged / "bucket.tar")
        hashes = {path.name: file_sha256(path) for path in sorted(staged.iterdir())}
        write_json(staged / "backup.json", {"project": str(stack.folder), "sha256": hashes})
        os.rename(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return {name: (folder / name).stat().st_size for name in hashes}


def restore(stack: Stack, folder: Path) -> None:
    """Restore databases, files and bucket from a backup.

    The services that use the databases are stopped meanwhile.

    Raises:
        UserError: the folder is no backup of this project, it was changed, or a PostgreSQL program failed.
    """
    _check(stack, folder)
    names = [service for service in CLIENTS if up_down.has(stack, service)]
    for service in names:
        up_down.stop(stack, service)
    for name in postgres.DATABASES:
        postgres.ask(stack, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        postgres.ask(stack, f'CREATE DATABASE "{name}"')
        dump = str(folder / f"{name}.dump")
        postgres.client(stack, "pg_restore", ["--exit-on-error", "--no-owner", f"--dbname={name}", dump])
    with tarfile.open(folder / "files.tar") as archive:
        archive.extractall(stack.folder, filter="data")  # refuses paths and links that leave the folder
    if stack.local_store and (folder / "bucket.tar").is_file():
        _fill_bucket(stack, folder / "bucket.tar")
    for service in reversed(names):
        up_down.start(stack, service)


def _check(stack: Stack, folder: Path) -> None:
    if not (folder / "backup.json").is_file():
        raise UserError(f"{folder} is no backup (it has no backup.json).")
    about = read_json(folder / "backup.json")
    if about["project"] != str(stack.folder):
        raise UserError(f"{folder} is a backup of {about['project']}; restore it there: paths in it are absolute.")
    for name, digest in about["sha256"].items():
        if not (folder / name).is_file() or file_sha256(folder / name) != digest:
            raise UserError(f"{folder / name} is missing or was changed; use another backup.")


def _save_bucket(stack: Stack, path: Path) -> None:
    """Write every object to a tar file, as a member named by its key."""
    store = _store(stack)
    with tarfile.open(path, "w") as archive:
        for item in objects(store, stack.bucket):
            member = tarfile.TarInfo(item.key)
            member.size, member.mtime = item.size, int(item.modified)
            archive.addfile(member, store.get_object(Bucket=stack.bucket, Key=item.key)["Body"])


def _fill_bucket(stack: Stack, path: Path) -> None:
    """Replace the bucket's contents, writing markers last, as their owners do."""
    store = _store(stack)
    have = {item.key for item in objects(store, stack.bucket)}
    with tarfile.open(path) as archive:
        members = archive.getmembers()
        for key in sorted(have - {member.name for member in members}):
            store.delete_object(Bucket=stack.bucket, Key=key)
        for member in sorted(members, key=lambda member: closes(member.name)):
            body = archive.extractfile(member)
            assert body is not None
            store.put_object(Bucket=stack.bucket, Key=member.name, Body=io.BytesIO(body.read()))


def _store(stack: Stack) -> Any:
    os.environ.update(stack.client_environment())
    return client("s3", stack.url("store"))
