"""Datasets of the Hugging Face hub: data files of one commit, downloaded to the hub's cache; no code of theirs runs."""

from pathlib import Path

from wethink.common.errors import UserError
from wethink.config.data import Source

PATTERNS = ("*.parquet", "*.arrow", "*.csv", "*.tsv", "*.jsonl", "*.ndjson", "*.json", "*.tar", "*.tar.gz", "*.tgz")
PICTURES = ("*.jpg", "*.jpeg", "*.png", "*.webp", "*.gif", "*.bmp", "*.tif", "*.tiff", "*.heic", "*.avif")


def snapshot(source: Source, key: str) -> Path:
    """Download a source of kind hub, or find it in the hub's cache.

    Args:
        source: a source with the repository in `path`.
        key: the source's key in params.yaml, for errors.

    Raises:
        UserError: it is not in the cache and cannot be downloaded.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    assert source.path is not None  # the config's own validator
    wanted = [source.files] if source.files else [*PATTERNS, *PICTURES]
    try:
        return Path(
            snapshot_download(source.path, repo_type="dataset", revision=source.revision, allow_patterns=wanted)
        )
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError, ValueError) as error:
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(
            f"{key}.path: the dataset '{source.path}' at revision {source.revision} cannot be downloaded ({first}); "
            "check both, or download it on a machine with a network and use kind: dataset."
        ) from None
