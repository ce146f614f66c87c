"""A drawn poster for each film of the demo: colours from its moods, a drawing from its genre, all else from its id."""

from __future__ import annotations

import hashlib
import random
import unicodedata
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..items import Item
from ..readers.raw import Progress, no_progress
from .brush import GROUND, HEIGHT, WIDTH, Brush
from .motifs import motif_for
from .palettes import Palette, palette_for

#: Pixels of a finished poster: half the canvas it is drawn on, which smooths every edge.
SIZE = (WIDTH // 2, HEIGHT // 2)
_MARGIN = 26
_TITLE_SIZES = range(50, 17, -4)
_TITLE_BOTTOM = 548
#: Letters that do not come apart into a plain one and a mark.
_UNMARKED = str.maketrans({"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "ß": "ss", "æ": "ae", "Æ": "AE", "—": "-"})


def draw_poster(item: Item) -> Image.Image:
    """The poster of one film: RGB, `SIZE`, the same every time for the same id, title, year, genres and moods."""
    chance = random.Random(hashlib.sha256(item.id.encode()).digest())
    colours = palette_for(_labels(item, "moods"), chance)
    canvas = _sky(colours)
    pen = ImageDraw.Draw(canvas, "RGBA")
    motif_for(_labels(item, "genres"), chance)(Brush(pen, colours, chance))
    _title(pen, item, colours, chance)
    return canvas.reduce(2)


def draw_posters(items: Sequence[Item], folder: Path, progress: Progress = no_progress) -> dict[str, Path]:
    """Write ``<id>.jpg`` for each film.

    Returns:
        the absolute path of each poster, by film id.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths: dict[str, Path] = {}
    for done, item in enumerate(items, start=1):
        path = folder.resolve() / f"{item.id}.jpg"
        draw_poster(item).save(path, "JPEG", quality=88)
        paths[item.id] = path
        progress("drawing posters", done, len(items))
    return paths


def _labels(item: Item, name: str) -> tuple[str, ...]:
    value = item.attributes.get(name, ())
    return value if isinstance(value, tuple) else (str(value),)


def _sky(colours: Palette) -> Image.Image:
    """A canvas that runs from the high to the low colour."""
    share = np.linspace(0.0, 1.0, HEIGHT)[:, None, None] ** 1.2
    rows = np.array(colours.high) * (1 - share) + np.array(colours.low) * share
    return Image.fromarray(np.broadcast_to(rows, (HEIGHT, WIDTH, 3)).round().astype(np.uint8))


def _title(pen: ImageDraw.ImageDraw, item: Item, colours: Palette, chance: random.Random) -> None:
    """Ground, title, a line, year and director."""
    for step in range(12):
        pen.rectangle((0, GROUND - 24 + 2 * step, WIDTH, HEIGHT), fill=(*colours.near, 40))
    pen.rectangle((0, GROUND, WIDTH, HEIGHT), fill=colours.near)
    lines, font, height = _fitted(_lettered(item.title))
    left = chance.random() < 0.4
    x, anchor = (_MARGIN, "ls") if left else (WIDTH // 2, "ms")
    top = GROUND + (_TITLE_BOTTOM - GROUND - height * len(lines)) / 2
    for number, line in enumerate(lines):
        pen.text((x, top + height * (number + 0.8)), line, font=font, fill=colours.ink, anchor=anchor)
    rule = _MARGIN if left else WIDTH // 2 - 40
    pen.rectangle((rule, 553, rule + 80, 556), fill=colours.accent)
    year = item.attributes.get("year")
    small = " · ".join([f"{year:.0f}" if isinstance(year, float | int) else "", *_labels(item, "director")[:1]])
    pen.text((x, 583), _lettered(small).strip(" ·"), font=_font(18), fill=(*colours.ink, 220), anchor=anchor)


def _lettered(text: str) -> str:
    """Text in the letters that Pillow's own font has: marks are left off (é is written e)."""
    plain = unicodedata.normalize("NFKD", text.translate(_UNMARKED))
    return "".join(sign for sign in plain if not unicodedata.combining(sign))


@cache
def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)


def _fitted(title: str) -> tuple[list[str], ImageFont.FreeTypeFont | ImageFont.ImageFont, float]:
    """The title in lines, in the largest font in which it fits; the font; the height of a line."""
    for size in _TITLE_SIZES:
        font, height = _font(size), size * 1.12
        lines = _wrapped(title, font)
        if len(lines) * height <= _TITLE_BOTTOM - GROUND and all(
            font.getlength(line) <= WIDTH - 2 * _MARGIN for line in lines
        ):
            return lines, font, height
    return lines, font, height


def _wrapped(title: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> list[str]:
    lines: list[str] = []
    for word in title.split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= WIDTH - 2 * _MARGIN:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines
