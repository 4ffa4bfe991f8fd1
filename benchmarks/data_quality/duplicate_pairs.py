"""Labelled pairs of pictures for `make duplicates`: photos, charts, drawings and documents, same or different.

A pair is the same by construction if the second is the first one re-encoded, resized, slightly cropped or tinted
(`disguised`, often several at once). It is different by construction if it is a near miss: another part of the same
photo, a chart with one value changed, a drawing with another shape, colour or place, a page with another sentence.
Halves for tuning and for reporting share no photo, chart, drawing or page.
"""

import importlib.util
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageEnhance, ImageFont, UnidentifiedImageError

KINDS = ("photos", "charts", "drawings", "documents")
HALVES = ("tuning", "reporting")
Picture = Image.Image

COLOURS = ("red", "green", "blue", "yellow", "teal", "brown", "gray", "black", "orange", "purple")
SHAPES = ("circle", "square", "triangle", "diamond")
# fmt: off
WORDS = [
    "the", "a", "of", "to", "and", "in", "is", "on", "that", "for", "with", "as", "was", "at", "by", "an", "from",
    "which", "all", "were", "there", "been", "has", "more", "when", "who", "will", "no", "if", "out", "so",
    "said", "what", "up", "its", "about", "into", "than", "them", "can", "only", "other", "new", "some", "could",
    "time", "these", "two", "may", "then", "do", "first", "any", "my", "now", "such", "like", "our", "over",
    "man", "me", "even", "most", "made", "after", "also", "did", "many", "before", "must", "through", "years",
    "where", "much", "your", "way", "well", "down", "should", "because", "each", "just", "those", "people", "how",
    "too", "little", "state", "good", "very", "make", "world", "still", "own", "see", "men", "work", "long",
    "get", "here", "between", "both", "life", "being", "under", "never", "day", "same", "another", "know",
    "while", "last", "might", "us", "great", "invoice", "total", "amount", "number", "street", "order", "payment",
    "customer", "report", "summary", "section", "table", "figure", "result", "method"
]
# fmt: on


@dataclass(frozen=True)
class Pair:
    """Two pictures and whether they are the same; `what` names the disguise or the near miss."""

    kind: str
    same: bool
    what: str
    one: Picture
    other: Picture


# --- disguises ---------------------------------------------------------------------------------


def encoded(image: Picture, form: str, quality: int) -> Picture:
    buffer = io.BytesIO()
    image.save(buffer, form, quality=quality)
    return Image.open(io.BytesIO(buffer.getvalue())).convert("RGB")


def recoded(image: Picture, rng: Random) -> Picture:
    return encoded(image, rng.choice(("JPEG", "WEBP")), rng.randint(35, 95))


def resized(image: Picture, rng: Random) -> Picture:
    scale = rng.uniform(0.6, 1.6)
    return image.resize((round(image.width * scale), round(image.height * scale)), rng.choice((2, 3, 1)))


def cropped(image: Picture, rng: Random) -> Picture:
    """Cut up to 5 % off the width and the height, at any sides."""
    width, height = (round(side * (1 - rng.uniform(0.01, 0.05))) for side in image.size)
    x, y = rng.randint(0, image.width - width), rng.randint(0, image.height - height)
    return image.crop((x, y, x + width, y + height))


def tinted(image: Picture, rng: Random) -> Picture:
    for enhance in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = enhance(image).enhance(rng.uniform(0.94, 1.06))
    return image


STEPS: dict[str, Callable[[Picture, Random], Picture]] = {
    "cropped": cropped,
    "tinted": tinted,
    "resized": resized,
    "re-encoded": recoded,
}


def disguised(image: Picture, rng: Random) -> tuple[str, Picture]:
    """Apply one to four of the steps; return their names and the picture."""
    chosen = rng.sample(list(STEPS), rng.choice((1, 1, 2, 3, 4)))
    names = [name for name in STEPS if name in chosen]
    for name in names:
        image = STEPS[name](image, rng)
    return ", ".join(names), image


# --- photos ------------------------------------------------------------------------------------


def photos(folders: Sequence[Path] = ()) -> list[tuple[str, Picture]]:
    """Return the photos bundled with scikit-learn, Matplotlib and, if it is installed, scikit-image."""
    import matplotlib
    from sklearn.datasets import load_sample_images

    found = [(f"sklearn {n}", Image.fromarray(image)) for n, image in enumerate(load_sample_images().images)]
    paths = [Path(matplotlib.get_data_path(), "sample_data", "grace_hopper.jpg")]
    if (bundled := importlib.util.find_spec("skimage")) and bundled.origin:
        paths += sorted(Path(bundled.origin).parent.glob("data/*.*"))
    skipped = {"multipage", "multipage_rgb", "phantom", "horse", "logo", "chessboard_GRAY", "chessboard_RGB", "color"}
    for path in paths + [path for folder in folders for path in sorted(folder.iterdir()) if path.is_file()]:
        if path.stem in skipped | {"page", "text", "no_time_for_that_tiny", "motorcycle_right", "clock_motion"}:
            continue  # drawings, pages, animations, and the second view of a scene
        try:
            found.append((path.name, Image.open(path).convert("RGB")))
        except (UnidentifiedImageError, OSError):
            continue
    return found


