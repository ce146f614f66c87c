"""What is asked of a policy, and which of its answers count: one fold of a replay, and full ranking over the catalogue.

Rules that hold under every protocol:

- *Full ranking.* Every candidate is ranked. Nothing is sampled.
- *Seen items.* What a query's past holds is never in its list.
- *Ties* go to the smaller row, or to what stands first in the order that a fold brings.
- *Scores that are no numbers.* A query with a NaN or an infinite score among the items that may be ranked for it
  gets an empty list: it counts as a miss, and the number of such queries is shown.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..ranking.log import Log, Pasts

if TYPE_CHECKING:
    from .requests import Request

#: Fills a list that has fewer than k items.
NOTHING = -1

# Groups of items for each place of a list, when a floor for its scores is sought; columns searched for ties at once.
_GROUPS, _COLUMNS = 32, 512


@dataclass(frozen=True, eq=False)
class Fold:
    """One train log and the queries asked of whoever was fitted on it.

    A *query* is a user with a past and the items held out. The same user may be asked once in a fold.

    Attributes:
        name: of the fold, unique within a replay.
        train: what a policy may be fitted on.
        users: (q,) int64 user indices asked about.
        pasts: q histories, what the policy may know of each.
        target_offsets: (q + 1,) int64: query i's held-out items are
            ``targets[target_offsets[i]:target_offsets[i + 1]]``.
        targets: (t,) int64 rows in the order of the log; none of them in its query's past, each once in a query.
        candidates: (n_items,) which items may be ranked.
        opinions: (t,) float32 in [-1, 1], what the log says the user thought of each target; None: nothing is said.
        pool_offsets, pools: where every query has candidates of its own, query i's are the rows
            ``pools[pool_offsets[i]:pool_offsets[i + 1]]`` that are candidates too; None: they are the same for all.
        order: (n_items,) int64, all rows: of items with equal scores the one that stands first in it is listed first;
            None: the order of the catalogue.
        left_out: events of the log that are neither in train nor a target, counted by the reason.
        not_asked: users about whom nothing is asked, counted by the reason.
        notes: what a reader of the figures must know of how the fold was made, a line each.
        requests: q things said, for policies that are asked in words (see :mod:`.requests`); None: nothing is said.

    Raises:
        ValueError: shapes do not fit together, a target lies in its own past or may not be ranked.
    """

    name: str
    train: Log
    users: NDArray[np.int64]
    pasts: Pasts
    target_offsets: NDArray[np.int64]
    targets: NDArray[np.int64]
    candidates: NDArray[np.bool_]
    opinions: NDArray[np.float32] | None = None
    pool_offsets: NDArray[np.int64] | None = None
    pools: NDArray[np.int64] | None = None
    order: NDArray[np.int64] | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)
    not_asked: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    requests: tuple[Request, ...] | None = None

    def __post_init__(self) -> None:
        queries, n_items = len(self.users), self.train.n_items
        if self.pasts.n_items != n_items or self.candidates.shape != (n_items,) or self.candidates.dtype != np.bool_:
            raise ValueError(f"pasts or candidates are not of the {n_items} items of the train log")
        if len(self.pasts) != queries:
            raise ValueError(f"{len(self.pasts)} pasts for {queries} queries")
        if self.requests is not None and len(self.requests) != queries:
            raise ValueError(f"{len(self.requests)} requests for {queries} queries")
        if queries and not 0 <= self.users.min() <= self.users.max() < self.train.n_users:
            raise ValueError("a user asked about is not one of the log")
        if _repeated(np.sort(self.users)):
            raise ValueError("a user is asked about twice")
        _check_offsets(self.target_offsets, queries, len(self.targets), "target_offsets")
        if self.opinions is not None and self.opinions.shape != self.targets.shape:
            raise ValueError("opinions are not of the shape of the targets")
        for name, rows in (("targets", self.targets), ("pools", self.pools), ("pasts", self.pasts.rows)):
            if rows is not None and len(rows) and not 0 <= rows.min() <= rows.max() < n_items:
                raise ValueError(f"a row of {name} is not one of the {n_items} items")
        asked = self._target_keys
        if _repeated(asked):
            raise ValueError("a query has a target twice")
        if _among(_keys(self.pasts.offsets, self.pasts.rows, n_items), asked).any():
            raise ValueError("a target lies in the past of its own query")
        if not self.candidates[self.targets].all():
            raise ValueError("a target is not among the candidates")
        if self.order is not None and not np.array_equal(np.sort(self.order), np.arange(n_items)):
            raise ValueError(f"order is not an order of the {n_items} items")
        if (self.pools is None) != (self.pool_offsets is None):
            raise ValueError("pools and pool_offsets come together")
        if self.pools is not None and self.pool_offsets is not None:
            _check_offsets(self.pool_offsets, queries, len(self.pools), "pool_offsets")
            if not _among(asked, np.sort(_keys(self.pool_offsets, self.pools, n_items))).all():
                raise ValueError("a target is not in the pool of its own query")

    def __len__(self) -> int:
        """Queries."""
        return len(self.users)

    @property
    def n_items(self) -> int:
        return self.train.n_items

    @cached_property
    def n_targets(self) -> NDArray[np.int64]:
        """(q,): held-out items of each query."""
        return np.diff(self.target_offsets)

    @cached_property
    def _target_keys(self) -> NDArray[np.int64]:
        """(t,) rising: query x n_items + row."""
        return np.sort(_keys(self.target_offsets, self.targets, self.n_items))

    def part(self, start: int, stop: int) -> Fold:
        """The queries ``start:stop``, on the same train log."""
        return self.take(np.arange(start, stop))

    def take(self, queries: NDArray[np.int64]) -> Fold:
        """These queries, in this order, on the same train log."""
        at, offsets = gathered(self.target_offsets, queries)
        pools, pool_offsets = self.pools, self.pool_offsets
        if pools is not None and pool_offsets is not None:
            of_pools, pool_offsets = gathered(pool_offsets, queries)
            pools = pools[of_pools]
        return replace(
            self,
            users=self.users[queries],
            pasts=take_pasts(self.pasts, queries),
            target_offsets=offsets,
            targets=self.targets[at],
            opinions=None if self.opinions is None else self.opinions[at],
            pools=pools,
            pool_offsets=pool_offsets,
            requests=None if self.requests is None else tuple(self.requests[query] for query in queries.tolist()),
        )

    def sample(self, most: int, *, seed: int = 0) -> Fold:
        """``most`` queries drawn at random without replacement, in their order; all of them where there are no more.

        Those of a smaller sample are all in a larger one of the same seed, so that what was asked can be used again.
        """
        if most >= len(self):
            return self
        drawn = np.sort(np.random.default_rng(seed).permutation(len(self))[:most]).astype(np.int64)
        taken = self.take(drawn)
        return replace(
            taken,
            left_out={**self.left_out, "held-out events of users not drawn": len(self.targets) - len(taken.targets)},
            not_asked={**self.not_asked, "users not drawn": len(self) - most},
            notes=(*self.notes, f"{most} of {len(self)} users to be asked about were drawn at random (seed {seed})"),
        )

    def rankable(self, start: int, stop: int) -> NDArray[np.bool_]:
        """(stop - start, n_items): what may be in the list of each of the queries: candidates not seen yet."""
        allowed = np.broadcast_to(self.candidates, (stop - start, self.n_items)).copy()
        if self.pools is not None and self.pool_offsets is not None:
            pooled = np.zeros_like(allowed)
            _mark(pooled, self.pool_offsets[start : stop + 1], self.pools)
            allowed &= pooled
        _mark(allowed, self.pasts.offsets[start : stop + 1], self.pasts.rows, to=False)
        return allowed

    @cached_property
    def fingerprint(self) -> str:
        """Of all that decides a policy's figures on this fold: equal folds have equal ones on every machine.

        The requests have one of their own (:func:`.requests.requests_fingerprint`): most policies never hear them.
        """
        found = hashlib.sha256()
        log, pasts = self.train, self.pasts
        found.update(repr((self.name, log.n_items, log.scale)).encode())
        for array in (
            log.offsets, log.items, log.values, log.times,
            self.users, self.target_offsets, self.targets, self.candidates, self.opinions,
            self.pool_offsets, self.pools, self.order,
            pasts.offsets, pasts.rows, pasts.weights, pasts.behaviour, pasts.ages,
        ):  # fmt: skip
            found.update(b"none" if array is None else digest(array))
        return found.hexdigest()

    @cached_property
    def train_fingerprint(self) -> str:
        """Of the train log alone, whoever is asked about."""
        log = self.train
        found = hashlib.sha256(repr((log.n_items, log.scale)).encode())
        for array in (log.offsets, log.items, log.values, log.times):
            found.update(digest(array))
        return found.hexdigest()


def digest(array: NDArray[np.generic]) -> bytes:
    """SHA-256 of an array's type, shape and numbers."""
    found = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    found.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return found.digest()


