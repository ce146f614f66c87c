"""Where an item stands when something of what is known or asked is left out, and the least that must be left out.

An item's *rank* is its place, by score, among what the user may be shown: available, not known to them, not hidden by a
stated dislike, and let through by the filters of the request that the list on the table answers (the item itself is
always among them). In a list that came from a search the candidates are the search's, in its order of request and
person. Lists are varied after that; the rank is the one before. What may be shown stays the same whatever is left out
of the past: an item whose record is set aside does not become a candidate.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ToolError
from ..ranking.alternatives import Alternative, alternative_scores
from ..ranking.history import History
from ..ranking.posterior_part import EXPLORE
from ..ranking.tastes import TasteMatches
from .base import TurnContext
from .exploring import explore_of, explore_of_list
from .facets import Facets, choose_facets, resolve_filters
from .search import KNOWN_AT, REQUEST_WEIGHT, RRF_K, refused_of
from .taste import UNWANTED, debias_of, debias_of_list, hidden_rows, history_of, tastes_of

#: Best items that count as "here" where no list shows the item.
TOP = 10
#: A varied list is chosen among so many of the best: it reaches no further down.
REACH = 100
#: Records that a counterfactual set has at most, and records tried for each place in it.
MOST_EVENTS = 5
WIDTH = 8
#: The wish that words, a picture or likeness were searched for; other wishes are named as the attribute they filter.
QUERY = "query"


@dataclass(frozen=True, slots=True)
class Left:
    """What is left out when all is ranked again.

    Attributes:
        refs: evidence ids of the past and of stated tastes.
        wishes: of the request: names of attributes it filters by, or :data:`QUERY`.
        parts: parts of the ranker.
    """

    refs: frozenset[str] = frozenset()
    wishes: frozenset[str] = frozenset()
    parts: frozenset[str] = frozenset()

    def __or__(self, other: Left) -> Left:
        return Left(self.refs | other.refs, self.wishes | other.wishes, self.parts | other.parts)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the item stands. ``score`` is the ranker's, whatever the order of the list goes by."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class LeastSet:
    """The least that must be left out for the item to leave the first ``top``.

    Attributes:
        refs: the records; where none was found, those whose removal took it furthest.
        standing: without them.
        found: whether the item then is out of the first ``top``, and still in without any fewer of them.
        ranked: how often all was ranked again to find it.
    """

    refs: tuple[str, ...]
    standing: Standing
    found: bool
    ranked: int


class Standings:
    """Ranks one item again and again, each time without something. What was asked before is not ranked again.

    Args:
        context: of the turn.
        row: of the item.
        shown: the item is in the list on the table, and ranks as in that list.

    Attributes:
        history: what is known of the user, without their record of the item itself: that they know it is no reason
            for it. tastes: what was stated.
        field: (n_items,) what may be shown. facets: of the catalogue.
        top: the first so many are "here": the list on the table as far as it reaches down, else :data:`TOP`.
        searched: whether the list came from a search. filters: of the request, as arguments.
        now: where the item stands with nothing left out.
    """

    def __init__(self, context: TurnContext, row: int, *, shown: bool) -> None:
        source = context.bus.source if shown else None
        self._context, self._row = context, row
        self.facets = choose_facets(context.knowledge.catalogue)
        self.filters: Mapping[str, Any] = dict(source.filters) if source is not None else {}
        unwanted = self.filters.get("without")
        known = history_of(context)
        own = [ref for ref, of in zip(known.refs, known.rows.tolist(), strict=True) if of == row]
        self.history: History = known.without(own) if own else known
        self.tastes: TasteMatches | None = tastes_of(context, (str(unwanted),) if unwanted else ())
        self.debias = debias_of_list(context) if shown else debias_of(context)
        self.explore = explore_of_list(context) if shown else explore_of(context)
        ranker = context.knowledge.ranker
        # Drawn once: what is drawn is no evidence, and stays when evidence is left out.
        self._further = {} if self.explore.off else {EXPLORE: ranker.explored(self.history, self.tastes, self.explore)}
        self._open = context.knowledge.catalogue.available & ~hidden_rows(context, self.tastes)
        self._fields: dict[frozenset[str], NDArray[np.bool_]] = {}
        self._known: dict[Left, Standing] = {}
        try:
            self.field = self._field(frozenset())
        except ToolError as error:  # live changes since the list was made
            context.notice(f"The list cannot be ranked again as it was: {error}.")
            self.filters, self._fields = {}, {}
            self.field = self._field(frozenset())
        self._pool = self._pool_of(source.pool) if source is not None else np.empty(0, dtype=np.int64)
        self.searched = len(self._pool) > 0
        self._refs = frozenset(self.history.refs) | frozenset(() if self.tastes is None else self.tastes.refs)
        (self.now,) = self.of([Left()])
        self.top = self._reach([card.id for card in context.bus.cards]) if shown else TOP

    @property
    def candidates(self) -> int:
        """How many items the rank is among."""
        return len(self._pool) if self.searched else int(self.field.sum())

    @property
    def evidence(self) -> frozenset[str]:
        """Ids of all that is known of the user: what :meth:`only` leaves out but for a few."""
        return self._refs - {UNWANTED}

    def only(self, refs: Collection[str]) -> Left:
        """All that is known of the user is left out but ``refs``; the request stays."""
        return Left(refs=self.evidence - frozenset(refs))

    def of(self, asked: Sequence[Left]) -> list[Standing]:
        """Where the item stands without each of these."""
        new = [left for left in dict.fromkeys(asked) if left not in self._known]
        if new:
            scores = self._scores([self._alternative(left) for left in new])
            for left, line in zip(new, scores, strict=True):
                self._known[left] = Standing(self._rank(left, line), float(line[self._row]))
        return [self._known[left] for left in asked]

    def _scores(self, asked: Sequence[Alternative]) -> NDArray[np.float32]:
        """(len(asked), n_items): with the corrections and the draw of the list."""
        return alternative_scores(self._context.knowledge.ranker, asked, self.debias, self._further)

    def _alternative(self, left: Left) -> Alternative:
        return Alternative(self.history.without(left.refs), without_tastes(self.tastes, left.refs), left.parts)

    def _rank(self, left: Left, scores: NDArray[np.float32]) -> int:
        if self.searched and QUERY not in left.wishes:
            return self._rank_in_pool(left, scores)
        field, own = self._field(left.wishes - {QUERY}), scores[self._row]
        ahead = field & (scores > own)
        ahead[: self._row] |= field[: self._row] & (scores[: self._row] == own)
        return 1 + int(np.count_nonzero(ahead))

    def _rank_in_pool(self, left: Left, scores: NDArray[np.float32]) -> int:
        """As :func:`.search.ordered_for` orders what a search found."""
        pool, known = self._pool, self.history.without(left.refs)
        place = np.empty(len(pool), dtype=np.int64)
        place[np.lexsort((pool, -scores[pool]))] = 1 + np.arange(len(pool))
        person = min(1.0, len(known) / KNOWN_AT)
        refused = refused_of(pool.tolist(), self.tastes)
        total = np.array(
            [
                REQUEST_WEIGHT / (RRF_K + rank) + person / (RRF_K + at) - REQUEST_WEIGHT * refused.get(row, 0.0)
                for rank, (row, at) in enumerate(zip(pool.tolist(), place.tolist(), strict=True), start=1)
            ]
        )
        own = int(np.flatnonzero(pool == self._row)[0])
        return 1 + int(np.count_nonzero(total > total[own])) + int(np.count_nonzero(total[:own] == total[own]))

    def _field(self, dropped: frozenset[str]) -> NDArray[np.bool_]:
        if dropped not in self._fields:
            gone = {key for wish in dropped for key in filter_keys(self.facets, wish)}
            filters = {key: value for key, value in self.filters.items() if key not in gone}
            field = self._open & resolve_filters(self._context.knowledge.catalogue, self.facets, filters).rows
            field[self._row] = True
            self._fields[dropped] = field
        return self._fields[dropped]

    def _pool_of(self, ids: Iterable[str]) -> NDArray[np.int64]:
        row_of = self._context.knowledge.catalogue.row_of
        rows = [row_of[one] for one in ids if one in row_of and self._field(frozenset())[row_of[one]]]
        return np.array(rows if self._row in rows else [], dtype=np.int64)

    def _reach(self, ids: Iterable[str]) -> int:
        """The worst rank in the list on the table, and no less than its length."""
        row_of = self._context.knowledge.catalogue.row_of
        rows = [row_of[one] for one in ids]
        if self.searched:
            return len(rows)
        fit = [row for row in rows if self.field[row]]  # what was judged since has no place among the candidates
        (scores,) = self._scores([self._alternative(Left())])
        ranks = [1 + int(np.count_nonzero(self.field & (scores > scores[row]))) for row in fit]
        return max(len(rows), *(rank for rank in ranks if rank <= REACH), 1)


def filter_keys(facets: Facets, attribute: str) -> tuple[str, ...]:
    """The filter arguments by which an attribute is wished for."""
    named = ("named",) if attribute in {spec.name for spec in facets.names} else ()
    return (attribute, f"{attribute}_min", f"{attribute}_max", *named)


def without_tastes(tastes: TasteMatches | None, refs: Collection[str]) -> TasteMatches | None:
    """Stated tastes less some; None where none are left."""
    if tastes is None:
        return None
    keep = [at for at, ref in enumerate(tastes.refs) if ref not in refs]
    return tastes.only(keep) if keep else None


def least_set(standings: Standings, refs: Sequence[str], *, most: int = MOST_EVENTS, width: int = WIDTH) -> LeastSet:
    """The smallest set of records found without which the item leaves the first ``standings.top``.

    Greedy: of the ``width`` most promising records the one that takes the item furthest is set aside, then the next, at
    most ``most``. Then every smaller set of those is tried, the smallest first, so that no proper part of the answer
    does it. That a set of other records would do it is not ruled out. All is ranked again each time: ``width`` x
    ``most`` + 2^``most`` times at most, in ``most`` x 2 batches.

    Args:
        refs: the records that may be set aside, the most promising first.
    """
    best, ranked = standings.now, 0
    gone: tuple[str, ...] = ()
    while len(gone) < most and best.rank <= standings.top:
        options = [ref for ref in refs if ref not in gone][:width]
        if not options:
            break
        tried = standings.of([Left(refs=frozenset((*gone, ref))) for ref in options])
        ranked += len(options)
        at = _furthest(tried)
        best, gone = tried[at], (*gone, options[at])
    if best.rank <= standings.top or not gone:
        return LeastSet(gone, best, False, ranked)
    for size in range(1, len(gone)):
        smaller = list(combinations(gone, size))
        tried = standings.of([Left(refs=frozenset(one)) for one in smaller])
        ranked += len(smaller)
        at = _furthest(tried)
        if tried[at].rank > standings.top:
            return LeastSet(smaller[at], tried[at], True, ranked)
    return LeastSet(gone, best, True, ranked)


def _furthest(tried: Sequence[Standing]) -> int:
    return max(range(len(tried)), key=lambda at: (tried[at].rank, -tried[at].score, -at))
