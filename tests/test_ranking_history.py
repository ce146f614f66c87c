"""What a ranker may know of a user."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.ranking.history import History, empty, from_events, from_log, merge, rating_weights


def test_rating_weights_are_linear_on_the_scale() -> None:
    values = np.array([1, 2, 3, 4, 5, np.nan, 9], dtype=np.float32)
    assert rating_weights(values, (1, 5)).tolist() == [-1, -0.5, 0, 0.5, 1, 1, 1]


@pytest.mark.parametrize("scale", [None, (1.0, 1.0)])
def test_values_that_are_no_grades_weigh_one(scale: tuple[float, float] | None) -> None:
    assert rating_weights(np.array([1, 7], dtype=np.float32), scale).tolist() == [1, 1]


def test_log_history_keeps_the_latest_event_of_an_item() -> None:
    history = from_log([4, 2, 4, 9], [1, 5, 5, 3], (1, 5), ref=lambda row: f"log:u:{row}")
    assert history.rows.tolist() == [2, 4, 9]
    assert history.ages.tolist() == [2, 1, 0]
    assert history.weights.tolist() == [1, 1, 0]
    assert history.behaviour.tolist() == [1, 1, 1]
    assert history.refs == ("log:u:2", "log:u:4", "log:u:9")


def test_a_low_rating_is_still_a_choice_but_a_spoken_dislike_is_not() -> None:
    logged = from_log([1], [1], (1, 5))
    spoken = from_events([1], [-1], ["event:a"])
    assert (logged.behaviour[0], logged.leanings[0]) == (1, 0)
    assert (spoken.behaviour[0], spoken.leanings[0]) == (-1, -1)
    seen = from_events([1], [0], ["event:b"])
    assert (seen.behaviour[0], seen.leanings[0]) == (1, 0.5)


def test_merge_puts_live_events_last_and_lets_them_override() -> None:
    merged = merge(from_log([1, 2, 3], [5, 5, 5], (1, 5)), from_events([2, 7], [-1, 1], ["event:a", "event:b"]))
    assert merged.rows.tolist() == [1, 3, 2, 7]
    assert merged.ages.tolist() == [4, 2, 1, 0]
    assert merged.weights.tolist() == [1, 1, -1, 1]
    assert merged.refs == ("log:1", "log:3", "event:a", "event:b")


def test_without_takes_evidence_away_and_leaves_ages() -> None:
    history = from_log([1, 2, 3], [5, 5, 5], (1, 5))
    assert history.without({"log:3"}).ages.tolist() == [2, 1]
    assert history.last(2).rows.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rows": np.array([1, 1])}, "once"),
        ({"rows": np.array([-1, 1])}, "negative"),
        ({"weights": np.array([0, 1.5], dtype=np.float32)}, "in \\[-1, 1\\]"),
        ({"behaviour": np.array([0, np.nan], dtype=np.float32)}, "in \\[-1, 1\\]"),
        ({"ages": np.array([0, np.inf], dtype=np.float32)}, "finite"),
        ({"refs": ("a",)}, "one length"),
    ],
)
def test_impossible_histories_are_refused(change: dict[str, object], message: str) -> None:
    two = np.ones(2, dtype=np.float32)
    parts = {"rows": np.array([1, 2]), "weights": two, "behaviour": two, "ages": two, "refs": ("a", "b")}
    with pytest.raises(ValueError, match=message):
        History(**{**parts, **change})  # type: ignore[arg-type]


rows = st.lists(st.integers(0, 12), max_size=20)


@given(rows, rows)
def test_merged_histories_hold_each_item_once_and_age_strictly(log: list[int], live: list[int]) -> None:
    merged = merge(
        from_log(log, [3.0] * len(log), None), from_events(live, [1.0] * len(live), [f"event:{i}" for i in live])
    )
    assert set(merged.rows.tolist()) == set(log) | set(live)
    assert (np.diff(merged.ages) < 0).all()
    assert {r for r, ref in zip(merged.rows.tolist(), merged.refs, strict=True) if ref.startswith("event:")} == set(
        live
    )


@given(rows)
def test_merging_with_nothing_changes_nothing(log: list[int]) -> None:
    history = from_log(log, [1.0] * len(log), None)
    for merged in (merge(history, empty()), merge(empty(), history)):
        assert merged.rows.tolist() == history.rows.tolist()
        assert merged.ages.tolist() == history.ages.tolist()
        assert merged.refs == history.refs


def test_what_was_chosen_and_what_was_turned_away_from() -> None:
    history = from_events([3, 8, 1], [1.0, -0.5, 0.0], ["a", "b", "c"])
    assert history.chosen().refs == ("a", "c")
    refused = history.refused()
    assert (refused.refs, refused.rows.tolist(), refused.ages.tolist()) == (("b",), [8], [1])
    assert (refused.weights.tolist(), refused.behaviour.tolist()) == ([0.5], [0.5])
    assert history.within(8).refs == ("a", "c")
    assert history.within(8).ages.tolist() == [2, 0]
