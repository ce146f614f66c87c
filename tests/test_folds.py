"""Full ranking, its ties and seen items, and what a fold refuses to be."""

from __future__ import annotations

from dataclasses import replace
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from llm4rec.evaluation import folds
from llm4rec.evaluation.folds import NOTHING, Fold, best, hits, take_pasts, topk, unfit
from llm4rec.evaluation.protocols.loo import loo
from llm4rec.ranking.base import top_rows
from llm4rec.ranking.log import Log

LOG = Log.of_lists([[0, 1, 2], [3, 0], [2, 4, 1, 0]], n_items=6)


def naive(scores: np.ndarray, allowed: np.ndarray, k: int) -> list[list[int]]:
    """By sorting all items in Python."""
    lists = []
    for line, open_ in zip(scores.tolist(), allowed.tolist(), strict=True):
        rows = [row for row, may in enumerate(open_) if may]
        if not all(np.isfinite(line[row]) for row in rows):
            rows = []
        rows.sort(key=lambda row: (-line[row], row))
        lists.append([*rows[:k], *[NOTHING] * (k - len(rows[:k]))])
    return lists


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, int]:
    shape = draw(st.tuples(st.integers(1, 4), st.integers(1, 14)))
    numbers = st.sampled_from([0.0, -0.0, 1.0, -2.5, 1e-30, 3e38, -3e38, float("nan"), float("inf"), float("-inf")])
    plain = st.integers(-2, 2).map(float)
    scores = draw(arrays(np.float32, shape, elements=draw(st.sampled_from([numbers, plain]))))
    return scores, draw(arrays(np.bool_, shape)), draw(st.integers(1, 5))


@given(scored(), st.integers(1, 3), st.integers(1, 4))
@settings(max_examples=300, deadline=None)
def test_lists_are_those_of_a_full_sort(case: tuple[np.ndarray, np.ndarray, int], groups: int, columns: int) -> None:
    scores, allowed, k = case
    before = scores.copy(), allowed.copy()
    expected = naive(scores, allowed, k)
    assert best(scores, allowed, k).tolist() == expected
    with mock.patch.multiple(folds, _GROUPS=groups, _COLUMNS=columns):
        assert best(scores, allowed, k).tolist() == expected
    np.testing.assert_array_equal(scores, before[0])
    np.testing.assert_array_equal(allowed, before[1])


@given(scored(), st.integers(0, 99))
@settings(deadline=None)
def test_ties_may_go_by_another_order(case: tuple[np.ndarray, np.ndarray, int], seed: int) -> None:
    scores, allowed, k = case
    order = np.random.default_rng(seed).permutation(scores.shape[1])
    place = np.argsort(order)
    lists = best(scores, allowed, k, order)
    for query, expected in enumerate(naive(scores, allowed, k)):
        rows = [row for row in expected if row != NOTHING]
        chosen = [row for row in lists[query].tolist() if row != NOTHING]
        assert [scores[query, row] for row in rows] == [scores[query, row] for row in chosen]
        assert chosen == sorted(chosen, key=lambda row: (-scores[query, row], place[row]))
    np.testing.assert_array_equal(best(scores, allowed, k, np.arange(scores.shape[1])), best(scores, allowed, k))


@pytest.mark.parametrize("kind", ["grades", "sparse", "dense", "rising", "falling", "constant", "few"])
def test_the_same_rule_as_for_one_user(kind: str) -> None:
    rng = np.random.default_rng(5)
    shape = (12, 3000)
    scores = {
        "grades": rng.integers(0, 7, shape),
        "sparse": np.where(rng.random(shape) < 0.002, rng.normal(size=shape), 0),
        "dense": rng.normal(size=shape),
        "rising": np.tile(np.arange(3000), (12, 1)),
        "falling": np.tile(-np.arange(3000), (12, 1)),
        "constant": np.zeros(shape),
        "few": rng.normal(size=shape),
    }[kind].astype(np.float32)
    allowed = rng.random(shape) < (0.003 if kind == "few" else 0.7)
    lists = best(scores, allowed, 10)
    for query in range(len(scores)):
        expected = top_rows(scores[query], 10, allowed[query])
        np.testing.assert_array_equal(lists[query], np.append(expected, [NOTHING] * (10 - len(expected))))


def test_seen_items_and_items_that_are_no_candidates_are_never_listed() -> None:
    scores = np.tile(np.arange(6, dtype=np.float32), (3, 1))
    candidates = np.array([True, True, True, True, True, False])
    assert topk(scores, LOG.pasts(), candidates, 4).tolist() == [[4, 3, -1, -1], [4, 2, 1, -1], [3, -1, -1, -1]]


def test_without_items_or_places_lists_are_empty() -> None:
    assert topk(np.zeros((3, 6), np.float32), LOG.pasts(), np.zeros(6, np.bool_), 2).tolist() == [[-1, -1]] * 3
    assert topk(np.zeros((3, 6), np.float32), LOG.pasts(), np.ones(6, np.bool_), 0).shape == (3, 0)
    with pytest.raises(ValueError, match="scores of shape"):
        topk(np.zeros((3, 5), np.float32), LOG.pasts(), np.ones(6, np.bool_), 2)


