"""`draw` and `ingest` sections of `params.yaml`: image sources, their columns, and image shards."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Count, Positive, Section, Share


class Draw(Section):
    """Default image sources; those that are ingested are drawn. Counts are images over all of them, in equal shares."""

    sources: tuple[Literal["scenes", "charts", "digits"], ...]
    image_size: Positive  # pixels, square; a multiple of 28 (patch 14 × merge 2)
    pretrain: Count  # pre-training substitute for web data: captions and direct answers only
    train: Count
    tuning: Count
    reporting: Count
    questions_per_image: Positive


class Columns(Section):
    """Column names of a table of images or rows by their role; a role without a name is guessed (docs/data.md)."""

    image: str | None = None
    question: str | None = None
    answer: str | None = None
    options: str | None = None
    path: str | None = None  # the reasoning path
    id: str | None = None
    category: str | None = None
    abilities: str | None = None
    reward: str | None = None
    messages: str | None = None  # a dialogue in place of question and answer (ShareGPT, Messages)

    def named(self) -> dict[str, str]:
        """Return role → column for the roles that have a name."""
        return {role: name for role, name in self.model_dump().items() if name is not None}


class Source(Section):
    """Image source: `drawn` by the `draw` stage, a `folder`, a `dataset` on disk, or one of the Hugging Face `hub`."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    kind: Literal["drawn", "folder", "dataset", "hub"]
    path: str | None = None  # folder, dataset: relative to the project root; hub: OWNER/NAME
    revision: str | None = None  # hub: a commit, so that a rerun reads the same data
    files: str | None = None  # dataset, hub: a pattern such as data/train-*.parquet, for a part of the files
    columns: Columns = Columns()
    rows: bool = True  # false: question and answer columns are not read as rows
    animated: Literal["reject", "first"] = "reject"  # animations and files of several pages; first: their first frame
    tuning: Share = 0.0  # share of near-duplicate clusters to hold out, where the source has no split of its own
    reporting: Share = 0.1  # questions about held-out images become items, which `evaluate` asks

    @model_validator(mode="after")
    def _path_belongs_to_kind(self) -> "Source":
        if (self.path is None) != (self.kind == "drawn"):
            raise ValueError(f"source '{self.name}': 'path' is required, except for kind drawn, which refuses it")
        if (self.revision is None) == (self.kind == "hub"):
            raise ValueError(f"source '{self.name}': 'revision' names a commit exactly when 'kind' is hub")
        if self.files is not None and self.kind not in ("dataset", "hub"):
            raise ValueError(f"source '{self.name}': 'files' is for the kinds dataset and hub")
        if self.tuning + self.reporting >= 1:
            raise ValueError(f"source '{self.name}': 'tuning' and 'reporting' leave nothing to train on")
        return self


class Ingest(Section):
    sources: tuple[Source, ...]
    max_pixels: Positive  # a larger image is scaled down, keeping its aspect
    max_file_mb: Positive  # a larger file is quarantined unread
    shard_images: Positive
    near_duplicates: bool = True  # find photos that show the same picture; false: each is a cluster of its own
