"""A fold from two marks on the events of a log: what may be trained on, and what is held out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...ranking.history import rating_weights
from ...ranking.log import Log
from ..folds import Fold, gathered


def hold_out(
    log: Log,
    name: str,
    *,
    train: NDArray[np.bool_],
    held: NDArray[np.bool_],
    users: NDArray[np.int64],
    candidates: NDArray[np.bool_] | None = None,
    order: NDArray[np.int64] | None = None,
    left_out: Mapping[str, int],
    not_asked: Mapping[str, int],
    notes: tuple[str, ...],
) -> Fold:
    """The fold whose targets are the held events of ``users`` and whose pasts are what train has of them.

    Args:
        log: the whole log.
        name: of the fold.
        train: (n,) events to be trained on.
        held: (n,) events held out as targets, none of them in train. Only users asked about have any.
        users: who is asked about.
        candidates: (n_items,) which items may be ranked; None: all of them.
        order: which of equally scored items comes first; None: the catalogue's order.
        left_out, not_asked, notes: as in :class:`Fold`; reasons with a count of 0 are dropped.

    Raises:
        ValueError: an event is both in train and held out, or the counts do not add up to the log.
    """
    if (train & held).any():
        raise ValueError("an event is both in train and held out")
    if int(train.sum()) + int(held.sum()) + sum(left_out.values()) != len(log):
        raise ValueError("the events of train, of the targets and of those left out are not all events")
    if len(users) + sum(not_asked.values()) != log.n_users:
        raise ValueError("the users asked about and those not asked are not all users")
    known = log.keep(train)
    future = log.keep(held)
    at, offsets = gathered(future.offsets, users)
    if len(at) != len(future):
        raise ValueError("an event of a user who is not asked about is held out")
    return Fold(
        name=name,
        train=known,
        users=users,
        pasts=known.pasts(users),
        target_offsets=offsets,
        targets=future.items[at].astype(np.int64),
        opinions=rating_weights(future.values[at], log.scale),
        candidates=np.ones(log.n_items, dtype=np.bool_) if candidates is None else candidates,
        order=order,
        left_out={reason: count for reason, count in left_out.items() if count},
        not_asked={reason: count for reason, count in not_asked.items() if count},
        notes=notes,
    )


def from_the_end(log: Log) -> NDArray[np.int64]:
    """(n,): how many events of the same user come after each; 0 for a user's last."""
    stops: NDArray[np.int64] = np.repeat(log.offsets[1:], log.lengths)
    return stops - 1 - np.arange(len(log))


def order_notes(log: Log) -> tuple[str, ...]:
    """What the order within a user rests on, where it is not the times alone."""
    if len(log) == 0:
        return ()
    timed = log.times >= 0
    if not timed.any():
        return ("the log has no times: the order within each user stands for time",)
    starts = log.offsets[:-1][log.lengths > 0]
    first, last = np.minimum.reduceat(log.times, starts), np.maximum.reduceat(log.times, starts)
    if (first == last).all():
        one = (
            "all events have one timestamp" if first.min() == last.max() else "all events of a user have one timestamp"
        )
        return (f"{one}: the order within each user stands for time",)
    notes = []
    if not timed.all():
        notes.append(f"{int((~timed).sum())} of {len(log)} events have no time and count as each user's earliest")
    ends = log.offsets[1:][log.lengths > 1] - 1
    tied = int((log.times[ends] == log.times[ends - 1]).sum())
    if tied:
        notes.append(
            f"the last two events of {tied} of {len(ends)} users have one timestamp: the source's order decides"
        )
    return tuple(notes)
