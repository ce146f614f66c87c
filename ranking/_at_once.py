"""A user's state from all observations at once, where a fold takes a step for each of a long past."""

from __future__ import annotations

import numpy as np

from ..profiles.posterior import Posterior, Prior, Vector


def at_once(
    prior: Prior, vectors: Vector, targets: Vector, precisions: Vector, times: Vector, *, now: float
) -> Posterior:
    """What :func:`..profiles.posterior.fold` makes of observations that have a time, up to rounding.

    With K_ij = keep^|t_i - t_j| v_i . S v_j the covariance of what was looked at, G_j = keep^(now - t_j) S v_j that of
    what was looked at with the taste now, R the noise and r the targets less what the prior expects of them,

        mean = m0 + G^T (K + R)^-1 r,    covariance = S - G^T (K + R)^-1 G
                                              (Rasmussen & Williams 2006, equations 2.23 and 2.24)

    O(m^2 d + m^3) for m observations, in a few large products: for the some hundred that a drift remembers a tenth of
    the time of as many steps. Without drift and for m above d, the d x d precision of the taste is inverted in place of
    it.

    Args:
        vectors: (m, d). targets, precisions, times: (m,).
        now: the time asked about, not before the latest.
    """
    if len(targets) == 0:
        return Posterior.of(prior)
    rest = targets - vectors @ prior.mean
    if prior.keep == 1 and len(targets) > prior.d:
        looked = (vectors * precisions[:, None]).T
        covariance = np.linalg.inv(np.linalg.inv(prior.covariance) + looked @ vectors)
        gain = covariance @ (looked @ rest)
    else:
        fading = np.log(prior.keep)
        along = vectors @ prior.covariance
        among = along @ vectors.T * np.exp(fading * np.abs(times[:, None] - times))
        among[np.diag_indices(len(targets))] += 1 / precisions
        along *= np.exp(fading * (now - times))[:, None]
        solved = np.linalg.solve(among, np.concatenate([along, rest[:, None]], axis=1))
        covariance = prior.covariance - along.T @ solved[:, :-1]
        gain = along.T @ solved[:, -1]
    return Posterior(prior, prior.mean + gain, (covariance + covariance.T) / 2, now)
