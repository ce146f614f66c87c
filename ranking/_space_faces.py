"""What the log says of items in the fused space: their two faces, and what is their own (see :mod:`.space`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .log import Log
from .svd import right_singular

if TYPE_CHECKING:
    from ._space_content import Content

#: Singular vectors found beyond those asked for, before the mean is taken out of them.
_MORE = 32
#: Least variance of a look: where everybody chose the same, p (1 - p) is 0.
_LEAST_NOISE = 1e-3
#: Axes with less variance than this share of the largest are rounding.
_LEAST = 1e-6
#: Events whose pasts are summed at once: what bounds the memory, 8 (d - 1) bytes each.
_EVENTS = 1 << 17
#: Variance of how much one user goes with what is popular: the population's say on it is nearly final.
_POPULAR = 1e-4


@dataclass(frozen=True, eq=False)
class Faces:
    """Of the items, from behaviour alone; rows of items without interactions are 0.

    Attributes:
        said, asked: (n_items, axes) float64.
        share: (n_items,) of the users who chose it. later: the share who chose it after their first ``window`` events.
        own: (n_items,) variance that the axes leave out. typical: variance p (1 - p) of an item that is chosen.
        n_users: with interactions.
    """

    said: NDArray[np.float64]
    asked: NDArray[np.float64]
    share: NDArray[np.float64]
    later: NDArray[np.float64]
    own: NDArray[np.float64]
    typical: float
    n_users: int

    def noise(self, times: float) -> NDArray[np.float64]:
        """(n_items,): variance of a look along each item."""
        return times * self.typical + self.own


def fit_faces(log: Log, d: int, window: int, *, seed: int = 0) -> Faces:
    """Faces of ``d`` - 1 axes, or as many as the log has."""
    active = log.lengths > 0
    n = max(int(active.sum()), 1)
    share = log.counts / n
    place = np.arange(len(log)) - np.repeat(log.offsets[:-1], log.lengths)
    later = np.bincount(log.items[place >= window], minlength=log.n_items) / n
    values, vectors = right_singular(log.matrix(), min(d - 1 + _MORE, log.n_items), seed=seed)
    wide = vectors.astype(np.float64)
    middle = wide.T @ share
    spread, turn = np.linalg.eigh(np.diag(values.astype(np.float64) ** 2 / n) - np.outer(middle, middle))
    order = np.argsort(-spread, kind="stable")[: d - 1]
    order = order[spread[order] > _LEAST * max(float(spread.max(initial=0.0)), 1e-12)]
    spread, said = spread[order], (wide @ turn[:, order]) * np.sqrt(spread[order])
    variance = share * (1 - share)
    return Faces(
        said=said,
        asked=_followed(log, said, share, spread),
        share=share,
        later=later,
        own=np.maximum(variance - np.square(said).sum(axis=1), 0),
        typical=max(float(np.average(variance, weights=log.counts)), _LEAST_NOISE) if len(log) else 1.0,
        n_users=int(active.sum()),
    )


def _followed(
    log: Log, said: NDArray[np.float64], share: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    """(n_items, axes): the regression of "came later" on the taste.

    Over pairs of an earlier event j and a later one i of a user, those of a user with l events weighing 1 / sqrt(l):
    V = (A^T A)^-1 A^T (N - p m^T), where N_ji counts the pairs, p is the share of users with j, m what follows
    anything. N is never made: the sum of A over what came before each event is a running sum.
    """
    weight = 1 / np.sqrt(np.maximum(log.lengths, 1))
    sums = np.zeros((log.n_items, said.shape[1]))
    before = np.zeros(log.n_items)
    user = 0
    while user < log.n_users:
        stop = int(np.searchsorted(log.offsets, log.offsets[user] + _EVENTS, side="right")) - 1
        stop = min(max(stop, user + 1), log.n_users)
        start, end = int(log.offsets[user]), int(log.offsets[stop])
        rows, offsets, of_user = log.items[start:end], log.offsets[user : stop + 1] - start, weight[user:stop]
        lengths = np.diff(offsets)
        running = np.cumsum(np.vstack([np.zeros(said.shape[1]), said[rows]]), axis=0)
        pasts = running[:-1] - np.repeat(running[offsets[:-1]], lengths, axis=0)
        weights = np.repeat(of_user, lengths)
        of_items = sp.csr_matrix((weights, (rows, np.arange(end - start))), shape=(log.n_items, end - start))
        sums += of_items @ pasts
        before += of_items @ (np.arange(end - start) - np.repeat(offsets[:-1], lengths)).astype(np.float64)
        user = stop
    active = log.lengths > 0
    total, events = float(weight[active].sum()), float((weight * log.lengths).sum())
    if events == 0:
        return sums
    past = np.bincount(log.items, weights=np.repeat(weight, log.lengths), minlength=log.n_items) / total
    found: NDArray[np.float64] = (sums / total - np.outer(before / events, said.T @ past)) / spread
    return found


def blended(
    faces: Faces, content: Content | None, counts: NDArray[np.int64], shrink: float
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """said, asked and later, each drawn towards what the content makes expected by shrink / (count + shrink)."""
    if content is None:
        return faces.said, faces.asked, faces.later
    # With a shrink of 0 an item that nobody chose still has nothing but its content.
    towards = np.where(counts == 0, 1.0, shrink / np.maximum(counts + shrink, 1e-12)) * content.known
    own, pulled = (1 - towards)[:, None], towards[:, None]
    return (
        own * faces.said + pulled * content.said,
        own * faces.asked + pulled * content.asked,
        own[:, 0] * faces.later + towards * content.later,
    )


def with_popularity(face: NDArray[np.float64], popular: NDArray[np.float64]) -> NDArray[np.float32]:
    """(n_items, d) float32: the last axis is popularity."""
    return np.concatenate([face, popular[:, None]], axis=1).astype(np.float32)


def prior_of(faces: Faces) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(d,) each, mean and variance: the axes are scaled to the population, and everybody goes with what is popular."""
    mean, variance = np.zeros(faces.said.shape[1] + 1), np.ones(faces.said.shape[1] + 1)
    mean[-1], variance[-1] = 1.0, _POPULAR
    return mean, variance
