"""Re-ranking against slow implementations of its definition, and what its dials must and must not do."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.ranking.diversity import (
    LOGIT_SPREAD,
    NOTHING,
    DiversityConfig,
    DiversityItems,
    behaviour_view,
    common_of,
    diversify,
    diversity_items,
    rerank,
    temperature_of,
)
from llm4rec.ranking.labels import SMOOTHING, divergence, label_matrix
from llm4rec.ranking.log import Log, Pasts
from numpy.typing import NDArray
from scipy.special import softmax

N_ITEMS, N_LABELS = 24, 5
seeds = st.integers(0, 2**32 - 1)
dials = st.sampled_from([0.0, 0.1, 0.4, 0.9, 1.0])


def unit(vectors: NDArray[np.floating]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def some_items(rng: np.random.Generator, *, holes: float = 0.2) -> DiversityItems:
    """Two views with rows missing, some items alike, labels for most of them."""
    views = [unit(rng.normal(size=(N_ITEMS, d)) + 0.3) for d in (4, 9)]
    for view in views:
        view[5] = view[6]
        view[rng.random(N_ITEMS) < holes] = 0
    labels = sp.csr_matrix((rng.random((N_ITEMS, N_LABELS)) < 0.3) * 1.0)
    common = np.log(rng.dirichlet(np.ones(N_ITEMS))).astype(np.float32)
    return diversity_items(N_ITEMS, views, common, labels)


def some_pools(rng: np.random.Generator, users: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pools best first, some shorter than others, with ties."""
    rows = np.stack([rng.permutation(N_ITEMS)[:width] for _ in range(users)]).astype(np.int64)
    scores = -np.sort(-rng.integers(0, 12, (users, width)) / 4, axis=1).astype(np.float32)
    for line, length in enumerate(rng.integers(0, width + 1, users)):
        rows[line, length:] = NOTHING
        scores[line, length:] = np.nan
    return rows, scores


def some_tastes(rng: np.random.Generator, items: DiversityItems, users: int) -> NDArray[np.float64]:
    lengths = rng.integers(0, 5, users)
    tastes = items.tastes(np.concatenate([[0], np.cumsum(lengths)]), rng.integers(0, N_ITEMS, lengths.sum()))
    assert tastes is not None
    return tastes


def kernel(items: DiversityItems) -> NDArray[np.float64]:
    """Mean cosine of the views, a missing vector being the mean of those there are; 1 on the diagonal."""
    total = np.zeros((items.n_items, items.n_items))
    for view in items.views:
        full = view.astype(np.float64)
        missing = ~full.any(axis=1)
        full[missing] = full[~missing].mean(axis=0) if not missing.all() else 0
        total += full @ full.T / len(items.views)
    np.fill_diagonal(total, 1.0)
    return total


def log_det(matrix: NDArray[np.float64]) -> float:
    return float(np.linalg.slogdet(matrix)[1]) if len(matrix) else 0.0


def gains(
    taken: list[int],
    left: list[int],
    logits: dict[int, float],
    items: DiversityItems,
    config: DiversityConfig,
    taste: NDArray[np.float64],
) -> dict[int, float]:
    """What each item left would add, word for word."""
    d, c, place = config.diversity, config.calibration, len(taken)
    of_score, of_variety, of_labels = (1 - d) * (1 - c), d * (1 - c), c * (1 - d)
    if d == c == 1:
        of_score, of_variety, of_labels = 0, 1, 1
    reach = place / (place + config.rise) if place else 0.0
    likeness = kernel(items)
    found = {}
    for item in left:
        both = [*taken, item]
        with np.errstate(divide="ignore"):
            new = log_det(likeness[np.ix_(both, both)]) - log_det(likeness[np.ix_(taken, taken)])
        gain = of_score * logits[item]
        assert items.common is not None
        assert items.shares is not None
        gain += of_variety * reach * (config.within * float(np.clip(new, np.log(1e-6), 0)))
        gain -= of_variety * reach * config.across * float(items.common[item])
        if not np.isnan(taste).any():
            labelled = [one for one in both if items.labelled[one]]
            q = items.shares[labelled].toarray().mean(axis=0) if labelled else np.zeros(N_LABELS)
            mixed = (1 - config.smoothing) * q + config.smoothing * taste
            kl = sum(p * np.log(p / m) for p, m in zip(taste, mixed, strict=True) if p > 0)
            gain -= of_labels * (place + 1) * kl
        found[item] = gain
    return found


