"""What is SQLite's own: erasing to the byte, migrations, damage, a full disk, forks."""

from __future__ import annotations

import multiprocessing
import os
import random
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from llm4rec.errors import UserError
from llm4rec.profiles.database import DamagedFile
from llm4rec.profiles.schema import Migration, migrations, split
from llm4rec.profiles.store import SqliteProfileStore
from profile_cases import said, undo_of


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "profiles.sqlite"


def bytes_in(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def test_the_file_is_its_owners_alone(path: Path) -> None:
    store = SqliteProfileStore(path)
    store.append(said(0))
    modes = {p.name: stat.S_IMODE(p.stat().st_mode) for p in path.parent.iterdir()}
    assert set(modes.values()) == {0o600}
    assert "profiles.sqlite-wal" in modes
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    store.close()


def test_every_connection_has_the_settings_that_durability_and_erasing_need(path: Path) -> None:
    store = SqliteProfileStore(path)
    with store._database.reading() as one, store._database.reading() as other:
        assert one is not other
        for connection in (one, other):
            read = {
                name: connection.execute(f"PRAGMA {name}").fetchone()[0]
                for name in ("journal_mode", "synchronous", "secure_delete", "foreign_keys", "busy_timeout")
            }
            assert read == {
                "journal_mode": "wal",
                "synchronous": 2,
                "secure_delete": 1,
                "foreign_keys": 1,
                "busy_timeout": 30_000,
            }
    store.close()


# Erasing.


def plant(store: SqliteProfileStore) -> None:
    """Events of two users, half of them undone, each text unique and searchable; more than fits a page."""
    for n in range(60):
        batch = []
        for user in ("ana", "bob"):
            fields = {"user": f"{user}-USER-MARK", "message": f"{user}-MESSAGE-MARK-{n % 6} " + "long words " * 20}
            event = said(n, item=f"{user}-ITEM-MARK-{n % 6}", thread=f"{user}-THREAD-MARK", **fields)
            batch.append(event)
            if n % 2:
                batch.append(undo_of(event, time=1.0))
            batch.append(said(1_000 + n, kind="taste", term=f"{user}-TERM-MARK-{n}.", **fields))
        store.append_many(batch)


def test_forgetting_a_user_leaves_no_byte(path: Path) -> None:
    store = SqliteProfileStore(path)
    with store._database.reading(), store._database.reading():
        pass  # several idle connections are open meanwhile
    plant(store)
    assert bytes_in(path.parent).count(b"ana-") > 100
    theirs = store.events("bob-USER-MARK")
    assert any(e.kind == "undo" for e in theirs)
    receipt = store.forget_user("ana-USER-MARK")
    assert receipt.events == 60 + 30 + 60
    assert b"ana-" not in bytes_in(path.parent)
    assert store.events("bob-USER-MARK") == theirs
    assert bytes_in(path.parent).count(b"bob-MESSAGE-MARK") >= 60
    store.close()
    assert b"ana-" not in bytes_in(path.parent)


def test_forgetting_an_item_leaves_no_byte_of_it(path: Path) -> None:
    store = SqliteProfileStore(path)
    plant(store)
    receipt = store.forget_item("ana-USER-MARK", "ana-ITEM-MARK-3")
    assert (receipt.events, receipt.messages) == (20, 10), "ten likes, ten undos; ten tastes quote the messages"
    everything = bytes_in(path.parent)
    assert b"ana-ITEM-MARK-3" not in everything
    assert b"ana-MESSAGE-MARK-3" not in everything
    assert b"ana-ITEM-MARK-4" in everything
    assert b"bob-ITEM-MARK-3" in everything
    assert len(store.events("ana-USER-MARK")) == 150 - 20
    store.close()


def test_forgetting_an_event_leaves_no_byte_of_it(path: Path) -> None:
    store = SqliteProfileStore(path)
    plant(store)
    store.forget_event("ana-USER-MARK", said(1_007, user="ana-USER-MARK").id)
    everything = bytes_in(path.parent)
    assert b"ana-TERM-MARK-7." not in everything
    assert b"ana-TERM-MARK-8." in everything
    assert b"bob-TERM-MARK-7." in everything
    store.close()


def test_a_reader_in_the_middle_is_waited_for_and_named_when_it_stays(path: Path) -> None:
    store = SqliteProfileStore(path, timeout=0.3)
    store.append(said(0, message="ANA-MARK"))
    reader = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM profile_events").fetchall()
    with pytest.raises(UserError, match=r"another process .*deleted, but traces may stay .*forget again"):
        store.forget_user("ana")
    assert store.events("ana") == ()
    timer = threading.Timer(0.1, reader.execute, ["COMMIT"])
    timer.start()
    assert store.forget_user("ana").events == 0
    assert b"ANA-MARK" not in bytes_in(path.parent)
    timer.join()
    reader.close()
    store.close()


def test_a_receipt_names_files_set_aside(path: Path) -> None:
    SqliteProfileStore(path).close()
    path.write_bytes(b"no database at all" * 100)
    store = SqliteProfileStore(path, recover=True)
    store.append(said(0))
    (note,) = store.forget_user("ana").notes
    assert note.startswith("profiles.sqlite.damaged-")
    store.close()


# Migrations.


def test_the_migrations_are_numbered_without_gaps() -> None:
    assert [m.number for m in migrations()] == list(range(1, len(migrations()) + 1))


def test_a_script_is_split_at_statements_not_at_every_semicolon() -> None:
    assert split("-- a; b\nCREATE TABLE t (x);\nINSERT INTO t VALUES ('a;b');\n") == (
        "-- a; b\nCREATE TABLE t (x);",
        "INSERT INTO t VALUES ('a;b');",
    )
    with pytest.raises(ValueError, match="does not end"):
        split("SELECT 1")


def test_an_older_store_is_brought_up_to_date_with_its_events(path: Path) -> None:
    old = SqliteProfileStore(path)
    old.append(said(0))
    old.close()
    newer = (*migrations(), Migration(len(migrations()) + 1, ("CREATE TABLE profile_extra (x)",)))
    new = SqliteProfileStore(path, schema=newer)
    assert new.events("ana") == (said(0),)
    new.close()
    SqliteProfileStore(path, schema=newer).close()
    with pytest.raises(UserError, match=rf"version {len(newer)}.*up to {len(migrations())}.*upgrade"):
        SqliteProfileStore(path)


def test_a_migration_that_fails_changes_nothing(path: Path) -> None:
    SqliteProfileStore(path).close()
    broken = (*migrations(), Migration(len(migrations()) + 1, ("CREATE TABLE profile_extra (x)", "nonsense")))
    with pytest.raises(UserError):
        SqliteProfileStore(path, schema=broken)
    with sqlite3.connect(path) as connection:
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert "profile_events" in tables
    assert "profile_extra" not in tables
    SqliteProfileStore(path).close()


# Damage.


def filled(path: Path, n: int = 200) -> None:
    store = SqliteProfileStore(path)
    store.append_many(said(i, message=f"message {i} " + "words " * 20) for i in range(n))
    store.close()


def overwrite_middle(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096 : len(data) // 2] = b"\xff" * (len(data) // 2 - 4096)
    path.write_bytes(data)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])


