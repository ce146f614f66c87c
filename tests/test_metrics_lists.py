"""Metrics beyond accuracy against slow implementations that follow the definitions word for word."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.evaluation.metrics import (
    calibration,
    coverage,
    exposure,
    gini,
    ild,
    novelty,
    popularity_lift,
    serendipity,
    system_figures,
)
from llm4rec.evaluation.metrics import lists as module
from numpy.typing import NDArray
from scipy.spatial.distance import cosine
from scipy.stats import entropy

N_ITEMS = 12


def drawn_lists(rng: np.random.Generator, q: int, k: int) -> NDArray[np.int64]:
    """Lists without repetition, some shorter than k."""
    lists = np.full((q, k), -1, dtype=np.int64)
    for row in lists:
        length = int(rng.integers(0, k + 1))
        row[:length] = rng.choice(N_ITEMS, size=length, replace=False)
    return lists


def drawn_pasts(rng: np.random.Generator, q: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    lengths = rng.integers(0, 6, q)
    rows = [rng.choice(N_ITEMS, size=n, replace=False) for n in lengths]
    return np.concatenate([[0], np.cumsum(lengths)]), np.concatenate([np.empty(0, np.int64), *rows])


seeds = st.integers(0, 2**32 - 1)


@given(seed=seeds, q=st.integers(1, 6), k=st.integers(1, 6), d=st.integers(1, 5))
@settings(max_examples=80, deadline=None)
def test_ild_is_the_mean_cosine_distance_of_the_pairs(seed: int, q: int, k: int, d: int) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.normal(size=(N_ITEMS, d)).astype(np.float32)
    vectors[rng.random(N_ITEMS) < 0.2] = 0
    vectors[0] = np.nan
    vectors[1] = np.inf
    lists = drawn_lists(rng, q, k)
    found = ild(lists, vectors)
    for row, value, ignored in zip(lists, found.values, found.ignored, strict=True):
        items = [item for item in row.tolist() if item >= 0]
        known = [item for item in items if item > 1 and vectors[item].any()]
        assert ignored == len(items) - len(known)
        if len(known) < 2:
            assert math.isnan(value)
        else:
            slow = np.mean(
                [cosine(vectors[a].astype(float), vectors[b].astype(float)) for a, b in combinations(known, 2)]
            )
            assert value == pytest.approx(slow, abs=1e-6)


def test_ild_does_not_change_with_the_vectors_lengths_or_the_order() -> None:
    rng = np.random.default_rng(0)
    vectors, lists = rng.normal(size=(N_ITEMS, 4)), np.array([[1, 5, 3, 8]])
    scaled = vectors * rng.uniform(0.1, 9, (N_ITEMS, 1))
    assert ild(lists, scaled).values == pytest.approx(ild(lists, vectors).values)
    assert ild(lists[:, ::-1], vectors).values == pytest.approx(ild(lists, vectors).values)
    same = np.tile(vectors[:1], (N_ITEMS, 1))
    assert ild(lists, same).values == pytest.approx([0], abs=1e-12)
    assert ild(np.array([[0, 1]]), np.array([[1.0, 0], [-3.0, 0]])).values == pytest.approx([2])


def test_figures_do_not_depend_on_how_many_queries_are_handled_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(5)
    lists, vectors = drawn_lists(rng, 40, 5), rng.normal(size=(N_ITEMS, 4))
    labels, (offsets, rows) = sp.csr_matrix(rng.integers(0, 2, (N_ITEMS, 3))), drawn_pasts(rng, 40)
    whole = ild(lists, vectors).values, calibration(lists, labels, offsets, rows).values
    monkeypatch.setattr(module, "_AT_ONCE", 7)
    np.testing.assert_array_equal(ild(lists, vectors).values, whole[0])
    np.testing.assert_array_equal(calibration(lists, labels, offsets, rows).values, whole[1])


@given(seed=seeds, q=st.integers(1, 6), k=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_novelty_and_popularity_lift_are_means_over_the_list(seed: int, q: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    users = 20
    counts, lists = rng.integers(0, users + 1, N_ITEMS), drawn_lists(rng, q, k)
    counts[:2] = 0
    offsets, rows = drawn_pasts(rng, q)
    bits = novelty(lists, counts, users)
    lift = popularity_lift(lists, counts, offsets, rows)
    for query, row in enumerate(lists):
        items = [item for item in row.tolist() if item >= 0]
        past = rows[offsets[query] : offsets[query + 1]].tolist()
        if items:
            slow = sum(-math.log2((counts[item] + 1) / (users + 1)) for item in items) / len(items)
            assert bits[query] == pytest.approx(slow)
        else:
            assert math.isnan(bits[query])
        if items and past and counts[past].sum():
            before = np.mean([counts[item] for item in past])
            assert lift[query] == pytest.approx((np.mean([counts[item] for item in items]) - before) / before)
        else:
            assert math.isnan(lift[query])


def test_novelty_is_0_for_what_everybody_chose_and_finite_for_what_nobody_did() -> None:
    assert novelty(np.array([[0], [1], [-1]]), np.array([7, 0]), 7).tolist() == pytest.approx(
        [0, 3, np.nan], nan_ok=True
    )
    with pytest.raises(ValueError, match="8 of 7 users"):
        novelty(np.array([[0]]), np.array([8]), 7)


@given(seed=seeds, q=st.integers(1, 6), k=st.integers(1, 6), m=st.integers(0, 6))
@settings(max_examples=60, deadline=None)
def test_serendipity_counts_hits_that_were_not_to_be_expected(seed: int, q: int, k: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    lists, expected = drawn_lists(rng, q, k), drawn_lists(rng, q, m)
    hits = (rng.random((q, k)) < 0.5) & (lists >= 0)
    n_targets = hits.sum(axis=1) + rng.integers(0, 2, q)
    found = serendipity(hits, n_targets, lists, expected)
    for query in range(q):
        if n_targets[query] == 0:
            assert math.isnan(found[query])
        else:
            surprising = set(lists[query][hits[query]].tolist()) - set(expected[query].tolist())
            assert found[query] == pytest.approx(len(surprising) / k)
    assert np.nansum(serendipity(hits, n_targets, lists, lists)) == 0


@given(seed=seeds, q=st.integers(1, 5), k=st.integers(1, 6), n_labels=st.integers(1, 4))
@settings(max_examples=80, deadline=None)
def test_calibration_is_the_divergence_of_steck(seed: int, q: int, k: int, n_labels: int) -> None:
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 3, (N_ITEMS, n_labels)).astype(float)
    weights[rng.random(N_ITEMS) < 0.3] = 0
    lists, (offsets, rows) = drawn_lists(rng, q, k), drawn_pasts(rng, q)
    found = calibration(lists, sp.csr_matrix(weights), offsets, rows)

    def mean(items: list[int]) -> NDArray[np.float64] | None:
        own = [weights[item] / weights[item].sum() for item in items if item >= 0 and weights[item].sum()]
        return np.mean(own, axis=0) if own else None

    for query in range(q):
        past, shown = mean(rows[offsets[query] : offsets[query + 1]].tolist()), mean(lists[query].tolist())
        assert found.ignored[query] == sum(item >= 0 and not weights[item].any() for item in lists[query].tolist())
        if past is None or shown is None:
            assert math.isnan(found.values[query])
        else:
            assert found.values[query] == pytest.approx(entropy(past, 0.99 * shown + 0.01 * past), abs=1e-9)
            assert 0 <= found.values[query] <= -math.log(0.01) + 1e-9


def test_calibration_is_0_for_the_past_again_and_largest_for_other_labels() -> None:
    labels = sp.csr_matrix(np.array([[1, 0], [1, 1], [0, 1]]))
    found = calibration(np.array([[0, 1], [0, -1], [2, -1]]), labels, np.array([0, 2, 3, 4]), np.array([0, 1, 0, 0]))
    assert found.values.tolist() == pytest.approx([0, 0, -math.log(0.01)], abs=1e-12)
    with pytest.raises(ValueError, match="negative"):
        calibration(np.array([[0]]), -labels, np.array([0, 1]), np.array([0]))
    with pytest.raises(ValueError, match="smoothing"):
        calibration(np.array([[0]]), labels, np.array([0, 1]), np.array([0]), smoothing=0)


def slow_gini(shown: list[int]) -> float:
    """The mean difference of all pairs of different items, over twice the mean."""
    n = len(shown)
    apart = sum(abs(a - b) for a in shown for b in shown) / (n * (n - 1))
    return apart / (2 * sum(shown) / n)


@given(seed=seeds, q=st.integers(1, 8), k=st.integers(1, 6))
@settings(max_examples=80, deadline=None)
def test_coverage_and_gini(seed: int, q: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    lists = drawn_lists(rng, q, k)
    candidates = rng.random(N_ITEMS) < 0.7
    candidates[:2] = True
    lists[~candidates[lists] | (lists < 0)] = -1
    shown = exposure(lists, N_ITEMS)
    flat = lists.ravel().tolist()
    assert shown.tolist() == [flat.count(item) for item in range(N_ITEMS)]
    assert coverage(lists, candidates) == pytest.approx(len(set(flat) - {-1}) / candidates.sum())
    if shown.sum():
        found = gini(lists, candidates)
        assert found == pytest.approx(slow_gini(shown[candidates].tolist()))
        assert -1e-12 <= found <= 1 + 1e-12
    else:
        assert math.isnan(gini(lists, candidates))
    rows = rng.integers(q, size=2 * q)
    again = system_figures(lists, candidates)(rows)
    np.testing.assert_allclose(again, [coverage(lists[rows], candidates), gini(lists[rows], candidates)])


def test_ends_of_gini() -> None:
    everything = np.ones(5, dtype=bool)
    assert gini(np.arange(5)[:, None], everything) == pytest.approx(0)
    assert gini(np.full((9, 1), 3), everything) == pytest.approx(1)
    assert coverage(np.full((9, 1), 3), everything) == pytest.approx(0.2)


def test_system_figures_where_there_is_nothing_or_what_may_not_be() -> None:
    assert math.isnan(coverage(np.full((2, 3), -1), np.zeros(4, dtype=bool)))
    assert math.isnan(gini(np.full((2, 3), -1), np.zeros(4, dtype=bool)))
    with pytest.raises(ValueError, match="no candidate"):
        coverage(np.array([[2]]), np.array([True, True, False]))


@pytest.mark.parametrize("k", [0, 3])
def test_no_queries(k: int) -> None:
    none, offsets, rows = np.zeros((0, k), dtype=np.int64), np.array([0]), np.zeros(0, dtype=np.int64)
    counts = np.ones(4, dtype=np.int64)
    assert ild(none, np.ones((4, 2))).values.shape == (0,)
    assert novelty(none, counts, 3).shape == (0,)
    assert popularity_lift(none, counts, offsets, rows).shape == (0,)
    assert calibration(none, sp.csr_matrix(np.ones((4, 2))), offsets, rows).values.shape == (0,)
    assert coverage(none, np.ones(4, dtype=bool)) == 0
