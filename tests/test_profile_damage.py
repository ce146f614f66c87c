"""Damaged stores: found, named, set aside, and gone on with what can still be read; others are served meanwhile."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import profile_places
import psycopg
import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.errors import UserError
from llm4rec.profiles import database
from llm4rec.profiles.database import DamagedFile
from llm4rec.profiles.events import Event
from llm4rec.profiles.opening import open_store
from llm4rec.profiles.postgres import PostgresProfileStore
from llm4rec.profiles.salvage import salvage
from llm4rec.profiles.schema import Migration, migrations
from llm4rec.profiles.server import Address
from llm4rec.profiles.store import SqliteProfileStore
from profile_cases import said, undo_of
from profile_live import READING, run
from psycopg import sql
from terminal import command

PAGE = 4096


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "profiles.sqlite"


@pytest.fixture(params=profile_places.KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with profile_places.place(request.param, tmp_path) as where:
        yield where


@pytest.fixture
def live(shop: Path, where: str) -> Iterator[Recommender]:
    """A recommender over the shop that keeps its profiles there."""
    with Recommender.open(shop, llm="rules", profiles=where) as opened:
        yield opened


def filled(path: Path, n: int = 400, **options: Any) -> tuple[Event, ...]:
    """A store with the events of two users, closed."""
    events = tuple(
        said(i, user="bob" if i % 4 == 3 else "ana", item=f"p{i % 64}", message=f"message {i} " + "words " * 20)
        for i in range(n)
    )
    store = SqliteProfileStore(path, **options)
    store.append_many(events)
    store.close()
    return events


def spoil(path: Path, holds: Callable[[bytes], bool]) -> bytes:
    """Overwrite the first page that a condition holds of; what it held."""
    data = path.read_bytes()
    pages = [data[at : at + PAGE] for at in range(0, len(data), PAGE)]
    place = next(at for at, page in enumerate(pages) if at and holds(page))
    with path.open("r+b") as file:
        file.seek(place * PAGE)
        file.write(b"\xff" * PAGE)
    return pages[place]


def backups(path: Path) -> list[Path]:
    return sorted(path.parent.glob(f"{path.name}.damaged-*"))


def test_what_can_still_be_read_is_kept_in_its_order_and_the_damaged_file_beside_it(path: Path) -> None:
    events = filled(path)
    page = spoil(path, lambda page: b"message 200 " in page)
    lost = {event.id for n, event in enumerate(events) if f"message {n} ".encode() in page}
    assert 5 < len(lost) < 60
    before = path.read_bytes()
    with pytest.raises(DamagedFile, match=r"profiles\.sqlite: .*damaged.*recover=True"):
        SqliteProfileStore(path)
    path.with_name(f"{path.name}.new").write_bytes(b"of a time that was cut off")
    store = SqliteProfileStore(path, recover=True)
    (notice,) = store.notices
    (backup,) = backups(path)
    assert backup.read_bytes() == before
    assert f"set aside as {backup.name}" in notice
    assert f"the {400 - len(lost)} events that could still be read" in notice
    for user in ("ana", "bob"):
        assert store.events(user) == tuple(e for e in events if e.user == user and e.id not in lost)
    assert store.append(events[200])
    assert store.latest("ana", 1) == (events[200],)
    store.close()
    assert sorted(p.name for p in path.parent.iterdir()) == [path.name, backup.name]
    again = SqliteProfileStore(path, recover=True)
    assert again.notices == ()
    again.close()


def test_with_a_damaged_index_nothing_is_lost(path: Path) -> None:
    events = filled(path)
    spoil(path, lambda page: b":0:0" in page and b"message" not in page)
    store = SqliteProfileStore(path, recover=True)
    assert "the 400 events" in store.notices[0]
    assert store.events("ana") == tuple(e for e in events if e.user == "ana")
    store.close()


def test_a_file_without_a_sound_byte_is_set_aside_and_the_store_begins_empty(path: Path) -> None:
    filled(path)
    path.write_bytes(b"\xff" * path.stat().st_size)
    store = SqliteProfileStore(path, recover=True)
    assert "without any event: none could be read" in store.notices[0]
    assert store.users() == ()
    assert store.append(said(0))
    store.close()


def test_an_older_file_is_salvaged_as_far_as_its_version_goes(path: Path) -> None:
    first = migrations()[:1]
    store = SqliteProfileStore(path)
    store.close()
    path.unlink()
    with sqlite3.connect(path, isolation_level=None) as old:
        for statement in first[0].statements:
            old.execute(statement)
        old.execute("CREATE TABLE profile_migrations (number INTEGER PRIMARY KEY)")
        old.execute("INSERT INTO profile_migrations VALUES (1)")
        old.executemany(
            "INSERT INTO profile_events (id, user, time, kind, item, source, message, confidence) "
            "VALUES (?, 'ana', 1.0, 'like', 'i1', 'said', ?, 1.0)",
            ((f"e{n}", f"message {n} " + "words " * 20) for n in range(200)),
        )
    old.close()
    page = spoil(path, lambda page: b"message 100 " in page)
    lost = sum(f"message {n} ".encode() in page for n in range(200))
    opened = SqliteProfileStore(path, recover=True)
    assert len(opened.events("ana")) == 200 - lost
    opened.close()


def test_rows_that_make_no_sense_are_left_out_and_counted(path: Path, tmp_path: Path) -> None:
    """Changed content, text that is no text, an undo of what is lost; the events after them are read all the same."""
    store = SqliteProfileStore(path)
    likes = [said(n, item=f"p{n}") for n in range(8)]
    gone, kept = undo_of(likes[2], time=1.0), undo_of(likes[5], time=1.0)
    store.append_many([*likes, gone, kept])
    store.close()
    with sqlite3.connect(path) as outside:
        outside.execute("UPDATE profile_events SET kind = 'adore' WHERE seq = 1")
        outside.execute("UPDATE profile_events SET item = CAST(X'61FF' AS TEXT) WHERE seq = 2")
        outside.execute("DELETE FROM profile_events WHERE seq = 3")
        outside.execute("UPDATE profile_events SET erased = 1 WHERE seq = 4")
    fresh = tmp_path / "fresh.sqlite"
    SqliteProfileStore(fresh).close()
    with sqlite3.connect(fresh) as into:
        assert salvage(outside, into) == (6, 2)
        assert into.execute("SELECT count(*) FROM profile_events WHERE erased").fetchone() == (1,)
    outside.close()
    into.close()
    again = SqliteProfileStore(fresh)
    assert again.events("ana") == (*likes[3:], kept)
    again.close()


def test_a_damaged_file_of_a_newer_version_is_left_to_that_version(path: Path) -> None:
    newer = (*migrations(), Migration(len(migrations()) + 1, ("CREATE TABLE profile_extra (x)",)))
    filled(path, schema=newer)
    spoil(path, lambda page: b"message 200 " in page)
    before = path.read_bytes()
    with pytest.raises(UserError, match=rf"version {len(newer)}.*up to {len(migrations())}.*upgrade"):
        SqliteProfileStore(path, recover=True)
    assert (path.read_bytes(), backups(path)) == (before, [])
    store = SqliteProfileStore(path, schema=newer, recover=True)
    assert store.notices
    store.close()


_HOLDING = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
connection.execute("SELECT count(*) FROM profile_events").fetchone()
print("open", flush=True)
sys.stdin.readline()
"""


