"""Ratings that are missing not at random: trained on what users chose to rate, asked of what was drawn for them.

Two files: ratings of items the users chose themselves, and ratings of items drawn at random (Coat, Schnabel et al.
2016, "Recommendations as Treatments: Debiasing Learning and Evaluation"; Yahoo! R3 has the same form). What a user
chose to rate is liked more often than what chance brings. A ranking measured on the drawn items does not reward a
policy for repeating that choice: each user's drawn items are ranked among themselves, and those rated well are the
targets.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import UserError
from ...ranking.history import rating_weights
from ...ranking.log import Log
from ..folds import Fold


def read_matrix(path: Path) -> NDArray[np.float32]:
    """Read a rating matrix: a line for each user, a number for each item, separated by white space, 0 = not rated.

    Returns:
        (users, items) float32, finite and not negative.

    Raises:
        UserError: the file is missing, empty or holds no rating; or a line has another length than the first, a word
            that is no number, or a number that is negative or not finite. Names the line.
    """
    rows: list[NDArray[np.float32]] = []
    try:
        with path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    rows.append(_row(path, number, line, None if not rows else len(rows[0])))
    except FileNotFoundError:
        raise UserError(f"{path} is missing: give a file of ratings, a line for each user") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: give the file of ratings in it, such as train.ascii") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read: permission denied") from None
    except UnicodeDecodeError:
        raise UserError(f"{path} is no text: a rating matrix has a line of numbers for each user") from None
    if not rows:
        raise UserError(f"{path} is empty: a rating matrix has a line of numbers for each user")
    matrix = np.stack(rows)
    if not matrix.any():
        raise UserError(f"{path} holds no rating: every number in it is 0, which stands for 'not rated'")
    return matrix


def _row(path: Path, number: int, line: str, width: int | None) -> NDArray[np.float32]:
    words = line.split()
    try:
        row = np.array(words, dtype=np.float32)
    except ValueError:
        wrong = next(word for word in words if not _is_number(word))
        raise UserError(f"{path}, line {number}: {wrong[:40]!r} is no number") from None
    if width is not None and len(row) != width:
        raise UserError(f"{path}, line {number} has {len(row)} numbers, the lines before it have {width}")
    if not np.isfinite(row).all() or (row < 0).any():
        raise UserError(f"{path}, line {number}: a rating must be a number that is not negative, 0 for 'not rated'")
    return row


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def mnar(train: Path, test: Path, *, relevant: float = 4.0) -> Fold:
    """The fold of a self-selected and a random-draw file, with the same users (lines) and items (columns).

    Every rating of train is an interaction, whatever the grade; models that know opinions have them too. The files hold
    no order, so every past event is of age 0: what is weighed by recency weighs all alike.

    Args:
        train: ratings the users chose to give.
        test: ratings of items drawn at random.
        relevant: the lowest test rating that makes an item a target.

    Returns:
        One query for each user with a target. An item that the user rated in both files is not asked about.

    Raises:
        UserError: a file cannot be read (see :func:`read_matrix`), the two do not fit together, or no test rating
            reaches ``relevant``.
    """
    known, drawn = read_matrix(train), read_matrix(test)
    if known.shape != drawn.shape:
        raise UserError(
            f"{train} has {known.shape[0]} lines of {known.shape[1]} numbers and {test} has {drawn.shape[0]} of "
            f"{drawn.shape[1]}: both must be of the same users and items"
        )
    both = (known > 0) & (drawn > 0)
    asked_of = (drawn > 0) & ~both
    wanted = asked_of & (drawn >= relevant)
    if not wanted.any():
        raise UserError(
            f"no rating of {test} that is not in {train} too reaches {relevant:g} (the highest is {drawn.max():g}): "
            "choose a lower --relevant"
        )
    users = np.flatnonzero(wanted.any(axis=1)).astype(np.int64)
    log = _log(known)
    pasts = log.pasts(users)
    offsets, targets = _rows_of(wanted[users])
    pool_offsets, pools = _rows_of(asked_of[users])
    unasked = ~wanted.any(axis=1)
    left_out = {
        "test ratings of items that the user rated in train too": int(both.sum()),
        "test ratings of users with no relevant one": int(asked_of[unasked].sum()),
        f"test ratings below {relevant:g}, which are ranked and are no targets": int((asked_of & ~wanted)[users].sum()),
    }
    return Fold(
        name="mnar",
        train=log,
        users=users,
        pasts=replace(pasts, ages=np.zeros_like(pasts.ages)),
        target_offsets=offsets,
        targets=targets,
        opinions=rating_weights(drawn[users][wanted[users]], log.scale),
        candidates=np.ones(known.shape[1], dtype=np.bool_),
        pool_offsets=pool_offsets,
        pools=pools,
        left_out={reason: count for reason, count in left_out.items() if count},
        not_asked={f"users with no test rating of {relevant:g} or more": int(unasked.sum())} if unasked.any() else {},
        notes=(
            f"missing not at random: trained on {int((known > 0).sum())} ratings that users chose to give "
            f"({train.name}), asked of {len(pools)} drawn at random ({test.name}); each user's drawn items are ranked "
            f"among themselves, those rated {relevant:g} or more are the targets",
            "the files hold no order: a policy that learns from the order of events learns nothing here",
        ),
    )


def _rows_of(mask: NDArray[np.bool_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Offsets and columns of the true entries of each line."""
    offsets = np.concatenate([[0], np.cumsum(mask.sum(axis=1))]).astype(np.int64)
    return offsets, np.nonzero(mask)[1].astype(np.int64)


def _log(matrix: NDArray[np.float32]) -> Log:
    offsets, items = _rows_of(matrix > 0)
    values = matrix[matrix > 0]
    return Log(
        offsets=offsets,
        items=items.astype(np.int32),
        values=values,
        times=np.full(len(items), -1, dtype=np.int64),
        n_items=matrix.shape[1],
        scale=(float(values.min()), float(values.max())),
    )
