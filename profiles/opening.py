"""One way to name a profile store: the path of a SQLite file, or the URL of a PostgreSQL database."""

from __future__ import annotations

import re
from pathlib import Path

from ..errors import UserError
from .store import ProfileStore, SqliteProfileStore

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")


def open_store(where: str | Path, *, recover: bool = False) -> ProfileStore:
    """Open a profile store; it is made where there is none.

    Args:
        where: a path, or ``postgresql://USER@HOST:PORT/DATABASE?schema=NAME`` (see `postgres.PostgresProfileStore`).
        recover: set a damaged file aside, go on with the events of it that can still be read, and say so in the store's
            ``notices``. Of a server's data whoever runs it takes care.

    Raises:
        DamagedFile: the file is damaged and ``recover`` is False.
        MissingExtra: a PostgreSQL store, and psycopg is not installed.
        UserError: it cannot be opened, or was written by a newer version.
    """
    scheme = _SCHEME.match(str(where))
    if scheme is None:
        return SqliteProfileStore(Path(where), recover=recover)
    if scheme[1].lower() not in ("postgresql", "postgres"):
        # Nothing but the scheme is repeated: a URL may hold a password.
        raise UserError(f"{scheme[1]}://: a profile store is the path of a file, or postgresql://USER@HOST/DATABASE")
    from .postgres import PostgresProfileStore

    return PostgresProfileStore(str(where))
