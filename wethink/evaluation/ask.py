"""Command `python -m wethink ask`: one question about one image, reasoning shown."""

import io
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from wethink.common.errors import UserError
from wethink.common.jsonl import read_json
from wethink.config.launch import Launch
from wethink.config.params import Params
from wethink.data.schema import IMAGE, held_out_items, placement_fault, row_images
from wethink.rewards import format
from wethink.rewards.format import DEFAULT

if TYPE_CHECKING:
    from PIL import Image

DRAWN, VALID = Path("data/drawn"), Path("data/valid")  # folders with held-out items
MAX_PIXELS = 1280 * 28 * 28  # a larger picture is scaled down, as in ingestion


def ask(image: Path, question: str, model: Path, temperature: float, params: Params | None) -> None:
    """Print a checkpoint's reasoning and answer; without `params`, outside a project, on this processor.

    Raises:
        UserError: the checkpoint or the image cannot be read, or the question holds a reserved token.
    """
    if "<|" in question:
        raise UserError("the question contains '<|', which is reserved for special tokens; leave it out.")
    if fault := placement_fault(question, 1):
        raise UserError(f"the {fault}; leave one {IMAGE} in it, or none.")
    _answer([open_image(image)], question, model, temperature, params)


def ask_held_out(number: int, model: Path, temperature: float, params: Params | None) -> None:
    """Show held-out item `number` (from 0) and a checkpoint's answer to it.

    Items of drawn sources come first, then those of the user's own. Its image is saved as `reports/item-<number>.png`,
    several as `item-<number>-1.png` and so on.

    Raises:
        UserError: there is no such item, or the checkpoint cannot be read.
    """
    from wethink.data.image_store import ImageSet

    stored = ImageSet(Path("data/images"))
    items = held_out_items((DRAWN, VALID), "reporting", {record.source for record in stored.records})
    if not 0 <= number < len(items):
        raise UserError(f"there are held-out items 0 to {len(items) - 1}; {number} is none of them.")
    item = items[number]
    pictures, paths = [stored.open(image) for image in row_images(item)], []
    for place, picture in enumerate(pictures, 1):
        paths.append(Path("reports") / f"item-{number}{f'-{place}' * (len(pictures) > 1)}.png")
        paths[-1].parent.mkdir(exist_ok=True)
        picture.save(paths[-1])
    shown = ", ".join(map(str, paths)) or "no image"
    print(f"{shown}: {item['problem']} (truth: {item['answer']})")
    _answer(pictures, item["problem"], model, temperature, params)


def _answer(
    pictures: list["Image.Image"], question: str, model: Path, temperature: float, params: Params | None
) -> None:
    if not (model / "config.json").is_file():
        raise UserError(
            f"{model} is no checkpoint folder (no config.json); train one with `make demo` or name another."
        )
    from rich.console import Console
    from rich.markup import escape

    from wethink.generation.responses import Asked, Decoding, InMemory
    from wethink.generation.sampler import answers, published
    from wethink.models.policy import load_processor

    processor = load_processor(model)
    console = Console(highlight=False)
    if unknown := processor.unknown_words(question):
        console.print(
            f"[yellow]This model's vocabulary lacks: {escape(', '.join(unknown))}. It reads them as unknown.[/]"
        )
    named = {str(place): picture for place, picture in enumerate(pictures)}
    about = model / "generation_config.json"
    limit = int((read_json(about) if about.is_file() else {}).get("max_new_tokens") or 1024)
    decoding = Decoding(limit, temperature, seed=secrets.randbits(32))  # every call draws anew
    launch = params.launch if params else Launch(device="cpu", processes=1, threads=1, deepspeed="", deadline_minutes=1)
    launch = launch.model_copy(update={"threads": os.cpu_count() or 1})
    with published(model, params.evaluate.sampler if params else "in_process", launch, len(pictures)) as sampler:
        ((answered,),) = answers(sampler, [Asked(question, tuple(named))], InMemory(named), decoding)
    response, form = answered.text, params.rewards.format if params else DEFAULT
    parsed = format.parse(response, form)
    if parsed.fault:
        console.print(escape(response))
        console.print(f"[yellow]The response does not follow the format '{form.kind}': {escape(parsed.fault)}.[/]")
        return
    console.print(f"[dim]{escape(parsed.think or '')}[/]")
    console.print(f"[bold]{escape(parsed.answer or '')}[/]")


def open_image(path: Path) -> "Image.Image":
    """Decode an image file the way `ingest` does.

    Raises:
        UserError: the file is missing or is no usable image.
    """
    from PIL import Image

    from wethink.data.image_decoding import Unusable, accept

    try:
        return Image.open(io.BytesIO(accept(path.read_bytes(), MAX_PIXELS).data)).convert("RGB")
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; name an image file.") from None
    except (Unusable, OSError) as error:
        raise UserError(f"{path} cannot be read as an image ({error}); name another file.") from None
