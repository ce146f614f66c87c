"""Re-ranking: a list that is varied, not the same for everybody, and true to what the user's past is made of.

The list is chosen place by place among a user's best items. At place n (from 0) it takes the item with the highest

    (1 - d)(1 - c) s + d (1 - c) n / (n + rise) (within ln v - across ln m) - c (1 - d) (n + 1) KL,

where

- s is the model's score on the scale of logits: 1 more makes an item e times as likely to come next;
- v in [0, 1] is how much of the item is new to the list: the conditional variance of a determinantal point process
  whose kernel is the mean of the views' cosines. The sum of ln v over a list is the kernel's log-determinant, so that
  this is its greedy maximisation (Chen, Zhang & Zhou 2018, "Fast greedy MAP inference for determinantal point process
  to improve recommendation diversity"), one dot product an item and place;
- m is the item's mean probability over all users. s - ln m is the pointwise mutual information of user and item: what
  is likely for this user, not for everybody (items recommended to users, users recommended to items: Vargas & Castells
  2014, "Improving sales diversity by recommending users to items");
- KL is how far the labels of the list with this item are from those of the past (Steck 2018, "Calibrated
  recommendations"), times the items of the list, so that a place weighs about the same all the way down;
- d and c, in [0, 1], are the two dials: diversity and calibration. With both at 0 the ranking stays exactly as it is.

Diversity counts for nothing at the first place, which remains the best item, and for more the further down: what is
found there costs least when it is wrong. A shorter list is always the beginning of a longer one.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from .base import Model, product, top_rows
from .labels import SMOOTHING, divergence, label_shares, mean_shares
from .log import Log
from .svd import right_singular

#: Fills a list that has fewer items than it has places.
NOTHING = -1

# An item's vector may be all but spanned by those of the list: the least conditional variance told apart from none.
_LEAST_VARIANCE = 1e-6
# Numbers gathered at once: vectors of the pools, scores of users.
_AT_ONCE = 1 << 23
# An item no user is likely to choose counts as this share of an even chance.
_RAREST = 1e-3
#: Mean standard deviation of a user's 100 highest logits, of the fused model on the validation part of MovieLens 100K.
LOGIT_SPREAD = 0.95


@dataclass(frozen=True, slots=True)
class DiversityConfig:
    """The dials, and what they turn.

    ``within``, ``across``, ``rise`` and ``pool`` were chosen on the validation part of MovieLens 100K, for the highest
    NDCG@10 at the same diversity. There ``diversity`` costs nothing that can be told from 0 up to 0.4 and
    ``calibration`` up to 0.2; coverage and diversity within lists rise all the way.
    """

    diversity: float = 0.0
    """In [0, 1]: 0 leaves the ranking as it is, 1 looks at nothing else after the first place."""

    calibration: float = 0.0
    """In [0, 1]: 0 leaves the ranking as it is, 1 looks at nothing but the labels of the past."""

    within: float = 2.0
    """What ln v counts for, not negative: 0 does without variety within the list."""

    across: float = 1.0
    """What ln m counts for, not negative: 0 does without variety between users."""

    rise: float = 3.0
    """The place at which diversity counts half of what it counts at the end of an endless list; 0 is full weight from
    the second place on."""

    pool: int = 100
    """The user's best items, among which the list is chosen. Twice as many changed nothing below a diversity of 0.5."""

    smoothing: float = SMOOTHING
    """Share of the past mixed into the labels of the list, in (0, 1)."""

    def __post_init__(self) -> None:
        for name, dial in (("diversity", self.diversity), ("calibration", self.calibration)):
            if not 0 <= dial <= 1:
                raise ValueError(f"{name} is {dial}: it lies in [0, 1]")
        weights = (self.within, self.across, self.rise)
        if not all(0 <= weight < float("inf") for weight in weights) or self.pool < 1 or not 0 < self.smoothing < 1:
            raise ValueError("within, across and rise are not negative, pool is at least 1, smoothing lies in (0, 1)")


