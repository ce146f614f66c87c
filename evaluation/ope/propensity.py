"""Probabilities where a log does not hold them: of what was chosen, and of another policy as a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .log import SUM_TOLERANCE, BanditLog, TablePolicy

#: Added to every count before shares are taken (Krichevsky & Trofimov 1981): an action the log never shows keeps a
#: small chance, and with hundreds of rounds a position it moves nothing.
SMOOTHING = 0.5


def shown_shares(log: BanditLog, smoothing: float = SMOOTHING) -> NDArray[np.float64]:
    """(n_positions, n_actions) how often each action was taken at each position; rows sum to 1.

        p(a | k) = (count of a at k + s) / (rounds at k + s * n_actions)

    It estimates the policy's chance of a at k averaged over rounds. (The mean of the *recorded* chances of the rounds
    in which a was taken does not: rounds with a large chance are taken more often, so it is E[pi^2] / E[pi].)
    """
    counts = log.counts() + smoothing
    total = counts.sum(axis=1, keepdims=True)
    uniform = np.full_like(counts, 1 / log.n_actions, dtype=np.float64)
    np.divide(counts, total, out=uniform, where=total > 0)
    return uniform


def model_propensities(log: BanditLog, smoothing: float = SMOOTHING) -> BanditLog:
    """The log with propensities estimated from itself as means per action and position, marked ``modelled``.

    Right when the policy looked at nothing but the position; a policy that looked at the context makes every estimate
    that uses them wrong, which nothing in the log can tell.
    """
    shares = shown_shares(log, smoothing)
    return log.with_propensity(shares[log.slots, log.action], modelled=True)


@dataclass(frozen=True, slots=True, eq=False)
class EstimatedPolicy:
    """A policy as a table, from its own log.

    Attributes:
        policy: the table.
        source: ``recorded``: the log's propensities are one number for each action and position and sum to 1, so the
            table is the policy itself; ``shown``: how often each action was taken, smoothed.
    """

    policy: TablePolicy
    source: Literal["recorded", "shown"]


def table_of(log: BanditLog, smoothing: float = SMOOTHING) -> EstimatedPolicy:
    """The policy that made a log, as chances per action and position. See :class:`EstimatedPolicy`."""
    recorded = _recorded(log)
    if recorded is not None:
        return EstimatedPolicy(TablePolicy(recorded), "recorded")
    return EstimatedPolicy(TablePolicy(shown_shares(log, smoothing)), "shown")


def _recorded(log: BanditLog) -> NDArray[np.float64] | None:
    """The recorded propensities as a table, None where they are not one number a cell or do not sum to 1."""
    if log.propensity is None or log.modelled:
        return None
    cell = log.slots * log.n_actions + log.action
    lowest = np.full(log.n_positions * log.n_actions, np.inf)
    highest = np.zeros(log.n_positions * log.n_actions)
    np.minimum.at(lowest, cell, log.propensity)
    np.maximum.at(highest, cell, log.propensity)
    taken = highest > 0
    if (highest[taken] - lowest[taken] > SUM_TOLERANCE).any():
        return None
    table = highest.reshape(log.n_positions, log.n_actions)
    sums = table.sum(axis=1)
    # Actions with a chance that the log never shows leave the sum below 1.
    return table / sums[:, np.newaxis] if (np.abs(sums - 1) <= SUM_TOLERANCE).all() else None
