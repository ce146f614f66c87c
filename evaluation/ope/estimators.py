"""Off-policy estimators: the value of one policy from another's log.

Notation: round i has action a_i, reward r_i, weight w_i = pi_e(a_i | x_i) / pi_b(a_i | x_i), modelled reward
q_i = q(x_i, a_i) of the action taken and v_i = sum_a pi_e(a | x_i) q(x_i, a) of the target policy. Every estimator has
one signature, ``(Rounds, Options) -> Parts``, and says what each round contributes, so that one bootstrap over rounds
serves them all. Weights are first cut at ``Options.clip`` (Ionides 2008, truncated importance sampling).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from .log import BanditLog, Target
from .reward_model import Predictions

#: Rounds of a target's probabilities in memory at a time.
CHUNK = 65_536
#: Where Switch-DR and DRos stop trusting a weight unless told: at this times the square root of the number of rounds.
#: Any constant times sqrt(n) makes the bias vanish faster than the error (Ionides 2008); choosing the threshold on the
#: log itself by its estimated squared error was tried on made-up logs and did worse than this or never switched.
THRESHOLD = 3.0


@dataclass(frozen=True, slots=True)
class Options:
    """What the estimators can be told."""

    clip: float = np.inf
    """Weights above this are cut to it. Less variance, and a bias that no interval here holds."""
    switch: float | None = None
    """Switch-DR: the model alone speaks for rounds with a weight above this. None: ``THRESHOLD`` sqrt(n)."""
    shrink: float | None = None
    """DRos: lambda; 0 is the model alone, infinity is DR. None: the square of ``THRESHOLD`` sqrt(n), beyond which a
    larger weight counts for less."""
    seed: int = 0
    """Of the draws of ``replay``."""

    def __post_init__(self) -> None:
        if not self.clip > 0:
            raise UserError(f"weights cannot be cut at {self.clip}: give a number above 0")
        for name in ("switch", "shrink"):
            value = getattr(self, name)
            if value is not None and not value >= 0:
                raise UserError(f"{name} is {value}: give a number of at least 0")


@dataclass(frozen=True, slots=True, eq=False)
class Rounds:
    """What the estimators know of a log under a target policy.

    Attributes:
        reward: (n,).
        weight: (n,) >= 0, pi_e / pi_b of the action taken.
        logged: (n,) q(x_i, a_i), or None without a reward model.
        expected: (n,) sum_a pi_e(a | x_i) q(x_i, a), or None.
        influence: given (n,) how strongly each round's q(x_i, a_i) is subtracted again, what each round did to the
            value through the fitted model, times n; None: the model is taken as given.
    """

    reward: NDArray[np.float64]
    weight: NDArray[np.float64]
    logged: NDArray[np.float64] | None = None
    expected: NDArray[np.float64] | None = None
    influence: Callable[[NDArray[np.float64]], NDArray[np.float64]] | None = None

    def model(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """(logged, expected).

        Raises:
            ValueError: there is no reward model.
        """
        if self.logged is None or self.expected is None:
            raise ValueError("this estimator needs a reward model")
        return self.logged, self.expected


def weights(log: BanditLog, target: Target) -> NDArray[np.float64]:
    """(n,) pi_e(a_i | x_i) / pi_b(a_i | x_i).

    Raises:
        ValueError: the log has no propensities.
    """
    if log.propensity is None:
        raise ValueError("the log has no propensities: model them first")
    chance = np.empty(len(log))
    for start in range(0, len(log), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(log)))
        chance[rows] = target.probabilities(log, rows)[np.arange(len(rows)), log.action[rows]]
    return chance / log.propensity


def unsupported(log: BanditLog, target: Target) -> float:
    """Share of the target's choices that the log never shows at that position: no weighting can make up for them."""
    absent = log.counts() == 0
    total = 0.0
    for start in range(0, len(log), CHUNK):
        rows = np.arange(start, min(start + CHUNK, len(log)))
        total += float(target.probabilities(log, rows)[absent[log.slots[rows]]].sum())
    return total / len(log)


def rounds_of(log: BanditLog, target: Target, predictions: Predictions | None = None) -> Rounds:
    """A log under a target policy, with a reward model's ``predictions`` for that target where there are any."""
    if predictions is None:
        return Rounds(log.reward, weights(log, target))
    return Rounds(log.reward, weights(log, target), predictions.logged, predictions.expected, predictions.influence)


@dataclass(frozen=True, slots=True, eq=False)
class Parts:
    """What each round contributes: the value is mean(direct) + sum(top) / sum(bottom).

    Attributes:
        direct, top, bottom: (n,).
        used: (n,) the weights the estimator gave the rewards; None where it uses none.
        subtracted: (n,) how strongly each q(x_i, a_i) is subtracted, None where no model is used.
        clipped: share of rounds whose weight was cut, moved to the model or shrunk by half or more.
        chosen: tau or lambda, where there is one.
    """

    direct: NDArray[np.float64]
    top: NDArray[np.float64]
    bottom: NDArray[np.float64]
    used: NDArray[np.float64] | None
    subtracted: NDArray[np.float64] | None = None
    clipped: float = 0.0
    chosen: float | None = None

    @property
    def value(self) -> float:
        """The estimate; NaN where no round counts."""
        bottom = float(self.bottom.sum())
        return float(self.direct.mean()) + (float(self.top.sum()) / bottom if bottom > 0 else np.nan)


