"""The list on the table without and with the correction for popularity, over the same candidates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..ranking.debias import Debias
from .base import ListSource, TurnContext
from .exploring import explore_of_list
from .facets import Facets, resolve_filters
from .results import Listed, ListVariant
from .search import ordered_for
from .taste import debias_of_list, hidden_rows, history_of, ranked_for, tastes_of

#: Where nothing is corrected, the list is shown beside what this setting of the dial would make of it.
PREVIEW = 0.5


def variants(context: TurnContext, facets: Facets) -> tuple[ListVariant, ...]:
    """The list without correction, and with the one in use; where none is in use, with the dial at `PREVIEW`.

    Of a list that came from a search the candidates are the search's; of any other, all that its filters let through.
    Empty where no list is shown, or where it is not known how it came about.
    """
    source = context.bus.source
    if not len(context.bus) or source is None:
        return ()
    used = debias_of_list(context)
    if used.off:
        used = Debias(dial=PREVIEW)
    label = "with the correction" if used.dial is None else f"with the dial at {used.dial:g}"
    ranked = _ranker(context, facets, source)
    return tuple(
        ListVariant(label=name, dial=debias.dial, items=_listed(context, rows), lift=_lift(context, rows))
        for name, debias, rows in (
            ("without correction", Debias(dial=0.0), ranked(Debias(dial=0.0))),
            (label, used, ranked(used)),
        )
    )


def _ranker(context: TurnContext, facets: Facets, source: ListSource) -> Callable[[Debias], list[int]]:
    """From a dial to the rows of the list. What does not depend on the dial is found once."""
    knowledge, k = context.knowledge, len(context.bus)
    unwanted = source.filters.get("without")
    tastes = tastes_of(context, (str(unwanted),) if unwanted else ())
    open_to = knowledge.catalogue.available & ~hidden_rows(context, tastes)
    explore = explore_of_list(context)
    if source.pool:
        known = [knowledge.catalogue.row_of[one] for one in source.pool if one in knowledge.catalogue.row_of]
        hits = [row for row in known if open_to[row]]

        def of_search(debias: Debias) -> list[int]:
            found = ordered_for(context, hits, tastes=tastes, debias=debias, explore=explore, reasons=False)
            return [row for _, row, _ in found[:k]]

        return of_search
    open_to &= resolve_filters(knowledge.catalogue, facets, source.filters).rows
    dials = knowledge.ranker.dials(context.dials.diversity)

    def of_all(debias: Debias) -> list[int]:
        found = ranked_for(
            context, open_to, k, tastes=tastes, dials=dials, debias=debias, explore=explore, reasons=False
        )
        return [ranked.row for ranked in found]

    return of_all


def _listed(context: TurnContext, rows: list[int]) -> tuple[Listed, ...]:
    catalogue = context.knowledge.catalogue
    return tuple(Listed(id=catalogue.ids[row], title=str(catalogue.frame["title"][row])) for row in rows)


def _lift(context: TurnContext, rows: list[int]) -> float | None:
    counts: NDArray[np.int64] = context.knowledge.counts
    own = history_of(context).chosen().rows
    if not rows or not len(own) or not counts[own].any():
        return None
    return round(float(counts[rows].mean() / counts[own].mean() - 1), 6)
