"""What every ranker is: scores for all items, and who in the history is answerable for each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from .history import History
from .log import Pasts


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one piece of evidence added to one item's score.

    Attributes:
        ref: id of the evidence, a logged interaction (``log:<user>:<item>``) or a live event (``event:<id>``).
        row: the history item's row; None where the evidence is no item (a stated taste).
        amount: signed, in the units of the score it is part of.
        part: the part of the score it went through (``ease``, ``text``, ``tastes`` and so on).
        direct: whether the part counts for what it names. False where its multiplier is below 0, so that the more it
            finds for an item the less that item gets: no reason that could be told.
    """

    ref: str
    row: int | None
    amount: float
    part: str
    direct: bool = True


@dataclass(frozen=True, slots=True)
class Ranked:
    """One item of a ranked list.

    Attributes:
        row: the item's row in the live catalogue.
        score: the sum of ``parts``; higher is better, comparable within one list only.
        parts: what each part added.
        contributions: the evidence that moved this item most, largest absolute amount first.
    """

    row: int
    score: float
    parts: Mapping[str, float]
    contributions: tuple[Contribution, ...]


class Ranker(Protocol):
    """Scores every item of the live catalogue for one history."""

    @property
    def name(self) -> str: ...

    @property
    def n_items(self) -> int: ...

    @property
    def known(self) -> NDArray[np.bool_]:
        """Shape (n_items,): the items it knows something of; the others score 0."""
        ...

    def scores(self, history: History) -> NDArray[np.float32]:
        """Shape (n_items,): finite, higher is better."""
        ...

    def shares(self, history: History, rows: NDArray[np.int64]) -> NDArray[np.float32]:
        """Shape (len(rows), len(history)): what each history entry added to each row's score."""
        ...

    def contributions(self, history: History, row: int) -> list[Contribution]:
        """The shares of one row that are not 0, in the order of the history."""
        ...


class Model(Protocol):
    """A fitted model that scores many users at once: what is fused, replayed and compared."""

    @property
    def name(self) -> str: ...

    @property
    def n_items(self) -> int: ...

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        """Shape (len(pasts), n_items): finite, higher is better; what a past holds is scored like all else.

        A row depends on its own past alone, so that scores do not change with who else is asked about.
        """
        ...


def contributions_of(ranker: Ranker, history: History, row: int) -> list[Contribution]:
    """How every ranker answers ``contributions`` from its ``shares``."""
    shares = ranker.shares(history, np.array([row], dtype=np.int64))[0]
    return [
        Contribution(ref=history.refs[at], row=int(history.rows[at]), amount=float(shares[at]), part=ranker.name)
        for at in np.flatnonzero(shares)
    ]


def top_rows(scores: NDArray[np.floating], k: int, allowed: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Rows of the ``k`` highest allowed scores, best first, ties by the smaller row.

    Fewer than ``k`` come back when fewer are allowed; ``k`` below 1 gives none.
    """
    rows = np.flatnonzero(allowed)
    if k < 1 or rows.size == 0:
        return np.empty(0, dtype=np.int64)
    values = scores[rows]
    if k < rows.size:
        # Everything as good as the k-th stays in, so that a tie at the edge is cut by row and not by chance.
        edge = np.partition(values, rows.size - k)[rows.size - k]
        keep = values >= edge
        rows, values = rows[keep], values[keep]
    return rows[np.lexsort((rows, -values))][:k].astype(np.int64)


def product(subscripts: str, *operands: NDArray[np.float32]) -> NDArray[np.float32]:
    """``np.einsum`` without BLAS, for the products made while a user waits.

    One thread reads a view as fast as memory gives it. BLAS would share the work among its pool, whose threads spin for
    each other: on a machine busy with a language model that took a hundred times as long as the sum itself.
    """
    result: NDArray[np.float32] = np.einsum(subscripts, *operands, optimize=False)
    return result
