"""What every profile store must do, whichever it is: all of this runs on each kind of place."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import profile_places
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.errors import UserError
from llm4rec.profiles.events import Event, EventConflict
from llm4rec.profiles.fold import fold, standing
from llm4rec.profiles.opening import open_store
from llm4rec.profiles.store import ProfileStore
from profile_cases import said, sequences, undo_of


@pytest.fixture(params=profile_places.KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with profile_places.place(request.param, tmp_path) as where:
        yield where


@pytest.fixture
def store(where: str) -> Iterator[ProfileStore]:
    store = open_store(where)
    yield store
    store.close()


def test_a_new_store_is_empty(store: ProfileStore) -> None:
    assert store.users() == ()
    assert store.events("ana") == ()
    assert store.latest("ana", 3) == ()


def test_events_come_back_in_append_order_whatever_their_times(store: ProfileStore) -> None:
    events = [said(n, time=float(100 - n)) for n in range(5)]
    assert [store.append(e) for e in events] == [True] * 5
    assert store.events("ana") == tuple(events)
    assert store.latest("ana", 2) == tuple(events[3:])
    assert store.latest("ana", 0) == ()
    assert store.latest("ana", 9) == tuple(events)
    with pytest.raises(ValueError, match="negative"):
        store.latest("ana", -1)


def test_users_are_kept_apart(store: ProfileStore) -> None:
    store.append_many([said(0), said(0, user="bob"), said(1)])
    assert store.users() == ("ana", "bob")
    assert [e.id for e in store.events("ana")] == ["ana:0:0:0", "ana:1:0:0"]
    assert [e.id for e in store.latest("bob", 5)] == ["bob:0:0:0"]


def test_until_gives_a_prefix(store: ProfileStore) -> None:
    events = tuple(said(n) for n in range(4))
    store.append_many(events)
    assert store.events("ana", until=events[1].id) == events[:2]
    with pytest.raises(UserError, match="nobody"):
        store.events("ana", until="nobody:0:0:0")
    with pytest.raises(UserError, match="bob"):
        store.events("bob", until=events[1].id)


def test_the_same_event_is_kept_once_with_its_first_time(store: ProfileStore) -> None:
    event = said(0, message="m")
    assert store.append(event)
    assert not store.append(event)
    assert not store.append(event.model_copy(update={"time": event.time + 60}))
    assert store.events("ana") == (event,)


@pytest.mark.parametrize("change", [{"item": "i2"}, {"kind": "dislike"}, {"user": "bob"}, {"message": "other"}])
def test_an_id_taken_by_something_else_is_an_error_and_nothing_is_written(
    store: ProfileStore, change: dict[str, str]
) -> None:
    store.append(said(0))
    with pytest.raises(EventConflict, match="ana:0:0:0"):
        store.append_many([said(1), Event(**{**said(0).model_dump(), **change})])
    assert store.events("ana") == (said(0),)
    assert store.users() == ("ana",)


def test_append_many_counts_what_is_new(store: ProfileStore) -> None:
    assert store.append_many([]) == 0
    assert store.append_many([said(0), said(1), said(0)]) == 2
    assert store.append_many([said(1), said(2)]) == 1


def test_an_undo_needs_an_event_of_the_same_user(store: ProfileStore) -> None:
    store.append(said(0))
    with pytest.raises(UserError, match="nothing to undo"):
        store.append(said(1, kind="undo", target="nobody:0:0:0"))
    with pytest.raises(UserError, match="nothing to undo"):
        store.append(said(1, user="bob", kind="undo", target=said(0).id))
    undo = undo_of(said(0), time=5.0)
    assert store.append(undo)
    assert store.append(undo_of(undo, time=6.0))
    assert standing(store.events("ana")) == (said(0),)


def test_reopened_it_holds_the_same(where: str) -> None:
    first = open_store(where)
    first.append(said(0))
    first.close()
    second = open_store(where)
    assert second.events("ana") == (said(0),)
    second.close()
    with pytest.raises(ValueError, match="closed"):
        second.events("ana")


def test_two_stores_on_the_same_place_see_each_other(where: str) -> None:
    one, other = open_store(where), open_store(where)
    one.append(said(0))
    assert other.events("ana") == (said(0),)
    other.forget_user("ana")
    assert one.events("ana") == ()
    one.close()
    other.close()


def test_forgetting_a_user_leaves_the_others(store: ProfileStore) -> None:
    store.append_many([said(0), said(0, user="bob"), said(1), undo_of(said(0), time=1.0)])
    receipt = store.forget_user("ana")
    assert (receipt.user, receipt.events, receipt.messages) == ("ana", 3, 0)
    told, *notes = receipt.text().splitlines()
    assert told == "3 events erased, down to the bytes of the store's files."
    assert tuple(notes) == receipt.notes
    assert store.users() == ("bob",)
    assert store.forget_user("ana").events == 0


def test_forgetting_an_item_takes_its_undos_and_the_message_it_was_said_in(store: ProfileStore) -> None:
    like = said(0, item="heat", message="Heat was great, more crime")
    taste = said(1, kind="taste", term="crime", message="Heat was great, more crime")
    other = said(2, item="alien", message="Alien too")
    theirs = said(0, user="bob", item="heat", message="Heat was great, more crime")
    undo = undo_of(like, time=1.0)
    store.append_many([like, taste, other, theirs, undo, undo_of(undo, time=2.0)])
    receipt = store.forget_item("ana", "heat")
    assert (receipt.events, receipt.messages) == (3, 1)
    assert "1 other event lost" in receipt.text()
    assert store.events("ana") == (taste.model_copy(update={"message": None}), other)
    assert store.events("bob") == (theirs,)


def test_messages_of_other_events_that_speak_of_what_goes_are_erased(store: ProfileStore) -> None:
    like = said(0, item="heat", message="loved it")
    later = said(1, item="ronin", message="as good as Heat")
    last = said(2, item="alien", message="no HEAT at all")
    other, silent = said(3, item="ran", message="Alien too"), said(4, item="up")
    theirs = said(0, user="bob", item="ronin", message="as good as Heat")
    events = [like, later, last, other, silent]
    store.append_many([*events, theirs])
    receipt = store.forget_item("ana", "heat", speaks=lambda message: "heat" in message.lower())
    assert (receipt.events, receipt.messages) == (1, 2)
    blank = [event.model_copy(update={"message": None}) for event in (later, last)]
    assert store.events("ana") == (*blank, other, silent)
    assert store.events("bob") == (theirs,)
    assert store.append_many(events[1:]) == 0
    receipt = store.forget_event("ana", last.id, speaks=lambda message: "Alien" in message)
    assert (receipt.events, receipt.messages) == (1, 1)
    assert store.events("ana")[1].message is None
    assert store.events("bob") == (theirs,)


def test_an_erased_message_does_not_come_back_with_a_repeated_event(store: ProfileStore) -> None:
    taste = said(1, kind="taste", term="crime", message="Heat!")
    store.append_many([said(0, item="heat", message="Heat!"), taste])
    store.forget_item("ana", "heat")
    assert not store.append(taste)
    assert store.events("ana")[0].message is None
    with pytest.raises(EventConflict):
        store.append(taste.model_copy(update={"term": "war"}))


def test_forgetting_one_event(store: ProfileStore) -> None:
    undo = undo_of(said(0), time=1.0)
    store.append_many([said(0), said(1, kind="dislike"), undo])
    assert store.forget_event("bob", said(0).id).events == 0
    assert store.forget_event("ana", undo.id).events == 1
    assert standing(store.events("ana")) == (said(0), said(1, kind="dislike"))
    assert store.forget_event("ana", said(1).id).events == 1
    assert store.events("ana") == (said(0),)


def test_an_undo_chain_of_any_length_can_be_forgotten(store: ProfileStore) -> None:
    chain = [said(0)]
    for n in range(1, 2_000):
        chain.append(said(n, kind="undo", target=chain[-1].id))
    store.append_many(chain)
    assert store.forget_item("ana", "i1").events == 2_000


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sequences(), st.randoms(use_true_random=False))
def test_a_store_gives_back_exactly_what_it_was_given(
    store: ProfileStore, events: tuple[Event, ...], chance: random.Random
) -> None:
    name = f"u{len(store.users())}-{chance.getrandbits(64)}"
    renamed = {e.id: f"{name}/{e.id}" for e in events}
    mine = tuple(
        e.model_copy(update={"user": name, "id": renamed[e.id], "target": renamed.get(e.target or "")}) for e in events
    )
    assert store.append_many(mine) == len(mine)
    assert store.append_many(chance.choices(mine, k=3) if mine else ()) == 0
    kept = store.events(name)
    assert kept == mine
    assert [e.model_dump_json() for e in kept] == [e.model_dump_json() for e in mine]
    for end in range(len(mine)):
        assert store.events(name, until=mine[end].id) == mine[: end + 1]
    assert fold(store.events(name), thread="t1") == fold(mine, thread="t1")


def test_threads_may_all_write_and_read(store: ProfileStore) -> None:
    def work(number: int) -> int:
        new = 0
        for n in range(10):
            new += store.append(said(n, user=f"own{number}"))
            new += store.append(said(n, user="shared"))
            assert len(store.events(f"own{number}")) == n + 1
        return new

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(work, range(8))) == 8 * 10 + 10
    assert sorted(e.id for e in store.events("shared")) == sorted(said(n, user="shared").id for n in range(10))


def test_forgetting_while_others_write_and_read(store: ProfileStore) -> None:
    store.append_many(said(n, user="gone") for n in range(20))

    def write(number: int) -> None:
        for n in range(15):
            store.append(said(n, user=f"own{number}"))
            store.events(f"own{number}")

    with ThreadPoolExecutor(4) as pool:
        writing = [pool.submit(write, number) for number in range(3)]
        erased = pool.submit(store.forget_user, "gone")
        assert erased.result().events == 20
        for one in writing:
            one.result()
    assert store.users() == ("own0", "own1", "own2")
    assert all(len(store.events(user)) == 15 for user in store.users())


def test_what_was_read_stays_a_prefix_of_what_is_read_later(where: str, store: ProfileStore) -> None:
    """Though writers on several connections commit at the same time: nothing slips in before what was seen."""
    stop = threading.Event()

    def read() -> None:
        seen: list[str] = []
        while not stop.is_set():
            now = [event.id for event in store.events("ana")]
            assert now[: len(seen)] == seen
            seen = now

    def write(number: int) -> None:
        mine = open_store(where)
        for n in range(20):
            mine.append_many(said(10 * n + i, id=f"{number}/{n}/{i}") for i in range(3))
        mine.close()

    with ThreadPoolExecutor(7) as pool:
        readers = [pool.submit(read) for _ in range(2)]
        try:
            list(pool.map(write, range(5)))
        finally:
            stop.set()
        for reader in readers:
            reader.result()
    assert len(store.events("ana")) == 300


def test_a_batch_of_many_users_and_its_repetition_at_the_same_time(where: str) -> None:
    """Batches that name the same users and events in other orders do not wait for each other for ever."""
    events = [said(n, user=f"user {n % 40}") for n in range(120)]

    def write(seed: int) -> int:
        mine = open_store(where)
        try:
            return sum(mine.append_many(random.Random(seed + n).sample(events, 60)) for n in range(4))
        finally:
            mine.close()

    with ThreadPoolExecutor(4) as pool:
        new = sum(pool.map(write, range(0, 40, 10)))
    store = open_store(where)
    kept = [event for user in store.users() for event in store.events(user)]
    assert len(kept) == len({event.id for event in kept}) == new
    store.close()


@pytest.mark.parametrize("text", ["\udcff", "a\udc80b"])
def test_a_name_that_is_no_text(store: ProfileStore, text: str) -> None:
    with pytest.raises(UserError, match="not valid text"):
        store.events(text)


def test_the_longest_texts_and_the_smallest_numbers_come_back(store: ProfileStore) -> None:
    chance = random.Random(2)

    def text(length: int) -> str:
        return "".join(chr(chance.randrange(0x20000, 0x2A6D0)) for _ in range(length))

    tiny = said(0, id=text(500), user="ana", kind="rating", value=5e-324, item=text(500), thread=text(500))
    term = said(1, id=text(500), kind="taste", term=text(200), attribute=text(100), message=text(2000), confidence=1e-9)
    undo = said(2, kind="undo", target=tiny.id, time=1_750_000_000.1234567)
    store.append_many([tiny, term, undo])
    assert store.events("ana") == (tiny, term, undo)


def test_a_store_says_where_it_is(store: ProfileStore, where: str) -> None:
    assert store.place.split("?")[0].removeprefix("postgresql://") in where
    assert store.place in repr(store) or where == store.place
