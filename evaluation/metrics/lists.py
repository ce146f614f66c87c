"""What lists are like beyond their hits: how varied, how new, how popular, how true to the user's taste.

A list is a row of ``lists``: (q, k) int64 rows of the catalogue, best first; -1 fills a list that is shorter than k.
Past interactions are ``offsets`` (q + 1,) and ``rows``: query i's past is ``rows[offsets[i]:offsets[i + 1]]``, as in
``Pasts``. Popularity is ``counts`` (n_items,): how many users of the train log chose each item.

Each function of a query returns (q,) float64, NaN where there is nothing to measure. Coverage and Gini are figures of
all lists together, made for :func:`..intervals.jackknife_rows`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from ...ranking.labels import SMOOTHING, divergence, label_shares, mean_shares

#: The figures of :func:`system_figures`, in their order.
SYSTEM = ("coverage", "gini")

# Numbers handled at once.
_AT_ONCE = 1 << 21


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A metric that cannot use every item.

    Attributes:
        values: (q,) float64, NaN where a list has too few items that can be used.
        ignored: (q,) int64, items of each list that took no part.
    """

    values: NDArray[np.float64]
    ignored: NDArray[np.int64]


def ild(lists: NDArray[np.int64], vectors: NDArray[np.floating]) -> Measured:
    """Intra-list diversity: the mean cosine distance, 1 - cosine, over all pairs of a list's items; in [0, 2].

    Smyth and McClave 2001, "Similarity vs. diversity"; Ziegler et al. 2005, "Improving recommendation lists through
    topic diversification". Which space the vectors are of decides what it means: name it beside the figure.

    Args:
        lists: (q, k).
        vectors: (n_items, d). A row of zeros, or with a number that is not finite, means that the item has no vector:
            it is left out of its lists' pairs and counted.

    Returns:
        NaN where fewer than two items of a list have a vector.
    """
    values = np.full(len(lists), np.nan)
    ignored = np.zeros(len(lists), dtype=np.int64)
    for part in _parts(len(lists), lists.shape[1] * max(1, vectors.shape[1])):
        rows = lists[part]
        shown = rows >= 0
        found = vectors[np.where(shown, rows, 0)].astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            norms = np.sqrt(np.einsum("qkd,qkd->qk", found, found))
        usable = shown & np.isfinite(norms) & (norms > 0)
        found[~usable] = 0.0
        found /= np.where(usable, norms, 1.0)[:, :, None]
        # The cosines of all ordered pairs, those of an item with itself included, are the squared length of the sum.
        total = found.sum(axis=1)
        m = usable.sum(axis=1)
        pairs = np.maximum(m * (m - 1), 1)
        distance = 1.0 - (np.einsum("qd,qd->q", total, total) - m) / pairs
        values[part] = np.where(m > 1, np.clip(distance, 0.0, 2.0), np.nan)
        ignored[part] = (shown & ~usable).sum(axis=1)
    return Measured(values, ignored)


def novelty(lists: NDArray[np.int64], counts: NDArray[np.integer], n_users: int) -> NDArray[np.float64]:
    """Mean self-information of a list's items, in bits: -log2((c + 1) / (n_users + 1)), c being the users who chose it.

    0 for an item that everybody chose, log2(n_users + 1) for one that nobody did. Zhou et al. 2010, "Solving the
    apparent diversity-accuracy dilemma of recommender systems"; the 1 added keeps items of no user finite.

    Raises:
        ValueError: an item was chosen by more users than there are.
    """
    if len(counts) and int(counts.max()) > n_users:
        raise ValueError(f"an item chosen by {int(counts.max())} of {n_users} users")
    return _list_mean(lists, -np.log2((counts + 1) / (n_users + 1)))


def popularity_lift(
    lists: NDArray[np.int64],
    counts: NDArray[np.integer],
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
) -> NDArray[np.float64]:
    """How much more popular a list is than its user's past: (mean of list - mean of past) / mean of past.

    0 is as popular as the past, 1 twice as popular, -1 the least possible. Abdollahpouri et al. 2020, "The connection
    between popularity bias, calibration, and fairness in recommendation", there of a group's means, here of each
    user's. The user's own choices are among the counts of the past's items, as in the source.

    Returns:
        NaN where the list or the past is empty, or nobody of the train log chose anything of the past.
    """
    lengths = np.diff(offsets)
    who = np.repeat(np.arange(len(lengths)), lengths)
    sums = np.bincount(who, weights=counts[rows].astype(np.float64), minlength=len(lengths))
    past = np.divide(sums, lengths, out=np.full(len(lengths), np.nan), where=sums > 0)
    lift: NDArray[np.float64] = _list_mean(lists, counts.astype(np.float64)) / past - 1.0
    return lift


