"""Numbered migrations of the profile stores, applied in order, each once.

SQLite's are ``migrations/0001_name.sql`` and so on, PostgreSQL's ``migrations/postgres/0001_name.sql``.
"""

from __future__ import annotations

import re
import sqlite3
from dataclasses import dataclass
from functools import cache
from importlib import resources

from ..errors import UserError

_NAME = re.compile(r"(\d{4})_\w+\.sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One step of the schema: its number (1, 2, 3, without gaps) and its statements."""

    number: int
    statements: tuple[str, ...]


@cache
def migrations(folder: str = "migrations") -> tuple[Migration, ...]:
    """The migrations this version knows, in order.

    Args:
        folder: of this package, ``migrations`` or ``migrations/postgres``.

    Raises:
        RuntimeError: the installation lacks one.
    """
    found = [
        Migration(int(match[1]), split(entry.read_text(encoding="utf-8")))
        for entry in resources.files(__package__).joinpath(folder).iterdir()
        if (match := _NAME.fullmatch(entry.name))
    ]
    found.sort(key=lambda migration: migration.number)
    numbers = [migration.number for migration in found]
    if not numbers or numbers != list(range(1, len(numbers) + 1)):
        raise RuntimeError(f"profile migrations are incomplete: found {numbers} in {folder}")
    return tuple(found)


def split(script: str) -> tuple[str, ...]:
    """The statements of a script. `executescript` would commit between them, and a migration is all or nothing."""
    statements: list[str] = []
    pending = ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            statements.append(pending.strip())
            pending = ""
    if pending.strip():
        raise ValueError(f"the last statement does not end: {pending.strip()[:60]!r}")
    return tuple(statements)


def pending(place: object, applied: int, known: tuple[Migration, ...]) -> tuple[Migration, ...]:
    """The migrations still to be applied to a store that has the first ``applied``.

    Raises:
        UserError: the store was written by a newer version of the package.
    """
    newest = known[-1].number
    if applied > newest:
        raise UserError(
            f"{place}: this profile store has schema version {applied}, and this llm4rec knows up to {newest}: "
            "upgrade llm4rec, or use the version that wrote it"
        )
    return known[applied:]


def migrate(connection: sqlite3.Connection, place: object, known: tuple[Migration, ...]) -> None:
    """Bring the tables of a SQLite file up to date, inside the caller's write transaction.

    Raises:
        UserError: the store was written by a newer version of the package.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS profile_migrations (number INTEGER PRIMARY KEY)")
    applied: int = connection.execute("SELECT coalesce(max(number), 0) FROM profile_migrations").fetchone()[0]
    for migration in pending(place, applied, known):
        for statement in migration.statements:
            connection.execute(statement)
        connection.execute("INSERT INTO profile_migrations (number) VALUES (?)", (migration.number,))
