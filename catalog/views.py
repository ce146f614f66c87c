"""What each view sees of an item."""

from __future__ import annotations

from .items import Item
from .text import one_line

#: Labels of one attribute that go into the text, and the text's length in characters.
MOST_LABELS = 8
LONGEST = 1000


def item_text(item: Item) -> str:
    """An item as the text encoder reads it: title, description, then its labels; numbers say little to it."""
    parts = [one_line(item.title, 200)]
    if item.description:
        parts.append(one_line(item.description, 600))
    for name, value in item.attributes.items():
        if isinstance(value, tuple):
            parts.append(f"{name}: " + ", ".join(one_line(v, 60) for v in value[:MOST_LABELS]))
        elif isinstance(value, str):
            parts.append(f"{name}: {one_line(value, 80)}")
    return ". ".join(parts)[:LONGEST]