def serendipity(
    hits: NDArray[np.bool_],
    n_targets: NDArray[np.integer],
    lists: NDArray[np.int64],
    expected: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Hits that a primitive recommender would not have shown, over k: useful and unexpected; at most precision at k.

    Ge, Delgado-Battenfeld and Jannach 2010, "Beyond accuracy: evaluating recommender systems by coverage and
    serendipity", with the user's held-out items as what is useful.

    Args:
        hits: (q, k), of the lists.
        n_targets: (q,).
        lists: (q, k).
        expected: (q, m), what the primitive recommender, such as popularity, shows for the same queries; -1 is nothing.

    Returns:
        In [0, 1]; NaN where a query has no target.
    """
    if not (hits.shape == lists.shape and len(expected) == len(n_targets) == len(lists)):
        raise ValueError(f"hits {hits.shape}, lists {lists.shape}, expected {expected.shape}: not of the same queries")
    foreseen = np.zeros(lists.shape, dtype=np.bool_)
    for place in range(expected.shape[1]):
        foreseen |= lists == expected[:, place, None]
    return np.where(n_targets > 0, (hits & ~foreseen).sum(axis=1) / lists.shape[1], np.nan)


def calibration(
    lists: NDArray[np.int64],
    labels: sp.csr_matrix,
    offsets: NDArray[np.int64],
    rows: NDArray[np.int64],
    *,
    smoothing: float = SMOOTHING,
) -> Measured:
    """How far the labels of a list are from those of the past: KL(p || (1 - a) q + a p) in nats, 0 being perfect.

    p is the mean label distribution of the past's items, q of the list's; an item's distribution is its row of
    ``labels`` divided by its sum. Steck 2018, "Calibrated recommendations", without weights for recency or place. At
    most -ln a.

    Args:
        lists: (q, k).
        labels: (n_items, n_labels) sparse, not negative: 1 for each genre or category of an item, or weights.
        offsets, rows: the pasts.
        smoothing: a, in (0, 1).

    Returns:
        NaN where the list or the past has no item with a label. Items without one take no part; those of the list are
        counted.

    Raises:
        ValueError: a negative label, a smoothing that is not in (0, 1).
    """
    shares, labelled = label_shares(labels)
    values = np.full(len(lists), np.nan)
    shown = lists >= 0
    used = shown & labelled[lists]
    for part in _parts(len(lists), max(1, shares.shape[1])):
        first, last = int(offsets[part.start]), int(offsets[part.stop])
        of_past = mean_shares(offsets[part.start : part.stop + 1] - first, rows[first:last], shares, labelled)
        lengths = shown[part].sum(axis=1)
        of_list = mean_shares(np.concatenate([[0], np.cumsum(lengths)]), lists[part][shown[part]], shares, labelled)
        values[part] = divergence(of_past, of_list, smoothing)
    return Measured(values, (shown & ~used).sum(axis=1))


def exposure(lists: NDArray[np.int64], n_items: int) -> NDArray[np.int64]:
    """(n_items,): how many lists show each item."""
    return np.bincount(lists[lists >= 0], minlength=n_items).astype(np.int64)


def coverage(lists: NDArray[np.int64], candidates: NDArray[np.bool_]) -> float:
    """The share of the candidates (n_items,) that are in any list at all; NaN where there is no candidate.

    It grows with the number of lists: compare it on the same users only. Ge, Delgado-Battenfeld and Jannach 2010
    (catalogue coverage).
    """
    return float(system_figures(lists, candidates)(np.arange(len(lists)))[0])


def gini(lists: NDArray[np.int64], candidates: NDArray[np.bool_]) -> float:
    """How unequally the candidates are shown: 0 all the same, 1 one item alone; NaN where nothing is shown.

    sum over j of (2 j - n - 1) x_j, over (n - 1) times the sum of x, where x are the n candidates' exposures from the
    smallest on. Shani and Gunawardana 2011, "Evaluating recommendation systems"; Fleder and Hosanagar 2009.
    """
    return float(system_figures(lists, candidates)(np.arange(len(lists)))[1])


def system_figures(
    lists: NDArray[np.int64], candidates: NDArray[np.bool_]
) -> Callable[[NDArray[np.int64]], NDArray[np.float64]]:
    """:func:`coverage` and :func:`gini` (see ``SYSTEM``) as a function of which lists count, some several times.

    ``jackknife_rows(system_figures(lists, candidates), len(lists), within=(0, 1))`` gives their intervals; the
    difference of two such functions those of the difference between two policies.

    Raises:
        ValueError: a list shows what is no candidate.
    """
    n = int(candidates.sum())
    if not candidates[lists[lists >= 0]].all():
        raise ValueError("a list shows an item that is no candidate")
    # The candidates' places among themselves; what fills short lists goes to a place of its own after them.
    places = np.append(np.cumsum(candidates) - 1, n)
    slots = places[lists]
    ranks = 2.0 * np.arange(1, n + 1) - n - 1

    def figures(rows: NDArray[np.int64]) -> NDArray[np.float64]:
        shown = np.bincount(slots[rows].ravel(), minlength=n + 1)[:n]
        total = int(shown.sum())
        covered = np.count_nonzero(shown) / n if n else np.nan
        unequal = float(ranks @ np.sort(shown)) / ((n - 1) * total) if total and n > 1 else np.nan
        return np.array([covered, unequal])

    return figures


def _list_mean(lists: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The mean of (n_items,) values over each list's items; NaN for an empty list."""
    shown = lists >= 0
    lengths = shown.sum(axis=1)
    sums = np.where(shown, values[lists], 0.0).sum(axis=1)
    means: NDArray[np.float64] = np.full(len(lists), np.nan)
    np.divide(sums, lengths, out=means, where=lengths > 0)
    return means


def _parts(count: int, width: int) -> Iterator[slice]:
    """``count`` rows of ``width`` numbers, cut so that no part holds much more than ``_AT_ONCE``."""
    step = max(1, _AT_ONCE // max(1, width))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))
