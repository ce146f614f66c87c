"""The log of a build: written as a plain Python writer would, and read back user by user."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.catalog import interactions
from llm4rec.catalog.interactions import Interactions, load_interactions, write_interactions
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.readers import INTERACTIONS, RawData
from llm4rec.errors import UserError

ITEMS = ("b", "a", "10", "c")
CATALOGUE = Catalogue.of([Item(item, item) for item in ITEMS])
Event = tuple[str, str, float | None, int | None, int]


def raw_of(events: list[Event], users: pl.DataFrame | None = None) -> RawData:
    frame = pl.DataFrame(events, schema=dict(INTERACTIONS), orient="row")
    empty = pl.DataFrame(schema={"user": pl.String})
    return RawData("t", "test", CATALOGUE, frame.lazy(), empty if users is None else users)


def plainly(events: list[Event]) -> dict[str, list[tuple[int, float | None, int | None]]]:
    """Each user's rows as they should be, said without Polars."""
    kept: dict[str, list[tuple[int, float | None, int | None]]] = {}
    users = {event[0] for event in events}
    for user in sorted(users, key=lambda u: (int(u), u)) if all(u.isdecimal() for u in users) else sorted(users):
        own = [(t is not None, t or 0, o, n, i, v, t) for n, (u, i, v, t, o) in enumerate(events) if u == user]
        last = {row[4]: row for row in sorted(own)}
        rows = sorted(last.values())
        kept[user] = [(ITEMS.index(row[4]), row[5], row[6]) for row in rows]
    return kept


_EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["1", "2", "10", "02"]),
        st.sampled_from(ITEMS),
        st.none() | st.sampled_from([0.5, 3.0, 5.0]),
        st.none() | st.integers(0, 3),
        st.integers(0, 3),
    ),
    min_size=1,
    max_size=40,
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60, deadline=None)
@given(events=_EVENTS, named=st.booleans(), at_a_time=st.integers(1, 50), whole=st.booleans())
def test_the_log_is_what_a_plain_writer_writes(
    tmp_path: Path, events: list[Event], named: bool, at_a_time: int, whole: bool
) -> None:
    if named:
        events = [(f"u{user}", *rest) for user, *rest in events]
    expected = plainly(events)
    raw = raw_of(events)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(interactions, "SORT_ROWS", at_a_time)
        patch.setattr(interactions, "WHOLE_ROWS", 10**6 if whole else 0)
        write_interactions(raw, tmp_path, CATALOGUE)
        log = load_interactions(tmp_path)
        assert log.user_ids == tuple(expected)
        for user, rows in expected.items():
            own = log.of_user(user)
            assert own.items.tolist() == [row for row, _, _ in rows]
            assert [None if np.isnan(value) else float(value) for value in own.values] == [v for _, v, _ in rows]
            assert own.times.tolist() == [-1 if t is None else t for _, _, t in rows]
            assert (own.items.dtype, own.values.dtype, own.times.dtype) == (np.int64, np.float32, np.int64)
    left = sum(map(len, expected.values()))
    settled = raw.problems.settled.get(
        "interactions with a user and item that come again later, left out (the last one counts)", 0
    )
    assert settled == len(events) - left == len(events) - len(log)
    frame = log.frame()
    assert frame.schema == {
        "user": pl.UInt32,
        "item": pl.UInt32,
        "value": pl.Float32,
        "time": pl.Int64,
        "order": pl.UInt32,
    }
    assert frame.select("user", "order").rows() == [
        (index, place) for index, rows in enumerate(expected.values()) for place in range(len(rows))
    ]
    dense = np.zeros((len(expected), len(ITEMS)), dtype=np.float32)
    for index, rows in enumerate(expected.values()):
        dense[index, [row for row, _, _ in rows]] = 1
    matrix = log.matrix()
    assert np.array_equal(matrix.toarray(), dense)
    assert matrix.nnz == left
    assert matrix.has_sorted_indices
    values = [v for rows in expected.values() for _, v, _ in rows if v is not None]
    assert log.scale == ((min(values), max(values)) if values else None)
    assert log.has_ratings == bool(values)
    assert log.has_times == any(t is not None for rows in expected.values() for _, _, t in rows)
    assert (log.n_users, log.n_items) == (len(expected), len(ITEMS))


def test_ties_in_time_are_broken_by_the_place_in_the_file(tmp_path: Path) -> None:
    events: list[Event] = [("1", item, 3.0, 100, line) for line, item in enumerate(["c", "a", "10", "b"])]
    log = write_interactions(raw_of(events), tmp_path, CATALOGUE)
    assert [ITEMS[row] for row in log.of_user("1").items] == ["c", "a", "10", "b"]


def test_of_two_ratings_of_one_item_the_later_in_time_counts_wherever_it_stands(tmp_path: Path) -> None:
    log = write_interactions(raw_of([("1", "a", 5.0, 200, 0), ("1", "a", 1.0, 100, 1)]), tmp_path, CATALOGUE)
    assert log.of_user("1").value_of(ITEMS.index("a")) == 5.0
    assert log.of_user("1").value_of(ITEMS.index("b")) is None


