"""Known answers: a planted effect is recovered, no effect is not found, poor data is answered in words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.causal import build
from llm4rec.causal.build import estimate_bias
from llm4rec.causal.design import Events, NotEstimable, events_of, held_fixed
from llm4rec.causal.estimate import backdoor, causes, estimate, naive
from llm4rec.causal.graph import POPULARITY, CausalGraph, Edge, Node
from llm4rec.causal.refute import refutations
from llm4rec.causal.report import BiasReport, read_report
from llm4rec.errors import UserError


def confounded(effect: float, *, seed: int, n: int = 8_000, users: int = 250, items: int = 80) -> pl.DataFrame:
    """A log where quality makes items popular and well rated, lenient users come late, and time lifts ratings.

    ``effect`` is what each doubling of (1 + earlier events) adds to the rating, which is not rounded.
    """
    chance = np.random.default_rng(seed)
    quality, leniency = chance.standard_normal(items), np.sort(chance.standard_normal(users))
    lifts = np.exp(1.2 * quality[None, :] + 1.5 * chance.standard_normal((20, items)))
    counts, active = np.zeros(items), np.zeros(users)
    rows = []
    for event in range(n):
        share = event / n
        user = min(int(users * chance.beta(1 + 4 * share, 5 - 4 * share)), users - 1)
        item = int(chance.choice(items, p=lifts[int(20 * share)] / lifts[int(20 * share)].sum()))
        rating = (
            3 + 0.6 * quality[item] + 0.5 * leniency[user] + 0.3 * share - 0.1 * np.log1p(active[user])
            + effect * np.log2(1 + counts[item]) + 0.6 * chance.standard_normal()
        )  # fmt: skip
        rows.append((user, item, rating, 1_000_000 + event * 3_600))
        counts[item] += 1
        active[user] += 1
    schema = {"user": pl.UInt32, "item": pl.UInt32, "value": pl.Float32, "time": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


@pytest.fixture(scope="module")
def planted() -> pl.DataFrame:
    return confounded(0.10, seed=1)


@pytest.fixture(scope="module")
def report(planted: pl.DataFrame) -> BiasReport:
    return estimate_bias(planted, seed=0)


@pytest.mark.parametrize("effect", [-0.1, 0.0, 0.1, 0.3])
def test_planted_effect_is_within_the_interval_and_the_naive_slope_is_off(effect: float) -> None:
    events = events_of(confounded(effect, seed=7), seed=0)
    found, raw = estimate(events), naive(events)
    assert found.interval[0] <= effect <= found.interval[1]
    assert found.interval[1] - found.interval[0] < 0.15
    assert not raw.interval[0] <= effect <= raw.interval[1]


def test_interval_holds_the_truth_as_often_as_it_says() -> None:
    held = 0
    for seed in range(12):
        found = estimate(events_of(confounded(0.1, seed=100 + seed, n=2_500), seed=0))
        held += found.interval[0] <= 0.1 <= found.interval[1]
    assert held >= 10


def test_report_of_a_planted_effect(report: BiasReport) -> None:
    assert report.verdict == "estimated"
    assert report.estimate is not None
    assert report.interval is not None
    assert report.interval[0] <= 0.10 <= report.interval[1]
    assert report.naive is not None
    assert report.naive > report.interval[1]
    assert report.adjusted_for == ("activity", "activity_squared", "item", "item_age", "user")
    assert [r.name for r in report.refutations] == ["placebo treatment", "random common cause", "subset of users"]
    assert all(r.passed for r in report.refutations)
    assert report.strength == report.interval[0] > 0
    for part in (f"{report.estimate:+.2f} points", "95 % interval", "placebo treatment", "may subtract up to"):
        assert part in report.text()
    assert "simulated" not in report.text()


def test_no_effect_gives_no_strength() -> None:
    found = estimate_bias(confounded(0.0, seed=3), seed=0, simulated=True)
    assert found.interval is not None
    assert found.interval[0] <= 0 <= found.interval[1]
    assert found.strength == 0.0
    assert "subtracts nothing: the interval holds 0" in found.text()
    assert "simulated log" in found.text()


def test_a_negative_effect_is_never_turned_into_a_boost() -> None:
    found = estimate_bias(confounded(-0.3, seed=3), seed=0)
    assert found.interval is not None
    assert found.interval[1] < 0
    assert found.strength == 0.0
    assert "popularity lowers ratings" in found.text()


def test_a_failed_refutation_takes_the_strength_away(planted: pl.DataFrame, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object, **named: object) -> list[object]:
        tried = refutations(*args, **named)  # type: ignore[arg-type]
        return [tried[0].model_copy(update={"passed": False}), *tried[1:]]

    monkeypatch.setattr(build, "refutations", broken)
    found = estimate_bias(planted, seed=0)
    assert found.strength == 0.0
    assert "Refutations failed: placebo treatment" in found.text()
    assert "subtracts nothing: a refutation failed" in found.text()


def test_refuters_answer_as_they_must_on_a_known_effect(planted: pl.DataFrame) -> None:
    events = events_of(planted, seed=0)
    found = estimate(events)
    placebo, cause, subset = refutations(events, found, seed=5)
    assert abs(placebo.effect) < 0.01
    assert cause.effect == pytest.approx(found.value, abs=0.002)
    assert subset.effect == pytest.approx(0.1, abs=0.04)


def test_refuters_can_fail(planted: pl.DataFrame) -> None:
    events = events_of(planted, seed=0)
    found = estimate(events)
    wrong = replace(found, value=found.value + 5 * found.error)
    assert [r.passed for r in refutations(events, wrong, seed=5)] == [True, False, False]
    sure = replace(found, error=1e-9)
    assert not refutations(events, sure, seed=5)[0].passed


def test_estimate_is_the_regression_with_a_term_for_every_item_and_user() -> None:
    """Against least squares on indicator columns, its cluster-robust error summed in plain loops."""
    events = events_of(confounded(0.1, seed=5, n=900, users=40, items=30), seed=0)
    found = estimate(events)
    columns = causes(events)
    design = np.column_stack(
        [
            columns["popularity"], columns["activity"], columns["activity_squared"], columns["item_age"],
            np.eye(events.n_users)[events.user], np.eye(events.n_items)[events.item][:, 1:],
        ]
    )  # fmt: skip
    slopes = np.linalg.lstsq(design, events.rating, rcond=None)[0]
    assert found.value == pytest.approx(slopes[0], abs=1e-6)
    residual = events.rating - design @ slopes
    bread = np.linalg.pinv(design.T @ design)

    def clustered(labels: list[object]) -> float:
        groups = set(labels)
        meat = np.zeros((design.shape[1], design.shape[1]))
        for group in groups:
            rows = [row for row, label in enumerate(labels) if label == group]
            score = design[rows].T @ residual[rows]
            meat += np.outer(score, score)
        return float((bread @ meat @ bread)[0, 0]) * len(groups) / (len(groups) - 1)

    user, item = events.user.tolist(), events.item.tolist()
    by_user, by_item, by_both = clustered(user), clustered(item), clustered(list(zip(user, item, strict=True)))
    assert found.error == pytest.approx(max(by_user + by_item - by_both, by_user, by_item) ** 0.5, rel=1e-4)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_held_fixed_leaves_no_mean_of_item_or_user(seed: int) -> None:
    chance = np.random.default_rng(seed)
    user, item = chance.integers(0, 6, 80), chance.integers(0, 5, 80)
    column = chance.standard_normal(80)
    nothing = np.zeros(80)
    events = Events(user, item, column, nothing, nothing, nothing).taken(np.ones(80, dtype=np.bool_))
    left = held_fixed(events, {"x": column, "constant": np.full(80, 3.1)})
    assert not left["constant"].any()
    for group in (events.user, events.item):
        np.testing.assert_allclose(np.bincount(group, left["x"]), 0, atol=1e-6)
    # What an item or a user adds to all of its events changes nothing.
    shifted = column + 2.0 * events.user - 3.0 * events.item
    np.testing.assert_allclose(held_fixed(events, {"x": shifted})["x"], left["x"], atol=1e-5)


def test_dowhy_asks_for_the_same_adjustment_as_the_graph_says(planted: pl.DataFrame) -> None:
    events = events_of(planted, seed=0)
    assert set(backdoor(events)) == set(POPULARITY.observed) - {"popularity", "rating"}


def test_an_open_back_door_is_not_estimated(planted: pl.DataFrame) -> None:
    hidden = Node("fashion", "unobserved", "what is in fashion")
    edges = (Edge("fashion", "popularity", ""), Edge("fashion", "rating", ""))
    graph = CausalGraph(POPULARITY.question, (*POPULARITY.nodes, hidden), (*POPULARITY.edges, *edges))
    with pytest.raises(NotEstimable, match="back door"):
        estimate(events_of(planted, seed=0), graph=graph)


def test_a_large_log_is_sampled_by_whole_users(planted: pl.DataFrame) -> None:
    events = events_of(planted, seed=4, limit=3_000)
    again = events_of(planted, seed=4, limit=3_000)
    assert 1_500 < len(events) <= 3_000
    np.testing.assert_array_equal(events.rating, again.rating)
    assert not np.array_equal(events.rating, events_of(planted, seed=5, limit=3_000).rating)
    # Covariates are counted on the whole log, not on the sample.
    assert 2 ** events.doublings.max() > np.bincount(events.item).max() + 1


def test_the_same_seed_gives_the_same_report(planted: pl.DataFrame, report: BiasReport) -> None:
    assert estimate_bias(planted, seed=0) == report


def test_progress_is_told(planted: pl.DataFrame) -> None:
    told: list[tuple[str, int, int | None]] = []
    estimate_bias(planted.head(2_000), progress=lambda what, done, total=None: told.append((what, done, total)))
    assert told[-1][1] == told[-1][2]


def frame(user: object, item: object, value: object, time: object, n: int = 400) -> pl.DataFrame:
    def column(given: object, kind: type[pl.DataType]) -> pl.Series:
        return pl.Series([given] * n if not isinstance(given, list) else given, dtype=kind)

    return pl.DataFrame(
        {
            "user": column(user, pl.UInt32), "item": column(item, pl.UInt32),
            "value": column(value, pl.Float32), "time": column(time, pl.Int64),
        }
    )  # fmt: skip


SPREAD = [k % 40 for k in range(400)]
MIXED = [(7 * k + k // 40) % 40 for k in range(400)]
RATINGS = [float(1 + (k * k) % 5) for k in range(400)]
TIMES = list(range(1000, 1400))
SHUFFLED = np.random.default_rng(0).integers(0, 40, (2, 1500)).tolist()
POOR = {
    "no rows": (frame([], [], [], []), "empty"),
    "ten rows": (frame(SPREAD, MIXED, RATINGS, TIMES).head(10), "too little"),
    "one user": (frame(1, SPREAD, RATINGS, TIMES), "1 users"),
    "one item": (frame(SPREAD, 1, RATINGS, TIMES), "1 items"),
    "no ratings": (frame(SPREAD, MIXED, None, TIMES), "no ratings"),
    "ratings not numbers": (frame(SPREAD, MIXED, float("nan"), TIMES), "no ratings"),
    "no times": (frame(SPREAD, MIXED, RATINGS, None), "no times"),
    "ratings without times": (
        frame(
            SPREAD, MIXED, [None if k % 2 else 3.0 + k % 3 for k in range(400)], [k if k % 2 else None for k in TIMES]
        ),
        "both a rating and a time",
    ),
    "equal ratings": (frame(SPREAD, MIXED, 4.0, TIMES), "all ratings are the same (4)"),
    "one moment": (frame(SPREAD, MIXED, RATINGS, 5), "popularity does not vary"),
    "each user their own item": (frame(SPREAD, SPREAD, RATINGS, TIMES), "vary apart"),
    "ratings of items alone": (
        frame(SHUFFLED[0], SHUFFLED[1], [float(item % 5) for item in SHUFFLED[1]], list(range(1500))),
        "ratings do not vary",
    ),
}


@pytest.mark.parametrize("name", POOR)
def test_poor_data_is_answered_in_words(name: str) -> None:
    log, why = POOR[name]
    found = estimate_bias(log, seed=0)
    assert found.verdict == "not estimated"
    assert why in found.reason
    assert found.strength == 0.0
    assert found.estimate is None
    assert f"not estimated from the log, because {found.reason}" in found.text()


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 1_500), st.sampled_from([1, 3, 25, 60]), st.sampled_from([0.0, 0.5]))
def test_no_log_raises(seed: int, n: int, size: int, missing: float) -> None:
    chance = np.random.default_rng(seed)
    log = frame(
        chance.integers(0, size, n).tolist(),
        chance.integers(0, size, n).tolist(),
        [None if chance.random() < missing else float(chance.integers(1, 6)) for _ in range(n)],
        [None if chance.random() < missing else int(chance.integers(0, 10**6)) for _ in range(n)],
    )
    found = estimate_bias(log, seed=0)
    assert (found.verdict == "estimated") == (found.estimate is not None) == (not found.reason)
    assert found.text()


def test_report_on_disk(report: BiasReport, tmp_path: Path) -> None:
    path = tmp_path / "causal.json"
    report.write(path)
    assert json.loads(path.read_text())["schema"] == "llm4rec.bias/1"
    assert read_report(path) == report
    path.write_text(path.read_text().replace("llm4rec.bias/1", "llm4rec.bias/9"))
    with pytest.raises(UserError, match=r"damaged at schema.*build the workspace again"):
        read_report(path)
    with pytest.raises(UserError, match="missing"):
        read_report(tmp_path / "none.json")


def test_demo_log_gives_back_what_was_planted() -> None:
    from llm4rec.catalog.demo import films
    from llm4rec.catalog.demo.log import simulate

    simulation = simulate(films())
    ids = [pl.col(name).rank("dense").cast(pl.UInt32) for name in ("user", "item")]
    found = estimate_bias(simulation.interactions.with_columns(ids), seed=0, simulated=True)
    assert found.interval is not None
    assert found.naive_interval is not None
    assert found.unit == "stars"
    assert 0 < found.interval[0] <= simulation.effect <= found.interval[1]
    assert simulation.effect < found.naive_interval[0]
    assert found.strength > 0
    assert "In the simulated log" in found.text()


@pytest.mark.realdata
def test_a_real_log_is_answered(realdata: Path) -> None:
    rows = np.loadtxt(realdata / "ml-100k-posters" / "u.data", dtype=np.int64)
    log = pl.DataFrame(
        {"user": rows[:, 0], "item": rows[:, 1], "value": rows[:, 2].astype(np.float32), "time": rows[:, 3]}
    )
    found = estimate_bias(log, seed=0)
    assert found.verdict == "estimated"
    assert found.interval is not None
    assert found.naive is not None
    # The popular are rated higher here, but not because they are popular.
    assert found.naive > 0.05
    assert found.interval[1] < found.naive
    assert all(refutation.passed for refutation in found.refutations)