@given(seed=seeds, d=dials, c=dials, rise=st.sampled_from([0.0, 3.0]), within=st.sampled_from([0.0, 1.0, 2.0]))
@settings(max_examples=40, deadline=None)
def test_each_place_takes_what_adds_most(seed: int, d: float, c: float, rise: float, within: float) -> None:
    rng = np.random.default_rng(seed)
    items = some_items(rng)
    config = DiversityConfig(diversity=d, calibration=c, rise=rise, within=within)
    rows, scores = some_pools(rng, 3, 10)
    tastes = some_tastes(rng, items, 3)
    lists = rerank(rows, scores, 6, items, config, tastes)
    for pool, values, taste, listed in zip(rows, scores, tastes, lists, strict=True):
        left = pool[pool != NOTHING].tolist()
        logits = dict(zip(left, (values[: len(left)] - values[0]).tolist(), strict=True)) if left else {}
        assert (listed == NOTHING).sum() == max(0, 6 - len(left))
        taken: list[int] = []
        for item in listed[listed != NOTHING].tolist():
            added = gains(taken, left, logits, items, config, taste)
            # Not the item itself: among equals rounding decides. An item spanned by the list is where it shows most.
            assert added[item] >= max(added.values()) - 2e-2
            taken.append(item)
            left.remove(item)


