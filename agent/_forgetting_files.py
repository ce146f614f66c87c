"""Files that people made with this program in a workspace, and that hold what is forgotten.

They are found by what they hold, wherever under the workspace they lie and whatever they are called:

- exported profiles (``profile export``), and output with ``--json``, a document or a line each;
- histories that were imported (``profile import``): tables whose rows have the ids of the user's events;
- folds of a replay for other programs (``replay --export``): tables of users beside a ``fold.json``;
- reports, whose notes may show rows of the data that could not be read.

Other files are nobody's business but their owner's: they are named where they hold something of it, and left alone.
"""

from __future__ import annotations

import csv
import gzip
import html
import io
import json
import mmap
import os
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import polars as pl

from ..catalog import durable
from ..catalog.editions import SIZES
from ..catalog.text import one_line
from ..errors import UserError
from ..profiles.history_file import HISTORY_COLUMNS, IMPORTED, history_ids
from ..profiles.store import Removed
from ._forgotten import SAMPLES, Forgotten, without_samples

#: Folders of a build that hold items alone.
_OF_ITEMS: Final = frozenset({"images", "views", "models"})
#: What every document of this program has near its beginning.
_OWN: Final = b"llm4rec."
_PROFILE: Final = "llm4rec.profile/"
_RECEIPT: Final = "llm4rec.forgotten/"
_ERROR: Final = "llm4rec.error/"
#: Larger files are no output of this program.
_LARGEST: Final = 1 << 30
#: Bytes at the beginning of a packed file that tell whether it is: forms name themselves first.
_HEAD: Final = 4096
#: What is searched for in other files has so many characters at least: less could stand anywhere.
_TELLING: Final = 6
_DATABASE: Final = b"SQLite format 3\0"


def files_under(root: Path) -> Iterator[Path]:
    """Files of a workspace but those that hold items alone; links are not followed, since they may lead elsewhere."""
    for folder, folders, names in os.walk(root):
        place = Path(folder)
        if SIZES in names:
            folders[:] = [name for name in folders if name not in _OF_ITEMS]
        folders[:] = sorted(name for name in folders if not (place / name).is_symlink())
        yield from (place / name for name in sorted(names) if _is_file(place / name))


def databases(root: Path, table: str) -> Iterator[Path]:
    """SQLite files of a workspace that have a table."""
    for path in files_under(root):
        with path.open("rb") as file:
            if file.read(len(_DATABASE)) != _DATABASE:
                continue
        try:
            with closing(sqlite3.connect(path)) as connection:
                names = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
        except sqlite3.DatabaseError:  # damaged: its owner is told of it when it is opened
            continue
        if (table,) in names:
            yield path


def forget_in_files(root: Path, meant: Forgotten) -> list[Removed]:
    """Take what is forgotten out of the files that this program wrote or read; whole files go where nothing is left.

    Raises:
        UserError: a file cannot be read or written.
    """
    removed: list[Removed] = []
    for path in list(files_under(root)):
        if _ours(path, root):
            continue
        try:
            count, unit = _forget_in_file(path, meant)
        except OSError as error:
            raise UserError(f"{path}: what is forgotten cannot be taken out: {error.strerror or error}") from error
        if count:
            removed.append(Removed(store="file", place=str(path.relative_to(root)), count=count, unit=unit))
    return removed


def mentions(root: Path, meant: Forgotten) -> list[str]:
    """Notes on files that hold the user's id or what was said, as it is or as JSON writes it, and were left alone."""
    told = meant.messages | (frozenset({meant.user}) if meant.everything else frozenset())
    sought: set[str] = set()
    for text in told:
        if len(text) >= _TELLING:
            sought |= {text, json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]}
    encoded = [text.encode() for text in sorted(sought)]
    notes: list[str] = []
    for path in files_under(root):
        try:
            if not _ours(path, root) and _holds(path, encoded):
                shown = one_line(str(path.relative_to(root)), 200)
                notes.append(f"{shown} may still hold something of it: it was left alone")
        except OSError as error:
            raise UserError(f"{path} cannot be searched for what is forgotten: {error.strerror or error}") from error
    return notes


def _ours(path: Path, root: Path) -> bool:
    """Stores, caches and logs, which are dealt with elsewhere."""
    parts = path.relative_to(root).parts
    return (path.parent / SIZES).exists() or parts[:1] == ("staging",) or ".sqlite" in path.name


def _forget_in_file(path: Path, meant: Forgotten) -> tuple[int, str]:
    """How much went, and of what."""
    match path.suffix.lower():
        case ".parquet":
            return _forget_in_fold(path, meant), "row"
        case ".csv":
            return _forget_in_history(path, meant), "row"
        case ".html":
            return _forget_in_page(path, meant), "note"
    if path.stat().st_size > _LARGEST:
        return 0, "document"
    packed = path.suffix.lower() == ".gz"
    try:
        if packed:
            with gzip.open(path) as file:
                if _OWN not in file.read(_HEAD):
                    return 0, "document"
        elif not _holds(path, [_OWN]):
            return 0, "document"
        content = gzip.decompress(path.read_bytes()) if packed else path.read_bytes()
        text = content.decode("utf-8")
    except (gzip.BadGzipFile, EOFError, ValueError):  # not packed after all, or no text: none of this program's
        return 0, "document"
    left, count = _without_documents(text, meant)
    if count and left.strip():
        durable.replace(path, gzip.compress(left.encode()) if packed else left.encode())
    elif count:
        _unlink(path)
    return count, "document"


