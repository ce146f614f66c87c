"""``describe_item``: what the catalogue knows of one item. "Who is in it?" is a turn in six of what people say."""

from __future__ import annotations

from typing import Any

from pydantic import Field, create_model

from ..catalog.items import Item
from ..catalog.text import fold, one_line
from .base import Arguments, Tool, TurnContext
from .claims import item_claims, say_value
from .results import Card, Claim
from .target import target_row

#: Words of a question that point at an attribute, where the catalogue has it.
ASKED_BY = {
    "cast": ("who is in", "who's in", "whos in", "star", "actor", "actress", "cast", "plays", "who s in"),
    "director": ("direct", "who made", "film maker", "filmmaker"),
    "year": ("when", "how old", "what year", "which year", "released", "come out", "came out"),
    "runtime": ("how long", "runtime", "minutes", "length"),
    "genres": ("genre", "what kind", "what sort", "what type", "scary", "funny", "sad", "violent"),
    "moods": ("mood", "scary", "funny", "sad", "violent", "feel", "dark", "romantic", "kids", "children"),
    "country": ("country", "where is it from", "where was it made", "made in"),
    "language": ("language", "subtitle"),
    "writer": ("who wrote", "writer", "screenplay"),
    "price": ("price", "cost", "how much", "cheap", "expensive"),
    "brand": ("brand", "who makes", "manufactur"),
}


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
    arguments: type[Arguments] = create_model("DescribeItem", __base__=Arguments, **fields)
    return Tool(
        name="describe_item",
        summary="answer a question about one item",
        arguments=arguments,
        run=describe,
    )


def describe(context: TurnContext, call: Arguments) -> str:
    """Answer from the catalogue, and say so where the catalogue does not know."""
    given = call.model_dump()
    row = target_row(context, given.get("ordinal"), given.get("title"))
    item = context.knowledge.catalogue.item(row)
    facts, missing = _facts(item, context.message)
    claims = []
    for name, value in facts:
        source = context.cite(f"catalogue:{item.id}:{name}", f"{name}: {value}")
        claims.append(Claim(text=f"{name}: {value}", evidence=(source,)))
    if missing:
        context.notice(f"The catalogue does not say: {', '.join(missing)}.")
    shown = next((card.ordinal for card in context.bus.cards if card.id == item.id), None)
    card = Card.of(item, ordinal=shown or 1, score=0.0, claims=tuple(claims) or item_claims(context, item))
    context.described = card
    return f"{one_line(item.title, 60)}: " + "; ".join(f"{name} {value}" for name, value in facts[:5])


def _facts(item: Item, question: str) -> tuple[list[tuple[str, str]], list[str]]:
    """The facts a question asks for (all of them when it names none), and the asked attributes that are empty."""
    wanted = fold(question)
    named = [name for name, words in ASKED_BY.items() if any(fold(word) in wanted for word in words)]
    named += [name for name in item.attributes if fold(name) in wanted.split() and name not in named]
    held = [name for name in named if name in item.attributes]
    missing = [name for name in named if name not in item.attributes] if named and not held else []
    facts = [(name, say_value(item.attributes[name])) for name in (held or list(item.attributes))]
    if item.description and (not held or {"moods", "genres"} & set(held)):
        facts.append(("description", one_line(item.description, 400)))
    return facts, missing