def test_users_without_interactions_and_what_is_known_of_them(tmp_path: Path) -> None:
    users = pl.DataFrame({"user": ["9", "1"], "age": [30.0, 40.0]})
    log = write_interactions(
        raw_of([("10", "a", None, None, 0), ("1", "a", None, None, 1)], users), tmp_path, CATALOGUE
    )
    assert log.users.rows() == [("1", 40.0), ("9", 30.0), ("10", None)]
    assert len(log.of_user("9")) == 0
    assert "9" in log
    assert "nobody" not in log
    assert len(log.of_user("nobody")) == 0
    assert log.matrix().shape == (3, 4)


def test_ids_too_long_for_a_number_are_sorted_as_text(tmp_path: Path) -> None:
    ids = ["9" * 30, "10", "2"]
    log = write_interactions(raw_of([(user, "a", None, None, 0) for user in ids]), tmp_path, CATALOGUE)
    assert log.user_ids == ("10", "2", "9" * 30)


def test_unknown_items_are_bad_rows(tmp_path: Path) -> None:
    events: list[Event] = [(str(n), "a", None, None, n) for n in range(300)]
    raw = raw_of([*events, ("1", "zz", None, None, 0)])
    log = write_interactions(raw, tmp_path, CATALOGUE)
    assert len(log) == 300
    assert raw.problems.counts == {"unknown item": 1}
    assert raw.problems.first["unknown item"][0].line == 301
    with pytest.raises(UserError, match="unknown item: 20"):
        write_interactions(raw_of([*events, *[("1", "zz", None, None, 0)] * 20]), tmp_path / "x", CATALOGUE)
    assert list((tmp_path / "x").iterdir()) == [tmp_path / "x" / "users.parquet"]  # nothing half-written, no size file


def test_a_nan_rating_is_no_rating(tmp_path: Path) -> None:
    log = write_interactions(raw_of([("1", "a", float("nan"), None, 0)]), tmp_path, CATALOGUE)
    assert not log.has_ratings
    assert log.scale is None


def test_writing_again_replaces_the_log(tmp_path: Path) -> None:
    write_interactions(raw_of([("1", "a", 1.0, 1, 0), ("2", "b", 2.0, 2, 1)]), tmp_path, CATALOGUE)
    write_interactions(raw_of([("7", "c", 3.0, 3, 0)]), tmp_path, CATALOGUE)
    log = load_interactions(tmp_path)
    assert log.user_ids == ("7",)
    assert log.frame().rows() == [(0, 3, 3.0, 3, 0)]
    assert not (tmp_path / ".interactions").exists()


def test_a_long_log_is_read_user_by_user_and_then_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interactions, "WHOLE_ROWS", 0)
    monkeypatch.setattr(interactions, "WHOLE_AFTER", 3)
    events: list[Event] = [(str(u), i, 3.0, 5, 0) for u, i in itertools.product(range(10), ITEMS)]
    write_interactions(raw_of(events), tmp_path, CATALOGUE)
    log = load_interactions(tmp_path)
    loaded = []
    for user in log.user_ids:
        assert log.of_user(user).items.tolist() == [0, 1, 2, 3]
        loaded.append("_columns" in vars(log))
    assert loaded == [False] * 3 + [True] * 7


def test_what_of_user_gives_is_the_callers_own(tmp_path: Path) -> None:
    write_interactions(raw_of([("1", "a", 1.0, 1, 0)]), tmp_path, CATALOGUE)
    log = load_interactions(tmp_path)
    rows = log.of_user("1")
    rows.items[:], rows.values[:], rows.times[:] = 0, 0, 0
    again = log.of_user("1")
    assert (again.items.tolist(), again.values.tolist(), again.times.tolist()) == ([1], [1.0], [1])


def test_a_missing_or_damaged_log_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no interactions\.json: build the workspace again"):
        load_interactions(tmp_path)
    (tmp_path / "interactions.json").write_text("{")
    with pytest.raises(UserError, match="is damaged"):
        load_interactions(tmp_path)


@given(lengths=st.lists(st.integers(0, 20), max_size=40), most=st.integers(1, 30))
def test_ranges_of_users_cover_all_and_are_bounded(lengths: list[int], most: int) -> None:
    ranges = interactions._ranges(np.array(lengths, dtype=np.int64), most)
    covered = [user for first, last in ranges for user in range(first, last)]
    assert covered == list(range(len(lengths)))
    for first, last in ranges:
        assert sum(lengths[first:last]) <= most or last - first == 1


@pytest.mark.realdata
def test_movielens_against_its_file(realdata: Path, tmp_path: Path) -> None:
    from llm4rec.catalog.readers import read

    raw = read(realdata / "ml-100k-posters")
    log = write_interactions(raw, tmp_path, raw.catalogue)
    rows = [
        tuple(map(int, line.split("\t"))) for line in (realdata / "ml-100k-posters" / "u.data").read_text().splitlines()
    ]
    assert isinstance(log, Interactions)
    assert len(log) == len(rows) == 100_000
    assert log.user_ids == tuple(str(n) for n in range(1, 944))
    for user in (1, 405, 943):
        own = sorted((row for row in rows if row[0] == user), key=lambda row: row[3])  # sorted is stable
        found = log.of_user(str(user))
        assert [int(raw.catalogue.ids[row]) for row in found.items] == [row[1] for row in own]
        assert found.values.tolist() == [row[2] for row in own]
        assert found.times.tolist() == [row[3] for row in own]
