"""The linear sequence model against least squares done the long way."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.ranking.ease import EaseRanker, fit_ease
from llm4rec.ranking.history import from_events, from_log
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.transitions import (
    TransitionsConfig,
    TransitionsModel,
    TransitionsRanker,
    fit_transitions,
    load_transitions,
)
from numpy.typing import NDArray


def random_log(seed: int, users: int, items: int) -> Log:
    rng = np.random.default_rng(seed)
    return Log.of_lists([rng.permutation(items)[: rng.integers(0, items + 1)] for _ in range(users)], items)


def long_way(log: Log, config: TransitionsConfig) -> NDArray[np.float64]:
    """Every x_t and y_t written out, then a weighted ridge regression for each item on all the others."""
    past, target, weights = [], [], []
    for user in range(log.n_users):
        chosen = log.items[log.of_user(user)]
        for t in range(len(chosen)):
            x, y = np.zeros(log.n_items), np.zeros(log.n_items)
            for age in range(t + 1):
                x[chosen[t - age]] = np.exp(-age / config.tau)
            for w in range(1, config.window + 1):
                if t + w < len(chosen):
                    y[chosen[t + w]] = config.decay ** (w - 1)
            past.append(x)
            target.append(y + config.past * x)
            weights.append(len(chosen) ** -config.damping)
    found = np.zeros((log.n_items, log.n_items))
    if not past:
        return found
    by_user = np.maximum(log.lengths, 1) ** -config.damping
    scale = np.array(weights) * log.lengths.sum() / (by_user * log.lengths).sum()
    x, y = np.array(past) * np.sqrt(scale)[:, None], np.array(target) * np.sqrt(scale)[:, None]
    for item in range(log.n_items):
        others = np.delete(np.arange(log.n_items), item)
        kept = x[:, others]
        ridge = kept.T @ kept + config.regularization * np.eye(len(others))
        found[others, item] = np.linalg.solve(ridge, kept.T @ y[:, item])
    return found


def whole(model: TransitionsModel) -> NDArray[np.float32]:
    """B over the catalogue: what each item alone says of all."""
    lone = [from_events([row], [1.0], ["event:a"]) for row in range(model.n_items)]
    return model.score_many(Pasts.of(lone, model.n_items))


configs = st.builds(
    TransitionsConfig,
    tau=st.sampled_from([0.7, 5.0, np.inf]),
    window=st.integers(1, 5),
    decay=st.sampled_from([0.5, 1.0]),
    past=st.sampled_from([0.0, 0.5, 3.0]),
    regularization=st.sampled_from([1.0, 20.0]),
    damping=st.sampled_from([0.0, 0.4]),
)
logs = st.builds(random_log, st.integers(0, 2**16), st.integers(1, 15), st.integers(2, 9))


@given(logs, configs)
@settings(deadline=None)
def test_weights_are_those_of_least_squares_the_long_way(log: Log, config: TransitionsConfig) -> None:
    np.testing.assert_allclose(whole(fit_transitions(log, config)), long_way(log, config), atol=2e-4)


@given(logs, configs)
@settings(deadline=None, max_examples=50)
def test_truncated_at_full_rank_is_dense(log: Log, config: TransitionsConfig) -> None:
    small = fit_transitions(log, replace(config, dense_limit=0, rank=log.n_items))
    dense = fit_transitions(log, config)
    assert dense.dense
    assert not small.dense or not len(small.items)
    np.testing.assert_allclose(whole(small), whole(dense), atol=1e-3)
    history = from_log(np.arange(0, log.n_items, 2), np.full(len(range(0, log.n_items, 2)), np.nan), None)
    rows = np.arange(log.n_items)
    np.testing.assert_allclose(
        TransitionsRanker(small).shares(history, rows), TransitionsRanker(dense).shares(history, rows), atol=1e-3
    )


def test_users_are_summed_alike_in_one_part_and_in_many(monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log(1, 40, 12)
    once = fit_transitions(log)
    monkeypatch.setattr("llm4rec.ranking.transitions._PAIRS", 50)
    many = fit_transitions(log)
    np.testing.assert_allclose(many.weights, once.weights, atol=1e-6)


def test_reach_cuts_pairs_that_are_further_apart() -> None:
    log = random_log(2, 40, 12)
    far = fit_transitions(log, TransitionsConfig(tau=2.0, window=3, regularization=5.0))
    near = fit_transitions(log, TransitionsConfig(tau=2.0, window=3, regularization=5.0, reach=11))
    cut = fit_transitions(log, TransitionsConfig(tau=2.0, window=3, regularization=5.0, reach=1))
    np.testing.assert_array_equal(far.weights, near.weights)
    assert np.abs(far.weights - cut.weights).max() > 1e-3


@pytest.mark.parametrize("dense_limit", [100, 0])
def test_shares_sum_to_the_score_and_one_user_is_scored_as_many_are(dense_limit: int) -> None:
    log = random_log(3, 30, 14)
    model = fit_transitions(log, TransitionsConfig(dense_limit=dense_limit, rank=6, regularization=5.0))
    ranker = TransitionsRanker(model, 16)
    history = from_events([3, 0, 9], [1, -1, 0.5], ["event:a", "event:b", "event:c"])
    scores = ranker.scores(history)
    shares = ranker.shares(history, np.arange(16))
    np.testing.assert_allclose(shares.sum(axis=1), scores, atol=1e-5)
    np.testing.assert_allclose(model.score_many(Pasts.of([history], 14))[0], scores[:14], atol=1e-5)
    assert scores[14:].tolist() == [0, 0]
    assert ranker.known.tolist() == [*(log.counts > 0), False, False]
    for row in range(16):
        found = ranker.contributions(history, row)
        assert sum(one.amount for one in found) == pytest.approx(scores[row], abs=1e-5)
        assert all(one.row != row and one.part == "transitions" for one in found)


def test_a_row_depends_on_its_own_past_alone() -> None:
    log = random_log(4, 30, 14)
    model = fit_transitions(log)
    pasts = log.pasts()
    every = model.score_many(pasts)
    for at in (0, 11, 29):
        np.testing.assert_allclose(model.score_many(pasts.part(at, at + 1))[0], every[at], atol=1e-6)


def test_what_follows_scores_above_what_went_before() -> None:
    model = fit_transitions(Log.of_lists([[0, 1, 2, 3]] * 20, 4), TransitionsConfig(tau=1.0, window=1, past=0.0))
    scores = whole(model)
    assert scores[1, 2] > scores[1, 0]
    assert scores[2].argmax() == 3


def test_items_nobody_chose_and_empty_pasts_score_zero() -> None:
    log = Log.of_lists([[0, 2], [2, 0, 4], []], 6)
    model = fit_transitions(log, TransitionsConfig(regularization=1.0))
    assert model.items.tolist() == [0, 2, 4]
    scores = model.score_many(Pasts.of([from_events([], [], []), from_events([1, 5], [1, 1], ["a", "b"])], 6))
    assert not scores.any()
    assert not model.score_many(log.pasts([0]))[:, [1, 3, 5]].any()


@pytest.mark.parametrize("dense_limit", [100, 0])
@pytest.mark.parametrize("lists", [[], [[]], [[1]], [[1], [2]]])
def test_a_log_with_no_two_events_of_one_user_says_nothing(lists: list[list[int]], dense_limit: int) -> None:
    model = fit_transitions(Log.of_lists(lists, 4), TransitionsConfig(dense_limit=dense_limit))
    assert model.score_many(Log.of_lists([[1, 2]], 4).pasts()).shape == (1, 4)
    np.testing.assert_allclose(whole(model), 0, atol=1e-6)


@pytest.mark.parametrize("dense_limit", [100, 0])
def test_a_saved_model_scores_as_before(tmp_path: Path, dense_limit: int) -> None:
    log = random_log(5, 30, 14)
    model = fit_transitions(log, TransitionsConfig(dense_limit=dense_limit, rank=6, tau=np.inf))
    model.save(tmp_path / "m.safetensors")
    again = load_transitions(tmp_path / "m.safetensors")
    assert again.config == model.config
    np.testing.assert_array_equal(again.score_many(log.pasts()), model.score_many(log.pasts()))


def test_a_missing_or_damaged_file_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="missing"):
        load_transitions(tmp_path / "none.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"no tensors here")
    with pytest.raises(UserError, match="damaged"):
        load_transitions(tmp_path / "bad.safetensors")


@pytest.mark.parametrize(
    "wrong",
    [
        {"tau": 0.0},
        {"regularization": 0.0},
        {"window": 0},
        {"decay": 0.0},
        {"decay": 1.1},
        {"past": -1.0},
        {"reach": 0},
    ],
)
def test_settings_outside_their_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=r"positive|at least"):
        TransitionsConfig(**wrong)  # type: ignore[arg-type]


def test_pasts_over_another_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="7 items for a model of 4"):
        fit_transitions(Log.of_lists([[0, 1]], 4)).score_many(Log.of_lists([[0]], 7).pasts())


@pytest.mark.realdata
def test_it_ranks_the_last_but_one_event_of_movielens_better_than_recent_ease(realdata: Path) -> None:
    table = np.loadtxt(realdata / "ml-100k-posters" / "u.data", dtype=np.int64)
    table = table[np.lexsort((np.arange(len(table)), table[:, 3], table[:, 0]))]
    lists = [table[table[:, 0] == user, 1] - 1 for user in np.unique(table[:, 0])]
    log = Log.of_lists([one[:-2] for one in lists], 1682)
    pasts, wanted = log.pasts(), np.array([one[-2] for one in lists])
    model = fit_transitions(log)
    ease = EaseRanker(fit_ease((pasts.signals() != 0).astype(np.float32)))
    recent = np.stack([ease.scores(from_log(one[:-2], np.full(len(one) - 2, np.nan), None)) for one in lists])

    def ndcg(scores: NDArray[np.float32]) -> float:
        scores = np.where(pasts.seen().toarray(), -np.inf, scores)
        own = scores[np.arange(len(wanted)), wanted][:, None]
        before = (scores > own).sum(axis=1) + ((scores == own) & (np.arange(1682) < wanted[:, None])).sum(axis=1)
        return float(np.where(before < 10, 1 / np.log2(before + 2), 0).mean())

    assert ndcg(model.score_many(pasts)) > 1.05 * ndcg(recent) > 0.12
