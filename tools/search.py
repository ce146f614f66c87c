"""``search_items``: find items by words, picture or likeness, filtered, and ordered for this user."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from ..catalog.search import Hit, Query
from ..catalog.text import one_line
from ..ranking.base import Ranked
from ..ranking.debias import Debias
from ..ranking.posterior_part import Explore
from ..ranking.tastes import TasteMatches
from .base import Arguments, Tool, TurnContext
from .claims import item_claims
from .exploring import source_of
from .facets import Facets, arguments_with_facets, filters_of, resolve, settled
from .linker import Ambiguous
from .mentions import said_beyond
from .rank import comparable, rank_cards
from .results import Card
from .target import item_row, row_meant
from .taste import UNWANTED, explored_among, hidden_rows, history_of, ranked_for, seen_rows, tastes_of

#: How many hits are fetched before they are ordered for the user.
DEPTH = 60
#: Reciprocal-rank constant (Cormack et al. 2009) and what the request weighs against the person.
RRF_K = 20.0
REQUEST_WEIGHT = 2.0
#: Cosine from which two pictures are taken for the same one, cropped or recompressed.
SAME_PICTURE = 0.8
#: Items on record from which the person's own ranking has its full weight; with none it has no say.
KNOWN_AT = 5


def make(facets: Facets) -> Tool:
    arguments = arguments_with_facets(
        "SearchItems",
        facets,
        query=(str | None, Field(default=None, max_length=120, description="what it should be about, in words")),
        like=(str | None, Field(default=None, max_length=80, description="title of an item it should be like")),
    )

    def run(context: TurnContext, call: Arguments) -> str:
        return search(context, facets, call)

    return Tool(
        name="search_items",
        summary="find items by subject, mood, plot, likeness to a title, picture or filters",
        arguments=arguments,
        run=run,
        lists=True,
    )


def search(context: TurnContext, facets: Facets, call: Arguments) -> str:
    """Search, leave out what the user knows, order the rest by request first and person second."""
    call = settled(facets, call, _compared(context, facets, call))
    asked = resolve(context.knowledge.catalogue, facets, call)
    for reading in asked.readings:
        context.notice(reading)
    given = call.model_dump()
    text, like = given.get("query"), given.get("like")
    context.pool = ()
    if like and not _is_known(context, like):
        context.notice(f"Nothing here is called “{one_line(like, 60)}”: its words were searched for instead.")
        text, like = " ".join(filter(None, (text, like))), None
    elif like:
        row_meant(context, like)  # asks which of namesakes; says what was taken for a misspelling
    subject = text is not None  # else the filters are all that is asked: what they refuse is no subject
    if text is None and not like and context.image is None:
        text = " ".join(asked.words) or context.message
    filtered = asked.words and not like and context.image is None
    if filtered and not (subject and _is_beyond(text or "", facets, given)):
        cards = rank_cards(context, asked.rows, cited=asked.cited, labels=asked.labels, unwanted=asked.unwanted)
    else:
        cards = search_cards(
            context,
            text=text,
            like=(like,) if like else (),
            keep=asked.rows,
            cited=asked.cited,
            labels=asked.labels,
            unwanted=asked.unwanted,
            personal=True,
        )
    _say_known_picture(context)
    source = source_of(context, filters_of(facets, call), context.pool)
    context.fill(cards, query=text or (f"like {like}" if like else None), cited=asked.cited, source=source)
    if not cards:
        return "nothing found: loosen the filters" if asked.words else "nothing found"
    return f"{len(cards)} found: " + "; ".join(f"{c.ordinal} {one_line(c.title, 40)}" for c in cards)


def _is_beyond(text: str, facets: Facets, given: Mapping[str, object]) -> bool:
    """Whether the words ask for more than the filters do ("comedy" beside the filter Comedy does not).

    Where they do not, likeness to them says nothing: all that is left meets them, and the person's ranking decides.
    """
    labels = [
        str(given[name]) for spec in facets.choices for name in (spec.name, f"not_{spec.name}") if given.get(name)
    ]
    names = [str(given[name]) for name in ("named", "not_named") if given.get(name)]
    numbers = any(given.get(f"{spec.name}_{end}") is not None for spec in facets.numbers for end in ("min", "max"))
    return bool(said_beyond(text, [*labels, *names], numbers=numbers))


def _compared(context: TurnContext, facets: Facets, call: Arguments) -> dict[str, list[float]]:
    """The numbers that "newer" or "cheaper" compares with: of the item it should be like, else of the list shown."""
    like = call.model_dump().get("like")
    if like and _is_known(context, like):
        catalogue = context.knowledge.catalogue
        item = catalogue.item(item_row(catalogue, like, context.bus))
        return {name: [value] for name, value in item.attributes.items() if isinstance(value, float)}
    return comparable(context, facets, call)


def _is_known(context: TurnContext, like: str) -> bool:
    """Whether it names an item. Of namesakes the reply will ask which; a mere likeness ("a shredder") is just words."""
    try:
        item_row(context.knowledge.catalogue, like, context.bus)
    except Ambiguous as unclear:
        return unclear.namesakes
    return True


def _say_known_picture(context: TurnContext) -> None:
    """Of a picture of something the user knows already, say so: it is left out of the list, which looks like a miss."""
    if context.image is None:
        return
    knowledge = context.knowledge
    best = knowledge.searcher.search(Query(image=context.image, k=1))
    if best and best[0].similarities["image"] >= SAME_PICTURE and seen_rows(context)[best[0].row]:
        title = one_line(knowledge.title(best[0].item_id), 80)
        context.notice(f"Your picture looks like {title}, which you know already.")


def search_cards(
    context: TurnContext,
    *,
    text: str | None,
    like: Sequence[str],
    keep: NDArray[np.bool_],
    cited: Sequence[str] = (),
    labels: Sequence[str] = (),
    unwanted: Sequence[str] = (),
    personal: bool,
    unseen: bool = True,
    debias: float | Debias | None = None,
) -> list[Card]:
    """The best hits among the rows in ``keep``.

    Args:
        like: ids or titles of items to be like.
        cited: attributes that were filtered by. labels: those of their values that were asked for.
        unwanted: what it should not be about, in words; items that a label says it of are left out, others put lower.
        personal: order by reciprocal ranks of the request (twice) and of the user's own ranking (up to once).
        unseen: leave out what the user knows.
        debias: the dial of the correction for popularity in the user's own ranking, or the correction; None: that of
            the request.
    """
    knowledge = context.knowledge
    likes = tuple(knowledge.catalogue.ids[item_row(knowledge.catalogue, one, context.bus)] for one in like)
    tastes = tastes_of(context, unwanted) if personal else None
    if unseen:
        keep = keep & ~hidden_rows(context, tastes)
    hits = knowledge.searcher.search(
        Query(text=text, image=context.image, like=likes, mask=keep, k=max(DEPTH, context.k) if personal else context.k)
    )
    order: list[tuple[float, Hit, Ranked | None]]
    if personal and hits:
        context.pool = tuple(hit.item_id for hit in hits)
        by_row = {hit.row: hit for hit in hits}
        rows = [hit.row for hit in hits]
        found = ordered_for(context, rows, tastes=tastes, debias=debias)
        order = [(score, by_row[row], ranked) for score, row, ranked in found]

        def again(explore: Explore) -> list[int]:
            plain = ordered_for(context, rows, tastes=tastes, debias=debias, explore=explore, reasons=False)
            return [row for _, row, _ in plain[: context.k]]

        context.explored = explored_among(context, [row for _, row, _ in found[: context.k]], again)
    else:
        context.explored = ()
        order = [(hit.score, hit, None) for hit in hits]
    words = text or (f"like {knowledge.title(likes[0])}" if likes else None)
    cards = []
    for ordinal, (score, hit, ranked) in enumerate(order[: context.k], start=1):
        item = knowledge.catalogue.item(hit.row)
        claims = item_claims(context, item, ranked=ranked, ranks=hit.ranks, query=words, cited=cited, labels=labels)
        cards.append(
            Card.of(
                item,
                ordinal=ordinal,
                score=score,
                parts=ranked.parts if ranked else hit.similarities,
                ranks=hit.ranks,
                claims=claims,
            )
        )
    return cards


def ordered_for(
    context: TurnContext,
    rows: Sequence[int],
    *,
    tastes: TasteMatches | None,
    debias: float | Debias | None = None,
    explore: Explore | None = None,
    reasons: bool = True,
) -> list[tuple[float, int, Ranked | None]]:
    """What a search found, in the order of reciprocal ranks of the request (twice) and of the user's own ranking.

    Args:
        rows: best match first.
        tastes: stated ones.
        debias: the dial of the correction for popularity in the user's own ranking, or the correction; None: that of
            the request.
        explore, reasons: as for :func:`.taste.ranked_for`.

    Returns:
        score, row, and what the user's ranking says of it (None where it leaves it out), best first.
    """
    only = np.zeros(len(context.knowledge.catalogue), dtype=np.bool_)
    only[list(rows)] = True
    ranking = ranked_for(context, only, len(rows), tastes=tastes, debias=debias, explore=explore, reasons=reasons)
    by_row = {ranked.row: ranked for ranked in ranking}
    place = {ranked.row: rank for rank, ranked in enumerate(ranking, start=1)}
    person = min(1.0, len(history_of(context)) / KNOWN_AT)
    refused = refused_of(rows, tastes)
    order = [
        (
            REQUEST_WEIGHT / (RRF_K + rank)
            + person / (RRF_K + place.get(row, DEPTH))
            - REQUEST_WEIGHT * refused.get(row, 0.0),
            row,
            by_row.get(row),
        )
        for rank, row in enumerate(rows, start=1)
    ]
    return sorted(order, key=lambda found: -found[0])  # stable: the request's order breaks ties


def refused_of(rows: Sequence[int], tastes: TasteMatches | None) -> dict[int, float]:
    """By row: the reciprocal rank of how much it is about what the request does not want; none where it is not."""
    if tastes is None or UNWANTED not in tastes.refs:
        return {}
    asked = [at for at, ref in enumerate(tastes.refs) if ref == UNWANTED]
    about = -tastes.signed[asked].sum(axis=0)
    most_first = sorted((row for row in rows if about[row] > 0), key=lambda row: -about[row])
    return {row: 1.0 / (RRF_K + rank) for rank, row in enumerate(most_first, start=1)}
