"""Colours of the drawn posters, by mood."""

from __future__ import annotations

import colorsys
import random
from collections.abc import Sequence
from dataclasses import dataclass

Colour = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Palette:
    """Five colours of one poster.

    Attributes:
        high, low: the sky's colour at the top and at the horizon.
        far, near: shapes behind, and the ground that carries the title.
        accent: the one thing that catches the eye.
    """

    high: Colour
    low: Colour
    far: Colour
    near: Colour
    accent: Colour

    @property
    def ink(self) -> Colour:
        """What the title is written in: readable on ``near``."""
        return (250, 246, 235) if luminance(self.near) < 130 else (28, 24, 30)


def _palette(*colours: str) -> Palette:
    high, low, far, near, accent = (tuple(bytes.fromhex(c)) for c in colours)
    return Palette(high, low, far, near, accent)  # type: ignore[arg-type]


_PALETTES = {
    "ember": _palette("2a0a0c", "b3261e", "6e1414", "170608", "ffb347"),
    "night": _palette("0b1026", "39507a", "1d2b4f", "080c1a", "f2e3a0"),
    "fog": _palette("5f7387", "c9d1d3", "8a9aa8", "33424f", "e58e73"),
    "rose": _palette("f6b8a8", "fde3d3", "e06a78", "8c1f3f", "fff3e6"),
    "sun": _palette("ffb52e", "fff0b8", "f2803a", "b8402a", "2f6f8f"),
    "candy": _palette("3fb8af", "f8efd4", "ef5d82", "2b3a67", "ffcf4a"),
    "dream": _palette("281a55", "b06ab3", "5b3a8c", "1b1140", "7ff0d8"),
    "gold": _palette("17616b", "f0c987", "b57b3c", "3a2a1c", "fff0c2"),
    "meadow": _palette("8fd0e0", "f2f4d2", "7fb069", "2f5d3a", "f5a65b"),
    "electric": _palette("0a0a14", "3a1266", "ff2e88", "0a0a14", "19e3e3"),
    "bone": _palette("0f3b3f", "d8d2c0", "4d7072", "142a2c", "d9483b"),
}
_BY_MOOD = {
    "ember": "tense violent thrilling gritty scary angry",
    "night": "dark brooding bleak shadowy suspenseful chilling menacing",
    "fog": "melancholy bittersweet heartbreaking slow-burning intimate atmospheric sad",
    "rose": "romantic tender charming sensual",
    "sun": "funny feel-good uplifting warm cheerful",
    "candy": "playful quirky witty absurd wry satirical zany",
    "dream": "dreamy surreal mind-bending eerie spooky magical haunting",
    "gold": "epic adventurous inspiring nostalgic sweeping",
    "meadow": "gentle hopeful cosy heartwarming",
    "electric": "fast-paced stylish energetic",
    "bone": "thought-provoking tragic claustrophobic",
}
_OF_MOOD = {mood: name for name, moods in _BY_MOOD.items() for mood in moods.split()}


def luminance(colour: Colour) -> float:
    """Perceived brightness, 0 to 255 (ITU-R BT.601)."""
    red, green, blue = colour
    return 0.299 * red + 0.587 * green + 0.114 * blue


def palette_for(moods: Sequence[str], chance: random.Random) -> Palette:
    """A palette for one of the moods (the first ones likelier), its colours turned a little by ``chance``.

    A mood that no palette is meant for is passed over; with no known mood any palette may come.
    """
    fitting = [_OF_MOOD[mood] for mood in moods if mood in _OF_MOOD] or sorted(_PALETTES)
    base = _PALETTES[fitting[min(int(chance.expovariate(1.2)), len(fitting) - 1)]]
    hue, value = chance.uniform(-0.035, 0.035), chance.uniform(0.92, 1.06)

    def turned(colour: Colour) -> Colour:
        h, s, v = colorsys.rgb_to_hsv(*(part / 255 for part in colour))
        red, green, blue = colorsys.hsv_to_rgb((h + hue) % 1.0, s, min(1.0, v * value))
        return round(red * 255), round(green * 255), round(blue * 255)

    return Palette(*(turned(c) for c in (base.high, base.low, base.far, base.near, base.accent)))
