"""The profile store in PostgreSQL: many machines may write to it.

Writers of one user wait for each other, by a lock on the user's name, so that a user's events become visible in the
order of their numbers and what was read once stays a prefix of what is read later. Writers of different users share
the server's commits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, LiteralString

from pydantic import ValidationError

from ..catalog.text import one_line
from ..errors import UserError
from .events import Event, first_problem
from .schema import Migration, migrations, pending
from .server import Address, Connection, Counts, Raced, Server
from .store import COLUMNS, Receipt, Speaks, named, new_events

# after .server, which says what to install where psycopg is missing
from psycopg import sql  # isort: skip

#: Users are locked in as many groups: a batch of any size takes no more locks, and one waits seldom for another.
_GROUPS: Final = 256
_COLUMNS: Final = sql.SQL(", ").join(map(sql.Identifier, COLUMNS))
_VALUES: Final = sql.SQL(", ").join(map(sql.Placeholder, COLUMNS))
#: Changes nothing, but no kind of conversion is known to be one: the table and its indexes are written anew.
_REWRITE: Final = "ALTER TABLE {events} ALTER COLUMN erased TYPE boolean USING (erased IS TRUE)"
_NOTES: Final = (
    "The server's write-ahead log holds what was erased until it is recycled; backups, replicas, and the server's own "
    "log where it records statements, until whoever runs the server removes it there.",
)


class PostgresProfileStore:
    """A `ProfileStore` in one schema of a PostgreSQL database.

    Args:
        url: ``postgresql://USER@HOST:PORT/DATABASE``, with ``?schema=NAME`` for another schema than ``llm4rec``; see
            `Address`. Schema and tables are made when missing.
        timeout: seconds to wait for locks and for a free connection.
        connections: most connections of this process; threads beyond that wait.
        schema: the migrations; others than this version's own are for tests.

    Raises:
        MissingExtra: psycopg is not installed (on importing this module).
        UserError: the URL is none, the server cannot be reached or cannot keep what a store promises, the role may
            not make the tables, or they were made by a newer version.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout: float = 30.0,
        connections: int = 8,
        schema: tuple[Migration, ...] | None = None,
    ) -> None:
        address = Address(url)
        self.place = str(address)
        self.notices: tuple[str, ...] = ()
        self._schema = address.schema
        self._server = Server(address, timeout=timeout, connections=connections)
        known = schema or migrations("migrations/postgres")
        try:
            self._server.write(lambda connection: self._migrate(connection, known))
        except BaseException:  # Ctrl-C too: nobody else can give the connections back
            self._server.close()
            raise

    def __repr__(self) -> str:
        return f"PostgresProfileStore({self.place})"

    def append(self, event: Event) -> bool:
        """See `ProfileStore.append`."""
        return self.append_many((event,)) == 1

    def append_many(self, events: Iterable[Event]) -> int:
        """See `ProfileStore.append_many`."""
        given = tuple(events)  # it may be a slow generator, and the work may be done twice

        def work(connection: Connection) -> Counts:
            self._lock(connection, *{event.user for event in given})
            known = {event.id: (event, erased) for event, erased in self._kept(connection, named(given))}
            new = new_events(given, known)
            if new:
                with connection.cursor() as cursor:
                    cursor.executemany(
                        self._sql("INSERT INTO {events} ({columns}) VALUES ({values}) ON CONFLICT (id) DO NOTHING"),
                        [event.model_dump() for event in new],
                    )
                    if cursor.rowcount != len(new):
                        raise Raced  # another user's event has just taken an id
            return (len(new),)

        return self._server.write(work)[0] if given else 0

    def events(self, user: str, *, until: str | None = None) -> tuple[Event, ...]:
        """See `ProfileStore.events`."""
        if until is None:
            return self._select('WHERE "user" = %s ORDER BY seq', user)
        found = self._select(
            'WHERE "user" = %s AND seq <= (SELECT seq FROM {events} WHERE "user" = %s AND id = %s) ORDER BY seq',
            *(user, user, until),
        )
        if not found:
            raise UserError(f"no event {until!r} of {user!r}: name one of the events the user has")
        return found

    def latest(self, user: str, n: int) -> tuple[Event, ...]:
        """See `ProfileStore.latest`."""
        if n < 0:
            raise ValueError(f"n must not be negative: {n}")
        return self._select('WHERE "user" = %s ORDER BY seq DESC LIMIT %s', user, n)[::-1]

    def users(self) -> tuple[str, ...]:
        """See `ProfileStore.users`."""
        query = self._sql('SELECT DISTINCT "user" FROM {events}')
        return tuple(sorted(row[0] for row in self._server.read(lambda c: c.execute(query).fetchall())))

    def forget_user(self, user: str) -> Receipt:
        """See `ProfileStore.forget_user`."""
        return self._forget(user, lambda event_id, item: True)

    def forget_item(self, user: str, item: str, *, speaks: Speaks | None = None) -> Receipt:
        """See `ProfileStore.forget_item`."""
        return self._forget(user, lambda event_id, about: about == item, speaks)

    def forget_event(self, user: str, event_id: str, *, speaks: Speaks | None = None) -> Receipt:
        """See `ProfileStore.forget_event`."""
        return self._forget(user, lambda one, item: one == event_id, speaks)

    def close(self) -> None:
        """See `ProfileStore.close`."""
        self._server.close()

    def _forget(self, user: str, meant: Callable[[str, str | None], bool], speaks: Speaks | None = None) -> Receipt:
        """Erase the events of whose id and item ``meant`` is true, and other messages of which ``speaks`` is.

        The table is written anew in the transaction that deletes, by an `ALTER TABLE`: it copies what that transaction
        sees and nothing else. `VACUUM FULL` would copy deleted rows too while any transaction of the database is old
        enough to see them, and say nothing. Rows of steps that were cut off go as well, so it is done in any case.
        """

        def work(connection: Connection) -> Counts:
            # At once in full strength: two that forget, and raise a weaker lock, would wait for each other.
            connection.execute(self._sql("LOCK TABLE {events} IN ACCESS EXCLUSIVE MODE"))
            rows = connection.execute(
                self._sql('SELECT id, target, item, message FROM {events} WHERE "user" = %s ORDER BY seq'), [user]
            )
            gone: set[str] = set()
            messages: set[str] = set()
            others: set[str] = set()
            for event_id, target, item, message in rows:
                # An undo comes after what it takes back, so one pass finds undos of undos too.
                if target in gone or meant(event_id, item):
                    gone.add(event_id)
                    messages.update((message,) if message is not None else ())
                elif message is not None:
                    others.add(message)
            if speaks is not None:
                messages.update(message for message in others if speaks(message))
            deleted = connection.execute(self._sql("DELETE FROM {events} WHERE id = ANY(%s)"), [list(gone)])
            blanked = connection.execute(
                self._sql('UPDATE {events} SET message = NULL, erased = TRUE WHERE "user" = %s AND message = ANY(%s)'),
                [user, list(messages)],
            )
            connection.execute(self._sql(_REWRITE))
            return deleted.rowcount, blanked.rowcount

        events, blanked = self._server.write(work)
        return Receipt(user=user, events=events, messages=blanked, notes=_NOTES)

    def _migrate(self, connection: Connection, known: tuple[Migration, ...]) -> Counts:
        """Make or bring up to date the schema and its tables; with nothing to do, no rights but reading are needed."""
        self._lock(connection, "\0migrations")
        row = connection.execute(
            "SELECT to_regnamespace(%s), to_regclass(%s)",
            [sql.Identifier(self._schema).as_string(), self._table("profile_migrations").as_string()],
        ).fetchone()
        if row is None or row[0] is None:
            connection.execute(self._sql("CREATE SCHEMA {schema}"))
        if row is None or row[1] is None:
            connection.execute(self._sql("CREATE TABLE {migrations} (number integer PRIMARY KEY)"))
        applied = connection.execute(self._sql("SELECT coalesce(max(number), 0) FROM {migrations}")).fetchone()
        for migration in pending(self.place, applied[0] if applied else 0, known):
            for statement in migration.statements:
                connection.execute(self._sql(statement))
            connection.execute(self._sql("INSERT INTO {migrations} (number) VALUES (%s)"), [migration.number])
        return ()

    def _lock(self, connection: Connection, *users: str) -> None:
        """Wait for, and keep out until the end of the transaction, other writers of these users."""

        def key(text: str, size: int) -> int:
            return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=size).digest())

        here = key(self._schema, 6) * _GROUPS
        # In one order, lest two batches wait for each other.
        keys = sorted({here + key(user, 4) % _GROUPS for user in users})
        connection.execute("SELECT pg_advisory_xact_lock(key) FROM unnest(%s::bigint[]) AS key", [keys])

    def _kept(self, connection: Connection, ids: Sequence[str]) -> list[tuple[Event, bool]]:
        query = self._sql("SELECT erased, {columns} FROM {events} WHERE id = ANY(%s)")
        rows = connection.execute(query, [ids], binary=True).fetchall()
        return [(self._read(row[1:]), bool(row[0])) for row in rows]

    def _select(self, clause: LiteralString, *values: object) -> tuple[Event, ...]:
        query = self._sql("SELECT {columns} FROM {events} " + clause)
        # Binary, because numbers as text are exact only as long as the server's settings say so.
        rows = self._server.read(lambda connection: connection.execute(query, values, binary=True).fetchall())
        return tuple(self._read(row) for row in rows)

    def _read(self, row: Sequence[Any]) -> Event:
        try:
            return Event.model_validate(dict(zip(COLUMNS, row, strict=True)))
        except ValidationError as error:
            raise UserError(
                f"{self.place}: a stored event was changed from outside ({one_line(first_problem(error))}): restore it "
                "from a backup, or forget the user"
            ) from error

    def _table(self, name: str) -> sql.Identifier:
        return sql.Identifier(self._schema, name)

    def _sql(self, text: str) -> sql.Composed:
        """A statement with its names filled in, each with its schema: the session's search path does not matter."""
        return sql.SQL(text).format(  # a text of this module or of the migrations
            events=self._table("profile_events"),
            migrations=self._table("profile_migrations"),
            schema=sql.Identifier(self._schema),
            columns=_COLUMNS,
            values=_VALUES,
        )
