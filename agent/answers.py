"""From the desk of a turn to what is given back: the whole turn, or a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..tools.base import TurnContext
from ..tools.exploring import explore_of
from ..tools.results import Card, ItemList, ToolRun, Turn


def turn_of(desk: TurnContext, state: Mapping[str, Any], *, planner: str) -> Turn:
    """The turn as it ended.

    Args:
        desk: of the turn.
        state: of the graph: what was run and said.
        planner: which model planned, or that none did.
    """
    return Turn(
        user=desk.user,
        thread=desk.thread,
        number=desk.number,
        message=desk.message,
        reply=state.get("reply") or " ".join(desk.notices),
        cards=desk.bus.cards if desk.fresh else (desk.described,) if desk.described else (),
        listed=desk.fresh,
        evidence=tuple(desk.evidence.values()),
        popularity=desk.popularity,
        tools=tuple(ToolRun.model_validate(run) for run in state.get("runs", [])),
        events=tuple(desk.events),
        notices=tuple(desk.notices),
        planner=planner,
        model_calls=desk.model_calls,
        writing=desk.writing,
        question=desk.question,
        explore=desk.bus.source.explore if desk.fresh and desk.bus.source is not None else desk.explore or 0.0,
        simulated=desk.knowledge.build.manifest.simulated,
        seconds=desk.seconds,
    )


def list_of(
    desk: TurnContext, cards: Sequence[Card], *, user: str | None, query: str | None = None, ranked: bool = False
) -> ItemList:
    """A list that was asked for outside a conversation.

    Args:
        ranked: whether it is the user's ranking, which may explore.
    """
    return ItemList(
        user=user,
        query=query,
        cards=tuple(cards),
        evidence=tuple(desk.evidence.values()),
        notices=tuple(desk.notices),
        explore=explore_of(desk).dial if ranked else 0.0,
        simulated=desk.knowledge.build.manifest.simulated,
    )
