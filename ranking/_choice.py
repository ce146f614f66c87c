"""The conditional logit by which the weights of the fused model are learned."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers of a learning step worked on at once.
_AT_ONCE = 1 << 17


class Choice:
    """A conditional logit over padded rows of compared items.

    Args:
        features: (q, c, p) float32. users: (q,) f. items: (q, c, 2) g. stands_for: (q, c) how many items each stands
            for, 0 where padded.
        targets: (q,) place of what was chosen. ridge: cost of a squared weight.
    """

    def __init__(
        self,
        features: NDArray[np.float32],
        users: NDArray[np.float32],
        items: NDArray[np.float32],
        stands_for: NDArray[np.float32],
        targets: NDArray[np.int64],
        ridge: float,
    ) -> None:
        self.features, self.users, self.items = features, users, items
        self.targets, self.ridge = targets, ridge
        with np.errstate(divide="ignore"):
            self.offsets = np.log(stands_for)
        self.parts = features.shape[2]

    def fit(self) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        from scipy.optimize import minimize

        p = self.parts
        start = np.concatenate([np.full(p, 1.0 / p), np.zeros(3 * p + 2)])
        found = minimize(self.loss, start, jac=True, method="L-BFGS-B", options={"maxiter": 200}).x
        return found[:p], found[p : 2 * p], found[2 * p : 4 * p].reshape(2, p), found[4 * p :]

    def loss(self, theta: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Mean negative log-likelihood with its ridge, and the gradient."""
        # A few queries at a time: what is made of them stays in the cache.
        step = max(1, _AT_ONCE // max(self.features[0].size, 1)) if len(self.features) else 1
        likelihood, gradient = 0.0, np.zeros(len(theta))
        for start in range(0, len(self.features), step):
            of_part, slope = self._likelihood(slice(start, start + step), theta.astype(np.float32))
            likelihood += of_part
            gradient -= slope
        queries = max(len(self.features), 1)
        loss = -likelihood / queries + self.ridge * float((theta**2).sum())
        return loss, gradient / queries + 2 * self.ridge * theta

    def _likelihood(self, part: slice, weights: NDArray[np.float32]) -> tuple[float, NDArray[np.float64]]:
        """The sum of the log-likelihoods of some queries, and its gradient."""
        p, x, g, users = self.parts, self.features[part], self.items[part], self.users[part, None]
        flat = x.reshape(-1, p)
        plain, by_user, first, second = (flat @ weights[: 4 * p].reshape(4, p).T).T.reshape(4, *x.shape[:2])
        scores = plain + users * by_user + g[:, :, 0] * first + g[:, :, 1] * second + g @ weights[4 * p :]
        scores = (scores + self.offsets[part]).astype(np.float64)
        scores -= scores.max(axis=1, keepdims=True)
        odds = np.exp(scores)
        total = odds.sum(axis=1)
        at, targets = np.arange(len(scores)), self.targets[part]
        rest = (-odds / total[:, None]).astype(np.float32)
        rest[at, targets] += 1
        gated = np.stack([rest, users * rest, g[:, :, 0] * rest, g[:, :, 1] * rest]).reshape(4, -1)
        slope = np.concatenate([(gated @ flat).ravel(), gated[0] @ g.reshape(-1, 2)])
        return float((scores[at, targets] - np.log(total)).sum()), slope.astype(np.float64)