class Vectors(Protocol):
    """(n_items, d) float32, an array or what can be read like one: unit rows, or zero rows for items without a view."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __getitem__(self, rows: NDArray[np.int64], /) -> NDArray[np.float32]: ...


@dataclass(frozen=True, eq=False)
class DiversityItems:
    """What re-ranking knows of the items; made by :func:`diversity_items`.

    Attributes:
        n_items: of the catalogue.
        views: (n_items, d) each.
        means: (d,) float32 each: the mean of the items that have the view. An item without it stands there: as like
            to any other item as items are on average.
        common: (n_items,) float32, ln m; None: not known, and ``across`` does nothing.
        shares: (n_items, l) distribution of each item over its labels; None: there are no labels.
        labelled: (n_items,) which items have one.
    """

    n_items: int
    views: tuple[Vectors, ...]
    means: tuple[NDArray[np.float32], ...]
    common: NDArray[np.float32] | None
    shares: sp.csr_matrix | None
    labelled: NDArray[np.bool_]

    def tastes(self, offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """(b, l): the labels of each past ``rows[offsets[i]:offsets[i + 1]]``, NaN where none of its items has one.

        None where items have no labels.
        """
        return None if self.shares is None else mean_shares(offsets, rows, self.shares, self.labelled)


def diversity_items(
    n_items: int,
    views: Collection[Vectors],
    common: NDArray[np.float32] | None = None,
    labels: sp.csr_matrix | None = None,
    *,
    means: Collection[NDArray[np.float32]] | None = None,
) -> DiversityItems:
    """What re-ranking needs of the items.

    Args:
        n_items: of the catalogue.
        views: (n_items, d) each, unit rows or zero rows: the space in which items are alike is their mean, so that a
            view counts the same however many dimensions it has.
        common: as :func:`common_of` gives it. Items beyond its end, which came after, are as rare as the rarest.
        labels: (n_items, l) sparse, not negative.
        means: of the views, as :func:`mean_row` gives them; None: they are made, for which all views are read.

    Raises:
        ValueError: shapes do not fit together, or a label is negative.
    """
    wrong = [view.shape for view in views if len(view.shape) != 2 or view.shape[0] != n_items]
    if wrong or (labels is not None and labels.shape[0] != n_items) or (common is not None and len(common) > n_items):
        raise ValueError(f"views {wrong}, labels or what is common are not of {n_items} items")
    if common is not None:
        rarest = float(common.min(initial=0.0))
        common = np.concatenate([common, np.full(n_items - len(common), rarest)]).astype(np.float32)
    shares, labelled = (None, np.zeros(n_items, np.bool_)) if labels is None else label_shares(labels)
    found = tuple(mean_row(view) for view in views) if means is None else tuple(means)
    return DiversityItems(n_items, tuple(views), found, common, shares, labelled)


def diversify(
    scores: NDArray[np.floating],
    allowed: NDArray[np.bool_],
    k: int,
    items: DiversityItems,
    config: DiversityConfig,
    past: NDArray[np.int64] | None = None,
) -> NDArray[np.int64]:
    """One user's list.

    Args:
        scores: (n_items,) logits, finite where allowed.
        allowed: (n_items,) what may be listed.
        k: items of the list.
        items: what is known of them.
        config: the dials.
        past: rows of what the user chose, to calibrate to; None or empty: nothing is calibrated.

    Returns:
        Rows, best first: k of them, or all that are allowed where they are fewer.
    """
    rows = top_rows(scores, max(k, config.pool), allowed)[None]
    tastes = None
    if past is not None and config.calibration > 0:
        tastes = items.tastes(np.array([0, len(past)]), past.astype(np.int64))
    listed = rerank(rows, scores[rows], k, items, config, tastes)[0]
    found: NDArray[np.int64] = listed[listed != NOTHING]
    return found


def rerank(
    rows: NDArray[np.int64],
    scores: NDArray[np.floating],
    k: int,
    items: DiversityItems,
    config: DiversityConfig,
    tastes: NDArray[np.float64] | None = None,
) -> NDArray[np.int64]:
    """The lists of many users.

    Args:
        rows: (b, p) each user's best items, best first, each once; -1 at the end of a line that has fewer.
        scores: (b, p) their logits, falling along each line; what stands beside a -1 is not looked at.
        k: items of a list.
        items: what is known of them.
        config: the dials; ``pool`` is not looked at.
        tastes: (b, l) as :meth:`DiversityItems.tastes` gives it; None, or NaN for a user: nothing is calibrated.

    Returns:
        (b, k) int64, best first; -1 at the end of a list that has fewer.

    Raises:
        ValueError: shapes do not fit together.
    """
    if rows.shape != scores.shape:
        raise ValueError(f"scores of shape {scores.shape} for rows of {rows.shape}")
    if tastes is not None and (items.shares is None or tastes.shape != (len(rows), items.shares.shape[1])):
        raise ValueError(f"tastes of shape {tastes.shape} are not of {len(rows)} users and the labels of the items")
    lists = np.full((len(rows), max(k, 0)), NOTHING, dtype=np.int64)
    width = 1 + sum(view.shape[1] for view in items.views) + (0 if tastes is None else 2 * tastes.shape[1])
    step = max(1, _AT_ONCE // max(1, rows.shape[1] * width))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        lists[part] = _chosen(rows[part], scores[part], k, items, config, None if tastes is None else tastes[part])
    return lists


def _chosen(
    rows: NDArray[np.int64],
    scores: NDArray[np.floating],
    k: int,
    items: DiversityItems,
    config: DiversityConfig,
    tastes: NDArray[np.float64] | None,
) -> NDArray[np.int64]:
    left = rows != NOTHING
    rows = np.where(left, rows, 0)
    d, c = config.diversity, config.calibration
    # With both dials at 1 the score counts for nothing, and the two others for as much.
    of_score, of_variety, of_labels = ((1 - d) * (1 - c), d * (1 - c), c * (1 - d)) if d * c < 1 else (0.0, 1.0, 1.0)
    logits = np.where(left, scores, 0).astype(np.float32)
    logits -= logits.max(axis=1, keepdims=True, initial=-np.inf)
    variety = _Variety(rows, items) if of_variety and config.within else None
    labels = _Labels(rows, items, tastes, config.smoothing) if of_labels and tastes is not None else None
    lists = np.full((len(rows), max(k, 0)), NOTHING, dtype=np.int64)
    line = np.arange(len(rows))
    places = min(k, rows.shape[1])
    for place in range(places):
        gain = np.float32(of_score) * logits
        reach = place / (place + config.rise) if place else 0.0
        if variety is not None:
            gain += np.float32(of_variety * reach * config.within) * variety.log_variance()
        if items.common is not None and of_variety:
            gain -= np.float32(of_variety * reach * config.across) * items.common[rows]
        if labels is not None:
            gain -= np.float32(of_labels * (place + 1)) * labels.divergence()
        gain[~left] = -np.inf
        taken = gain.argmax(axis=1)
        filled = left[line, taken]
        lists[filled, place] = rows[line, taken][filled]
        left[line, taken] = False
        if place + 1 == places:
            break
        if variety is not None:
            variety.take(taken)
        if labels is not None:
            labels.take(taken)
    return lists


class _Variety:
    """Conditional variances of a pool's items given those taken, by incremental Cholesky factorisation.

    The kernel has the mean cosine off its diagonal and 1 on it.
    """

    def __init__(self, rows: NDArray[np.int64], items: DiversityItems) -> None:
        self.views = [_gathered(view, mean, rows) for view, mean in zip(items.views, items.means, strict=True)]
        self.line = np.arange(len(rows))
        self.variance: NDArray[np.float32] = np.ones(rows.shape, dtype=np.float32)
        self.factors: list[NDArray[np.float32]] = []

    def log_variance(self) -> NDArray[np.float32]:
        """(b, p), in [ln of the least variance, 0]."""
        found: NDArray[np.float32] = np.log(np.clip(self.variance, _LEAST_VARIANCE, 1.0))
        return found

    def take(self, taken: NDArray[np.int64]) -> None:
        """Add the items at these columns (b,) to the lists."""
        like: NDArray[np.float32] = np.zeros_like(self.variance)
        for vectors in self.views:
            like += product("bpd,bd->bp", vectors, vectors[self.line, taken]) / np.float32(len(self.views))
        like[self.line, taken] = 1.0
        for factor in self.factors:
            like -= factor[self.line, taken][:, None] * factor
        like /= np.sqrt(np.maximum(self.variance[self.line, taken], _LEAST_VARIANCE))[:, None]
        self.factors.append(like)
        self.variance -= like * like


class _Labels:
    """How far lists are from the tastes with each of a pool's items added."""

    def __init__(
        self, rows: NDArray[np.int64], items: DiversityItems, tastes: NDArray[np.float64], smoothing: float
    ) -> None:
        assert items.shares is not None
        self.known = ~np.isnan(tastes).any(axis=1, keepdims=True)
        tastes = np.where(self.known, tastes, 0.0)
        liked = np.flatnonzero((tastes > 0).any(axis=0))
        self.tastes = tastes[:, liked]
        self.shares = items.shares[:, liked][rows.ravel()].toarray().reshape(*rows.shape, len(liked))
        self.labelled = items.labelled[rows].astype(np.float64)
        self.smoothing = smoothing
        self.line = np.arange(len(rows))
        self.sums = np.zeros_like(self.tastes)
        self.many = np.zeros(len(rows))

    def divergence(self) -> NDArray[np.float32]:
        """(b, p); 0 for users without tastes."""
        many = np.maximum(self.many[:, None] + self.labelled, 1.0)
        with_each = (self.sums[:, None] + self.shares) / many[:, :, None]
        found = divergence(self.tastes[:, None], with_each, self.smoothing)
        return np.where(self.known, found, 0.0).astype(np.float32)

    def take(self, taken: NDArray[np.int64]) -> None:
        """Add the items at these columns (b,) to the lists."""
        self.sums += self.shares[self.line, taken]
        self.many += self.labelled[self.line, taken]


