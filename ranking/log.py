"""The log as arrays in memory, and many users' pasts at once: what models are fitted on, and what they score."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import scipy.sparse as sp
from numpy.typing import ArrayLike, NDArray

from .history import History, rating_weights

if TYPE_CHECKING:
    from ..catalog.interactions import Interactions


@dataclass(frozen=True, eq=False)
class Log:
    """Interactions user by user, oldest first, each item at most once for a user.

    Attributes:
        offsets: (n_users + 1,) int64: user u's interactions are ``offsets[u]:offsets[u + 1]`` of the columns.
        items: (n,) int32, rows of the catalogue.
        values: (n,) float32, ratings; NaN where there is none.
        times: (n,) int64, Unix seconds; -1 where unknown.
        n_items: items of the catalogue.
        scale: lowest and highest rating of the whole data set; None where it has no ratings.
    """

    offsets: NDArray[np.int64]
    items: NDArray[np.int32]
    values: NDArray[np.float32]
    times: NDArray[np.int64]
    n_items: int
    scale: tuple[float, float] | None = None

    @classmethod
    def of(cls, interactions: Interactions) -> Log:
        """The whole log of a build, in memory: 16 bytes an interaction."""
        frame = interactions.frame()
        return cls(
            offsets=interactions.offsets,
            items=frame["item"].cast(int).to_numpy().astype(np.int32),
            values=frame["value"].fill_null(float("nan")).to_numpy().astype(np.float32),
            times=frame["time"].fill_null(-1).to_numpy().astype(np.int64),
            n_items=interactions.n_items,
            scale=interactions.scale,
        )

    @classmethod
    def of_lists(cls, lists: Sequence[ArrayLike], n_items: int) -> Log:
        """A log without ratings and times from one list of rows for each user, oldest first."""
        rows = [np.asarray(one, dtype=np.int32) for one in lists]
        items = np.concatenate([np.empty(0, dtype=np.int32), *rows])
        return cls(
            offsets=np.concatenate([[0], np.cumsum([len(one) for one in rows])]).astype(np.int64),
            items=items,
            values=np.full(len(items), np.nan, dtype=np.float32),
            times=np.full(len(items), -1, dtype=np.int64),
            n_items=n_items,
        )

    def __len__(self) -> int:
        return len(self.items)

    @property
    def n_users(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(n_users,): interactions of each user."""
        return np.diff(self.offsets)

    @cached_property
    def users(self) -> NDArray[np.int32]:
        """(n,): the user of each interaction."""
        return np.repeat(np.arange(self.n_users, dtype=np.int32), self.lengths)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """(n_items,): interactions of each item."""
        return np.bincount(self.items, minlength=self.n_items).astype(np.int64)

    def of_user(self, user: int) -> slice:
        """Where a user's interactions stand in the columns."""
        return slice(int(self.offsets[user]), int(self.offsets[user + 1]))

    def matrix(self) -> sp.csr_matrix:
        """(n_users, n_items) float32: 1 for each interaction."""
        # A copy: SciPy would sort the log's own items, whose order is time.
        ones = np.ones(len(self), dtype=np.float32)
        matrix = sp.csr_matrix((ones, self.items.copy(), self.offsets.copy()), shape=(self.n_users, self.n_items))
        matrix.sort_indices()
        return matrix

    def keep(self, mask: NDArray[np.bool_]) -> Log:
        """The log of the interactions where ``mask`` (n,) is true. All users stay, some with none."""
        if mask.shape != self.items.shape or mask.dtype != np.bool_:
            raise ValueError(f"a mask of shape {mask.shape} for {len(self)} interactions")
        kept = np.concatenate([[0], np.cumsum(mask)])
        return replace(
            self,
            offsets=kept[self.offsets].astype(np.int64),
            items=self.items[mask],
            values=self.values[mask],
            times=self.times[mask],
        )

    def pasts(
        self, users: ArrayLike | None = None, *, known: ArrayLike | None = None, most: ArrayLike | None = None
    ) -> Pasts:
        """What each of ``users`` (all of them where None, the same one as often as wanted) did.

        Args:
            known: how many of each one's interactions are known, the oldest ones; all where None.
            most: of long pasts only so many of the latest; one number, or one for each of them.
        """
        chosen = np.arange(self.n_users) if users is None else np.asarray(users, dtype=np.int64)
        first = self.offsets[chosen]
        stops = self.offsets[chosen + 1] if known is None else first + np.asarray(known, dtype=np.int64)
        if (stops > self.offsets[chosen + 1]).any():
            raise ValueError("more interactions are known than there are")
        starts = first if most is None else np.maximum(first, stops - np.asarray(most, dtype=np.int64))
        lengths = stops - starts
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        at = np.arange(offsets[-1]) + np.repeat(starts - offsets[:-1], lengths)
        return Pasts(
            offsets=offsets,
            rows=self.items[at].astype(np.int64),
            weights=rating_weights(self.values[at], self.scale),
            behaviour=np.ones(len(at), dtype=np.float32),
            ages=(np.repeat(offsets[1:], lengths) - 1 - np.arange(len(at))).astype(np.float32),
            n_items=self.n_items,
        )


