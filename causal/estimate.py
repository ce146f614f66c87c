"""The effect of popularity on the next rating: identified and estimated by DoWhy, with an interval by clusters."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .design import Events, NotEstimable, Real, held_fixed
from .graph import POPULARITY, CausalGraph

#: Nodes held fixed by comparing events of one item, and of one user, with each other.
HELD = ("item", "user")
ESTIMATOR = (
    "DoWhy backdoor.linear_regression, item and user held fixed; 95 % interval by clusters of users and of items"
)
#: Of a column's variance, what must be left: less is a matter of rounding.
_LEAST_SHARE = 1e-6


@dataclass(frozen=True, slots=True)
class Effect:
    """A slope: change of the rating for each doubling of popularity, in the ratings' unit.

    Attributes:
        value: the slope.
        error: its standard error.
        interval: 95 %, from the t distribution.
    """

    value: float
    error: float
    interval: tuple[float, float]


def causes(events: Events) -> dict[str, Real]:
    """The columns of the graph's observed nodes, item and user apart."""
    activity = np.log1p(events.activity)
    return {
        "popularity": events.doublings,
        "rating": events.rating,
        "activity": activity,
        "activity_squared": activity**2,
        "item_age": events.item_age,
    }


def backdoor(events: Events, graph: CausalGraph = POPULARITY) -> tuple[str, ...]:
    """What has to be adjusted for: DoWhy's identification in the whole graph, sorted.

    Raises:
        NotEstimable: no set of observed nodes closes every back door.
    """
    columns = {**causes(events), "item": events.item, "user": events.user}
    _, estimand = _identified(columns, graph)
    return tuple(sorted(estimand.get_backdoor_variables()))


def estimate(events: Events, columns: Mapping[str, Real] | None = None, graph: CausalGraph = POPULARITY) -> Effect:
    """The effect of a doubling of popularity, adjusted for what the graph asks for.

    Item and user are held fixed by taking their means off every column; in the graph among such events a new DoWhy
    model identifies and estimates. The standard error is that of the same regression, robust to clusters by user and
    by item at once (Cameron, Gelbach and Miller 2011, "Robust Inference With Multiway Clustering", eq. 2.11).

    Args:
        events: the events.
        columns: `causes` of them, or a perturbed copy, one for each observed column of ``graph`` but item and user.
        graph: the whole graph.

    Raises:
        NotEstimable: popularity does not vary once the rest is held fixed, or the effect cannot be identified.
    """
    columns = causes(events) if columns is None else columns
    fixed = held_fixed(events, columns)
    popularity, rating = fixed["popularity"], fixed["rating"]
    others = np.column_stack([column for name, column in fixed.items() if name not in ("popularity", "rating")])
    rest = _residual(popularity, others)
    if rest.var() <= _LEAST_SHARE * columns["popularity"].var():
        raise NotEstimable("popularity does not vary apart from the item, the user, their activity and time")
    if rating.var() <= _LEAST_SHARE * columns["rating"].var():
        raise NotEstimable("ratings do not vary apart from the item and the user")
    model, estimand = _identified(fixed, graph.held(HELD))
    with _quiet():
        found = model.estimate_effect(
            estimand, method_name="backdoor.linear_regression", test_significance=False, confidence_intervals=False
        )
    return _effect(float(found.value), rest, _residual(rating, np.column_stack([popularity, others])), events)


def naive(events: Events) -> Effect:
    """The slope of rating on popularity with nothing adjusted for: what the log seems to say.

    Raises:
        NotEstimable: popularity does not vary.
    """
    if np.ptp(events.doublings) == 0:
        raise NotEstimable("popularity does not vary: no event comes after another of its item")
    popularity = events.doublings - events.doublings.mean()
    rating = events.rating - events.rating.mean()
    value = float(popularity @ rating / (popularity @ popularity))
    return _effect(value, popularity, rating - value * popularity, events)


def _residual(column: Real, others: Real) -> Real:
    """What a linear combination of the other columns leaves of a column."""
    # Columns of one size keep the least-squares solution accurate.
    scaled = others / np.maximum(others.std(axis=0), 1e-300)
    return np.asarray(column - scaled @ np.linalg.lstsq(scaled, column, rcond=None)[0], dtype=np.float64)


def _effect(value: float, rest: Real, residual: Real, events: Events) -> Effect:
    """Interval of a slope from each event's part in its error."""
    from scipy.stats import t

    part = rest * residual / (rest @ rest)
    pair = np.unique(events.user * events.n_items + events.item, return_inverse=True)[1]
    variance = _between(part, events.user) + _between(part, events.item) - _between(part, pair)
    # The difference can be negative by chance in small logs; either way of clustering alone is then the safer one.
    variance = max(variance, _between(part, events.user), _between(part, events.item))
    error = float(np.sqrt(variance))
    reach = float(t.ppf(0.975, min(events.n_users, events.n_items) - 1)) * error
    return Effect(value, error, (value - reach, value + reach))


def _between(part: Real, cluster: NDArray[np.int64]) -> float:
    sums = np.bincount(cluster, part)
    return float(sums @ sums) * len(sums) / (len(sums) - 1)


def _identified(columns: Mapping[str, NDArray[Any]], graph: CausalGraph) -> tuple[Any, Any]:
    """A new DoWhy model and its estimand."""
    import pandas as pd

    with _quiet():
        from dowhy import CausalModel

        model = CausalModel(
            data=pd.DataFrame({name: columns[name] for name in graph.observed}),
            treatment=graph.treatment,
            outcome=graph.outcome,
            graph=graph.to_networkx(),
        )
        estimand = model.identify_effect(proceed_when_unidentifiable=False)
    if estimand.estimands.get("backdoor") is None:
        raise NotEstimable("the causal graph leaves a back door open that the log cannot close")
    return model, estimand


@contextmanager
def _quiet() -> Iterator[None]:
    """Without DoWhy's remarks that the graph holds unobserved nodes: it is meant to."""
    logger = logging.getLogger("dowhy")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=".*assumed unobserved.*")
            yield
    finally:
        logger.setLevel(level)
