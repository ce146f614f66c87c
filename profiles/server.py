"""One PostgreSQL database used by many threads and processes: connections, transactions, and errors in plain words."""

from __future__ import annotations

import os
import re
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from ..catalog.text import one_line
from ..errors import MissingExtra, UserError

try:
    import psycopg
    from psycopg import conninfo
except ImportError:
    raise MissingExtra("a profile store in PostgreSQL", "postgres") from None

T = TypeVar("T")
Counts = tuple[int, ...]
Connection = psycopg.Connection[tuple[Any, ...]]

SCHEMA: Final = "llm4rec"
#: Older ones get no fixes any more.
OLDEST_SERVER: Final = 13
_URL = re.compile(r"postgres(ql)?://([^@/?]*@)?[^@]*")
_RETRY_SECONDS: Final = 0.1
#: How long a server that was there before may be away (a restart) until it is told, in seconds.
_PATIENCE: Final = 10.0
#: What a URL may say otherwise. A server that has vanished from the network is noticed within a minute.
_DEFAULTS: Final = {
    "connect_timeout": "10",
    "fallback_application_name": "llm4rec",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "30000",
}
#: The connection is gone: shut down, crashed, still starting.
_LOST = frozenset({"57P01", "57P02", "57P03", "57P05"})
#: Rolled back for the sake of another transaction: serialization failure, deadlock.
_GIVE_WAY = frozenset({"40001", "40P01"})
_MENDS: Final = {
    "25006": "the server takes no writes (a standby?): name the primary in the URL",
    "42501": "{told}: connect as the role that owns the tables, or have its rights granted",
    "42P01": "its tables are gone ({told}): restore them, or open the store again, which makes empty ones",
    "53100": "the server's disk is full, nothing of this step was written: free some space and do it again",
    "55P03": "another session kept the table locked for too long: end it (see pg_stat_activity) and do it again",
    "57014": "the server cancelled it ({told}), nothing of this step was written: do it again",
    "XX001": "the server found damaged data ({told}), others are served as far as can be: restore them from a backup",
    "XX002": "the server found a damaged index ({told}), others are served as far as can be: REINDEX it",
}
_PATIENTLY: Final = "SELECT set_config('lock_timeout', %s, TRUE)"
_DURABLY: Final = """
SELECT set_config('synchronous_commit', CASE current_setting('synchronous_commit')
           WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END, TRUE)
"""


class Raced(Exception):
    """Raised by the work of a transaction that another one has overtaken: it is done again from the start."""


