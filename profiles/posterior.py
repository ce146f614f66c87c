"""What one user wants, as a Gaussian over taste vectors: exact, updated in one step, drifting, and undone by refolding.

A taste w is a vector of d numbers. The population says what it is before anything is known, w ~ N(m, S), and each
observation is a noisy look along a vector: target = v . w + noise, noise ~ N(0, 1 / precision). Given w at one time,
all of this is linear and Gaussian, so the posterior is too (Bishop 2006, section 3.3), and each observation is one
rank-one step (the measurement update of Kalman 1960), O(d^2):

    g = C v,  s = v . g + 1 / precision,  m <- m + g (target - v . m) / s,  C <- C - g g^T / s.

*Drift.* Tastes move. Between observations w follows the Ornstein-Uhlenbeck process whose resting state is the
population: after time t it keeps k = keep^t of what set it apart,

    m <- m0 + k (m - m0),  C <- S + k^2 (C - S),

so that what was learned fades towards the prior and never beyond it. A taste at times a and b then has covariance
keep^|a - b| S, and the posterior is that of one Gaussian process over all observations: :func:`weights_of` solves it at
once, and the tests hold the steps to it.

*Statements* ("no horror") are pseudo-observations with a scope: they are about the taste as it is now, so they do not
fade, and those of one conversation count in its thread alone.

A state is a pure function of the prior and what was observed (:func:`fold`). Undoing an event is folding without it:
exactly what would have been, not an approximate step back. :class:`States` keeps a bounded number of states, so that a
new event costs one step; the others are folded again when they are asked for.
"""

from __future__ import annotations

import hashlib
import math
import struct
import threading
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Vector = NDArray[np.float64]

#: Most that one look may narrow the prior along its vector, precision x v . S v. Beyond it double precision loses the
#: digits that keep the covariance positive.
MOST_CERTAIN = 1e8
#: Share of what was learned below which it is left out: less than rounding.
NOTHING = 1e-14
#: Old observations are left out by so many at once, so that a kept state can mostly be gone on with.
BLOCK = 64


@dataclass(frozen=True, eq=False)
class Prior:
    """What is expected of anybody.

    Attributes:
        mean: (d,). covariance: (d, d), symmetric, positive definite.
        keep: share of what sets a user apart that is left after one unit of time, in (0, 1]; 1: tastes do not drift.

    Raises:
        ValueError: shapes do not fit, a number is not finite, the covariance is not positive definite, or keep is out
            of range.
    """

    mean: Vector
    covariance: Vector
    keep: float = 1.0

    def __post_init__(self) -> None:
        d = len(self.mean)
        if self.mean.shape != (d,) or self.covariance.shape != (d, d):
            raise ValueError(f"a mean of shape {self.mean.shape} and a covariance of shape {self.covariance.shape}")
        if not (np.isfinite(self.mean).all() and np.isfinite(self.covariance).all()):
            raise ValueError("the prior is not finite")
        if not 0 < self.keep <= 1:
            raise ValueError(f"keep must lie in (0, 1], not {self.keep}")
        if not np.array_equal(self.covariance, self.covariance.T):
            raise ValueError("the prior covariance is not symmetric")
        try:
            np.linalg.cholesky(self.covariance)
        except np.linalg.LinAlgError:
            raise ValueError("the prior covariance is not positive definite") from None

    @property
    def d(self) -> int:
        return len(self.mean)

    @cached_property
    def horizon(self) -> float:
        """Age beyond which an observation changes nothing that double precision can tell."""
        return float("inf") if self.keep == 1 else float(np.log(NOTHING) / np.log(self.keep))


@dataclass(frozen=True, eq=False)
class Observation:
    """One look at a user's taste.

    Attributes:
        vector: (d,), what was looked along. target: what was seen there. precision: 1 / variance of its noise, above 0.
        time: when, in the unit in which ``keep`` counts; None: a statement, about the taste whenever it is asked for.
        thread: of a statement, the only conversation it counts in; None: in all of them.
        ref: evidence id.
    """

    vector: Vector
    target: float
    precision: float
    time: float | None = 0.0
    thread: str | None = None
    ref: str = ""

    def __post_init__(self) -> None:
        # One product in place of a look at each number: histories are made into hundreds of these while a user waits.
        if not (math.isfinite(float(self.vector @ self.vector)) and math.isfinite(self.target)):
            raise ValueError(f"the observation {self.ref!r} is not finite")
        if not 0 < self.precision < math.inf:
            raise ValueError(f"the precision of {self.ref!r} must be above 0 and finite, not {self.precision}")
        if self.time is not None and not math.isfinite(self.time):
            raise ValueError(f"the time of {self.ref!r} is not finite")
        if self.thread is not None and self.time is not None:
            raise ValueError(f"{self.ref!r} belongs to a thread and has a time: only statements have a thread")


