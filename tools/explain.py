"""``explain``: why an item is in the list, claim by claim, with the record each rests on and what it does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from pydantic import Field, create_model

from ..catalog.text import one_line
from ..ranking.base import Ranked
from .base import Arguments, Tool, TurnContext
from .counterfactual import Standings
from .results import Card
from .target import target_row
from .taste import seen_rows
from .verify import explained


def make(ordinals: int) -> Tool:
    fields: dict[str, Any] = {}
    if ordinals:
        fields["ordinal"] = (
            int | None,
            Field(
                default=None,
                ge=1,
                le=ordinals,
                description="its number in the list",
                json_schema_extra={"ordinal": True},
            ),
        )
    fields["title"] = (str | None, Field(default=None, max_length=80, description="its title"))
    arguments: type[Arguments] = create_model("Explain", __base__=Arguments, **fields)
    return Tool(
        name="explain",
        summary="why an item was recommended",
        arguments=arguments,
        run=explain,
    )


def explain(context: TurnContext, call: Arguments) -> str:
    """The item's claims, from all evidence there is, chosen and judged by ranking again."""
    given = call.model_dump()
    card = explain_row(context, target_row(context, given.get("ordinal"), given.get("title")))
    context.described = card
    return f"why {one_line(card.title, 60)}: " + "; ".join(claim.text for claim in card.claims)


def explain_row(context: TurnContext, row: int) -> Card:
    """One item with its claims, verified by ranking again; those of the request too, when it is in the shown list."""
    item = context.knowledge.catalogue.item(row)
    shown = next((card for card in context.bus.cards if card.id == item.id), None)
    if not context.knowledge.catalogue.available[row]:
        context.notice("It was taken out of the catalogue: it is not recommended. Its rank is what it would be.")
    elif seen_rows(context)[row]:
        context.notice(
            "It is on your record: what you know is not recommended. Its rank is what it would be without that record."
        )
    standings = Standings(context, row, shown=shown is not None)
    ranked = rank_one(context, standings, row)
    found = explained(context, item, ranked, standings, shown)
    return Card.of(
        item,
        ordinal=shown.ordinal if shown else 1,
        score=ranked.score,
        parts=ranked.parts,
        ranks=shown.ranks if shown else {},
        claims=found.claims,
        verification=found.verification,
    )


def rank_one(context: TurnContext, standings: Standings, row: int) -> Ranked:
    """What the ranker says of one item, whether or not the user knows it, with every contribution."""
    ranker = context.knowledge.ranker
    only = np.zeros(ranker.n_items, dtype=np.bool_)
    only[row] = True
    tastes = standings.tastes
    (ranked,) = ranker.recommend(
        standings.history,
        k=1,
        mask=only,
        tastes=tastes,
        repeats=True,
        debias=standings.debias,
        explore=standings.explore,
        reasons=False,
    )
    return replace(ranked, contributions=tuple(ranker.contributions(standings.history, row, tastes)))
