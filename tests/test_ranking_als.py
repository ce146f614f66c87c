"""Implicit ALS: folding in against equation 4 with its diagonal matrices written out."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import MissingExtra
from llm4rec.ranking import als
from llm4rec.ranking.als import AlsConfig, AlsModel, fit_als
from llm4rec.ranking.history import History, empty, from_events, from_log
from llm4rec.ranking.log import Log, Pasts
from numpy.typing import NDArray


def two_worlds(users: int = 60, seed: int = 0) -> Log:
    """Half of the people choose among items 0-9, half among 10-19; items 20 and 21 are chosen by nobody."""
    rng = np.random.default_rng(seed)
    return Log.of_lists([rng.permutation(10)[:6] + 10 * (user % 2) for user in range(users)], 22)


def equation_4(model: AlsModel, signals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Hu, Koren & Volinsky 2008 with C^u and p(u) over all items, in double precision."""
    y = model.factors.astype(np.float64)
    confidence = np.diag(1 + model.alpha * np.abs(signals))
    left = y.T @ confidence @ y + model.regularization * np.eye(y.shape[1])
    x: NDArray[np.float64] = np.linalg.inv(left) @ y.T @ confidence @ signals
    return x


def unlike_lengths(seed: int, n_items: int) -> list[History]:
    rng = np.random.default_rng(seed)
    found = [empty()]
    for length in (1, 2, n_items, 5, 1, 9):
        opinions = rng.choice([1.0, 0.0, -1.0, 0.5], size=length)
        found.append(from_events(rng.permutation(n_items)[:length].tolist(), opinions.tolist(), ["e"] * length))
    return found


@given(
    st.integers(0, 2**16), st.sampled_from([2.0, np.inf]), st.sampled_from([0.5, 20.0]), st.sampled_from([1, 7, 500])
)
@settings(deadline=None)
def test_folding_in_is_equation_4(seed: int, tau: float, alpha: float, entries: int) -> None:
    factors = np.random.default_rng(seed).normal(size=(15, 4)).astype(np.float32)
    model = AlsModel(factors=factors, alpha=alpha, regularization=0.7, tau=tau)
    many = unlike_lengths(seed, 15)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(als, "_ENTRIES", entries)
        users = model.fold_in(Pasts.of(many, 15))
    assert users.dtype == np.float32
    for history, found in zip(many, users, strict=True):
        signals = np.zeros(15)
        signals[history.rows] = history.behaviour * np.exp(-history.ages.astype(np.float64) / tau)
        np.testing.assert_allclose(found, equation_4(model, signals), atol=2e-4)


def test_a_user_of_the_fit_is_folded_in_where_the_library_puts_them() -> None:
    pytest.importorskip("implicit")
    from implicit.cpu.als import AlternatingLeastSquares  # type: ignore[import-untyped,unused-ignore]

    log = two_worlds()
    config = AlsConfig(factors=6, alpha=3.0, regularization=0.5)
    model = fit_als(log, config, seed=1)
    theirs = AlternatingLeastSquares(factors=6, regularization=0.5, alpha=1.0, num_threads=1)
    theirs.item_factors = model.factors
    expected = theirs.recalculate_user(np.arange(log.n_users), log.keep(np.ones(len(log), np.bool_)).matrix() * 4.0)
    np.testing.assert_allclose(model.fold_in(log.pasts()), expected, atol=1e-4)


def test_it_learns_who_goes_with_what() -> None:
    pytest.importorskip("implicit")
    model = fit_als(two_worlds(), AlsConfig(factors=2, regularization=1.0))
    scores = model.score_many(Pasts.of([from_log([0, 1, 2], [1, 1, 1], None), empty()], 22))
    assert scores.dtype == np.float32
    assert scores[0, 3:10].min() > scores[0, 10:20].max()
    assert not scores[0, 20:].any()
    assert not scores[1].any()


def test_a_spoken_dislike_lowers_what_goes_with_it() -> None:
    pytest.importorskip("implicit")
    model = fit_als(two_worlds(), AlsConfig(factors=2, regularization=1.0))
    before, after = model.score_many(
        Pasts.of([from_events([12], [1], ["a"]), from_events([12, 0], [1, -1], ["a", "b"])], 22)
    )
    assert (after[1:10] < before[1:10]).all()


def test_what_was_chosen_last_weighs_most() -> None:
    pytest.importorskip("implicit")
    model = fit_als(two_worlds(), AlsConfig(factors=2, regularization=1.0, tau=1.0))
    scores = model.score_many(Pasts.of([from_log([0, 1, 2, 11], [1] * 4, None)], 22))[0]
    assert scores[12:20].min() > scores[3:10].max()


def test_the_seed_settles_the_factors() -> None:
    pytest.importorskip("implicit")
    config = AlsConfig(factors=4, iterations=3)
    told: list[tuple[int, int | None]] = []
    first = fit_als(two_worlds(), config, seed=5, progress=lambda what, done, total=None: told.append((done, total)))
    np.testing.assert_array_equal(first.factors, fit_als(two_worlds(), config, seed=5).factors)
    assert not np.array_equal(first.factors, fit_als(two_worlds(), config, seed=6).factors)
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_fitting_leaves_the_log_alone() -> None:
    pytest.importorskip("implicit")
    log = two_worlds()
    before = log.items.copy()
    fit_als(log, AlsConfig(factors=2, iterations=1))
    np.testing.assert_array_equal(log.items, before)


def test_without_the_library_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "implicit"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "implicit", None)
    with pytest.raises(MissingExtra, match=r"pip install 'llm4rec\[als\]'"):
        fit_als(two_worlds())


def test_pasts_over_another_catalogue_are_refused() -> None:
    model = AlsModel(factors=np.zeros((3, 2), dtype=np.float32), alpha=1.0, regularization=1.0)
    with pytest.raises(ValueError, match="4 items"):
        model.score_many(Pasts.of([empty()], 4))
    assert model.score_many(Pasts.of([], 3)).shape == (0, 3)


@pytest.mark.parametrize(
    "config",
    [{"factors": 0}, {"threads": 0}, {"iterations": 0}, {"alpha": 0.0}, {"regularization": -1.0}, {"tau": 0.0}],
)
def test_settings_are_checked(config: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be"):
        AlsConfig(**config)  # type: ignore[arg-type]
