"""Where the tests of the profile keep their stores: a file, or a schema of its own on a PostgreSQL server.

The server is the one at ``LLM4REC_TEST_POSTGRES``, a URL with a database in which schemas may be made, by default the
database ``test`` of this machine. Where none answers, the tests that need it are skipped and say so.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

KINDS = ("sqlite", "postgres")
SERVER = os.environ.get("LLM4REC_TEST_POSTGRES", "postgresql://127.0.0.1:5432/test")


@cache
def why_no_server() -> str | None:
    try:
        psycopg.connect(SERVER, connect_timeout=3).close()
    except psycopg.Error as error:
        return f"no PostgreSQL answers at LLM4REC_TEST_POSTGRES or its default ({str(error).splitlines()[0]})"
    return None


def plain() -> psycopg.Connection[tuple[object, ...]]:
    """A connection of the test's own, each statement its own transaction."""
    if reason := why_no_server():
        pytest.skip(reason)
    return psycopg.connect(SERVER, autocommit=True)


@contextmanager
def postgres_place() -> Iterator[str]:
    """The URL of a schema that is not there yet; it is dropped at the end."""
    schema = f"llm4rec_test_{uuid.uuid4().hex[:12]}"
    with plain() as connection:
        try:
            yield f"{SERVER}{'&' if '?' in SERVER else '?'}schema={schema}"
        finally:
            connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(schema)))


@contextmanager
def place(kind: str, folder: Path) -> Iterator[str]:
    """Where a store of this kind can be opened, for as long as the context lasts."""
    if kind == "sqlite":
        yield str(folder / "p.sqlite")
    else:
        with postgres_place() as url:
            yield url
