"""Scoring many pasts at once: the same as one after the other."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.ranking.base import Model, Ranker
from llm4rec.ranking.content import ContentRanker
from llm4rec.ranking.ease import EaseConfig, EaseModel, EaseRanker, fit_ease, fit_ease_model
from llm4rec.ranking.history import History, empty, from_events
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.popularity import PopularityRanker, fit_popularity
from numpy.typing import NDArray


@st.composite
def histories(draw: st.DrawFn, n_items: int) -> list[History]:
    """Up to six histories, some of them empty, with likes, dislikes and mere sights."""
    found = []
    for _ in range(draw(st.integers(0, 6))):
        rows = draw(st.lists(st.integers(0, n_items - 1), max_size=12))
        opinions = draw(st.lists(st.sampled_from([1.0, 0.5, 0.0, -0.5, -1.0]), min_size=len(rows), max_size=len(rows)))
        found.append(from_events(rows, opinions, [f"event:{at}" for at in range(len(rows))]))
    return found


def random_matrix(seed: int, users: int = 20, items: int = 14) -> sp.csr_matrix:
    return sp.csr_matrix((np.random.default_rng(seed).random((users, items)) < 0.25).astype(np.float32))


def same(ranker: Ranker, model: Model, many: list[History]) -> None:
    scores = model.score_many(Pasts.of(many, model.n_items))
    assert scores.shape == (len(many), model.n_items)
    assert scores.dtype == np.float32
    for history, row in zip(many, scores, strict=True):
        np.testing.assert_allclose(row, ranker.scores(history), atol=2e-5)


@given(st.data(), st.integers(0, 2**16), st.booleans(), st.sampled_from([3.0, 10.0, np.inf]))
@settings(deadline=None)
def test_ease(data: st.DataObject, seed: int, dense: bool, tau: float) -> None:
    live = 16  # two items came after the fit
    model = fit_ease(random_matrix(seed), regularization=5.0, dense_limit=live if dense else 0, rank=6)
    ranker = EaseRanker(model, live, tau=tau)
    same(ranker, ranker, data.draw(histories(live)))


@given(st.data(), st.integers(0, 2**16), st.sampled_from([3.0, np.inf]))
@settings(deadline=None)
def test_the_ease_model_scores_like_a_ranker_of_its_tau(data: st.DataObject, seed: int, tau: float) -> None:
    matrix = random_matrix(seed)
    lists = [matrix.indices[matrix.indptr[u] : matrix.indptr[u + 1]] for u in range(matrix.shape[0])]
    config = EaseConfig(regularization=5.0, tau=tau)
    model = fit_ease_model(Log.of_lists(lists, matrix.shape[1]), config)
    np.testing.assert_array_equal(model.weights, fit_ease(matrix, regularization=5.0).weights)
    same(EaseRanker(model, tau=tau), model, data.draw(histories(model.n_items)))


@given(st.data(), st.integers(0, 2**16), st.sampled_from([3.0, np.inf]))
@settings(deadline=None)
def test_content(data: st.DataObject, seed: int, tau: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(12, 5)).astype(np.float32) + 0.5
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[[3, 7]] = 0
    later = rng.normal(size=(3, 5)).astype(np.float32)
    later /= np.linalg.norm(later, axis=1, keepdims=True)
    # One built item changed, one gained a vector and one came later; the last item has none.
    ranker = ContentRanker("text", vectors, 14, live_rows=np.array([2, 7, 12]), live_vectors=later, tau=tau)
    same(ranker, ranker, data.draw(histories(14)))


def test_content_that_cancels_out_has_no_direction() -> None:
    vectors = np.eye(4, dtype=np.float32)
    # Next to alike, not quite: what is left of their difference is no direction to rank by.
    vectors[1] = [np.sqrt(1 - 1e-6), 1e-3, 0, 0]
    ranker = ContentRanker("text", vectors, tau=np.inf)
    opposed = from_events([0, 1], [1, -1], ["a", "b"])
    assert not ranker.scores(opposed).any()
    assert not ranker.score_many(Pasts.of([opposed, empty()], 4)).any()


@given(st.data())
@settings(deadline=None)
def test_popularity(data: st.DataObject) -> None:
    ranker = PopularityRanker(np.array([3, 0, 1], dtype=np.float32), 5)
    same(ranker, ranker, data.draw(histories(5)))


def test_popularity_of_a_log_counts_users() -> None:
    model = fit_popularity(Log.of_lists([[0, 2], [2], []], 4))
    scores = model.score_many(Pasts.of([empty()], 4))
    np.testing.assert_allclose(scores[0], np.log1p([1, 0, 2, 0]), rtol=1e-6)


def models() -> list[Model]:
    ease = fit_ease(random_matrix(0))
    vectors = np.eye(14, dtype=np.float32)
    truncated = fit_ease(random_matrix(0), dense_limit=0, rank=5)
    return [ease, truncated, PopularityRanker(np.ones(14, dtype=np.float32)), ContentRanker("text", vectors)]


@pytest.mark.parametrize("model", models(), ids=["dense", "truncated", "popularity", "content"])
def test_no_pasts_and_empty_pasts_are_scored(model: Model) -> None:
    assert model.score_many(Pasts.of([], 14)).shape == (0, 14)
    scores = model.score_many(Pasts.of([empty(), empty()], 14))
    assert np.isfinite(scores).all()
    assert (scores[0] == scores[1]).all()


@pytest.mark.parametrize("model", models(), ids=["dense", "truncated", "popularity", "content"])
def test_pasts_over_another_catalogue_are_refused(model: Model) -> None:
    with pytest.raises(ValueError, match="15 items"):
        model.score_many(Pasts.of([empty()], 15))


@pytest.mark.parametrize("config", [{"regularization": 0.0}, {"tau": 0.0}, {"tau": float("nan")}, {"rank": 0}])
def test_ease_settings_are_checked(config: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        EaseConfig(**config)  # type: ignore[arg-type]


def test_fitting_leaves_the_log_alone() -> None:
    log = Log.of_lists([[3, 1, 2], [2, 0]], 4)
    before: NDArray[np.int32] = log.items.copy()
    fit_ease_model(log)
    fit_popularity(log)
    assert log.items.tolist() == before.tolist()
    assert isinstance(fit_ease_model(log), EaseModel)
