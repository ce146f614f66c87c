"""Off-policy estimators against closed forms, plain loops and the truth of made-up logs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.evaluation.ope import ESTIMATORS, BanditLog, MatrixPolicy, Options, Rounds, fit_reward_model, rounds_of
from llm4rec.evaluation.ope.estimators import THRESHOLD, unsupported, weights
from llm4rec.evaluation.ope.synthetic import SyntheticConfig, make_world
from numpy.typing import NDArray

Array = NDArray[np.float64]
NEED_MODEL = ("dm", "dr", "sndr", "switch-dr", "dros")


def value(name: str, rounds: Rounds, options: Options = Options()) -> float:
    return ESTIMATORS[name](rounds, options).value


def drawn(seed: int, n: int = 200, *, logging: float = 0.5) -> tuple[Rounds, Array]:
    """Rounds with random q, and the q (n, 10) they were made of."""
    made = make_world(SyntheticConfig(n_rounds=n, logging=logging, target=2.0), seed=seed).log(seed=seed)
    q = np.random.default_rng(seed).random((n, 10))
    expected = (made.target.matrix * q).sum(axis=1)
    return Rounds(made.log.reward, weights(made.log, made.target), q[np.arange(n), made.log.action], expected), q


# The definitions, one round at a time.


def loop(rounds: Rounds, one: Callable[[float, float, float, float], float]) -> float:
    logged, expected = rounds.model()
    return sum(
        one(w, r, q, v) for w, r, q, v in zip(rounds.weight, rounds.reward, logged, expected, strict=True)
    ) / len(rounds.reward)


@pytest.mark.parametrize("seed", range(3))
def test_definitions(seed: int) -> None:
    rounds, _ = drawn(seed)
    total = float(sum(rounds.weight))
    n = len(rounds.weight)
    assert value("ips", rounds) == pytest.approx(loop(rounds, lambda w, r, q, v: w * r))
    assert value("snips", rounds) == pytest.approx(loop(rounds, lambda w, r, q, v: w * r) * n / total)
    assert value("dm", rounds) == pytest.approx(loop(rounds, lambda w, r, q, v: v))
    assert value("dr", rounds) == pytest.approx(loop(rounds, lambda w, r, q, v: v + w * (r - q)))
    assert value("sndr", rounds) == pytest.approx(
        loop(rounds, lambda w, r, q, v: v) + loop(rounds, lambda w, r, q, v: w * (r - q)) * n / total
    )
    assert value("switch-dr", rounds, Options(switch=1.5)) == pytest.approx(
        loop(rounds, lambda w, r, q, v: v + (w * (r - q) if w <= 1.5 else 0))
    )
    assert value("dros", rounds, Options(shrink=2.0)) == pytest.approx(
        loop(rounds, lambda w, r, q, v: v + 2 * w / (w * w + 2) * (r - q))
    )
    assert value("ips", rounds, Options(clip=1.2)) == pytest.approx(loop(rounds, lambda w, r, q, v: min(w, 1.2) * r))
    assert value("dr", rounds, Options(clip=1.2)) == pytest.approx(
        loop(rounds, lambda w, r, q, v: v + min(w, 1.2) * (r - q))
    )


def test_default_threshold() -> None:
    rounds, _ = drawn(0, logging=-2.0)
    switch, shrunk = ESTIMATORS["switch-dr"](rounds, Options()), ESTIMATORS["dros"](rounds, Options())
    assert switch.chosen == pytest.approx(THRESHOLD * 200**0.5)
    assert shrunk.chosen == pytest.approx(switch.chosen**2)


def test_weights_are_ratios_of_chances() -> None:
    log = BanditLog(np.array([0, 1, 1]), np.zeros(3), 2, np.array([0.5, 0.25, 1.0]))
    target = MatrixPolicy(np.array([[1.0, 0.0], [0.5, 0.5], [0.9, 0.1]]))
    assert weights(log, target) == pytest.approx([2.0, 2.0, 0.1])
    with pytest.raises(ValueError, match="no propensities"):
        weights(replace(log, propensity=None), target)


def test_unsupported_choices() -> None:
    log = BanditLog(np.array([0, 1, 0]), np.zeros(3), 3, np.full(3, 0.5), position=np.array([0, 0, 1]), n_positions=2)
    target = MatrixPolicy(np.array([[0.5, 0.2, 0.3], [0.5, 0.5, 0.0], [0.0, 0.6, 0.4]]))
    assert unsupported(log, target) == pytest.approx((0.3 + 0.0 + 1.0) / 3)


# Closed forms.


def uniform_log(seed: int, n: int = 400) -> tuple[BanditLog, MatrixPolicy]:
    """A uniform log and a deterministic target."""
    rng = np.random.default_rng(seed)
    log = BanditLog(rng.integers(5, size=n), rng.random(n), 5, np.full(n, 0.2))
    return log, MatrixPolicy(np.eye(5)[rng.integers(5, size=n)])


def test_replay_of_a_uniform_log_keeps_the_matches() -> None:
    log, target = uniform_log(0)
    same = target.matrix.argmax(axis=1) == log.action
    part = ESTIMATORS["replay"](rounds_of(log, target), Options())
    assert part.used is not None
    assert part.used.astype(bool).tolist() == same.tolist()
    assert part.value == pytest.approx(log.reward[same].mean())
    # Self-normalised IPS is the same mean; IPS divides by the matches to be expected instead of those there are.
    assert value("snips", rounds_of(log, target)) == pytest.approx(part.value)
    assert value("ips", rounds_of(log, target)) == pytest.approx(part.value * same.sum() / (len(log) / 5))


def test_replay_and_ips_agree_in_expectation() -> None:
    pairs = [(value("replay", r), value("ips", r)) for r in (rounds_of(*uniform_log(seed)) for seed in range(200))]
    difference = np.array([a - b for a, b in pairs])
    assert abs(difference.mean()) < 4 * difference.std() / 200**0.5


def test_replay_keeps_rounds_in_proportion_to_their_weight() -> None:
    rng = np.random.default_rng(0)
    weight = rng.random(20_000) * 4
    part = ESTIMATORS["replay"](Rounds(weight, weight), Options(seed=1))
    # E[w^2] / E[w] under a uniform weight on [0, 4].
    assert part.value == pytest.approx(8 / 3, abs=0.05)


def test_the_policy_that_made_the_log_is_worth_its_mean() -> None:
    made = make_world(seed=2).log(seed=2)
    ones = Rounds(made.log.reward, np.ones(len(made.log)))
    for name in ("ips", "snips", "replay"):
        assert value(name, ones) == pytest.approx(made.log.reward.mean())


def test_without_a_model_dr_is_ips() -> None:
    rounds, _ = drawn(1)
    nothing = replace(rounds, logged=np.zeros(200), expected=np.zeros(200))
    assert value("dr", nothing) == pytest.approx(value("ips", rounds))
    assert value("sndr", nothing) == pytest.approx(value("snips", rounds))
    assert value("dm", nothing) == 0


def test_with_a_perfect_model_only_the_contexts_vary() -> None:
    made = make_world(SyntheticConfig(n_rounds=300, logging=-1.0), seed=3).log(seed=3)
    rows = np.arange(300)
    certain = replace(made.log, reward=made.reward[rows, made.log.action])  # rewards without noise
    perfect = Rounds(
        certain.reward,
        weights(certain, made.target),
        made.reward[rows, certain.action],
        (made.target.matrix * made.reward).sum(axis=1),
    )
    for name in ("dr", "switch-dr", "dros"):
        assert ESTIMATORS[name](perfect, Options()).direct == pytest.approx(perfect.model()[1])
    assert value("sndr", perfect) == pytest.approx(value("dm", perfect))


def test_limits_of_switch_and_shrinkage() -> None:
    rounds, _ = drawn(4)
    dm, dr = value("dm", rounds), value("dr", rounds)
    assert value("switch-dr", rounds, Options(switch=np.inf)) == pytest.approx(dr)
    assert value("switch-dr", rounds, Options(switch=0.0)) == pytest.approx(dm)
    assert value("dros", rounds, Options(shrink=np.inf)) == pytest.approx(dr)
    assert value("dros", rounds, Options(shrink=1e12)) == pytest.approx(dr)
    assert value("dros", rounds, Options(shrink=0.0)) == pytest.approx(dm)
    assert value("dros", rounds, Options(shrink=1e-12)) == pytest.approx(dm)
    for name in ESTIMATORS:
        if name != "replay":  # it draws with the largest weight
            assert value(name, rounds, Options(clip=1e9)) == pytest.approx(value(name, rounds))


def test_what_was_cut_is_counted() -> None:
    weight = np.array([0.5, 1.0, 2.0, 8.0])
    rounds = Rounds(np.ones(4), weight, np.zeros(4), np.zeros(4))
    assert ESTIMATORS["ips"](rounds, Options(clip=1.5)).clipped == 0.5
    assert ESTIMATORS["switch-dr"](rounds, Options(switch=4.0)).clipped == 0.25
    assert ESTIMATORS["switch-dr"](rounds, Options(switch=4.0, clip=1.5)).clipped == 0.5
    assert ESTIMATORS["dros"](rounds, Options(shrink=4.0)).clipped == 0.5
    assert ESTIMATORS["dros"](rounds, Options(shrink=np.inf, clip=4.0)).clipped == 0.25


@pytest.mark.parametrize("name", NEED_MODEL)
def test_a_model_is_needed(name: str) -> None:
    with pytest.raises(ValueError, match="needs a reward model"):
        value(name, Rounds(np.ones(3), np.ones(3)))


@pytest.mark.parametrize("wrong", [{"clip": 0.0}, {"clip": np.nan}, {"switch": -1.0}, {"shrink": np.nan}])
def test_wrong_options(wrong: dict[str, float]) -> None:
    with pytest.raises(UserError, match="give a number"):
        Options(**wrong)  # type: ignore[arg-type]


# Against the truth.


@cache
def errors() -> dict[str, Array]:
    """Errors of each estimator over 120 logs of one world."""
    world = make_world(SyntheticConfig(n_rounds=500, logging=0.0, target=2.0), seed=7)
    truth = world.value(n=100_000)
    found: dict[str, list[float]] = {name: [] for name in ESTIMATORS}
    for seed in range(120):
        made = world.log(seed=seed)
        predictions = fit_reward_model(made.log, seed=seed).under(made.target)
        rounds = rounds_of(made.log, made.target, predictions)
        for name in ESTIMATORS:
            found[name].append(value(name, rounds, Options(seed=seed)) - truth)
    return {name: np.array(values) for name, values in found.items()}


@pytest.mark.parametrize("name", ["replay", "ips", "snips", "dr", "sndr", "switch-dr"])
def test_unbiased(name: str) -> None:
    found = errors()[name]
    assert abs(found.mean()) < 4 * found.std() / len(found) ** 0.5


def test_the_direct_method_is_biased_where_its_model_is_wrong_and_dr_is_not() -> None:
    found = errors()["dm"]
    assert abs(found.mean()) > 6 * found.std() / len(found) ** 0.5
    assert abs(errors()["dr"].mean()) < abs(found.mean()) / 5


def test_using_more_rounds_or_a_model_lowers_the_variance() -> None:
    spread = {name: values.std() for name, values in errors().items()}
    assert spread["dr"] < spread["ips"] < spread["replay"]


# Invariants.

rewards = st.lists(st.floats(-10, 10), min_size=2, max_size=30)


@st.composite
def given_rounds(draw: st.DrawFn) -> Rounds:
    reward = np.array(draw(rewards))
    n = len(reward)
    numbers = st.lists(st.floats(0.001, 1000), min_size=n, max_size=n)
    q = st.lists(st.floats(-10, 10), min_size=n, max_size=n)
    return Rounds(reward, np.array(draw(numbers)), np.array(draw(q)), np.array(draw(q)))


@given(given_rounds())
def test_snips_and_replay_stay_in_the_range_of_rewards(rounds: Rounds) -> None:
    low, high = rounds.reward.min(), rounds.reward.max()
    for name in ("snips", "replay"):
        assert low - 1e-9 <= value(name, rounds) <= high + 1e-9


@given(given_rounds(), st.floats(-100, 100))
def test_snips_and_sndr_move_with_the_rewards(rounds: Rounds, shift: float) -> None:
    logged, expected = rounds.model()
    moved = replace(rounds, reward=rounds.reward + shift, logged=logged + shift, expected=expected + shift)
    for name in ("snips", "sndr", "replay"):
        assert value(name, moved) == pytest.approx(value(name, rounds) + shift, abs=1e-6)


@given(given_rounds(), st.floats(0.01, 100))
def test_self_normalised_estimators_ignore_the_scale_of_weights(rounds: Rounds, factor: float) -> None:
    scaled = replace(rounds, weight=rounds.weight * factor)
    for name in ("snips", "sndr"):
        assert value(name, scaled) == pytest.approx(value(name, rounds), rel=1e-6, abs=1e-9)


@given(given_rounds(), st.floats(0, 100), st.floats(0, 1e4))
@settings(max_examples=50)
def test_changed_weights_never_exceed_the_weights(rounds: Rounds, tau: float, amount: float) -> None:
    for name, options in (("switch-dr", Options(switch=tau)), ("dros", Options(shrink=amount))):
        part = ESTIMATORS[name](rounds, options)
        assert part.used is not None
        assert (part.used >= 0).all()
        assert (part.used <= rounds.weight * (1 + 1e-12)).all()
    shrunk = ESTIMATORS["dros"](rounds, Options(shrink=amount)).used
    assert shrunk is not None
    assert (shrunk <= amount**0.5 / 2 + 1e-9).all()  # the most that lambda w / (w^2 + lambda) can be


@given(st.permutations(range(12)), st.integers(0, 100))
def test_the_order_of_rounds_does_not_matter(order: list[int], seed: int) -> None:
    rng = np.random.default_rng(seed)
    rounds = Rounds(rng.random(12), rng.random(12) + 0.1, rng.random(12), rng.random(12))
    logged, expected = rounds.model()
    turned = Rounds(rounds.reward[order], rounds.weight[order], logged[order], expected[order])
    for name in ESTIMATORS:
        if name != "replay":  # it draws
            assert value(name, turned) == pytest.approx(value(name, rounds))
