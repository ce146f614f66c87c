"""How the sequence model tells distances apart; without torch, for those who only read its weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

#: Distances below this have a bucket each, those above share buckets of growing width.
_EXACT = 16
#: Buckets of distances; the start has one more, of its own.
BUCKETS = 32


def buckets(longest: int) -> NDArray[np.int64]:
    """(longest,): the bucket of each distance, which grows with its logarithm (as in T5, Raffel et al. 2020)."""
    distance = np.arange(longest, dtype=np.int64)
    far = np.log(np.maximum(distance, 1) / _EXACT) / np.log(max(2.0, longest / _EXACT))
    shared = np.minimum((_EXACT + far * (BUCKETS - _EXACT)).astype(np.int64), BUCKETS - 1)
    return np.where(distance < _EXACT, distance, shared)
