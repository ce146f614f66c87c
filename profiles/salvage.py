"""What can still be read of a damaged SQLite file, event by event, for the file that takes its place.

Events are read in the order in which they were appended, up to a place that cannot be read, and on behind it. Each is
checked as any stored event is. What is lost is lost with its page; an undo may be among it, and what it had taken back
then counts again: whoever is told of the damage is told of that too.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, Final

from pydantic import ValidationError

from .events import Event

#: Numbers in a row that cannot be read, and in all, after which the rest is given up. A damaged page above the leaves
#: of a table hides some ten thousand rows; what hides more is the root.
_IN_A_ROW: Final = 50_000
_IN_ALL: Final = 1_000_000
_COLUMNS: Final = tuple(Event.model_fields)
_INSERT: Final = (
    f"INSERT INTO profile_events (erased, {', '.join(_COLUMNS)}) "
    f"VALUES (:erased, {', '.join(':' + name for name in _COLUMNS)})"
)
#: Besides damage, text that is not UTF-8: for that the module has an error without a code of SQLite's.
_UNREADABLE = (sqlite3.DatabaseError, UnicodeDecodeError)


def applied(damaged: sqlite3.Connection) -> int:
    """The number of the last migration of the damaged file; 0 where that cannot be read."""
    try:
        found = damaged.execute("SELECT max(number) FROM profile_migrations").fetchone()[0]
    except _UNREADABLE:
        return 0
    return found if isinstance(found, int) else 0


def salvage(damaged: sqlite3.Connection, into: sqlite3.Connection) -> tuple[int, int]:
    """Copy the events that can be read.

    Args:
        damaged: a connection to the damaged file; nothing is written to it.
        into: one to a file with all migrations and no events, in a transaction.

    Returns:
        How many were copied, and how many were readable and yet no events of this store: changed content, an id twice,
        an undo of what is lost.
    """
    owners: dict[str, str] = {}  # of the events copied, by id
    unsound = 0
    for erased, fields in _rows(damaged):
        try:
            event = Event.model_validate(fields)
        except ValidationError:
            unsound += 1
            continue
        if event.id in owners or (event.target is not None and owners.get(event.target) != event.user):
            unsound += 1
            continue
        into.execute(_INSERT, {"erased": erased, **event.model_dump()})
        owners[event.id] = event.user
    return len(owners), unsound


def _rows(damaged: sqlite3.Connection) -> Iterator[tuple[int, dict[str, Any]]]:
    """Whether the message was erased, and the fields, of every row that can be read, in order.

    A damaged tree may lead to numbers that it does not have, or back to rows that were read already: `at`, behind
    which reading goes on, only grows, and no further than to the last number that was given.
    """
    columns = _columns(damaged)
    if not columns:
        return
    query = f"SELECT seq, erased, {', '.join(columns)} FROM profile_events NOT INDEXED WHERE seq >= ? ORDER BY seq"
    # ">= at + 1" and not "> at": SQLite would look for the row at, which may lie in the damaged part
    at, last, failed, tries = 0, _last(damaged), 0, 0
    while at < last and failed < _IN_A_ROW and tries < _IN_ALL:
        tries += 1
        try:
            for row in damaged.execute(query, (at + 1,)):
                at = row[0] if at < row[0] <= last else at
                yield int(row[1] == 1), dict(zip(columns, row[2:], strict=True))
            return
        except _UNREADABLE:
            pass  # what stands behind the place is read below, from the next number on
        try:
            # A row is handed out when the one after it could be read too: the last before the place is read alone.
            one = damaged.execute(f"{query} LIMIT 1", (at + 1,)).fetchone()
        except _UNREADABLE:
            at, failed = at + 1, failed + 1
            continue
        if one is None:
            return
        at, failed = (one[0] if at < one[0] <= last else at + 1), 0
        yield int(one[1] == 1), dict(zip(columns, one[2:], strict=True))


def _columns(damaged: sqlite3.Connection) -> list[str]:
    """The columns of events that the file has, fewer in one of an older version; none where that cannot be read."""
    try:
        there = {row[1] for row in damaged.execute("PRAGMA table_info(profile_events)")}
    except _UNREADABLE:
        return []
    return [name for name in _COLUMNS if name in there] if {"seq", "erased", "id"} <= there else []


def _last(damaged: sqlite3.Connection) -> int:
    """The highest number that was given; the highest there can be where that cannot be read."""
    found: list[int] = []
    for query in (
        "SELECT seq FROM sqlite_sequence WHERE name = 'profile_events'",
        "SELECT max(seq) FROM profile_events NOT INDEXED",
    ):
        try:
            row = damaged.execute(query).fetchone()
        except _UNREADABLE:
            continue
        if row is not None and isinstance(row[0], int):
            found.append(row[0])
    return max(found, default=2**63 - 1)
