"""Does a question fit the model's context? One that does not is dropped whole: cutting it could cut its image."""

from collections.abc import Mapping, Sequence
from typing import Any

from wethink.common.errors import UserError
from wethink.common.jsonl import Record
from wethink.data.image_store import ImageSet
from wethink.models.policy import Processor


def drop_overlong(
    rows: Sequence[Record],
    images: ImageSet,
    processor: Processor,
    model: Any,
    room: int,
    written: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> list[Record]:
    """The rows whose prompt, and text `written` by row id, leave `room` tokens in the model's context, in order.

    A `limit` below the model's own context takes its place (a server may be started with less).

    Raises:
        UserError: a row's image is not among the images.
    """
    context = int(model.config.get_text_config().max_position_embeddings)
    limit = min(context, limit or context)
    sizes = {record.id: (record.width, record.height) for record in images.records}
    frame = len(
        processor.prompt_ids("", (1, processor.image_processor.merge_size, processor.image_processor.merge_size))
    )
    kept = []
    for row in rows:
        if row["image"] not in sizes:
            raise UserError(
                f"row {row['id']} shows the image '{row['image']}', which {images.folder} does not have; run "
                "`python -m wethink ingest` and the stages after it again."
            )
        texts = [row["problem"], (written or {}).get(row["id"], "")]
        taken = frame + image_tokens(*sizes[row["image"]], processor) + room
        # A token is at least one byte, so most rows need no tokenizer to show that they fit.
        fits = taken + sum(len(text.encode()) for text in texts) <= limit
        if fits or taken + sum(len(processor.text_ids(text)) for text in texts) <= limit:
            kept.append(row)
    return kept


def image_tokens(width: int, height: int, processor: Processor) -> int:
    """Tokens that an image of that size takes after the image processor has resized it."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    images = processor.image_processor
    factor = images.patch_size * images.merge_size
    high, wide = smart_resize(height, width, factor, images.size["shortest_edge"], images.size["longest_edge"])
    return int(high // factor) * int(wide // factor)
