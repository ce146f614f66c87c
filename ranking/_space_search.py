"""Which noise, drift and views of the fused space rank best what validation users did later (see :mod:`.space`)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..profiles.posterior import Prior, weights_of
from ._space_content import fit_content
from ._space_faces import Faces, blended, prior_of, with_popularity
from .log import Log

if TYPE_CHECKING:
    from .space import SpaceConfig

_K = 10


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a space is made with; ``learned_on`` users, 0 where nothing was searched."""

    noise: float
    keep: float
    shrink: float
    views: Mapping[str, float]
    learned_on: int = 0
    ndcg: float | None = None


@dataclass(frozen=True, eq=False)
class _Asked:
    """Validation users.

    Attributes:
        early: rows of each one's first events, at most ``window``.
        targets, allowed: (b, n_items) bool; items of the early events are never allowed, whatever was told.
    """

    early: Sequence[NDArray[np.int64]]
    targets: NDArray[np.bool_]
    allowed: NDArray[np.bool_]


def search(
    log: Log,
    users: NDArray[np.int64],
    hidden: NDArray[np.bool_],
    faces: Faces,
    counts: NDArray[np.int64],
    features: Mapping[str, NDArray[np.float32]],
    window: int,
    config: SpaceConfig,
    default: Chosen,
) -> Chosen:
    """One thing after the other: noise and drift together, each view by the hidden items alone, then the shrinkage.

    Args:
        log: the whole log. users: for validation. hidden: (n_items,).
        faces: fitted without those users and items; counts: (n_items,) of what they were fitted on.
        features: by view. window: events of a user that count as early.
        config: what is tried. default: where it starts.
    """
    warm, cold = _asked(log, users, window, ~hidden), _asked(log, users, window, hidden)
    known = sorted({min(count, window) for count in config.known})

    def later(one: Chosen) -> float:
        content = fit_content(faces, counts, features, one.views)
        said, asked, popular = blended(faces, content, counts, one.shrink)
        vectors = with_popularity(asked, popular).astype(np.float64)
        observed = with_popularity(said, faces.share).astype(np.float64)
        return float(np.mean([_ndcg(_tastes(faces, observed, one, warm, n) @ vectors.T, warm) for n in known]))

    plain = replace(default, views={})
    best = max((replace(plain, noise=n, keep=k) for n in config.noises for k in config.keeps), key=later)
    best = replace(best, views=default.views)
    if features:
        best = _weighed(best, faces, counts, features, cold, window, config)
        best = max((replace(best, shrink=shrink) for shrink in config.shrinks), key=later)
    return replace(best, learned_on=len(users), ndcg=round(later(best), 4))


def _weighed(
    start: Chosen,
    faces: Faces,
    counts: NDArray[np.int64],
    features: Mapping[str, NDArray[np.float32]],
    cold: _Asked,
    window: int,
    config: SpaceConfig,
) -> Chosen:
    """Each view in turn believed as far as ranks the hidden items best among themselves."""
    observed = with_popularity(faces.said, faces.share).astype(np.float64)
    tastes = _tastes(faces, observed, start, cold, window)

    def hidden(one: Chosen) -> float:
        content = fit_content(faces, counts, features, one.views)
        if content is None:
            return 0.0
        return _ndcg(tastes @ with_popularity(content.asked, content.later).T.astype(np.float64), cold)

    best = start
    for view in features:
        best = max((replace(best, views={**best.views, view: weight}) for weight in config.views), key=hidden)
    return best


def _asked(log: Log, users: NDArray[np.int64], window: int, among: NDArray[np.bool_]) -> _Asked:
    targets = np.zeros((len(users), log.n_items), dtype=np.bool_)
    allowed = np.tile(among, (len(users), 1))
    early = []
    for at, user in enumerate(users.tolist()):
        rows = log.items[log.of_user(user)].astype(np.int64)
        early.append(rows[:window])
        targets[at, rows[window:]] = True
        allowed[at, rows[:window]] = False
    return _Asked(early, targets & allowed, allowed)


def _tastes(faces: Faces, said: NDArray[np.float64], one: Chosen, asked: _Asked, count: int) -> NDArray[np.float64]:
    """(b, d): the posterior mean of each user after ``count`` events."""
    mean, variance = prior_of(faces)
    prior = Prior(mean, np.diag(variance), one.keep)
    noise = faces.noise(one.noise)
    found = np.tile(mean, (len(asked.early), 1))
    for at, early in enumerate(asked.early):
        rows = early[:count]
        times = np.arange(len(rows), dtype=np.float64)
        amounts = weights_of(prior, said[rows], np.ones(len(rows)), 1 / noise[rows], times)
        found[at] += (amounts @ said[rows]) * variance
    return found


def _ndcg(scores: NDArray[np.float64], asked: _Asked) -> float:
    """Mean NDCG at 10 of those who have a target; 0 where nobody has."""
    some = asked.targets.any(axis=1)
    if not some.any():
        return 0.0
    values = np.where(asked.allowed, scores, -np.inf)[some]
    order = _best(values)
    gains = 1 / np.log2(np.arange(2, order.shape[1] + 2))
    found = np.take_along_axis(asked.targets[some], order, axis=1) @ gains
    ideal = np.cumsum(gains)[np.minimum(asked.targets[some].sum(axis=1), len(gains)) - 1]
    return float((found / ideal).mean())


def _best(values: NDArray[np.float64]) -> NDArray[np.int64]:
    """(b, 10), or as many columns as there are: the places of each row's highest values, best first."""
    if values.shape[1] > _K:
        # Sorting whole rows would take most of the search.
        places = np.sort(np.argpartition(-values, _K - 1, axis=1)[:, :_K], axis=1)
    else:
        places = np.tile(np.arange(values.shape[1]), (len(values), 1))
    order = np.argsort(-np.take_along_axis(values, places, axis=1), axis=1, kind="stable")
    return np.take_along_axis(places, order, axis=1)
