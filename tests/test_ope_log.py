"""Bandit logs and target policies: what is accepted, and what is refused with which words."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.evaluation.ope import BanditLog, MatrixPolicy, TablePolicy, model_propensities, table_of
from llm4rec.evaluation.ope.propensity import shown_shares


def made(**changes: Any) -> BanditLog:
    given: dict[str, Any] = {
        "action": np.array([0, 1, 2, 1]),
        "reward": np.array([0.0, 1.0, 0.0, 1.0]),
        "n_actions": 3,
        "propensity": np.array([0.2, 0.5, 0.3, 1.0]),
    }
    return BanditLog(**given | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"action": np.array([], dtype=int)}, "no rounds"),
        ({"reward": np.array([0.0, 1.0])}, "4 actions but 2 of reward"),
        ({"action": np.array([0, 1, 3, 1])}, "action of round 2 is 3.*0 to 2"),
        ({"action": np.array([0, -1, 2, 1])}, "action of round 1 is -1"),
        ({"reward": np.array([0.0, 1.0, np.nan, np.inf])}, "reward of round 2 is nan, and 2 in all.*finite"),
        ({"propensity": np.array([0.2, 0.0, 0.3, 1.0])}, "propensity of round 1 is 0.0.*above 0"),
        ({"propensity": np.array([0.2, 0.5, 1.3, 1.0])}, "propensity of round 2 is 1.3"),
        ({"propensity": np.array([0.2, np.nan, 0.3, 1.0])}, "propensity of round 1 is nan"),
        ({"context": np.zeros(4)}, "shape \\(4,\\)"),
        ({"context": np.array([[0.0], [1.0], [np.nan], [0.0]])}, "context of round 2"),
        ({"position": np.array([0, 1, 2, 0]), "n_positions": 2}, "position of round 2 is 2.*0 to 1"),
    ],
)
def test_wrong_logs_are_refused(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError, match=words):
        made(**changes)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ([[0.5, 0.6, 0.0]], "row 0.*sums to 1.1"),
        ([[0.5, 0.5, 0.0], [1.2, -0.2, 0.0]], "row 1.*-0.2"),
        ([[np.nan, 0.5, 0.5]], "row 0"),
    ],
)
def test_wrong_policies_are_refused(table: list[list[float]], words: str) -> None:
    with pytest.raises(UserError, match=words):
        TablePolicy(np.array(table))


def test_policies_of_another_shape_are_refused() -> None:
    rows = np.arange(4)
    with pytest.raises(UserError, match="1 positions and 2 actions, the log has 1 and 3"):
        TablePolicy(np.array([[0.5, 0.5]])).probabilities(made(), rows)
    with pytest.raises(UserError, match="shape \\(2, 3\\), the log has 4 rounds and 3 actions"):
        MatrixPolicy(np.full((2, 3), 1 / 3)).probabilities(made(), rows)


def test_shares_are_means_per_action_and_position() -> None:
    log = made(position=np.array([0, 0, 1, 0]), n_positions=2, propensity=None)
    assert shown_shares(log, 0).tolist() == [[1 / 3, 2 / 3, 0], [0, 0, 1]]
    assert shown_shares(log, 0.5)[1] == pytest.approx([0.5 / 2.5, 0.5 / 2.5, 1.5 / 2.5])
    modelled = model_propensities(log, 0)
    assert modelled.modelled
    assert modelled.propensity is not None
    assert modelled.propensity == pytest.approx([1 / 3, 2 / 3, 1, 2 / 3])


def test_a_position_without_rounds_is_uniform() -> None:
    log = made(position=np.zeros(4, dtype=int), n_positions=2)
    assert shown_shares(log, 0)[1] == pytest.approx([1 / 3] * 3)


@given(st.integers(0, 2**32), st.integers(1, 6), st.integers(1, 3), st.floats(0, 5))
def test_shares_sum_to_one(seed: int, n_actions: int, n_positions: int, smoothing: float) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(1, 40))
    log = BanditLog(
        rng.integers(n_actions, size=n),
        np.zeros(n),
        n_actions,
        position=rng.integers(n_positions, size=n),
        n_positions=n_positions,
    )
    shares = shown_shares(log, smoothing)
    assert (shares >= 0).all()
    assert shares.sum(axis=1) == pytest.approx(np.ones(n_positions))


def test_recorded_chances_are_the_table_where_they_depend_on_nothing_else() -> None:
    exact = made(propensity=np.array([0.2, 0.5, 0.3, 0.5]))
    found = table_of(exact)
    assert found.source == "recorded"
    assert found.policy.table == pytest.approx(np.array([[0.2, 0.5, 0.3]]))
    varied = table_of(made())  # action 1 once with 0.5, once with 1
    assert varied.source == "shown"
    partial = table_of(made(action=np.array([0, 1, 1, 1]), propensity=np.array([0.2, 0.5, 0.5, 0.5])))
    assert partial.source == "shown"  # 0.3 of the chance was never seen
    assert table_of(model_propensities(exact)).source == "shown"


def test_the_mean_of_recorded_chances_would_be_too_large() -> None:
    # A policy that always shows one of two items, by turns: each has a share of 1/2 but a recorded chance of 1.
    log = BanditLog(np.array([0, 1] * 50), np.zeros(100), 2, np.ones(100))
    assert table_of(log).policy.table == pytest.approx(np.array([[0.5, 0.5]]))
