"""EASE against its closed form, computed the long way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.ranking.ease import EaseRanker, fit_ease
from llm4rec.ranking.history import History, from_events, from_log
from llm4rec.ranking.svd import right_singular
from numpy.typing import NDArray


def closed_form(matrix: NDArray[np.float64], regularization: float) -> NDArray[np.float64]:
    """Steck 2019, equation 8, in double precision."""
    inverse = np.linalg.inv(matrix.T @ matrix + regularization * np.eye(matrix.shape[1]))
    weights = np.eye(matrix.shape[1]) - inverse @ np.diag(1 / np.diag(inverse))
    np.fill_diagonal(weights, 0)
    return weights


def random_log(seed: int, users: int, items: int, density: float = 0.3) -> NDArray[np.float64]:
    return (np.random.default_rng(seed).random((users, items)) < density).astype(np.float64)


sizes = st.tuples(st.integers(0, 2**16), st.integers(1, 25), st.integers(1, 18))


@given(sizes, st.sampled_from([0.5, 10.0, 400.0]))
@settings(deadline=None)
def test_dense_weights_are_the_closed_form(size: tuple[int, int, int], regularization: float) -> None:
    log = random_log(*size)
    model = fit_ease(sp.csr_matrix(log), regularization=regularization)
    assert model.form == "dense"
    expected = closed_form(log, regularization)[np.ix_(model.items, model.items)]
    np.testing.assert_allclose(model.weights, expected, atol=2e-4)
    assert not np.diag(model.weights).any()
    assert model.items.tolist() == np.flatnonzero(log.any(axis=0)).tolist()


@given(sizes)
@settings(deadline=None)
def test_truncated_at_full_rank_is_dense(size: tuple[int, int, int]) -> None:
    log = random_log(*size)
    history = from_log(np.arange(0, log.shape[1], 2), np.full(len(range(0, log.shape[1], 2)), np.nan), None)
    matrix = sp.csr_matrix(log)
    dense = EaseRanker(fit_ease(matrix, regularization=5.0))
    truncated = EaseRanker(fit_ease(matrix, regularization=5.0, dense_limit=0, rank=log.shape[1]))
    assert truncated.model.form == "truncated" or not truncated.model.items.size
    np.testing.assert_allclose(truncated.scores(history), dense.scores(history), atol=2e-4)
    every = np.arange(log.shape[1])
    np.testing.assert_allclose(truncated.shares(history, every), dense.shares(history, every), atol=2e-4)


def mixed_history(n_items: int) -> History:
    """Every second item, liked and disliked in turn."""
    rows = list(range(0, n_items, 2))
    return from_events(rows, [(-1.0) ** i for i in range(len(rows))], [f"event:{row}" for row in rows])


@given(sizes, st.booleans(), st.integers(1, 6))
@settings(deadline=None)
def test_contributions_sum_to_the_score(size: tuple[int, int, int], dense: bool, rank: int) -> None:
    log = random_log(*size)
    live = log.shape[1] + 2
    model = fit_ease(sp.csr_matrix(log), regularization=5.0, dense_limit=live if dense else 0, rank=rank)
    ranker, history = EaseRanker(model, live), mixed_history(live)
    scores = ranker.scores(history)
    for row in range(live):
        found = ranker.contributions(history, row)
        assert sum(c.amount for c in found) == pytest.approx(scores[row], abs=1e-5)
        assert all(c.row != row and c.part == "ease" for c in found)
        assert all(history.rows[history.refs.index(c.ref)] == c.row for c in found)


def test_scores_are_the_weighted_rows_of_the_closed_form() -> None:
    log = random_log(1, 40, 10)
    history = from_log([3, 0, 7], [1, 5, 2], (1, 5))
    weights = closed_form(log, 20.0)
    expected = np.exp(-2 / 4) * weights[3] + np.exp(-1 / 4) * weights[0] + weights[7]
    scores = EaseRanker(fit_ease(sp.csr_matrix(log), regularization=20.0), tau=4.0).scores(history)
    np.testing.assert_allclose(scores, expected, atol=1e-5)


def test_unweighted_scores_are_those_of_the_binary_history() -> None:
    log = random_log(2, 40, 10)
    history = from_log([1, 4], [np.nan, np.nan], None)
    scores = EaseRanker(fit_ease(sp.csr_matrix(log), regularization=20.0), tau=np.inf).scores(history)
    np.testing.assert_allclose(scores, closed_form(log, 20.0)[[1, 4]].sum(axis=0), atol=1e-5)


@pytest.mark.parametrize("dense_limit", [100, 0])
def test_items_nobody_chose_score_zero_and_say_nothing(dense_limit: int) -> None:
    log = random_log(3, 30, 8)
    log[:, [2, 5]] = 0
    ranker = EaseRanker(fit_ease(sp.csr_matrix(log), dense_limit=dense_limit), 10)
    scores = ranker.scores(from_log([0, 2, 9], [1, 1, 1], None))
    assert scores.shape == (10,)
    assert scores[[2, 5, 8, 9]].tolist() == [0, 0, 0, 0]
    assert ranker.known.tolist() == [True, True, False, True, True, False, True, True, False, False]
    assert not ranker.scores(from_log([2, 9], [1, 1], None)).any()
    assert ranker.contributions(from_log([0], [1], None), 9) == []


def test_a_spoken_dislike_lowers_what_goes_with_it() -> None:
    log = np.zeros((30, 6))
    log[:15, [0, 1]] = 1
    log[15:, [2, 3]] = 1
    ranker = EaseRanker(fit_ease(sp.csr_matrix(log), regularization=1.0))
    before = ranker.scores(from_events([2], [1], ["event:a"]))
    after = ranker.scores(from_events([2, 0], [1, -1], ["event:a", "event:b"]))
    assert after[1] < before[1]
    assert after[1] == ranker.scores(from_events([0], [-1], ["event:b"]))[1] < 0


def test_an_empty_log_is_a_model_that_says_nothing() -> None:
    ranker = EaseRanker(fit_ease(sp.csr_matrix((0, 4), dtype=np.float32)))
    assert ranker.scores(from_log([1], [1], None)).tolist() == [0, 0, 0, 0]


def test_stored_counts_above_one_are_one() -> None:
    log = random_log(4, 20, 6)
    once, thrice = fit_ease(sp.csr_matrix(log)), fit_ease(sp.csr_matrix(3 * log))
    np.testing.assert_array_equal(once.weights, thrice.weights)


@pytest.mark.parametrize("regularization", [0.0, -1.0, float("nan")])
def test_regularization_must_be_positive(regularization: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        fit_ease(sp.csr_matrix(np.eye(3)), regularization=regularization)


def test_singular_vectors_are_numpys() -> None:
    matrix = sp.random(200, 90, density=0.1, random_state=0, format="csr", dtype=np.float32)
    # A spectrum that falls, as a log's does: random noise alone has no leading vectors to speak of.
    matrix = (matrix @ sp.diags(np.geomspace(1, 1e-3, 90, dtype=np.float32))).tocsr()
    values, vectors = right_singular(matrix, 12, iterations=8)
    _, expected, right = np.linalg.svd(matrix.toarray().astype(np.float64))
    np.testing.assert_allclose(values, expected[:12], rtol=1e-4)
    np.testing.assert_allclose(vectors.T @ vectors, np.eye(12), atol=1e-5)
    np.testing.assert_allclose(np.abs((right[:12] * vectors.T).sum(axis=1)), 1, atol=1e-3)


def test_the_seed_settles_the_truncated_form() -> None:
    log = sp.csr_matrix(random_log(5, 60, 40))
    first, second = (fit_ease(log, dense_limit=0, rank=5, seed=7) for _ in range(2))
    np.testing.assert_array_equal(first.weights, second.weights)