@contextmanager
def held_elsewhere(path: Path) -> Iterator[None]:
    """Another process has the file open."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDING, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "open\n"
        yield
        child.stdin.write("\n")


@contextmanager
def held_here(path: Path) -> Iterator[None]:
    """Another store of this process has the file open."""
    store = SqliteProfileStore(path)
    store.users()
    yield
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="an open file has no other name there")
@pytest.mark.parametrize("held", [held_elsewhere, held_here])
def test_a_damaged_file_is_not_taken_from_whoever_uses_it(
    path: Path, monkeypatch: pytest.MonkeyPatch, held: Callable[[Path], Any]
) -> None:
    """A connection that outlived the change would go on writing to a file that nobody reads."""
    filled(path)
    monkeypatch.setattr(database, "_PATIENCE", 0.1)
    with held(path):
        spoil(path, lambda page: b"message 200 " in page)
        with pytest.raises(UserError, match=r"damaged .* and in use: end the programs"):
            SqliteProfileStore(path, recover=True)
        assert backups(path) == []
    store = SqliteProfileStore(path, recover=True)
    assert len(backups(path)) == 1
    store.close()


def test_many_that_find_the_damage_at_once_set_it_aside_once(path: Path) -> None:
    events = filled(path)
    spoil(path, lambda page: b":0:0" in page and b"message" not in page)

    def work(number: int) -> tuple[int, tuple[Event, ...]]:
        store = SqliteProfileStore(path, recover=True)
        store.append(said(1000 + number, user="cem"))
        found = len(store.notices), store.events("ana")
        store.close()
        return found

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(work, range(6)))
    assert sum(notices for notices, _ in found) == 1
    assert len(backups(path)) == 1
    mine = tuple(e for e in events if e.user == "ana")
    assert all(seen == mine for _, seen in found)
    store = SqliteProfileStore(path)
    assert len(store.events("cem")) == 6
    store.close()


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_every_command_sets_a_damaged_store_aside_names_it_and_goes_on(shop: Path, arguments: tuple[str, ...]) -> None:
    path = shop / "state" / "profiles.sqlite"
    filled(path)
    spoil(path, lambda page: b"message 200 " in page)
    first, second = (run(shop, *arguments) for _ in range(2))
    (backup,) = backups(path)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert str(path) in first.err
    assert "damaged (" in first.err
    assert backup.name in first.err
    assert "could still be read" in first.err
    assert "damaged" not in second.err
    assert first.out == second.out or arguments[0] == "chat", "the same is known afterwards"


def test_the_log_and_the_catalogue_are_served_where_nothing_of_a_store_can_be_read(shop: Path) -> None:
    path = shop / "state" / "profiles.sqlite"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"no database at all " * 500)
    done = run(shop, "recommend", "--json", user="u1")
    assert "without any event" in done.err
    assert json.loads(done.out)["cards"]
    turn = json.loads(run(shop, *READING[-1], user="u1").out.splitlines()[0])
    assert turn["cards"]


def test_doctor_tells_of_damage_and_touches_nothing(shop: Path) -> None:
    path = shop / "state" / "profiles.sqlite"
    filled(path)
    spoil(path, lambda page: b"message 200 " in page)
    before = path.read_bytes()
    told = command("doctor", "--llm", "rules", "-w", shop)
    assert told.code == 1
    assert "damaged" in told.out
    assert (path.read_bytes(), backups(path)) == (before, [])


def test_the_library_tells_of_damage_where_it_is_asked_to(shop: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = shop / "state" / "profiles.sqlite"
    for tell in (True, False):
        filled(path)
        spoil(path, lambda page: b"message 200 " in page)
        told: list[str] = []
        options: dict[str, Any] = {"notice": told.append} if tell else {}
        with Recommender.open(shop, llm="rules", **options) as opened:
            assert opened.knowledge.store.notices
        assert any("set aside" in text for text in (told if tell else caplog.messages))
        path.unlink()


def test_damage_found_in_the_middle_is_told_and_others_are_served(
    live: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = type(live.knowledge.store)
    plain = store.events

    def events(self: Any, user: str, **options: Any) -> tuple[Event, ...]:
        if user == "ana":
            raise UserError("the profile store is damaged (page 3): restore it from a copy")
        return plain(self, user, **options)

    monkeypatch.setattr(store, "events", events)
    turn = live.chat("ana", "recommend something")
    assert not turn.cards
    assert "damaged (page 3)" in turn.reply.replace("\\", "")
    assert live.chat("bob", "recommend something").cards
    assert live.chat("ana", "hello").reply


@pytest.fixture
def postgres() -> Iterator[str]:
    with profile_places.postgres_place() as url:
        yield url


@pytest.mark.parametrize(
    ("error", "mend"),
    [(psycopg.errors.DataCorrupted, "from a backup"), (psycopg.errors.IndexCorrupted, "REINDEX")],
)
def test_damage_that_a_server_finds_is_named(postgres: str, error: type[psycopg.Error], mend: str) -> None:
    store = PostgresProfileStore(postgres)

    def work(connection: object) -> None:
        raise error("invalid page in block 3 of relation base/5/16384")

    with pytest.raises(UserError, match=rf"damaged .*block 3.*{mend}") as caught:
        store._server.read(work)
    assert str(store.place) in str(caught.value)
    assert store.append(said(0))
    store.close()


def test_a_row_that_makes_no_sense_stops_its_user_and_nobody_else(where: str) -> None:
    store = open_store(where)
    store.append_many([said(0), said(1), said(0, user="bob")])
    if isinstance(store, SqliteProfileStore):
        with sqlite3.connect(store.path) as outside:
            outside.execute("UPDATE profile_events SET kind = 'adore' WHERE id = ?", [said(1).id])
        outside.close()
    else:
        table = sql.Identifier(Address(where).schema, "profile_events")
        with profile_places.plain() as plain:
            plain.execute(sql.SQL("UPDATE {} SET kind = 'adore' WHERE id = %s").format(table), [said(1).id])
    with pytest.raises(UserError, match=r"changed from outside.*kind.*forget the user"):
        store.events("ana")
    assert store.events("bob") == (said(0, user="bob"),)
    assert store.append(said(1, user="bob"))
    assert store.forget_user("ana").events == 2
    store.close()
