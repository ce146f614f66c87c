"""Who met what: interaction files of any size, read in bounded pieces, judged row by row, kept as Parquet parts."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from ...errors import UserError
from ..problems import SHOWN, Problems
from .files import chunks, format_of, header, json_records, parquet_columns, parquet_frames, require
from .judge import FIELDS, PER_SECOND, LogColumns, judge
from .raw import INTERACTIONS, Progress, no_progress

#: Rows parsed at a time where rows are read one by one.
BATCH = 200_000


@dataclass
class LogReader:
    """Reads interaction files of one data set against its items.

    Attributes:
        item_ids: every item of the catalogue; a row with another item is bad.
        problems: bad rows are counted here.
        folder: where the Parquet parts are written.
    """

    item_ids: pl.Series
    problems: Problems
    folder: Path
    progress: Progress = no_progress
    _parts: list[Path] = field(default_factory=list)
    _good: int = 0

    def __post_init__(self) -> None:
        self._items = self.item_ids.alias("item").to_frame().lazy().with_columns(known=pl.lit(True))

    def read(
        self,
        path: Path,
        columns: LogColumns,
        *,
        separator: str | None = None,
        names: Sequence[str] | None = None,
    ) -> None:
        """Read a CSV, TSV, JSON lines or Parquet file (by its name).

        Args:
            separator: of a text file; None = guessed from its first line.
            names: columns of a text file with no header.

        Raises:
            UserError: it cannot be read, lacks a column, or more than 1 % of its rows are bad.
        """
        form = format_of(path)
        if form == "csv":
            found, separator = header(path, separator)
            skip = 1 if names is None else 0
            self.read_delimited(path, columns, names=names or found, separator=separator, skip=skip)
        elif form == "jsonl":
            self._read_json(path, columns)
        else:
            require(path, parquet_columns(path), columns.names)
            self._read_parquet(path, columns)

    def read_delimited(
        self,
        path: Path,
        columns: LogColumns,
        *,
        names: Sequence[str],
        separator: str,
        skip: int = 0,
        quotes: bool = True,
    ) -> None:
        """Read a text file of ``names`` columns between separators.

        Args:
            skip: header lines at the top that are not data.
            quotes: fields may stand between double quotes (a quoted field may not hold a line break here).

        Raises:
            UserError: as `read`.
        """
        require(path, names, columns.names)
        layout = _Layout(
            width=len(names),
            places={what: None if name is None else names.index(name) for what, name in columns.by_field.items()},
            separator=separator,
            quotes=quotes,
        )
        total = 0
        for first, text in chunks(path, self.problems, progress=self.progress):
            frame = _split(text, first, layout)
            if skip:
                frame, skip = frame.slice(skip), 0
            total += frame.height
            self._take(path.name, frame, columns)
        self.problems.check(total, path.name)

    def finish(self) -> pl.LazyFrame:
        """All good rows, in file order, with the columns of `INTERACTIONS`.

        Raises:
            UserError: there are none.
        """
        if not self._good:
            raise UserError("the data holds no interaction: a log of who met what is needed")
        return pl.scan_parquet(self._parts).select(INTERACTIONS.keys())

    def _read_json(self, path: Path, columns: LogColumns) -> None:
        total = 0
        for batch in self._json_batches(path, columns):
            total += batch.height
            self._take(path.name, batch, columns)
        self.problems.check(total, path.name)

    def _json_batches(self, path: Path, columns: LogColumns) -> Iterator[pl.DataFrame]:
        schema = {"line": pl.UInt64, "text": pl.String, "fault": pl.String, **dict.fromkeys(FIELDS, pl.String)}
        rows: list[tuple[Any, ...]] = []
        wanted, seen, keys = set(columns.names), set[str](), dict[str, None]()

        def failed(kind: str, line: int, text: str) -> None:
            rows.append((line, text, kind, None, None, None, None, None))

        for line, record in json_records(path, self.problems, progress=self.progress, failed=failed):
            if len(seen) < len(wanted):
                seen.update(wanted & record.keys())
                keys.update(dict.fromkeys(record))
            values = (None if name is None else _text_of(record.get(name)) for name in columns.by_field.values())
            rows.append((line, None, None, *values))
            if len(rows) >= BATCH:
                yield pl.DataFrame(rows, schema=schema, orient="row")
                rows.clear()
        if rows:
            yield pl.DataFrame(rows, schema=schema, orient="row")
        if keys:
            require(path, list(keys), columns.names)

    def _read_parquet(self, path: Path, columns: LogColumns) -> None:
        total = 0
        for frame, _ in parquet_frames(path, columns.names):
            picked = _times_as_text(frame, columns).select(
                pl.int_range(total + 1, total + 1 + frame.height, dtype=pl.UInt64).alias("line"),
                pl.lit(None, dtype=pl.String).alias("text"),
                pl.lit(None, dtype=pl.String).alias("fault"),
                *(
                    (pl.lit(None, dtype=pl.String) if name is None else _as_text(frame, name)).alias(what)
                    for what, name in columns.by_field.items()
                ),
            )
            total += frame.height
            self._take(path.name, picked, columns)
        self.problems.check(total, path.name)

    def _take(self, file: str, frame: pl.DataFrame, columns: LogColumns) -> None:
        """Judge rows (line, text, fault and the five fields as text); keep the good ones."""
        judged = judge(frame.lazy(), self._items, columns).collect()
        bad = judged.filter(pl.col("fault").is_not_null())
        if bad.height:
            for (kind,), rows in bad.sort("line").group_by("fault", maintain_order=True):
                shown = rows.head(SHOWN).select("line", pl.coalesce("text", _row_text())).rows()
                self.problems.bad_many(str(kind), file, rows.height, shown)
        good = judged.filter(pl.col("fault").is_null()).select(INTERACTIONS.keys())
        if good.height:
            part = self.folder / f"log-{len(self._parts):05}.parquet"
            good.write_parquet(part, compression="lz4")
            self._parts.append(part)
            self._good += good.height


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a text file's lines are cut: ``width`` columns, and at which place each field stands (None = absent)."""

    width: int
    places: dict[str, int | None]
    separator: str
    quotes: bool

    @property
    def wrong(self) -> str:
        return f"wrong number of columns ({self.width} expected)"


