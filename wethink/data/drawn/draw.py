"""Stage `draw`: sample scenes, split them by content, draw the images, write held-out items.

Splits are made twice, before drawing. Scans and table rows are assigned to the training, tuning and reporting pools
by their content; and an image is accepted into a split only if the hash of its scene falls into that split's range.
So no held-out scene occurs in training under another rendering.
"""

import hashlib
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from wethink.common.errors import UserError
from wethink.common.jsonl import Record, content_id, write_json, write_jsonl
from wethink.common.progress import say, track
from wethink.common.stage_run import StageRun
from wethink.config.data import Draw, Source
from wethink.data.drawn import SOURCES
from wethink.data.drawn.contact_sheet import contact_sheet
from wethink.data.schema import SPLITS

HELD_OUT = {"tuning": (0.0, 0.12), "reporting": (0.12, 0.30)}  # ranges of a hash in [0, 1); training has the rest
GRID = 28  # pixels: one merged visual token (patch 14 × merge 2)


@dataclass(frozen=True)
class Drawing:
    """One drawn image: its truth record and its PNG bytes."""

    record: Record
    png: bytes


def draw(*, run: StageRun[Draw], sources: Sequence[Source] | None = None) -> dict[str, Any]:
    """Write `data/drawn` (docs/data.md) and return its metrics.

    The output is a pure function of `config`, `seed` and the names of the drawn `sources`. An image does not depend on
    which other sources are drawn.

    Args:
        run: the stage's settings and folders.
        sources: those that are ingested (ingest.sources); the others are not drawn. None: all are.

    Raises:
        UserError: an image size off the token grid, or more images asked for than a source has distinct scenes.
    """
    config, out, seed = run.config, run.out, run.seed
    if config.image_size % GRID:
        raise UserError(f"params.yaml, draw.image_size: {config.image_size} is no multiple of {GRID}; try {2 * GRID}.")
    if not config.sources or len(set(config.sources)) != len(config.sources):
        raise UserError(f"params.yaml, draw.sources: name each source once, and at least one of {', '.join(SOURCES)}.")
    for folder in ("images", "truth", "items"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    images: dict[str, dict[str, int]] = {}
    items: dict[str, list[Record]] = {split: [] for split in HELD_OUT}
    samples: dict[str, list[Drawing]] = {}
    used = [name for name in config.sources if sources is None or name in _drawn(sources)]
    if left := len(config.sources) - len(used):
        say(f"draw: {left} of {len(config.sources)} sources are not drawn, since ingest.sources does not name them.")
    for name in used:
        total = sum(_share(config, split, name) for split in SPLITS)
        drawings = list(track(_drawings(name, config, seed), f"draw {name}", total))
        write_jsonl(out / "truth" / f"{name}.jsonl", (drawing.record for drawing in drawings))
        _write_images(out / "images" / f"{name}.parquet", drawings)
        images[name] = {split: sum(d.record["split"] == split for d in drawings) for split in SPLITS}
        for drawing in drawings:
            if drawing.record["split"] in items:
                items[drawing.record["split"]] += questions_about(drawing.record, config.questions_per_image, seed)
        samples[name] = [d for d in drawings if d.record["split"] in ("train", "pretrain")][-8:] or drawings[:8]
    for split, asked in items.items():
        write_jsonl(out / "items" / f"{split}.jsonl", asked)
    if samples:
        contact_sheet(
            [(name, [(d.png, questions_about(d.record, 1, seed)[0]) for d in drawn]) for name, drawn in samples.items()]
        ).save(out / "preview.png")
    metrics = {
        "images": images,
        "distinct_scenes": sum(sum(counts.values()) for counts in images.values()),
        "items": {split: _balance(asked) for split, asked in items.items()},
    }
    write_json(out / "metrics.json", metrics)
    return metrics


def _drawn(sources: Sequence[Source]) -> set[str]:
    return {source.name for source in sources if source.kind == "drawn"}


def split_of(seed: int, content: str) -> str:
    """Return the split of a content string: `tuning`, `reporting` or `train`.

    `train` includes `pretrain`.
    """
    digest = hashlib.sha256(f"split {seed} {content}".encode()).digest()
    place = int.from_bytes(digest[:8]) / 2**64
    return next((split for split, (low, high) in HELD_OUT.items() if low <= place < high), "train")


def questions_about(record: Record, count: int, seed: int) -> list[Record]:
    """Write up to `count` items of distinct kinds about one image, with true answers."""
    source = SOURCES[record["source"]]
    asked: list[Record] = []
    for number in range(count):
        rng = Random(f"item {seed} {record['image']} {number}")
        question = source.ask(record["parts"], rng, avoid={item["kind"] for item in asked})
        if question.kind in {item["kind"] for item in asked}:  # no further kind fits this image
            break
        item = {name: record[name] for name in ("image", "scene", "source")} | question.as_record()
        item["answer"] = source.solve(question, record["parts"])[1]
        asked.append({"id": content_id(record["image"], question.problem), **item})
    return asked


def _share(config: Draw, split: str, source: str) -> int:
    """Return a source's number of images in a split; the first take the remainder."""
    wanted: int = getattr(config, split)
    each, left = divmod(wanted, len(config.sources))
    return each + (config.sources.index(source) < left)


def _drawings(name: str, config: Draw, seed: int) -> Iterator[Drawing]:
    source = SOURCES[name]
    pools: dict[str, list[str]] = {split: [] for split in ("train", *HELD_OUT)}
    for thing, content in source.material().items():
        pools[split_of(seed, content)].append(thing)
    seen: set[str] = set()
    for split in SPLITS:
        belongs = split if split in HELD_OUT else "train"
        wanted, found, attempt = _share(config, split, name), 0, 0
        while found < wanted:
            rng = Random(f"draw {seed} {name} {split} {attempt}")
            attempt += 1
            if attempt > 1000 + 100 * wanted:
                raise UserError(
                    f"params.yaml, draw.{split}: source '{name}' has only about {found} distinct scenes; ask for less."
                )
            truth = source.sample(rng, pools[belongs])
            scene = source.scene(truth)
            if scene in seen or split_of(seed, scene) != belongs:
                continue
            seen.add(scene)
            found += 1
            png = _png(source.render(truth, rng, config.image_size))
            image = hashlib.sha256(png).hexdigest()
            yield Drawing({"image": image, "scene": scene, "source": name, "split": split, **truth}, png)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def _write_images(path: Path, drawings: list[Drawing]) -> None:
    """Write one Parquet file that `datasets` reads as an image dataset."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.table(
        {
            "image": [{"bytes": d.png, "path": f"{d.record['image']}.png"} for d in drawings],
            "scene": [d.record["scene"] for d in drawings],
            "split": [d.record["split"] for d in drawings],
        },
        schema=pa.schema(
            {
                "image": pa.struct({"bytes": pa.binary(), "path": pa.string()}),
                "scene": pa.string(),
                "split": pa.string(),
            }
        ),
    )
    text = {"dtype": "string", "_type": "Value"}
    features = {"image": {"_type": "Image"}, "scene": text, "split": text}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(
        table, path, compression="none", use_dictionary=["split"], write_statistics=False, row_group_size=1000
    )


def _balance(items: list[Record]) -> Record:
    """Count items by category and kind, with each kind's commonest answer's share."""
    answers: dict[str, Counter[str]] = {}
    for item in items:
        answers.setdefault(item["kind"], Counter())[item["answer"]] += 1
    return {
        "count": len(items),
        "categories": dict(sorted(Counter(item["category"] for item in items).items())),
        "kinds": {
            kind: {"count": counts.total(), "commonest": round(max(counts.values()) / counts.total(), 4)}
            for kind, counts in sorted(answers.items())
        },
    }
