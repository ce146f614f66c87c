"""How often an item was chosen by anybody: the ranker of those of whom nothing is known."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from .base import Contribution, contributions_of
from .history import History
from .log import Log, Pasts


class PopularityRanker:
    """Scores log(1 + users who chose the item), the same for everyone.

    The logarithm leaves the order alone and keeps a sum of scores from being ruled by a few hits.

    Args:
        counts: (n_trained,) users who chose each item.
        n_items: items of the live catalogue, at least n_trained; later items have no count yet.
    """

    name = "popularity"

    def __init__(self, counts: NDArray[np.float32], n_items: int | None = None) -> None:
        self.n_items = len(counts) if n_items is None else n_items
        if self.n_items < len(counts):
            raise ValueError("n_items is smaller than the number of counted items")
        self._scores = np.zeros(self.n_items, dtype=np.float32)
        self._scores[: len(counts)] = np.log1p(counts)

    @property
    def known(self) -> NDArray[np.bool_]:
        return np.ones(self.n_items, dtype=np.bool_)

    def scores(self, history: History) -> NDArray[np.float32]:
        return self._scores.copy()

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items): every row is :meth:`scores`."""
        if pasts.n_items != self.n_items:
            raise ValueError(f"pasts over {pasts.n_items} items, scores of {self.n_items}")
        return np.tile(self._scores, (len(pasts), 1))

    def shares(self, history: History, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """All 0: nothing in the history moves it."""
        return np.zeros((len(rows), len(history)), dtype=np.float32)

    def contributions(self, history: History, row: int) -> list[Contribution]:
        return contributions_of(self, history, row)


def fit_popularity(log: Log) -> PopularityRanker:
    """Count the users who chose each item of the log; there is nothing to set and nothing is drawn."""
    return PopularityRanker(log.counts.astype(np.float32))
