"""What a ranker may know of a user: items, opinions, how long ago, and the ids of the evidence."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """One user's past, an entry per item, oldest first.

    Attributes:
        rows: (m,) int64, rows in the live catalogue, each at most once.
        weights: (m,) float32 in [-1, 1], the opinion: 1 liked, -1 disliked, 0 none known.
        behaviour: (m,) float32 in [-1, 1], the signal for models of behaviour. 1 for everything that was
            chosen, whatever the grade (what people choose next follows from what they chose, and grading
            low is still having chosen it); negative only for what the user turned away from in so many words.
        ages: (m,) float32, events since: 0 for the latest.
        refs: (m,) ids of the evidence.

    Raises:
        ValueError: lengths differ, an item appears twice, or a value is out of its range.
    """

    rows: NDArray[np.int64]
    weights: NDArray[np.float32]
    behaviour: NDArray[np.float32]
    ages: NDArray[np.float32]
    refs: tuple[str, ...]

    def __post_init__(self) -> None:
        lengths = {len(self.rows), len(self.weights), len(self.behaviour), len(self.ages), len(self.refs)}
        if len(lengths) != 1:
            raise ValueError("rows, weights, behaviour, ages and refs must have one length")
        if len(np.unique(self.rows)) != len(self.rows):
            raise ValueError("an item may appear once in a history")
        if len(self.rows) == 0:
            return
        if self.rows.min() < 0:
            raise ValueError("a row is negative")
        # Written so that NaN fails too.
        if not (np.abs(self.weights).max() <= 1 and np.abs(self.behaviour).max() <= 1):
            raise ValueError("weights and behaviour must lie in [-1, 1]")
        if not (self.ages.min() >= 0 and np.isfinite(self.ages).all()):
            raise ValueError("ages must be finite and not negative")

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def leanings(self) -> NDArray[np.float32]:
        """(m,) in [-1, 1]: half for having chosen it, half for the opinion.

        What the taste profiles of content are made of. On MovieLens 100K such a profile ranks the next film
        better than one made of opinions alone, and the next *liked* film better than either alone.
        """
        return (self.weights + self.behaviour) / np.float32(2)

    def recency(self, tau: float) -> NDArray[np.float32]:
        """(m,) in (0, 1]: exp(-age / tau). ``tau`` in events; infinity weighs all alike."""
        recency: NDArray[np.float32] = np.exp(-self.ages / np.float32(tau))
        return recency

    def aged(self, factor: float) -> History:
        """The history with its ages times ``factor``: above 1 what lies back counts for less, below 1 for more."""
        return self if factor == 1 else replace(self, ages=(self.ages * np.float32(factor)).astype(np.float32))

    def without(self, refs: Collection[str]) -> History:
        """The history as it were without this evidence. Ages stay: the other events happened when they did."""
        keep = np.array([ref not in refs for ref in self.refs], dtype=np.bool_)
        return self._take(np.flatnonzero(keep))

    def within(self, n_items: int) -> History:
        """The entries of rows below ``n_items``: what a model knows that was fitted before the others came."""
        return self._take(np.flatnonzero(self.rows < n_items))

    def chosen(self) -> History:
        """The entries that were not turned away from."""
        return self._take(np.flatnonzero(self.behaviour >= 0))

    def refused(self) -> History:
        """The entries that were turned away from, as if they had been chosen: their signs are turned around."""
        away = self._take(np.flatnonzero(self.behaviour < 0))
        return History(away.rows, -away.weights, -away.behaviour, away.ages, away.refs)

    def last(self, n: int) -> History:
        """The ``n`` latest entries."""
        return self._take(np.arange(max(0, len(self) - n), len(self)))

    def _take(self, at: NDArray[np.int64]) -> History:
        return History(
            rows=self.rows[at],
            weights=self.weights[at],
            behaviour=self.behaviour[at],
            ages=self.ages[at],
            refs=tuple(self.refs[i] for i in at),
        )


def rating_weights(values: NDArray[np.float32], scale: tuple[float, float] | None) -> NDArray[np.float32]:
    """Opinions from ratings: linear on the scale, its middle 0, its ends -1 and 1.

    On 1 to 5 a rating of 5 is 1, 4 is 0.5, 3 is 0, 1 is -1. The middle of the scale, not the user's
    mean, is the zero: a user who grades everything 5 likes everything.

    Args:
        values: ratings; NaN is an event with no grade and weighs 1.
        scale: lowest and highest rating of the data set; None, or both alike, says that the values
            are no grades (counts, ones): every event weighs 1.

    Returns:
        float32 in [-1, 1], the shape of ``values``. Ratings beyond the scale are clipped.
    """
    if scale is None or scale[1] <= scale[0]:
        return np.ones_like(values, dtype=np.float32)
    low, high = scale
    weights = np.clip((values - (low + high) / 2) / ((high - low) / 2), -1, 1)
    return np.where(np.isnan(values), 1.0, weights).astype(np.float32)


def from_log(
    rows: ArrayLike,
    values: ArrayLike,
    scale: tuple[float, float] | None,
    *,
    ref: Callable[[int], str] = lambda row: f"log:{row}",
) -> History:
    """A history from one user's logged interactions.

    Args:
        rows: catalogue rows, oldest first. Of an item that comes several times the latest event counts.
        values: ratings, NaN where an event has no grade (see :func:`rating_weights`).
        scale: lowest and highest rating of the data set, None when it has no ratings.
        ref: gives the evidence id of a row (``log:<user>:<item>``).
    """
    every = np.asarray(rows, dtype=np.int64)
    opinions = rating_weights(np.asarray(values, dtype=np.float32), scale)
    if every.shape != opinions.shape:
        raise ValueError("rows and values must have one length")
    keep = _latest(every)
    ages = (len(every) - 1 - keep).astype(np.float32)
    return History(
        rows=every[keep],
        weights=opinions[keep],
        behaviour=np.ones(len(keep), dtype=np.float32),
        ages=ages,
        refs=tuple(ref(int(row)) for row in every[keep]),
    )


def from_events(
    rows: Sequence[int], weights: Sequence[float], refs: Sequence[str], *, behaviour: Sequence[float] | None = None
) -> History:
    """A history from live events, oldest first; of an item that comes several times the latest counts.

    Args:
        rows: catalogue rows.
        weights: opinions in [-1, 1]; 0 for "seen" with no opinion.
        refs: evidence ids (``event:<id>``).
        behaviour: signals for models of behaviour; by default the opinion where there is one, else 1:
            what someone turns down in so many words must pull the like of it down.
    """
    every = np.asarray(rows, dtype=np.int64)
    opinions = np.asarray(weights, dtype=np.float32)
    signals = (
        np.where(opinions == 0, 1, opinions).astype(np.float32)
        if behaviour is None
        else np.asarray(behaviour, dtype=np.float32)
    )
    keep = _latest(every)
    return History(
        rows=every[keep],
        weights=opinions[keep],
        behaviour=signals[keep],
        ages=(len(every) - 1 - keep).astype(np.float32),
        refs=tuple(refs[i] for i in keep),
    )


def empty() -> History:
    """Nobody we know."""
    return from_events((), (), ())


def merge(log: History, live: History) -> History:
    """The log, then the live events: a live event about an item takes the place of the logged one.

    Live events are the latest, so every logged event grows older by their number.
    """
    keep = np.flatnonzero(~np.isin(log.rows, live.rows))
    # The ages inside ``live`` count repeated events too, hence the oldest age and not the length.
    shift = live.ages.max() + 1 if len(live) else np.float32(0)
    old = log._take(keep)
    return History(
        rows=np.concatenate([old.rows, live.rows]),
        weights=np.concatenate([old.weights, live.weights]),
        behaviour=np.concatenate([old.behaviour, live.behaviour]),
        ages=np.concatenate([old.ages + shift, live.ages]).astype(np.float32),
        refs=old.refs + live.refs,
    )


def _latest(rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of each row's last occurrence, in order."""
    if len(rows) == 0:
        return np.empty(0, dtype=np.int64)
    _, first_from_the_end = np.unique(rows[::-1], return_index=True)
    return np.sort(len(rows) - 1 - first_from_the_end).astype(np.int64)