@dataclass(frozen=True, eq=False)
class Posterior:
    """What is known of a user's taste at one time.

    Attributes:
        prior: where it started.
        mean: (d,). covariance: (d, d), symmetric and positive definite.
        time: of the latest observation; None before the first.
    """

    prior: Prior
    mean: Vector
    covariance: Vector
    time: float | None = None

    @classmethod
    def of(cls, prior: Prior) -> Posterior:
        """Nobody we know."""
        return cls(prior, prior.mean, prior.covariance)

    def at(self, time: float) -> Posterior:
        """As it has drifted by ``time``; as it is, where that is not later. O(d^2)."""
        prior = self.prior
        if self.time is None or time <= self.time or prior.keep == 1:
            return self
        kept = prior.keep ** (time - self.time)
        mean = prior.mean + kept * (self.mean - prior.mean)
        covariance = prior.covariance + kept**2 * (self.covariance - prior.covariance)
        return Posterior(prior, mean, covariance, time)

    def after(self, seen: Observation) -> Posterior:
        """With one more observation, of this time or later. O(d^2).

        Raises:
            ValueError: it is earlier than what was seen already, has another length, or is more certain than double
                precision can hold.
        """
        if seen.vector.shape != self.mean.shape:
            raise ValueError(f"a vector of shape {seen.vector.shape} for a taste of {len(self.mean)} numbers")
        if seen.time is not None and self.time is not None and seen.time < self.time:
            raise ValueError(f"{seen.ref!r} is of {seen.time}, before {self.time}: fold in the order of time")
        now = self if seen.time is None else self.at(seen.time)
        along = now.covariance @ seen.vector
        variance = float(seen.vector @ along)
        if not seen.precision * variance < MOST_CERTAIN:
            raise ValueError(f"{seen.ref!r} is more certain than can be told: precision {seen.precision}")
        along /= np.sqrt(variance + 1 / seen.precision)
        gain = along * (seen.target - float(seen.vector @ now.mean)) / np.sqrt(variance + 1 / seen.precision)
        covariance = now.covariance - np.multiply.outer(along, along)
        return Posterior(self.prior, now.mean + gain, covariance, self.time if seen.time is None else seen.time)

    def scores(self, vectors: NDArray[np.floating]) -> Vector:
        """(n,): what is expected along each of ``vectors`` (n, d)."""
        found: Vector = vectors @ self.mean
        return found

    def variances(self, vectors: NDArray[np.floating]) -> Vector:
        """(n,): how unsure that is, noise not counted; not below 0. O(n d^2)."""
        found: Vector = np.einsum("nd,nd->n", vectors @ self.covariance, vectors)
        return np.maximum(found, 0)

    def sample(self, rng: np.random.Generator, temperature: float = 1.0) -> Vector:
        """(d,): a taste drawn from what is known (Thompson 1933); 0 is the mean, 1 the posterior. O(d^3).

        Raises:
            ValueError: a temperature below 0.
        """
        if not temperature >= 0:
            raise ValueError(f"a temperature is not below 0, as {temperature} is")
        drawn = rng.standard_normal(len(self.mean))
        found: Vector = self.mean + np.sqrt(temperature) * (np.linalg.cholesky(self.covariance) @ drawn)
        return found


def fold(
    prior: Prior, seen: Iterable[Observation], *, now: float | None = None, thread: str | None = None
) -> Posterior:
    """The state that all observations amount to.

    The order they come in changes nothing beyond rounding: times decide, and at one time all orders are alike.
    Statements come last, those of other threads than ``thread`` are left out. What is older than the prior's horizon
    is left out too: it would change nothing.

    Args:
        prior: of the population.
        seen: what was observed.
        now: the time asked about, not before the latest observation; None: that of the latest.
        thread: the conversation asked for.
    """
    return with_statements(_steps(Posterior.of(prior), in_order(prior, seen, now)), seen, now=now, thread=thread)


def with_statements(
    state: Posterior, seen: Iterable[Observation], *, now: float | None = None, thread: str | None = None
) -> Posterior:
    """A state as of ``now`` with the statements among ``seen`` that count in ``thread``."""
    state = state if now is None else state.at(now)
    return _steps(state, [one for one in seen if one.time is None and one.thread in (None, thread)])


def in_order(prior: Prior, seen: Iterable[Observation], now: float | None = None) -> list[Observation]:
    """Those with a time, oldest first, without the oldest blocks that are too old to matter."""
    timed = sorted((one for one in seen if one.time is not None), key=_time)
    if not timed or prior.keep == 1:
        return timed
    oldest = (_time(timed[-1]) if now is None else max(now, _time(timed[-1]))) - prior.horizon
    old = bisect_left(timed, oldest, key=_time)
    return timed[old - old % BLOCK :]


