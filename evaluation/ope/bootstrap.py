"""Bootstrap over rounds: bias-corrected and accelerated intervals (BCa, Efron 1987), one set of resamples for all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

from ...catalog.readers.raw import Progress, no_progress
from .estimators import Parts

RESAMPLES = 2000
LEVEL = 0.95
#: A bootstrap draws at most this many things: rounds, or groups of neighbouring rounds in a longer log.
GROUPS = 50_000
#: Counts of a bootstrap in memory at a time.
_BLOCK = 4_000_000


def on_policy(
    reward: NDArray[np.float64],
    *,
    level: float = LEVEL,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> tuple[float, tuple[float, float] | None]:
    """Mean reward of a policy's own log and its interval (None where all rewards are equal)."""
    n = len(reward)
    parts = Parts(reward, np.zeros(n), np.ones(n), None)
    return float(reward.mean()), intervals([parts], level=level, resamples=resamples, seed=seed)[0]


def intervals(
    parts: Sequence[Parts], *, level: float, resamples: int, seed: int, progress: Progress = no_progress
) -> list[tuple[float, float] | None]:
    """BCa intervals of several estimates of the same rounds; None where the rounds do not differ or hardly any counts.

    With theta = mean(a) + sum(b) / sum(d), influence values u_i = a_i - mean(a) + (b_i - rho d_i) / mean(d),
    rho = sum(b) / sum(d); the acceleration is sum u^3 / (6 (sum u^2)^1.5) and the bias correction the normal quantile
    of the share of resamples below theta (Efron & Tibshirani 1993, section 14.3, with influence values for the
    jackknife's).
    """
    if not parts:
        return []
    draws = _bootstrap(parts, resamples, seed, progress)
    found: list[tuple[float, float] | None] = []
    for part, values in zip(parts, draws.T, strict=True):
        bottom = float(part.bottom.mean())
        if not bottom > 0 or not np.isfinite(values).all():
            found.append(None)
            continue
        ratio = float(part.top.mean()) / bottom
        influence = part.direct - part.direct.mean() + (part.top - ratio * part.bottom) / bottom
        spread = float(np.sqrt((influence**2).mean()))
        if spread <= 1e-12 * (1 + abs(part.value)):
            found.append(None)
            continue
        found.append(_bca(values, part.value, influence / spread, level))
    return found


def _bca(
    values: NDArray[np.float64], value: float, influence: NDArray[np.float64], level: float
) -> tuple[float, float]:
    below = (np.count_nonzero(values < value) + np.count_nonzero(values == value) / 2) / len(values)
    # All resamples on one side happens with few rounds that matter: an infinite correction would say nothing.
    edge = 0.5 / len(values)
    shift = float(ndtri(np.clip(below, edge, 1 - edge)))
    acceleration = float((influence**3).sum() / (6 * (influence**2).sum() ** 1.5))
    tails = ndtri(np.array([(1 - level) / 2, (1 + level) / 2]))
    leaned = shift + tails
    shares = ndtr(shift + leaned / np.maximum(1 - acceleration * leaned, 1e-3))
    low, high = np.quantile(values, shares)
    return float(low), float(high)


def _bootstrap(parts: Sequence[Parts], resamples: int, seed: int, progress: Progress) -> NDArray[np.float64]:
    """(resamples, len(parts)) values. Memory: a bounded number of resampled counts at a time."""
    n = len(parts[0].direct)
    rng = np.random.default_rng(seed)
    # A resample of very many rounds takes them in groups of neighbours: the sums vary alike.
    starts = np.linspace(0, n, min(n, GROUPS), endpoint=False).astype(np.int64)
    groups = len(starts)
    sizes = np.diff(np.append(starts, n)).astype(np.float64)
    columns = np.column_stack(
        [sizes, *(np.add.reduceat(column, starts) for p in parts for column in (p.direct, p.top, p.bottom))]
    )
    block = max(1, _BLOCK // groups)
    sums = np.empty((resamples, columns.shape[1]))
    for start in range(0, resamples, block):
        size = min(block, resamples - start)
        drawn = rng.integers(groups, size=(size, groups)) + groups * np.arange(size)[:, np.newaxis]
        counts = np.bincount(drawn.ravel(), minlength=size * groups).reshape(size, groups)
        sums[start : start + size] = counts @ columns
        progress("resampling", start + size, resamples)
    rounds, direct, top, bottom = sums[:, :1], sums[:, 1::3], sums[:, 2::3], sums[:, 3::3]
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(direct / rounds + top / bottom)
