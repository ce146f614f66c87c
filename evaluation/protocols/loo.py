"""Leave one out: each user's last event is predicted from all that came before it.

The order is the log's: by time, ties by the order of the source. Within a user train is strictly earlier than what is
predicted. It is not across users: what others did later is in train, so that a policy may know of a fashion before it
began. The temporal protocol (:mod:`.temporal`) has no such leak.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...errors import UserError
from ...ranking.log import Log
from ..folds import Fold
from .holding import from_the_end, hold_out, order_notes

Part = Literal["test", "validation"]


def loo(log: Log, part: Part = "test") -> Fold:
    """The fold of one event a user.

    Args:
        log: all interactions.
        part: ``test`` holds out each user's last event; ``validation`` the last but one, and trains without both, so
            that nothing chosen on it has seen the test.

    Returns:
        One query for each user with at least 2 events (``validation``: 3). The others are counted in ``not_asked``;
        their events stay in train, but for the last of two under ``validation``, which is a test event.

    Raises:
        UserError: no user has enough events.
    """
    held_back = 0 if part == "test" else 1
    least = held_back + 2
    back = from_the_end(log)
    lengths = np.repeat(log.lengths, log.lengths)
    held = (back == held_back) & (lengths >= least)
    tested_later = (back < held_back) & (lengths >= 2)
    users = np.flatnonzero(log.lengths >= least).astype(np.int64)
    if len(users) == 0:
        raise UserError(
            f"no user of the log has {least} events, so that none can be held out: leave-one-out needs longer histories"
        )
    which = "last event" if part == "test" else "last event but one"
    return hold_out(
        log,
        f"loo-{part}",
        train=~(held | tested_later),
        held=held,
        users=users,
        left_out={"the last event, kept for the test": int(tested_later.sum())},
        not_asked={
            f"users with {count if count else 'no'} event{'' if count == 1 else 's'}": int((log.lengths == count).sum())
            for count in range(least)
        },
        notes=(
            f"leave-one-out: each user's {which} is held out; train holds what the user did before it, and what other "
            "users did at any time, later events included",
            *order_notes(log),
        ),
    )
