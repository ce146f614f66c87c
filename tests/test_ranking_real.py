"""EASE on MovieLens 100K: the figures an independent double-precision implementation gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from llm4rec.ranking.ease import EaseRanker, fit_ease
from llm4rec.ranking.history import History, from_log
from llm4rec.ranking.popularity import PopularityRanker, item_counts
from numpy.typing import NDArray

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def users(realdata: Path) -> list[NDArray[np.int64]]:
    """Items of each user, oldest first, ties in the order of the file."""
    table = np.loadtxt(realdata / "ml-100k-posters" / "u.data", dtype=np.int64)
    table = table[np.lexsort((np.arange(len(table)), table[:, 3], table[:, 0]))]
    return [table[table[:, 0] == user, 1] - 1 for user in np.unique(table[:, 0])]


@pytest.fixture(scope="module")
def log(users: list[NDArray[np.int64]]) -> sp.csr_matrix:
    """Everything but each user's last event."""
    dense = np.zeros((len(users), 1682), dtype=np.float32)
    for user, items in enumerate(users):
        dense[user, items[:-1]] = 1
    return sp.csr_matrix(dense)


def measure(scores: Callable[[History], NDArray[np.float32]], users: list[NDArray[np.int64]]) -> tuple[float, float]:
    """NDCG@10 and HR@10 of the last event among all items not seen before."""
    ndcg = hits = 0.0
    for items in users:
        values = scores(from_log(items[:-1], np.full(len(items) - 1, np.nan), None)).copy()
        values[items[:-1]] = -np.inf
        place = int(np.flatnonzero(np.argsort(-values, kind="stable") == items[-1])[0])
        if place < 10:
            ndcg += 1 / np.log2(place + 2)
            hits += 1
    return ndcg / len(users), hits / len(users)


@pytest.mark.parametrize(
    ("regularization", "tau", "expected"),
    [(100.0, np.inf, (0.0723, 0.1485)), (400.0, 10.0, (0.1032, 0.1962))],
)
def test_dense_ease(
    log: sp.csr_matrix,
    users: list[NDArray[np.int64]],
    regularization: float,
    tau: float,
    expected: tuple[float, float],
) -> None:
    ranker = EaseRanker(fit_ease(log, regularization=regularization), tau=tau)
    assert measure(ranker.scores, users) == pytest.approx(expected, abs=0.003)


def test_truncated_ease_is_close_to_dense(log: sp.csr_matrix, users: list[NDArray[np.int64]]) -> None:
    ranker = EaseRanker(fit_ease(log, dense_limit=0, rank=256), tau=10.0)
    assert measure(ranker.scores, users) == pytest.approx((0.1032, 0.1962), abs=0.005)


def test_popularity(log: sp.csr_matrix, users: list[NDArray[np.int64]]) -> None:
    assert measure(PopularityRanker(item_counts(log)).scores, users) == pytest.approx((0.0450, 0.0859), abs=0.003)
