"""What is PostgreSQL's own: durability, erasing to the byte, migrations, lost connections, refusals, passwords."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import threading
import traceback
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import profile_places
import psycopg
import pytest
from llm4rec.errors import MissingExtra, UserError
from llm4rec.profiles import server
from llm4rec.profiles.events import EventConflict
from llm4rec.profiles.postgres import PostgresProfileStore
from llm4rec.profiles.schema import Migration, migrations
from llm4rec.profiles.server import Address
from profile_cases import NOW, said, undo_of
from psycopg import sql

KNOWN = migrations("migrations/postgres")


@pytest.fixture
def url() -> Iterator[str]:
    with profile_places.postgres_place() as url:
        yield url


@pytest.fixture
def plain() -> Iterator[psycopg.Connection[Any]]:
    with profile_places.plain() as connection:
        yield connection


@contextmanager
def opened(url: str, **options: Any) -> Iterator[PostgresProfileStore]:
    store = PostgresProfileStore(url, **options)
    try:
        yield store
    finally:
        store.close()


def with_option(url: str, setting: str) -> str:
    """The URL of sessions that begin with a server setting, ``name=value``."""
    return f"{url}&options=-c%20{setting.replace('=', '%3D').replace(' ', '%5C%20')}"


def table(url: str, name: str = "profile_events") -> str:
    return sql.Identifier(Address(url).schema, name).as_string()


def superuser(connection: psycopg.Connection[Any]) -> None:
    if connection.info.parameter_status("is_superuser") != "on":
        pytest.skip("the test server does not let this role read its files or make databases and roles")


# Durability.


@pytest.mark.parametrize("level", ["off", "local", "on", "remote_apply"])
def test_a_commit_waits_for_the_disk_whatever_the_session_says(url: str, level: str) -> None:
    with opened(with_option(url, f"synchronous_commit={level}")) as store:

        def setting(connection: server.Connection) -> object:
            return connection.execute("SHOW synchronous_commit").fetchone()

        expected = "remote_apply" if level == "remote_apply" else "on"
        found: list[object] = []

        def work(connection: server.Connection) -> tuple[int, ...]:
            found.append(setting(connection))
            return ()

        store._server.write(work)
        assert found == [(expected,)]
        assert store._server.read(setting) == (level,), "the session's own is left alone"


def test_a_server_that_does_not_wait_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_DURABLY", "SELECT 'off'")
    with pytest.raises(RuntimeError, match="does not wait for its disk"):
        PostgresProfileStore(url)


@pytest.mark.parametrize(
    "setting", ["extra_float_digits=0", "search_path=nowhere", "default_transaction_isolation=serializable"]
)
def test_a_setting_of_the_session_does_no_harm(url: str, setting: str) -> None:
    """Numbers are exact, and tables are found."""
    event = said(0, kind="rating", value=0.1 + 0.2, time=1_750_000_000.123456)
    with opened(with_option(url, setting)) as store:
        store.append(event)
        assert store.events("ana") == (event,)


# Erasing.


def files_of_database(connection: psycopg.Connection[Any]) -> bytes:
    """Every byte of the table files of the connection's database, as they lie on the server's disk."""
    connection.execute("CHECKPOINT")
    (folder,) = connection.execute(
        "SELECT 'base/' || oid FROM pg_database WHERE datname = current_database()"
    ).fetchone() or (None,)
    names = connection.execute("SELECT pg_ls_dir(%s)", [folder]).fetchall()
    read = "SELECT pg_read_binary_file(%s, 0, 1000000000, TRUE)"
    files = (connection.execute(read, [f"{folder}/{name}"]).fetchone() for (name,) in names)
    return b"".join(file[0] or b"" for file in files if file is not None)


def plant(store: PostgresProfileStore, mark: str) -> None:
    """Events of two users, half of them undone, each text unique and searchable; more than fits a page."""
    for n in range(60):
        batch = []
        for user in ("ana", "bob"):
            fields = {"user": f"{user}-{mark}-USER", "message": f"{user}-{mark}-MESSAGE-{n % 6} " + "long words " * 20}
            event = said(n, item=f"{user}-{mark}-ITEM-{n % 6}", thread=f"{user}-{mark}-THREAD", **fields)
            batch.append(event)
            if n % 2:
                batch.append(undo_of(event, time=1.0))
            batch.append(said(1_000 + n, kind="taste", term=f"{user}-{mark}-TERM-{n}.", **fields))
        store.append_many(batch)


def test_forgetting_leaves_no_byte_in_any_file_of_the_database(url: str, plain: psycopg.Connection[Any]) -> None:
    """Neither what ANALYZE gathered, nor a step cut short, nor a transaction that is older than the forgetting and
    could still see the rows keeps any of them."""
    superuser(plain)
    mark = f"MARK{uuid.uuid4().hex[:8]}"
    mine = f"ana-{mark}".encode()
    with opened(url) as store:
        plant(store, mark)
        theirs = store.events(f"bob-{mark}-USER")
        with plain.transaction(force_rollback=True):
            plain.execute(
                f'INSERT INTO {table(url)} (id, "user", time, kind, item, source, confidence) '
                "SELECT %s || n, %s, 1, 'like', 'x', 'said', 1 FROM generate_series(1, 9) AS n",
                [f"ana-{mark}-ROLLED-BACK-", f"ana-{mark}-USER"],
            )
        plain.execute(f"ANALYZE {table(url)}")
        assert files_of_database(plain).count(mine) > 100
        with profile_places.plain() as old, old.transaction():
            old.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            old.execute("SELECT count(*) FROM pg_class")
            part = store.forget_item(f"ana-{mark}-USER", f"ana-{mark}-ITEM-3")
            assert (part.events, part.messages) == (20, 10), "ten likes, ten undos; ten tastes quote the messages"
            after = files_of_database(plain)
            assert (after.count(mine + b"-ITEM-3"), after.count(mine + b"-MESSAGE-3"), mine in after) == (0, 0, True)
            receipt = store.forget_user(f"ana-{mark}-USER")
            assert files_of_database(plain).count(mine) == 0
        assert receipt.events == 60 + 30 + 60 - 20
        assert "write-ahead log" in receipt.text()
        assert "backups" in receipt.text()
        assert store.events(f"bob-{mark}-USER") == theirs
        plain.execute(f"ANALYZE {table(url)}")
        assert store.append(said(1, user=f"bob-{mark}-USER", id=f"bob-{mark}-LATER")), "the table is whole"
        stored = plain.execute("SELECT attname FROM pg_stats WHERE schemaname = %s", [Address(url).schema]).fetchall()
        assert not {name for (name,) in stored} & set(said(0).model_dump()), "ANALYZE keeps no value of an event"


def test_two_that_forget_at_once_do_not_wait_for_each_other_for_ever(url: str) -> None:
    with opened(url) as one, opened(url) as other:
        for turn in range(5):
            one.append_many([said(turn, user="ana"), said(turn, user="bob")])
            with ThreadPoolExecutor(2) as pool:
                both = [pool.submit(one.forget_user, "ana"), pool.submit(other.forget_user, "bob")]
                assert [done.result().events for done in both] == [1, 1]


# Schemas and migrations.


def test_the_migrations_are_numbered_without_gaps_and_keep_the_same_columns() -> None:
    assert [m.number for m in KNOWN] == list(range(1, len(KNOWN) + 1))
    assert len(KNOWN) == len(migrations())


def test_each_schema_is_a_store_of_its_own_whatever_the_search_path(url: str) -> None:
    with (
        profile_places.postgres_place() as elsewhere,
        opened(url) as one,
        opened(with_option(elsewhere, f"search_path={Address(url).schema}")) as other,
    ):
        one.append(said(0))
        other.append(said(1))
        assert (one.events("ana"), other.events("ana")) == ((said(0),), (said(1),))
        other.forget_user("ana")
        assert one.events("ana") == (said(0),)


@pytest.mark.parametrize("name", ['od"d; name', "größe", "x" * 63])
def test_a_schema_may_have_any_name(plain: psycopg.Connection[Any], name: str) -> None:
    # Not unique, so that it can be odd: gone before and after.
    drop = sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name))
    plain.execute(drop)
    try:
        escaped = "".join(f"%{byte:02x}" for byte in name.encode())
        with opened(f"{profile_places.SERVER}?schema={escaped}") as store:
            assert store.append(said(0))
        with opened(f"{profile_places.SERVER}?schema={escaped}") as store:
            assert store.events("ana") == (said(0),)
    finally:
        plain.execute(drop)


@pytest.mark.parametrize("name", ["", "pg_mine", "x" * 64, "a%00b", "a%0Ab"])
def test_what_can_be_no_schema_is_told(name: str) -> None:
    with pytest.raises(UserError, match="cannot be a schema"):
        Address(f"postgresql://host/db?schema={name}")


def test_an_older_store_is_brought_up_to_date_with_its_events(url: str) -> None:
    with opened(url) as old:
        old.append(said(0))
    newer = (*KNOWN, Migration(len(KNOWN) + 1, ("CREATE TABLE {schema}.profile_extra (x int)",)))
    for _ in range(2):
        with opened(url, schema=newer) as new:
            assert new.events("ana") == (said(0),)
    with pytest.raises(UserError, match=rf"version {len(newer)}.*up to {len(KNOWN)}.*upgrade"):
        PostgresProfileStore(url)


def test_a_migration_that_fails_changes_nothing(url: str, plain: psycopg.Connection[Any]) -> None:
    PostgresProfileStore(url).close()
    broken = (*KNOWN, Migration(len(KNOWN) + 1, ("CREATE TABLE {schema}.profile_extra (x int)", "nonsense")))
    with pytest.raises(UserError, match="nonsense"):
        PostgresProfileStore(url, schema=broken)
    assert plain.execute("SELECT to_regclass(%s)", [table(url, "profile_extra")]).fetchone() == (None,)
    PostgresProfileStore(url).close()


# Lost connections.


def end_sessions(store: PostgresProfileStore, plain: psycopg.Connection[Any]) -> int:
    """What a restart of the server does to a store: all its connections are gone."""
    pids = [connection.info.backend_pid for connection in store._server._all]
    for pid in pids:
        plain.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
    return len(pids)


def test_lost_connections_are_made_again(url: str, plain: psycopg.Connection[Any]) -> None:
    with opened(url) as store:
        store.append(said(0))
        with store._server._borrowed(), store._server._borrowed():
            pass  # two are idle
        assert end_sessions(store, plain) == 2
        assert store.events("ana") == (said(0),)
        assert end_sessions(store, plain) == 1
        assert store.append(said(1))
        assert end_sessions(store, plain) == 1
        assert store.forget_event("ana", said(1).id).events == 1
        assert store.events("ana") == (said(0),)


@pytest.mark.parametrize("came_through", [True, False])
def test_a_connection_lost_at_the_commit_neither_loses_nor_doubles(
    url: str, monkeypatch: pytest.MonkeyPatch, came_through: bool
) -> None:
    """The step is done again, and the answer is as if nothing had happened."""
    commit = psycopg.Connection.commit
    cuts: list[psycopg.Connection[Any]] = []

    def cut(connection: psycopg.Connection[Any]) -> None:
        if len(cuts) < 1:
            cuts.append(connection)
            if came_through:
                commit(connection)
            connection.close()
            raise psycopg.OperationalError("server closed the connection unexpectedly")
        commit(connection)

    with opened(url) as store:
        monkeypatch.setattr(psycopg.Connection, "commit", cut)
        assert store.append_many([said(0), said(1)]) == 2
        assert store.append(said(1)) is False
        cuts.clear()
        assert store.forget_user("ana").events == 2
        assert store.events("ana") == ()
        assert cuts


def test_a_server_that_stays_away_is_told_after_a_while(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with opened(url) as store:
        store._server._patience = 0.3
        store._server._close_idle()
        tries = []

        def refuse(_: str) -> None:
            tries.append(1)
            raise psycopg.OperationalError("connection refused")

        monkeypatch.setattr(psycopg, "connect", refuse)
        with pytest.raises(UserError, match=r"cannot be reached \(connection refused\): check that it runs"):
            store.append(said(0))
        assert len(tries) > 1
        monkeypatch.undo()
        assert store.append(said(0))


def test_what_the_server_broke_off_is_done_again(url: str) -> None:
    broken = [psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure]
    with opened(url) as store:

        def work(connection: server.Connection) -> tuple[int, ...]:
            connection.execute(f"INSERT INTO {table(url, 'profile_migrations')} (number) VALUES (77)")
            if broken:
                raise broken.pop()("for the sake of another")
            return (1,)

        assert store._server.write(work) == (1,)


def test_an_id_that_another_user_is_just_taking_is_never_overwritten(url: str, plain: psycopg.Connection[Any]) -> None:
    with opened(url) as store:
        plain.execute("BEGIN")
        plain.execute(
            f'INSERT INTO {table(url)} (id, "user", time, kind, item, source, confidence) '
            "VALUES (%s, 'bob', 1, 'like', 'i1', 'said', 1)",
            [said(0).id],
        )
        timer = threading.Timer(0.3, plain.execute, ["COMMIT"])
        timer.start()
        with pytest.raises(EventConflict, match="says something else"):
            store.append_many([said(1), said(0)])
        timer.join()
        assert (len(store.events("bob")), store.events("ana")) == (1, ())


def test_more_threads_than_connections_wait_and_are_told_when_it_takes_too_long(url: str) -> None:
    with opened(url, connections=2) as store:
        with ThreadPoolExecutor(12) as pool:
            assert all(pool.map(lambda n: store.append(said(n)), range(12)))
        assert len(store.events("ana")) == 12
        assert len(store._server._all) <= 2
        store._server.timeout = 0.1
        with store._server._borrowed(), store._server._borrowed(), pytest.raises(UserError, match="all 2 connections"):
            store.events("ana")


def _append_in_child(store: PostgresProfileStore) -> None:
    store.append(said(1))
    os._exit(0 if len(store.events("ana")) == 2 else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_store_may_be_used_on_both_sides_of_a_fork(url: str) -> None:
    with opened(url) as store:
        store.append(said(0))
        before = set(store._server._all)
        child = multiprocessing.get_context("fork").Process(target=_append_in_child, args=(store,))
        child.start()
        child.join()
        assert child.exitcode == 0
        assert store.append(said(2))
        assert [e.id for e in store.events("ana")] == [said(n).id for n in range(3)]
        assert store._server._all == before, "the parent's own connections went on"


# What the server refuses.


def test_a_lock_held_too_long_is_told(url: str, plain: psycopg.Connection[Any]) -> None:
    with opened(url, timeout=0.3) as store:
        with plain.transaction():
            plain.execute(f"LOCK TABLE {table(url)} IN ACCESS EXCLUSIVE MODE")
            for step in (lambda: store.append(said(0)), lambda: store.events("ana"), lambda: store.forget_user("ana")):
                with pytest.raises(UserError, match="kept the table locked for too long"):
                    step()
        assert store.append(said(0))


def test_a_server_that_takes_no_writes_is_told(url: str) -> None:
    """What is there can be read all the same."""
    with pytest.raises(UserError, match=r"takes no writes.*name the primary"):
        PostgresProfileStore(with_option(url, "default_transaction_read_only=on"))
    with opened(url) as store:
        store.append(said(0))
    with opened(with_option(url, "default_transaction_read_only=on")) as store:
        with pytest.raises(UserError, match=r"takes no writes.*name the primary"):
            store.append(said(1))
        assert store.events("ana") == (said(0),)


def test_a_role_without_rights_is_told(url: str, plain: psycopg.Connection[Any]) -> None:
    superuser(plain)
    role = f"llm4rec_test_{uuid.uuid4().hex[:12]}"
    plain.execute(f"CREATE ROLE {role}")
    try:
        as_role = with_option(url, f"role={role}")
        with pytest.raises(UserError, match=r"permission denied.*owns the tables"):
            PostgresProfileStore(as_role)
        PostgresProfileStore(url).close()
        schema = sql.Identifier(Address(url).schema).as_string()
        plain.execute(f"GRANT USAGE ON SCHEMA {schema} TO {role}")
        plain.execute(f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO {role}")
        with opened(as_role) as store:
            assert store.append(said(0))
            with pytest.raises(UserError, match=r"(permission denied|must be owner).*owns the tables"):
                store.forget_user("ana")
            assert store.events("ana") == (said(0),)
    finally:
        plain.execute(f"DROP OWNED BY {role}")
        plain.execute(f"DROP ROLE {role}")


def test_a_database_in_another_encoding_is_told(plain: psycopg.Connection[Any]) -> None:
    superuser(plain)
    name = f"llm4rec_test_{uuid.uuid4().hex[:12]}"
    plain.execute(f"CREATE DATABASE {name} ENCODING 'LATIN1' LOCALE 'C' TEMPLATE template0")
    try:
        base, _, _ = profile_places.SERVER.rpartition("/")
        with pytest.raises(UserError, match=r"LATIN1.*ENCODING 'UTF8'"):
            PostgresProfileStore(f"{base}/{name}")
    finally:
        plain.execute(f"DROP DATABASE {name}")


def test_tables_dropped_meanwhile_are_told(url: str, plain: psycopg.Connection[Any]) -> None:
    with opened(url) as store:
        plain.execute(f"DROP SCHEMA {sql.Identifier(Address(url).schema).as_string()} CASCADE")
        with pytest.raises(UserError, match="tables are gone"):
            store.append(said(0))


@pytest.mark.parametrize(("change", "told"), [("kind = 'adore'", "kind"), ("time = -1", "time")])
def test_an_event_changed_from_outside_is_told(
    url: str, plain: psycopg.Connection[Any], change: str, told: str
) -> None:
    with opened(url) as store:
        store.append_many([said(0), said(1)])
        plain.execute(f"UPDATE {table(url)} SET {change} WHERE seq = 2")
        with pytest.raises(UserError, match=f"changed from outside.*{told}.*or forget the user"):
            store.events("ana")
        assert store.forget_user("ana").events == 2


def test_a_name_with_a_null_character_is_told(url: str) -> None:
    with opened(url) as store, pytest.raises(UserError, match="not text that can be stored"):
        store.events("a\0b")


@pytest.mark.parametrize("target", ["postgresql://127.0.0.1:1/test", "postgresql://%2Fnowhere/test"])
def test_a_server_that_is_not_there_is_told_at_once(target: str) -> None:
    with pytest.raises(UserError, match=r"cannot be reached.*check that it runs") as caught:
        PostgresProfileStore(target)
    assert target in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_psycopg_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("psycopg", "llm4rec.profiles.server", "llm4rec.profiles.postgres"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "llm4rec.profiles.server")
    monkeypatch.delitem(sys.modules, "llm4rec.profiles.postgres")
    with pytest.raises(MissingExtra, match=r"pip install 'llm4rec\[postgres\]'"):
        importlib.import_module("llm4rec.profiles.postgres")


# Passwords.

SECRET = "hunter2-sEcret"


@pytest.mark.parametrize(
    "wrong",
    [
        f"postgresql://ana:{SECRET}@127.0.0.1:1/db",
        f"postgresql://ana:{SECRET}@127.0.0.1:1/db?schema=mine",
        f"postgresql://127.0.0.1:1/db?user=ana&password={SECRET}",
        f"postgresql://127.0.0.1:1/db?sslpassword={SECRET}&sslmode=nonsense",
        f"postgresql://ana:{SECRET}@127.0.0.1:port/db",
        f"postgresql://ana:{SECRET}%zz@127.0.0.1:1/db",
        f"postgresql://ana:x {SECRET}@127.0.0.1:1/db",
        f"postgresql://ana:x/{SECRET}@127.0.0.1:1/db",
        f"postgresql://ana:x?{SECRET}@127.0.0.1:1/db",
        f"postgresql://ana:x@{SECRET}@127.0.0.1:1/db",
        f"postgresql://ana:x#{SECRET}@127.0.0.1:1/db",
        f"postgresql://127.0.0.1:{SECRET}",
        f"postgresql://ana:{SECRET}@127.0.0.1:1/db?nonsense=1",
        f"postgresql://ana:{SECRET}@127.0.0.1:1/db?schema=pg_mine",
        f"postgresql://ana:{SECRET}@%2Fnowhere/db",
        f"postgres://ana:{SECRET}@127.0.0.1:1,127.0.0.1:2/db",
    ],
)
def test_no_error_shows_a_password(wrong: str) -> None:
    try:
        PostgresProfileStore(wrong)
    except UserError as error:
        told = "".join(traceback.format_exception(error))
    assert SECRET not in told


def test_an_open_store_does_not_show_its_password(url: str) -> None:
    # The test server asks for none, and takes any.
    at = url.index("://") + 3
    user = psycopg.connect(profile_places.SERVER).info.user
    with opened(f"{url[:at]}{user}:{SECRET}@{url[at:]}") as store:
        store.append(said(0, time=NOW))
        shown = [store.place, repr(store), repr(store._server), str(store._server.address), repr(store._server._all)]
        assert not any(SECRET in text for text in shown)
        assert f"{user}@" in store.place
        assert store._server.address.hide(f"no such thing: {SECRET}\nindeed") == "no such thing: *** indeed"