@given(seed=seeds, k=st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_full_diversity_is_the_greedy_determinant(seed: int, k: int) -> None:
    """With nothing else in it, the list is that of a greedy search for the largest determinant."""
    rng = np.random.default_rng(seed)
    items = diversity_items(N_ITEMS, [unit(rng.normal(size=(N_ITEMS, 16)))])
    rows = rng.permutation(N_ITEMS)[None].astype(np.int64)
    scores = -np.arange(N_ITEMS, dtype=np.float32)[None]
    listed = rerank(rows, scores, k, items, DiversityConfig(diversity=1.0, within=1.0))[0]
    likeness, slow = kernel(items), [int(rows[0, 0])]
    while len(slow) < k:
        left = [row for row in range(N_ITEMS) if row not in slow]
        slow.append(max(left, key=lambda row: log_det(likeness[np.ix_([*slow, row], [*slow, row])])))
    assert listed.tolist() == slow


@given(seed=seeds, k=st.integers(0, 12))
@settings(max_examples=60, deadline=None)
def test_dials_at_zero_leave_the_ranking_as_it_is(seed: int, k: int) -> None:
    rng = np.random.default_rng(seed)
    items = some_items(rng)
    rows, scores = some_pools(rng, 4, 9)
    lists = rerank(rows, scores, k, items, DiversityConfig(), some_tastes(rng, items, 4))
    assert lists.shape == (4, k)
    np.testing.assert_array_equal(lists[:, :9], rows[:, :k])
    assert (lists[:, 9:] == NOTHING).all()


@given(seed=seeds, d=dials, c=dials)
@settings(max_examples=30, deadline=None)
def test_lists_are_of_the_pool_and_shorter_ones_begin_longer_ones(seed: int, d: float, c: float) -> None:
    rng = np.random.default_rng(seed)
    items, config = some_items(rng), DiversityConfig(diversity=d, calibration=c)
    rows, scores = some_pools(rng, 5, 8)
    tastes = some_tastes(rng, items, 5)
    lists = rerank(rows, scores, 8, items, config, tastes)
    for pool, listed in zip(rows, lists, strict=True):
        assert sorted(listed.tolist()) == sorted(pool.tolist())  # as long as the pool: all of it, once
    for k in (0, 1, 3):
        np.testing.assert_array_equal(rerank(rows, scores, k, items, config, tastes), lists[:, :k])
    if c == 0:  # diversity counts for nothing at the first place
        np.testing.assert_array_equal(lists[:, 0], rows[:, 0])


@given(seed=seeds, d=dials, c=dials)
@settings(max_examples=30, deadline=None)
def test_a_user_gets_the_same_list_alone(seed: int, d: float, c: float) -> None:
    rng = np.random.default_rng(seed)
    items, config = some_items(rng, holes=0), DiversityConfig(diversity=d, calibration=c)
    rows, scores = some_pools(rng, 6, 10)
    tastes = some_tastes(rng, items, 6)
    lists = rerank(rows, scores, 5, items, config, tastes)
    for line in range(6):
        one = slice(line, line + 1)
        np.testing.assert_array_equal(rerank(rows[one], scores[one], 5, items, config, tastes[one])[0], lists[line])


def well_apart(rng: np.random.Generator) -> tuple[DiversityItems, NDArray[np.int64], NDArray[np.float32]]:
    """Items and pools without ties, in which rounding decides nothing."""
    views = [unit(rng.normal(size=(N_ITEMS, 16)))]
    common = np.log(rng.dirichlet(np.ones(N_ITEMS))).astype(np.float32)
    labels = sp.csr_matrix(rng.random((N_ITEMS, N_LABELS)))
    rows = np.stack([rng.permutation(N_ITEMS)[:12] for _ in range(5)]).astype(np.int64)
    scores = -np.sort(-rng.normal(size=(5, 12)), axis=1).astype(np.float32)
    return diversity_items(N_ITEMS, views, common, labels), rows, scores


@pytest.mark.parametrize(("d", "c"), [(0.3, 0.0), (0.0, 0.3), (0.4, 0.2), (1.0, 0.0), (1.0, 1.0)])
def test_only_differences_of_scores_and_angles_of_vectors_count(d: float, c: float) -> None:
    rng = np.random.default_rng(3)
    items, rows, scores = well_apart(rng)
    config = DiversityConfig(diversity=d, calibration=c)
    tastes = some_tastes(rng, items, 5)
    lists = rerank(rows, scores, 6, items, config, tastes)
    np.testing.assert_array_equal(rerank(rows, scores + 7, 6, items, config, tastes), lists)
    turn = np.linalg.qr(rng.normal(size=(16, 16)))[0].astype(np.float32)
    turned = diversity_items(N_ITEMS, [items.views[0] @ turn], items.common, items.shares)
    np.testing.assert_array_equal(rerank(rows, scores, 6, turned, config, tastes), lists)
    # the same items under other numbers: the same lists
    new = rng.permutation(N_ITEMS)
    old = np.argsort(new)
    assert items.common is not None
    assert items.shares is not None
    renamed = diversity_items(N_ITEMS, [items.views[0][old]], items.common[old], items.shares[old])
    np.testing.assert_array_equal(rerank(new[rows], scores, 6, renamed, config, tastes), new[lists])


def test_lists_grow_more_varied_and_less_alike_with_the_dial() -> None:
    """On users who all like the same few items best."""
    rng = np.random.default_rng(0)
    views = [unit(rng.normal(size=(N_ITEMS, 6)))]
    scores = (np.linspace(3, 0, N_ITEMS) + rng.normal(0, 0.7, (60, N_ITEMS))).astype(np.float32)
    common = np.log(softmax(scores, axis=1).mean(axis=0)).astype(np.float32)
    rows = np.argsort(-scores, axis=1)
    likeness = kernel(diversity_items(N_ITEMS, views))

    def at(d: float, items: DiversityItems) -> tuple[float, float, float]:
        """The lists' log-determinant, how common their items are, and the score reached."""
        lists = rerank(rows, np.take_along_axis(scores, rows, axis=1), 5, items, DiversityConfig(diversity=d))
        variety = float(np.mean([log_det(likeness[np.ix_(line, line)]) for line in lists]))
        return variety, float(common[lists].mean()), float(np.take_along_axis(scores, lists, axis=1).sum())

    steps = (0.0, 0.3, 0.6, 0.9)
    within = [at(d, diversity_items(N_ITEMS, views)) for d in steps]
    across = [at(d, diversity_items(N_ITEMS, [], common)) for d in steps]
    both = [at(d, diversity_items(N_ITEMS, views, common)) for d in steps]
    assert all(b[0] > a[0] for a, b in pairwise(within))
    assert all(b[1] < a[1] for a, b in pairwise(across))
    assert all(b[2] < a[2] for runs in (within, across, both) for a, b in pairwise(runs))


def test_lists_come_closer_to_the_past_with_the_dial() -> None:
    rng = np.random.default_rng(1)
    labels = sp.csr_matrix(np.eye(N_LABELS)[rng.integers(0, N_LABELS, 60)])
    items = diversity_items(60, [], None, labels)
    offsets, past = np.arange(0, 41) * 6, rng.integers(0, 60, 240)
    tastes = items.tastes(offsets, past)
    assert tastes is not None
    assert items.shares is not None
    scores = rng.normal(size=(40, 60)).astype(np.float32)
    rows = np.argsort(-scores, axis=1)
    far = []
    for c in (0.0, 0.2, 0.5, 1.0):
        config = DiversityConfig(calibration=c)
        lists = rerank(rows, np.take_along_axis(scores, rows, axis=1), 10, items, config, tastes)
        of_lists = np.stack([items.shares[line].toarray().mean(axis=0) for line in lists])
        far.append(float(divergence(tastes, of_lists).mean()))
    assert all(b < a for a, b in pairwise(far))
    assert far[-1] < 0.02  # there is enough to choose from to come as close as ten items can


def test_full_calibration_takes_at_each_place_what_comes_closest() -> None:
    """Past: two of the first label, one of the second. The list keeps to 2:1 all the way down."""
    labels = sp.csr_matrix(np.eye(3)[[0, 0, 0, 0, 1, 1, 2, 2]])
    items = diversity_items(8, [], None, labels)
    rows, scores = np.array([[6, 7, 4, 5, 0, 1, 2, 3]]), np.arange(8, 0, -1, dtype=np.float32)[None]
    tastes = items.tastes(np.array([0, 3]), np.array([0, 1, 4]))
    listed = rerank(rows, scores, 8, items, DiversityConfig(calibration=1.0), tastes)[0]
    assert labels[listed[:6]].toarray().cumsum(axis=0).tolist() == [
        [1, 0, 0], [1, 1, 0], [2, 1, 0], [3, 1, 0], [3, 2, 0], [4, 2, 0]
    ]  # fmt: skip
    assert listed[6:].tolist() == [6, 7]  # what the past has nothing of comes last


def test_who_has_no_taste_keeps_the_order() -> None:
    rng = np.random.default_rng(2)
    items, rows, scores = well_apart(rng)
    nothing = np.full((5, N_LABELS), np.nan)
    for c in (0.3, 1.0):
        config = DiversityConfig(calibration=c)
        np.testing.assert_array_equal(rerank(rows, scores, 6, items, config, nothing), rows[:, :6])
        np.testing.assert_array_equal(rerank(rows, scores, 6, items, config), rows[:, :6])


def test_what_is_in_the_list_already_comes_last() -> None:
    vectors = unit(np.random.default_rng(5).normal(size=(6, 8)))
    vectors[1] = vectors[2] = vectors[0]
    items = diversity_items(6, [vectors])
    rows, scores = np.arange(6)[None], -np.arange(6, dtype=np.float32)[None] / 10
    listed = rerank(rows, scores, 6, items, DiversityConfig(diversity=0.9))[0].tolist()
    assert listed[0] == 0
    assert set(listed[4:]) == {1, 2}


def test_an_item_without_a_vector_is_like_the_average() -> None:
    """0 is chosen first. 1 is like it, 2 unlike it, 3 has no vector: it comes between them."""
    vectors = np.array([[1, 0], [1, 0], [-1, 0], [0, 0]], dtype=np.float32)
    items = diversity_items(4, [vectors])
    np.testing.assert_allclose(items.means[0], [1 / 3, 0], rtol=1e-6)
    vectors[2] = [0, 1]
    items = diversity_items(4, [vectors])
    listed = rerank(np.array([[0, 1, 3, 2]]), np.zeros((1, 4)), 4, items, DiversityConfig(diversity=1.0))[0]
    assert listed.tolist() == [0, 2, 3, 1]


@pytest.mark.parametrize("views", [[], [np.zeros((4, 3), np.float32)]])
def test_without_vectors_the_order_stays(views: list[NDArray[np.float32]]) -> None:
    items = diversity_items(4, views)
    rows, scores = np.array([[2, 0, 3, 1]]), np.array([[3.0, 2.0, 1.0, 1.0]])
    assert rerank(rows, scores, 4, items, DiversityConfig(diversity=0.8))[0].tolist() == [2, 0, 3, 1]


def test_what_everybody_gets_makes_way() -> None:
    """Without a view, a likely item that is likely for all loses to one that is likely for this user."""
    common = np.log(np.array([0.2, 0.5, 0.01, 0.29], dtype=np.float32))
    items = diversity_items(4, [], common)
    rows, scores = np.array([[0, 1, 2, 3]]), np.array([[2.0, 1.5, 1.2, 0.0]])
    listed = rerank(rows, scores, 3, items, DiversityConfig(diversity=0.5))[0]
    assert listed.tolist() == [0, 2, 1]


@given(seed=seeds, d=dials, c=dials, k=st.integers(0, 30), few=st.booleans())
@settings(max_examples=40, deadline=None)
def test_diversify_is_rerank_of_the_best_that_are_allowed(seed: int, d: float, c: float, k: int, few: bool) -> None:
    rng = np.random.default_rng(seed)
    items = some_items(rng)
    config = DiversityConfig(diversity=d, calibration=c, pool=6)
    scores = rng.integers(0, 9, N_ITEMS).astype(np.float32)
    allowed = rng.random(N_ITEMS) < (0.1 if few else 0.8)
    past = rng.integers(0, N_ITEMS, 4)
    listed = diversify(scores, allowed, k, items, config, past)
    assert len(listed) == min(k, allowed.sum())
    assert len(set(listed.tolist())) == len(listed)
    assert allowed[listed].all()
    pool = sorted(np.flatnonzero(allowed).tolist(), key=lambda row: (-scores[row], row))[: max(6, k)]
    if pool:
        rows = np.array([pool])
        tastes = items.tastes(np.array([0, 4]), past)
        np.testing.assert_array_equal(rerank(rows, scores[rows], k, items, config, tastes)[0][: len(listed)], listed)
    if d == c == 0:
        assert listed.tolist() == pool[:k]


def test_items_that_came_later_are_as_rare_as_the_rarest() -> None:
    items = diversity_items(4, [], np.array([-1.0, -3.0], dtype=np.float32))
    assert items.common is not None
    assert items.common.tolist() == [-1.0, -3.0, -3.0, -3.0]


class Given:
    """A model with known scores for each last item of a past."""

    name = "given"

    def __init__(self, scores: NDArray[np.floating]) -> None:
        self.scores = scores.astype(np.float32)
        self.n_items = scores.shape[1]

    def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
        return self.scores[pasts.rows[pasts.offsets[1:] - 1]]


def test_what_is_common_is_the_mean_chance_of_those_who_do_not_know_it() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(5, 5))
    scores[3, 1] = np.nan
    log = Log.of_lists([[0], [], [1, 2], [4, 3], [0, 1, 2, 3, 4]], n_items=5)
    # asked: user 0 (past 0), user 2 (past 1, 2); user 1 has no past, user 3 a NaN, and user 4 knows everything
    chances = np.zeros((2, 5))
    chances[0, 1:] = softmax(scores[0, 1:] / 2)
    chances[1, [0, 3, 4]] = softmax(scores[2, [0, 3, 4]] / 2)
    found = common_of(Given(scores), log, temperature=2.0)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.exp(found), chances.mean(axis=0), rtol=1e-5)
    even = common_of(Given(np.full((5, 5), np.nan)), log)
    np.testing.assert_allclose(np.exp(even), 0.2, rtol=1e-6)
    steep = common_of(Given(scores * 0 + np.array([0, 100, 0, 0, 0])), Log.of_lists([[0]], 5))
    np.testing.assert_allclose(np.exp(steep), [2e-4, 1, 2e-4, 2e-4, 2e-4], rtol=1e-5)


