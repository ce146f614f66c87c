"""Item-kNN against the cosine computed the long way."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.ranking import itemknn
from llm4rec.ranking.history import from_events
from llm4rec.ranking.itemknn import ItemKnnConfig, fit_itemknn
from llm4rec.ranking.log import Log, Pasts
from numpy.typing import NDArray


def random_log(seed: int, users: int = 25, items: int = 12) -> Log:
    rng = np.random.default_rng(seed)
    return Log.of_lists([rng.permutation(items)[: rng.integers(0, items)] for _ in range(users)], items)


def naive(log: Log, k: int) -> NDArray[np.float64]:
    """(n_items, n_items): each row's k largest cosines, ties by the smaller column, by loops over sets."""
    people = [set(log.users[log.items == item].tolist()) for item in range(log.n_items)]
    kept = np.zeros((log.n_items, log.n_items))
    for a in range(log.n_items):
        cosines = {
            b: len(people[a] & people[b]) / (len(people[a]) * len(people[b])) ** 0.5
            for b in range(log.n_items)
            if b != a and people[a] & people[b]
        }
        for b in sorted(cosines, key=lambda b: (-cosines[b], b))[:k]:
            kept[a, b] = cosines[b]
    return kept


@given(st.integers(0, 2**16), st.integers(1, 14))
@settings(deadline=None)
def test_neighbours_are_those_of_the_long_way(seed: int, k: int) -> None:
    log = random_log(seed)
    model = fit_itemknn(log, ItemKnnConfig(k=k))
    np.testing.assert_allclose(model.matrix.toarray(), naive(log, k), rtol=1e-6)
    falling = np.diff(model.likeness, axis=1)
    assert (falling <= 0).all()
    assert ((model.neighbours == -1) == (model.likeness == 0)).all()


@given(st.integers(0, 2**16), st.sampled_from([2.0, np.inf]))
@settings(deadline=None)
def test_scores_are_signals_times_cosines(seed: int, tau: float) -> None:
    log = random_log(seed)
    model = fit_itemknn(log, ItemKnnConfig(k=4, tau=tau))
    histories = [
        from_events([3, 5, 1], [1, -1, 0.5], ["a", "b", "c"]),
        from_events([], [], []),
        from_events([0], [0], ["d"]),
    ]
    scores = model.score_many(Pasts.of(histories, log.n_items))
    assert scores.dtype == np.float32
    cosines = naive(log, 4)
    for history, row in zip(histories, scores, strict=True):
        expected = sum(
            (b * np.exp(-a / tau) * cosines[j]
             for j, b, a in zip(history.rows, history.behaviour, history.ages, strict=True)),
            np.zeros(log.n_items),
        )  # fmt: skip
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    log = random_log(3)
    whole = fit_itemknn(log)
    monkeypatch.setattr(itemknn, "_CHUNK", 30)
    told: list[int] = []
    parts = fit_itemknn(log, progress=lambda what, done, total=None: told.append(done))
    np.testing.assert_array_equal(whole.neighbours, parts.neighbours)
    np.testing.assert_array_equal(whole.likeness, parts.likeness)
    assert len(told) == 6
    assert told[-1] == log.n_items


def test_items_nobody_chose_score_zero() -> None:
    model = fit_itemknn(Log.of_lists([[0, 1], [0, 1, 2]], 5))
    scores = model.score_many(Pasts.of([from_events([0, 3], [1, 1], ["a", "b"])], 5))
    assert scores[0, [0, 3, 4]].tolist() == [0, 0, 0]
    assert scores[0, 1] == pytest.approx(1 * np.float32(1))
    assert model.neighbours[3].tolist() == [-1] * 4


@pytest.mark.parametrize("n_items", [0, 1, 3])
def test_an_empty_log_is_a_model_that_says_nothing(n_items: int) -> None:
    model = fit_itemknn(Log.of_lists([], n_items))
    assert model.n_items == n_items
    assert not model.score_many(Pasts.of([from_events([], [], [])], n_items)).any()


def test_fitting_leaves_the_log_alone() -> None:
    log = random_log(4)
    before = log.items.copy()
    fit_itemknn(log)
    np.testing.assert_array_equal(log.items, before)


@pytest.mark.parametrize("config", [{"k": 0}, {"tau": 0.0}, {"tau": float("nan")}])
def test_settings_are_checked(config: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ItemKnnConfig(**config)  # type: ignore[arg-type]
