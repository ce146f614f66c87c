"""A global temporal split with rolling windows: train is everybody's events before a cut, targets those after it.

For the cuts c_1 < ... < c_N, window i trains on the events strictly before c_i and asks for those in [c_i, c_(i+1)),
the last window for all from c_N on. No policy ever sees anything, of anybody, that happened at or after the earliest
moment it predicts. An event exactly at a cut is on the test side.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...ranking.log import Log
from ..folds import Fold
from .holding import hold_out

_INSTEAD = "use --protocol loo, where the order within a user stands for time"


def temporal(
    log: Log,
    *,
    windows: int = 1,
    share: float = 0.8,
    cuts: Sequence[int] | None = None,
    ask_new: bool = True,
) -> list[Fold]:
    """One fold for each window, the earliest first.

    Of an item that a user chose several times the log keeps the latest event, so that it is a target where that one
    falls. Every item of the catalogue is a candidate, those that nobody chose before the cut included.

    Args:
        log: all interactions. Those without a time are left out and counted.
        windows: how many; each holds about as many events as the others.
        share: of the events that come before the first cut, in (0, 1).
        cuts: times of the cuts themselves (Unix seconds, rising), in place of ``windows`` and ``share``.
        ask_new: users with no past before the cut are asked with an empty one; else they are counted in ``not_asked``
            and their events of the window in ``left_out``.

    Raises:
        UserError: the log has no times, or one for all; a cut leaves train or every window empty; or the options are
            out of range.
    """
    timed = log.times >= 0
    if not timed.any():
        raise UserError(f"the log has no times, and a temporal split needs them: {_INSTEAD}")
    times = np.sort(log.times[timed])
    if times[0] == times[-1]:
        raise UserError(
            f"all events of the log have one timestamp ({times[0]}), so that none comes before another: {_INSTEAD}"
        )
    found, notes = (_cuts_at(times, windows, share)) if cuts is None else (_cuts_given(times, cuts), ())
    untimed = int((~timed).sum())
    if untimed:
        notes = (*notes, f"{untimed} events without a time are in no part: it is not known what they come after")
    ends = [*found[1:], None]
    folds = [
        _window(log, timed, number, cut, end, len(found), ask_new, notes)
        for number, (cut, end) in enumerate(zip(found, ends, strict=True), start=1)
    ]
    if not any(len(fold) for fold in folds):
        raise UserError("no user who may be asked has an event after the first cut: ask new users too, or cut earlier")
    return folds


def _cuts_at(times: NDArray[np.int64], windows: int, share: float) -> tuple[list[int], tuple[str, ...]]:
    """Cuts that leave about ``share`` of the events before the first, and as many in each window."""
    if windows < 1:
        raise UserError(f"--windows must be 1 or more, not {windows}")
    if not 0 < share < 1:
        raise UserError(f"the share of events to train on must lie between 0 and 1, not {share:g}")
    moments, before = np.unique(times, return_index=True)
    # Cutting at a moment leaves ``before`` events strictly before it; the first moment would leave none.
    moments, before = moments[1:], before[1:]
    wanted = len(times) * (share + (1 - share) * np.arange(windows) / windows)
    nearest = [int(np.argmin(np.abs(before - count))) for count in wanted]
    cuts = sorted({int(moments[at]) for at in nearest})
    notes: tuple[str, ...] = ()
    if len(cuts) < windows:
        notes = (f"{windows} windows were asked for, but ties in time leave {len(cuts)} different cuts",)
    return cuts, notes


def _cuts_given(times: NDArray[np.int64], cuts: Sequence[int]) -> list[int]:
    given = [int(cut) for cut in cuts]
    if not given or any(later <= earlier for earlier, later in pairwise(given)):
        raise UserError("the cut times must be given in rising order, at least one")
    if given[0] <= times[0] or given[-1] > times[-1]:
        raise UserError(
            f"the cut times must lie after the first event ({times[0]}) and not after the last one ({times[-1]})"
        )
    return given


def _window(
    log: Log,
    timed: NDArray[np.bool_],
    number: int,
    cut: int,
    end: int | None,
    windows: int,
    ask_new: bool,
    notes: tuple[str, ...],
) -> Fold:
    train = timed & (log.times < cut)
    inside = timed & (log.times >= cut)
    later = np.zeros_like(inside) if end is None else inside & (log.times >= end)
    inside &= ~later
    has_past = np.bincount(log.users[train], minlength=log.n_users) > 0
    has_future = np.bincount(log.users[inside], minlength=log.n_users) > 0
    asked = has_future if ask_new else has_future & has_past
    held = inside & asked[log.users]
    new = int((has_future & ~has_past).sum())
    if new and ask_new:
        notes = (*notes, f"{new} of {int(asked.sum())} users asked about have no event before the cut: an empty past")
    until = "to the end" if end is None else f"to before {_moment(end)}"
    return hold_out(
        log,
        f"temporal-{number}of{windows}",
        train=train,
        held=held,
        users=np.flatnonzero(asked).astype(np.int64),
        left_out={
            "events without a time": int((~timed).sum()),
            "events after the window": int(later.sum()),
            "events in the window of users with no past": int((inside & ~held).sum()),
        },
        not_asked={
            "users with no event in the window": int((~has_future).sum()),
            "users with no event before the cut": 0 if ask_new else new,
        },
        notes=(
            f"global temporal split: train holds the events before {_moment(cut)}, "
            f"{100 * int(train.sum()) / len(log):.1f} % of the log; targets are those from then {until}; nothing of "
            "anybody at or after the cut is in train",
            *notes,
        ),
    )


def _moment(time: int) -> str:
    """A time as a person reads it, and as it stands in the log."""
    try:
        return f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M:%S} UTC ({time})"
    except (OverflowError, ValueError, OSError):  # no calendar's time
        return str(time)
