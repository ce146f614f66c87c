"""What the posters are drawn with, on a canvas of `WIDTH` x `HEIGHT` units with the ground at `GROUND`."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from PIL import ImageDraw

from .palettes import Colour, Palette

WIDTH, HEIGHT = 400, 600
#: Above it is the picture, below it the title.
GROUND = 410

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Brush:
    """What a motif draws with: a pen that mixes colours by their alpha, a palette, and the film's own chance."""

    pen: ImageDraw.ImageDraw
    colours: Palette
    chance: random.Random

    def disc(self, x: float, y: float, radius: float, colour: Colour, alpha: int = 255) -> None:
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(*colour, alpha))

    def ring(self, x: float, y: float, radius: float, colour: Colour, width: int, alpha: int = 255) -> None:
        self.pen.ellipse((x - radius, y - radius, x + radius, y + radius), outline=(*colour, alpha), width=width)

    def shape(self, points: Sequence[Point], colour: Colour, alpha: int = 255) -> None:
        self.pen.polygon(list(points), fill=(*colour, alpha))

    def box(self, left: float, top: float, right: float, bottom: float, colour: Colour, alpha: int = 255) -> None:
        self.pen.rectangle((left, top, right, bottom), fill=(*colour, alpha))

    def heart(self, x: float, y: float, size: float, colour: Colour, alpha: int = 255) -> None:
        turns = [t * math.tau / 48 for t in range(48)]
        self.shape(
            [
                (
                    x + size * math.sin(t) ** 3,
                    y - size / 16 * (13 * math.cos(t) - 5 * math.cos(2 * t) - 2 * math.cos(3 * t) - math.cos(4 * t)),
                )
                for t in turns
            ],
            colour,
            alpha,
        )

    def star(self, x: float, y: float, outer: float, inner: float, tips: int, colour: Colour, turn: float = 0) -> None:
        self.shape(
            [
                (
                    x + (inner if k % 2 else outer) * math.sin(turn + k * math.pi / tips),
                    y - (inner if k % 2 else outer) * math.cos(turn + k * math.pi / tips),
                )
                for k in range(2 * tips)
            ],
            colour,
        )

    def ridge(self, base: float, rise: float, steps: int, colour: Colour, alpha: int = 255) -> None:
        """A jagged line of hills from edge to edge, filled to the bottom."""
        points = [
            (WIDTH * k / steps, base - rise * self.chance.random() * (0.4 if k % 2 else 1.0)) for k in range(steps + 1)
        ]
        self.shape([(0, HEIGHT), *points, (WIDTH, HEIGHT)], colour, alpha)

    def waves(self, base: float, height: float, length: float, colour: Colour, alpha: int = 255) -> None:
        start = self.chance.uniform(0, math.tau)
        points = [(x, base + height * math.sin(start + x / length * math.tau)) for x in range(0, WIDTH + 9, 8)]
        self.shape([(0, HEIGHT), *points, (WIDTH, HEIGHT)], colour, alpha)

    def stars(self, count: int, bottom: float) -> None:
        for _ in range(count):
            x, y = self.chance.uniform(0, WIDTH), self.chance.uniform(0, bottom)
            self.disc(x, y, self.chance.choice((1, 1.5, 2.5)), self.colours.accent, self.chance.randint(120, 255))
