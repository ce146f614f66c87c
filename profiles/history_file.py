"""Histories from elsewhere: a CSV file with the columns ``item``, ``value`` and ``time``.

``item`` is an item id; ``value`` a rating, empty or absent where the item is known and nothing was said of it; ``time``
Unix seconds or an ISO 8601 date (UTC unless it says otherwise), empty or absent where unknown. Rows become events of
source ``imported``. Events count in the order they are appended, so a history belongs before the first conversation:
imported later, it overrides what was said of the same items before.
"""

from __future__ import annotations

import csv
import hashlib
import json
import math
import time
from collections.abc import Container, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from ..catalog.problems import Problems
from ..errors import UserError
from .events import LATEST_TIME, Event, first_problem, rating, seen
from .store import ProfileStore

HISTORY_COLUMNS: Final = ("item", "value", "time")
#: What the ids of imported events begin with.
IMPORTED: Final = "import:"
_NO_TIME: Final = "the time is neither Unix seconds nor an ISO 8601 date"


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did.

    Attributes:
        user: whose profile it went to.
        new: events that were added.
        known: events that were there already, or stood in the file twice.
        unused: columns of the file that were not used.
        problems: rows that were left out, counted by kind, with file and line of the first.
    """

    user: str
    new: int
    known: int
    unused: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


def import_history(
    store: ProfileStore,
    path: Path,
    user: str,
    *,
    known: Container[str] | None = None,
    now: float | None = None,
) -> Imported:
    """Add a history in CSV to a user's profile, all or nothing; doing it again adds nothing.

    Rows are appended by time; rows without one come last, in the order of the file, dated ``now``.

    Args:
        known: ids of the catalogue; a row about another item is a bad row. None takes any.
        now: Unix seconds; the clock's by default.

    Raises:
        UserError: the file cannot be read or has no column ``item``, or more than one row in a hundred is bad (the
            message names file and line).
    """
    problems = Problems()
    rows = _Rows(path, user, time.time() if now is None else now, known, problems)
    events = sorted(rows.events(), key=lambda pair: pair[0])
    problems.check(rows.total, path.name)
    new = store.append_many(event for _, event in events)
    left_out = tuple(f"{kind}: {count:,}, first {problems.first[kind][0]}" for kind, count in problems.counts.items())
    return Imported(user, new, len(events) - new, rows.unused, left_out)


def history_ids(path: Path, user: str) -> dict[int, str]:
    """The ids that the rows of a history have once it is imported for a user, whatever the catalogue.

    Returns:
        By the row's place in the file, from 0, the header and empty rows counted; without the rows that are bad, and
        nothing for a file that is no history.

    Raises:
        OSError: the file cannot be read.
    """
    rows, found = _Rows(path, user, 0.0, None, Problems()), dict[int, str]()
    header: list[str] | None = None
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for place, row in enumerate(csv.reader(file)):
                if not any(cell.strip() for cell in row):
                    continue
                if header is None:
                    header = [cell.strip().lower() for cell in row]
                    if "item" not in header:
                        return {}
                elif len(row) == len(header):
                    with suppress(_BadRow):
                        _, event = rows._event(dict(zip(header, map(str.strip, row), strict=True)))
                        found[place] = event.id
    except (UnicodeDecodeError, csv.Error):
        return {}
    return found


@dataclass
class _Rows:
    """Reads the rows of one history."""

    path: Path
    user: str
    now: float
    known: Container[str] | None
    problems: Problems
    total: int = 0
    unused: tuple[str, ...] = ()

    def events(self) -> Iterator[tuple[tuple[bool, float], Event]]:
        """Each good row's event and what to sort it by."""
        try:
            with self.path.open(encoding="utf-8-sig", newline="") as file:
                yield from self._parse(file)
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UserError(f"{self.path}: is not UTF-8 ({error.reason}): save it as UTF-8") from error

    def _parse(self, file: Iterable[str]) -> Iterator[tuple[tuple[bool, float], Event]]:
        reader = csv.reader(file, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                row = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                self.total += 1
                self._bad("not CSV", line, str(error), reader.line_num - line + 1)
                continue
            if not any(cell.strip() for cell in row):
                continue
            if header is None:
                header = self._header(row)
                continue
            self.total += 1
            if len(row) != len(header):
                self._bad(f"not {len(header)} columns", line, ",".join(row), reader.line_num - line + 1)
                continue
            cells = {name: cell.strip() for name, cell in zip(header, row, strict=True)}
            try:
                yield self._event(cells)
            except _BadRow as bad:
                self._bad(bad.args[0], line, ",".join(row))
        if header is None:
            raise UserError(f"{self.path}: is empty: the first line names the columns ({', '.join(HISTORY_COLUMNS)})")

    def _header(self, row: list[str]) -> list[str]:
        names = [cell.strip().lower() for cell in row]
        if "item" not in names:
            raise UserError(
                f"{self.path}:1: has the columns {', '.join(names)[:200]}: one must be named item; "
                "value and time may follow, separated by commas"
            )
        twice = sorted({name for name in names if name in HISTORY_COLUMNS and names.count(name) > 1})
        if twice:
            raise UserError(f"{self.path}:1: names {', '.join(twice)} twice: keep one of them")
        self.unused = tuple(name for name in names if name not in HISTORY_COLUMNS)
        return names

    def _bad(self, kind: str, line: int, text: str, count: int = 1) -> None:
        self.problems.bad(kind, self.path.name, line, text, count=max(count, 1))

    def _event(self, cells: dict[str, str]) -> tuple[tuple[bool, float], Event]:
        item = cells["item"]
        if not item:
            raise _BadRow("no item")
        if self.known is not None and item not in self.known:
            raise _BadRow("not an item of the catalogue")
        value = _number(cells["value"], "the value is not a number") if cells.get("value") else None
        said = _moment(cells["time"]) if cells.get("time") else None
        # The same row gives the same id whenever it is imported; one without a time is dated anew each time.
        key = json.dumps([self.user, item, value, said], ensure_ascii=True)
        name = f"{IMPORTED}{hashlib.sha256(key.encode()).hexdigest()[:32]}"
        at = self.now if said is None else said
        try:
            if value is None:
                event = seen(id=name, user=self.user, time=at, item=item, source="imported")
            else:
                event = rating(id=name, user=self.user, time=at, item=item, value=value, source="imported")
        except ValidationError as error:
            raise _BadRow(first_problem(error)) from error
        return (said is None, at if said is not None else 0.0), event


class _BadRow(Exception):
    """What is wrong with a row, in words."""


def _number(text: str, otherwise: str) -> float:
    try:
        number = float(text)
    except ValueError:
        raise _BadRow(otherwise) from None
    if not math.isfinite(number) or "_" in text:
        raise _BadRow(otherwise)
    return number + 0.0


def _moment(text: str) -> float:
    try:
        moment = datetime.fromisoformat(text) if "-" in text[1:] and "e" not in text.lower() else None
    except ValueError:
        raise _BadRow(_NO_TIME) from None
    if moment is None:
        seconds = _number(text, _NO_TIME)
    else:
        seconds = (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    if not 0.0 <= seconds <= LATEST_TIME:
        raise _BadRow("the time is not between 1970 and 9999 (are these milliseconds?)")
    return seconds