def test_only_some_of_many_users_are_asked() -> None:
    log = Log.of_lists([[user % 5] for user in range(100)], n_items=5)
    asked: list[int] = []

    class Counting(Given):
        def score_many(self, pasts: Pasts) -> NDArray[np.float32]:
            asked.append(len(pasts))
            return super().score_many(pasts)

    common_of(Counting(np.zeros((5, 5))), log, users=7)
    assert sum(asked) == 7


@given(seed=seeds, scale=st.sampled_from([1e-3, 1.0, 50.0]))
@settings(max_examples=20, deadline=None)
def test_a_temperature_takes_the_scale_of_scores_away(seed: int, scale: float) -> None:
    scores = np.random.default_rng(seed).normal(size=(5, 5))
    log = Log.of_lists([[row] for row in range(5)], n_items=5)
    spread = np.mean([np.delete(scores[row], row).std() for row in range(5)])
    found = temperature_of(Given(scores * scale), log)
    assert found == pytest.approx(scale * spread / LOGIT_SPREAD, rel=1e-4)


def test_scores_that_are_all_alike_have_the_temperature_1() -> None:
    log = Log.of_lists([[0], [1]], n_items=4)
    assert temperature_of(Given(np.full((4, 4), 3.0)), log) == 1.0
    assert temperature_of(Given(np.full((4, 4), np.nan)), log) == 1.0


