"""A bandit log: what one policy did, with what chance, and what came of it; and policies to value on it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError

#: How far the probabilities of one round may be from a sum of 1.
SUM_TOLERANCE = 1e-6


@dataclass(frozen=True, slots=True, eq=False)
class BanditLog:
    """Rounds in which a policy chose one of ``n_actions`` and saw a reward.

    Attributes:
        action: (n,) int64 in [0, n_actions), what was chosen.
        reward: (n,) float64, what came of it (a click is 1).
        n_actions: actions there were to choose from, the same in every round.
        propensity: (n,) float64 in (0, 1], the chance with which the logging policy chose what it chose;
            None where it was not recorded (:func:`..propensity.model_propensities` estimates it).
        context: (n, p) float64 or None, what was known before choosing.
        position: (n,) int64 in [0, n_positions) or None, the slot that was filled.
        n_positions: slots there are; 1 without ``position``.
        modelled: the propensities were estimated from this log, not recorded by the policy.

    Raises:
        UserError: arrays of different lengths, an empty log, an action or position out of range, a reward or context
            that is no finite number, a propensity outside (0, 1].
    """

    action: NDArray[np.int64]
    reward: NDArray[np.float64]
    n_actions: int
    propensity: NDArray[np.float64] | None = None
    context: NDArray[np.float64] | None = None
    position: NDArray[np.int64] | None = None
    n_positions: int = 1
    modelled: bool = False

    def __post_init__(self) -> None:
        n = len(self.action)
        if n == 0:
            raise UserError("the bandit log has no rounds: nothing can be valued on it")
        for name in ("reward", "propensity", "context", "position"):
            values = getattr(self, name)
            if values is not None and len(values) != n:
                raise UserError(f"the bandit log has {n} actions but {len(values)} of {name}: give one for each round")
        _check("action", self.action, (self.action >= 0) & (self.action < self.n_actions), f"0 to {self.n_actions - 1}")
        _check("reward", self.reward, np.isfinite(self.reward), "a finite number")
        if self.propensity is not None:
            chance = (self.propensity > 0) & (self.propensity <= 1)
            _check("propensity", self.propensity, chance, "above 0 and at most 1 (the chance of the action taken)")
        if self.context is not None:
            if self.context.ndim != 2:
                raise UserError(
                    f"the context has shape {self.context.shape}: a table of rounds by features is expected"
                )
            finite = np.asarray(np.isfinite(self.context).all(axis=1), dtype=np.bool_)
            _check("context", self.context, finite, "finite numbers")
        if self.position is not None:
            within = (self.position >= 0) & (self.position < self.n_positions)
            _check("position", self.position, within, f"0 to {self.n_positions - 1}")

    def __len__(self) -> int:
        return len(self.action)

    @property
    def slots(self) -> NDArray[np.int64]:
        """(n,) the position of each round; 0 for all where the log has none."""
        return np.zeros(len(self), dtype=np.int64) if self.position is None else self.position

    def counts(self) -> NDArray[np.int64]:
        """(n_positions, n_actions) how often each action was taken at each position."""
        cell = self.slots * self.n_actions + self.action
        found = np.bincount(cell, minlength=self.n_positions * self.n_actions)
        return np.asarray(found, dtype=np.int64).reshape(self.n_positions, self.n_actions)

    def with_propensity(self, propensity: NDArray[np.float64], *, modelled: bool) -> BanditLog:
        """The same rounds with other propensities."""
        return replace(self, propensity=propensity, modelled=modelled)


def _check(name: str, values: NDArray[np.generic], good: NDArray[np.bool_], expected: str) -> None:
    if not good.all():
        first = int(np.argmin(good))
        raise UserError(
            f"{name} of round {first} is {values[first]}, and {int((~good).sum())} in all are wrong: "
            f"expected {expected}; correct or leave out these rounds"
        )


class Target(Protocol):
    """A policy whose value is asked for."""

    def probabilities(self, log: BanditLog, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        """(len(rows), n_actions) the chance of each action in these rounds of the log; every row sums to 1."""


@dataclass(frozen=True, slots=True, eq=False)
class TablePolicy:
    """A policy that looks at the position alone. ``table``: (n_positions, n_actions), rows sum to 1."""

    table: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_probabilities(self.table)

    def probabilities(self, log: BanditLog, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        if self.table.shape != (log.n_positions, log.n_actions):
            raise UserError(
                f"the policy's table is for {self.table.shape[0]} positions and {self.table.shape[1]} actions, the log "
                f"has {log.n_positions} and {log.n_actions}: value it on a log of the same campaign"
            )
        return self.table[log.slots[rows]]


@dataclass(frozen=True, slots=True, eq=False)
class MatrixPolicy:
    """A policy given as its probabilities in every round. ``matrix``: (n, n_actions), rows sum to 1."""

    matrix: NDArray[np.float64]

    def __post_init__(self) -> None:
        _check_probabilities(self.matrix)

    def probabilities(self, log: BanditLog, rows: NDArray[np.int64]) -> NDArray[np.float64]:
        if self.matrix.shape != (len(log), log.n_actions):
            raise UserError(
                f"the policy's probabilities have shape {self.matrix.shape}, the log has {len(log)} rounds and "
                f"{log.n_actions} actions: give one row a round and one column an action"
            )
        return self.matrix[rows]


def _check_probabilities(matrix: NDArray[np.float64]) -> None:
    if matrix.ndim != 2:
        raise UserError(f"probabilities have shape {matrix.shape}: a table with one column an action is expected")
    good = (matrix >= 0).all(axis=1) & (np.abs(matrix.sum(axis=1) - 1) <= SUM_TOLERANCE)
    if not good.all():
        first = int(np.argmin(good))
        raise UserError(
            f"row {first} of the policy's probabilities sums to {matrix[first].sum():.6g} with a smallest of "
            f"{matrix[first].min():.3g}: give chances of at least 0 that sum to 1"
        )
