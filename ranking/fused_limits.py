"""What the fused model does without, and what it fits on less, where a log is tiny or huge: rules by size alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from .log import Log
from .sequence import SequenceConfig
from .transitions import TransitionsConfig

if TYPE_CHECKING:
    from .fused import Inputs

#: Weights of z-scores where too little is known to learn them: of what follows from choices together 1, of content half
#: of that. Chosen, not learned; without the transformer and the posterior they do as well on the validation part of
#: MovieLens 100K as weights learned there on 1,000 events.
FIXED = {
    "popularity": 0.3,
    "transitions": 0.5,
    "ease": 0.5,
    "als": 0.5,
    "itemknn": 0.5,
    "graph": 0.2,
    "text": 0.4,
    "image": 0.1,
    "posterior": 0.5,
}


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of time and memory, on two cores. What goes over one is left out or fitted on less, and said."""

    least: int = 500
    """Held-out events below which nothing is learned from them: weights are then the fixed ones of :data:`FIXED`, and
    no transformer is trained. Of the validation part of MovieLens 100K, weights learned on 300 events do worse than the
    fixed ones, on 1,000 as well."""

    sequence_events: int = 6_000_000
    """Events x epochs that the transformer is trained for: MovieLens 100K has its 60 epochs, four minutes; of a longer
    log each event is seen less often."""

    sequence_epochs: int = 3
    """Below so many epochs the transformer is left out, which is above 2 million events."""

    pairs: int = 500_000_000
    """Pairs of events of one user, at most 200 apart, that transitions are counted over: about two minutes. Of a longer
    log as many users as fit in are drawn."""

    pairs_truncated: int = 50_000_000
    """The same above the dense limit of items, where counts are kept as a sparse matrix of up to 2 GB. Of a longer log
    the part is left out: so few users would say little of so many items."""

    graph: int = 10_000_000
    """Interactions up to which the graph takes part while its inverse is kept (6,000 items)."""

    graph_walked: int = 2_000_000
    """The same where every past is walked: 30 milliseconds each."""

    posterior: int = 10_000_000
    """Interactions up to which the posterior takes part. Its singular vectors are found three times, which by the count
    of products takes a minute each there."""

    posterior_items: int = 50_000
    """The same for items: their faces are regressed on the views some twenty times while the views are weighed."""


def left_out(names: Sequence[str], inputs: Inputs, held: int) -> dict[str, str]:
    """Which of the parts are left out, and why, in words that follow "left out: ".

    Args:
        names: parts asked for. inputs: what they would be fitted on. held: held-out events to learn weights from.
    """
    reasons = {name: _reason(name, inputs, held) for name in names}
    return {name: reason for name, reason in reasons.items() if reason is not None}


def _reason(name: str, inputs: Inputs, held: int) -> str | None:
    from .graph import GraphConfig

    log, limits = inputs.log, inputs.limits
    if name in ("text", "image"):
        return None if name in inputs.views else f"the items have no {name} view"
    if name == "graph":
        if inputs.catalogue is None:
            return "nothing is known of the items"
        most = limits.graph if log.n_items <= GraphConfig().dense_limit else limits.graph_walked
        return f"{len(log):,} interactions, the limit is {most:,}" if len(log) > most else None
    if name == "sequence":
        if held < limits.least:
            return f"{held} events to learn from, the least is {limits.least}"
        if sequence_config(len(log), limits).epochs < limits.sequence_epochs:
            most = limits.sequence_events // limits.sequence_epochs
            return f"{len(log):,} interactions, the limit is {most:,}"
    if name == "posterior":
        if len(log) > limits.posterior:
            return f"{len(log):,} interactions, the limit is {limits.posterior:,}"
        if log.n_items > limits.posterior_items:
            return f"{log.n_items:,} items, the limit is {limits.posterior_items:,}"
    if name == "transitions" and not _is_dense(log):
        pairs = _pairs(log).sum()
        return (
            f"{pairs:,} pairs of events, the limit is {limits.pairs_truncated:,}"
            if pairs > limits.pairs_truncated
            else None
        )
    return None


def sequence_config(events: int, limits: Limits) -> SequenceConfig:
    """How the transformer is trained on a log of so many events."""
    config = SequenceConfig()
    return replace(config, epochs=max(1, min(config.epochs, limits.sequence_events // max(events, 1))))


def for_transitions(log: Log, limits: Limits, *, seed: int) -> Log:
    """The log, or so many of its users, drawn at random, that their pairs of events are within the limit."""
    pairs = _pairs(log)
    if not _is_dense(log) or pairs.sum() <= limits.pairs:
        return log
    order = np.random.default_rng(seed).permutation(log.n_users)
    drawn = np.zeros(log.n_users, dtype=np.bool_)
    drawn[order[np.cumsum(pairs[order]) <= limits.pairs]] = True
    return log.keep(drawn[log.users])


def _is_dense(log: Log) -> bool:
    return bool(np.count_nonzero(log.counts) <= TransitionsConfig().dense_limit)


def _pairs(log: Log) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """(n_users,): pairs of events that transitions count."""
    pairs: np.ndarray[tuple[int], np.dtype[np.int64]] = log.lengths * np.minimum(
        log.lengths, TransitionsConfig().reach + 1
    )
    return pairs