def _without_documents(text: str, meant: Forgotten) -> tuple[str, int]:
    """A file's text without what is forgotten: one document, or one a line. And how many documents lost something."""
    whole = _parsed(text)
    if whole is not None:
        left = _document(whole, meant)
        if left is whole:
            return text, 0
        return ("", 1) if left is None else (json.dumps(left, ensure_ascii=False, indent=1) + "\n", 1)
    kept: list[str] = []
    count = of_others = 0
    for line in re.split("(?<=\n)", text):  # a document may hold what else ends a line in Unicode
        if not line.strip():
            kept.append(line)
            continue
        document = _parsed(line) if line.lstrip().startswith("{") else None
        left = document if document is None else _document(document, meant)
        if left is not document:
            count += 1
            kept += [] if left is None else [json.dumps(left, ensure_ascii=False) + "\n"]
            continue
        of_others += document is None or _schema(document) != _ERROR
        kept.append(line)
    # An error repeats what it did not understand, and says not whose it was.
    if count and meant.everything and not of_others:
        kept = []
    return "".join(kept), count


def _document(document: dict[str, Any], meant: Forgotten) -> dict[str, Any] | None:
    """A document without what is forgotten: the same object where it holds nothing of it, None where nothing is left.

    Receipts stay: they are what a person has to show.
    """
    schema = _schema(document)
    if not schema.startswith("llm4rec.") or schema == _RECEIPT:
        return document
    if document.get("user") != meant.user:
        cleared: dict[str, Any] = without_samples(document, meant.user) if meant.everything else document
        return cleared
    if meant.everything:
        return None
    events = document.get("events")
    if schema == _PROFILE and isinstance(events, list):
        there = [event for event in events if isinstance(event, dict) and event.get("id") not in meant.events]
        left = [_without_message(event, meant) for event in there]
        return document if left == events else {**document, "events": left}
    return None if meant.within(document) else document


def _without_message(event: dict[str, Any], meant: Forgotten) -> dict[str, Any]:
    """An exported event without a message that goes."""
    message = event.get("message")
    if isinstance(message, str) and meant.in_text(message):
        return {name: value for name, value in event.items() if name != "message"}
    return event


def _schema(document: dict[str, Any]) -> str:
    """The form of a document, without its version."""
    name, slash, _ = str(document.get("schema", "")).partition("/")
    return name + slash


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _forget_in_page(path: Path, meant: Forgotten) -> int:
    """Notes of a report that show rows of the data which name the user lose these rows."""
    if not meant.everything or not _holds(path, [SAMPLES.encode()]):
        return 0
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return 0  # no page of this program's
    count = 0

    def cleared(note: re.Match[str]) -> str:
        nonlocal count
        shown = html.unescape(note.group())
        count += without_samples(shown, meant.user) != shown
        return note.group() if without_samples(shown, meant.user) == shown else ""

    text = re.sub(re.escape(SAMPLES) + "[^<]*", cleared, text)
    if count:
        durable.replace(path, text.encode())
    return count


def _forget_in_history(path: Path, meant: Forgotten) -> int:
    """Rows taken out of a history that was imported for the user; with all of the user the file goes."""
    if not any(name.startswith(IMPORTED) for name in meant.events):
        return 0  # spares reading tables of others
    ids = history_ids(path, meant.user)
    gone = {place for place, name in ids.items() if name in meant.events}
    if not gone:
        return 0
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.reader(file))
    header = next(row for row in rows if any(cell.strip() for cell in row))
    names = {cell.strip().lower() for cell in header}
    if meant.everything and names <= set(HISTORY_COLUMNS):
        _unlink(path)
        return len(ids)
    out = io.StringIO(newline="")
    csv.writer(out, lineterminator="\n").writerows(row for place, row in enumerate(rows) if place not in gone)
    durable.replace(path, out.getvalue().encode())
    return len(gone)


def _forget_in_fold(path: Path, meant: Forgotten) -> int:
    """Rows taken out of a table that a replay exported."""
    exported = any((folder / "fold.json").exists() for folder in (path.parent, path.parent.parent))
    if not exported or meant.statement is not None:
        return 0
    try:
        schema = pl.read_parquet_schema(path)
        if schema.get("user") != pl.String or (meant.item is not None and "item" not in schema):
            return 0
        frame = pl.read_parquet(path)
        gone = pl.col("user") == meant.user
        left = frame.filter(~(gone if meant.item is None else gone & (pl.col("item") == meant.item)))
    except pl.exceptions.PolarsError as error:
        mend = "delete it, or export the folds again"
        raise UserError(f"{path} is damaged ({one_line(str(error), 120)}): {mend}") from error
    if left.height < frame.height:
        buffer = io.BytesIO()
        left.write_parquet(buffer)
        durable.replace(path, buffer.getvalue())
    return frame.height - left.height


def _holds(path: Path, sought: list[bytes]) -> bool:
    """Whether a file holds one of some byte strings, read as far as needed."""
    if not sought or path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return any(content.find(one) >= 0 for one in sought)


def _is_file(path: Path) -> bool:
    return path.is_file() and not path.is_symlink()


def _unlink(path: Path) -> None:
    path.unlink()
    durable.sync(path.parent)