def _split(text: str, first: int, layout: _Layout) -> pl.DataFrame:
    """Lines of a text as (line, text, fault, the five fields). Blank lines are no rows."""
    lines = pl.DataFrame({"text": pl.Series([text], dtype=pl.String).str.split("\n").explode()})
    lines = lines.with_columns(pl.int_range(first, first + pl.len(), dtype=pl.UInt64).alias("line"))
    lines = lines.filter(pl.col("text").str.strip_chars(" \t") != "").select("line", "text")
    if not layout.quotes or '"' not in text:
        return _cut(lines, layout)
    held = pl.col("text").str.contains('"', literal=True)
    return pl.concat([_cut(lines.filter(~held), layout), _cut_quoted(lines.filter(held), layout)]).sort("line")


def _cut(lines: pl.DataFrame, layout: _Layout) -> pl.DataFrame:
    # One piece more than there are columns: it holds what a line has too many.
    pieces = pl.col("text").str.splitn(layout.separator, layout.width + 1)

    def piece(place: int) -> pl.Expr:
        return pl.col("pieces").struct.field(f"field_{place}")

    wrong = piece(layout.width).is_not_null() | piece(layout.width - 1).is_null()
    return lines.with_columns(pieces=pieces).select(
        "line",
        "text",
        pl.when(wrong).then(pl.lit(layout.wrong)).alias("fault"),
        *(
            (pl.lit(None, dtype=pl.String) if place is None else piece(place)).alias(what)
            for what, place in layout.places.items()
        ),
    )


def _cut_quoted(lines: pl.DataFrame, layout: _Layout) -> pl.DataFrame:
    rows: list[tuple[Any, ...]] = []
    for line, text in lines.iter_rows():
        fault, row = layout.wrong, list[str]()
        try:
            row = next(csv.reader([text], delimiter=layout.separator, strict=True))
        except csv.Error as error:
            fault = f"broken quotes ({error})"
        if len(row) == layout.width:
            rows.append((line, text, None, *(None if p is None else row[p] for p in layout.places.values())))
        else:
            rows.append((line, text, fault, None, None, None, None, None))
    schema = {"line": pl.UInt64, "text": pl.String, "fault": pl.String, **dict.fromkeys(layout.places, pl.String)}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _times_as_text(frame: pl.DataFrame, columns: LogColumns) -> pl.DataFrame:
    """Parquet may hold real date-times; as text they are in the form that `_seconds` reads."""
    if columns.time is None or not frame[columns.time].dtype.is_temporal():
        return frame
    dates = pl.col(columns.time).cast(pl.Datetime("us"))
    if columns.time_unit == "text":
        return frame.with_columns(dates.dt.strftime("%Y-%m-%d %H:%M:%S").alias(columns.time))
    return frame.with_columns((dates.dt.epoch("s") * PER_SECOND[columns.time_unit]).alias(columns.time))


def _row_text() -> pl.Expr:
    shown = ["user", "item", "raw_value", "raw_time", "raw_order"]
    return pl.concat_str([pl.col(name).cast(pl.String) for name in shown], separator=", ", ignore_nulls=True)


def _as_text(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A Parquet column as text; whole floats lose their ``.0``, as an id column with gaps has become floats."""
    column = pl.col(name)
    if not frame[name].dtype.is_float():
        return column.cast(pl.String)
    whole = (column == column.floor()) & (column.abs() < 2**53)
    return pl.when(whole).then(column.cast(pl.Int64, strict=False).cast(pl.String)).otherwise(column.cast(pl.String))


def _text_of(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