def photo_pairs(half: int, count: int, folders: Sequence[Path]) -> Iterator[Pair]:
    """Yield parts of photos, disguised, or beside another part that overlaps by at most 60 %."""
    own = [image for n, (_, image) in enumerate(photos(folders)) if n % 2 == half]
    rng = Random(f"photos {half}")

    def part(image: Picture) -> tuple[tuple[int, int], tuple[int, int]]:
        width = rng.randint(min(140, image.width // 2), image.width * 2 // 3)
        height = max(60, min(round(width * rng.uniform(0.6, 1.4)), image.height * 2 // 3))
        return (width, height), (rng.randint(0, image.width - width), rng.randint(0, image.height - height))

    made = 0
    while made < count:
        image = rng.choice(own)
        size, place = part(image)
        one = image.crop((*place, place[0] + size[0], place[1] + size[1]))
        if np.asarray(one.convert("L")).std() < 12:
            continue  # nearly empty: parts of a black sky cannot be told apart
        if made % 2:
            what, other = disguised(one, rng)
            yield Pair("photos", True, what, one, other)
        else:
            shift = [rng.randint(0, whole - side) for whole, side in zip(image.size, size, strict=True)]
            overlap = np.prod([max(0, side - abs(a - b)) / side for a, b, side in zip(place, shift, size, strict=True)])
            other = image.crop((*shift, shift[0] + size[0], shift[1] + size[1]))
            if overlap > 0.6 or np.asarray(other.convert("L")).std() < 12:
                continue
            what = "another part" if overlap == 0 else "an overlapping part"
            yield Pair("photos", False, what, one, other)
        made += 1


# --- charts ------------------------------------------------------------------------------------


def chart(values: Sequence[float], style: dict[str, Any]) -> Picture:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=style["size"], dpi=60)
    canvas = FigureCanvasAgg(figure)
    axes = figure.subplots()
    names = style["names"]
    if style["form"] == "bar":
        axes.bar(names, values, color=style["colours"])
        axes.set_ylim(0, 10)
    elif style["form"] == "barh":
        axes.barh(names, values, color=style["colours"])
        axes.set_xlim(0, 10)
    elif style["form"] == "line":
        axes.plot(names, values, color=style["colours"][0], marker="o")
        axes.set_ylim(0, 10)
    else:
        axes.pie(values, labels=names, colors=style["colours"])
    axes.set_title(style["title"])
    canvas.draw()
    return Image.fromarray(np.asarray(canvas.buffer_rgba())[..., :3].copy())


def chart_pairs(half: int, count: int) -> Iterator[Pair]:
    """Yield charts, disguised, or with one value moved by at least 15 % of the axis, or one colour changed."""
    rng = Random(f"charts {half}")
    for made in range(count):
        length = rng.randint(3, 8)
        style = {
            "form": rng.choice(("bar", "bar", "barh", "line", "pie")),
            "size": (rng.uniform(4, 6.5), rng.uniform(3, 4.8)),
            "names": [word.title() for word in rng.sample(WORDS[-30:], length)],
            "colours": [f"tab:{name}" for name in rng.choices(("blue", "orange", "green", "red", "purple"), k=length)],
            "title": " ".join(rng.sample(WORDS, 3)).capitalize(),
        }
        values = [rng.uniform(1, 9.5) for _ in range(length)]
        one = chart(values, style)
        if made % 2:
            what, other = disguised(one, rng)
            yield Pair("charts", True, what, one, other)
        else:
            place = rng.randrange(length)
            if rng.random() < 0.3 and style["form"] != "line":
                colours = list(style["colours"])
                colours[place] = "tab:cyan" if rng.random() < 0.5 else "tab:pink"
                yield Pair("charts", False, "one colour", one, chart(values, style | {"colours": colours}))
                continue
            moved = values[place]
            while abs(moved - values[place]) < 1.5:
                moved = rng.uniform(0.5, 9.8)
            changed = [*values[:place], moved, *values[place + 1 :]]
            yield Pair("charts", False, "one value", one, chart(changed, style))


# --- drawings ----------------------------------------------------------------------------------


def drawing(side: int, background: str, parts: Sequence[dict[str, Any]]) -> Picture:
    """Draw shapes on a plain ground; `x`, `y`, `size` are shares of the side."""
    zoom = 4
    image = Image.new("RGB", (side * zoom, side * zoom), background)
    pen = ImageDraw.Draw(image)
    for part in parts:
        x, y, r = (part[key] * side * zoom for key in ("x", "y", "size"))
        if part["shape"] == "circle":
            pen.ellipse((x - r, y - r, x + r, y + r), fill=part["colour"])
        elif part["shape"] == "square":
            pen.rectangle((x - r * 0.89, y - r * 0.89, x + r * 0.89, y + r * 0.89), fill=part["colour"])
        elif part["shape"] == "triangle":
            pen.polygon([(x, y - r), (x - r, y + r * 0.8), (x + r, y + r * 0.8)], fill=part["colour"])
        else:
            pen.polygon([(x, y - r), (x - r, y), (x, y + r), (x + r, y)], fill=part["colour"])
    return image.resize((side, side), Image.Resampling.BOX)


def drawing_pairs(half: int, count: int) -> Iterator[Pair]:
    """Yield drawings of one to four shapes, disguised, or with one shape changed in form, colour, place or size."""
    rng = Random(f"drawings {half}")
    for made in range(count):
        side = rng.choice((64, 64, 96, 128, 200))
        background = rng.choice(("white", "white", "#e8e8f0", "#fff8dc", "#d0e8d0"))
        cells = rng.sample([(x, y) for x in (0.27, 0.73) for y in (0.27, 0.73)], rng.choice((1, 1, 2, 3, 4)))
        few = len(cells) == 1
        parts = [
            {
                "shape": rng.choice(SHAPES),
                "colour": rng.choice(COLOURS),
                "x": rng.uniform(0.3, 0.7) if few else x + rng.uniform(-0.04, 0.04),
                "y": rng.uniform(0.3, 0.7) if few else y + rng.uniform(-0.04, 0.04),
                "size": rng.uniform(0.13, 0.27) if few else rng.uniform(0.12, 0.2),
            }
            for x, y in cells
        ]
        one = drawing(side, background, parts)
        if made % 2:
            what, other = disguised(one, rng)
            yield Pair("drawings", True, what, one, other)
            continue
        part, what = dict(parts[0]), rng.choice(("shape", "shape", "colour", "place", "size"))
        if what == "shape":
            part["shape"] = rng.choice([shape for shape in SHAPES if shape != part["shape"]])
        elif what == "colour":
            part["colour"] = rng.choice([colour for colour in COLOURS if colour != part["colour"]])
        elif what == "place":
            part[rng.choice("xy")] += rng.choice((-1, 1)) * rng.uniform(0.1, 0.2)
        else:
            part["size"] *= rng.choice((0.7, 1.4))
        yield Pair("drawings", False, f"another {what}", one, drawing(side, background, [part, *parts[1:]]))


# --- documents ---------------------------------------------------------------------------------


def page(lines: Sequence[str], title: str, style: dict[str, Any]) -> Picture:
    import matplotlib

    fonts = Path(matplotlib.get_data_path(), "fonts", "ttf")
    image = Image.new("RGB", style["size"], style["paper"])
    pen = ImageDraw.Draw(image)
    font = ImageFont.truetype(fonts / style["font"], style["points"])
    bold = ImageFont.truetype(fonts / "DejaVuSans-Bold.ttf", style["points"] + 4)
    pen.text((20, 14), title, font=bold, fill=style["ink"])
    for number, line in enumerate(lines):
        pen.text((20, 44 + number * style["pitch"]), line, font=font, fill=style["ink"])
    return image


def document_pairs(half: int, count: int) -> Iterator[Pair]:
    """Yield pages of text, disguised, or with another sentence, or with all of the text another."""
    rng = Random(f"documents {half}")

    def line(length: int) -> str:
        words: list[str] = []
        while len(" ".join(words)) < length:
            words.append(rng.choice(WORDS))
        return " ".join(words)[:length].capitalize()

    for made in range(count):
        points = rng.choice((11, 12, 14))
        style = {
            "size": (rng.randint(320, 480), rng.randint(300, 560)),
            "paper": rng.choice(("white", "white", "#fbf7ea")),
            "ink": rng.choice(("black", "#202040")),
            "font": rng.choice(("DejaVuSans.ttf", "DejaVuSerif.ttf", "DejaVuSansMono.ttf")),
            "points": points,
            "pitch": round(points * rng.uniform(1.4, 1.9)),
        }
        width, rows = (style["size"][0] - 40) // round(points * 0.62), (style["size"][1] - 60) // style["pitch"]
        lines = [line(rng.randint(width * 2 // 3, width)) for _ in range(rng.randint(rows // 2, rows))]
        title = line(rng.randint(10, 22))
        one = page(lines, title, style)
        if made % 2:
            what, other = disguised(one, rng)
            yield Pair("documents", True, what, one, other)
        elif rng.random() < 0.6:
            place = rng.randrange(len(lines))
            changed = [*lines[:place], line(rng.randint(width * 2 // 3, width)), *lines[place + 1 :]]
            yield Pair("documents", False, "another sentence", one, page(changed, title, style))
        else:
            another = [line(rng.randint(width * 2 // 3, width)) for _ in lines]
            yield Pair("documents", False, "another text", one, page(another, line(len(title)), style))


def pairs(half: str, each: int, folders: Sequence[Path] = ()) -> Iterator[Pair]:
    """Yield `each` pairs of every kind; every other one is the same."""
    number = HALVES.index(half)
    yield from photo_pairs(number, each, folders)
    yield from chart_pairs(number, each)
    yield from drawing_pairs(number, each)
    yield from document_pairs(number, each)
