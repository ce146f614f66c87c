"""Text files in bounded pieces: gzip, byte order marks and odd encodings are dealt with here, once."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Literal, cast

import polars as pl

from ...errors import UserError
from ..problems import Problems
from .raw import Progress, no_progress

#: Bytes read at a time; a line must be shorter.
CHUNK = 32 * 1024 * 1024
#: Parquet rows read at a time.
PARQUET_ROWS = 1_000_000
_BOM = b"\xef\xbb\xbf"

Format = Literal["csv", "jsonl", "parquet"]
Record = dict[str, Any]


def format_of(path: Path) -> Format | None:
    """How a table is written, by its name (a ``.gz`` at the end is looked through); None for no table."""
    suffixes = [s.lower() for s in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    last = suffixes[-1] if suffixes else ""
    if last in (".csv", ".tsv"):
        return "csv"
    if last in (".jsonl", ".ndjson", ".json"):
        return "jsonl"
    return "parquet" if last == ".parquet" else None


def chunks(
    path: Path, problems: Problems, *, size: int = CHUNK, progress: Progress = no_progress
) -> Iterator[tuple[int, str]]:
    """Whole lines in pieces of about ``size`` bytes: (1-based number of the first line, text, lines end in ``\\n``).

    A line that is not UTF-8 is read as Latin-1 and counted.

    Raises:
        UserError: the file is missing, cannot be read, is a damaged or truncated gzip, is UTF-16, or has a
            line longer than ``size``.
    """
    line = 1
    for block in _blocks(path, size, progress):
        text = _decode(block, path, problems)
        yield line, text
        line += block.count(b"\n")


def lines(path: Path, problems: Problems, *, progress: Progress = no_progress) -> Iterator[tuple[int, str]]:
    """(1-based number, line without its end) of every line that is not blank. Raises as `chunks`."""
    for first, text in chunks(path, problems, progress=progress):
        for offset, line in enumerate(text.split("\n")):
            if line and not line.isspace():
                yield first + offset, line


def records(
    path: Path,
    problems: Problems,
    *,
    separator: str | None = None,
    names: Sequence[str] | None = None,
    progress: Progress = no_progress,
) -> Iterator[tuple[int, Record]]:
    """Rows of a CSV, TSV, JSON lines or Parquet file as (1-based line, values by column name).

    CSV values are text; ``names`` are the columns of a CSV with no header. Rows that cannot be read are
    counted in ``problems`` and left out.

    Raises:
        UserError: as `chunks`; or the file has no header, is one JSON array, or is no Parquet.
    """
    form = format_of(path)
    if form == "parquet":
        return _parquet_records(path, progress)
    if form == "jsonl":
        return json_records(path, problems, progress=progress)
    return _csv_records(path, problems, separator, names, progress)


def json_records(
    path: Path,
    problems: Problems,
    *,
    progress: Progress = no_progress,
    failed: Callable[[str, int, str], None] | None = None,
) -> Iterator[tuple[int, Record]]:
    """Objects of a JSON lines file with their 1-based lines. Bad lines are counted, or handed to ``failed``."""

    def count(kind: str, line: int, text: str) -> None:
        problems.bad(kind, path.name, line, text)

    fail = failed or count
    for number, line in lines(path, problems, progress=progress):
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            if number == 1 and line.lstrip().startswith("["):
                raise _one_array(path) from None
            fail("JSON cut short or not JSON", number, line)
            continue
        if isinstance(value, dict):
            yield number, value
        elif number == 1 and isinstance(value, list):
            raise _one_array(path)
        else:
            fail("not a JSON object", number, line)


def header(path: Path, separator: str | None = None) -> tuple[list[str], str]:
    """Column names of a CSV file's first line and the separator, guessed from that line when None.

    Raises:
        UserError: the file is empty; or as `chunks`.
    """
    first = next((line for _, line in lines(path, Problems())), None)
    if first is None:
        raise UserError(f"{path} is empty: a first line with the column names is expected")
    if separator is None:
        separator = "\t" if ".tsv" in path.suffixes else max(",;\t|", key=first.count)
    names = next(csv.reader([first], delimiter=separator))
    return [name.strip() for name in names], separator


def require(path: Path, found: Sequence[str], wanted: Sequence[str]) -> None:
    """Raise a UserError that names the columns found and expected when one of ``wanted`` is absent."""
    absent = [name for name in wanted if name not in found]
    if absent:
        raise UserError(
            f"{path} has no column {', '.join(map(repr, absent))}: "
            f"expected {', '.join(wanted)}; found {', '.join(found)}"
        )


def _one_array(path: Path) -> UserError:
    return UserError(f"{path}:1: is one JSON array: write one JSON object on each line (JSON lines) instead")


def _blocks(path: Path, size: int, progress: Progress) -> Iterator[bytes]:
    rest, first = b"", True
    try:
        total = path.stat().st_size
        with path.open("rb") as raw:
            packed = path.suffix.lower() == ".gz"
            file: IO[bytes] = cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if packed else raw
            while block := file.read(size):
                if first:
                    if block.startswith((b"\xff\xfe", b"\xfe\xff")):
                        raise UserError(f"{path} is UTF-16: save it as UTF-8")
                    block, first = block.removeprefix(_BOM), False
                progress(f"reading {path.name}", raw.tell(), total)
                block = rest + block
                end = block.rfind(b"\n") + 1
                rest = block[end:]
                if len(rest) > size:
                    raise UserError(f"{path} has a line of more than {size // 2**20} MB: it is no table")
                if end:
                    yield block[:end]
    except gzip.BadGzipFile:
        raise UserError(f"{path} is not gzip, or a damaged one: fetch it again, or correct its name") from None
    except (EOFError, zlib.error):
        raise UserError(f"{path} is a gzip cut short or damaged: fetch it again") from None
    except FileNotFoundError:
        raise UserError(f"{path} does not exist") from None
    except IsADirectoryError:
        raise UserError(f"{path} is a folder: a file is expected") from None
    except PermissionError:
        raise UserError(f"{path} cannot be read: give yourself the right to read it") from None
    if rest:
        yield rest


def _decode(block: bytes, path: Path, problems: Problems) -> str:
    try:
        text = block.decode("utf-8")
    except UnicodeDecodeError:
        parts, odd = [], 0
        for line in block.split(b"\n"):
            try:
                parts.append(line.decode("utf-8"))
            except UnicodeDecodeError:
                parts.append(line.decode("latin-1"))
                odd += 1
        problems.settle(f"lines of {path.name} that are not UTF-8, read as Latin-1", odd)
        text = "\n".join(parts)
    return text.replace("\r\n", "\n").replace("\r", " ") if "\r" in text else text


def _ended_lines(path: Path, problems: Problems, progress: Progress) -> Iterator[str]:
    for _, text in chunks(path, problems, progress=progress):
        pieces = text.split("\n")
        if not pieces[-1]:
            pieces.pop()
        for piece in pieces:
            yield piece + "\n"


def _csv_records(
    path: Path, problems: Problems, separator: str | None, given: Sequence[str] | None, progress: Progress
) -> Iterator[tuple[int, Record]]:
    found, separator = header(path, separator)
    names = given or found
    # A field may be as long as a scraped description; Python's own limit is 128 KiB.
    csv.field_size_limit(CHUNK)
    reader = csv.reader(_ended_lines(path, problems, progress), delimiter=separator, strict=True)
    before, started = 0, given is not None
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            swallowed = max(reader.line_num - before, 1)
            problems.bad(f"broken quotes ({error})", path.name, before + 1, "", count=swallowed)
            before = reader.line_num
            continue
        start, before = before + 1, reader.line_num
        if not row:
            continue
        if not started:
            started = True
            continue
        if len(row) == len(names):
            yield start, dict(zip(names, row, strict=True))
        else:
            kind = f"wrong number of columns ({len(names)} expected)"
            problems.bad(kind, path.name, start, separator.join(row), count=before - start + 1)


def _parquet_records(path: Path, progress: Progress) -> Iterator[tuple[int, Record]]:
    row = 0
    for frame, total in parquet_frames(path):
        for record in frame.iter_rows(named=True):
            row += 1
            yield row, record
        progress(f"reading {path.name}", row, total)


def parquet_frames(path: Path, columns: Sequence[str] | None = None) -> Iterator[tuple[pl.DataFrame, int]]:
    """A Parquet file in frames of bounded height, each with the file's row count.

    Raises:
        UserError: no Parquet, or a damaged one.
    """
    try:
        scan = pl.scan_parquet(path) if columns is None else pl.scan_parquet(path).select(columns)
        total = int(scan.select(pl.len()).collect().item())
        for start in range(0, total, PARQUET_ROWS):
            yield scan.slice(start, PARQUET_ROWS).collect(), total
    except (pl.exceptions.ComputeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as Parquet ({reason}): write it again") from None


def parquet_columns(path: Path) -> list[str]:
    """Column names of a Parquet file. Raises UserError as `parquet_frames`."""
    try:
        return pl.scan_parquet(path).collect_schema().names()
    except (pl.exceptions.ComputeError, OSError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"{path} cannot be read as Parquet ({reason}): write it again") from None
