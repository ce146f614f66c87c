"""Where an item lay in the list that showed it: what a verdict on it says about how lists should be made.

For each dial (:mod:`..profiles.dials`), whether a higher value would show more items like it or fewer, compared with
the other items of the same list:

- *explore*: more, where exploring brought it there; fewer, where it was ranked by what is known;
- *diversity*: more, where it is less like the other items than the list's middle is;
- *debias*: more, where fewer people chose it than the list's middle;
- *recency*: more, where it is closer to what the user chose lately, and further from what came before, than the list's
  middle. Of users with few choices nothing is told.

Likeness is the mean cosine over the views that make lists varied. An item in the middle of its list says nothing.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..profiles.dials import DialName, offer_text
from ..ranking.base import product
from .base import TurnContext
from .taste import history_of

#: Latest choices that are "lately"; before anything is told there have to be twice as many.
LATELY = 5
#: Choices before these that are "longer ago": older ones say little of what a list would be without the latest.
BEFORE = 200


def offered(context: TurnContext, item_id: str) -> str | None:
    """What `Event.offered` says of an item of the list on the table; None where the list does not hold it."""
    row_of = context.knowledge.catalogue.row_of
    ids = [card.id for card in context.bus.cards if card.id in row_of]
    if item_id not in ids:
        return None
    at, source = ids.index(item_id), context.bus.source
    rows = np.array([row_of[one] for one in ids], dtype=np.int64)
    sides: dict[DialName, int] = {
        "explore": 1 if source is not None and item_id in source.explored else -1,
        "diversity": side(_unlike(context, rows), at),
        "debias": side(-context.knowledge.counts[rows].astype(np.float64), at),
        "recency": side(_late(context, rows), at),
    }
    return offer_text(sides)


def side(values: NDArray[np.float64] | None, at: int) -> int:
    """1 or -1, where a value lies above or below the middle of all; 0 in the middle, and where there are no values."""
    if values is None or len(values) < 2:
        return 0
    # Rounded, so that items that are alike are so whatever their vectors' last digits.
    apart = round(float(values[at] - np.median(values)), 6)
    return (apart > 0) - (apart < 0)


def _unlike(context: TurnContext, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """(k,): how unlike the others of the list each item is, on average; None where no view can tell."""
    views = _vectors(context, rows)
    if not views or len(rows) < 2:
        return None
    others = 1.0 - np.eye(len(rows))
    alike = sum(product("id,jd->ij", found, found).astype(np.float64) for found in views) * others
    unlike: NDArray[np.float64] = -alike.sum(axis=1) / others.sum(axis=1) / len(views)
    return unlike


def _late(context: TurnContext, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """(k,): how much closer each item is to the latest choices than to those before; None where there are too few."""
    chosen = history_of(context).chosen().rows
    past = chosen[~np.isin(chosen, rows)]  # the list's own items say nothing of what came before it
    if len(past) < 2 * LATELY:
        return None
    late, before = past[-LATELY:], past[-LATELY - BEFORE : -LATELY]
    told = [
        product("id,d->i", found, (latest.mean(axis=0) - earlier.mean(axis=0)).astype(np.float32))
        for found, latest, earlier in zip(
            _vectors(context, rows), _vectors(context, late), _vectors(context, before), strict=True
        )
    ]
    return np.mean(told, axis=0, dtype=np.float64) if told else None


def _vectors(context: TurnContext, rows: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    """By view (k, d): the items' vectors; the mean item's for an item without the view."""
    items = context.knowledge.ranker.items
    if items is None:
        return []
    told = []
    for view, mean in zip(items.views, items.means, strict=True):
        found = np.array(view[rows], dtype=np.float32)  # a copy: the view may be a mapped file
        found[~found.any(axis=1)] = mean
        told.append(found)
    return told
