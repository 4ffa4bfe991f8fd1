"""Model registry: champion and challenger aliases in MLflow over content-addressed checkpoints.

A version points to a checkpoint in a content-addressed store, `<store>/<sha256 of its manifest>/`. The next run
replaces a published `models/<stage>`, but never a stored checkpoint. MLflow accepts a path to nothing, so a checkpoint
is verified before it is registered, receives an alias or is returned. Command line: `python -m flows.promote`.
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

STORE = ROOT / ".wethink" / "checkpoints"  # `make clean` does not delete it: the champion is here
EXPERIMENT = "promotion"  # one run per decision, with its page
CHAMPION, CHALLENGER = "champion", "challenger"
DONE = "retrain_done"  # tag of a challenger: the key of its finished retrain
ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's codes for "not found"
LONGEST, KEPT = 1000, 5000  # characters of one event, and of a version's description (MLflow's column has 5,000)
PREVIOUS = "previous_champion"  # tag of a champion: the version that it replaced


@dataclass(frozen=True)
class Version:
    """A registered checkpoint."""

    number: str
    digest: str  # sha256 of its manifest
    folder: Path
    tags: dict[str, str]
    story: str = ""  # MLflow's description: a line per decision, promotion and rollback, oldest first


def keep(folder: Path, store: Path = STORE) -> Path:
    """Copy a published checkpoint to the store unless it is there; return its folder.

    Raises:
        UserError: the folder has no manifest or does not match it.
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
        names = [MANIFEST, *read_json(folder / MANIFEST)]  # only the manifest's files belong to a checkpoint
        for name in names:
            (staged / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(folder / name, staged / name)
        verify_manifest(staged)
        staged.chmod(0o755)
        with contextlib.suppress(OSError):  # another process has stored the same content meanwhile
            os.rename(staged, kept)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return kept


def register(folder: Path, lineage: Mapping[str, Any], store: Path = STORE) -> Version:
    """Register a checkpoint with its lineage as tags, or return its version.

    Two retrains with equal weights are two versions: each has its own data and its own decision.

    Raises:
        UserError: see `keep`.
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
    """Return the version with this alias, or None."""
    from mlflow.exceptions import MlflowException

    try:
        return _version(_client().get_model_version_by_alias(MODEL, alias))
    except MlflowException as error:
        if error.error_code in ABSENT:
            return None
        raise


def get(number: str) -> Version:
    """Return the version with this number.

    Raises:
        UserError: no version has this number.
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
    """List all versions with a content-addressed checkpoint, oldest first."""
    _ensure_model()
    found = [_version(v) for v in _client().search_model_versions(f"name = '{MODEL}'")]
    addressed = [version for version in found if version.folder.name == version.digest]
    return sorted(addressed, key=lambda version: int(version.number))


def verified(version: Version) -> Path:
    """Verify every file of a version's checkpoint; return its folder.

    Raises:
        UserError: the checkpoint is missing, was changed, or is not content-addressed.
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
    """Give a version the alias `challenger`.

    Raises:
        UserError: see `verified`.
    """
    verified(version)
    _client().set_registered_model_alias(MODEL, CHALLENGER, version.number)


def promote(version: Version, because: str) -> Version | None:
    """Make a version champion and return the previous champion; idempotent.

    Raises:
        UserError: see `verified`.
    """
    verified(version)
    client, before = _client(), named(CHAMPION)
    if before is not None and before.number == version.number:
        return before
    tags = {"promoted_because": because} | ({PREVIOUS: before.number} if before else {})
    for key, value in tags.items():  # before the alias, so that every champion has its predecessor's tag
        client.set_model_version_tag(MODEL, version.number, key, value)
    client.set_registered_model_alias(MODEL, CHAMPION, version.number)
    _narrate(version, f"Champion{f' in place of version {before.number}' if before else ''}: {because}")
    challenger = named(CHALLENGER)
    if challenger is not None and challenger.number == version.number:
        client.delete_registered_model_alias(MODEL, CHALLENGER)
    return before


def rollback(because: str) -> tuple[Version, Version]:
    """Restore the previous champion; return (rolled-back version, champion).

    Raises:
        UserError: there is no champion or no previous one, or the latter's checkpoint is missing or was changed.
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
    _narrate(now, f"Rolled back, version {earlier.number} is champion again: {because}")
    _narrate(earlier, f"Champion again, version {now.number} was rolled back: {because}")
    return now, earlier


def finish(number: str, key: str) -> None:
    """Tag a version with the key of its finished retrain.

    Call it as the run's last step: a killed run then resumes.
    """
    _client().set_model_version_tag(MODEL, number, DONE, key)


def decided(champion: Version, challenger: Version, programme: str, held_out: str) -> Record | None:
    """Return the recorded decision on this pair and these held-out items, or None.

    Reusing it keeps a resumed run from spending another look of the programme.
    """
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
    """Count the recorded decisions of a programme."""
    filtered = f"tags.programme = '{programme}' and attributes.status = 'FINISHED'"
    return len(_client().search_runs([_experiment()], filtered, max_results=10_000))


def record_decision(
    champion: Version, challenger: Version, programme: str, held_out: str, decision: Record, page: str
) -> str:
    """Record a decision as an MLflow run of `promotion` and as tags of the challenger.

    Args:
        champion: the version that was compared against.
        challenger: the version that the decision is about.
        programme: the test programme whose looks the decision counts towards.
        held_out: id of the held-out items.
        decision: the gate's decision; stored as decision.json.
        page: the decision page's HTML.

    Returns:
        The MLflow run's id.
    """
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
    client.set_terminated(run.info.run_id)  # last: an unfinished run does not count as a record
    client.set_model_version_tag(MODEL, challenger.number, "decision_run", run.info.run_id)
    tell(challenger, decision)
    return str(run.info.run_id)


def tell(challenger: Version, decision: Record) -> None:
    """Tag a version with a decision and its reasons, and describe it by them."""
    verdict = "promoted" if decision["promoted"] else "refused"
    for key, value in {"decision": verdict, "reasons": " ".join(decision["reasons"])[:4000]}.items():
        _client().set_model_version_tag(MODEL, challenger.number, key, value)
    _narrate(challenger, f"{verdict.capitalize()} by the gate: {' '.join(decision['reasons'])}")


def _narrate(version: Version, event: str) -> None:
    """Add an event to a version's description, unless it is the last one there (a resumed run repeats it)."""
    client, line = _client(), " ".join(event.split())[:LONGEST]
    told = (client.get_model_version(MODEL, version.number).description or "").split("\n\n")
    if told[-1] != line:
        text = "\n\n".join(entry for entry in (*told, line) if entry)
        client.update_model_version(MODEL, version.number, description=text[-KEPT:])


def _version(found: Any) -> Version:
    return Version(
        number=str(found.version),
        digest=found.tags.get("manifest_sha256", ""),
        folder=Path(url2pathname(urlsplit(str(found.source)).path)),
        tags=dict(found.tags),
        story=str(found.description or ""),
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
