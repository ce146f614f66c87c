"""BPR: the library's own scores for users of the fit, and a linear estimate of the factors of everybody else."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import MissingExtra
from llm4rec.ranking.bpr import BprConfig, BprModel, estimated, fit_bpr, linear_estimate
from llm4rec.ranking.history import empty, from_events, from_log
from llm4rec.ranking.log import Log, Pasts

SMALL = BprConfig(factors=6, learning_rate=0.05, iterations=60)


def two_worlds(users: int = 80, seed: int = 0) -> Log:
    """Half of the people choose among items 0-9, half among 10-19; items 20 and 21 are chosen by nobody."""
    rng = np.random.default_rng(seed)
    return Log.of_lists([rng.permutation(10)[:6] + 10 * (user % 2) for user in range(users)], 22)


def pasts(lists: list[list[int]], n_items: int = 22) -> Pasts:
    return Log.of_lists(lists, n_items).pasts()


def test_users_of_the_fit_are_scored_as_the_library_scores_them() -> None:
    library = pytest.importorskip("implicit.cpu.bpr")
    log = Log.of_lists([*(two_worlds().items.reshape(-1, 6)), []], 22)
    theirs = library.BayesianPersonalizedRanking(
        factors=6, learning_rate=0.05, iterations=60, num_threads=1, random_state=4
    )
    theirs.fit(log.matrix(), show_progress=False)
    different = [
        at
        for at, row in enumerate(log.items.reshape(-1, 6))
        if sum(set(row) == set(o) for o in log.items.reshape(-1, 6)) == 1
    ]
    scores = fit_bpr(log, SMALL, seed=4).score_many(log.pasts())
    expected = theirs.user_factors @ theirs.item_factors.T
    assert len(different) > 20
    np.testing.assert_allclose(scores[different], expected[different], atol=1e-5)


def test_users_with_the_same_past_share_the_mean_of_their_factors() -> None:
    library = pytest.importorskip("implicit.cpu.bpr")
    log = Log.of_lists([[0, 1, 2], [2, 0, 1], [3, 4], [5, 6, 7]], 9)
    theirs = library.BayesianPersonalizedRanking(factors=4, iterations=5, num_threads=1, random_state=0)
    theirs.fit(log.matrix(), show_progress=False)
    found = fit_bpr(log, BprConfig(factors=4, iterations=5)).user_factors(log.pasts())
    np.testing.assert_allclose(found[0], theirs.user_factors[:2, :-1].mean(axis=0), atol=1e-6)
    np.testing.assert_array_equal(found[0], found[1])
    np.testing.assert_allclose(found[2], theirs.user_factors[2, :-1], atol=1e-6)


def test_somebody_new_is_told_from_their_items() -> None:
    pytest.importorskip("implicit")
    model = fit_bpr(two_worlds(), SMALL)
    scores = model.score_many(pasts([[0, 1], [10, 11], [3]]))
    assert scores.dtype == np.float32
    assert scores[0, 2:10].min() > scores[0, 10:20].max()
    assert scores[1, 12:20].min() > scores[1, :10].max()
    assert scores[2, :10].mean() > scores[2, 10:20].mean()


def test_what_was_turned_away_from_counts_against_its_kind() -> None:
    pytest.importorskip("implicit")
    log = two_worlds()
    model = fit_bpr(log, SMALL)
    own = log.items[:6].tolist()
    liked, loathed = model.score_many(
        Pasts.of([from_log(own, [1.0] * 6, None), from_events(own, [-1.0] * 6, ["e"] * 6)], 22)
    )
    assert liked[:10].mean() > liked[10:20].mean()
    assert loathed[:10].mean() < loathed[10:20].mean()  # though its items are those of a user of the fit


def test_an_empty_past_is_scored_by_the_biases() -> None:
    pytest.importorskip("implicit")
    model = fit_bpr(two_worlds(), SMALL)
    np.testing.assert_array_equal(model.score_many(Pasts.of([empty()], 22))[0], model.biases)
    assert model.score_many(Pasts.of([], 22)).shape == (0, 22)


@given(st.integers(0, 2**16), st.integers(1, 5))
@settings(deadline=None, max_examples=30)
def test_the_estimate_finds_a_linear_law(seed: int, f: int) -> None:
    rng = np.random.default_rng(seed)
    factors = rng.normal(size=(12, f)).astype(np.float32)
    law = rng.normal(size=(f + 1, f)).astype(np.float32)
    many = pasts([rng.permutation(12)[: rng.integers(1, 6)].tolist() for _ in range(60)], 12)
    users = estimated(factors, law, many)
    np.testing.assert_allclose(linear_estimate(factors, users, many), law, atol=2e-2)
    means = np.stack([factors[one].mean(axis=0) for one in np.split(many.rows, many.offsets[1:-1])])
    np.testing.assert_allclose(users, means @ law[:-1] + law[-1], atol=1e-4)


@given(st.integers(0, 2**16), st.data())
@settings(deadline=None, max_examples=30)
def test_a_row_depends_on_its_own_past_alone(seed: int, data: st.DataObject) -> None:
    rng = np.random.default_rng(seed)
    model = BprModel(
        factors=rng.normal(size=(9, 3)).astype(np.float32),
        biases=rng.normal(size=9).astype(np.float32),
        users=np.empty((0, 3), dtype=np.float32),
        rows={},
        linear=rng.normal(size=(4, 3)).astype(np.float32),
    )
    rows = st.lists(st.integers(0, 8), max_size=5, unique=True)
    many = pasts(data.draw(st.lists(rows, min_size=1, max_size=5)), 9)
    together = model.score_many(many)
    for at in range(len(many)):
        np.testing.assert_allclose(model.score_many(many.part(at, at + 1))[0], together[at], atol=1e-5)


def test_the_seed_settles_the_factors() -> None:
    pytest.importorskip("implicit")
    config = BprConfig(factors=4, iterations=3)
    told: list[tuple[int, int | None]] = []
    log = two_worlds()
    before = log.items.copy()
    first = fit_bpr(log, config, seed=5, progress=lambda what, done, total=None: told.append((done, total)))
    again = fit_bpr(log, config, seed=5)
    np.testing.assert_array_equal(first.factors, again.factors)
    np.testing.assert_array_equal(first.users, again.users)
    np.testing.assert_array_equal(first.linear, again.linear)
    assert not np.array_equal(first.factors, fit_bpr(log, config, seed=6).factors)
    assert told == [(1, 3), (2, 3), (3, 3)]
    np.testing.assert_array_equal(log.items, before)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtra, match=r"pip install 'llm4rec\[als\]'"):
        fit_bpr(two_worlds())


def test_pasts_over_another_catalogue_are_refused() -> None:
    pytest.importorskip("implicit")
    model = fit_bpr(two_worlds(), replace(SMALL, iterations=1))
    with pytest.raises(ValueError, match="4 items"):
        model.score_many(Pasts.of([empty()], 4))


@pytest.mark.parametrize(
    "config", [{"factors": 0}, {"iterations": 0}, {"learning_rate": 0.0}, {"regularization": -1.0}]
)
def test_settings_are_checked(config: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        BprConfig(**config)  # type: ignore[arg-type]
