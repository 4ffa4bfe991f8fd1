"""`draw` and `ingest` sections of `params.yaml`: image sources and image shards."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from wethink.config.base import Count, Positive, Section, Share


class Draw(Section):
    """Default image sources. Counts are images over all sources, in equal shares."""

    sources: tuple[Literal["scenes", "charts", "digits"], ...]
    image_size: Positive  # pixels, square; a multiple of 28 (patch 14 × merge 2)
    pretrain: Count  # pre-training substitute for web data: captions and direct answers only
    train: Count
    tuning: Count
    reporting: Count
    questions_per_image: Positive


class Source(Section):
    """Image source: `drawn` by the `draw` stage, a `folder`, or a `dataset` (Parquet or saved HF) on disk."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    kind: Literal["drawn", "folder", "dataset"]
    path: str | None = None  # required for folder and dataset, relative to the project root
    column: str = "image"  # the image column of a dataset
    animated: Literal["reject", "first"] = "reject"  # animations and files of several pages; first: their first frame
    tuning: Share = 0.0  # share of near-duplicate clusters to hold out, where the source has no split of its own
    reporting: Share = 0.1  # questions about held-out images become items, which `evaluate` asks

    @model_validator(mode="after")
    def _path_belongs_to_kind(self) -> "Source":
        if (self.path is None) != (self.kind == "drawn"):
            raise ValueError(f"source '{self.name}': 'path' is required for folder and dataset, and refused for drawn")
        if self.tuning + self.reporting >= 1:
            raise ValueError(f"source '{self.name}': 'tuning' and 'reporting' leave nothing to train on")
        return self


class Ingest(Section):
    sources: tuple[Source, ...]
    max_pixels: Positive  # a larger image is scaled down, keeping its aspect
    max_file_mb: Positive  # a larger file is quarantined unread
    shard_images: Positive
    near_duplicates: bool = True  # find photos that show the same picture; false: each is a cluster of its own
