"""Interactive replay: the policy recommends, the log answers, the profile grows, and the policy recommends again.

Each user asked about has a past and a held-out future. In every round the policy lists k items; those of the future
that are in the list are *accepted* and appended to the past in the order of the log, with the opinions the log has of
them. What was shown is not shown again. What was shown and is not in the future teaches nothing: the log does not say
that it was turned down.

The models stay as they were fitted: what grows is what they are told of the user.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...ranking.base import Model
from ...ranking.log import Log, Pasts
from ..folds import NOTHING, Fold, unfit
from ..reranking import ranked
from .holding import from_the_end, hold_out, order_notes

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True, eq=False)
class Play:
    """How the rounds went.

    Attributes:
        accepted: (q, rounds) int64, items of the future that were listed in each round.
        shown: (q, rounds) int64, items listed; fewer than k once the candidates run out.
        n_targets: (q,) items of each future.
        failed: (q,) queries with a score that is not finite in some round. Their list of that round is empty.
    """

    accepted: NDArray[np.int64]
    shown: NDArray[np.int64]
    n_targets: NDArray[np.int64]
    failed: NDArray[np.bool_]

    @cached_property
    def recall(self) -> NDArray[np.float64]:
        """(q, rounds): the share of each future accepted so far; NaN where it is empty."""
        found = np.full(self.accepted.shape, np.nan)
        some = self.n_targets > 0
        found[some] = np.cumsum(self.accepted[some], axis=1) / self.n_targets[some, None]
        return found


def futures(log: Log, *, share: float = 0.5) -> Fold:
    """The fold that holds out the latest ``share`` of each user's events, at least one and never all of them.

    As in leave-one-out, what others did later is in train. For a future that is one globally, play on the folds of
    :func:`.temporal.temporal`.

    Raises:
        UserError: the share is out of range, or no user has two events.
    """
    if not 0 < share < 1:
        raise UserError(f"the share of events to hold out must lie between 0 and 1, not {share:g}")
    counts = np.clip(np.round(log.lengths * share).astype(np.int64), 1, np.maximum(log.lengths - 1, 0))
    counts[log.lengths < 2] = 0
    users = np.flatnonzero(counts > 0).astype(np.int64)
    if len(users) == 0:
        raise UserError("no user of the log has two events, so that no future can be held out")
    held = from_the_end(log) < np.repeat(counts, log.lengths)
    return hold_out(
        log,
        f"futures-{100 * share:g}",
        train=~held,
        held=held,
        users=users,
        left_out={},
        not_asked={
            "users with no events": int((log.lengths == 0).sum()),
            "users with 1 event": int((log.lengths == 1).sum()),
        },
        notes=(
            f"the latest {100 * share:g} % of each user's events are held out as the user's future; train holds what "
            "the user did before them, and what other users did at any time before their own futures, later events "
            "included",
            *order_notes(log),
        ),
    )


def play(
    fold: Fold,
    model: Model,
    *,
    k: int = 10,
    rounds: int = 5,
    batch: int = 256,
    told: Callable[[int], None] = lambda done: None,
) -> Play:
    """Play the rounds for every query of a fold.

    Args:
        fold: the queries; the targets of each are its future.
        model: fitted on the fold's train log.
        k: items of a list, at least 1.
        rounds: at least 1.
        batch: queries scored at a time. Memory grows with batch x items.
        told: called with the number of queries done.

    Raises:
        ValueError: ``k``, ``rounds`` or ``batch`` is below 1, or the model's scores have the wrong shape.
    """
    if min(k, rounds, batch) < 1:
        raise ValueError("k, rounds and batch must be at least 1")
    accepted = np.zeros((len(fold), rounds), dtype=np.int64)
    shown = np.zeros_like(accepted)
    failed = np.zeros(len(fold), dtype=np.bool_)
    for start in range(0, len(fold), batch):
        part = fold.part(start, min(start + batch, len(fold)))
        _play_part(part, model, k, accepted[start:], shown[start:], failed[start:])
        told(start + len(part))
    return Play(accepted=accepted, shown=shown, n_targets=fold.n_targets, failed=failed)


def _play_part(
    part: Fold,
    model: Model,
    k: int,
    accepted: NDArray[np.int64],
    shown: NDArray[np.int64],
    failed: NDArray[np.bool_],
) -> None:
    """The rounds of a few queries, written into the first rows of the arrays given."""
    count, pasts = len(part), part.pasts
    allowed = part.rankable(0, count)
    query_of = np.repeat(np.arange(count), part.n_targets)
    opinions = np.ones(len(part.targets), dtype=np.float32) if part.opinions is None else part.opinions
    for round_ in range(accepted.shape[1]):
        scores = model.score_many(pasts)
        failed[:count] |= unfit(scores, allowed)
        lists = ranked(model, scores, pasts, allowed, k, part.order)
        query, place = np.nonzero(lists != NOTHING)
        allowed[query, lists[query, place]] = False
        listed = np.zeros_like(allowed)
        listed[query, lists[query, place]] = True
        now = listed[query_of, part.targets]  # a target is listed once at most: shown items are no candidates any more
        shown[:count, round_] = (lists != NOTHING).sum(axis=1)
        accepted[:count, round_] = np.bincount(query_of[now], minlength=count)
        pasts = extended(pasts, query_of[now], part.targets[now], opinions[now])


def extended(pasts: Pasts, history: NDArray[np.int64], rows: NDArray[np.int64], weights: NDArray[np.float32]) -> Pasts:
    """The histories with new latest entries; the entries they had grow older by as many.

    Args:
        pasts: b histories.
        history: (m,) which of them each new entry belongs to, rising.
        rows: (m,) the items, oldest first within a history; none of them in it yet.
        weights: (m,) opinions of them. Each was chosen: its behaviour is 1.
    """
    if len(rows) == 0:
        return pasts
    added = np.bincount(history, minlength=len(pasts))
    offsets = pasts.offsets + np.concatenate([[0], np.cumsum(added)])
    owner = np.repeat(np.arange(len(pasts)), pasts.lengths)
    old_at = np.arange(len(pasts.rows)) + (offsets[:-1] - pasts.offsets[:-1])[owner]
    before = np.cumsum(added) - added
    nth = np.arange(len(rows)) - before[history]
    new_at = offsets[:-1][history] + pasts.lengths[history] + nth

    def laid(old: NDArray[T], new: NDArray[T]) -> NDArray[T]:
        both = np.empty(len(old) + len(new), dtype=old.dtype)
        both[old_at], both[new_at] = old, new
        return both

    return replace(
        pasts,
        offsets=offsets,
        rows=laid(pasts.rows, rows),
        weights=laid(pasts.weights, weights),
        behaviour=laid(pasts.behaviour, np.ones(len(rows), dtype=np.float32)),
        ages=laid(pasts.ages + added[owner].astype(np.float32), (added[history] - 1 - nth).astype(np.float32)),
    )