def test_a_score_that_is_no_number_counts_where_it_could_be_listed() -> None:
    scores = np.zeros((3, 6), dtype=np.float32)
    scores[0, 1], scores[1, 4], scores[2, 5] = np.nan, np.inf, np.nan
    candidates = np.array([True, True, True, True, True, False])
    allowed = np.tile(candidates, (3, 1))
    allowed[0, [0, 1, 2]] = False  # seen: what is said of it does not matter
    assert unfit(scores, allowed).tolist() == [False, True, False]
    lists = topk(scores, LOG.pasts(), candidates, 2)
    assert lists[0].tolist() == [3, 4]
    assert lists[1].tolist() == [NOTHING, NOTHING]


@given(st.lists(st.lists(st.integers(0, 11), unique=True, min_size=0, max_size=8), min_size=1, max_size=6), st.data())
@settings(deadline=None)
def test_hits_are_where_the_targets_are(lists: list[list[int]], data: st.DataObject) -> None:
    log = Log.of_lists([[*one, 12, 13] for one in lists], n_items=14)
    fold = loo(log, "test")
    k = data.draw(st.integers(1, 5))
    listed = data.draw(arrays(np.int64, (len(fold), k), elements=st.integers(-1, 13)))
    expected = [[row == 13 for row in line] for line in listed.tolist()]
    assert hits(listed, fold).tolist() == expected


def test_hits_want_a_list_for_each_query() -> None:
    with pytest.raises(ValueError, match="2 lists for 3 queries"):
        hits(np.zeros((2, 3), dtype=np.int64), loo(LOG))


def test_a_part_of_a_fold_asks_the_same() -> None:
    fold = loo(LOG)
    assert [fold.part(i, i + 1).targets.tolist() for i in range(3)] == [[2], [0], [0]]
    back = fold.take(np.array([2, 0]))
    assert back.users.tolist() == [2, 0]
    assert back.targets.tolist() == [0, 2]
    assert back.pasts.rows.tolist() == [2, 4, 1, 0, 1]
    assert back.pasts.ages.tolist() == [2, 1, 0, 1, 0]
    assert take_pasts(LOG.pasts(), np.empty(0, dtype=np.int64)).offsets.tolist() == [0]


def test_a_sample_is_drawn_by_its_seed() -> None:
    fold = loo(Log.of_lists([[0, 1]] * 50, n_items=2))
    one, again, other = (fold.sample(10, seed=seed).users.tolist() for seed in (1, 1, 2))
    assert one == again == sorted(set(one))
    assert one != other
    assert len(one) == 10
    assert fold.sample(50) is fold


def test_what_may_be_ranked() -> None:
    fold = replace(loo(LOG), pool_offsets=np.array([0, 2, 4, 6]), pools=np.array([2, 0, 0, 5, 0, 3]))
    rows = [np.flatnonzero(line).tolist() for line in fold.rankable(0, 3)]
    assert rows == [[2], [0, 5], [0, 3]]
    assert [np.flatnonzero(line).tolist() for line in fold.rankable(1, 2)] == [[0, 5]]
    assert fold.take(np.array([2, 1])).pools.tolist() == [0, 3, 0, 5]  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.array([0, 0, 0])}, "in the past of its own query"),
        ({"targets": np.array([2, 0, 6])}, "a row of targets"),
        ({"targets": np.array([2, 0])}, "target_offsets do not cut"),
        ({"target_offsets": np.array([0, 2, 1, 3])}, "target_offsets do not cut"),
        ({"targets": np.array([2, 5, 5]), "target_offsets": np.array([0, 1, 3, 3])}, "a target twice"),
        ({"users": np.array([0, 1, 3])}, "not one of the log"),
        ({"users": np.array([0, 1, 1])}, "asked about twice"),
        ({"users": np.array([0, 1])}, "3 pasts for 2 queries"),
        ({"candidates": np.ones(5, np.bool_)}, "of the 6 items"),
        ({"candidates": np.arange(6) > 0}, "not among the candidates"),
        ({"opinions": np.ones(2, np.float32)}, "opinions"),
        ({"pools": np.array([2, 0, 0])}, "come together"),
        ({"order": np.array([0, 1, 2, 3, 4, 4])}, "not an order of the 6 items"),
        ({"pools": np.array([2, 0, 1]), "pool_offsets": np.array([0, 1, 2, 3])}, "in the pool of its own query"),
    ],
)
def test_a_fold_refuses_what_does_not_fit(changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(loo(LOG), **changes)


def test_the_fingerprint_follows_what_decides_the_figures() -> None:
    fold = loo(LOG)
    same: Fold = loo(Log.of_lists([[0, 1, 2], [3, 0], [2, 4, 1, 0]], n_items=6))
    assert fold.fingerprint == same.fingerprint
    others = [
        loo(LOG, "validation"),
        fold.part(0, 2),
        replace(fold, candidates=np.arange(6) < 5),
        replace(fold, order=np.arange(6)),
        loo(Log.of_lists([[1, 0, 2], [3, 0], [2, 4, 1, 0]], n_items=6)),
    ]
    assert len({fold.fingerprint, *(other.fingerprint for other in others)}) == 6
