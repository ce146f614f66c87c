"""The blended ranker keeps its promises."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.ranking.base import top_rows
from llm4rec.ranking.blend import BlendConfig, BlendRanker
from llm4rec.ranking.content import ContentRanker
from llm4rec.ranking.ease import EaseRanker, fit_ease
from llm4rec.ranking.history import History, empty, from_events, from_log, merge
from llm4rec.ranking.popularity import PopularityRanker, item_counts
from llm4rec.ranking.tastes import TasteMatches
from numpy.typing import NDArray

USERS, ITEMS, LATER = 60, 14, 2
LIVE = ITEMS + LATER


def world(seed: int) -> tuple[sp.csr_matrix, NDArray[np.float32]]:
    rng = np.random.default_rng(seed)
    log = rng.random((USERS, ITEMS)) < np.linspace(0.6, 0.05, ITEMS)
    log[:, 5] = False
    vectors = rng.normal(size=(LIVE, 6)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[7] = 0
    return sp.csr_matrix(log.astype(np.float32)), vectors


def ranker(
    matrix: sp.csr_matrix, vectors: NDArray[np.float32], config: BlendConfig | None = None, live: int = LIVE
) -> BlendRanker:
    base = matrix.shape[1]
    view = ContentRanker("text", vectors[:base], live, live_rows=np.arange(base, live), live_vectors=vectors[base:live])
    return BlendRanker(
        PopularityRanker(item_counts(matrix), live),
        EaseRanker(fit_ease(matrix, regularization=5.0), live),
        [view],
        config,
    )


BLEND = ranker(*world(0))

histories = st.lists(
    st.tuples(st.integers(0, LIVE - 1), st.floats(-1, 1, width=32)), max_size=LIVE, unique_by=lambda entry: entry[0]
).map(lambda e: from_events([row for row, _ in e], [weight for _, weight in e], [f"event:{row}" for row, _ in e]))
rows_sets = st.sets(st.integers(0, LIVE - 1))
masks = st.lists(st.booleans(), min_size=LIVE, max_size=LIVE).map(lambda bits: np.array(bits, dtype=np.bool_))


@given(histories, rows_sets, masks, st.integers(0, LIVE + 3), st.booleans())
@settings(deadline=None)
def test_only_allowed_items_come_and_all_that_fit(
    history: History, exclude: set[int], mask: NDArray[np.bool_], k: int, repeats: bool
) -> None:
    found = BLEND.recommend(history, k=k, exclude=exclude, mask=mask, repeats=repeats)
    rows = [ranked.row for ranked in found]
    allowed = set(np.flatnonzero(mask).tolist()) - exclude - (set() if repeats else set(history.rows.tolist()))
    assert set(rows) <= allowed
    assert len(rows) == len(set(rows)) == min(k, len(allowed))
    order = [(-ranked.score, ranked.row) for ranked in found]
    assert order == sorted(order)
    as_mask = np.isin(np.arange(LIVE), list(exclude))
    assert [r.row for r in BLEND.recommend(history, k=k, exclude=as_mask, mask=mask, repeats=repeats)] == rows


@given(histories)
@settings(deadline=None)
def test_parts_sum_to_scores_and_contributions_to_parts(history: History) -> None:
    tastes = TasteMatches(("event:t",), ("label",), np.eye(1, LIVE, 3, dtype=np.float32))
    parts = BLEND.parts(history, tastes)
    scores = BLEND.scores(history, tastes)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(sum(parts.values()), scores, atol=1e-5)
    for row in range(LIVE):
        amounts = dict.fromkeys(parts, 0.0)
        for found in BLEND.contributions(history, row, tastes):
            amounts[found.part] += found.amount
        for name in ("behaviour", "text", "tastes"):
            assert amounts[name] == pytest.approx(parts[name][row], abs=1e-3)
        assert amounts["popularity"] == 0


@given(histories)
@settings(deadline=None)
def test_without_its_contributors_an_item_is_left_to_popularity(history: History) -> None:
    for row in range(LIVE):
        refs = {found.ref for found in BLEND.contributions(history, row)}
        parts = BLEND.parts(history.without(refs))
        assert parts["behaviour"][row] == pytest.approx(0, abs=1e-4)
        assert parts["text"][row] == pytest.approx(0, abs=1e-4)


def test_old_events_alone_still_count() -> None:
    old = merge(from_log([0, 1], [1, 1], None), from_log(range(2, LIVE), [1] * (LIVE - 2), None))
    ages = old.ages + 400
    ancient = History(old.rows, old.weights, old.behaviour, ages, old.refs).without(set(old.refs[2:]))
    parts = BLEND.parts(ancient)
    assert np.isfinite(BLEND.scores(ancient)).all()
    assert parts["behaviour"].std() == pytest.approx(parts["text"].std() / BLEND.config.text, rel=0.2)


@given(st.integers(0, 2**16), st.integers(0, 2**16))
@settings(deadline=None, max_examples=25)
def test_the_order_of_the_rows_does_not_matter(seed: int, turn: int) -> None:
    matrix, vectors = world(seed)
    order = np.random.default_rng(turn).permutation(ITEMS)  # row r moves to place[r]
    place = np.argsort(order)
    chosen = [0, 3, 8]
    straight = ranker(matrix, vectors[:ITEMS], live=ITEMS)
    turned = ranker(matrix[:, order], vectors[:ITEMS][order], live=ITEMS)
    scores = straight.scores(from_log(chosen, [5, 1, 4], (1, 5)))
    moved = turned.scores(from_log(place[chosen], [5, 1, 4], (1, 5)))
    np.testing.assert_allclose(moved[place], scores, atol=2e-3)


def test_nobody_we_know_gets_the_order_of_popularity() -> None:
    matrix, _ = world(0)
    counts = np.concatenate([item_counts(matrix), np.zeros(LATER)])
    found = BLEND.recommend(empty(), k=LIVE)
    assert [ranked.row for ranked in found] == np.lexsort((np.arange(LIVE), -counts)).tolist()
    assert all(ranked.contributions == () for ranked in found)
    assert BLEND.gate(empty()) == 0


def test_a_user_known_by_new_items_only_gets_content_and_popularity() -> None:
    history = from_events([ITEMS], [1], ["event:a"])
    parts = BLEND.parts(history)
    assert BLEND.gate(history) == 0
    assert not parts["behaviour"].any()
    assert parts["text"].any()
    whole = BLEND.popularity.scores(history)
    expected = whole / whole.std() * BLEND.config.popularity_cold
    np.testing.assert_allclose(parts["popularity"], expected, rtol=1e-4)


def test_the_gate_is_the_root_of_the_trained_share() -> None:
    assert BLEND.gate(from_log([0, 1], [1, 1], None)) == 1
    mixed = from_log([ITEMS, 0], [1, 1], None)
    old = np.exp(-1 / BLEND.config.behaviour_tau)
    assert BLEND.gate(mixed) == pytest.approx(np.sqrt(1 / (1 + old)))
    assert BLEND.gate(from_events([0], [0.0], ["a"]).last(0)) == 0


def test_a_dislike_lowers_what_is_like_it() -> None:
    matrix, vectors = world(0)
    vectors[ITEMS + 1] = vectors[2]
    blend = ranker(matrix, vectors)
    liked = from_events([4], [1], ["event:a"])
    disliked = from_events([4, 2], [1, -1], ["event:a", "event:b"])
    place = [
        [r.row for r in blend.recommend(history, k=LIVE, repeats=True)].index(ITEMS + 1)
        for history in (liked, disliked)
    ]
    assert place[1] > place[0]
    reasons = blend.contributions(disliked, ITEMS + 1)
    assert next(found.amount for found in reasons if found.ref == "event:b") < 0


def test_tastes_move_items_and_name_their_evidence() -> None:
    signed = np.zeros((2, LIVE), dtype=np.float32)
    signed[0, 13] = 1
    signed[1, 0] = -1
    tastes = TasteMatches(("event:likes", "event:hates"), ("label", "label"), signed)
    found = BLEND.recommend(empty(), k=LIVE, tastes=tastes)
    assert found[0].row == 13
    assert found[-1].row == 0
    assert found[0].contributions[0].ref == "event:likes"
    assert found[0].contributions[0].row is None
    assert found[-1].contributions[0].amount == pytest.approx(-BLEND.config.tastes)


def test_adjustments_are_parts() -> None:
    push = np.zeros(LIVE, dtype=np.float32)
    push[9] = 100
    best = BLEND.recommend(empty(), k=1, adjustments={"exposure": push})[0]
    assert best.row == 9
    assert best.parts["exposure"] == 100
    with pytest.raises(ValueError, match="finite"):
        BLEND.recommend(empty(), k=1, adjustments={"exposure": push * np.nan})
    with pytest.raises(ValueError, match="name of a part"):
        BLEND.recommend(empty(), k=1, adjustments={"text": push})


def test_without_log_or_views_everything_still_ranks() -> None:
    bare = BlendRanker(PopularityRanker(np.zeros(4, dtype=np.float32)))
    assert [ranked.row for ranked in bare.recommend(from_log([1], [1], None), k=4)] == [0, 2, 3]


def test_ties_go_to_the_smaller_row() -> None:
    scores = np.array([1, 3, 3, 3, 2, 3], dtype=np.float32)
    assert top_rows(scores, 2, np.ones(6, dtype=np.bool_)).tolist() == [1, 2]
    assert top_rows(scores, 9, np.array([1, 0, 1, 1, 1, 0], dtype=np.bool_)).tolist() == [2, 3, 4, 0]


def test_weights_of_zero_leave_a_part_out() -> None:
    alone = ranker(*world(0), replace(BlendConfig(), text=0, popularity=0))
    history = from_log([0, 1, 2], [1, 1, 1], None)
    behaviour = alone.behaviour
    assert behaviour is not None
    expected = top_rows(behaviour.scores(history), 5, ~np.isin(np.arange(LIVE), history.rows))
    assert [ranked.row for ranked in alone.recommend(history, k=5)] == expected.tolist()


def test_what_does_not_fit_is_refused() -> None:
    counts = np.ones(4, dtype=np.float32)
    with pytest.raises(ValueError, match="different numbers"):
        BlendRanker(PopularityRanker(counts), content=[ContentRanker("text", np.eye(5, dtype=np.float32))])
    with pytest.raises(ValueError, match="no weight"):
        BlendRanker(PopularityRanker(counts), content=[ContentRanker("sound", np.eye(4, dtype=np.float32))])
    with pytest.raises(ValueError, match="mask"):
        BLEND.recommend(empty(), k=1, mask=np.ones(3, dtype=np.bool_))
    with pytest.raises(ValueError, match="exclusion"):
        BLEND.recommend(empty(), k=1, exclude=np.ones(3, dtype=np.bool_))
