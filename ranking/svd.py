"""The leading right singular vectors of a large sparse matrix, by randomized subspace iteration."""

from __future__ import annotations

import numpy as np
import scipy.linalg
import scipy.sparse as sp
from numpy.typing import NDArray

from ..catalog.readers.raw import Progress, no_progress


def right_singular(
    matrix: sp.csr_matrix,
    rank: int,
    *,
    iterations: int = 4,
    oversample: int = 16,
    seed: int = 0,
    progress: Progress = no_progress,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Singular values and right singular vectors of ``matrix`` (m, n), the largest ``rank`` of them.

    Halko, Martinsson & Tropp 2011, algorithm 4.4 (subspace iteration, orthonormalised between the
    products), then Rayleigh-Ritz on the subspace. Memory beside the matrix: (m + 2 n) x (rank + oversample)
    float32. Exact, up to rounding, when ``rank + oversample >= n``.

    Returns:
        values: (r,) float32, falling; vectors: (n, r) float32 with orthonormal columns,
        where r = min(rank, m, n).
    """
    m, n = matrix.shape
    r = min(rank, m, n)
    if r < 1:
        return np.zeros(0, dtype=np.float32), np.zeros((n, 0), dtype=np.float32)
    width = min(n, r + oversample)
    basis = np.random.default_rng(seed).standard_normal((n, width), dtype=np.float32)
    basis = _orthonormal(basis)
    for step in range(iterations):
        basis = _orthonormal(matrix.T @ (matrix @ basis))
        progress("finding singular vectors", step + 1, iterations + 1)
    image = matrix @ basis
    squared, turn = scipy.linalg.eigh((image.T @ image).astype(np.float64))
    order = np.argsort(-squared, kind="stable")[:r]
    values = np.sqrt(np.clip(squared[order], 0, None)).astype(np.float32)
    return values, np.ascontiguousarray(basis @ turn[:, order].astype(np.float32))


def _orthonormal(block: NDArray[np.float32]) -> NDArray[np.float32]:
    q: NDArray[np.float32] = scipy.linalg.qr(block, mode="economic", overwrite_a=True, check_finite=False)[0]
    return q