def test_items_of_the_same_users_are_alike_by_behaviour() -> None:
    log = Log.of_lists([[0, 1], [0, 1, 2], [3, 4], [3, 4]], n_items=6)
    view = behaviour_view(log)
    assert view.dtype == np.float32
    assert not view[5].any()
    np.testing.assert_allclose(np.linalg.norm(view[:5], axis=1), 1, rtol=1e-5)
    assert view[0] @ view[1] == pytest.approx(1, abs=1e-5)
    assert view[0] @ view[3] == pytest.approx(0, abs=1e-5)
    assert 0.2 < view[0] @ view[2] < 1


def test_labels_are_counted_once_and_in_order() -> None:
    several = label_matrix(pl.Series([["b", "a", "b"], None, [], ["c"]], dtype=pl.List(pl.String)))
    assert several.toarray().tolist() == [[1, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 1]]
    one = label_matrix(pl.Series(["b", None, "a"]))
    assert one.toarray().tolist() == [[0, 1], [0, 0], [1, 0]]


def test_divergence_lies_between_0_and_that_of_having_nothing() -> None:
    p = np.array([0.5, 0.5, 0.0])
    assert divergence(p, p) == pytest.approx(0, abs=1e-12)
    assert divergence(p, np.array([0.0, 0.0, 1.0])) == pytest.approx(-np.log(SMOOTHING))
    assert divergence(p, np.zeros(3)) == pytest.approx(-np.log(SMOOTHING))
    assert divergence(p[None, None], np.stack([p, p[::-1]])[None]).shape == (1, 2)
    assert np.isnan(divergence(np.full(3, np.nan), p))


