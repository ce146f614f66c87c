"""Logs and pasts as arrays: what is cut out of them is what a list for each user would give."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.ranking.history import from_log
from llm4rec.ranking.log import Log, Pasts

N_ITEMS = 9
orders = st.permutations(range(N_ITEMS)).flatmap(lambda order: st.integers(0, N_ITEMS).map(lambda n: order[:n]))
logs = st.lists(orders, max_size=5)


def lists_of(log: Log) -> list[list[int]]:
    return [log.items[log.of_user(user)].tolist() for user in range(log.n_users)]


@given(logs)
def test_a_log_holds_what_it_was_made_of(lists: list[list[int]]) -> None:
    log = Log.of_lists(lists, N_ITEMS)
    assert lists_of(log) == lists
    assert log.lengths.tolist() == [len(one) for one in lists]
    assert log.counts.tolist() == [sum(item in one for one in lists) for item in range(N_ITEMS)]
    dense = log.matrix().toarray()
    assert dense.tolist() == [[float(item in one) for item in range(N_ITEMS)] for one in lists]
    assert lists_of(log) == lists, "making a matrix must not change the order of time"


@given(logs, st.data())
def test_keep(lists: list[list[int]], data: st.DataObject) -> None:
    log = Log.of_lists(lists, N_ITEMS)
    mask = np.array(data.draw(st.lists(st.booleans(), min_size=len(log), max_size=len(log))), dtype=np.bool_)
    flags = iter(mask.tolist())
    assert lists_of(log.keep(mask)) == [[item for item in one if next(flags)] for one in lists]
    with pytest.raises(ValueError, match="mask"):
        log.keep(np.ones(len(log) + 1, dtype=np.bool_))


@given(logs, st.data())
def test_pasts_are_the_histories(lists: list[list[int]], data: st.DataObject) -> None:
    log = Log.of_lists(lists, N_ITEMS)
    users = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=6)) if lists else []
    most = data.draw(st.none() | st.integers(1, 4))
    pasts = log.pasts(users, most=most)
    cut = [lists[user] if most is None else lists[user][-most:] for user in users]
    single = Pasts.of([from_log(one, np.full(len(one), np.nan), None) for one in cut], N_ITEMS)
    for name in ("offsets", "rows", "weights", "behaviour", "ages"):
        np.testing.assert_array_equal(getattr(pasts, name), getattr(single, name))
    dense = pasts.signals(2.0).toarray()
    for row, one in zip(dense, cut, strict=True):
        expected = np.zeros(N_ITEMS)
        expected[one] = np.exp(-np.arange(len(one))[::-1] / 2.0)
        np.testing.assert_allclose(row, expected, rtol=1e-6)
    signals = pasts.signals()
    signals.sort_indices()
    np.testing.assert_array_equal(pasts.rows, single.rows, "a sparse matrix must not reorder the past")
    assert (pasts.seen().toarray() == (dense > 0)).all()
    if len(users) > 1:
        part = pasts.part(1, len(users))
        np.testing.assert_array_equal(part.rows, single.rows[single.offsets[1] :])
        assert len(part) == len(users) - 1


def test_ratings_weigh_as_in_a_single_history() -> None:
    log = Log(
        offsets=np.array([0, 3]),
        items=np.array([4, 1, 2], dtype=np.int32),
        values=np.array([5, 1, np.nan], dtype=np.float32),
        times=np.array([1, 2, 3]),
        n_items=6,
        scale=(1.0, 5.0),
    )
    assert log.pasts().weights.tolist() == [1.0, -1.0, 1.0]
    assert log.pasts().signals(of="leanings").toarray().tolist() == [[0, 0, 1, 0, 1, 0]]


def test_each_past_may_be_cut_to_its_own_length() -> None:
    log = Log.of_lists([[0, 1, 2, 3], [4, 5], [1, 2]], 6)
    pasts = log.pasts([0, 0, 1, 2], known=[3, 4, 2, 2], most=[1, 9, 0, 2])
    assert pasts.lengths.tolist() == [1, 4, 0, 2]
    assert pasts.rows.tolist() == [2, 0, 1, 2, 3, 1, 2]
    assert pasts.ages.tolist() == [0, 3, 2, 1, 0, 1, 0]