def common_of(model: Model, log: Log, *, temperature: float = 1.0, users: int = 2000) -> NDArray[np.float32]:
    """(n_items,) ln m: the log of each item's mean probability to come next, over users who do not know it yet.

    Args:
        model: its scores, divided by ``temperature``, are logits. Users with a score that is no number are left out.
        log: whose pasts are asked about.
        users: at most so many of them, evenly spread.
    """
    total = np.zeros(log.n_items)
    for scores in _scores_of(model, log, users):
        odds = np.exp((scores - scores.max(axis=1, keepdims=True)) / temperature)
        total += (odds / odds.sum(axis=1, keepdims=True)).sum(axis=0)
    even = 1.0 / max(log.n_items, 1)
    mean = total / total.sum() if total.sum() > 0 else np.full(log.n_items, even)
    found: NDArray[np.float32] = np.log(np.maximum(mean, _RAREST * even)).astype(np.float32)
    return found


def temperature_of(model: Model, log: Log, *, users: int = 200, best: int = 100) -> float:
    """What to divide scores of any scale by, so that those of a user's best items spread as the fused model's logits.

    A dial then does about the same whatever model it is turned on. 1 where all scores are alike.
    """
    spreads = []
    for scores in _scores_of(model, log, users):
        highest = -np.sort(-scores, axis=1)[:, :best]
        there = np.isfinite(highest)
        spreads += [line[mask].std() for line, mask in zip(highest, there, strict=True) if mask.any()]
    spread = float(np.mean(spreads)) if spreads else 0.0
    return spread / LOGIT_SPREAD if spread > 0 else 1.0


