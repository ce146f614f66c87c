"""q(x, a): the reward to expect from an action in a context, fitted on the log and never on the round it speaks of.

    q(x, a) = g(b . s(x) + c_a . z(x))

with s the intercept, the position and the context, and z a constant (an effect of its own for each action) and, with
``interactions``, the context too. g is the identity (ridge) or the logistic function (penalised logistic regression,
for rewards from 0 to 1). The penalty pulls an action seldom seen towards what all actions have in common: it is the
smoothing. Rounds are split in folds and each is predicted by the model of the others (cross-fitting, Chernozhukov et
al. 2018), without which a doubly robust estimate corrects residuals that the fit has already made small.

The Hessian is an arrow (own blocks of different actions do not meet), so that fitting grows with the number of
actions, not its cube.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...catalog.readers.raw import Progress, no_progress
from ...errors import UserError
from .log import BanditLog, Target

#: Rounds whose predictions for all actions are in memory at a time.
CHUNK = 16_384
#: Penalty on the intercept: enough to keep it finite where no reward was ever seen.
INTERCEPT_PENALTY = 1e-2
STEPS = 50
CLOSE = 1e-9


@dataclass(frozen=True, slots=True)
class RewardConfig:
    """How q is modelled."""

    link: Literal["auto", "logistic", "linear"] = "auto"
    """auto: logistic where every reward lies in [0, 1], otherwise linear."""
    penalty: float = 1.0
    """Squared penalty on every coefficient (of standardised features) but the intercept, > 0."""
    interactions: bool = False
    """Whether the context may act differently on each action: many more coefficients, for logs that can afford them."""
    folds: int = 5
    """Parts of the log, each predicted by a model of the rest."""

    def __post_init__(self) -> None:
        if not self.penalty > 0:
            raise UserError(f"the penalty of the reward model is {self.penalty}: give a number above 0")
        if self.folds < 2:
            raise UserError(f"the reward model is asked for {self.folds} folds: give at least 2")


@dataclass(frozen=True, slots=True, eq=False)
class _Arrow:
    """A symmetric positive definite matrix: shared block (s, s), borders (A, s, z), own blocks (A, z, z)."""

    shared: NDArray[np.float64]
    border: NDArray[np.float64]
    own: NDArray[np.float64]

    def solve(
        self, shared: NDArray[np.float64], own: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """x of H x = (shared (s,), own (A, z)), by the Schur complement of the own blocks."""
        inner = np.linalg.solve(self.own, np.concatenate([self.border.transpose(0, 2, 1), own[:, :, None]], axis=2))
        across, alone = inner[:, :, :-1], inner[:, :, -1]
        left = self.shared - np.einsum("asz,azt->st", self.border, across)
        right = shared - np.einsum("asz,az->s", self.border, alone)
        found = np.linalg.solve(left, right)
        return found, alone - across @ found


@dataclass(frozen=True, slots=True, eq=False)
class _Fit:
    """One fold's model: coefficients and the Hessian at them."""

    shared: NDArray[np.float64]
    own: NDArray[np.float64]
    hessian: _Arrow
    offset: float
    logistic: bool

    def mean(self, linear: NDArray[np.float64]) -> NDArray[np.float64]:
        return _logistic(linear) if self.logistic else linear

    def slope(self, mean: NDArray[np.float64]) -> NDArray[np.float64]:
        return mean * (1 - mean) if self.logistic else np.ones_like(mean)

    def logged(self, s: NDArray[np.float64], z: NDArray[np.float64], action: NDArray[np.int64]) -> NDArray[np.float64]:
        return self.mean(self.offset + s @ self.shared + np.einsum("nz,nz->n", z, self.own[action]))

    def all(self, s: NDArray[np.float64], z: NDArray[np.float64]) -> NDArray[np.float64]:
        return self.mean((self.offset + s @ self.shared)[:, np.newaxis] + z @ self.own.T)


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a reward model says of a log under a target policy.

    Attributes:
        logged: (n,) q(x_i, a_i), by the model that has not seen round i.
        expected: (n,) sum_a pi_e(a | x_i) q(x_i, a), likewise.
    """

    logged: NDArray[np.float64]
    expected: NDArray[np.float64]
    _model: RewardModel
    _gradients: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...]

    def influence(self, subtracted: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n,) what each round did, through the fitted coefficients, to mean_i [expected_i - subtracted_i logged_i].

        To first order and times n, so that it adds to the round's own contribution (Huber 1964, of an M-estimator:
        gradient . H^-1 . score). A bootstrap without it would take the model for the truth.
        """
        return self._model.influence(self._gradients, subtracted)


