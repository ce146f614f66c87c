"""Posters in a terminal that can draw them (Kitty's graphics or Sixel), by textual-image; else nothing."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: Width of a poster, in character cells.
CELLS = 10


@cache
def can_draw() -> bool:
    """Whether the terminal draws real pictures: asked once, and only of a real terminal."""
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return False
    from textual_image.renderable import Image as Auto
    from textual_image.renderable.sixel import Image as Sixel
    from textual_image.renderable.tgp import Image as Kitty

    return Auto in (Sixel, Kitty)


def thumbnail(folders: Sequence[Path], name: str | None) -> Any:
    """A renderable of one poster, from the first folder that has it; empty where there is none."""
    from rich.markup import escape

    from ..catalog.images import contained, open_image
    from ..errors import UserError

    if name is None:
        return ""
    from textual_image.renderable import Image as Auto

    try:
        found = [path for folder in folders if (path := contained(folder, name)).exists()]
        return Auto(open_image(found[0]), width=CELLS) if found else ""
    except UserError as error:
        return f"[dim]{escape(str(error))}[/dim]"
