"""Vectors kept by what they were made from, so that a build never encodes the same thing twice.

One SQLite file, safe with several threads and processes. It may be deleted at any time.
"""

from __future__ import annotations

import contextlib
import hashlib
import logging
import sqlite3
import time
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ..errors import UserError
from .encoders import ImageEncoder, TextEncoder
from .images import open_image, read_image_file

Progress = Callable[[int, int], None]
T = TypeVar("T")

#: Items encoded between two commits: what a killed build loses at most. Fewer images, since all of a
#: batch are in memory decoded.
TEXT_BATCH = 64
IMAGE_BATCH = 16
_BUSY_SECONDS = 60.0
_QUERY_KEYS = 500  # SQLite builds allow at least 999 variables in a statement

_log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS embeddings (
    model TEXT NOT NULL,
    content BLOB NOT NULL,
    checksum INTEGER NOT NULL,
    vector BLOB NOT NULL,
    PRIMARY KEY (model, content)
) WITHOUT ROWID
"""


class EmbeddingCache:
    """Vectors by (model id, SHA-256 of the content).

    A file that is no database, or a damaged one, is set aside under another name with a warning in the
    log, and a new one is begun: the cache is only ever a saving of time.

    Args:
        path: the SQLite file; made when absent.

    Raises:
        UserError: the file cannot be made or opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = Lock()
        self._connection = self._open()

    def __enter__(self) -> EmbeddingCache:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    def get(self, model_id: str, contents: Iterable[bytes], dimension: int) -> dict[bytes, NDArray[np.float32]]:
        """The vectors known, by content digest. A row that is damaged counts as unknown."""
        wanted = list(contents)
        found: dict[bytes, NDArray[np.float32]] = {}
        for start in range(0, len(wanted), _QUERY_KEYS):
            keys = wanted[start : start + _QUERY_KEYS]
            marks = ",".join("?" * len(keys))
            query = f"SELECT content, checksum, vector FROM embeddings WHERE model = ? AND content IN ({marks})"
            rows = self._run(lambda c, q=query, k=keys: c.execute(q, (model_id, *k)).fetchall())  # type: ignore[misc]
            for content, checksum, blob in rows:
                if len(blob) == 4 * dimension and zlib.crc32(blob) == checksum:
                    found[content] = np.frombuffer(blob, dtype="<f4").astype(np.float32)
                else:
                    _log.warning("%s: a damaged vector of %s is made again", self.path, model_id)
        return found

    def put(self, model_id: str, vectors: Mapping[bytes, NDArray[np.float32]]) -> None:
        """Store vectors by content digest; committed when this returns."""
        blobs = {content: np.ascontiguousarray(vector, dtype="<f4").tobytes() for content, vector in vectors.items()}
        rows = [(model_id, content, zlib.crc32(blob), blob) for content, blob in blobs.items()]

        def write(connection: sqlite3.Connection) -> None:
            with connection:
                connection.executemany("INSERT OR REPLACE INTO embeddings VALUES (?, ?, ?, ?)", rows)

        self._run(write)

    def _run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run a statement; when the file turns out damaged, set it aside and run it on a new one."""
        with self._lock:
            try:
                return work(self._connection)
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise UserError(f"the embedding cache {self.path} cannot be used ({error})") from error
                self._connection.close()
                self._set_aside(error)
                self._connection = self._open()
                return work(self._connection)

    def _open(self) -> sqlite3.Connection:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            try:
                return _connect(self.path)
            except sqlite3.DatabaseError as error:
                if not _damaged(error):
                    raise
                self._set_aside(error)
                return _connect(self.path)
        except (OSError, sqlite3.Error) as error:
            raise UserError(f"the embedding cache {self.path} cannot be opened ({error})") from error

    def _set_aside(self, error: sqlite3.Error) -> None:
        aside = self.path.with_name(f"{self.path.name}.damaged-{time.time_ns()}")
        _log.warning("%s is damaged (%s): set aside as %s, a new one is begun", self.path, error, aside.name)
        # Another process may have set it aside in the meantime.
        with contextlib.suppress(FileNotFoundError):
            self.path.rename(aside)
        for suffix in ("-wal", "-shm"):
            Path(f"{self.path}{suffix}").unlink(missing_ok=True)


@dataclass(frozen=True)
class ImageVectors:
    """Encoded images.

    Attributes:
        vectors: shape (n, dimension), unit rows; zero rows where there is no image or it cannot be read.
        unreadable: position and reason of each image that could not be read.
    """

    vectors: NDArray[np.float32]
    unreadable: tuple[tuple[int, str], ...]


def embed_texts(
    encoder: TextEncoder, texts: Sequence[str], cache: EmbeddingCache | None = None, progress: Progress | None = None
) -> NDArray[np.float32]:
    """Encode texts, taking from the cache what it holds: shape (len(texts), dimension), unit rows.

    Committed batch by batch, so that a killed build continues where it was.

    Args:
        progress: called with (texts done, texts in all).
    """
    digests = [hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest() for text in texts]
    known = cache.get(encoder.model_id, set(digests), encoder.dimension) if cache else {}
    # Equal texts are encoded once; alike lengths together, so that little is padding.
    missing = {digest: text for digest, text in zip(digests, texts, strict=True) if digest not in known}
    order = sorted(missing, key=lambda digest: len(missing[digest]))
    done = len(texts) - len(missing)
    _report(progress, done, len(texts))
    for start in range(0, len(order), TEXT_BATCH):
        batch = order[start : start + TEXT_BATCH]
        fresh = dict(zip(batch, encoder.encode([missing[digest] for digest in batch]), strict=True))
        if cache:
            cache.put(encoder.model_id, fresh)
        known.update(fresh)
        _report(progress, done + start + len(batch), len(texts))
    vectors = np.zeros((len(texts), encoder.dimension), dtype=np.float32)
    for row, digest in enumerate(digests):
        vectors[row] = known[digest]
    return vectors


def embed_images(
    encoder: ImageEncoder,
    sources: Sequence[Path | bytes | None],
    cache: EmbeddingCache | None = None,
    progress: Progress | None = None,
) -> ImageVectors:
    """Encode images, taking from the cache what it holds. Committed batch by batch.

    Args:
        sources: files or their contents; None for an item without an image.
        progress: called with (images done, images in all).
    """
    vectors = np.zeros((len(sources), encoder.dimension), dtype=np.float32)
    unreadable: list[tuple[int, str]] = []
    _report(progress, 0, len(sources))
    for start in range(0, len(sources), IMAGE_BATCH):
        batch = range(start, min(start + IMAGE_BATCH, len(sources)))
        contents: dict[int, bytes] = {}
        for row in batch:
            source = sources[row]
            if source is None:
                continue
            try:
                contents[row] = source if isinstance(source, bytes) else read_image_file(source)
            except UserError as error:
                unreadable.append((row, str(error)))
        digests = {row: hashlib.sha256(content).digest() for row, content in contents.items()}
        known = cache.get(encoder.model_id, set(digests.values()), encoder.dimension) if cache else {}
        opened = {}
        for row, content in contents.items():
            if digests[row] in known or digests[row] in opened:
                continue
            try:
                opened[digests[row]] = open_image(content)
            except UserError as error:
                source = sources[row]
                name = f"{source}: " if isinstance(source, Path) else ""
                unreadable.append((row, name + str(error).removeprefix("image: ")))
        if opened:
            fresh = dict(zip(opened, encoder.encode_images(list(opened.values())), strict=True))
            if cache:
                cache.put(encoder.model_id, fresh)
            known.update(fresh)
        for row, digest in digests.items():
            if digest in known:
                vectors[row] = known[digest]
        _report(progress, batch.stop, len(sources))
    return ImageVectors(vectors, tuple(unreadable))


def _report(progress: Progress | None, done: int, total: int) -> None:
    if progress is not None:
        progress(done, total)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        _patiently(lambda: connection.execute("PRAGMA journal_mode=WAL").fetchone())
        connection.execute("PRAGMA synchronous=NORMAL")
        _patiently(lambda: connection.execute(_SCHEMA))
        connection.commit()
    except BaseException:
        connection.close()
        raise
    return connection


def _patiently(work: Callable[[], object]) -> None:
    """Run again while another process holds the file: changing the journal mode does not wait by itself."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            work()
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.02)


def _damaged(error: sqlite3.DatabaseError) -> bool:
    """Whether the file is at fault, not a lock, a full disk or a mistaken statement."""
    return error.sqlite_errorname.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR_SHORT_READ"))
