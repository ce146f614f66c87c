"""The causal report of a build."""

from __future__ import annotations

from typing import Any

import polars as pl

from ..catalog.readers.raw import Progress, no_progress
from .design import MAX_EVENTS, NotEstimable, events_of
from .estimate import ESTIMATOR, backdoor, estimate, naive
from .graph import POPULARITY
from .refute import refutations
from .report import BiasReport

ASSUMPTIONS = (
    "what makes an item good, and a user lenient, stays the same over the log",
    "among an item's ratings, those who come early suit it as well as those who come late, but for what the users' "
    "activity and the item's age explain",
    "each doubling of popularity does as much as the one before",
    "it speaks of what was rated: what was never shown or chosen is not in the log",
)


def estimate_bias(
    interactions: pl.DataFrame,
    *,
    seed: int = 0,
    simulated: bool = False,
    max_events: int = MAX_EVENTS,
    progress: Progress = no_progress,
) -> BiasReport:
    """Estimate what popularity does to ratings, and try to refute it.

    Poor data is no error: the report then says "not estimated", and why.

    Args:
        interactions: columns ``user``, ``item`` (whole numbers), ``value`` (rating or null) and ``time`` (Unix seconds
            or null), as `Interactions.frame` gives them; others are ignored.
        seed: of sampling and refutations; the same log and seed give the same report.
        simulated: the log is made up: the report says so.
        max_events: events used at most (whole users drawn at random).
        progress: told of the steps.
    """
    common: dict[str, Any] = {
        "question": POPULARITY.question,
        "treatment": "log2(1 + earlier interactions with the item)",
        "outcome": "rating",
        "unit": _unit(interactions),
        "estimator": ESTIMATOR,
        "n_log": interactions.height,
        "simulated": simulated,
        "seed": seed,
        "graph": POPULARITY.as_mermaid(),
    }
    try:
        progress("counting what came before each event", 0)
        events = events_of(interactions, seed=seed, limit=max_events)
        common |= {"n": len(events), "n_users": events.n_users, "n_items": events.n_items}
        unadjusted = naive(events)
        found = estimate(events)
        tried = refutations(events, found, seed=seed, progress=progress)
    except NotEstimable as reason:
        return BiasReport(verdict="not estimated", reason=str(reason), **common)
    sound = all(refutation.passed for refutation in tried)
    return BiasReport(
        verdict="estimated",
        estimate=found.value,
        interval=found.interval,
        naive=unadjusted.value,
        naive_interval=unadjusted.interval,
        adjusted_for=backdoor(events),
        assumptions=ASSUMPTIONS,
        refutations=tuple(tried),
        strength=max(0.0, found.interval[0]) if sound else 0.0,
        **common,
    )


def _unit(interactions: pl.DataFrame) -> str:
    """Ratings that lie in 0 to 5 are called stars."""
    rated = interactions["value"].cast(pl.Float64).drop_nulls().drop_nans()
    if len(rated) and rated.min() >= 0 and 2 < rated.max() <= 5:  # type: ignore[operator]
        return "stars"
    return "points"