Estimator = Callable[[Rounds, Options], Parts]


def replay(rounds: Rounds, options: Options) -> Parts:
    """Rejection: keep round i with chance w_i / max w, and average the rewards kept.

    Under a uniform log and a deterministic target this is the replay of Li, Chu, Langford & Wang (2011, algorithm 1):
    keep the rounds where both chose the same. For any other pair the rounds kept are distributed as the target's
    (rejection sampling, von Neumann 1951), as long as the largest weight seen is the largest there is.
    """
    weight, clipped = _cut(rounds, options)
    most = float(weight.max())
    draw = np.random.default_rng(options.seed).random(len(weight))
    kept = (draw * most < weight).astype(np.float64)
    return Parts(np.zeros(len(kept)), kept * rounds.reward, kept, kept, clipped=clipped)


def ips(rounds: Rounds, options: Options) -> Parts:
    """Inverse propensity score: (1/n) sum_i w_i r_i (Horvitz & Thompson 1952)."""
    weight, clipped = _cut(rounds, options)
    return _mean(weight * rounds.reward, weight, clipped=clipped)


def snips(rounds: Rounds, options: Options) -> Parts:
    """Self-normalised: sum_i w_i r_i / sum_i w_i (Swaminathan & Joachims 2015).

    Never leaves the range of the rewards, and moves with them when all are shifted.
    """
    weight, clipped = _cut(rounds, options)
    return Parts(np.zeros(len(weight)), weight * rounds.reward, weight, weight, clipped=clipped)


def dm(rounds: Rounds, options: Options) -> Parts:
    """Direct method: (1/n) sum_i v_i (Beygelzimer & Langford 2009). As good as the model, whatever the log."""
    _, expected = rounds.model()
    return _mean(expected, None, subtracted=np.zeros(len(expected)))


def dr(rounds: Rounds, options: Options) -> Parts:
    """Doubly robust: (1/n) sum_i [v_i + w_i (r_i - q_i)] (Dudik, Langford & Li 2011)."""
    weight, clipped = _cut(rounds, options)
    return _corrected(rounds, weight, clipped)


def sndr(rounds: Rounds, options: Options) -> Parts:
    """Self-normalised DR: (1/n) sum_i v_i + sum_i w_i (r_i - q_i) / sum_i w_i.

    The weighted doubly robust estimator of Thomas & Brunskill (2016) at a horizon of one step.
    """
    weight, clipped = _cut(rounds, options)
    logged, expected = rounds.model()
    total = float(weight.sum())
    scaled = weight * len(weight) / total if total > 0 else weight
    return Parts(expected, weight * (rounds.reward - logged), weight, weight, subtracted=scaled, clipped=clipped)


def switch_dr(rounds: Rounds, options: Options) -> Parts:
    """Switch-DR: (1/n) sum_i [v_i + w_i 1(w_i <= tau) (r_i - q_i)] (Wang, Agarwal & Dudik 2017, DR where w <= tau).

    tau = infinity is DR, tau = 0 is DM.
    """
    weight, _ = _cut(rounds, options)
    tau = THRESHOLD * np.sqrt(len(weight)) if options.switch is None else options.switch
    used = np.where(weight <= tau, weight, 0.0)
    lost = float(np.mean((weight > tau) | (rounds.weight > options.clip)))
    return _corrected(rounds, used, lost, float(tau))


def dros(rounds: Rounds, options: Options) -> Parts:
    """DR with optimistic shrinkage: (1/n) sum_i [v_i + w'_i (r_i - q_i)], w' = lambda w / (w^2 + lambda)
    (Su, Dimakopoulou, Krishnamurthy & Dudik 2020, section 4).

    lambda = 0 is DM, lambda = infinity is DR.
    """
    weight, cut = _cut(rounds, options)
    amount = THRESHOLD**2 * len(weight) if options.shrink is None else options.shrink
    if np.isinf(amount):
        return _corrected(rounds, weight, cut, amount)
    used = weight * (amount / (amount + weight**2)) if amount > 0 else np.zeros_like(weight)
    # w' is at most half of w where w^2 >= lambda.
    lost = float(np.mean(((weight > 0) & (weight**2 >= amount)) | (rounds.weight > options.clip)))
    return _corrected(rounds, used, lost, float(amount))


#: By the names people type.
ESTIMATORS: Mapping[str, Estimator] = {
    "replay": replay,
    "ips": ips,
    "snips": snips,
    "dm": dm,
    "dr": dr,
    "sndr": sndr,
    "switch-dr": switch_dr,
    "dros": dros,
}


def _cut(rounds: Rounds, options: Options) -> tuple[NDArray[np.float64], float]:
    """Weights cut at the clip, and the share that was."""
    return np.minimum(rounds.weight, options.clip), float(np.mean(rounds.weight > options.clip))


def _mean(
    direct: NDArray[np.float64],
    used: NDArray[np.float64] | None,
    *,
    subtracted: NDArray[np.float64] | None = None,
    clipped: float = 0.0,
    chosen: float | None = None,
) -> Parts:
    n = len(direct)
    return Parts(direct, np.zeros(n), np.ones(n), used, subtracted, clipped, chosen)


def _corrected(rounds: Rounds, used: NDArray[np.float64], clipped: float, chosen: float | None = None) -> Parts:
    logged, expected = rounds.model()
    direct = expected + used * (rounds.reward - logged)
    return _mean(direct, used, subtracted=used, clipped=clipped, chosen=chosen)