@dataclass(frozen=True, slots=True, eq=False)
class RewardModel:
    """A cross-fitted model of the rewards of one log. Make it with :func:`fit_reward_model`."""

    log: BanditLog
    fold: NDArray[np.int64]
    fits: tuple[_Fit, ...]
    s: NDArray[np.float64]
    z: NDArray[np.float64]
    logged: NDArray[np.float64]

    @property
    def link(self) -> Literal["logistic", "linear"]:
        return "logistic" if self.fits[0].logistic else "linear"

    def predict(self, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(rows), n_actions) q of every action in these rounds of the log."""
        found = np.empty((len(rows), self.log.n_actions))
        for number, fit in enumerate(self.fits):
            here = self.fold[rows] == number
            found[here] = fit.all(self.s[rows[here]], self.z[rows[here]])
        return found

    def under(self, target: Target, *, progress: Progress = no_progress) -> Predictions:
        """Predictions for a target policy. Memory: a bounded number of rounds by actions at a time."""
        n = len(self.log)
        expected = np.empty(n)
        gradients = []
        done = 0
        for number, fit in enumerate(self.fits):
            inside = np.flatnonzero(self.fold == number)
            shared, own = np.zeros_like(fit.shared), np.zeros_like(fit.own)
            for start in range(0, len(inside), CHUNK):
                rows = inside[start : start + CHUNK]
                s, z = self.s[rows], self.z[rows]
                mean, chance = fit.all(s, z), target.probabilities(self.log, rows)
                expected[rows] = np.einsum("na,na->n", chance, mean)
                pull = chance * fit.slope(mean)
                shared += s.T @ pull.sum(axis=1)
                own += pull.T @ z
                done += len(rows)
                progress("predicting rewards", done, n)
            gradients.append((shared, own))
        return Predictions(self.logged, expected, self, tuple(gradients))

    def influence(
        self,
        gradients: tuple[tuple[NDArray[np.float64], NDArray[np.float64]], ...],
        subtracted: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        """See :meth:`Predictions.influence`; ``gradients`` are those of the sum over each fold's rounds."""
        log, total = self.log, np.zeros(len(self.log))
        for number, (fit, (shared, own)) in enumerate(zip(self.fits, gradients, strict=True)):
            inside = self.fold == number
            pull = subtracted[inside] * fit.slope(self.logged[inside])
            taken = np.zeros_like(own)
            np.add.at(taken, log.action[inside], pull[:, np.newaxis] * self.z[inside])
            by_shared, by_own = fit.hessian.solve(shared - self.s[inside].T @ pull, own - taken)
            other = np.flatnonzero(~inside)
            s, z, action = self.s[other], self.z[other], log.action[other]
            score = log.reward[other] - fit.logged(s, z, action)
            moved = (s @ by_shared + np.einsum("nz,nz->n", z, by_own[action])) * score
            # The penalty takes a share of the score's sum away: without it the scores would sum to zero.
            total[other] += moved - moved.mean()
        return total


def fit_reward_model(
    log: BanditLog, config: RewardConfig = RewardConfig(), *, seed: int = 0, progress: Progress = no_progress
) -> RewardModel:
    """Fit q on the log, cross-fitted.

    Args:
        seed: of the split in folds.

    Raises:
        UserError: fewer rounds than folds; the logistic link is asked for and a reward lies outside [0, 1].
    """
    n = len(log)
    if n < config.folds:
        raise UserError(f"the bandit log has {n} rounds, fewer than the {config.folds} folds of the reward model")
    bounded = bool(((log.reward >= 0) & (log.reward <= 1)).all())
    if config.link == "logistic" and not bounded:
        worst = log.reward[np.argmax(np.abs(log.reward - 0.5))]
        raise UserError(f"a reward is {worst}: the logistic reward model takes 0 to 1; choose the linear one")
    logistic = config.link == "logistic" or (config.link == "auto" and bounded)
    s, z = _features(log, config.interactions)
    fold = np.random.default_rng(seed).permutation(n) % config.folds
    fits = []
    logged = np.empty(n)
    for number in range(config.folds):
        progress("fitting the reward model", number, config.folds)
        inside = fold == number
        rest = np.flatnonzero(~inside)
        rest = rest[np.argsort(log.action[rest], kind="stable")]
        fit = _fit(s[rest], z[rest], log.action[rest], log.reward[rest], log.n_actions, config.penalty, logistic)
        logged[inside] = fit.logged(s[inside], z[inside], log.action[inside])
        fits.append(fit)
    progress("fitting the reward model", config.folds, config.folds)
    return RewardModel(log, np.asarray(fold, dtype=np.int64), tuple(fits), s, z, logged)


