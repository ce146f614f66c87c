"""Cold start: all interactions of some items are hidden, and those who chose them are asked about them.

To every policy the hidden items look as if they had come to the catalogue today. A policy that only counts choices has
one score for all of them, and a catalogue may list what is well known first: on MovieLens 100K the order of the rows
alone has an NDCG@10 of 0.19 on such items, chance 0.07. So equal scores are listed in a drawn order here.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ...errors import UserError
from ...ranking.log import Log
from ..folds import Fold
from .holding import hold_out


def cold(log: Log, *, share: float = 0.1, among: Literal["hidden", "all"] = "hidden", seed: int = 0) -> Fold:
    """The fold that hides a share of the items that have interactions.

    Args:
        log: all interactions.
        share: of the items to hide, in (0, 1), drawn at random.
        among: rank the hidden items among themselves, or among all items of the catalogue.
        seed: of the draw.

    Returns:
        One query for each user who chose a hidden item. The past is all else that the user did, later events too:
        what is asked is whether an unknown item is placed well, not what comes next.

    Raises:
        UserError: the share is out of range, or hides no item or all of them.
    """
    if not 0 < share < 1:
        raise UserError(f"the share of items to hide must lie between 0 and 1, not {share:g}")
    chosen = np.flatnonzero(log.counts > 0)
    count = round(share * len(chosen))
    if not 0 < count < len(chosen):
        raise UserError(
            f"{share:g} of {len(chosen)} items with interactions hides {count} of them: choose another share"
        )
    hidden = np.zeros(log.n_items, dtype=np.bool_)
    rng = np.random.default_rng(seed)
    hidden[rng.choice(chosen, size=count, replace=False)] = True
    held = hidden[log.items]
    asked = np.bincount(log.users[held], minlength=log.n_users) > 0
    others = "the hidden items alone" if among == "hidden" else "all items of the catalogue"
    return hold_out(
        log,
        f"cold-{among}-{seed}",
        train=~held,
        held=held,
        users=np.flatnonzero(asked).astype(np.int64),
        candidates=hidden if among == "hidden" else None,
        order=rng.permutation(log.n_items).astype(np.int64),
        left_out={},
        not_asked={"users who chose no hidden item": int((~asked).sum())},
        notes=(
            f"cold start: all {int(held.sum())} interactions of {count} of {len(chosen)} items (seed {seed}) are "
            f"hidden; {others} are ranked; a user's past is all else the user did, later events included",
            "items with equal scores are listed in a drawn order: that of the catalogue may follow popularity",
        ),
    )
