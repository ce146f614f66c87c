"""Estimates: intervals against SciPy, diagnostics against their definitions, and when nothing is said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.evaluation.ope import ESTIMATORS, Options, Rounds, estimate, fit_reward_model, on_policy, rounds_of
from llm4rec.evaluation.ope.bootstrap import intervals
from llm4rec.evaluation.ope.estimators import Parts
from llm4rec.evaluation.ope.judge import effective
from llm4rec.evaluation.ope.synthetic import SyntheticConfig, make_world
from numpy.typing import NDArray
from scipy import stats

Array = NDArray[np.float64]


def skewed(n: int = 300, seed: int = 0) -> tuple[Array, Array]:
    rng = np.random.default_rng(seed)
    weight = rng.exponential(size=n) ** 1.3
    return weight / weight.mean(), (rng.random(n) < 0.3).astype(float)


def close(found: tuple[float, float] | None, expected: tuple[float, float]) -> None:
    assert found is not None
    assert found == pytest.approx(expected, abs=0.06 * (expected[1] - expected[0]))


def test_interval_of_a_mean_is_scipys() -> None:
    weight, reward = skewed()
    found = estimate(Rounds(reward, weight), ["ips"], resamples=8000)[0]
    expected = stats.bootstrap(
        (weight * reward,), np.mean, n_resamples=8000, method="BCa", rng=np.random.default_rng(1)
    ).confidence_interval
    close(found.interval, (expected.low, expected.high))


def test_interval_of_a_ratio_is_scipys() -> None:
    weight, reward = skewed(200, 1)
    found = estimate(Rounds(reward, weight), ["snips"], resamples=8000)[0]
    expected = stats.bootstrap(
        (weight, reward),
        lambda w, r, axis: (w * r).sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=8000,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    close(found.interval, (expected.low, expected.high))


def test_interval_of_a_mean_and_a_ratio_is_scipys() -> None:
    weight, reward = skewed(200, 2)
    rng = np.random.default_rng(3)
    q, v = rng.random(200), rng.random(200)
    found = estimate(Rounds(reward, weight, q, v), ["sndr"], resamples=8000)[0]
    expected = stats.bootstrap(
        (weight, reward, q, v),
        lambda w, r, q, v, axis: v.mean(axis=axis) + (w * (r - q)).sum(axis=axis) / w.sum(axis=axis),
        paired=True,
        vectorized=True,
        n_resamples=8000,
        method="BCa",
        rng=np.random.default_rng(1),
    ).confidence_interval
    close(found.interval, (expected.low, expected.high))


def test_other_levels() -> None:
    weight, reward = skewed()
    wide, narrow = (estimate(Rounds(reward, weight), ["ips"], level=level)[0].interval for level in (0.99, 0.5))
    assert wide is not None
    assert narrow is not None
    assert wide[0] < narrow[0] < narrow[1] < wide[1]


def test_on_policy_value_is_the_mean() -> None:
    _, reward = skewed(2000)
    value, interval = on_policy(reward)
    assert value == pytest.approx(reward.mean())
    error = reward.std(ddof=1) / 2000**0.5
    close(interval, (value - 1.96 * error, value + 1.96 * error))
    assert on_policy(np.zeros(10)) == (0.0, None)


def test_a_seed_gives_the_same_interval() -> None:
    weight, reward = skewed()
    rounds = Rounds(reward, weight)
    assert estimate(rounds, ["ips", "replay"], seed=3) == estimate(rounds, ["ips", "replay"], seed=3)
    assert estimate(rounds, ["ips"], seed=3) != estimate(rounds, ["ips"], seed=4)


def test_blocks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    weight, reward = skewed()
    whole = estimate(Rounds(reward, weight), ["ips", "snips"])
    monkeypatch.setattr("llm4rec.evaluation.ope.bootstrap._BLOCK", 1000)
    for one, other in zip(whole, estimate(Rounds(reward, weight), ["ips", "snips"]), strict=True):
        assert other.interval == pytest.approx(one.interval)


def test_groups_of_rounds_give_the_same_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    weight, reward = rng.exponential(size=20_001), (rng.random(20_001) < 0.3).astype(float)
    rounds = Rounds(reward, weight / weight.mean())
    whole = estimate(rounds, ["ips", "snips"])
    monkeypatch.setattr("llm4rec.evaluation.ope.bootstrap.GROUPS", 2000)
    for one, other in zip(whole, estimate(rounds, ["ips", "snips"]), strict=True):
        assert one.interval is not None
        assert other.interval == pytest.approx(one.interval, abs=0.1 * (one.interval[1] - one.interval[0]))


def test_one_accepted_round_carries_no_interval() -> None:
    weight = np.zeros(100)
    weight[3] = 100.0
    one = estimate(Rounds(np.arange(100) % 2.0, weight), ["snips"], floor=0)[0]
    assert one.refused is not None
    assert "too few" in one.refused


def test_coverage() -> None:
    world = make_world(SyntheticConfig(n_rounds=400, logging=0.0, target=1.5), seed=11)
    truth = world.value(n=100_000)
    names = ["ips", "snips", "dr", "sndr"]
    covered = np.zeros(len(names))
    for seed in range(150):
        made = world.log(seed=seed)
        rounds = rounds_of(made.log, made.target, fit_reward_model(made.log, seed=seed).under(made.target))
        for number, one in enumerate(estimate(rounds, names, resamples=400, seed=seed)):
            assert one.interval is not None
            covered[number] += one.interval[0] <= truth <= one.interval[1]
    assert (covered / 150 > 0.89).all()


def test_diagnostics() -> None:
    reward, weight = np.array([1.0, 0.0, 1.0, 1.0] * 50), np.array([0.0, 0.5, 0.5, 3.0] * 50)
    one = estimate(Rounds(reward, weight), ["ips"], options=Options(clip=2.0))[0]
    assert one.ess == pytest.approx(150**2 / (12.5 + 12.5 + 200))
    assert one.largest_weight == 2.0
    assert one.mean_weight == 1.0
    assert one.clipped == 0.25
    assert one.n == 200
    assert one.rewarded == pytest.approx(125**2 / (12.5 + 200))
    assert one.value == pytest.approx(0.625)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
def test_effective_size_is_between_one_and_all(values: list[float]) -> None:
    weight = np.array(values)
    ess = effective(weight)
    if weight.max() == 0:
        assert ess == 0
    else:
        assert 1 - 1e-9 <= ess <= np.count_nonzero(weight) * (1 + 1e-9)
        assert effective(weight * 7) == pytest.approx(ess)
        assert effective(np.ones(len(weight))) == pytest.approx(len(weight))


# Saying nothing.


def test_refused_below_the_floor() -> None:
    rng = np.random.default_rng(0)
    reward = (rng.random(1000) < 0.5).astype(float)
    weight = np.where(np.arange(1000) < 40, 25.0, 0.0)
    q = np.full(1000, 0.5)
    found = {one.name: one for one in estimate(Rounds(reward, weight, q, q + 0.01 * rng.normal(size=1000)))}
    assert set(found) == set(ESTIMATORS)
    for name, one in found.items():
        if name == "dm":  # it uses no weights, and says what its interval lacks
            assert one.refused is None
            assert one.ess is None
            assert one.value is not None
            assert "bias of its model" in one.note
        else:
            assert one.value is None
            assert one.interval is None
            assert one.refused is not None
            assert "effective sample size is 40.0 of 1,000 rounds, below the floor of 50" in one.refused
            assert one.ess == pytest.approx(40)
            assert one.largest_weight == pytest.approx({"replay": 1.0, "dros": 25 / (625 / 9000 + 1)}.get(name, 25.0))
    allowed = estimate(Rounds(reward, weight), ["ips"], floor=40)[0]
    assert allowed.value is not None


def test_the_direct_method_needs_rounds_too() -> None:
    v = np.random.default_rng(0).random(30)
    one = estimate(Rounds(np.ones(30), np.ones(30), v, v), ["dm"])[0]
    assert one.value is None
    assert one.refused == "30 rounds are below the floor of 50"


def test_cutting_weights_can_lift_a_log_over_the_floor() -> None:
    reward = np.array([0.0, 1.0] * 100)
    weight = np.ones(200)
    weight[0] = 1e5
    assert estimate(Rounds(reward, weight), ["ips"])[0].refused is not None
    assert estimate(Rounds(reward, weight), ["ips"], options=Options(clip=2.0))[0].value == pytest.approx(0.5)


def test_a_model_with_all_weight_taken_away_is_refused() -> None:
    rng = np.random.default_rng(0)
    rounds = Rounds(rng.random(100), np.ones(100), rng.random(100), rng.random(100))
    for one in estimate(rounds, ["switch-dr", "dros"], options=Options(switch=0.0, shrink=0.0)):
        assert one.value is None
        assert one.ess == 0


def test_weights_that_cannot_be_right_are_refused() -> None:
    # The log shows one of four actions, always; the target is uniform. All weights are 1/4: no estimate could tell.
    reward = np.array([0.0, 1.0] * 100)
    for one in estimate(Rounds(reward, np.full(200, 0.25)), ["ips", "snips", "replay"]):
        assert one.value is None
        assert one.refused is not None
        assert one.refused.startswith("the weights average 0.25 where right propensities give 1")
    # Far from 1 by chance alone is no reason.
    wild = np.random.default_rng(0).pareto(1.2, 5000)
    wild *= 0.8 / wild.mean()
    assert abs(wild.mean() - 1) > 0.1
    assert estimate(Rounds(np.arange(5000) % 2.0, wild), ["ips"], floor=1)[0].refused is None


def test_no_weight_at_all_is_refused_whatever_the_floor() -> None:
    one = estimate(Rounds(np.ones(100), np.zeros(100)), ["ips"], floor=0)[0]
    assert one.refused == "no round has any weight: the target never chooses what was logged"


@pytest.mark.parametrize("reward", [0.0, 1.0])
def test_rounds_that_do_not_differ_carry_no_interval(reward: float) -> None:
    for one in estimate(Rounds(np.full(100, reward), np.ones(100)), ["ips", "snips", "replay"]):
        assert one.value is None
        assert one.refused is not None
        assert "all of the same reward" in one.refused


def test_few_clicks_are_said() -> None:
    reward = np.zeros(1000)
    reward[:4] = 1
    one = estimate(Rounds(reward, np.ones(1000)), ["ips"])[0]
    assert one.note == "rests on 4 rewarded rounds in effect"
    assert one.interval is not None
    assert one.interval[1] - one.interval[0] > 0.006  # wide: 4 clicks are 4 +- 2


def test_unknown_estimator() -> None:
    with pytest.raises(ValueError, match="no estimator magic: there are replay, ips"):
        estimate(Rounds(np.ones(100), np.ones(100)), ["ips", "magic"])


def test_parts_without_weight_have_no_value() -> None:
    nothing = Parts(np.zeros(5), np.zeros(5), np.zeros(5), np.zeros(5))
    assert np.isnan(nothing.value)
    assert intervals([nothing], level=0.95, resamples=100, seed=0) == [None]
    assert intervals([], level=0.95, resamples=100, seed=0) == []