def gathered(offsets: NDArray[np.int64], groups: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the entries of some groups stand, and the offsets of these groups laid end to end."""
    starts, lengths = offsets[groups], (offsets[1:] - offsets[:-1])[groups]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.arange(ends[-1]) + np.repeat(starts - ends[:-1], lengths), ends


def take_pasts(pasts: Pasts, which: NDArray[np.int64]) -> Pasts:
    """Some histories, in the order asked for."""
    at, offsets = gathered(pasts.offsets, which)
    return replace(
        pasts,
        offsets=offsets,
        rows=pasts.rows[at],
        weights=pasts.weights[at],
        behaviour=pasts.behaviour[at],
        ages=pasts.ages[at],
    )


def topk(
    scores: NDArray[np.floating],
    pasts: Pasts,
    candidates: NDArray[np.bool_],
    k: int,
    order: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """The list of each query under the rules above.

    Args:
        scores: (b, n_items), higher is better.
        pasts: b histories; what they hold is not listed.
        candidates: which items may be ranked, (n_items,), or (b, n_items) where queries differ.
        k: items of a list.
        order: which of equally scored items comes first; None: that of the smaller row.

    Returns:
        (b, k) int64 rows, best first; `NOTHING` where no item is left, and in the whole list
        of a query with a score that is not finite.

    Raises:
        ValueError: shapes do not fit together.
    """
    allowed = np.broadcast_to(candidates, (len(pasts), pasts.n_items)).copy()
    _mark(allowed, pasts.offsets, pasts.rows, to=False)
    return best(scores, allowed, k, order)


def unfit(scores: NDArray[np.floating], allowed: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(b,): queries with a NaN or infinite score among the items that may be ranked, shapes (b, n_items)."""
    if np.isfinite(scores).all():
        return np.zeros(len(scores), dtype=np.bool_)
    found: NDArray[np.bool_] = (~np.isfinite(scores) & allowed).any(axis=1)
    return found


def best(
    scores: NDArray[np.floating], allowed: NDArray[np.bool_], k: int, order: NDArray[np.int64] | None = None
) -> NDArray[np.int64]:
    """As :func:`topk`, with what may be ranked given as a mask of shape (b, n_items)."""
    if scores.shape != allowed.shape:
        raise ValueError(f"scores of shape {scores.shape} where {allowed.shape} were asked for")
    if order is not None:
        places = best(scores[:, order], allowed[:, order], k)
        return np.where(places == NOTHING, NOTHING, order[places])
    count, n_items = scores.shape
    lists = np.full((count, max(k, 0)), NOTHING, dtype=np.int64)
    if k < 1 or n_items == 0 or count == 0:
        return lists
    masked = np.where(allowed, scores, -np.inf)
    masked[unfit(scores, allowed)] = -np.inf
    floor = _floor(masked, k)[:, None]
    # What is above the floor, mostly hardly more than k items; the best k of them are in the list.
    query, row = np.divmod(np.flatnonzero(masked > floor), n_items)
    by_score = np.lexsort((row, -masked[query, row], query))
    query, row = query[by_score], row[by_score]
    place = np.arange(len(query)) - np.searchsorted(query, query)
    listed = place < k
    lists[query[listed], place[listed]] = row[listed]
    _fill(lists, masked, floor, np.minimum(np.bincount(query, minlength=count), k))
    return lists


def _floor(masked: NDArray[np.floating], k: int) -> NDArray[np.floating]:
    """(b,): for each query a score that at least k of its items reach, as high as is cheap to find; -inf if too few.

    The k-th highest of the maxima of groups of items. To select among the scores themselves takes several times as
    long, and twenty times where most of them are equal, as those of sparse models are.
    """
    groups = min(masked.shape[1], _GROUPS * k)
    whole = masked.shape[1] // groups * groups
    highest = masked[:, :whole].reshape(len(masked), -1, groups).max(axis=1)
    rest = masked.shape[1] - whole
    np.maximum(highest[:, :rest], masked[:, whole:], out=highest[:, :rest])
    if groups <= k:
        lowest: NDArray[np.floating] = np.full(len(masked), -np.inf, dtype=masked.dtype)
        return lowest if groups < k else highest.min(axis=1)
    floor: NDArray[np.floating] = np.partition(highest, groups - k, axis=1)[:, groups - k]
    return floor


def _fill(
    lists: NDArray[np.int64], masked: NDArray[np.floating], floor: NDArray[np.floating], filled: NDArray[np.int64]
) -> None:
    """Fill the places that are left with the smallest rows of those whose score is the floor."""
    left = np.flatnonzero((filled < lists.shape[1]) & np.isfinite(floor[:, 0]))
    for start in range(0, masked.shape[1], _COLUMNS):
        if not len(left):
            return
        ties = masked[left, start : start + _COLUMNS] == floor[left]
        query, column = np.nonzero(ties)
        place = filled[left[query]] + np.arange(len(query)) - np.searchsorted(query, query)
        listed = place < lists.shape[1]
        lists[left[query[listed]], place[listed]] = start + column[listed]
        filled[left] += ties.sum(axis=1)
        left = left[filled[left] < lists.shape[1]]


def hits(lists: NDArray[np.int64], fold: Fold) -> NDArray[np.bool_]:
    """Shape (q, k): whether the item at each place of a list is a target of its query.

    Raises:
        ValueError: there are not as many lists as queries.
    """
    if len(lists) != len(fold):
        raise ValueError(f"{len(lists)} lists for {len(fold)} queries")
    keys = np.arange(len(lists), dtype=np.int64)[:, None] * fold.n_items + lists
    found: NDArray[np.bool_] = _among(keys, fold._target_keys) & (lists != NOTHING)
    return found


def _keys(offsets: NDArray[np.int64], rows: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """One number for each pair of a query and a row."""
    groups = np.repeat(np.arange(len(offsets) - 1, dtype=np.int64), np.diff(offsets))
    return groups * n_items + rows


def _among(keys: NDArray[np.int64], rising: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which of the keys are among the rising ones. (``np.isin`` hashes and sorts both, for many times as long.)"""
    if len(rising) == 0:
        return np.zeros(keys.shape, dtype=np.bool_)
    found: NDArray[np.bool_] = rising[np.minimum(np.searchsorted(rising, keys), len(rising) - 1)] == keys
    return found


def _repeated(rising: NDArray[np.int64]) -> bool:
    return bool((rising[1:] == rising[:-1]).any())


def _mark(mask: NDArray[np.bool_], offsets: NDArray[np.int64], rows: NDArray[np.int64], *, to: bool = True) -> None:
    """Set the entries ``rows[offsets[i]:offsets[i + 1]]`` of each line of a mask (b, n_items)."""
    lines = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    mask[lines, rows[offsets[0] : offsets[-1]]] = to


def _check_offsets(offsets: NDArray[np.int64], groups: int, entries: int, name: str) -> None:
    if offsets.shape != (groups + 1,) or offsets[0] != 0 or offsets[-1] != entries or (np.diff(offsets) < 0).any():
        raise ValueError(f"{name} do not cut {entries} entries into {groups} groups")