@pytest.mark.parametrize(
    "wrong",
    [
        {"diversity": -0.1}, {"diversity": 1.1}, {"calibration": float("nan")}, {"calibration": 2},
        {"within": -1}, {"across": float("inf")}, {"rise": -1}, {"pool": 0}, {"smoothing": 0}, {"smoothing": 1},
    ],
)  # fmt: skip
def test_dials_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=next(iter(wrong))):
        DiversityConfig(**wrong)  # type: ignore[arg-type]


def test_shapes_that_do_not_fit_are_refused() -> None:
    view, labels = np.zeros((4, 2), np.float32), sp.csr_matrix(np.eye(4))
    for wrong in ({"views": [view[:3]]}, {"views": [], "labels": labels[:3]}, {"views": [], "common": np.zeros(5)}):
        with pytest.raises(ValueError, match="4 items"):
            diversity_items(4, **wrong)  # type: ignore[arg-type]
    items = diversity_items(4, [view], None, labels)
    with pytest.raises(ValueError, match="shape"):
        rerank(np.zeros((1, 2), np.int64), np.zeros((1, 3)), 2, items, DiversityConfig())
    with pytest.raises(ValueError, match="tastes"):
        rerank(np.zeros((1, 2), np.int64), np.zeros((1, 2)), 2, items, DiversityConfig(), np.zeros((2, 4)))
