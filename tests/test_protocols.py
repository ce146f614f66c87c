"""Who is trained on what and asked about what: nothing is seen before it happens, and every event is accounted for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.evaluation.folds import Fold
from llm4rec.evaluation.protocols.cold import cold
from llm4rec.evaluation.protocols.interactive import futures
from llm4rec.evaluation.protocols.loo import Part, loo
from llm4rec.evaluation.protocols.mnar import mnar, read_matrix
from llm4rec.evaluation.protocols.temporal import temporal
from llm4rec.ranking.log import Log

ITEMS = 12
T = TypeVar("T")


def log_of(users: Sequence[Sequence[tuple[int, int]]], n_items: int = ITEMS) -> Log:
    """A log from (item, time) pairs, sorted as the log of a build is: by time, ties as given, unknown times first."""
    ordered = [sorted(pairs, key=lambda pair: pair[1]) for pairs in users]
    log = Log.of_lists([[item for item, _ in pairs] for pairs in ordered], n_items=n_items)
    times = np.array([time for pairs in ordered for _, time in pairs], dtype=np.int64)
    values = np.arange(len(times), dtype=np.float32) % 5 + 1
    return replace(log, times=times, values=values, scale=(1.0, 5.0))


@st.composite
def logs(draw: st.DrawFn, *, least_time: int = -1, users: int = 7) -> Log:
    """Few items and moments, so that ties, users with one event or none, and items of the test alone are common."""
    time = st.integers(least_time, 9)
    pairs = st.lists(st.tuples(st.integers(0, ITEMS - 1), time), max_size=8, unique_by=lambda pair: pair[0])
    return log_of(draw(st.lists(pairs, min_size=1, max_size=users)))


def events(log: Log) -> list[tuple[int, int, int]]:
    """(user, item, time) of all events."""
    return list(zip(log.users.tolist(), log.items.tolist(), log.times.tolist(), strict=True))


def targets(fold: Fold) -> dict[int, list[int]]:
    """Items held out of each user asked about."""
    return {
        int(user): fold.targets[fold.target_offsets[i] : fold.target_offsets[i + 1]].tolist()
        for i, user in enumerate(fold.users)
    }


def pasts(fold: Fold) -> dict[int, list[int]]:
    return {
        int(user): fold.pasts.rows[fold.pasts.offsets[i] : fold.pasts.offsets[i + 1]].tolist()
        for i, user in enumerate(fold.users)
    }


def check_whole(log: Log, fold: Fold) -> None:
    """Every event is in train, a target or counted as left out; every user is asked or counted."""
    held = {(user, item) for user, items in targets(fold).items() for item in items}
    trained = {(user, item) for user, item, _ in events(fold.train)}
    assert not held & trained
    assert held | trained <= {(user, item) for user, item, _ in events(log)}
    assert len(held) + len(trained) + sum(fold.left_out.values()) == len(log)
    assert len(fold) + sum(fold.not_asked.values()) == log.n_users
    for user, past in pasts(fold).items():
        assert past == fold.train.items[fold.train.of_user(user)].tolist()
        assert not set(past) & set(targets(fold)[user])


def made(make: Callable[[], T]) -> T | str:
    """What was made, or why it could not be."""
    try:
        return make()
    except UserError as error:
        return str(error)


# Leave one out


@given(logs(), st.sampled_from(["test", "validation"]))
@settings(deadline=None)
def test_leave_one_out_trains_on_what_the_user_did_before(log: Log, part: Part) -> None:
    least = 2 if part == "test" else 3
    if log.lengths.max() < least:
        with pytest.raises(UserError, match=f"{least} events"):
            loo(log, part)
        return
    fold = loo(log, part)
    check_whole(log, fold)
    place = {(user, item): at for at, (user, item, _) in enumerate(events(log))}
    time = {(user, item): when for user, item, when in events(log)}
    assert fold.users.tolist() == np.flatnonzero(log.lengths >= least).tolist()
    for user, (target,) in targets(fold).items():
        whole = log.items[log.of_user(user)].tolist()
        assert target == whole[-1 if part == "test" else -2]
        for item in pasts(fold)[user]:
            assert place[user, item] < place[user, target]
            assert time[user, item] <= time[user, target]


@given(logs())
@settings(deadline=None)
def test_validation_never_sees_the_test(log: Log) -> None:
    if log.lengths.max() < 3:
        return
    test, validation = loo(log), loo(log, "validation")
    tested = {(user, item) for user, (item,) in targets(test).items()}
    assert not tested & {(user, item) for user, item, _ in events(validation.train)}
    assert not tested & {(user, item) for user, items in targets(validation).items() for item in items}
    assert {(u, i) for u, i, _ in events(validation.train)} <= {(u, i) for u, i, _ in events(test.train)}


@given(logs(), st.integers(0, 3))
@settings(deadline=None)
def test_a_sample_accounts_for_all_events_too(log: Log, seed: int) -> None:
    if log.lengths.max() >= 2:
        check_whole(log, loo(log).sample(2, seed=seed))


def test_users_with_few_events_are_counted_and_stay_in_train() -> None:
    log = Log.of_lists([[], [4], [1, 2], [3, 1, 0]], n_items=5)
    test, validation = loo(log), loo(log, "validation")
    assert test.not_asked == {"users with no events": 1, "users with 1 event": 1}
    assert test.left_out == {}
    assert test.train.items.tolist() == [4, 1, 3, 1]
    assert validation.not_asked == {"users with no events": 1, "users with 1 event": 1, "users with 2 events": 1}
    assert validation.left_out == {"the last event, kept for the test": 2}
    assert validation.train.items.tolist() == [4, 1, 3]


def test_an_item_of_the_test_alone_may_be_ranked() -> None:
    fold = loo(Log.of_lists([[0, 1], [1, 2]], n_items=4))
    assert fold.train.counts.tolist() == [1, 1, 0, 0]
    assert fold.candidates.all()


def test_the_report_is_told_what_the_order_rests_on() -> None:
    def notes(log: Log) -> str:
        return " / ".join(loo(log).notes)

    times = log_of([[(0, 1), (1, 2)], [(2, 3), (3, 3)]])
    assert "later events included" in notes(times)
    assert "the last two events of 1 of 2 users have one timestamp" in notes(times)
    assert "no times: the order within each user stands for time" in notes(Log.of_lists([[0, 1]], n_items=2))
    assert "all events have one timestamp" in notes(log_of([[(0, 5), (1, 5)], [(2, 5)]]))
    assert "all events of a user have one timestamp" in notes(log_of([[(0, 5), (1, 5)], [(2, 6)]]))
    assert "1 of 3 events have no time" in notes(log_of([[(0, -1), (1, 5), (2, 6)]]))
    assert "timestamp" not in notes(log_of([[(0, 5), (1, 6)]]))


# The global temporal split


@given(logs(), st.integers(1, 4), st.floats(0.05, 0.95), st.booleans())
@settings(deadline=None)
def test_train_never_holds_what_comes_at_or_after_the_cut(log: Log, windows: int, share: float, new: bool) -> None:
    known = np.unique(log.times[log.times >= 0])
    if len(known) < 2:
        with pytest.raises(UserError, match="--protocol loo"):
            temporal(log, windows=windows, share=share, ask_new=new)
        return
    folds = made(lambda: temporal(log, windows=windows, share=share, ask_new=new))
    if isinstance(folds, str):
        assert "no user who may be asked" in folds
        assert not new
        return
    time = {(user, item): when for user, item, when in events(log)}
    before: set[tuple[int, int]] = set()
    asked: list[tuple[int, int]] = []
    for fold in folds:
        check_whole(log, fold)
        held = {(user, item) for user, items in targets(fold).items() for item in items}
        trained = [time[user, item] for user, item, _ in events(fold.train)]
        assert trained
        assert all(when >= 0 for when in trained)
        if held:
            # Globally: the latest event of anybody in train is strictly earlier than the earliest target of anybody.
            assert max(trained) < min(time[one] for one in held)
        assert before <= {(user, item) for user, item, _ in events(fold.train)}
        before = {(user, item) for user, item, _ in events(fold.train)}
        asked += sorted(held)
        assert fold.candidates.all()
        assert new or all(pasts(fold).values())
    assert len(asked) == len(set(asked)), "an event is predicted once"
    if new:
        # Together the windows ask for all that comes after the first cut.
        first = {(user, item) for user, item, _ in events(folds[0].train)}
        assert set(asked) == {one for one in time if time[one] >= 0} - first


def test_windows_roll() -> None:
    log = log_of([[(0, 10), (1, 20), (2, 30)], [(3, 15), (4, 25), (5, 35)], [(6, 30)]])
    one, two = temporal(log, cuts=[20, 30])
    assert (one.train.items.tolist(), targets(one)) == ([0, 3], {0: [1], 1: [4]})
    assert (two.train.items.tolist(), targets(two)) == ([0, 1, 3, 4], {0: [2], 1: [5], 2: [6]})
    assert one.left_out == {"events after the window": 3}
    assert one.not_asked == {"users with no event in the window": 1}
    assert pasts(two)[2] == []
    assert "1 of 3 users asked about have no event before the cut: an empty past" in two.notes
    assert [fold.name for fold in (one, two)] == ["temporal-1of2", "temporal-2of2"]


def test_new_users_may_be_left_out() -> None:
    log = log_of([[(0, 10), (1, 20)], [(6, 30), (7, 31)]])
    (fold,) = temporal(log, cuts=[20], ask_new=False)
    assert targets(fold) == {0: [1]}
    assert fold.left_out == {"events in the window of users with no past": 2}
    assert fold.not_asked == {"users with no event before the cut": 1}


def test_ties_at_the_cut_are_predicted_and_not_trained_on() -> None:
    log = log_of([[(0, 10), (1, 20), (2, 20)], [(3, 20)], [(4, 9)]])
    (fold,) = temporal(log, share=0.5)
    assert fold.train.times.max() == 10
    assert targets(fold) == {0: [1, 2], 1: [3]}


def test_windows_that_ties_make_one_are_told() -> None:
    log = log_of([[(0, 1), (1, 1), (2, 2), (3, 2)]])
    (fold,) = temporal(log, windows=3, share=0.5)
    assert any("3 windows were asked for, but ties in time leave 1" in note for note in fold.notes)


def test_events_without_a_time_are_counted() -> None:
    (fold,) = temporal(log_of([[(5, -1), (0, 10), (1, 20)]]), cuts=[20])
    assert fold.left_out == {"events without a time": 1}
    assert fold.train.items.tolist() == [0]


@pytest.mark.parametrize(
    ("log", "options", "message"),
    [
        (Log.of_lists([[0, 1, 2]], n_items=3), {}, "no times.*use --protocol loo"),
        (log_of([[(0, 5), (1, 5)], [(2, 5)]]), {}, r"one timestamp \(5\).*use --protocol loo"),
        (log_of([[(0, 1), (1, 2)]]), {"windows": 0}, "--windows must be 1 or more"),
        (log_of([[(0, 1), (1, 2)]]), {"share": 1.0}, "between 0 and 1"),
        (log_of([[(0, 1), (1, 2)]]), {"cuts": [2, 2]}, "rising order"),
        (log_of([[(0, 1), (1, 2)]]), {"cuts": []}, "at least one"),
        (log_of([[(0, 1), (1, 2)]]), {"cuts": [1]}, r"after the first event \(1\)"),
        (log_of([[(0, 1), (1, 2)]]), {"cuts": [3]}, r"not after the last one \(2\)"),
        (log_of([[(0, 1)], [(1, 2)]]), {"ask_new": False}, "no user who may be asked"),
    ],
)
def test_a_temporal_split_that_cannot_be_made(log: Log, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        temporal(log, **options)  # type: ignore[arg-type]


# Cold items and futures


@given(logs(), st.floats(0.05, 0.95), st.sampled_from(["hidden", "all"]), st.integers(0, 3))
@settings(deadline=None)
def test_hidden_items_are_in_no_train(log: Log, share: float, among: str, seed: int) -> None:
    fold = made(lambda: cold(log, share=share, among=among, seed=seed))  # type: ignore[arg-type]
    if isinstance(fold, str):
        assert "choose another share" in fold
        return
    check_whole(log, fold)
    assert not set(fold.targets.tolist()) & set(fold.train.items.tolist())
    assert fold.candidates.all() == (among == "all")
    assert fold.order is not None
    assert fold.left_out == {}


@given(logs(), st.floats(0.05, 0.95))
@settings(deadline=None)
def test_a_future_is_the_end_of_what_the_user_did(log: Log, share: float) -> None:
    if log.lengths.max() < 2:
        with pytest.raises(UserError, match="two events"):
            futures(log, share=share)
        return
    fold = futures(log, share=share)
    check_whole(log, fold)
    for user, held in targets(fold).items():
        assert [*pasts(fold)[user], *held] == log.items[log.of_user(user)].tolist()
        assert pasts(fold)[user]
        assert held
    assert fold.left_out == {}


# Missing not at random


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_drawn_items_are_ranked_among_themselves(tmp_path: Path) -> None:
    train = write(tmp_path / "train", "5 0 1 0 0\n0 0 0 0 0\n0 3 0 0 0\n")
    test = write(tmp_path / "test", "4 5 0 2 0\n0 0 4 1 5\n1 0 0 0 3\n")
    fold = mnar(train, test)
    assert fold.users.tolist() == [0, 1]
    assert targets(fold) == {0: [1], 1: [2, 4]}
    assert pasts(fold) == {0: [0, 2], 1: []}
    assert [np.flatnonzero(line).tolist() for line in fold.rankable(0, 2)] == [[1, 3], [2, 3, 4]]
    assert fold.pasts.weights.tolist() == [1.0, -1.0]
    assert fold.pasts.ages.tolist() == [0.0, 0.0]
    assert fold.opinions is not None
    assert fold.opinions.tolist() == [1.0, 0.5, 1.0]
    assert fold.left_out == {
        "test ratings of items that the user rated in train too": 1,
        "test ratings of users with no relevant one": 2,
        "test ratings below 4, which are ranked and are no targets": 2,
    }
    assert fold.not_asked == {"users with no test rating of 4 or more": 1}
    # Every test rating is a target or counted.
    assert len(fold.targets) + sum(fold.left_out.values()) == np.count_nonzero(read_matrix(test))
    assert targets(mnar(train, test, relevant=5)) == {0: [1], 1: [4]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "is missing"),
        ("", "is empty"),
        ("\n \n", "is empty"),
        ("0 0\n0 0\n", "holds no rating"),
        ("1 2\n3\n", "line 2 has 1 numbers, the lines before it have 2"),
        ("1 2\n3 x\n", "line 2: 'x' is no number"),
        ("1 -2\n", "line 1: a rating must be"),
        ("1 nan\n", "line 1: a rating must be"),
        ("user,item\n", "line 1: 'user,item' is no number"),
        ("1 2 3\n4 5 0\n", "both must be of the same users and items"),
        ("1 2\n", "both must be of the same users and items"),
    ],
)
def test_a_matrix_that_cannot_be_used(tmp_path: Path, text: str | None, message: str) -> None:
    train = write(tmp_path / "train", "5 0\n0 4\n")
    test = tmp_path / "test" if text is None else write(tmp_path / "test", text)
    with pytest.raises(UserError, match=message):
        mnar(train, test)


def test_files_of_other_kinds_are_refused(tmp_path: Path) -> None:
    train = write(tmp_path / "train", "5 0\n0 4\n")
    with pytest.raises(UserError, match="is a folder"):
        mnar(train, tmp_path)
    (tmp_path / "picture").write_bytes(b"\xff\xd8\xff\xe0\x00")
    with pytest.raises(UserError, match="is no text"):
        mnar(tmp_path / "picture", train)
    with pytest.raises(UserError, match=r"reaches 6 \(the highest is 3\).*--relevant"):
        mnar(train, write(tmp_path / "test", "0 3\n1 0\n"), relevant=6)


@pytest.mark.realdata
def test_coat(realdata: Path) -> None:
    fold = mnar(realdata / "coat" / "train.ascii", realdata / "coat" / "test.ascii")
    assert len(fold.train) == 6960
    assert (fold.train.n_users, fold.n_items) == (290, 300)
    assert len(fold.targets) + sum(fold.left_out.values()) == 4640
