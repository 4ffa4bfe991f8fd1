"""Context-length filter that drops overlong rows whole, since truncation could cut their image."""

from collections.abc import Mapping, Sequence
from typing import Any

from wethink.common.errors import UserError
from wethink.common.progress import say
from wethink.data.image_store import ImageSet
from wethink.data.schema import Row, row_images
from wethink.models.policy import Processor


def drop_overlong(
    rows: Sequence[Row],
    images: ImageSet,
    processor: Processor,
    model: Any,
    room: int,
    written: Mapping[str, str] | None = None,
    limit: int | None = None,
) -> list[Row]:
    """Keep the rows that leave `room` tokens in the model's context, in order.

    Counted are the prompt, its image tokens and the row's text in `written` (by row id). A `limit` below the model's
    own context replaces it (a server may be started with less).

    Raises:
        UserError: a row's image is not in `images`.
    """
    limit = context_of(model, limit)
    sizes = {record.id: (record.width, record.height) for record in images.records}
    smallest = (1, processor.image_processor.merge_size, processor.image_processor.merge_size)
    frames: dict[int, int] = {}  # number of images → tokens of the template around them
    kept = []
    for row in rows:
        shown = row_images(row)
        if absent := [image for image in shown if image not in sizes]:
            raise UserError(
                f"row {row['id']} shows the image '{absent[0]}', which {images.folder} does not have; run "
                "`python -m wethink ingest` and the stages after it again."
            )
        if len(shown) not in frames:
            frames[len(shown)] = len(processor.prompt_ids("", [smallest] * len(shown)))
        texts = [row["problem"], (written or {}).get(row["id"], "")]
        taken = frames[len(shown)] + sum(image_tokens(*sizes[image], processor) for image in shown) + room
        # A token is at least one byte, so most rows need no tokenizer to show that they fit.
        fits = taken + sum(len(text.encode()) for text in texts) <= limit
        if fits or taken + sum(len(processor.text_ids(text)) for text in texts) <= limit:
            kept.append(row)
    return kept


def context_of(model: Any, limit: int | None = None) -> int:
    """Return the tokens of the model's context, or a smaller `limit`."""
    context = int(model.config.get_text_config().max_position_embeddings)
    return min(context, limit or context)


def tell_overlong(
    dropped: Sequence[Row], images: ImageSet, processor: Processor, stage: str, context: int, room: int, key: str
) -> None:
    """Print, before training, how many rows are left out for their length and which setting would keep them.

    Args:
        context: tokens of a prompt and its completion; `key` is the setting that bounds them.
        room: tokens of it that are kept for the completion.
    """
    if not dropped:
        return
    sizes = {record.id: (record.width, record.height) for record in images.records}
    shown = [sum(image_tokens(*sizes[image], processor) for image in row_images(row)) for row in dropped]
    told = f"{stage}: {len(dropped)} questions are left out: with {room} tokens for the answer they exceed {context}"
    if alone := sum(tokens + room >= context for tokens in shown):
        side = processor.image_processor.patch_size * processor.image_processor.merge_size
        told += (
            f", {alone} of them by their images alone (up to {max(shown)} tokens of {side} × {side} pixels each). "
            f"A picture of {max(0, context - room) // 2 * side**2:,} pixels takes half of what is left: set "
            "ingest.max_pixels to that"
        )
    say(f"{told}, or raise {key}." if alone else f"{told}; raise {key} to keep them.")


def image_tokens(width: int, height: int, processor: Processor) -> int:
    """Count the tokens of an image of this size after the processor's resize."""
    _, high, wide = grid_of(width, height, processor)
    return high * wide // int(processor.image_processor.merge_size) ** 2


def grid_of(width: int, height: int, processor: Processor) -> tuple[int, int, int]:
    """Return the grid (temporal, height, width), in patches, of an image of this size after the processor's resize."""
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize

    images = processor.image_processor
    factor = images.patch_size * images.merge_size
    high, wide = smart_resize(height, width, factor, images.size["shortest_edge"], images.size["longest_edge"])
    return 1, int(high // images.patch_size), int(wide // images.patch_size)
