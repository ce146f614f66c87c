"""Writes a mapping file by looking at the tables of a folder, for a person to correct.

Columns are recognised by their names first and by their values second; what is not recognised is left out with a
comment that says why. Only the first rows of each table are looked at.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ...errors import UserError
from ..items import CORE_COLUMNS
from ..problems import Problems
from .clean import missing, written_list
from .files import format_of, records
from .mapping import MAPPING_FILE
from .raw import data_folder
from .table import IMAGE_FOLDERS

#: Rows looked at in each table.
SAMPLE = 1000

_NAMES: Mapping[str, str] = {
    "user": r"(user|reviewer|customer|visitor|member|account|session|person|reader|listener|client)(_?id)?|uid|u",
    "item": r"(item|product|movie|film|business|book|article|track|song|artist|recipe|game|asin|sku|isbn|parent_asin"
    r"|news|video|course|job|hotel|restaurant|show|anime)(_?id)?|iid|id|i",
    "value": r"ratings?|score|stars?|overall|value|grade|r",
    "time": r"time_?stamp|time|date|date_?time|ts|unix_?review_?time|(created|event|review|rating)_?(at|time|date)|t",
    "order": r"order|position|sequence|seq|step",
    "title": r"title|name|(item|product|movie|film|book|article|track|song|recipe|game)_?(name|title)|headline",
    "description": r"description|desc|overview|plot|summary|abstract|synopsis|about|details|content|body|text",
    "image": r"image|photo|poster|picture|cover|(image|photo|poster|picture|cover)_?(file|name|path|filename)",
}
_NUMBER = re.compile(r"[^\w\s+-]?\s*[-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?:\s*[A-Za-z%]{1,4})?")
_ISO = re.compile(r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2}(?:\.\d+)?)?(?:Z|[+-]\d{2}:?\d{2})?)?")


@dataclass(frozen=True)
class _Column:
    """What the first rows say of a column. ``values`` are the ones that say something."""

    name: str
    values: tuple[Any, ...]
    rows: int

    @property
    def texts(self) -> tuple[str, ...]:
        return tuple(str(value) for value in self.values)

    def is_named(self, role: str) -> bool:
        snake = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", self.name).strip().lower().replace(" ", "_").replace("-", "_")
        return re.fullmatch(_NAMES[role], snake) is not None

    @property
    def identifies(self) -> bool:
        """Every row has another value."""
        return len(self.values) == self.rows and len(set(self.texts)) == self.rows

    @property
    def numeric(self) -> bool:
        return bool(self.values) and _share(self.values, _is_number) >= 0.95


@dataclass(frozen=True)
class _Table:
    """A table and its columns."""

    path: Path
    columns: tuple[_Column, ...]

    def named(self, role: str, taken: Sequence[str] = ()) -> _Column | None:
        return next((c for c in self.columns if c.name not in taken and c.is_named(role)), None)

    def column(self, name: str) -> _Column | None:
        return next((c for c in self.columns if c.name == name), None)


def propose_mapping(data: Path) -> str:
    """The text of a mapping file for the tables of a folder.

    Raises:
        UserError: the folder is missing or empty; no table looks like a log (a user's and an item's column), or none
            like the items.
    """
    data = data_folder(data)
    tables, unread = _tables(data)
    log = _log_table(tables, data)
    user = log.named("user")
    assert user is not None  # _log_table looked for it
    items, item_id, item = _items_table(tables, log, user.name, data)
    lines = [
        f"# Proposed from the first {SAMPLE} rows of each table. Correct what is wrong.",
        f"name = {_q(data.name)}",
    ]
    lines += ["", "[items]", *_items_lines(items, item_id)]
    sides = [t for t in tables if t not in (log, items) and t.column(item_id.name) and t.named("user") is None]
    for side in sides:
        lines += ["", "[[side]]", *_side_lines(side, item_id)]
    lines += ["", "[interactions]", *_log_lines(log, user.name, item)]
    folder = next((name for name in IMAGE_FOLDERS if (data / name).is_dir()), None)
    if folder:
        lines += ["", "[images]", f"folder = {_q(folder)}"]
    ignored = [t.path.name for t in tables if t not in (log, items, *sides)]
    lines += [f"# left out: {name} (no column joins it to the items)" for name in ignored]
    lines += [f"# left out: {note}" for note in unread]
    return "\n".join(lines) + "\n"


def _tables(data: Path) -> tuple[list[_Table], list[str]]:
    """The tables of the folder, largest first, and one line for each file that cannot be read."""
    tables, unread = [], []
    files = [path for path in data.iterdir() if path.is_file() and not path.is_symlink() and format_of(path)]
    for path in sorted(files, key=lambda p: (-p.stat().st_size, p.name)):
        try:
            rows = [record for _, record in islice(records(path, Problems()), SAMPLE)]
        except UserError as error:
            unread.append(" ".join(str(error).replace(str(path), path.name).split()))
            continue
        names = dict.fromkeys(name for row in rows for name in row)
        columns = [
            _Column(name, tuple(row[name] for row in rows if not _empty(row.get(name))), len(rows)) for name in names
        ]
        tables.append(_Table(path, tuple(columns)))
    return tables, unread


def _log_table(tables: list[_Table], data: Path) -> _Table:
    logs = [t for t in tables if (user := t.named("user")) and not user.identifies]
    if not logs:
        raise UserError(f"{data} has no table with a user's column and an item's: {_write_one(tables)}")
    # A users' table has a user's column too; the log is the one with an item's column, else the largest.
    return next((t for t in logs if _item_columns(t)), logs[0])


def _item_columns(table: _Table) -> list[_Column]:
    user = table.named("user")
    return [c for c in table.columns if c is not user and c.is_named("item") and not c.identifies]


def _items_table(tables: list[_Table], log: _Table, user: str, data: Path) -> tuple[_Table, _Column, str]:
    """The items' table, its id column, and the log's column that holds that id."""
    others = [t for t in tables if t is not log]
    in_log = [c for c in log.columns if c.name != user]
    by_name = [
        (t, c, c.name) for t in others for c in t.columns if c.identifies and any(c.name == o.name for o in in_log)
    ]
    by_role = [
        (t, c, o.name)
        for t in others
        for c in t.columns
        if c.identifies and c.is_named("item")
        for o in _item_columns(log)
    ]
    found = [(t, c, name) for t, c, name in (*by_name, *by_role) if t.named("user") is None]
    if not found:
        raise UserError(f"{data} has a log, {log.path.name}, but no table of its items: {_write_one(tables)}")
    return next((entry for entry in found if entry[0].named("title", (entry[1].name,))), found[0])


def _items_lines(table: _Table, item_id: _Column) -> list[str]:
    lines = [f"file = {_q(table.path.name)}", f"id = {_q(item_id.name)}"]
    taken = [item_id.name]
    for role in ("title", "description", "image"):
        column = table.named(role, taken)
        if column is not None and (column.values or role == "title"):
            taken.append(column.name)
            lines.append(f"{role} = {_q(column.name)}")
        elif role == "title":
            lines.append("# no column looks like a title: items are called by their id")
    return [*lines, *_attribute_lines("items", table, taken)]


def _side_lines(table: _Table, item_id: _Column) -> list[str]:
    lines = [f"file = {_q(table.path.name)}", f"id = {_q(item_id.name)}"]
    taken = [item_id.name]
    description = table.named("description", taken)
    if description is not None and description.values:
        taken.append(description.name)
        lines.append(f"description = {_q(description.name)}")
    return [*lines, *_attribute_lines("side", table, taken)]


def _attribute_lines(section: str, table: _Table, taken: Sequence[str]) -> list[str]:
    kept, out = [], []
    for column in table.columns:
        if column.name in taken:
            continue
        kind, why = _kind(column)
        if kind is None:
            out.append(f"# left out: {json.dumps(column.name, ensure_ascii=False)} ({why})")
            continue
        name = _attribute_name(column.name)
        source = "" if name == column.name else f", column = {_q(column.name)}"
        kept.append(f"{_key(name)} = {{ {kind}{source} }}")
    return [*out, *(["", f"[{section}.attributes]", *kept] if kept else [])]


def _kind(column: _Column) -> tuple[str | None, str]:
    """The mapping's words for a column's kind; else None and why it is left out."""
    values = column.values
    if not values:
        return None, "empty"
    if all(isinstance(value, list) for value in values):
        return 'kind = "labels"', ""
    if any(isinstance(value, dict | list) for value in values):
        return None, "nested"
    if column.numeric:
        return 'kind = "number"', ""
    texts = column.texts
    mean = sum(map(len, texts)) / len(texts)
    if mean <= 200 and _share(texts, lambda text: written_list(text) is not None) >= 0.9:
        return 'kind = "labels"', ""
    for separator, least in (("|", 0.1), (";", 0.1), (",", 0.3)):
        pieces = [piece.strip() for text in texts for piece in text.split(separator)]
        split = _share(texts, lambda text, mark=separator: mark in text)
        short = sum(map(len, pieces)) / len(pieces) <= 30
        if split >= least and short and len(set(pieces)) <= max(0.6 * len(pieces), 10):
            return f'kind = "labels", separator = {_q(separator)}', ""
    if mean > 60:
        return None, "long text"
    if len(set(texts)) > max(0.8 * len(texts), 10):
        return None, "nearly every row has another value"
    return 'kind = "label"', ""


def _log_lines(log: _Table, user: str, item: str) -> list[str]:
    lines = [f"file = {_q(log.path.name)}", f"user = {_q(user)}", f"item = {_q(item)}"]
    taken = [user, item]
    value = log.named("value", taken)
    if value is not None and value.numeric:
        taken.append(value.name)
        lines.append(f"value = {_q(value.name)}")
    else:
        lines.append("# no column looks like a rating: every row counts as a positive event")
    time = log.named("time", taken)
    unit = _time_unit(time) if time is not None else None
    if time is not None and unit is not None:
        taken.append(time.name)
        lines += [f"time = {_q(time.name)}", f"time_unit = {_q(unit)}"]
    order = log.named("order", taken)
    if order is not None and order.numeric:
        taken.append(order.name)
        lines.append(f"order = {_q(order.name)}")
    lines += [f"# left out: {_q(c.name)}" for c in log.columns if c.name not in taken]
    return lines


def _time_unit(column: _Column) -> str | None:
    """Unit of a column of times, by its size; ``text`` for ISO dates; None when it holds no times."""
    if column.numeric:
        largest = max(float(text) for text in column.texts if _is_plain_number(text))
        units = ((1e17, "ns"), (1e14, "us"), (1e11, "ms"), (1e8, "s"))
        return next((unit for least, unit in units if largest >= least), None)
    iso = _share(column.texts, lambda text: _ISO.fullmatch(text.strip()) is not None)
    return "text" if column.values and iso >= 0.95 else None


def _share(values: Sequence[Any], holds: Any) -> float:
    return sum(1 for value in values if holds(value)) / max(len(values), 1)


def _is_number(value: Any) -> bool:
    if isinstance(value, bool):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and _NUMBER.fullmatch(value.strip()) is not None)


def _is_plain_number(text: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", text.strip()) is not None


def _empty(value: Any) -> bool:
    return value is None or value == [] or (isinstance(value, str) and missing(value))


def _attribute_name(column: str) -> str:
    name = re.sub(r"[^\w]+", "_", column.strip().lower()).strip("_") or "attribute"
    return f"{name}_" if name in CORE_COLUMNS else name


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _q(name)


def _q(text: str) -> str:
    """A TOML string. JSON's escapes are all TOML's; DEL alone must be escaped by hand."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _write_one(tables: list[_Table]) -> str:
    seen = "; ".join(f"{t.path.name} ({', '.join(c.name for c in t.columns)})" for t in tables) or "no table"
    return f"write a {MAPPING_FILE} beside them (docs/data-formats.md). Found: {seen}"