def other_file(path: Path) -> None:
    path.write_text("item,value\nheat,5\n" * 50)


@pytest.mark.parametrize("damage", [overwrite_middle, cut, other_file])
def test_a_damaged_file_is_reported_and_left_alone(path: Path, damage: object) -> None:
    filled(path)
    damage(path)  # type: ignore[operator]
    before = path.read_bytes()
    with pytest.raises(DamagedFile, match=r"profiles\.sqlite: .*damaged.*recover=True"):
        SqliteProfileStore(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("damage", [overwrite_middle, cut, other_file])
def test_on_request_a_damaged_file_is_set_aside(path: Path, damage: object) -> None:
    filled(path)
    damage(path)  # type: ignore[operator]
    before = path.read_bytes()
    store = SqliteProfileStore(path, recover=True)
    (notice,) = store.notices
    (backup,) = path.parent.glob("profiles.sqlite.damaged-*")
    assert backup.read_bytes() == before
    assert backup.name in notice
    kept = store.events("ana")
    assert {event.id for event in kept} < {said(n).id for n in range(200)}
    assert store.append(said(5_000))
    store.close()
    sound = SqliteProfileStore(path, recover=True)
    assert (sound.notices, sound.events("ana")) == ((), (*kept, said(5_000)))
    sound.close()


def test_an_emptied_file_beside_its_log_is_damage_not_a_new_store(path: Path) -> None:
    store = SqliteProfileStore(path)
    store.append(said(0))
    log = path.with_name("profiles.sqlite-wal").read_bytes()
    store.close()
    path.write_bytes(b"")
    path.with_name("profiles.sqlite-wal").write_bytes(log)
    with pytest.raises(DamagedFile, match="empty"):
        SqliteProfileStore(path)
    store = SqliteProfileStore(path, recover=True)
    (backup,) = path.parent.glob("*.damaged-*-wal")
    assert backup.read_bytes() == log
    store.close()


def test_an_empty_file_is_a_new_store(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    SqliteProfileStore(path).close()


def use(path: Path) -> str | None:
    """Open, read, write; the error's message if there was one that is meant for a person."""
    try:
        with closing(SqliteProfileStore(path, timeout=0.2)) as store:
            store.events("ana")
            store.append(said(5_000))
    except UserError as error:
        return str(error)
    return None


def test_whatever_bytes_are_hit_the_answer_is_an_error_in_words_or_an_answer(path: Path) -> None:
    filled(path, 60)
    sound = path.read_bytes()
    chance = random.Random(4)
    outcomes = set()
    for _ in range(60):
        data = bytearray(sound)
        for _ in range(chance.choice([1, 4, 64])):
            data[chance.randrange(len(data))] = chance.randrange(256)
        path.write_bytes(data)
        message = use(path)
        outcomes.add("answered" if message is None else "refused")
        if message is not None:
            assert str(path) in message
            assert "\n" not in message
        for suffix in ("-wal", "-shm", "-journal"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    assert outcomes == {"answered", "refused"}


@pytest.mark.parametrize(
    ("change", "told"),
    [("kind = 'adore'", "kind"), ("message = CAST(X'61FF' AS TEXT)", "message"), ("time = 'x'", "time")],
)
def test_an_event_changed_from_outside_is_told(path: Path, change: str, told: str) -> None:
    filled(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute(f"UPDATE profile_events SET {change} WHERE seq = 2")
    connection.close()
    store = SqliteProfileStore(path)
    with pytest.raises(UserError, match=f"changed from outside.*{told}.*or forget the user"):
        store.events("ana")
    assert store.forget_user("ana").events == 3
    store.close()


# What the machine refuses.


def test_a_folder_or_a_file_where_none_can_be(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be opened"):
        SqliteProfileStore(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot make"):
        SqliteProfileStore(tmp_path / "file" / "profiles.sqlite")


def test_a_name_that_is_no_text(path: Path) -> None:
    store = SqliteProfileStore(path)
    with pytest.raises(UserError, match="not valid text"):
        store.events("\udcff")
    store.close()


def test_a_lock_held_too_long_is_told(path: Path) -> None:
    store = SqliteProfileStore(path, timeout=0.1)
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(UserError, match="another process"):
        store.append(said(0))
    other.execute("ROLLBACK")
    assert store.append(said(0))
    other.close()
    store.close()


def test_no_room_in_the_file_is_told_and_what_was_acknowledged_stays(path: Path) -> None:
    store = SqliteProfileStore(path)
    kept = []
    with store._database.reading() as connection:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages + 4}")
    events = (said(n, message="words " * 50) for n in range(1_000))
    with pytest.raises(UserError, match=r"disk is full.*free some space"):
        kept.extend(event for event in events if store.append(event))
    assert kept
    assert store.events("ana") == tuple(kept)
    store.close()
    again = SqliteProfileStore(path)
    assert again.events("ana") == tuple(kept)
    assert again.append(said(9_999))
    again.close()


_FILLING = """
import resource, sys
from pathlib import Path
from profile_cases import said, undo_of
from llm4rec.errors import UserError
from llm4rec.profiles.store import SqliteProfileStore
store = SqliteProfileStore(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (500_000, 500_000))
n = 0
try:
    while True:
        store.append(said(n, message="words " * 50))
        n += 1
except UserError as error:
    print(n, "told" if "check the disk and its free space" in str(error) else error)
    assert len(store.events("ana")) == n
"""


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
def test_a_file_system_that_takes_no_more_is_told_and_what_was_acknowledged_stays(path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", _FILLING, str(path)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    acknowledged, told = done.stdout.split()
    assert (told, int(acknowledged) > 10) == ("told", True)
    store = SqliteProfileStore(path)
    assert [e.id for e in store.events("ana")] == [said(n).id for n in range(int(acknowledged))]
    store.close()


# Many processes.


def _append_in_child(store: SqliteProfileStore) -> None:
    store.append(said(1))
    os._exit(0 if len(store.events("ana")) == 2 else 1)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_store_may_be_used_on_both_sides_of_a_fork(path: Path) -> None:
    store = SqliteProfileStore(path)
    store.append(said(0))
    child = multiprocessing.get_context("fork").Process(target=_append_in_child, args=(store,))
    child.start()
    child.join()
    assert child.exitcode == 0
    assert store.append(said(2))
    assert [e.id for e in store.events("ana")] == [said(n).id for n in range(3)]
    store.close()
