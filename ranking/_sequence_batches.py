"""Cutting a log into batches of pasts for the sequence model."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Stands for "never" among steps.
NEVER = np.iinfo(np.int16).max
#: Batches' worth of windows that are sorted by length together, so that little of a batch is padding.
_POOL = 8


@dataclass(frozen=True, eq=False)
class Batch:
    """Pasts, and the places in them at which the next item is to be foretold.

    Attributes:
        codes: (b, length) int64: 0 the start, then 1 + item; padded behind with 0.
        past: (n,) int64, which of the pasts each place is in. step: (n,) int16, entries before it, the start aside.
        targets: (n,) int64, the items that came next.
        chosen: (b, k) int16, for each of the k items in question the step at which it was chosen; -1 for
            before the window, :data:`NEVER` for never.
    """

    codes: NDArray[np.int64]
    past: NDArray[np.int64]
    step: NDArray[np.int16]
    targets: NDArray[np.int64]
    chosen: NDArray[np.int16]


@dataclass(frozen=True, slots=True)
class Window:
    """Events ``first:stop`` of the log, all of one user, whose events begin at ``begin``."""

    begin: int
    first: int
    stop: int


def windows(offsets: NDArray[np.int64], size: int, rng: np.random.Generator) -> list[Window]:
    """Every user's events, in windows of at most ``size``.

    Longer pasts are cut anew at each call, at a random place, so that no event always lacks what went before it.
    """
    found = []
    for begin, end in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        cut = begin if end - begin <= size else begin - int(rng.integers(size))
        for first in range(cut, end, size):
            start, stop = max(first, begin), min(first + size, end)
            # A lone event that is not the user's first has nothing before it in its window.
            if stop > start and (stop - start > 1 or start == begin):
                found.append(Window(begin, start, stop))
    return found


def packed(found: list[Window], events: int, rng: np.random.Generator) -> Iterator[list[Window]]:
    """Lists of windows of about ``events`` events, like beside like in length, in random order."""
    order = [found[at] for at in rng.permutation(len(found))]
    batches, pool, held = [], [], 0
    for at, window in enumerate(order):
        pool.append(window)
        held += window.stop - window.first
        if held < _POOL * events and at + 1 < len(order):
            continue
        pool.sort(key=lambda one: one.stop - one.first)
        batch, held = [], 0
        for one in pool:
            batch.append(one)
            held += one.stop - one.first
            if held >= events:
                batches.append(batch)
                batch, held = [], 0
        if batch:
            batches.append(batch)
        pool, held = [], 0
    for at in rng.permutation(len(batches)):
        yield batches[at]


def batch_of(found: list[Window], items: NDArray[np.int64], about: NDArray[np.int64], n_about: int) -> Batch:
    """One batch.

    Args:
        found: its windows.
        items: (events of the log,), the item of each event.
        about: (items,) int64, the column of ``chosen`` each item has; -1 for none.
        n_about: columns of ``chosen``.
    """
    longest = max(one.stop - one.first for one in found)
    codes = np.zeros((len(found), longest), dtype=np.int64)
    chosen = np.full((len(found), n_about), NEVER, dtype=np.int16)
    past, step, targets = [], [], []
    for row, one in enumerate(found):
        inside = items[one.first : one.stop]
        codes[row, 1 : len(inside)] = 1 + inside[:-1]
        columns = about[items[one.begin : one.stop]]
        steps = np.maximum(np.arange(one.begin, one.stop) - one.first, -1)
        chosen[row, columns[columns >= 0]] = steps[columns >= 0]
        # Without its past cut off, what a window begins with cannot be foretold.
        places = np.arange(0 if one.first == one.begin else 1, len(inside))
        past.append(np.full(len(places), row))
        step.append(places)
        targets.append(inside[places])
    return Batch(
        codes=codes,
        past=np.concatenate(past).astype(np.int64),
        step=np.concatenate(step).astype(np.int16),
        targets=np.concatenate(targets),
        chosen=chosen,
    )
