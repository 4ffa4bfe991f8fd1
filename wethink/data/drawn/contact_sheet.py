"""Contact sheet of the drawn sources: images with a question and its answer under each."""

import io
import re
import textwrap

from PIL import Image, ImageDraw, ImageFont

from wethink.common.jsonl import Record

SCALE, GAP, COLUMNS = 3, 18, 8
LINE = 16  # pixels between lines of text
PAPER, INK, ACCENT = (250, 249, 246), (35, 35, 40), (30, 95, 170)


def contact_sheet(sources: list[tuple[str, list[tuple[bytes, Record]]]]) -> Image.Image:
    """Lay out (PNG, item) pairs, one row per source."""
    shown = [_tile(png) for _, pairs in sources for png, _ in pairs]
    edge = max((tile.width for tile in shown), default=168)
    title, caption = _font(20), _font(13)
    text_height = 7 * LINE + 8
    row_height = 34 + edge + text_height + GAP
    sheet = Image.new("RGB", (GAP + COLUMNS * (edge + GAP), GAP + len(sources) * row_height), PAPER)
    pen = ImageDraw.Draw(sheet)
    for row, (name, pairs) in enumerate(sources):
        top = GAP + row * row_height
        pen.text((GAP, top), name, fill=INK, font=title)
        for column, (png, item) in enumerate(pairs):
            left = GAP + column * (edge + GAP)
            sheet.paste(_tile(png), (left, top + 34))
            y = top + 34 + edge + 8
            problem = re.sub(r" ([A-D]) ", r"\n\1  ", item["problem"]) if item["category"] == "MC" else item["problem"]
            for text, colour in ((problem, INK), (item["answer"], ACCENT)):
                for line in _lines(text, width=max(12, edge // 7)):
                    pen.text((left, y), line, fill=colour, font=caption)
                    y += LINE
    return sheet


def _lines(text: str, width: int) -> list[str]:
    text = re.sub(r" ([?,])", r"\1", text)  # the model's tokens need spaces around separators; people do not
    return [line for paragraph in text.split("\n") for line in textwrap.wrap(paragraph, width)]


def _tile(png: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(png))
    return image.resize((image.width * SCALE, image.height * SCALE), Image.Resampling.NEAREST)


def _font(size: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    return ImageFont.load_default(size)
