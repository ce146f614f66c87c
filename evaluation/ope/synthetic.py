"""Made-up bandit logs whose target's value is known, to test estimators on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .log import BanditLog, MatrixPolicy


@dataclass(frozen=True, slots=True)
class SyntheticConfig:
    """A contextual bandit with clicks."""

    n_rounds: int = 2000
    n_actions: int = 10
    n_features: int = 5
    logging: float = 1.0
    """How much the logging policy follows the true rewards: 0 uniform, negative prefers the worst actions."""
    target: float = 3.0
    """The same of the target policy. The further from ``logging``, the less the two overlap."""
    rate: float = 0.15
    """About the mean reward of a uniform policy, in (0, 1)."""
    crossed: float = 0.5
    """How much of the log-odds of a reward a model without interactions of context and action cannot express."""


@dataclass(frozen=True, slots=True, eq=False)
class World:
    """What stays the same between logs: coefficients of the log-odds of a reward."""

    config: SyntheticConfig
    base: NDArray[np.float64]
    shared: NDArray[np.float64]
    crossed: NDArray[np.float64]

    def reward(self, context: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, n_actions) chance of a reward."""
        linear = self.base + (context @ self.shared)[:, np.newaxis] + context @ self.crossed.T
        return np.asarray(1 / (1 + np.exp(-linear)))

    def policy(self, context: NDArray[np.float64], strength: float) -> NDArray[np.float64]:
        """(n, n_actions) softmax of ``strength`` times the log-odds."""
        chance = self.reward(context)
        linear = strength * np.log(chance / (1 - chance))
        raised = np.exp(linear - linear.max(axis=1, keepdims=True))
        return np.asarray(raised / raised.sum(axis=1, keepdims=True))

    def value(self, *, n: int = 400_000, seed: int = 0) -> float:
        """The target policy's mean reward, with chances in place of draws over ``n`` fresh contexts."""
        rng = np.random.default_rng([seed, 1])
        total = 0.0
        for start in range(0, n, 50_000):
            context = rng.normal(size=(min(50_000, n - start), self.config.n_features))
            total += float((self.policy(context, self.config.target) * self.reward(context)).sum())
        return total / n

    def log(self, *, seed: int) -> Synthetic:
        """A fresh log of the logging policy."""
        config = self.config
        rng = np.random.default_rng([seed, 2])
        context = rng.normal(size=(config.n_rounds, config.n_features))
        reward, logging = self.reward(context), self.policy(context, config.logging)
        drawn = rng.random((config.n_rounds, 1)) > np.cumsum(logging, axis=1)
        action = np.minimum(drawn.sum(axis=1), config.n_actions - 1)
        rows = np.arange(config.n_rounds)
        clicked = (rng.random(config.n_rounds) < reward[rows, action]).astype(np.float64)
        log = BanditLog(action, clicked, config.n_actions, logging[rows, action], context)
        return Synthetic(log, MatrixPolicy(self.policy(context, config.target)), reward)


@dataclass(frozen=True, slots=True, eq=False)
class Synthetic:
    """A log, the target on it, and the true chances of a reward (n, n_actions)."""

    log: BanditLog
    target: MatrixPolicy
    reward: NDArray[np.float64]


def make_world(config: SyntheticConfig = SyntheticConfig(), *, seed: int = 0) -> World:
    """A world drawn from a seed."""
    rng = np.random.default_rng([seed, 0])
    base = np.log(config.rate / (1 - config.rate)) + 0.6 * rng.normal(size=config.n_actions)
    shared = 0.5 * rng.normal(size=config.n_features) / np.sqrt(config.n_features)
    crossed = config.crossed * rng.normal(size=(config.n_actions, config.n_features)) / np.sqrt(config.n_features)
    return World(config, base, shared, crossed)