def behaviour_view(log: Log, dimensions: int = 64) -> NDArray[np.float32]:
    """(n_items, d) float32, unit rows: items that the same users chose are alike. Zero rows where nobody did.

    Right singular vectors of the log, times the square roots of the singular values. For items without content.
    """
    values, vectors = right_singular(log.matrix(), dimensions)
    scaled = vectors * np.sqrt(values)
    lengths = np.linalg.norm(scaled, axis=1, keepdims=True)
    known = (lengths > 0) & (log.counts > 0)[:, None]
    unit: NDArray[np.float32] = np.divide(scaled, lengths, out=np.zeros_like(scaled), where=known)
    return unit


def _scores_of(model: Model, log: Log, users: int) -> Iterator[NDArray[np.float64]]:
    """Scores (b, n_items) of users evenly spread over those with a past, -inf for what they know, batch by batch."""
    asked = np.flatnonzero(log.lengths > 0)
    asked = asked[np.linspace(0, len(asked) - 1, min(users, len(asked))).round().astype(np.int64)]
    step = max(1, _AT_ONCE // max(1, log.n_items))
    for start in range(0, len(asked), step):
        pasts = log.pasts(asked[start : start + step])
        scores = model.score_many(pasts).astype(np.float64)
        seen = pasts.seen().toarray()
        usable = np.isfinite(scores).all(axis=1) & ~seen.all(axis=1)
        yield np.where(seen, -np.inf, scores)[usable]


def _gathered(view: Vectors, mean: NDArray[np.float32], rows: NDArray[np.int64]) -> NDArray[np.float32]:
    """(b, p, d): the vectors of rows (b, p), the mean where there is none."""
    found = np.asarray(view[rows], dtype=np.float32)
    found[~found.any(axis=2)] = mean
    return found


def mean_row(view: Vectors) -> NDArray[np.float32]:
    """(d,) the mean of the rows that are not zero."""
    rows, width = view.shape
    total, many = np.zeros(width), 0
    step = max(1, _AT_ONCE // max(1, width))
    for start in range(0, rows, step):
        part = np.asarray(view[np.arange(start, min(start + step, rows))])
        total += part.sum(axis=0, dtype=np.float64)
        many += int(part.any(axis=1).sum())
    return (total / max(many, 1)).astype(np.float32)
