"""BPR: factors that rank what a user chose above what they did not (Rendle et al. 2009).

The library ``implicit`` draws pairs of a chosen item i and another item j, and moves the user's factors x and the
items' factors y and biases b up the gradient of log sigmoid(s_i - s_j), with the score s_i = x . y_i + b_i and each
parameter shrunk by ``regularization``.

The factors of a user come out of those draws and follow from no equation, so that nobody can be folded in as they
would have been fitted. A past that is the whole past of users of the fit gets their factors (the mean, where several
have it). Any other past p gets a linear estimate of them,

    x = A^T m,    m = (sum_j s_j y_j) / (sum_j |s_j|) with 1 appended,

from the mean of its items' factors, with the signal s_j of each entry. A is fitted by ridge regression on the users of
the fit. In the gradient, too, a user's factors are a weighted sum of those of the chosen items, minus one of all the
others. A past of signals that are all 0, or an empty one, is scored by the biases alone.
"""

from __future__ import annotations

import hashlib
import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..catalog.readers.raw import Progress, no_progress
from ..errors import MissingExtra
from .log import Log, Pasts

#: Added to the normal equations of the linear estimate, for each user of the fit.
_RIDGE = 1e-6


@dataclass(frozen=True, slots=True)
class BprConfig:
    """How factors are fitted.

    The defaults are the best of 72 settings (16 to 128 factors, learning rates 0.01 and 0.03, regularization 0.01 to
    0.1, 50 to 200 epochs) at predicting each user's last event but one on MovieLens 100K, mean over two seeds.
    """

    factors: int = 128
    """Factors of each user and item, besides the item's bias."""

    learning_rate: float = 0.01
    """Step of the gradient, above 0."""

    regularization: float = 0.01
    """How much each step shrinks the parameters it moves; 0 or more."""

    iterations: int = 100
    """Epochs: in each, as many pairs are drawn as the log has interactions."""

    def __post_init__(self) -> None:
        if min(self.factors, self.iterations) < 1:
            raise ValueError("factors and iterations must be at least 1")
        if not (self.learning_rate > 0 and self.regularization >= 0):
            raise ValueError("learning_rate must be positive, and regularization not negative")


@dataclass(frozen=True, eq=False)
class BprModel:
    """Fitted factors.

    Attributes:
        factors: (n_items, f) float32.
        biases: (n_items,) float32.
        users: (m, f) float32, a row for each different past of the fit.
        rows: digest of a past's items to its row of ``users``.
        linear: (f + 1, f) float32, A of the linear estimate.
    """

    factors: NDArray[np.float32]
    biases: NDArray[np.float32]
    users: NDArray[np.float32]
    rows: Mapping[bytes, int]
    linear: NDArray[np.float32]
    name = "bpr"

    @property
    def n_items(self) -> int:
        return len(self.factors)

    def user_factors(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), f): the factors of each past, fitted or estimated; 0 where it says nothing."""
        if pasts.n_items != self.n_items:
            raise ValueError(f"pasts over {pasts.n_items} items, factors of {self.n_items}")
        found = estimated(self.factors, self.linear, pasts)
        for at in range(len(pasts)):
            own = slice(pasts.offsets[at], pasts.offsets[at + 1])
            row = self.rows.get(_digest(pasts.rows[own]))
            # A past with something turned away from is none of the fit, whose users chose all of theirs.
            if row is not None and (pasts.behaviour[own] == 1).all():
                found[at] = self.users[row]
        return found

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items): their differences are log-odds of choosing one item over another."""
        scores: NDArray[np.float32] = self.user_factors(pasts) @ self.factors.T + self.biases
        return scores


def fit_bpr(log: Log, config: BprConfig = BprConfig(), *, seed: int = 0, progress: Progress = no_progress) -> BprModel:
    """Fit factors with the library ``implicit``, on the CPU and with one thread: the same seed, the same factors.

    Args:
        log: each interaction is one choice.
        config: see :class:`BprConfig`.
        seed: of the first factors and of the pairs drawn.
        progress: told after each epoch.

    Raises:
        MissingExtra: ``implicit`` is not installed.
    """
    bpr = _implicit().BayesianPersonalizedRanking(
        factors=config.factors,
        learning_rate=config.learning_rate,
        regularization=config.regularization,
        iterations=config.iterations,
        num_threads=1,
        random_state=seed,
    )
    bpr.fit(
        log.matrix(),
        show_progress=False,
        callback=lambda done, *_: progress("fitting factors", done + 1, config.iterations),
    )
    # The library keeps the biases as one more factor of the items, which is 1 in every user.
    fitted = np.ascontiguousarray(bpr.item_factors[:, :-1], dtype=np.float32)
    pasts = log.pasts(np.flatnonzero(log.lengths > 0))
    users = np.asarray(bpr.user_factors[log.lengths > 0, :-1], dtype=np.float32)
    rows: dict[bytes, int] = {}
    row_of = np.array(
        [
            rows.setdefault(_digest(pasts.rows[pasts.offsets[at] : pasts.offsets[at + 1]]), len(rows))
            for at in range(len(pasts))
        ],
        dtype=np.int64,
    )
    sums = np.zeros((len(rows), config.factors))
    np.add.at(sums, row_of, users.astype(np.float64))
    counts = np.bincount(row_of, minlength=len(rows))
    return BprModel(
        factors=fitted,
        biases=np.ascontiguousarray(bpr.item_factors[:, -1], dtype=np.float32),
        users=(sums / counts[:, None]).astype(np.float32),
        rows=rows,
        linear=linear_estimate(fitted, users, pasts),
    )


def linear_estimate(factors: NDArray[np.float32], users: NDArray[np.float32], pasts: Pasts) -> NDArray[np.float32]:
    """(f + 1, f): A by ridge regression of the users' factors (b, f) on the means of their pasts (b of them)."""
    means = _means(factors, pasts).astype(np.float64)
    left = means.T @ means + _RIDGE * max(len(pasts), 1) * np.eye(means.shape[1])
    return np.linalg.solve(left, means.T @ users).astype(np.float32)


def estimated(factors: NDArray[np.float32], linear: NDArray[np.float32], pasts: Pasts) -> NDArray[np.float32]:
    """(b, f): the linear estimate of the factors of each past; 0 where all signals are 0 or there are none."""
    users: NDArray[np.float32] = _means(factors, pasts) @ linear
    return users


def _means(factors: NDArray[np.float32], pasts: Pasts) -> NDArray[np.float32]:
    """(b, f + 1): the mean of the factors of a past's items, by their signals, and 1; all 0 where it says nothing."""
    signals = pasts.signals()
    sizes = np.asarray(abs(signals).sum(axis=1)).ravel()
    means = np.zeros((len(pasts), factors.shape[1] + 1), dtype=np.float32)
    some = sizes > 0
    means[some, :-1] = (signals @ factors)[some] / sizes[some, None]
    means[some, -1] = 1
    return means


def _digest(rows: NDArray[np.int64]) -> bytes:
    """Names a set of items, in whatever order they come."""
    return hashlib.blake2b(np.sort(rows).astype("<i8").tobytes(), digest_size=16).digest()


def _implicit() -> Any:
    try:
        return importlib.import_module("implicit.cpu.bpr")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != "implicit":
            raise
        raise MissingExtra("the BPR model", "als") from None
