"""Item-kNN: items chosen by the same people are alike (Sarwar et al. 2001; Deshpande & Karypis 2004).

With U_i the users who chose item i, likeness is the cosine of the binary columns,

    cos(i, j) = |U_i and U_j| / sqrt(|U_i| |U_j|),

and each item keeps its k nearest others. Item i scores sum_j s_j cos(j, i) over the user's items j whose k nearest
hold i. Nothing is divided by the sum of the likenesses: that would rank an item with one faint neighbour in the history
like an item with ten near ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ..catalog.readers.raw import Progress, no_progress
from .log import Log, Pasts

#: Likenesses held at once while fitting, in numbers of 12 bytes: what bounds the memory, whatever the number of items.
_CHUNK = 1 << 23


@dataclass(frozen=True, slots=True)
class ItemKnnConfig:
    """How neighbours are kept and used."""

    k: int = 50
    """Neighbours kept of each item; fewer are kept of an item that fewer share users with."""

    tau: float = np.inf
    """Events after which a signal has fallen to 1/e; infinity weighs all alike."""

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError("k must be at least 1")
        if not self.tau > 0:
            raise ValueError("tau must be positive")


@dataclass(frozen=True, eq=False)
class ItemKnnModel:
    """The nearest items of every item.

    Attributes:
        neighbours: (n_items, k) int32, each row nearest first, ties by the smaller row; -1 where there are no more.
        likeness: (n_items, k) float32 in [0, 1], the cosines; 0 where there is no neighbour.
        tau: of the scores, in events.
    """

    neighbours: NDArray[np.int32]
    likeness: NDArray[np.float32]
    tau: float = np.inf
    name = "itemknn"

    @property
    def n_items(self) -> int:
        return len(self.neighbours)

    @cached_property
    def matrix(self) -> sp.csr_matrix:
        """(n_items, n_items) float32: row j holds the cosines of the k nearest of item j, all else is 0."""
        there = self.neighbours >= 0
        offsets = np.concatenate([[0], np.cumsum(there.sum(axis=1))])
        return sp.csr_matrix(
            (self.likeness[there], self.neighbours[there], offsets), shape=(self.n_items, self.n_items)
        )

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items): sums of signed signals times cosines; 0 for what no neighbour speaks of."""
        scores: NDArray[np.float32] = (pasts.signals(self.tau) @ self.matrix).toarray()
        return scores


def fit_itemknn(
    log: Log, config: ItemKnnConfig = ItemKnnConfig(), *, seed: int = 0, progress: Progress = no_progress
) -> ItemKnnModel:
    """Find the nearest items of every item; each interaction counts 1. Nothing is drawn: ``seed`` changes nothing.

    Memory beside the log: the model (8 k n_items bytes) and a bounded number of likenesses.
    """
    ones = np.ones(len(log), dtype=np.float64)
    matrix = sp.csr_matrix((ones, log.items.copy(), log.offsets), shape=(log.n_users, log.n_items))
    by_item = matrix.T.tocsr()
    counts = log.counts.astype(np.float64)
    k = min(config.k, max(log.n_items - 1, 1))
    neighbours = np.full((log.n_items, k), -1, dtype=np.int32)
    likeness = np.zeros((log.n_items, k), dtype=np.float32)
    step = max(1, _CHUNK // max(log.n_items, 1))
    for start in range(0, log.n_items, step):
        stop = min(start + step, log.n_items)
        together = (by_item[start:stop] @ matrix).tocsr()
        for item, low, high in zip(range(start, stop), together.indptr, together.indptr[1:], strict=False):
            others = together.indices[low:high]
            # Divided by the root of the product, so that likenesses equal on paper are equal here and ties are ties.
            cosines = together.data[low:high] / np.sqrt(counts[item] * counts[others])
            cosines[others == item] = 0
            best = _best(others, cosines, k)
            neighbours[item, : len(best)] = others[best]
            likeness[item, : len(best)] = cosines[best]
        progress("comparing items", stop, log.n_items)
    return ItemKnnModel(neighbours=neighbours, likeness=likeness, tau=config.tau)


def _best(rows: NDArray[np.int32], values: NDArray[np.float64], k: int) -> NDArray[np.int64]:
    """Places of the ``k`` largest positive values, largest first, ties by the smaller row."""
    keep = np.flatnonzero(values > 0)
    if k < len(keep):
        # All that ties with the k-th stays in until they are sorted: a tie is cut by row and not by chance.
        edge = np.partition(values[keep], len(keep) - k)[len(keep) - k]
        keep = keep[values[keep] >= edge]
    best: NDArray[np.int64] = keep[np.lexsort((rows[keep], -values[keep]))][:k]
    return best
