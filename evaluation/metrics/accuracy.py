"""Accuracy of ranked lists against held-out items, relevance being yes or no.

Every metric takes

- ``hits``: (q, k) bool, whether the item at each place of a query's list is one of its targets, best place first;
  places left empty by a short list are no hits;
- ``n_targets``: (q,), held-out items of each query, those that no list can reach included;

and returns (q,) float64 in [0, 1]: NaN where a query has no target, since nothing can be said of it. k is the width of
``hits``, so a metric at a smaller k is the same metric on ``hits[:, :k]``. They agree with trec_eval's measures of
the same meaning (named below), on binary relevance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

Metric = Callable[[NDArray[np.bool_], NDArray[np.integer]], NDArray[np.float64]]


def hit_rate(hits: NDArray[np.bool_], n_targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """1 where any of the k items is a target, else 0 (trec_eval ``success``)."""
    return _where_asked(hits, n_targets, np.where(hits.any(axis=1), 1.0, 0.0))


def ndcg(hits: NDArray[np.bool_], n_targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """Discounted cumulative gain over that of the best possible list (trec_eval ``ndcg_cut``).

    A hit at place i, counted from 1, gains 1 / log2(i + 1); the best list of k has its hits in the first
    min(n_targets, k) places. Järvelin and Kekäläinen 2002, "Cumulated gain-based evaluation of IR techniques", with the
    discount of Burges et al. 2005.
    """
    discounts = 1.0 / np.log2(np.arange(2, hits.shape[1] + 2))
    ideal = np.cumsum(discounts)[np.clip(n_targets, 1, hits.shape[1]) - 1]
    # Added place by place, in the order in which the ideal is: a perfect list is 1 exactly, and none is above.
    gain = np.zeros(len(hits))
    for place, discount in enumerate(discounts):
        gain += np.where(hits[:, place], discount, 0.0)
    return _where_asked(hits, n_targets, gain / ideal)


def reciprocal_rank(hits: NDArray[np.bool_], n_targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """1 / place of the first hit, 0 without one (trec_eval ``recip_rank`` on lists of k); its mean is the MRR.

    Voorhees 1999, "The TREC-8 question answering track report".
    """
    return _where_asked(hits, n_targets, np.where(hits.any(axis=1), 1.0 / (hits.argmax(axis=1) + 1), 0.0))


def average_precision(hits: NDArray[np.bool_], n_targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """The precision at each hit's place, summed and divided by n_targets (trec_eval ``map_cut``); its mean is the MAP.

    Targets beyond the k-th place count as found at precision 0, so the figure stays below 1 where n_targets > k. (Some
    recommender libraries divide by min(n_targets, k) instead.) Buckley and Voorhees 2005, "Retrieval system
    evaluation".
    """
    places = np.arange(1, hits.shape[1] + 1)
    at_hits = np.where(hits, np.cumsum(hits, axis=1) / places, 0.0)
    return _where_asked(hits, n_targets, at_hits.sum(axis=1) / np.maximum(n_targets, 1))


def recall(hits: NDArray[np.bool_], n_targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """Hits over n_targets (trec_eval ``recall``): the share of all targets that are among the k items."""
    return _where_asked(hits, n_targets, hits.sum(axis=1) / np.maximum(n_targets, 1))


def precision(hits: NDArray[np.bool_], n_targets: NDArray[np.integer]) -> NDArray[np.float64]:
    """Hits over k (trec_eval ``P``), also where the list is shorter than k."""
    return _where_asked(hits, n_targets, hits.sum(axis=1) / hits.shape[1])


#: The metrics by the names they have in reports.
ACCURACY: Mapping[str, Metric] = MappingProxyType(
    {
        "hr": hit_rate,
        "ndcg": ndcg,
        "mrr": reciprocal_rank,
        "map": average_precision,
        "recall": recall,
        "precision": precision,
    }
)


def accuracy(
    hits: NDArray[np.bool_], n_targets: NDArray[np.integer], cutoffs: Iterable[int] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Every accuracy metric at every cutoff, named ``ndcg@10``; at the width of ``hits`` where no cutoffs are given.

    Raises:
        ValueError: a cutoff is not in 1..k; or the input is wrong (see the metrics).
    """
    width = hits.shape[1]
    chosen = [width] if cutoffs is None else list(cutoffs)
    for k in chosen:
        if not 1 <= k <= width:
            raise ValueError(f"a cutoff of {k} on lists of {width}")
    return {f"{name}@{k}": metric(hits[:, :k], n_targets) for k in chosen for name, metric in ACCURACY.items()}


def _where_asked(
    hits: NDArray[np.bool_], n_targets: NDArray[np.integer], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The values, NaN where a query has no target.

    Raises:
        ValueError: more hits than targets, which means that an item is in a list twice or the two do not belong
            together.
    """
    if n_targets.shape != (len(hits),):
        raise ValueError(f"n_targets of shape {n_targets.shape} for {len(hits)} lists")
    if (hits.sum(axis=1) > n_targets).any():
        raise ValueError("a list has more hits than its query has targets")
    return np.where(n_targets > 0, values, np.nan)
