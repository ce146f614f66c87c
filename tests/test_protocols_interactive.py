"""Playing rounds against the log: what was accepted is known in the next round, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.evaluation.protocols.interactive import extended, futures, play
from llm4rec.ranking.log import Log, Pasts

ITEMS = 10


class Scorer:
    """A model from a function of one past; keeps what it was shown."""

    name = "scorer"

    def __init__(self, score: Callable[[list[int]], np.ndarray], n_items: int = ITEMS) -> None:
        self.n_items = n_items
        self.score = score
        self.seen: list[Pasts] = []

    def score_many(self, pasts: Pasts) -> np.ndarray:
        self.seen.append(pasts)
        rows = [pasts.rows[a:b].tolist() for a, b in zip(pasts.offsets, pasts.offsets[1:], strict=False)]
        return np.stack([self.score(one) for one in rows]).astype(np.float32)


def next_after(past: list[int]) -> np.ndarray:
    """Recommends the item after the latest one, then those further on."""
    return -((np.arange(ITEMS) - past[-1] - 1) % ITEMS).astype(np.float32)


def test_what_was_accepted_leads_to_what_comes_next() -> None:
    fold = futures(Log.of_lists([[0, 1, 2, 3, 4, 5], [7, 6]], n_items=ITEMS), share=0.7)
    model = Scorer(next_after)
    result = play(fold, model, k=1, rounds=4)
    assert result.accepted.tolist()[0] == [1, 1, 1, 1]
    assert [pasts.part(0, 1).rows.tolist() for pasts in model.seen] == [
        [0, 1],
        [0, 1, 2],
        [0, 1, 2, 3],
        [0, 1, 2, 3, 4],
    ]
    assert result.recall[0].tolist() == [0.25, 0.5, 0.75, 1.0]


def test_what_was_shown_is_not_shown_again_and_teaches_nothing() -> None:
    fold = futures(Log.of_lists([[0, 9]], n_items=ITEMS))
    model = Scorer(lambda past: -np.arange(ITEMS))
    result = play(fold, model, k=4, rounds=4)
    assert result.shown.tolist() == [[4, 4, 1, 0]]
    assert result.accepted.tolist() == [[0, 0, 1, 0]]
    assert [pasts.rows.tolist() for pasts in model.seen] == [[0], [0], [0], [0, 9]]


def test_accepted_items_come_in_the_order_of_the_log_with_their_grades() -> None:
    log = Log.of_lists([[0, 5, 3, 4]], n_items=ITEMS)
    graded = Log(log.offsets, log.items, np.array([3, 5, 1, 4], np.float32), log.times, ITEMS, scale=(1.0, 5.0))
    model = Scorer(lambda past: -np.abs(np.arange(ITEMS) - 4.0))
    play(futures(graded, share=0.75), model, k=3, rounds=2)
    latest = model.seen[-1]
    assert latest.rows.tolist() == [0, 5, 3, 4]
    assert latest.weights.tolist() == [0.0, 1.0, -1.0, 0.5]
    assert latest.ages.tolist() == [3, 2, 1, 0]
    assert latest.behaviour.tolist() == [1, 1, 1, 1]


def test_a_user_scored_with_no_number_gets_nothing_and_the_others_go_on() -> None:
    fold = futures(Log.of_lists([[0, 1], [2, 3], [4, 5]], n_items=ITEMS))

    def score(past: list[int]) -> np.ndarray:
        return np.full(ITEMS, np.nan) if past[0] == 2 else next_after(past)

    result = play(fold, Scorer(score), k=1, rounds=2)
    assert result.failed.tolist() == [False, True, False]
    assert result.accepted.tolist() == [[1, 0], [0, 0], [1, 0]]
    assert result.shown.tolist() == [[1, 1], [0, 0], [1, 1]]


@given(
    st.lists(st.permutations(range(ITEMS)).flatmap(lambda p: st.integers(1, ITEMS).map(lambda n: p[:n])), min_size=1),
    st.integers(1, 4),
    st.integers(1, 4),
    st.integers(1, 5),
)
@settings(deadline=None)
def test_rounds_do_not_depend_on_who_is_played_together(
    lists: list[list[int]], k: int, rounds: int, batch: int
) -> None:
    if max(len(one) for one in lists) < 2:
        return
    fold = futures(Log.of_lists(lists, n_items=ITEMS))
    whole = play(fold, Scorer(next_after), k=k, rounds=rounds, batch=1000)
    parts = play(fold, Scorer(next_after), k=k, rounds=rounds, batch=batch)
    np.testing.assert_array_equal(whole.accepted, parts.accepted)
    np.testing.assert_array_equal(whole.shown, parts.shown)
    assert (whole.accepted.sum(axis=1) <= whole.n_targets).all()
    assert (np.diff(whole.recall, axis=1) >= 0).all()
    assert (whole.recall <= 1).all()


@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 4)), min_size=1, max_size=6),
)
@settings(deadline=None)
def test_extended_histories_are_those_of_the_longer_log(lengths: list[tuple[int, int]]) -> None:
    whole = Log.of_lists([range(old + new) for old, new in lengths], n_items=ITEMS)
    short = Log.of_lists([range(old) for old, _ in lengths], n_items=ITEMS)
    history = np.repeat(np.arange(len(lengths)), [new for _, new in lengths])
    rows = np.concatenate([np.arange(old, old + new) for old, new in lengths]).astype(np.int64)
    made = extended(short.pasts(), history, rows, np.ones(len(rows), dtype=np.float32))
    expected = whole.pasts()
    for name in ("offsets", "rows", "weights", "behaviour", "ages"):
        np.testing.assert_array_equal(getattr(made, name), getattr(expected, name), err_msg=name)
        assert getattr(made, name).dtype == getattr(expected, name).dtype


def test_rounds_and_shares_out_of_range_are_refused() -> None:
    log = Log.of_lists([[0, 1]], n_items=2)
    with pytest.raises(ValueError, match="at least 1"):
        play(futures(log), Scorer(next_after), rounds=0)
    with pytest.raises(UserError, match="between 0 and 1"):
        futures(log, share=1.0)
