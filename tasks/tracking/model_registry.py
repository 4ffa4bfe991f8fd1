"""MLflow's model registry as the place where champion and challenger are named.

A version points to a checkpoint in a store that is addressed by content: `<store>/<sha256 of its manifest>/`.
A published `models/<stage>` is replaced by the next run; what a version names is not. The registry would accept a
pointer to nothing, so a checkpoint is verified before it is registered, and again before an alias is given to it or
it is handed out. The commands over this module are `python -m flows.promote`.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from tasks import ROOT
from tasks.tracking.mlflow_runs import MODEL
from tasks.versioning import dvc_status
from wethink.common.errors import UserError
from wethink.common.jsonl import Record, dumps, file_sha256, read_json
from wethink.dag.publishing import MANIFEST, verify_manifest

STORE = ROOT / ".wethink" / "checkpoints"  # `make clean` leaves it alone: a champion lives here
EXPERIMENT = "promotion"  # one run per decision, with its page
CHAMPION, CHALLENGER = "champion", "challenger"
DONE = "retrain_done"  # tag of a challenger: the key of the run that has come to its end
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # in MLflow's words; a database that is away is another
PREVIOUS = "previous_champion"  # tag of a champion: the version that it replaced


@dataclass(frozen=True)
class Version:
    """A registered checkpoint."""

    number: str
    digest: str  # sha256 of its manifest
    folder: Path
    tags: dict[str, str]


def keep(folder: Path, store: Path = STORE) -> Path:
    """Copy a published checkpoint into the store, unless it is there; return its place.

    Raises:
        UserError: the folder is not what was published.
    """
    if not (folder / MANIFEST).is_file():
        raise UserError(
            f"{folder} is no published checkpoint (it has no {MANIFEST}); name the output of a training stage."
        )
    verify_manifest(folder)
    kept = store / file_sha256(folder / MANIFEST)
    if kept.is_dir():
        return kept
    store.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=".keeping-", dir=store))
    try:
        names = [MANIFEST, *read_json(folder / MANIFEST)]  # what the manifest does not name is no part of it
        for name in names:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, staged / name)
        verify_manifest(staged)
        staged.chmod(0o755)
        with contextlib.suppress(OSError):  # somebody else kept the same content meanwhile
            os.rename(staged, kept)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return kept


def register(folder: Path, lineage: Mapping[str, Any], store: Path = STORE) -> Version:
    """The version of this checkpoint: the one it has, or a new one with its lineage as tags.

    Two retrains that came to the same weights are two versions: each has its own data and its own decision.

    Raises:
        UserError: as `keep`.
    """
    kept = keep(folder, store)
    client = _client()
    _ensure_model()
    for found in client.search_model_versions(f"name = '{MODEL}'"):
        if found.source == kept.as_uri() and found.tags.get("retrain_key") == lineage.get("retrain_key"):
            return _version(found)
    tags = {
        "manifest_sha256": kept.name,
        "git_commit": dvc_status.git("rev-parse", "HEAD") or "none",
        **{key: value if isinstance(value, str) else dumps(value) for key, value in lineage.items()},
    }
    return _version(client.create_model_version(MODEL, kept.as_uri(), tags=tags))


def named(alias: str) -> Version | None:
    """The version that has this alias, if any."""
    from mlflow.exceptions import MlflowException

    try:
        return _version(_client().get_model_version_by_alias(MODEL, alias))
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def get(number: str) -> Version:
    """A version by its number.

    Raises:
        UserError: there is none.
    """
    from mlflow.exceptions import MlflowException

    try:
        return _version(_client().get_model_version(MODEL, number))
    except MlflowException as error:
        if error.error_code not in ABSENT:
            raise
        raise UserError(
            f"there is no version {number} of '{MODEL}'; `python -m flows.promote list` shows them."
        ) from None


def every() -> list[Version]:
    """All versions with a checkpoint in a store, oldest first."""
    _ensure_model()
    found = [_version(v) for v in _client().search_model_versions(f"name = '{MODEL}'")]
    addressed = [version for version in found if version.folder.name == version.digest]
    return sorted(addressed, key=lambda version: int(version.number))


def verified(version: Version) -> Path:
    """The checkpoint's folder, checked file by file.

    Raises:
        UserError: the checkpoint is gone, was changed, or is not kept by its content.
    """
    if version.folder.name != version.digest or not (version.folder / MANIFEST).is_file():
        raise UserError(
            f"version {version.number} of '{MODEL}' has no checkpoint at {version.folder}; restore it from a "
            "backup, or register its folder again."
        )
    if file_sha256(version.folder / MANIFEST) != version.digest:
        raise UserError(f"{version.folder / MANIFEST} was changed; restore version {version.number} from a backup.")
    verify_manifest(version.folder)
    return version.folder


def challenge(version: Version) -> None:
    """Name a version challenger."""
    verified(version)
    _client().set_registered_model_alias(MODEL, CHALLENGER, version.number)


def promote(version: Version, because: str) -> Version | None:
    """Make a version champion and return the one that it replaces; the same one again changes nothing.

    Raises:
        UserError: its checkpoint is not whole.
    """
    verified(version)
    client, before = _client(), named(CHAMPION)
    if before is not None and before.number == version.number:
        return before
    tags = {"promoted_because": because} | ({PREVIOUS: before.number} if before else {})
    for key, value in tags.items():  # before the alias: a champion always knows whom it replaced
        client.set_model_version_tag(MODEL, version.number, key, value)
    client.set_registered_model_alias(MODEL, CHAMPION, version.number)
    challenger = named(CHALLENGER)
    if challenger is not None and challenger.number == version.number:
        client.delete_registered_model_alias(MODEL, CHALLENGER)
    return before


def rollback(because: str) -> tuple[Version, Version]:
    """Give the champion's place back to the version that it replaced; return (left, champion now).

    Raises:
        UserError: there is no champion, it replaced nobody, or the earlier checkpoint is not whole.
    """
    now = named(CHAMPION)
    if now is None or PREVIOUS not in now.tags:
        raise UserError(
            f"there is no earlier champion of '{MODEL}' to go back to; `python -m flows.promote list` shows all."
        )
    earlier = get(now.tags[PREVIOUS])
    verified(earlier)
    _client().set_model_version_tag(MODEL, now.number, "rolled_back_because", because)
    _client().set_registered_model_alias(MODEL, CHAMPION, earlier.number)
    return now, earlier


def finish(number: str, key: str) -> None:
    """Note that the run with this key has nothing left to do; said last, so that a killed one goes on instead."""
    _client().set_model_version_tag(MODEL, number, DONE, key)


def decided(champion: Version, challenger: Version, programme: str, held_out: str) -> Record | None:
    """The decision that was taken on these two and these items, if any: asking again must not spend another look."""
    tags = {
        "champion_digest": champion.digest,
        "challenger_digest": challenger.digest,
        "programme": programme,
        "held_out": held_out,
    }
    wanted = " and ".join(f"tags.{key} = '{value}'" for key, value in tags.items())
    runs = _client().search_runs([_experiment()], f"{wanted} and attributes.status = 'FINISHED'")
    if not runs:
        return None
    from mlflow.artifacts import load_dict

    found: Record = load_dict(f"{runs[0].info.artifact_uri}/decision.json")
    return found


def looks(programme: str) -> int:
    """How many decisions a programme has taken."""
    filtered = f"tags.programme = '{programme}' and attributes.status = 'FINISHED'"
    return len(_client().search_runs([_experiment()], filtered, max_results=10_000))


def record_decision(
    champion: Version, challenger: Version, programme: str, held_out: str, decision: Record, page: str
) -> str:
    """Keep a decision with its evidence: a run of the experiment `promotion`, and tags of the challenger."""
    client = _client()
    verdict = "promoted" if decision["promoted"] else "refused"
    tags = {
        "champion": champion.number,
        "challenger": challenger.number,
        "champion_digest": champion.digest,
        "challenger_digest": challenger.digest,
        "programme": programme,
        "held_out": held_out,
        "decision": verdict,
    }
    run = client.create_run(_experiment(), run_name=f"version {challenger.number} {verdict}", tags=tags)
    client.log_dict(run.info.run_id, decision, "decision.json")
    client.log_text(run.info.run_id, page, "decision.html")
    if decision["gain"]:
        for key in ("mean", "low", "high"):
            client.log_metric(run.info.run_id, f"gain.{key}", decision["gain"][key])
    client.set_terminated(run.info.run_id)  # last: an unfinished record is none
    client.set_model_version_tag(MODEL, challenger.number, "decision_run", run.info.run_id)
    tell(challenger, decision)
    return str(run.info.run_id)


def tell(challenger: Version, decision: Record) -> None:
    """Keep a decision and its reasons as tags of the version that it is about."""
    verdict = "promoted" if decision["promoted"] else "refused"
    for key, value in {"decision": verdict, "reasons": " ".join(decision["reasons"])[:4000]}.items():
        _client().set_model_version_tag(MODEL, challenger.number, key, value)


def _version(found: Any) -> Version:
    return Version(
        number=str(found.version),
        digest=found.tags.get("manifest_sha256", ""),
        folder=Path(url2pathname(urlsplit(str(found.source)).path)),
        tags=dict(found.tags),
    )


def _ensure_model() -> None:
    from mlflow.exceptions import MlflowException

    try:
        _client().create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _experiment() -> str:
    client = _client()
    found = client.get_experiment_by_name(EXPERIMENT)
    return str(found.experiment_id if found else client.create_experiment(EXPERIMENT))


def _client() -> Any:
    from mlflow import MlflowClient

    return MlflowClient()
