"""Likeness in a content space."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.ranking.content import ContentRanker
from llm4rec.ranking.history import empty, from_events, from_log
from numpy.typing import NDArray


def unit_rows(seed: int, n: int, d: int = 6) -> NDArray[np.float32]:
    rows = np.random.default_rng(seed).normal(size=(n, d)) + 0.5
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_scores_are_cosines_with_the_weighted_mean() -> None:
    vectors = unit_rows(0, 9)
    history = from_events([2, 4, 7], [1, -1, 0.5], ["a", "b", "c"])
    centred = vectors.astype(np.float64) - vectors.mean(axis=0, dtype=np.float64)
    profile = np.exp(-2 / 3) * centred[2] - np.exp(-1 / 3) * centred[4] + 0.5 * centred[7]
    expected = centred @ profile / np.linalg.norm(centred, axis=1) / np.linalg.norm(profile)
    np.testing.assert_allclose(ContentRanker("text", vectors, tau=3.0).scores(history), expected, atol=1e-5)


@given(st.integers(0, 2**16), st.integers(1, 12), st.integers(0, 3))
@settings(deadline=None)
def test_contributions_sum_to_the_score(seed: int, n: int, later: int) -> None:
    vectors = unit_rows(seed, n)
    vectors[:: max(2, n // 2)] = 0
    live = n + later
    rows = np.arange(n - 1, live)  # the last built item is changed, the others are new
    ranker = ContentRanker("text", vectors, live, live_rows=rows, live_vectors=unit_rows(seed + 1, len(rows)))
    chosen = list(range(0, live, 2))
    history = from_events(chosen, [(-1.0) ** i for i in chosen], [f"event:{i}" for i in chosen])
    scores = ranker.scores(history)
    assert np.isfinite(scores).all()
    assert np.abs(scores).max() <= 1
    for row in range(live):
        total = sum(c.amount for c in ranker.contributions(history, row))
        assert total == pytest.approx(scores[row], abs=1e-4)


def test_items_without_the_view_are_neutral() -> None:
    vectors = unit_rows(1, 5)
    vectors[3] = 0
    ranker = ContentRanker("text", vectors, 7)
    scores = ranker.scores(from_events([0], [1], ["a"]))
    assert scores[[3, 5, 6]].tolist() == [0, 0, 0]
    assert not ranker.scores(from_events([3, 6], [1, 1], ["a", "b"])).any()
    assert not ranker.scores(empty()).any()


def test_a_live_item_ranks_by_its_vector_and_leaves_the_others_alone() -> None:
    vectors = unit_rows(2, 6)
    history = from_events([1], [1], ["a"])
    alone = ContentRanker("text", vectors).scores(history)
    ranker = ContentRanker("text", vectors, 7, live_rows=np.array([6]), live_vectors=vectors[[1]])
    scores = ranker.scores(history)
    np.testing.assert_allclose(scores[:6], alone, atol=1e-6)
    assert scores[6] == pytest.approx(1, abs=1e-5)
    # And it may be in the history itself.
    np.testing.assert_allclose(ranker.scores(from_events([6], [1], ["a"])), scores, atol=1e-5)


def test_a_live_vector_takes_the_place_of_a_built_one() -> None:
    vectors = unit_rows(3, 6)
    history = from_events([1], [1], ["a"])
    ranker = ContentRanker("text", vectors, live_rows=np.array([4]), live_vectors=vectors[[1]])
    assert ranker.scores(history)[4] == pytest.approx(1, abs=1e-5)
    gone = ContentRanker("text", vectors, live_rows=np.array([4]), live_vectors=np.zeros((1, 6), dtype=np.float32))
    assert gone.scores(history)[4] == 0
    assert not gone.known[4]


def test_a_dislike_lowers_similar_items() -> None:
    vectors = unit_rows(4, 8)
    vectors[1] = vectors[0]
    ranker = ContentRanker("text", vectors)
    liked = ranker.scores(from_events([2], [1], ["a"]))
    assert ranker.scores(from_events([2, 0], [1, -1], ["a", "b"]))[1] < liked[1]
    assert ranker.scores(from_events([0], [-1], ["b"]))[1] == pytest.approx(-1, abs=1e-5)


def test_the_worst_rating_of_a_log_does_not_pull() -> None:
    ranker = ContentRanker("text", unit_rows(5, 8))
    assert not ranker.scores(from_log([0], [1], (1, 5))).any()


def test_memory_mapped_vectors_are_used_in_place(tmp_path: pytest.TempPathFactory) -> None:
    vectors = unit_rows(6, 8)
    np.save(f"{tmp_path}/vectors.npy", vectors)
    mapped = np.load(f"{tmp_path}/vectors.npy", mmap_mode="r")
    history = from_events([0], [1], ["a"])
    np.testing.assert_array_equal(
        ContentRanker("text", mapped).scores(history), ContentRanker("text", vectors).scores(history)
    )


def test_what_does_not_fit_is_refused() -> None:
    vectors = unit_rows(7, 4)
    with pytest.raises(ValueError, match="smaller"):
        ContentRanker("text", vectors, 3)
    with pytest.raises(ValueError, match="do not fit"):
        ContentRanker("text", vectors, live_rows=np.array([1]), live_vectors=np.zeros((2, 6), dtype=np.float32))
    with pytest.raises(ValueError, match="outside"):
        ContentRanker("text", vectors, live_rows=np.array([4]), live_vectors=np.zeros((1, 6), dtype=np.float32))
    vectors[2, 0] = np.nan
    with pytest.raises(ValueError, match="text view"):
        ContentRanker("text", vectors)
