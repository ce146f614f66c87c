"""``recommend``: the best unseen items for this user, filtered if asked."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ..catalog.text import one_line
from ..ranking.base import Ranked
from ..ranking.debias import Debias
from ..ranking.diversity import DiversityConfig
from ..ranking.posterior_part import Explore
from .base import Arguments, Tool, TurnContext
from .claims import item_claims
from .exploring import source_of
from .facets import Facets, arguments_with_facets, filters_of, resolve, settled
from .results import Card, numbers_shown
from .taste import explored_among, hidden_rows, ranked_for, tastes_of


def make(facets: Facets) -> Tool:
    arguments = arguments_with_facets("Recommend", facets)

    def run(context: TurnContext, call: Arguments) -> str:
        return recommend(context, facets, call)

    return Tool(
        name="recommend",
        summary="the best for this user when no subject is named",
        arguments=arguments,
        run=run,
        lists=True,
    )


def recommend(context: TurnContext, facets: Facets, call: Arguments) -> str:
    """Rank the whole catalogue for the user and put the best on the bus."""
    call = settled(facets, call, comparable(context, facets, call))
    asked = resolve(context.knowledge.catalogue, facets, call)
    for reading in asked.readings:
        context.notice(reading)
    cards = rank_cards(context, asked.rows, cited=asked.cited, labels=asked.labels, unwanted=asked.unwanted)
    context.fill(cards, cited=asked.cited, source=source_of(context, filters_of(facets, call)))
    if not cards:
        return "nothing left that fits: loosen the filters"
    return f"{len(cards)} ranked: " + "; ".join(f"{c.ordinal} {one_line(c.title, 40)}" for c in cards)


def comparable(context: TurnContext, facets: Facets, call: Arguments) -> dict[str, list[float]]:
    """The numbers that "newer" or "cheaper" compares with: those of the list shown.

    Where none is shown, the middle of the catalogue stands for it, and the reply says so.
    """
    shown = numbers_shown(context.bus.cards)
    given = call.model_dump(exclude_none=True)
    catalogue = context.knowledge.catalogue
    for way in ("more", "less"):
        spec = next((one for one in facets.numbers if one.name == given.get(way)), None)
        if spec is None or spec.name in shown:
            continue
        usual = catalogue.frame[spec.name].filter(pl.Series(catalogue.available)).median()
        if isinstance(usual, float):
            shown[spec.name] = [usual]
            middle = f"{way} {spec.name} than the catalogue's middle, {usual:g}"
            context.notice(f"Nothing is shown to compare with: {middle}.")
    return shown


def rank_cards(
    context: TurnContext,
    keep: NDArray[np.bool_],
    *,
    cited: Sequence[str] = (),
    labels: Sequence[str] = (),
    unwanted: Sequence[str] = (),
    dials: DiversityConfig | None = None,
) -> list[Card]:
    """The best of the rows in ``keep``, as :func:`rank_rows` finds them, with what is claimed of each."""
    cards = []
    for ordinal, ranked in enumerate(rank_rows(context, keep, unwanted=unwanted, dials=dials), start=1):
        item = context.knowledge.catalogue.item(ranked.row)
        claims = item_claims(context, item, ranked=ranked, cited=cited, labels=labels)
        cards.append(Card.of(item, ordinal=ordinal, score=ranked.score, parts=ranked.parts, claims=claims))
    return cards


def rank_rows(
    context: TurnContext,
    keep: NDArray[np.bool_],
    *,
    k: int | None = None,
    unwanted: Sequence[str] = (),
    dials: DiversityConfig | None = None,
    debias: float | Debias | None = None,
) -> list[Ranked]:
    """The best of the rows in ``keep``; what the user knows, and what is unavailable, is left out.

    What is among them by exploring alone is noted in the context.

    Args:
        unwanted: what this request does not want, in words.
        k: how many; None: as many as a list of this turn shows.
        dials: how varied the list is; None: as the user's own dials have it.
        debias: the dial of the correction for popularity, or the correction; None: the request's dial, else what the
            build derived.

    Raises:
        UserError: the dial is not in [0, 1].
    """
    knowledge, many = context.knowledge, context.k if k is None else k
    tastes = tastes_of(context, unwanted)
    allowed = keep & ~hidden_rows(context, tastes) & knowledge.catalogue.available
    dials = dials or knowledge.ranker.dials(context.dials.diversity)
    found = ranked_for(context, allowed, many, tastes=tastes, dials=dials, debias=debias)

    def again(explore: Explore) -> list[int]:
        plain = ranked_for(
            context, allowed, many, tastes=tastes, dials=dials, debias=debias, explore=explore, reasons=False
        )
        return [ranked.row for ranked in plain]

    context.explored = explored_among(context, [ranked.row for ranked in found], again)
    return found
