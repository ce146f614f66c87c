"""One SQLite file used by many threads and processes: opening, transactions, damage, and errors in plain words."""

from __future__ import annotations

import glob
import os
import sqlite3
import sys
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Final

from ..catalog.text import one_line
from ..errors import UserError
from .salvage import applied, salvage
from .schema import Migration, migrate, pending

_SIDECARS = ("-wal", "-shm", "-journal")
_RETRY_SECONDS: Final = 0.02
#: How long others that find the damage too are given to let go of the file, in seconds.
_PATIENCE: Final = 2.0
_FULL: Final = 2  # of PRAGMA synchronous
#: The bytes that SQLite locks of a file for whoever has it open (the lock-byte page of its file format).
_SHARED_FROM: Final = 0x40000000 + 2
_SHARED_BYTES: Final = 510
_BUSY = frozenset({sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED})
#: A constraint can only fail in a file changed from outside: the store asks before it writes.
_DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_CONSTRAINT})


class DamagedFile(UserError):
    """The file is no sound database. Its message says what can be done; ``reason`` is what SQLite found."""

    def __init__(self, path: Path, reason: str) -> None:
        self.reason = one_line(reason.replace("*** in database main ***", ""))
        super().__init__(
            f"{path}: the profile store is damaged ({self.reason}): restore it from a copy, or open it again with "
            "recover=True, as every command but 'doctor' does: that keeps it under another name and goes on with the "
            "events that can still be read"
        )


