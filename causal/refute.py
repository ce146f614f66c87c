"""Attempts to break the estimate. Each perturbs the data, builds a new model, identifies and estimates again.

DoWhy's own ``refute_estimate`` is not used: on a fitted estimator it can reuse what was fitted (py-why/dowhy #1728).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..catalog.readers.raw import Progress, no_progress
from .design import Events
from .estimate import Effect, causes, estimate
from .graph import POPULARITY, Node
from .report import Refutation

#: New data sets for each refutation; the mean of their effects is judged.
ROUNDS = 10
#: Share of the users in a subset.
SUBSET = 0.8


def refutations(events: Events, found: Effect, *, seed: int, progress: Progress = no_progress) -> list[Refutation]:
    """Every refutation of an estimate.

    Args:
        events: what was estimated on.
        found: the estimate.
        seed: of all chance.
        progress: told of rounds.

    Raises:
        NotEstimable: a perturbed data set cannot be estimated on.
    """
    chance = np.random.default_rng(seed)
    done = 0

    def mean_of(once: Callable[[Events, np.random.Generator], float]) -> float:
        nonlocal done
        effects = []
        for _ in range(ROUNDS):
            effects.append(once(events, chance))
            done += 1
            progress("refuting the causal estimate", done, 3 * ROUNDS)
        return float(np.mean(effects))

    placebo, cause, subset = mean_of(_placebo), mean_of(_random_cause), mean_of(_subset)
    return [
        Refutation(
            name="placebo treatment",
            effect=placebo,
            expected=0.0,
            passed=abs(placebo) <= found.error,
            note="popularity shuffled among the events of each item; passes within one standard error of 0",
        ),
        Refutation(
            name="random common cause",
            effect=cause,
            expected=found.value,
            passed=abs(cause - found.value) <= 0.2 * found.error,
            note="a random number adjusted for as well; passes within 0.2 standard errors of the estimate",
        ),
        Refutation(
            name="subset of users",
            effect=subset,
            expected=found.value,
            passed=abs(subset - found.value) <= found.error,
            note=f"{SUBSET:.0%} of the users, drawn anew each time; passes within one standard error of the estimate",
        ),
    ]


def _placebo(events: Events, chance: np.random.Generator) -> float:
    shuffled = np.empty(len(events))
    shuffled[np.argsort(events.item, kind="stable")] = events.doublings[
        np.lexsort((chance.random(len(events)), events.item))
    ]
    return estimate(events, {**causes(events), "popularity": shuffled}).value


def _random_cause(events: Events, chance: np.random.Generator) -> float:
    columns = {**causes(events), "random": chance.standard_normal(len(events))}
    graph = POPULARITY.with_cause(Node("random", "observed", "a random number that causes nothing"))
    return estimate(events, columns, graph).value


def _subset(events: Events, chance: np.random.Generator) -> float:
    kept = chance.permutation(events.n_users) < SUBSET * events.n_users
    return estimate(events.taken(kept[events.user])).value
