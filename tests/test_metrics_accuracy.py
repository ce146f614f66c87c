"""Accuracy metrics against trec_eval's (through ir_measures) and by hand."""

from __future__ import annotations

import math

import ir_measures
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ir_measures import AP, RR, P, R, Success, nDCG
from llm4rec.evaluation.metrics import ACCURACY, accuracy
from numpy.typing import NDArray

TREC = {"hr": Success, "ndcg": nDCG, "mrr": RR, "map": AP, "recall": R, "precision": P}

Asked = tuple[NDArray[np.bool_], NDArray[np.int64]]


@st.composite
def asked(draw: st.DrawFn) -> Asked:
    """Hits of some queries in lists of k, and targets that may be more than the hits and more than k; or none."""
    q, k = draw(st.integers(1, 5)), draw(st.integers(1, 12))
    hits = np.array(draw(st.lists(st.lists(st.booleans(), min_size=k, max_size=k), min_size=q, max_size=q)))
    beyond = np.array(draw(st.lists(st.integers(0, 15), min_size=q, max_size=q)))
    return hits, hits.sum(axis=1) + beyond


@given(asked())
@settings(max_examples=150, deadline=None)
def test_agrees_with_trec_eval(given_: Asked) -> None:
    hits, n_targets = given_
    k = hits.shape[1]
    qrels, run = [], []
    for query, (row, wanted) in enumerate(zip(hits, n_targets.tolist(), strict=True)):
        for place, hit in enumerate(row.tolist()):
            run.append(ir_measures.ScoredDoc(str(query), f"shown{place}", float(k - place)))
            if hit:
                qrels.append(ir_measures.Qrel(str(query), f"shown{place}", 1))
        qrels += [ir_measures.Qrel(str(query), f"missed{n}", 1) for n in range(wanted - int(row.sum()))]
    ours = {name: metric(hits, n_targets) for name, metric in ACCURACY.items()}
    for values in ours.values():
        assert np.isnan(values[n_targets == 0]).all()
        assert not np.isnan(values[n_targets > 0]).any()
    if not qrels:
        return
    measures = {measure @ k: name for name, measure in TREC.items()}
    compared = 0
    for found in ir_measures.iter_calc(list(measures), qrels, run):
        if n_targets[int(found.query_id)]:
            assert ours[measures[found.measure]][int(found.query_id)] == pytest.approx(found.value, abs=1e-9)
            compared += 1
    assert compared == len(TREC) * int((n_targets > 0).sum())


@given(asked())
@settings(max_examples=100, deadline=None)
def test_in_0_1_and_a_hit_one_place_earlier_never_costs(given_: Asked) -> None:
    hits, n_targets = given_
    for name, metric in ACCURACY.items():
        values = metric(hits, n_targets)
        known = values[n_targets > 0]
        assert ((known >= 0) & (known <= 1)).all(), name
        earlier = np.sort(hits, axis=1)[:, ::-1]
        assert (metric(earlier, n_targets)[n_targets > 0] >= known).all(), name


def test_by_hand() -> None:
    hits = np.array([[False, True, False, True], [True, False, False, False], [False] * 4, [False] * 4])
    n_targets = np.array([3, 1, 2, 0])
    found = accuracy(hits, n_targets)
    best = 1 + 1 / math.log2(3) + 1 / 2
    expected = {
        "hr@4": [1, 1, 0],
        "ndcg@4": [(1 / math.log2(3) + 1 / math.log2(5)) / best, 1, 0],
        "mrr@4": [1 / 2, 1, 0],
        "map@4": [(1 / 2 + 2 / 4) / 3, 1, 0],
        "recall@4": [2 / 3, 1, 0],
        "precision@4": [2 / 4, 1 / 4, 0],
    }
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name][:3].tolist() == pytest.approx(values), name
        assert math.isnan(found[name][3]), name


@pytest.mark.parametrize("k", range(1, 60))
def test_a_perfect_list_has_an_ndcg_of_1_exactly(k: int) -> None:
    n_targets = np.arange(1, 2 * k + 1)
    hits = np.arange(k) < n_targets[:, None]
    assert (ACCURACY["ndcg"](hits, n_targets) == 1.0).all()


def test_cutoffs_are_the_metrics_of_shorter_lists() -> None:
    rng = np.random.default_rng(1)
    hits = rng.random((50, 20)) < 0.1
    n_targets = hits.sum(axis=1) + rng.integers(0, 2, 50)
    found = accuracy(hits, n_targets, [5, 20])
    assert len(found) == 2 * len(ACCURACY)
    for name, metric in ACCURACY.items():
        for k in (5, 20):
            np.testing.assert_array_equal(found[f"{name}@{k}"], metric(hits[:, :k], n_targets))


def test_no_queries_give_no_values() -> None:
    found = accuracy(np.zeros((0, 10), dtype=bool), np.zeros(0, dtype=np.int64))
    assert all(values.shape == (0,) for values in found.values())


@pytest.mark.parametrize(
    ("hits", "n_targets", "cutoffs"),
    [
        (np.array([[True, True]]), np.array([1]), None),  # an item twice in a list
        (np.array([[True, False]]), np.array([1, 1]), None),
        (np.array([[True, False]]), np.array([1]), [3]),
        (np.array([[True, False]]), np.array([1]), [0]),
    ],
)
def test_input_that_cannot_be_is_refused(
    hits: NDArray[np.bool_], n_targets: NDArray[np.int64], cutoffs: list[int] | None
) -> None:
    with pytest.raises(ValueError, match=r"targets|cutoff"):
        accuracy(hits, n_targets, cutoffs)