class Database:
    """A SQLite file with the settings a profile needs: what is committed survives a crash, what is deleted is gone.

    No connection is ever used by two threads at once: each operation takes an idle one or opens one, so there are
    as many as there were operations at the same time. Idle ones are closed before a fork, since SQLite's locks do not
    survive one.

    Args:
        path: the file; it and its folder are made when missing, readable by their owner alone.
        migrations: applied in one transaction on opening.
        timeout: seconds to wait for other threads and processes.
        recover: set a damaged file aside, start another with the events that can still be read, and say so in
            ``notices``.

    Raises:
        DamagedFile: the file is damaged and ``recover`` is False. Nothing was changed.
        UserError: it cannot be opened, was written by a newer version, or is damaged and others have it open.
    """

    def __init__(self, path: Path, migrations: tuple[Migration, ...], *, timeout: float, recover: bool) -> None:
        self.path = path.absolute()
        self.timeout = timeout
        self.notices: tuple[str, ...] = ()
        self._idle: list[sqlite3.Connection] = []
        self._live: set[sqlite3.Connection] = set()  # idle ones and those in use
        self._closed = False
        _open_databases.add(self)
        self._make_file()
        try:
            self._open(migrations)
        except DamagedFile as damage:
            self.close_idle()
            if not recover:
                raise
            with _folder_lock(self.path.parent, alone=True):
                # Another process may have set the file aside in the meantime: then this opens its new one.
                try:
                    self._open(migrations)
                except DamagedFile:
                    self.close_idle()
                    self.notices = (self._start_anew(damage, migrations),)
                    self._open(migrations)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection outside any transaction. Raises UserError for what SQLite cannot do."""
        if self._closed:
            raise ValueError("this profile store is closed")
        with self._plain_words():
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    # SQLite has rolled back by itself after some errors; a rollback that fails leaves nothing behind.
                    with suppress(sqlite3.Error):
                        connection.execute("ROLLBACK")
                if connection.in_transaction:
                    self._drop(connection)
                else:
                    self._idle.append(connection)
                if self._closed:
                    self.close_idle()

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A connection inside a write transaction: committed to the disk on leaving, rolled back on any exception."""
        with self.reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")

    def scrub(self) -> None:
        """Rewrite the file so that nothing deleted stays in it or in its write-ahead log.

        Raises:
            UserError: it could not be done (disk full, another process reading all the time); doing it again mends it.
        """
        try:
            with self.reading() as connection:
                # Free and partly filled pages may still hold what was deleted, and so does the log until it is cut.
                self._patiently(connection, "VACUUM")
                deadline = time.monotonic() + self.timeout
                while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                    if time.monotonic() > deadline:
                        raise UserError(f"{self.path}: another process reads the file all the time")
                    time.sleep(_RETRY_SECONDS)
        except UserError as error:
            raise UserError(f"{error} (deleted, but traces may stay in the file: forget again)") from error

    def set_aside(self) -> tuple[str, ...]:
        """Names of damaged files that were set aside beside this one, oldest first."""
        beside = self.path.parent.glob(f"{glob.escape(self.path.name)}.damaged-*")
        return tuple(sorted(p.name for p in beside if not p.name.endswith(_SIDECARS)))

    def close_idle(self) -> None:
        """Close connections not in use; they are opened again when needed."""
        while self._idle:
            with suppress(IndexError):
                self._drop(self._idle.pop())

    def _drop(self, connection: sqlite3.Connection) -> None:
        connection.close()
        self._live.discard(connection)

    def close(self) -> None:
        """Close for good. An operation still running in another thread finishes first."""
        self._closed = True
        self.close_idle()

    def _make_file(self) -> None:
        try:
            new_folder = not self.path.parent.exists()
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not self.path.exists():
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                # The new names too must be found again after a power cut.
                for folder in (self.path.parent, self.path.parent.parent)[: 1 + new_folder]:
                    _sync_names(folder)
        except OSError as error:
            raise UserError(f"{self.path}: cannot make the profile store here: {error.strerror}") from error

    def _open(self, migrations: tuple[Migration, ...]) -> None:
        log = self.path.with_name(self.path.name + "-wal")
        with suppress(FileNotFoundError):
            # SQLite would take an emptied file for a new one and delete the log that may hold the last events.
            if self.path.stat().st_size == 0 and log.stat().st_size > 0:
                raise DamagedFile(self.path, "the file is empty but its log is not")
        with self.reading() as connection:
            verdict = connection.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != [("ok",)]:
                raise DamagedFile(self.path, "; ".join(str(row[0]) for row in verdict))
        with self.writing() as connection:
            migrate(connection, self.path, migrations)

    def _start_anew(self, damage: DamagedFile, migrations: tuple[Migration, ...]) -> str:
        """Put a new file with the events that can still be read in the place of the damaged one; what to say of it.

        The new file is whole and on the disk before it takes the name: cut off before that, the damaged one is found
        again. It takes the name only where nobody else has the damaged one open: SQLite knows a file's log by its name,
        and a connection that outlives the change would take the new file's log for its own.

        Raises:
            UserError: it cannot be done, or a newer version wrote the damaged file.
        """
        damaged = f"{self.path}: the profile store is damaged ({damage.reason})"
        try:
            deadline = time.monotonic() + _PATIENCE
            while _used_here(self) or _used_elsewhere(self.path):
                if time.monotonic() > deadline:
                    raise UserError(f"{damaged} and in use: end the programs that use it, and what can be read is kept")
                time.sleep(_RETRY_SECONDS)
            fresh = self.path.with_name(f"{self.path.name}.new")
            _remove(fresh)  # of a time that was cut off
            try:
                kept = _salvaged(self.path, fresh, migrations, timeout=self.timeout)
                backup = _set_aside(self.path, fresh)
            finally:
                _remove(fresh)
        except OSError as error:
            mend = "move it away, or restore it from a copy"
            raise UserError(f"{damaged} and cannot be set aside ({error.strerror}): {mend}") from error
        return (
            f"{self.path}: the profile store was damaged ({damage.reason}); it was set aside as {backup.name}, and a "
            f"new one was started {kept}"
        )

    def _connect(self) -> sqlite3.Connection:
        with _folder_lock(self.path.parent, alone=False):  # nobody sets the file aside meanwhile
            connection = self._connected()
        return connection

    def _connected(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self.timeout, isolation_level=None, check_same_thread=False)
        self._live.add(connection)
        try:
            # In memory, so that sorting and VACUUM leave no copies in the system's temporary folder.
            connection.execute("PRAGMA temp_store=MEMORY")
            connection.execute("PRAGMA foreign_keys=ON")
            # Each commit is on the disk before it is acknowledged; fullfsync is what that takes on macOS.
            connection.execute("PRAGMA synchronous=FULL")
            connection.execute("PRAGMA fullfsync=ON")
            connection.execute("PRAGMA secure_delete=ON")
            mode = self._patiently(connection, "PRAGMA journal_mode=WAL")
            if mode != "wal":
                raise UserError(
                    f"{self.path}: this file system cannot hold a profile store (no write-ahead log, mode is {mode}): "
                    "put the workspace on a local disk"
                )
            if connection.execute("PRAGMA synchronous").fetchone()[0] < _FULL:
                raise RuntimeError("this SQLite does not wait for the disk: synchronous=FULL was not taken")
        except BaseException:
            self._drop(connection)
            raise
        return connection

    def _patiently(self, connection: sqlite3.Connection, statement: str) -> object:
        """Run what does not always wait for other processes by itself; gives the first value of its first row."""
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                row = connection.execute(statement).fetchone()
                return row[0] if row else None
            except sqlite3.OperationalError as error:
                if _code(error) not in _BUSY or time.monotonic() > deadline:
                    raise
                time.sleep(_RETRY_SECONDS)

    @contextmanager
    def _plain_words(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.ProgrammingError):
                raise
            raise _explain(error, self.path) from error
        except UnicodeDecodeError as error:
            raise DamagedFile(self.path, "the file holds text that is not UTF-8") from error
        except UnicodeEncodeError as error:
            raise UserError(f"{error.object!r} is not valid text: give a name that is") from error


_open_databases: weakref.WeakSet[Database] = weakref.WeakSet()


def _before_fork() -> None:
    for database in list(_open_databases):
        database.close_idle()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork)


