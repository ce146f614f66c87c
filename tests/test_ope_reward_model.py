"""The reward model against direct minimisation; cross-fitting; what rounds do through it."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
from llm4rec.errors import UserError
from llm4rec.evaluation.ope import BanditLog, MatrixPolicy, RewardConfig, estimate, fit_reward_model, rounds_of
from llm4rec.evaluation.ope.reward_model import INTERCEPT_PENALTY, RewardModel
from llm4rec.evaluation.ope.synthetic import SyntheticConfig, make_world
from numpy.typing import NDArray
from scipy.optimize import minimize

Array = NDArray[np.float64]


def a_log(seed: int = 0, n: int = 150, *, positions: int = 2) -> BanditLog:
    rng = np.random.default_rng(seed)
    return BanditLog(
        rng.integers(4, size=n),
        (rng.random(n) < 0.3).astype(float),
        5,  # one action never taken
        np.full(n, 0.25),
        rng.normal(size=(n, 3)),
        rng.integers(positions, size=n),
        positions,
    )


def design(model: RewardModel, rows: NDArray[np.int64], action: NDArray[np.int64]) -> Array:
    """Dense features of (round, action)."""
    s, z = model.s[rows], model.z[rows]
    own = np.zeros((len(rows), model.log.n_actions * z.shape[1]))
    for number, chosen in enumerate(action):
        own[number, chosen * z.shape[1] : (chosen + 1) * z.shape[1]] = z[number]
    return np.hstack([s, own])


@pytest.mark.parametrize("link", ["logistic", "linear"])
@pytest.mark.parametrize("interactions", [False, True])
def test_coefficients_minimise_the_penalised_loss(link: Literal["logistic", "linear"], interactions: bool) -> None:
    log = a_log()
    model = fit_reward_model(log, RewardConfig(link=link, interactions=interactions, penalty=0.7, folds=3))
    everyone = np.arange(len(log))
    for number in range(3):
        rest = everyone[model.fold != number]
        x, r = design(model, rest, log.action[rest]), log.reward[rest]
        held = np.full(x.shape[1], 0.7)
        held[0] = INTERCEPT_PENALTY
        base = (r.sum() + 0.5) / (len(r) + 1)
        offset = np.log(base / (1 - base)) if link == "logistic" else r.mean()

        def loss(b: Array, x: Array = x, r: Array = r, held: Array = held, offset: float = offset) -> float:
            linear = offset + x @ b
            each = np.logaddexp(0, linear) - r * linear if link == "logistic" else (r - linear) ** 2 / 2
            return float(each.sum() + held @ b**2 / 2)

        best = minimize(loss, np.zeros(x.shape[1]), method="L-BFGS-B", options={"ftol": 1e-14, "gtol": 1e-9}).x
        inside = everyone[model.fold == number]
        for action in range(5):
            linear = offset + design(model, inside, np.full(len(inside), action)) @ best
            expected = 1 / (1 + np.exp(-linear)) if link == "logistic" else linear
            assert model.predict(inside)[:, action] == pytest.approx(expected, abs=2e-4)
        assert model.logged[inside] == pytest.approx(model.predict(inside)[np.arange(len(inside)), log.action[inside]])


def test_no_round_is_predicted_from_itself() -> None:
    log = a_log()
    before = fit_reward_model(log, seed=4)
    row = 17
    reward = log.reward.copy()
    reward[row] = 1 - reward[row]
    after = fit_reward_model(replace(log, reward=reward), seed=4)
    inside = before.fold == before.fold[row]
    assert after.logged[inside] == pytest.approx(before.logged[inside])  # the whole fold of the changed round
    assert not np.allclose(after.logged[~inside], before.logged[~inside])


def test_expected_is_the_sum_over_actions() -> None:
    log = a_log(n=90)
    rng = np.random.default_rng(1)
    chances = rng.dirichlet(np.ones(5), size=90)
    model = fit_reward_model(log)
    found = model.under(MatrixPolicy(chances)).expected
    q = model.predict(np.arange(90))
    assert found == pytest.approx([sum(chances[i, a] * q[i, a] for a in range(5)) for i in range(90)])


def test_rare_actions_are_pulled_to_the_rest() -> None:
    action = np.array([0] * 200 + [1] * 2)
    reward = np.array([0.0, 1.0] * 100 + [1.0, 1.0])
    q = fit_reward_model(BanditLog(action, reward, 3, np.full(202, 0.5))).predict(np.array([0]))[0]
    assert 0.5 < q[1] < 0.8  # two rounds, both rewarded, are no proof of 1
    assert 0.4 < q[2] < q[1]  # never seen: what all have in common


@pytest.mark.parametrize("reward", [0.0, 1.0, 0.3])
def test_rewards_all_alike(reward: float) -> None:
    log = replace(a_log(), reward=np.full(150, reward))
    q = fit_reward_model(log).predict(np.arange(150))
    assert q == pytest.approx(np.full((150, 5), reward), abs=0.02)


def test_auto_link() -> None:
    log = a_log()
    assert fit_reward_model(log).link == "logistic"
    assert fit_reward_model(replace(log, reward=log.reward * 5)).link == "linear"
    with pytest.raises(UserError, match=r"a reward is 5\.0.*choose the linear"):
        fit_reward_model(replace(log, reward=log.reward * 5), RewardConfig(link="logistic"))


def test_a_constant_feature_changes_nothing() -> None:
    log = a_log()
    assert log.context is not None
    more = replace(log, context=np.column_stack([log.context, np.full(150, 3.0)]))
    assert fit_reward_model(more).logged == pytest.approx(fit_reward_model(log).logged)


def test_too_few_rounds_and_wrong_settings() -> None:
    with pytest.raises(UserError, match="3 rounds, fewer than the 5 folds"):
        fit_reward_model(a_log(n=3))
    with pytest.raises(UserError, match="penalty of the reward model is 0"):
        RewardConfig(penalty=0)
    with pytest.raises(UserError, match="1 folds: give at least 2"):
        RewardConfig(folds=1)


@pytest.mark.parametrize("link", ["logistic", "linear"])
@pytest.mark.parametrize("interactions", [False, True])
def test_influence_is_what_leaving_a_round_out_does(link: Literal["logistic", "linear"], interactions: bool) -> None:
    # Leaving a round out of the training of the other folds moves the value by its influence over n, to first order.
    n = 1600
    log = a_log(n=n)
    rng = np.random.default_rng(3)
    target = MatrixPolicy(rng.dirichlet(np.ones(5), size=n))
    config = RewardConfig(link=link, interactions=interactions, penalty=1e-3, folds=2)
    model = fit_reward_model(log, config)
    predictions = model.under(target)
    subtracted = rng.random(n)
    found = predictions.influence(subtracted)

    def refitted(skip: int) -> float:
        """The value when both folds' models are fitted by hand without one round."""
        total = 0.0
        everyone = np.arange(n)
        for number in range(2):
            inside = everyone[model.fold == number]
            rest = everyone[(model.fold != number) & (everyone != skip)]
            x, r = design(model, rest, log.action[rest]), log.reward[rest]
            b = np.zeros(x.shape[1])
            held = np.full(x.shape[1], 1e-3)
            for _ in range(12 if link == "logistic" else 1):
                mean = 1 / (1 + np.exp(-(x @ b))) if link == "logistic" else x @ b
                slope = mean * (1 - mean) if link == "logistic" else np.ones_like(mean)
                step = np.linalg.solve((x * slope[:, None]).T @ x + np.diag(held), x.T @ (r - mean) - held * b)
                b += step
            for action in range(5):
                linear = design(model, inside, np.full(len(inside), action)) @ b
                q = 1 / (1 + np.exp(-linear)) if link == "logistic" else linear
                total += float(target.matrix[inside, action] @ q)
                taken = log.action[inside] == action
                total -= float(subtracted[inside][taken] @ q[taken])
        return total / n

    whole = refitted(-1)
    some = np.arange(0, n, 80)
    moved = np.array([(whole - refitted(int(row))) * n for row in some])
    assert np.corrcoef(moved, found[some])[0, 1] > 0.99
    assert found[some] - found.mean() == pytest.approx(
        moved, abs=0.15 * np.abs(moved).max()
    )  # leverage is second order


def test_the_interval_of_the_direct_method_is_as_wide_as_its_error() -> None:
    world = make_world(SyntheticConfig(n_rounds=400, logging=0.0, target=2.0), seed=1)
    values, widths, held = [], [], []
    for seed in range(80):
        made = world.log(seed=seed)
        predictions = fit_reward_model(made.log, seed=seed).under(made.target)
        rounds = rounds_of(made.log, made.target, predictions)
        one = estimate(rounds, ["dm"], resamples=300, seed=seed)[0]
        fixed = estimate(replace(rounds, influence=None), ["dm"], resamples=300, seed=seed)[0]
        assert one.value is not None
        assert one.interval is not None
        assert fixed.interval is not None
        values.append(one.value)
        widths.append((one.interval[1] - one.interval[0]) / 3.92)
        held.append((fixed.interval[1] - fixed.interval[0]) / 3.92)
    assert 0.75 < np.mean(widths) / np.std(values) < 1.35
    assert np.mean(held) < 0.7 * np.mean(widths)  # a bootstrap that takes the model for the truth
