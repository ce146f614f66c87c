"""Unit rows, cosine similarities and exact search with numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Numbers multiplied at once. They stay in the processor's cache, and are few enough for BLAS to use one thread: its
#: threads, when other work keeps a core busy, wait 8 ms for each other to save 2.
_CHUNK = 1024 * 384
#: Share of the rows from which all are multiplied rather than the wanted ones picked out: streaming is cheaper.
SCAN_SHARE = 0.3


def unit_rows(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows scaled to length 1, shape (n, d); zero rows stay zero."""
    lengths = np.sqrt(np.einsum("ij,ij->i", vectors, vectors, dtype=np.float64))
    scale = np.divide(1.0, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(vectors * scale[:, np.newaxis], dtype=np.float32)


def similarities(
    vectors: NDArray[np.float32], rows: NDArray[np.int64], query: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Cosine similarities in [-1, 1] of some unit rows with a unit vector, shape (len(rows),).

    In double precision and row by row, so that an item's similarity does not depend on what else was found.
    """
    exact = np.einsum("ij,j->i", vectors[rows].astype(np.float64), query.astype(np.float64))
    return np.asarray(np.clip(exact, -1.0, 1.0), dtype=np.float32)


def exact_nearest(
    vectors: NDArray[np.float32], query: NDArray[np.float32], k: int, allowed: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """The k allowed rows most similar to a query, in no order; more where some may tie with the k-th.

    Args:
        vectors: shape (n, d), unit rows.
        query: shape (d,), unit.
        allowed: shape (n,).
    """
    rows = np.flatnonzero(allowed)
    if len(rows) <= k:
        return rows
    step = max(1, _CHUNK // vectors.shape[1])
    if len(rows) >= SCAN_SHARE * len(vectors):
        parts = [vectors[start : start + step] @ query for start in range(0, len(vectors), step)]
        scores = np.concatenate(parts)[rows]
    else:
        parts = [vectors[rows[start : start + step]] @ query for start in range(0, len(rows), step)]
        scores = np.concatenate(parts)
    kth = np.partition(scores, len(rows) - k)[len(rows) - k]
    # Single precision puts equal ones a hair apart: all that may tie with the last are handed on.
    return np.asarray(rows[scores >= kth - 1e-6])