class Address:
    """Where a store is: a URL taken apart, whose password is never shown.

    Args:
        url: ``postgresql://USER:PASSWORD@HOST:PORT/DATABASE?schema=NAME``; the other parameters are libpq's.

    Attributes:
        conninfo: for `psycopg.connect`, password and all.
        schema: holds the tables; ``llm4rec`` unless the URL names another.

    Raises:
        UserError: no such URL. What was given is not repeated, since it may hold a password.
    """

    def __init__(self, url: str) -> None:
        try:
            if not _URL.fullmatch(url):
                raise ValueError
            base, _, query = url.partition("?")
            options = [option for option in query.split("&") if option]
            schemas = [unquote(o.removeprefix("schema=")) for o in options if o.startswith("schema=")]
            others = "&".join(o for o in options if not o.startswith("schema="))
            given = conninfo.conninfo_to_dict(f"{base}?{others}")
            if not re.fullmatch(r"[\d,]*", str(given.get("port") or "")):
                raise ValueError
            defaults = {name: value for name, value in _DEFAULTS.items() if name not in given}
            self.conninfo = conninfo.make_conninfo(f"{base}?{others}", client_encoding="UTF8", **defaults)
            self._secrets = [str(given[name]) for name in ("password", "sslpassword") if given.get(name)]
        except (ValueError, psycopg.Error):
            raise UserError(
                "the URL of the profile store cannot be read: write postgresql://USER@HOST:PORT/DATABASE?schema=NAME, "
                "special characters of a name or password as in %40 for @; its parameters are libpq's"
            ) from None
        self.schema = schemas[-1] if schemas else SCHEMA
        if not self.schema.isprintable() or not 1 <= len(self.schema.encode()) <= 63 or self.schema.startswith("pg_"):
            raise UserError(f"{self.schema!r} cannot be a schema: give it 1 to 63 bytes, not beginning with pg_")
        # A password stands between a colon and the @, or among the parameters.
        shown = re.sub(r"(://[^:@]*):[^@]*@", r"\1@", base)
        self._shown = shown if self.schema == SCHEMA else f"{shown}?schema={self.schema}"

    def __str__(self) -> str:
        return self._shown

    def hide(self, text: str) -> str:
        """A text of libpq's without the passwords, should it hold one."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return one_line(text)


class Server:
    """Connections to one database, and transactions that are done again when the server had to break them off.

    No connection is ever used by two threads at once: a transaction takes an idle one or opens one, and when
    ``connections`` of them are busy it waits. After a fork the child opens its own.

    Nothing is left to the session's settings: a transaction sets what it relies on, so that a pooler such as
    PgBouncer may stand between.

    Args:
        timeout: seconds to wait for locks and for a free connection.
        connections: most connections of this process.

    Raises:
        UserError: the server cannot be reached, or cannot keep what a store promises.
    """

    def __init__(self, address: Address, *, timeout: float, connections: int) -> None:
        self.address = address
        self.timeout = timeout
        self._most = connections
        self._free = threading.BoundedSemaphore(connections)
        self._idle: list[Connection] = []
        self._all: set[Connection] = set()
        self._patience = 0.0
        self._closed = False
        _open_servers.add(self)
        try:
            self.read(self._check)
        except BaseException:  # Ctrl-C too: nobody else can give the connections back
            self.close()
            raise
        self._patience = _PATIENCE

    def __repr__(self) -> str:
        return f"Server({self.address})"

    def read(self, work: Callable[[Connection], T]) -> T:
        """Do the work in one transaction and give its result.

        Args:
            work: it may be called several times, each time in a new transaction.

        Raises:
            UserError: the server is gone or refuses.
        """
        until: float | None = None  # when to stop trying, once a connection was lost
        while True:
            try:
                with self._plain_words(), self._borrowed() as connection:
                    connection.execute(_PATIENTLY, [f"{max(1, round(self.timeout * 1000))}ms"])
                    result = work(connection)
                    connection.commit()
                    return result
            except _Unreachable:
                if until is None:
                    until = time.monotonic() + self._patience
                else:
                    time.sleep(_RETRY_SECONDS)
                if time.monotonic() >= until:
                    raise
            except Raced:
                continue

    def write(self, work: Callable[[Connection], Counts]) -> Counts:
        """Do work that writes; when this returns it is committed, and on the server's disk.

        A connection lost at the commit leaves it open whether that came through, and the transaction's number cannot
        tell: a server that crashed may have given it away again. So the work is done again in any case.

        Args:
            work: gives counts of what it changed. Where it was done already it must find nothing to do, and count 0.

        Returns:
            The counts of the time that did it.

        Raises:
            UserError: the server is gone or refuses.
        """
        done: list[Counts] = []

        def durably(connection: Connection) -> None:
            row = connection.execute(_DURABLY).fetchone()
            if row not in (("on",), ("remote_apply",)):
                raise RuntimeError(f"the server does not wait for its disk (synchronous_commit: {row})")
            done.append(work(connection))

        try:
            self.read(durably)
        except _Unreachable as error:
            if done:
                raise UserError(f"{error} (this step may have been kept or not: do it again)") from error
            raise
        return max(done)

    def close(self) -> None:
        """Close for good. A transaction still running in another thread finishes first."""
        self._closed = True
        self._close_idle()

    def _check(self, connection: Connection) -> None:
        if connection.info.server_version < OLDEST_SERVER * 10_000:
            raise UserError(f"{self.address}: PostgreSQL {OLDEST_SERVER} or newer is needed: upgrade the server")
        encoding = connection.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise UserError(f"{self.address}: the database's encoding is {encoding}: make one with ENCODING 'UTF8'")
        fsync = connection.execute("SHOW fsync").fetchone()
        if fsync != ("on",):
            raise UserError(
                f"{self.address}: the server runs with fsync = off and loses what it acknowledged at a power cut: "
                "turn it on"
            )

    @contextmanager
    def _borrowed(self) -> Iterator[Connection]:
        if self._closed:
            raise ValueError("this profile store is closed")
        if not self._free.acquire(timeout=self.timeout):
            raise UserError(f"{self.address}: all {self._most} connections of this process are busy: do it again")
        try:
            try:
                connection = self._idle.pop()
            except IndexError:
                connection = self._connect()
            try:
                yield connection
            except psycopg.Error as error:
                if connection.closed or error.sqlstate in _LOST or (error.sqlstate or "").startswith("08"):
                    self._close_idle()  # they went the same way
                    connection.close()
                    raise self._unreachable(error) from error
                if error.sqlstate in _GIVE_WAY:
                    raise Raced from error
                raise
            finally:
                self._give_back(connection)
        finally:
            self._free.release()

    def _connect(self) -> Connection:
        try:
            connection = psycopg.connect(self.address.conninfo)
        except psycopg.Error as error:
            raise self._unreachable(error) from None
        # READ COMMITTED: a transaction that waited for a lock sees what the one before it has written.
        connection.isolation_level = psycopg.IsolationLevel.READ_COMMITTED
        connection.prepare_threshold = None
        self._all.add(connection)
        return connection

    def _give_back(self, connection: Connection) -> None:
        if not connection.closed:
            with suppress(psycopg.Error):
                connection.rollback()
        if connection.closed or self._closed or connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            self._drop(connection)
        else:
            self._idle.append(connection)

    def _drop(self, connection: Connection) -> None:
        connection.close()
        self._all.discard(connection)

    def _close_idle(self) -> None:
        while self._idle:
            with suppress(IndexError):
                self._drop(self._idle.pop())

    def leave_to_parent(self) -> None:
        """In a forked child: forget the parent's connections without a word to the server."""
        for connection in self._all:
            with suppress(psycopg.Error, OSError):
                os.close(connection.fileno())
        _left_to_parents.extend(self._all)
        self._all, self._idle = set(), []
        self._free = threading.BoundedSemaphore(self._most)

    def _unreachable(self, error: psycopg.Error) -> _Unreachable:
        return _Unreachable(
            f"{self.address}: the PostgreSQL server cannot be reached ({self.address.hide(str(error))}): check that "
            "it runs, and the host, port, user, database and password"
        )

    @contextmanager
    def _plain_words(self) -> Iterator[None]:
        try:
            yield
        except psycopg.Error as error:
            told = self.address.hide(error.diag.message_primary or str(error))
            if error.sqlstate is None and isinstance(error, psycopg.DataError):
                mend = f"this is not text that can be stored ({told}): give a name that is"
            else:
                mend = _MENDS.get(error.sqlstate or "", "the server refused ({told}): see its log").format(told=told)
            raise UserError(f"{self.address}: {mend}") from error
        except UnicodeEncodeError as error:
            raise UserError(f"{error.object!r} is not valid text: give a name that is") from error


class _Unreachable(UserError):
    """There is no connection, or there is none any more."""


_open_servers: weakref.WeakSet[Server] = weakref.WeakSet()
#: Kept, so that nothing is said to the server when they are collected.
_left_to_parents: list[Connection] = []


def _in_child() -> None:
    for server in list(_open_servers):
        server.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