@dataclass(frozen=True, eq=False)
class Pasts:
    """Many histories in one set of arrays (see :class:`.history.History` for what the columns mean).

    Attributes:
        offsets: (b + 1,) int64: history h is ``offsets[h]:offsets[h + 1]`` of the columns, oldest first.
        rows: (m,) int64. weights, behaviour: (m,) float32 in [-1, 1]. ages: (m,) float32, 0 for the latest.
        n_items: items of the catalogue.
    """

    offsets: NDArray[np.int64]
    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    behaviour: NDArray[np.float32]
    ages: NDArray[np.float32]
    n_items: int

    @classmethod
    def of(cls, histories: Sequence[History], n_items: int) -> Pasts:
        """The same from single histories."""
        lengths = [len(history) for history in histories]
        return cls(
            offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
            rows=np.concatenate([np.empty(0, np.int64), *(h.rows for h in histories)]),
            weights=np.concatenate([np.empty(0, np.float32), *(h.weights for h in histories)]),
            behaviour=np.concatenate([np.empty(0, np.float32), *(h.behaviour for h in histories)]),
            ages=np.concatenate([np.empty(0, np.float32), *(h.ages for h in histories)]),
            n_items=n_items,
        )

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(b,): entries of each history."""
        return np.diff(self.offsets)

    def part(self, start: int, stop: int) -> Pasts:
        """The histories ``start:stop``."""
        first, last = int(self.offsets[start]), int(self.offsets[stop])
        return Pasts(
            offsets=self.offsets[start : stop + 1] - first,
            rows=self.rows[first:last],
            weights=self.weights[first:last],
            behaviour=self.behaviour[first:last],
            ages=self.ages[first:last],
            n_items=self.n_items,
        )

    def signals(self, tau: float = np.inf, *, of: Literal["behaviour", "leanings"] = "behaviour") -> sp.csr_matrix:
        """(b, n_items) float32: each entry's signal times exp(-age / tau)."""
        values = self.behaviour if of == "behaviour" else (self.weights + self.behaviour) / np.float32(2)
        recency = np.exp(-self.ages / np.float32(tau))
        return self._sparse((values * recency).astype(np.float32))

    def seen(self) -> sp.csr_matrix:
        """(b, n_items) bool: what each history holds."""
        return self._sparse(np.ones(len(self.rows), dtype=np.bool_))

    def _sparse(self, values: NDArray[Any]) -> sp.csr_matrix:
        # Copies: SciPy sorts indices in place, and their order is time.
        return sp.csr_matrix((values, self.rows.copy(), self.offsets.copy()), shape=(len(self), self.n_items))
