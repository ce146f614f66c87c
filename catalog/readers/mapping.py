"""Any tables, by a small mapping file: which file and column says what (``llm4rec.toml``)."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from ...errors import UserError
from ..items import AttributeKind, AttributeValue
from ..problems import Problems
from .assembly import assemble
from .clean import labels, missing, number, plain, split_labels
from .files import Record, format_of, header, parquet_columns, records, require
from .judge import LogColumns, TimeUnit
from .log import LogReader
from .raw import Progress, RawData, inside
from .table import ItemTable

#: Name of the mapping file looked for in a data folder.
MAPPING_FILE = "llm4rec.toml"


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AttributeMap(_Strict):
    """One attribute."""

    kind: AttributeKind
    column: str | None = Field(default=None, description="null: the column has the attribute's own name")
    separator: str = Field(default=",", min_length=1, description="between labels of one field")


class TableMap(_Strict):
    """A table with an id column."""

    file: str
    id: str
    separator: str | None = Field(default=None, min_length=1, max_length=1, description="between the columns of a CSV")
    columns: tuple[str, ...] | None = Field(default=None, description="column names of a CSV with no header")
    attributes: dict[str, AttributeMap] = Field(default_factory=dict)


class SideMap(TableMap):
    """A further table about the items, joined by id."""

    description: str | None = None


class ItemsMap(SideMap):
    """The items."""

    title: str | None = Field(default=None, description="null: items are called by their id")
    image: str | None = Field(default=None, description="column with the picture's file name; null: its stem is the id")


class InteractionsMap(_Strict):
    """The log."""

    file: str
    user: str
    item: str
    value: str | None = None
    time: str | None = None
    order: str | None = None
    time_unit: TimeUnit = "s"
    low: float | None = None
    high: float | None = None
    separator: str | None = Field(default=None, min_length=1, max_length=1)
    columns: tuple[str, ...] | None = None


class ImagesMap(_Strict):
    """Where pictures are."""

    folder: str


class DataMap(_Strict):
    """A whole mapping file."""

    name: str | None = None
    items: ItemsMap
    interactions: InteractionsMap
    side: tuple[SideMap, ...] = ()
    users: TableMap | None = None
    images: ImagesMap | None = None


def load_mapping(path: Path) -> DataMap:
    """Read a mapping file.

    Raises:
        UserError: it is missing, no TOML, or has a wrong or unknown entry.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise UserError(f"mapping file {path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"mapping file {path} cannot be read: {error}") from None
    return parse_mapping(text, str(path))


def parse_mapping(text: str, source: str) -> DataMap:
    """Read a mapping from its text; ``source`` names it in errors. Raises UserError as `load_mapping`."""
    try:
        return DataMap.model_validate(tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{source} is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{source}: entry {where!r}: {first['msg']}; docs/data-formats.md lists the entries") from None


def read_mapped(root: Path, mapping: DataMap, progress: Progress, scratch: Path | None) -> RawData:
    """Read tables as the mapping says.

    Raises:
        UserError: a file or column is missing, a file leaves the folder, or over 1 % of a file's rows are bad.
    """
    problems = Problems()
    kinds: dict[str, AttributeKind] = {}
    for table_map in (mapping.items, *mapping.side):
        for name, attribute in table_map.attributes.items():
            if kinds.setdefault(name, attribute.kind) != attribute.kind:
                raise UserError(f"attribute {name!r} is mapped as {kinds[name]} and as {attribute.kind}: choose one")
    table = ItemTable(kinds, problems)
    sides = [_Side(root, side, problems, progress) for side in mapping.side]
    _read_items(root, mapping.items, sides, table, problems, progress)
    for side in sides:
        side.check(table)
    users = None if mapping.users is None else _read_users(root, mapping.users, problems, progress)
    return assemble(
        root,
        "mapping",
        table,
        problems,
        lambda log: _read_log(root, mapping.interactions, log),
        progress=progress,
        scratch=scratch,
        name=mapping.name,
        users=users,
        images=mapping.images.folder if mapping.images else None,
    )


class _Side:
    """A side table in memory: what it says of each item."""

    def __init__(self, root: Path, side: SideMap, problems: Problems, progress: Progress) -> None:
        self._path = inside(root, side.file)
        self._problems = problems
        self._facts: dict[str, tuple[int, str, Mapping[str, AttributeValue | None]]] = {}
        wanted = [side.description] if side.description else []
        for line, item, record in _rows(self._path, side, wanted, problems, progress):
            if item in self._facts:
                problems.settle(f"further rows of {self._path.name} for an item that has one, left out")
                continue
            description = _text(record.get(side.description)) if side.description else ""
            self._facts[item] = (line, description, _attributes(record, side, problems))

    def of(self, item: str) -> tuple[str, Mapping[str, AttributeValue | None]]:
        _, description, attributes = self._facts.get(item, (0, "", {}))
        return description, attributes

    def check(self, table: ItemTable) -> None:
        """Rows about items that do not exist are bad rows."""
        for item, (line, _, _) in self._facts.items():
            if item not in table.ids:
                self._problems.bad("unknown item", self._path.name, line, item)
        self._problems.check(len(self._facts), self._path.name)


def _read_items(
    root: Path, items: ItemsMap, sides: list[_Side], table: ItemTable, problems: Problems, progress: Progress
) -> None:
    path = inside(root, items.file)
    wanted = [name for name in (items.title, items.description, items.image) if name]
    good = 0
    for _, item, record in _rows(path, items, wanted, problems, progress):
        good += 1
        description = _text(record.get(items.description)) if items.description else ""
        attributes = _attributes(record, items, problems)
        for side in sides:
            more, others = side.of(item)
            description = description or more
            attributes.update((name, value) for name, value in others.items() if attributes.get(name) is None)
        table.add(
            item,
            _plain(record.get(items.title)) if items.title else item,
            description,
            attributes,
            image=(_text(record.get(items.image)) or None) if items.image else None,
        )
    problems.check(good + problems.bad_in(path.name), path.name)


def _read_users(root: Path, users: TableMap, problems: Problems, progress: Progress) -> pl.DataFrame:
    path = inside(root, users.file)
    rows: dict[str, dict[str, AttributeValue | None]] = {}
    for _, user, record in _rows(path, users, [], problems, progress):
        rows.setdefault(user, _attributes(record, users, problems))
    problems.check(len(rows) + problems.bad_in(path.name), path.name)
    types: dict[AttributeKind, pl.DataType] = {
        "number": pl.Float64(), "label": pl.String(), "labels": pl.List(pl.String())
    }  # fmt: skip
    columns = {"user": pl.Series("user", list(rows), dtype=pl.String)}
    for name, attribute in users.attributes.items():
        values = [list(v) if isinstance(v := row[name], tuple) else v for row in rows.values()]
        columns[name] = pl.Series(name, values, dtype=types[attribute.kind])
    return pl.DataFrame(columns)


def _read_log(root: Path, given: InteractionsMap, log: LogReader) -> None:
    columns = LogColumns(
        user=given.user,
        item=given.item,
        value=given.value,
        time=given.time,
        order=given.order,
        time_unit=given.time_unit,
        low=given.low,
        high=given.high,
    )
    path = _table(root, given.file)
    log.read(path, columns, separator=given.separator, names=given.columns)


def _rows(
    path: Path, table: TableMap, wanted: list[str], problems: Problems, progress: Progress
) -> Iterator[tuple[int, str, Record]]:
    """(line, id, values) of each row with an id."""
    _table(path.parent, path.name)
    wanted = [table.id, *wanted, *(spec.column or name for name, spec in table.attributes.items())]
    form = format_of(path)
    if form == "csv":
        require(path, table.columns or header(path, table.separator)[0], wanted)
    elif form == "parquet":
        require(path, parquet_columns(path), wanted)
    seen: dict[str, None] = {}
    for line, record in records(path, problems, separator=table.separator, names=table.columns, progress=progress):
        if form == "jsonl":
            seen.update(dict.fromkeys(record))
        item = _id(record.get(table.id))
        if item:
            yield line, item, record
        else:
            problems.bad(f"no {table.id}", path.name, line, str(record))
    # A key may be absent from some JSON objects, but not from all.
    if seen:
        require(path, list(seen), wanted)


def _table(root: Path, name: str) -> Path:
    path = inside(root, name)
    if format_of(path) is None:
        raise UserError(f"{path} is no table: a name ending in .csv, .tsv, .jsonl or .parquet is expected")
    if not path.is_file():
        raise UserError(f"{path} does not exist: correct its name in the mapping")
    return path


def _attributes(record: Record, table: TableMap, problems: Problems) -> dict[str, AttributeValue | None]:
    return {
        name: _attribute(record.get(spec.column or name), name, spec, problems)
        for name, spec in table.attributes.items()
    }


def _attribute(value: Any, name: str, spec: AttributeMap, problems: Problems) -> AttributeValue | None:
    if value is None or (isinstance(value, str) and missing(value)):
        return None
    if spec.kind == "number":
        real = float(value) if isinstance(value, int | float) else number(str(value))
        if real is not None and math.isfinite(real):
            return real
        problems.settle(f"values of {name} that are no number, left out")
        return None
    if spec.kind == "labels":
        return labels(map(str, value)) if isinstance(value, list) else split_labels(str(value), spec.separator)
    return _text(value) or None


def _plain(value: Any) -> str:
    if value is None:
        return ""
    return plain(" ".join(map(str, value)) if isinstance(value, list) else str(value))


def _text(value: Any) -> str:
    text = _plain(value)
    return "" if missing(text) else text


def _id(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value).strip()
