"""Ranks by the posterior of a user's taste in the fused item space, with its uncertainty and its reasons.

One event is one look at the taste (:meth:`.space.ItemSpace.observation`), an event old counts as one unit of time, and
the score of an item is what is expected along its face. Who is unknown gets what is popular; every event moves all
items at once. The score is linear in what was seen, so each event's share of it is exact:

    score_i = v_i . m0 + sum_j a_j v_i . S a'_j           (:func:`..profiles.posterior.weights_of`)

*Exploration.* :meth:`PosteriorRanker.explore` scores with a taste drawn from the posterior in place of its mean
(Thompson 1933; Chapelle & Li 2011): lists vary where little is known, and settle as more is. ``temperature`` scales the
posterior's variance: 0 is the mean, 1 Thompson's rule.

*Statements* ("no horror") are pseudo-observations (:meth:`.space.ItemSpace.statement`). :meth:`PosteriorRanker.implied`
says what each of them adds to the taste that the history shows; :meth:`PosteriorRanker.state` has them in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..profiles.posterior import Observation, Posterior, States, fold, weights_of
from ._at_once import at_once
from .base import Contribution, contributions_of, product
from .history import History
from .log import Pasts
from .space import ItemSpace
from .tastes import TasteMatches


class PosteriorRanker:
    """Scores by the posterior mean.

    Args:
        space: the fitted space.
        n_items: items of the live catalogue, at least the space's; those beyond score 0.
        popular: score with what is popular, as expected of anybody. False: what the history adds to that alone, which
            is the sum of :meth:`shares`: for a sum of parts that has popularity already.
        capacity: users whose states are kept between events.
    """

    name = "posterior"

    def __init__(
        self, space: ItemSpace, n_items: int | None = None, *, popular: bool = True, capacity: int = 1000
    ) -> None:
        self.n_items = space.n_items if n_items is None else n_items
        if self.n_items < space.n_items:
            raise ValueError("n_items is smaller than the space's number of items")
        self.space = space
        self.popular = popular
        self.states = States(space.prior, capacity)

    @property
    def known(self) -> NDArray[np.bool_]:
        known = np.zeros(self.n_items, dtype=np.bool_)
        known[: self.space.n_items] = self.space.asked.any(axis=1)
        return known

    def scores(self, history: History) -> NDArray[np.float32]:
        """(n_items,): about the chance that each comes later; where ``popular`` is False, what that is more than of
        anybody."""
        return self.along(self._mean(history.rows, history.behaviour, history.ages))

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items): :meth:`scores` of each past, up to rounding."""
        if pasts.n_items != self.n_items:
            raise ValueError(f"pasts over {pasts.n_items} items, scores of {self.n_items}")
        tastes = np.empty((len(pasts), self.space.d), dtype=np.float32)
        for at in range(len(pasts)):
            part = slice(int(pasts.offsets[at]), int(pasts.offsets[at + 1]))
            tastes[at] = self._mean(pasts.rows[part], pasts.behaviour[part], pasts.ages[part])
        scores = np.zeros((len(pasts), self.n_items), dtype=np.float32)
        np.matmul(tastes, self.space.asked.T, out=scores[:, : self.space.n_items])
        return scores

    def shares(self, history: History, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """(len(rows), len(history)): what each entry adds to a row's score, beyond what is expected of anybody."""
        shares = np.zeros((len(rows), len(history)), dtype=np.float32)
        there, weights = self._weights(history.rows, history.behaviour, history.ages)
        mine = np.flatnonzero(rows < self.space.n_items)
        moved = self.space.said[history.rows[there]] * self.space.variance
        shares[np.ix_(mine, there)] = (self.space.asked[rows[mine]] @ moved.T) * weights
        return shares

    def moves(self, history: History) -> NDArray[np.float64]:
        """(len(history), d): how far each entry moves the taste. Along the faces they are the :meth:`shares`."""
        moved = np.zeros((len(history), self.space.d))
        there, weights = self._weights(history.rows, history.behaviour, history.ages)
        moved[there] = self.space.said[history.rows[there]] * self.space.variance * weights[:, None]
        return moved

    def along(self, taste: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n_items,): what is expected along each item's face of a taste (d,), or of a difference of two; 0 for items
        beyond the space."""
        scores = np.zeros(self.n_items, dtype=np.float32)
        scores[: self.space.n_items] = product("nd,d->n", self.space.asked, taste.astype(np.float32))
        return scores

    def apart(self, taste: NDArray[np.floating]) -> NDArray[np.float32]:
        """(n_items,): :meth:`along`, less what is expected along the mean face: what sets items apart. 0 for items
        beyond the space, as for one that is like the others."""
        scores = self.along(taste)
        inside = scores[: self.space.n_items]
        if len(inside):
            inside -= np.float32(inside.mean(dtype=np.float64))
        return scores

    @cached_property
    def usual(self) -> float:
        """How far the scores of one person's taste spread over the items, in the population: the root of the mean
        variance of :meth:`apart`. The scale on which to see what moves a taste of which nothing is known yet."""
        if not self.space.n_items:
            return 0.0
        return float(np.sqrt(self.space.asked.var(axis=0, dtype=np.float64) @ self.space.variance))

    def contributions(self, history: History, row: int) -> list[Contribution]:
        return contributions_of(self, history, row)

    def mass(self, history: History) -> float:
        """1: scores are sums over the history and not means."""
        return 1.0

    def observations(self, history: History) -> list[Observation]:
        """The history as looks at the taste. The oldest entry is at time 0, each event takes one unit."""
        oldest = float(history.ages.max(initial=0.0))
        columns = (history.rows.tolist(), history.behaviour.tolist(), history.ages.tolist(), history.refs)
        seen = [
            self.space.observation(row, signal, oldest - age, ref)
            for row, signal, age, ref in zip(*columns, strict=True)
            if row < self.space.n_items
        ]
        return [one for one in seen if one is not None]

    def statements(self, tastes: TasteMatches, threads: Sequence[str | None] | None = None) -> list[Observation]:
        """Stated tastes as pseudo-observations, those left out that speak of no item.

        Args:
            tastes: against the items. Each is as sure as its best item fits: likeness of texts is not what was said.
            threads: which conversation each counts in, None for all of them; by default those of ``tastes``.
        """
        seen = (
            self.statement(tastes, at, thread=tastes.thread_of(at) if threads is None else threads[at])
            for at in range(len(tastes.refs))
        )
        return [one for one in seen if one is not None]

    def statement(self, tastes: TasteMatches, at: int, *, thread: str | None = None) -> Observation | None:
        """One of the stated tastes as a pseudo-observation; None where it speaks of no item."""
        signed = tastes.signed[at, : self.space.n_items]
        sure = min(1.0, float(np.abs(signed).max(initial=0.0)))
        return self.space.statement(signed, ref=tastes.refs[at], thread=thread, sure=sure)

    def implied(self, history: History, stated: Sequence[Observation]) -> NDArray[np.float64]:
        """(len(stated), d): how far each statement moves the taste that the history shows.

        With m and C the mean and covariance after the history, V the statements' vectors, t their targets, R their
        noise, statement j moves the taste by g_j C v_j, g = (V C V^T + R)^-1 (t - V m). These sum to what the mean of
        :meth:`state` with the statements has more than the mean without.
        """
        if not stated:
            return np.zeros((0, self.space.d))
        known = self._known(history)
        vectors = np.stack([one.vector for one in stated])
        along = vectors @ known.covariance
        among = along @ vectors.T
        among[np.diag_indices(len(stated))] += [1 / one.precision for one in stated]
        rest = np.array([one.target for one in stated]) - vectors @ known.mean
        moved: NDArray[np.float64] = along * np.linalg.solve(among, rest)[:, None]
        return moved

    def state(
        self,
        history: History,
        *,
        user: str | None = None,
        stated: Sequence[Observation] = (),
        thread: str | None = None,
    ) -> Posterior:
        """What is known of a user's taste.

        Args:
            history: of the user. stated: of :meth:`statements`.
            user: whose state is kept, so that the next event costs one step; None: it is folded from the history.
            thread: the conversation asked for.
        """
        seen = [*self.observations(history), *stated]
        now = float(history.ages.max(initial=0.0))
        if user is None:
            return fold(self.space.prior, seen, now=now, thread=thread)
        return self.states.state(user, seen, now=now, thread=thread)

    def expected(self, state: Posterior) -> NDArray[np.float32]:
        """(n_items,): :meth:`scores` of a state."""
        return self.along(state.mean)

    def uncertainty(self, state: Posterior) -> NDArray[np.float32]:
        """(n_items,): standard deviation of what is expected; 0 for items beyond the space."""
        found = np.zeros(self.n_items, dtype=np.float32)
        found[: self.space.n_items] = np.sqrt(state.variances(self.space.asked))
        return found

    def explore(self, state: Posterior, rng: np.random.Generator, temperature: float = 1.0) -> NDArray[np.float32]:
        """(n_items,): scores of a taste drawn from what is known; at temperature 0 :meth:`expected`."""
        return self.along(state.sample(rng, temperature))

    def _known(self, history: History) -> Posterior:
        """:meth:`state` of the history alone, at once."""
        rows, signals, ages = history.rows, history.behaviour, history.ages
        _, said, targets, precisions, times = self._looks(rows, signals, ages)
        return at_once(self.space.prior, said, targets, precisions, times, now=0.0)

    def _mean(
        self, rows: NDArray[np.int64], signals: NDArray[np.float32], ages: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        there, weights = self._weights(rows, signals, ages)
        moved: NDArray[np.float64] = (weights @ self.space.said[rows[there]]) * self.space.variance
        return self.space.mean + moved if self.popular else moved

    def _weights(
        self, rows: NDArray[np.int64], signals: NDArray[np.float32], ages: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Which entries count, and the weight of each."""
        there, said, targets, precisions, times = self._looks(rows, signals, ages)
        return there, weights_of(self.space.prior, said, targets, precisions, times, now=0.0)

    def _looks(
        self, rows: NDArray[np.int64], signals: NDArray[np.float32], ages: NDArray[np.float32]
    ) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Which entries count; what each looked along, saw, how surely, and when: (m, d), then (m,) each. Now is 0."""
        space = self.space
        there = np.flatnonzero((rows < space.n_items) & (signals != 0) & (ages <= space.prior.horizon))
        said, strength = space.said[rows[there]].astype(np.float64), signals[there].astype(np.float64)
        precisions = np.abs(strength) / space.noise[rows[there]].astype(np.float64)
        return there, said, np.sign(strength), precisions, -ages[there].astype(np.float64)