def _features(log: BanditLog, interactions: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(s (n, .), z (n, .)): shared features, and those with coefficients for each action."""
    one = np.ones((len(log), 1))
    shared, own = [one], [one]
    if log.position is not None and log.n_positions > 1:
        shared.append(np.eye(log.n_positions)[log.position])
    if log.context is not None and log.context.shape[1]:
        spread = log.context.std(axis=0)
        context = (log.context - log.context.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
        shared.append(context)
        if interactions:
            own.append(context)
    return np.hstack(shared), np.hstack(own)


def _fit(
    s: NDArray[np.float64],
    z: NDArray[np.float64],
    action: NDArray[np.int64],
    reward: NDArray[np.float64],
    n_actions: int,
    penalty: float,
    logistic: bool,
) -> _Fit:
    """Newton's method on the penalised likelihood of rounds sorted by action, halving a step that makes it worse."""
    starts = np.searchsorted(action, np.arange(n_actions + 1))
    held = np.full(s.shape[1], penalty)
    held[0] = INTERCEPT_PENALTY
    base = (float(reward.sum()) + 0.5) / (len(reward) + 1)
    offset = float(np.log(base / (1 - base))) if logistic else float(reward.mean())
    shared, own = np.zeros(s.shape[1]), np.zeros((n_actions, z.shape[1]))

    def linear_of(shared: NDArray[np.float64], own: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(offset + s @ shared + np.einsum("nz,nz->n", z, own[action]))

    def loss(shared: NDArray[np.float64], own: NDArray[np.float64]) -> float:
        linear = linear_of(shared, own)
        fitted = (np.logaddexp(0, linear) - reward * linear) if logistic else (reward - linear) ** 2 / 2
        return float(fitted.sum() + (held @ shared**2 + penalty * (own**2).sum()) / 2)

    best = loss(shared, own)
    for _ in range(STEPS):
        linear = linear_of(shared, own)
        mean = _logistic(linear) if logistic else linear
        hessian = _hessian(s, z, mean * (1 - mean) if logistic else np.ones_like(mean), starts, held, penalty)
        rest = reward - mean
        slope = s.T @ rest - held * shared
        pulled = np.zeros_like(own)
        np.add.at(pulled, action, rest[:, np.newaxis] * z)
        step, step_own = hessian.solve(slope, pulled - penalty * own)
        # Newton's decrement: what this step can still win.
        win = float(slope @ step + ((pulled - penalty * own) * step_own).sum())
        if win <= CLOSE * (1 + abs(best)):
            break
        size = 1.0
        while (reached := loss(shared + size * step, own + size * step_own)) > best and size > 1e-6:
            size /= 2
        shared, own, best = shared + size * step, own + size * step_own, min(best, reached)
    return _Fit(shared, own, hessian, offset, logistic)


def _hessian(
    s: NDArray[np.float64],
    z: NDArray[np.float64],
    slope: NDArray[np.float64],
    starts: NDArray[np.int64],
    held: NDArray[np.float64],
    penalty: float,
) -> _Arrow:
    """Of rounds sorted by action; ``starts`` (n_actions + 1,) says where each action's begin."""
    n_actions, width = len(starts) - 1, z.shape[1]
    weighted = s * slope[:, np.newaxis]
    border = np.zeros((n_actions, s.shape[1], width))
    own = np.zeros((n_actions, width, width))
    for action in np.flatnonzero(np.diff(starts)):
        rows = slice(starts[action], starts[action + 1])
        border[action] = weighted[rows].T @ z[rows]
        own[action] = (z[rows] * slope[rows, np.newaxis]).T @ z[rows]
    return _Arrow(weighted.T @ s + np.diag(held), border, own + penalty * np.eye(width))


def _logistic(linear: NDArray[np.float64]) -> NDArray[np.float64]:
    # Either side of 0 by the form that cannot overflow.
    small = np.exp(-np.abs(linear))
    return np.where(linear >= 0, 1 / (1 + small), small / (1 + small))