def weights_of(
    prior: Prior, vectors: Vector, targets: Vector, precisions: Vector, times: Vector, *, now: float | None = None
) -> Vector:
    """The same posterior mean from all observations at once: mean(now) = m0 + S sum_j a_j v_j.

    With K_ij = keep^|t_i - t_j| v_i . S v_j the covariance of what was looked at, R the noise and r the targets less
    what the prior expects of them,

        a_j = keep^(now - t_j) ((K + R)^-1 r)_j                    (Rasmussen & Williams 2006, equation 2.25)

    O(m^2 d + m^3) for m observations, where the steps take O(m d^2): faster for a short past, and it says what each
    observation adds to any score: a_j v . S v_j. Without drift and for m above d, (K + R)^-1 r is the precisions times
    what the posterior mean leaves of the targets, and only d equations are solved.

    Args:
        vectors: (m, d). targets, precisions, times: (m,).
        now: the time asked about, not before the latest; None: the latest.
    """
    if len(targets) == 0:
        return np.zeros(0)
    rest = targets - vectors @ prior.mean
    if prior.keep == 1 and len(targets) > prior.d:
        looked = (vectors * precisions[:, None]).T
        left = np.linalg.inv(prior.covariance) + looked @ vectors
        found: Vector = precisions * (rest - vectors @ np.linalg.solve(left, looked @ rest))
        return found
    apart = vectors @ prior.covariance @ vectors.T
    fading = np.log(prior.keep)
    if prior.keep < 1:
        apart *= np.exp(fading * np.abs(times[:, None] - times))
    apart[np.diag_indices(len(targets))] += 1 / precisions
    weights: Vector = np.linalg.solve(apart, rest).astype(np.float64)
    if prior.keep < 1:
        weights *= np.exp(fading * ((times.max() if now is None else now) - times))
    return weights


class States:
    """States of the users asked about last, at most ``capacity`` of them; the others are folded again when needed.

    An answer is the fold of what is handed in, bit for bit, whatever is kept: a kept state is gone on with where the
    observations it was made of are the first of those handed in, and is folded anew where they are not. A state takes
    d + d (d + 1) / 2 numbers of 8 bytes, 67 KB at d = 128. Many threads may ask.

    Args:
        prior: of the population.
        capacity: states kept, at least 1.
    """

    def __init__(self, prior: Prior, capacity: int = 1000) -> None:
        if capacity < 1:
            raise ValueError("at least one state is kept")
        self.prior = prior
        self.capacity = capacity
        self._kept: OrderedDict[str, _Kept] = OrderedDict()
        self._lock = threading.Lock()
        self._triangle = np.tril_indices(prior.d)

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def nbytes(self) -> int:
        """Bytes of the states that are kept."""
        with self._lock:
            return sum(one.mean.nbytes + one.triangle.nbytes for one in self._kept.values())

    def state(
        self, user: str, seen: Sequence[Observation], *, now: float | None = None, thread: str | None = None
    ) -> Posterior:
        """:func:`fold` of what was seen of a user, from the kept state where it can be gone on with."""
        timed = in_order(self.prior, seen, now)
        with self._lock:
            kept = self._kept.get(user)
        state, done, chain = Posterior.of(self.prior), 0, hashlib.blake2b(digest_size=16)
        if kept is not None and kept.count <= len(timed):
            _chain(chain, timed[: kept.count])
            done = kept.count
            state = self._unpacked(kept) if chain.digest() == kept.digest else _steps(state, timed[:done])
        _chain(chain, timed[done:])
        state = _steps(state, timed[done:])
        self._keep(user, _Kept(chain.digest(), len(timed), state.time, state.mean, state.covariance[self._triangle]))
        return with_statements(state, seen, now=now, thread=thread)

    def forget(self, user: str) -> None:
        """Drop what is kept of a user."""
        with self._lock:
            self._kept.pop(user, None)

    def _keep(self, user: str, kept: _Kept) -> None:
        with self._lock:
            self._kept[user] = kept
            self._kept.move_to_end(user)
            while len(self._kept) > self.capacity:
                self._kept.popitem(last=False)

    def _unpacked(self, kept: _Kept) -> Posterior:
        covariance = np.empty((self.prior.d, self.prior.d))
        covariance[self._triangle] = kept.triangle
        covariance.T[self._triangle] = kept.triangle
        return Posterior(self.prior, kept.mean, covariance, kept.time)


@dataclass(frozen=True, eq=False)
class _Kept:
    digest: bytes
    count: int
    time: float | None
    mean: Vector
    triangle: Vector


def _chain(digest: hashlib.blake2b, timed: Sequence[Observation]) -> None:
    """Into ``digest``: all that decides a state."""
    for one in timed:
        digest.update(struct.pack("3d", one.target, one.precision, _time(one)))
        digest.update(np.ascontiguousarray(one.vector, dtype=np.float64).data)


def _steps(state: Posterior, seen: Iterable[Observation]) -> Posterior:
    for one in seen:
        state = state.after(one)
    return state


def _time(one: Observation) -> float:
    assert one.time is not None
    return one.time
