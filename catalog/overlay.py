"""Changes to a running catalogue: items added, updated and taken out without building again.

They are kept in one SQLite file beside the builds, so that they outlive each of them. Readers hold a snapshot
(:class:`~.changes.Changes`) and compare version numbers to learn that there is a newer one.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from ..errors import UserError
from .changes import Change, Changes, ItemRecord, LiveVector, checked
from .items import Catalogue, Item

_SCHEMA_VERSION = 1
_SCHEMA = """
CREATE TABLE counter (version INTEGER NOT NULL);
INSERT INTO counter VALUES (0);
-- record is null where only the availability of a built item has changed
CREATE TABLE items (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    record TEXT,
    removed INTEGER NOT NULL
);
-- vector is null where the item lacks what the encoder sees
CREATE TABLE vectors (
    id TEXT NOT NULL REFERENCES items (id) ON DELETE CASCADE,
    view TEXT NOT NULL,
    model TEXT NOT NULL,
    vector BLOB,
    PRIMARY KEY (id, view)
);
"""
#: Seconds to wait for another process that writes.
_PATIENCE = 10.0


class Overlay:
    """The live changes of one workspace. Safe to use from many threads and processes.

    Args:
        path: the SQLite file; made if missing.

    Raises:
        UserError: the file is no such database, comes from a newer version, or cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.RLock()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._connection = sqlite3.connect(path, timeout=_PATIENCE, isolation_level=None, check_same_thread=False)
            self._prepare()
        except (sqlite3.Error, OSError) as error:
            raise UserError(f"cannot open the live catalogue changes at {path}: {error}") from error

    def close(self) -> None:
        """Close the file. The object cannot be used afterwards."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Overlay:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def version(self) -> int:
        """Grows with every change, in whichever process. Costs some microseconds."""
        with self._lock:
            return int(self._connection.execute("SELECT version FROM counter").fetchone()[0])

    def add(self, item: Item, vectors: Mapping[str, LiveVector] | None = None, *, base: Catalogue) -> Item:
        """Add an item.

        Args:
            item: the new item.
            vectors: by view. A view left out leaves the item to be encoded: see :meth:`Changes.unembedded`.
            base: the catalogue as built or as in use: which ids are taken, which attribute is of which kind.

        Returns:
            The item as kept: cleaned, values converted to their attribute's kind.

        Raises:
            UserError: the id is taken, a field is out of bounds, or a value is of the wrong kind.
        """
        item = checked(item, base)
        with self._writing() as connection:
            if item.id in base.row_of or self._known(item.id):
                raise UserError(f"there is an item {item.id!r} already: update it, or restore it if it was removed")
            self._put(connection, item, vectors or {})
        return item

    def update(self, item: Item, vectors: Mapping[str, LiveVector] | None = None, *, base: Catalogue) -> Item:
        """Replace an item, its vectors included. Whether it is removed stays as it is. See :meth:`add`.

        Raises:
            UserError: there is no such item, a field is out of bounds, or a value is of the wrong kind.
        """
        item = checked(item, base)
        with self._writing() as connection:
            self._require(item.id, base)
            self._put(connection, item, vectors or {})
        return item

    def embed(self, item_id: str, vectors: Mapping[str, LiveVector]) -> None:
        """Store vectors of an added or updated item, in place of those of the same views.

        Raises:
            UserError: the item is neither added nor updated.
        """
        with self._writing() as connection:
            if not self._known(item_id):
                raise UserError(f"item {item_id!r} has no live change: its vectors are those of the build")
            self._put_vectors(connection, item_id, vectors)

    def remove(self, item_id: str, *, base: Catalogue) -> None:
        """Take an item out. Its row stays, marked unavailable, so that what refers to it still finds a title.

        Raises:
            UserError: there is no such item, or it is removed already.
        """
        with self._writing() as connection:
            self._require(item_id, base)
            if self._removed(item_id):
                raise UserError(f"item {item_id!r} is removed already")
            connection.execute(
                "INSERT INTO items (id, record, removed) VALUES (?, NULL, 1) "
                "ON CONFLICT (id) DO UPDATE SET removed = 1",
                (item_id,),
            )

    def restore(self, item_id: str, *, base: Catalogue) -> None:
        """Undo :meth:`remove`.

        Raises:
            UserError: there is no such item, or it is not removed.
        """
        with self._writing() as connection:
            self._require(item_id, base)
            if not self._removed(item_id):
                raise UserError(f"item {item_id!r} is not removed")
            connection.execute("DELETE FROM items WHERE id = ? AND record IS NULL", (item_id,))
            connection.execute("UPDATE items SET removed = 0 WHERE id = ?", (item_id,))

    def snapshot(self) -> Changes:
        """All changes as of now, version and vectors included, read at once."""
        with self._reading() as connection:
            version = self.version()
            items = connection.execute("SELECT id, record, removed FROM items ORDER BY seq").fetchall()
            stored = connection.execute("SELECT id, view, model, vector FROM vectors").fetchall()
        vectors: dict[str, dict[str, LiveVector]] = {}
        for item_id, view, model, blob in stored:
            vector = None if blob is None else np.frombuffer(blob, dtype="<f4").astype(np.float32)
            vectors.setdefault(item_id, {})[view] = LiveVector(model_id=model, vector=vector)
        return Changes(
            version=version,
            all=tuple(
                Change(
                    item_id=item_id,
                    item=None if record is None else ItemRecord.model_validate_json(record).item(),
                    removed=bool(removed),
                    vectors=vectors.get(item_id, {}),
                )
                for item_id, record, removed in items
            ),
        )

    def apply(self, catalogue: Catalogue) -> Catalogue:
        """The catalogue with the changes as of now. To apply views as well, use one :meth:`snapshot` for all."""
        return self.snapshot().apply(catalogue)

    @contextmanager
    def together(self) -> Iterator[None]:
        """Makes all changes inside it or, when one raises, none; the version grows once."""
        with self._writing():
            yield

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection.in_transaction:
                yield self._connection
                return
            self._connection.execute("BEGIN")
            try:
                yield self._connection
            finally:
                self._connection.execute("COMMIT")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            if self._connection.in_transaction:  # inside together()
                yield self._connection
                return
            try:
                self._connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                raise UserError(f"the live catalogue changes at {self._path} cannot be written now: {error}") from error
            try:
                yield self._connection
                self._connection.execute("UPDATE counter SET version = version + 1")
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def _prepare(self) -> None:
        execute = self._connection.execute
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = FULL")
        execute("PRAGMA foreign_keys = ON")
        execute("BEGIN IMMEDIATE")  # two processes may come at once
        try:
            found = int(execute("PRAGMA user_version").fetchone()[0])
            if found > _SCHEMA_VERSION:
                raise UserError(
                    f"{self._path} has version {found}, this llm4rec reads up to {_SCHEMA_VERSION}: update llm4rec"
                )
            if found == 0:
                for statement in _SCHEMA.split(";"):
                    execute(statement)
                execute(f"PRAGMA user_version = {_SCHEMA_VERSION}")
        finally:
            execute("COMMIT")

    def _put(self, connection: sqlite3.Connection, item: Item, vectors: Mapping[str, LiveVector]) -> None:
        record = ItemRecord(
            id=item.id,
            title=item.title,
            description=item.description,
            image=item.image,
            attributes=dict(item.attributes),
            available=item.available,
        )
        connection.execute(
            "INSERT INTO items (id, record, removed) VALUES (?, ?, 0) "
            "ON CONFLICT (id) DO UPDATE SET record = excluded.record",
            (item.id, record.model_dump_json()),
        )
        connection.execute("DELETE FROM vectors WHERE id = ?", (item.id,))
        self._put_vectors(connection, item.id, vectors)

    def _put_vectors(self, connection: sqlite3.Connection, item_id: str, vectors: Mapping[str, LiveVector]) -> None:
        for view, live in vectors.items():
            if live.vector is not None and (live.vector.ndim != 1 or not np.isfinite(live.vector).all()):
                raise ValueError(f"the {view} vector of {item_id!r} must be finite and of one dimension")
            blob = None if live.vector is None else live.vector.astype("<f4").tobytes()
            connection.execute(
                "INSERT OR REPLACE INTO vectors (id, view, model, vector) VALUES (?, ?, ?, ?)",
                (item_id, view, live.model_id, blob),
            )

    def _known(self, item_id: str) -> bool:
        found = self._connection.execute("SELECT 1 FROM items WHERE id = ? AND record IS NOT NULL", (item_id,))
        return found.fetchone() is not None

    def _removed(self, item_id: str) -> bool:
        return (
            self._connection.execute("SELECT 1 FROM items WHERE id = ? AND removed", (item_id,)).fetchone() is not None
        )

    def _require(self, item_id: str, base: Catalogue) -> None:
        if item_id not in base.row_of and not self._known(item_id):
            raise UserError(f"no item {item_id[:200]!r} in the catalogue")