def _code(error: sqlite3.Error) -> int | None:
    """SQLite's primary result code; None for an error of the Python module itself."""
    extended: int | None = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def changed_outside(path: Path, what: str) -> UserError:
    """The error for a row that this package cannot have written, in a file that is sound otherwise."""
    return UserError(
        f"{path}: a stored event was changed from outside ({one_line(what)}): restore the file from a copy, or forget "
        "the user"
    )


def _explain(error: sqlite3.DatabaseError, path: Path) -> UserError:
    code = _code(error)
    if code in _DAMAGED:
        return DamagedFile(path, str(error))
    if code is None:  # from reading a row: its text is not UTF-8
        return changed_outside(path, str(error))
    if code == sqlite3.SQLITE_FULL:
        mend = "the disk is full, nothing of this step was written: free some space and do it again"
    elif code == sqlite3.SQLITE_IOERR:
        mend = f"{error}, nothing of this step was acknowledged: check the disk and its free space and do it again"
    elif code in _BUSY:
        mend = "another process kept the file locked for too long: close it and do it again"
    elif code == sqlite3.SQLITE_READONLY:
        mend = "the file or its folder may not be written: change its permissions"
    elif code in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH):
        mend = "the file cannot be opened: check that it is a file and that it and its folder may be read and written"
    else:
        mend = f"the profile store failed ({error}): check the disk"
    return UserError(f"{path}: {mend}")


def _sync_names(folder: Path) -> None:
    if sys.platform == "win32":  # which has no call for it
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    for suffix in ("", *_SIDECARS):
        path.with_name(path.name + suffix).unlink(missing_ok=True)


def _salvaged(path: Path, fresh: Path, migrations: tuple[Migration, ...], *, timeout: float) -> str:
    """Make a new file with the events that can still be read of a damaged one; how many they were, in words.

    Raises:
        UserError: a newer version wrote the damaged file, or the new one cannot be written.
    """
    new = Database(fresh, migrations, timeout=timeout, recover=False)
    # As it is, without any setting: nothing is written to it. An empty one is not even looked at: that would delete the
    # log that is to be set aside with it.
    damaged = sqlite3.connect(path if path.stat().st_size else ":memory:", isolation_level=None)
    try:
        pending(path, applied(damaged), migrations)
        with new.writing() as into:
            kept, unsound = salvage(damaged, into)
        new.scrub()  # its log is part of it now
    finally:
        damaged.close()
        new.close()
    if not kept:
        return "without any event: none could be read"
    events = f"{kept:,} event{'' if kept == 1 else 's'}"
    left_out = f", {unsound:,} made no sense any more" if unsound else ""
    return (
        f"with the {events} that could still be read{left_out}: what else it held is lost here, and something taken "
        "back may count again"
    )


def _set_aside(path: Path, fresh: Path) -> Path:
    """Give a damaged file another name, and its own to a new one; the damaged one's new name."""
    stem = f"{path.name}.damaged-{datetime.now():%Y%m%d-%H%M%S}"
    backup = path.with_name(stem)
    count = 1
    while backup.exists():
        count += 1
        backup = path.with_name(f"{stem}-{count}")
    try:
        os.link(path, backup)
    except OSError:  # a file system without a second name for a file: for a moment there is none of this name
        path.rename(backup)
    # The log before the new file comes: beside that it would be taken for its own.
    for suffix in _SIDECARS:
        with suppress(FileNotFoundError):
            path.with_name(path.name + suffix).rename(backup.with_name(backup.name + suffix))
    fresh.replace(path)
    _sync_names(path.parent)
    return backup


class _Holding(threading.local):
    """The folders that this thread has to itself."""

    folders: frozenset[Path] = frozenset()


_holding = _Holding()


@contextmanager
def _folder_lock(folder: Path, *, alone: bool) -> Iterator[None]:
    """Many open files of a folder at once, one alone sets one aside. On systems without flock there is no lock."""
    if sys.platform == "win32" or folder in _holding.folders:
        yield
        return
    import fcntl

    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        before = _holding.folders
        if alone:
            _holding.folders = before | {folder}
        try:
            yield
        finally:
            _holding.folders = before
    finally:
        os.close(handle)


def _used_here(asking: Database) -> bool:
    """Whether the file is open in this process, beside whoever asks."""
    return any(one is not asking and one.path == asking.path and one._live for one in list(_open_databases))


def _used_elsewhere(path: Path) -> bool:
    """Whether another process has the file open: for as long as it has, it holds a lock on these bytes of it.

    Not to be asked while this process has it open: closing a file gives up all of a process's locks on it.
    """
    if sys.platform == "win32":  # where an open file cannot be given another name
        return False
    import fcntl

    handle = os.open(path, os.O_RDWR)
    try:
        fcntl.lockf(handle, fcntl.LOCK_EX | fcntl.LOCK_NB, _SHARED_BYTES, _SHARED_FROM)
    except (BlockingIOError, PermissionError):
        return True
    finally:
        os.close(handle)
    return False
