"""The posterior of one user: its steps against closed forms, drift, scopes, undoing, what is kept, what is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.profiles.posterior import Observation, Posterior, Prior, States, Vector, fold, in_order, weights_of
from numpy.typing import NDArray

CLOSE = 1e-9


def a_prior(seed: int, d: int = 5, keep: float = 1.0) -> Prior:
    rng = np.random.default_rng(seed)
    square = rng.normal(size=(d, d))
    covariance = square @ square.T / d + 0.1 * np.eye(d)
    return Prior(rng.normal(size=d), (covariance + covariance.T) / 2, keep)


def looks(seed: int, count: int, d: int = 5, *, times: str = "rising") -> list[Observation]:
    rng = np.random.default_rng(seed)
    when = {"rising": np.cumsum(rng.exponential(size=count)), "one": np.zeros(count)}[times]
    return [
        Observation(rng.normal(size=d), float(rng.normal()), float(rng.exponential() + 1e-3), float(t), ref=f"e{at}")
        for at, t in enumerate(when)
    ]


def at_once(prior: Prior, seen: list[Observation], now: float) -> tuple[Vector, Vector]:
    """The posterior of the Gaussian process over all looks, with the inverses written out."""
    if not seen:
        return prior.mean, prior.covariance
    vectors = np.stack([one.vector for one in seen])
    times = np.array([float(one.time or 0.0) for one in seen])
    kernel = prior.keep ** np.abs(times[:, None] - times) * (vectors @ prior.covariance @ vectors.T)
    inverse = np.linalg.inv(kernel + np.diag([1 / one.precision for one in seen]))
    cross = prior.keep ** (now - times)[None] * (prior.covariance @ vectors.T)
    rest = np.array([one.target for one in seen]) - vectors @ prior.mean
    return prior.mean + cross @ inverse @ rest, prior.covariance - cross @ inverse @ cross.T


def same(found: Posterior, mean: NDArray[np.floating], covariance: NDArray[np.floating]) -> None:
    np.testing.assert_allclose(found.mean, mean, atol=CLOSE)
    np.testing.assert_allclose(found.covariance, covariance, atol=CLOSE)


seeds, counts, keeps = st.integers(0, 2**16), st.integers(0, 12), st.sampled_from([0.5, 0.9, 1.0])


@given(seeds, counts, keeps, st.floats(0, 5))
def test_steps_are_the_posterior_of_all_observations_at_once(seed: int, count: int, keep: float, wait: float) -> None:
    prior, seen = a_prior(seed, keep=keep), looks(seed + 1, count)
    now = wait + max((one.time or 0.0 for one in seen), default=0.0)
    same(fold(prior, seen, now=now), *at_once(prior, seen, now))


@given(seeds, counts)
def test_without_drift_it_is_ridge_regression(seed: int, count: int) -> None:
    prior, seen = a_prior(seed), looks(seed + 1, count)
    inverse = np.linalg.inv(prior.covariance)
    left = inverse + sum((one.precision * np.outer(one.vector, one.vector) for one in seen), np.zeros((5, 5)))
    right = inverse @ prior.mean + sum((one.precision * one.target * one.vector for one in seen), np.zeros(5))
    same(fold(prior, seen), np.linalg.solve(left, right), np.linalg.inv(left))


@given(seeds, st.integers(1, 12), keeps, st.floats(0, 5))
def test_the_weights_of_all_at_once_give_the_same_mean(seed: int, count: int, keep: float, wait: float) -> None:
    prior, seen = a_prior(seed, keep=keep), looks(seed + 1, count)
    vectors = np.stack([one.vector for one in seen])
    targets, precisions, times = (
        np.array([getattr(one, name) for one in seen]) for name in ("target", "precision", "time")
    )
    now = float(times.max()) + wait
    weights = weights_of(prior, vectors, targets, precisions, times, now=now)
    mean = prior.mean + prior.covariance @ (weights @ vectors)
    np.testing.assert_allclose(fold(prior, seen, now=now).mean, mean, atol=CLOSE)


@given(seeds, st.lists(st.booleans(), max_size=14), keeps)
def test_undoing_any_of_them_is_never_having_seen_them(seed: int, stays: list[bool], keep: float) -> None:
    prior, seen = a_prior(seed, keep=keep), looks(seed + 1, len(stays))
    states = States(prior, capacity=2)
    for stop in range(len(seen) + 1):
        states.state("ana", seen[:stop])
    left = [one for one, stay in zip(seen, stays, strict=True) if stay]
    now = max((one.time or 0.0 for one in left), default=0.0)
    found = states.state("ana", left)
    same(found, *at_once(prior, left, now))
    again = states.state("ana", seen)
    same(again, *at_once(prior, seen, max((one.time or 0.0 for one in seen), default=0.0)))


@given(seeds, st.integers(0, 10))
def test_at_one_time_the_order_says_nothing(seed: int, count: int) -> None:
    prior, seen = a_prior(seed, keep=0.7), looks(seed + 1, count, times="one")
    mixed = [seen[at] for at in np.random.default_rng(seed).permutation(count)]
    here, there = fold(prior, seen), fold(prior, mixed)
    same(here, there.mean, there.covariance)


@given(seeds, counts)
def test_times_decide_and_not_the_order_handed_in(seed: int, count: int) -> None:
    prior, seen = a_prior(seed, keep=0.7), looks(seed + 1, count)
    here, there = fold(prior, seen), fold(prior, seen[::-1])
    assert np.array_equal(here.mean, there.mean)
    assert np.array_equal(here.covariance, there.covariance)


@given(seeds, st.integers(1, 60), keeps, st.floats(1e-6, 1e5))
def test_the_covariance_stays_symmetric_and_positive_definite(seed: int, count: int, keep: float, sure: float) -> None:
    prior = a_prior(seed, keep=keep)
    seen = [replace(one, precision=one.precision * sure) for one in looks(seed + 1, count)]
    found = fold(prior, seen)
    assert np.array_equal(found.covariance, found.covariance.T)
    assert np.linalg.eigvalsh(found.covariance).min() > 0
    # Looking never makes anything less sure than the population is.
    assert np.linalg.eigvalsh(prior.covariance - found.covariance).min() > -CLOSE


def test_what_was_learned_fades_to_the_population() -> None:
    prior, seen = a_prior(3, keep=0.8), looks(4, 6)
    state = fold(prior, seen)
    assert state.time is not None
    away = [np.linalg.norm(state.at(state.time + wait).mean - prior.mean) for wait in (0, 1, 2, 10, 500)]
    assert away == sorted(away, reverse=True)
    assert away[1] == pytest.approx(0.8 * away[0])
    same(state.at(state.time + 500), prior.mean, prior.covariance)


def test_what_is_too_old_is_left_out_by_blocks_and_changes_nothing() -> None:
    prior, d = a_prior(5, keep=0.5), 5
    rng = np.random.default_rng(0)
    seen = [Observation(rng.normal(size=d), 1.0, 1.0, float(t)) for t in range(700)]
    kept = in_order(prior, seen)
    assert len(kept) == 700 - 640
    state = Posterior.of(prior)
    for one in seen:
        state = state.after(one)
    same(fold(prior, seen), state.mean, state.covariance)
    assert len(in_order(replace(prior, keep=1.0), seen)) == 700


def test_a_statement_counts_in_its_scope_and_does_not_fade() -> None:
    prior, seen = a_prior(7, keep=0.5), looks(8, 3)
    vector = np.eye(5)[0]
    always = Observation(vector, -4.0, 2.0, None, ref="no horror")
    tonight = Observation(np.eye(5)[1], 3.0, 2.0, None, thread="tonight", ref="short")
    stated = [*seen, always, tonight]
    assert np.array_equal(fold(prior, stated).mean, fold(prior, [*seen, always]).mean)
    assert np.array_equal(fold(prior, stated, thread="another").mean, fold(prior, [*seen, always]).mean)
    here = fold(prior, stated, thread="tonight")
    assert not np.allclose(here.mean, fold(prior, stated).mean)
    latest = seen[-1].time or 0.0
    for now in (latest, latest + 100):
        expected, without = fold(prior, stated, now=now), fold(prior, seen, now=now)
        same(expected, *_looked(without, always))
    # Long after, of the events nothing is left, and of the statement all.
    assert fold(prior, stated, now=latest + 500).mean[0] < prior.mean[0] - 1


def _looked(state: Posterior, one: Observation) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    precision = np.linalg.inv(state.covariance) + one.precision * np.outer(one.vector, one.vector)
    right = np.linalg.solve(state.covariance, state.mean) + one.precision * one.target * one.vector
    return np.linalg.solve(precision, right), np.linalg.inv(precision)


def test_scores_and_variances_are_those_of_the_gaussian() -> None:
    state = fold(a_prior(1), looks(2, 4))
    vectors = np.random.default_rng(3).normal(size=(7, 5))
    np.testing.assert_allclose(state.scores(vectors), [v @ state.mean for v in vectors])
    np.testing.assert_allclose(state.variances(vectors), [v @ state.covariance @ v for v in vectors])


def test_samples_have_the_mean_and_the_covariance_and_follow_the_seed() -> None:
    state = fold(a_prior(1), looks(2, 4))
    rng = np.random.default_rng(0)
    drawn = np.stack([state.sample(rng) for _ in range(20_000)])
    np.testing.assert_allclose(drawn.mean(axis=0), state.mean, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), state.covariance, atol=0.05)
    assert np.array_equal(state.sample(rng, 0.0), state.mean)
    one, two = (state.sample(np.random.default_rng(9), 0.25) for _ in range(2))
    assert np.array_equal(one, two)
    np.testing.assert_allclose(one - state.mean, 0.5 * (state.sample(np.random.default_rng(9)) - state.mean))
    with pytest.raises(ValueError, match="temperature"):
        state.sample(rng, -1.0)


@given(seeds, st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 8)), max_size=20), st.integers(1, 3))
def test_what_is_kept_never_shows(seed: int, asked: list[tuple[str, int]], capacity: int) -> None:
    prior = a_prior(seed, keep=0.9)
    of = {user: looks(seed + at, 8) for at, user in enumerate("abc")}
    states = States(prior, capacity)
    for user, count in asked:
        found, plain = states.state(user, of[user][:count]), fold(prior, of[user][:count])
        assert np.array_equal(found.mean, plain.mean)
        assert np.array_equal(found.covariance, plain.covariance)
        assert len(states) <= capacity


def test_memory_is_bounded_and_users_can_be_forgotten() -> None:
    prior = a_prior(0, d=8)
    states = States(prior, capacity=10)
    for user in range(30):
        states.state(f"u{user}", looks(user, 2, d=8))
    assert len(states) == 10
    assert states.nbytes == 10 * 8 * (8 + 36)
    states.forget("u29")
    states.forget("nobody")
    assert len(states) == 9


def test_a_kept_state_is_gone_on_with(monkeypatch: pytest.MonkeyPatch) -> None:
    prior, seen = a_prior(0), looks(1, 6)
    steps: list[str] = []
    after = Posterior.after

    def noted(self: Posterior, one: Observation) -> Posterior:
        steps.append(one.ref)
        return after(self, one)

    monkeypatch.setattr(Posterior, "after", noted)
    states = States(prior)
    states.state("ana", seen[:5])
    steps.clear()
    states.state("ana", seen)
    assert steps == ["e5"]
    states.state("ana", seen[1:])
    assert steps == ["e5", "e1", "e2", "e3", "e4", "e5"]


@pytest.mark.parametrize(
    ("mean", "covariance", "keep", "message"),
    [
        (np.zeros(2), np.eye(3), 1.0, "shape"),
        (np.array([0.0, np.nan]), np.eye(2), 1.0, "finite"),
        (np.zeros(2), -np.eye(2), 1.0, "positive definite"),
        (np.zeros(2), np.array([[1.0, 0.5], [0.0, 1.0]]), 1.0, "symmetric"),
        (np.zeros(2), np.eye(2), 0.0, "keep"),
        (np.zeros(2), np.eye(2), 1.5, "keep"),
    ],
)
def test_a_prior_that_is_none_is_refused(mean: Vector, covariance: Vector, keep: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Prior(mean, covariance, keep)


def test_observations_that_are_none_are_refused() -> None:
    good = Observation(np.ones(5), 1.0, 1.0, 1.0, ref="e1")
    for change, message in (
        ({"vector": np.full(5, np.nan)}, "finite"),
        ({"target": np.inf}, "finite"),
        ({"precision": 0.0}, "precision"),
        ({"precision": np.inf}, "precision"),
        ({"time": np.nan}, "time"),
        ({"thread": "tonight"}, "thread"),
    ):
        with pytest.raises(ValueError, match=message):
            replace(good, **change)
    state = Posterior.of(a_prior(0)).after(good)
    with pytest.raises(ValueError, match="before"):
        state.after(replace(good, time=0.5))
    with pytest.raises(ValueError, match="more certain"):
        state.after(replace(good, precision=1e12))
    with pytest.raises(ValueError, match="numbers"):
        state.after(replace(good, vector=np.ones(4)))
    with pytest.raises(ValueError, match="at least one"):
        States(a_prior(0), 0)
