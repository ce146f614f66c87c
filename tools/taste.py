"""From what is known of a user to what rankers read: one history, stated tastes, and what must not be shown."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from ..ranking.base import Ranked
from ..ranking.debias import Debias
from ..ranking.diversity import DiversityConfig
from ..ranking.history import History, from_events, from_log, merge
from ..ranking.posterior_part import Explore
from ..ranking.tastes import Taste, TasteMatches, match_tastes
from .base import TurnContext
from .exploring import NOTHING, explore_of

#: Stands where a taste names its event: what the request did not want.
UNWANTED = "request:without"


def history_of(context: TurnContext) -> History:
    """The user's log interactions, then the live events, oldest first; a live opinion replaces the logged one.

    Ages are as the user's dial of recency has them.
    """
    knowledge = context.knowledge
    ids = knowledge.catalogue.ids
    logged = knowledge.interactions.of_user(context.user)
    base = from_log(
        logged.items,
        logged.values,
        knowledge.interactions.scale,
        ref=lambda row: f"log:{context.user}:{ids[row]}",
    )
    live = [
        (knowledge.catalogue.row_of[item_id], opinion.weight, f"event:{opinion.event_id}")
        for item_id, opinion in context.profile.items.items()
        if item_id in knowledge.catalogue.row_of
    ]
    past = merge(base, from_events([r for r, _, _ in live], [w for _, w, _ in live], [e for _, _, e in live]))
    return past.aged(context.dials.recency)


def tastes_of(context: TurnContext, unwanted: Sequence[str] = ()) -> TasteMatches | None:
    """The user's stated tastes against every item; None when nothing was stated.

    What is said for tonight counts in its own thread; what was inferred, as far as it is sure. ``unwanted`` is what
    this request alone does not want, in words.
    """
    if not context.profile.tastes and not unwanted:
        return None
    knowledge = context.knowledge
    stated = [
        Taste(
            t.attribute,
            t.term,
            t.polarity,
            f"event:{t.event_id}",
            # The profile has those of this thread alone.
            thread=context.thread if t.scope == "tonight" else None,
            sure=t.confidence,
        )
        for t in context.profile.tastes
    ]
    stated += [Taste(None, term, -1, UNWANTED, thread=context.thread) for term in unwanted]
    return match_tastes(
        knowledge.catalogue,
        stated,
        knowledge.ranker.views.get("text"),
        knowledge.searcher.text_encoder.encode,
        thread=context.thread,
    )


def hidden_rows(context: TurnContext, tastes: TasteMatches | None) -> NDArray[np.bool_]:
    """Shape (n_items,): what the user knows already, and what carries a label they said they do not want.

    A dislike that no label knows ("gloomy") only pulls items down: meaning is a matter of degree. So does one that was
    inferred and not said.
    """
    hidden = seen_rows(context)
    if tastes is not None:
        for how, signed in zip(tastes.how, tastes.signed, strict=True):
            if how == "label":
                hidden |= signed <= -1
    return hidden


def seen_rows(context: TurnContext) -> NDArray[np.bool_]:
    """Shape (n_items,): items the user has in the log or has judged; never recommended again."""
    knowledge = context.knowledge
    seen = np.zeros(len(knowledge.catalogue), dtype=np.bool_)
    seen[knowledge.interactions.of_user(context.user).items] = True
    for item_id in context.profile.seen:
        row = knowledge.catalogue.row_of.get(item_id)
        if row is not None:
            seen[row] = True
    return seen


def ranked_for(
    context: TurnContext,
    mask: NDArray[np.bool_],
    k: int,
    *,
    tastes: TasteMatches | None,
    dials: DiversityConfig | None = None,
    debias: float | Debias | None = None,
    explore: Explore | None = None,
    reasons: bool = True,
) -> list[Ranked]:
    """The best of the rows in ``mask`` for this user.

    Args:
        dials: for a varied list; None: in the order of the scores.
        debias: as for :func:`debias_of`.
        explore: how far the list explores; None: as the request has it.
        reasons: with what moved each item, which takes as long as the rest.
    """
    return context.knowledge.ranker.recommend(
        history_of(context),
        k=k,
        mask=mask,
        tastes=tastes,
        dials=dials,
        debias=debias_of(context, debias),
        explore=explore_of(context) if explore is None else explore,
        reasons=reasons,
    )


def explored_among(
    context: TurnContext, rows: Sequence[int], again: Callable[[Explore], Iterable[int]]
) -> tuple[str, ...]:
    """Ids of what is in a list by exploring: what would not be in one as long that does not explore.

    Args:
        rows: of the list.
        again: the rows of the list as it is with another setting of exploring.
    """
    if explore_of(context).off:
        return ()
    plain = set(again(NOTHING))
    ids = context.knowledge.catalogue.ids
    return tuple(ids[row] for row in rows if row not in plain)


def debias_of(context: TurnContext, debias: float | Debias | None = None) -> Debias:
    """How much of popularity is taken off: what is given here, else the request's dial, else what the build derives and
    the user's own dial besides."""
    if isinstance(debias, Debias):
        return debias
    return _with_dial(context, context.debias if debias is None else debias)


def debias_of_list(context: TurnContext) -> Debias:
    """How much was taken off in the list on the table, wherever the dial stands now."""
    source = context.bus.source
    return debias_of(context) if source is None else _with_dial(context, source.debias)


def _with_dial(context: TurnContext, dial: float | None) -> Debias:
    correction = context.knowledge.bias.correction
    items = context.knowledge.ranker.items
    # An own dial that nothing is known to turn by stays where everybody's is.
    common = items is not None and items.common is not None
    return Debias(
        per_doubling=0.0 if correction is None else correction.per_doubling,
        dial=dial,
        besides=context.dials.debias if dial is None and common else 0.0,
    )
