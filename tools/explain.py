"""``explain``: why an item is in the list, claim by claim, with the record each rests on."""

from __future__ import annotations

from typing import Any

import numpy as np
from pydantic import Field, create_model

from ..catalog.text import one_line
from .base import Arguments, Tool, TurnContext
from .claims import item_claims
from .results import Card
from .target import target_row
from .taste import ranked_for, tastes_of


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
    """The item's claims, from what the list answered and from ranking the item now."""
    given = call.model_dump()
    card = explain_row(context, target_row(context, given.get("ordinal"), given.get("title")))
    context.described = card
    return f"why {one_line(card.title, 60)}: " + "; ".join(claim.text for claim in card.claims)


def explain_row(context: TurnContext, row: int) -> Card:
    """One item with its claims; those of the request too, when it is in the shown list."""
    knowledge = context.knowledge
    item = knowledge.catalogue.item(row)
    shown = next((card for card in context.bus.cards if card.id == item.id), None)
    only = np.zeros(len(knowledge.catalogue), dtype=np.bool_)
    only[row] = True
    ranking = ranked_for(context, only, 1, tastes=tastes_of(context), repeats=True)
    ranked = ranking[0] if ranking else None
    return Card.of(
        item,
        ordinal=shown.ordinal if shown else 1,
        score=ranked.score if ranked else 0.0,
        parts=ranked.parts if ranked else {},
        ranks=shown.ranks if shown else {},
        claims=item_claims(
            context,
            item,
            ranked=ranked,
            ranks=shown.ranks if shown else None,
            query=context.bus.query if shown else None,
            cited=context.bus.cited if shown else (),
        ),
    )
