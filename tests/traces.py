"""Looking for what must not be there: in every byte of every file, and in what compressed and packed files hold."""

from __future__ import annotations

import gzip
import io
import sqlite3
import zipfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import ormsgpack
import polars as pl


def traces(root: Path, marks: Iterable[str]) -> dict[str, set[str]]:
    """Where each mark is found: paths under the root, a path with ``#name`` for a decoded content. Nothing is left out
    but links, whose targets are looked at where they lie. A mark that is found nowhere is not there."""
    sought = [(mark, mark.encode()) for mark in marks]
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(root.rglob("*")):
        if path.is_symlink() or not path.is_file():
            continue
        place = str(path.relative_to(root))
        for name, content in contents(path):
            for mark, encoded in sought:
                if encoded in content or encoded in name.encode() or encoded in place.encode():
                    found[mark].add(f"{place}#{name}" if name else place)
    return dict(found)


def contents(path: Path) -> Iterator[tuple[str, bytes]]:
    """What a file holds: its bytes under no name, then what they decode to."""
    raw = path.read_bytes()
    yield "", raw
    if raw[:4] == b"PAR1":
        frame = pl.read_parquet(io.BytesIO(raw))
        yield "parquet", frame.write_json().encode()
    if raw[:2] == b"\x1f\x8b":
        yield "gzip", gzip.decompress(raw)
    if raw[:4] == b"PK\x03\x04":
        with zipfile.ZipFile(io.BytesIO(raw)) as packed:
            for name in packed.namelist():
                yield f"zip/{name}", packed.read(name)
    if raw[:16] == b"SQLite format 3\0" and not path.name.endswith("-wal"):
        yield from _rows(path)


def _rows(path: Path) -> Iterator[tuple[str, bytes]]:
    """Every value of every table, texts as they are and blobs unpacked."""
    with closing(sqlite3.connect(path)) as connection:
        connection.text_factory = bytes
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        for (table,) in tables:
            name = table.decode()
            try:
                rows = connection.execute(f'SELECT * FROM "{name}"').fetchall()
            except sqlite3.OperationalError:  # of an extension that is not loaded: the tables behind it follow
                continue
            texts = [unpacked(value) for row in rows for value in row if isinstance(value, bytes)]
            yield f"table/{name}", b"\n".join(texts)


def unpacked(value: bytes) -> bytes:
    """A blob as it is, and as msgpack (the messages within included) or zlib decode it where they can."""
    found = [value]
    with suppress(ValueError):
        found.append(repr(ormsgpack.unpackb(value, ext_hook=_extension, option=ormsgpack.OPT_NON_STR_KEYS)).encode())
    with suppress(zlib.error):
        found.append(zlib.decompress(value))
    return b"\n".join(found)


def _extension(code: int, content: bytes) -> Any:
    try:
        return ormsgpack.unpackb(content, ext_hook=_extension, option=ormsgpack.OPT_NON_STR_KEYS)
    except ValueError:
        return code, content
