"""Models of behaviour on MovieLens 100K, beside the figures of an independent implementation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from llm4rec.catalog.readers.movielens import read_movielens
from llm4rec.catalog.readers.raw import no_progress
from llm4rec.ranking.als import AlsConfig, fit_als
from llm4rec.ranking.base import Model
from llm4rec.ranking.ease import EaseConfig, EaseRanker, fit_ease, fit_ease_model
from llm4rec.ranking.graph import GraphConfig, fit_graph
from llm4rec.ranking.history import History, from_log
from llm4rec.ranking.itemknn import ItemKnnConfig, fit_itemknn
from llm4rec.ranking.log import Log
from llm4rec.ranking.popularity import PopularityRanker
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
    counts = np.asarray(log.sum(axis=0), dtype=np.float32).ravel()
    assert measure(PopularityRanker(counts).scores, users) == pytest.approx((0.0450, 0.0859), abs=0.003)


@pytest.fixture(scope="module")
def train(users: list[NDArray[np.int64]]) -> Log:
    return Log.of_lists([items[:-1] for items in users], 1682)


def measure_many(model: Model, train: Log, users: list[NDArray[np.int64]]) -> tuple[float, float]:
    """:func:`measure` for a model of many users; ties by the smaller row."""
    scores = model.score_many(train.pasts())
    scores[train.pasts().seen().toarray()] = -np.inf
    places = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    place = places[np.arange(len(users)), [items[-1] for items in users]]
    found = place < 10
    return float((found / np.log2(place + 2)).mean()), float(found.mean())


def test_measuring_many_is_measuring_one_by_one(log: sp.csr_matrix, train: Log, users: list[NDArray[np.int64]]) -> None:
    model = fit_ease_model(train, EaseConfig(tau=10.0))
    assert measure_many(model, train, users) == pytest.approx(measure(EaseRanker(model, tau=10.0).scores, users))


# The independent run counts an item among its own 50 nearest, which leaves 49 others.
@pytest.mark.parametrize(("k", "within"), [(50, 0.003), (49, 0.0001)])
def test_itemknn(train: Log, users: list[NDArray[np.int64]], k: int, within: float) -> None:
    model = fit_itemknn(train, ItemKnnConfig(k=k))
    assert measure_many(model, train, users) == pytest.approx((0.0539, 0.1050), abs=within)


def test_als(train: Log, users: list[NDArray[np.int64]]) -> None:
    pytest.importorskip("implicit")
    ndcg, hits = np.mean([measure_many(fit_als(train, seed=seed), train, users) for seed in range(2)], axis=0)
    # An independent run found 0.0740 and 0.1495 with settings it does not state; five seeds of these give 0.0733
    # and 0.1411, with standard deviations of 0.0016 and 0.0030.
    assert ndcg == pytest.approx(0.0740, abs=0.006)
    assert hits == pytest.approx(0.1411, abs=0.012)


def test_als_that_fades_is_far_better(train: Log, users: list[NDArray[np.int64]]) -> None:
    pytest.importorskip("implicit")
    config = AlsConfig(factors=32, alpha=2.0, tau=15.0)
    # Five seeds give 0.1088 with a standard deviation of 0.0027.
    assert measure_many(fit_als(train, config), train, users)[0] == pytest.approx(0.1088, abs=0.011)


def test_graph(realdata: Path, train: Log, users: list[NDArray[np.int64]]) -> None:
    folder = realdata / "ml-100k-posters"
    catalogue = read_movielens(folder, "movielens-100k", no_progress, None).catalogue
    assert catalogue.ids == tuple(str(row + 1) for row in range(1682))
    model = fit_graph(train, catalogue)
    ndcg, _ = measure_many(model, train, users)
    chosen = fit_graph(train, catalogue, GraphConfig(attributes=0.0))
    # Far above popularity (0.0450), and labels do no harm to those with long histories.
    assert ndcg == pytest.approx(0.1025, abs=0.003)
    assert ndcg > measure_many(chosen, train, users)[0] - 0.005
    # What only labels reach is ranked: the films nobody chose.
    cold = np.flatnonzero(train.counts == 0)
    assert (model.score_many(train.pasts(range(20)))[:, cold] > 0).any()
    path = model.paths(from_log(users[0][:-1], np.full(len(users[0]) - 1, np.nan), None), int(users[0][-1]))
    assert len(path) == 3
