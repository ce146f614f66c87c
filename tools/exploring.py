"""How far a list explores: where the dial stands, what is drawn, and how the list is made again as it was.

What is drawn depends on the user, the thread and the turn alone, so that a step that is repeated gives the same list,
all lists of a turn explore the same taste, and a list can be explained later by what it was made with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..ranking.posterior_part import Explore
from .base import ListSource, TurnContext

if TYPE_CHECKING:
    from ..ranking.fused_ranker import FusedRanker

#: A list that does not explore.
NOTHING = Explore()


def checked(explore: float | None, ranker: FusedRanker) -> float | None:
    """A dial that was given, as it is.

    Raises:
        UserError: it is not in [0, 1], or the build's ranker cannot explore.
    """
    if explore is not None and not Explore(explore).off:
        ranker.require_posterior()
    return explore


def explore_of(context: TurnContext) -> Explore:
    """How far this request explores: its own dial, else the user's."""
    dial = context.explore
    if dial is None:
        # An own dial that there is nothing to turn by stays where everybody's is.
        dial = context.dials.explore if context.knowledge.ranker.explores else 0.0
    return _drawn(context, dial, context.number)


def explore_of_list(context: TurnContext) -> Explore:
    """How far the list on the table explores, wherever the dial stands now."""
    source = context.bus.source
    if source is None:
        return explore_of(context)
    # The list may be of an earlier build.
    return _drawn(context, source.explore if context.knowledge.ranker.explores else 0.0, source.turn)


def source_of(context: TurnContext, filters: Mapping[str, Any], pool: tuple[str, ...] = ()) -> ListSource:
    """How the list of this request came about.

    Args:
        filters: arguments of its filters, by name.
        pool: ids of what a search found, best match first.
    """
    return ListSource(
        filters,
        pool,
        debias=context.debias,
        explored=context.explored,
        explore=explore_of(context).dial,
        turn=context.number,
    )


def _drawn(context: TurnContext, dial: float, turn: int) -> Explore:
    name = json.dumps([context.user, context.thread, turn]).encode()
    return Explore(dial, int.from_bytes(hashlib.blake2b(name, digest_size=8).digest()))
