"""Which item a call means: an ordinal of the shown list, an id, or a title."""

from __future__ import annotations

import re

from ..catalog.items import Catalogue
from ..catalog.text import one_line
from ..errors import ToolError
from .base import Bus, TurnContext
from .linker import Link, label, link

_ORDINAL = re.compile(
    r"(?:the )?(?:number |no\.? ?|#)?(\d{1,2}|first|second|third|fourth|fifth|last)(?: one)?", re.IGNORECASE
)
_WORDS = {"first": 1, "second": 2, "third": 3, "fourth": 4, "fifth": 5}


def target_row(context: TurnContext, ordinal: int | None, title: str | None) -> int:
    """Row of the item that is meant; a title wins over an ordinal, and one shown item needs neither.

    Raises:
        ToolError: neither is given and no single item is on the table; no such ordinal; no such title.
    """
    if title:
        return row_meant(context, title)
    if ordinal is None:
        if len(context.bus) == 0:
            raise ToolError("which item? give its number or its title")
        ordinal = 1
    return context.knowledge.catalogue.row_of[context.bus.at(ordinal).id]


def row_meant(context: TurnContext, text: str) -> int:
    """As :func:`item_row` on the turn's table; says what was taken for the words where they are not the title.

    Raises:
        ToolError: as there.
    """
    catalogue = context.knowledge.catalogue
    found = _found(catalogue, text, context.bus)
    if not found.sure:
        context.notice(f"“{one_line(text, 60)}” was read as {label(catalogue, found.row)}.")
    return found.row


def item_row(catalogue: Catalogue, text: str, bus: Bus | None = None) -> int:
    """Row of an item named by its place in the list ("the second one"), its title, or its id, in this order.

    Raises:
        ToolError: nothing fits, or several do (the message names them).
    """
    return _found(catalogue, text, bus).row


def _found(catalogue: Catalogue, text: str, bus: Bus | None) -> Link:
    place = _ORDINAL.fullmatch(text.strip())
    if bus is not None and len(bus) and place:
        word = place.group(1).lower()
        ordinal = len(bus) if word == "last" else _WORDS.get(word) or int(word)
        if ordinal <= len(bus):
            return Link(catalogue.row_of[bus.at(ordinal).id], True)
    if text in catalogue.row_of:
        return Link(catalogue.row_of[text], True)
    return link(catalogue, text, prefer=[card.id for card in bus.cards] if bus is not None else ())
