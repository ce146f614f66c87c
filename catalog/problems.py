"""What was wrong with the data, counted: no row is dropped without a count.

Two sorts are kept apart. A *bad row* could not be read (wrong number of columns, not a number, an item
nobody knows); more than one in a hundred of a file's rows stops the build. A *settled* case is ordinary
dirt that a stated rule decides (the same user and item twice, an item without an image).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from ..errors import UserError

#: Share of a file's rows that may be bad before reading stops.
LIMIT = 0.01
#: Bad rows of each kind that are kept to be shown.
SHOWN = 5
_TEXT = 100


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that could not be read. ``line`` is 1-based; for Parquet it is the row number."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text!r}"


@dataclass
class Problems:
    """Collects what is wrong while files are read."""

    _bad: Counter[tuple[str, str]] = field(default_factory=Counter)
    _first: dict[tuple[str, str], list[BadRow]] = field(default_factory=dict)
    _settled: Counter[str] = field(default_factory=Counter)

    def bad(self, kind: str, file: str, line: int, text: str, *, count: int = 1) -> None:
        """Count a row that cannot be read; the first few of each kind and file are kept.

        Args:
            kind: what is wrong with it, in words ("not a number").
            file: name of its file.
            line: 1-based line.
            text: the row, or its beginning.
            count: lines lost with it (an unclosed quote swallows several).
        """
        self.bad_many(kind, file, count, [(line, text)])

    def bad_many(self, kind: str, file: str, count: int, first: Iterable[tuple[int, str]]) -> None:
        """Count many at once; ``first`` are (line, text) in file order."""
        if count == 0:
            return
        self._bad[file, kind] += count
        shown = self._first.setdefault((file, kind), [])
        for line, text in first:
            if len(shown) == SHOWN:
                break
            shown.append(BadRow(file, line, text if len(text) <= _TEXT else text[: _TEXT - 1] + "…"))

    def settle(self, rule: str, count: int = 1) -> None:
        """Count cases that a stated rule decided. A count of 0 is not recorded."""
        if count:
            self._settled[rule] += count

    @property
    def counts(self) -> Mapping[str, int]:
        """Bad rows by kind, over all files."""
        total: Counter[str] = Counter()
        for (_, kind), count in self._bad.items():
            total[kind] += count
        return MappingProxyType(dict(total))

    @property
    def settled(self) -> Mapping[str, int]:
        """Cases decided by a rule, by rule."""
        return MappingProxyType(dict(self._settled))

    @property
    def first(self) -> Mapping[str, tuple[BadRow, ...]]:
        """The first few bad rows of each kind."""
        kinds: dict[str, tuple[BadRow, ...]] = {}
        for (_, kind), rows in self._first.items():
            kinds[kind] = (*kinds.get(kind, ()), *rows)[:SHOWN]
        return MappingProxyType(kinds)

    def bad_in(self, file: str | None = None) -> int:
        """How many rows are bad, in one file or in all."""
        return sum(count for (name, _), count in self._bad.items() if file in (None, name))

    def check(self, total: int, file: str | None = None) -> None:
        """Stop when more than one row in a hundred is bad.

        Args:
            total: rows looked at, good and bad.
            file: look at this file alone; None looks at all together.

        Raises:
            UserError: over the limit. Its message gives the counts, the first rows of each kind and the mend.
        """
        bad = self.bad_in(file)
        if bad <= LIMIT * total:
            return
        where = file or "the data"
        lines = [
            f"{where}: {bad:,} of {total:,} rows ({bad / max(total, 1):.1%}) cannot be read, more than "
            f"{LIMIT:.0%}: correct or remove these rows, or check that the columns are the ones meant"
        ]
        for (name, kind), count in self._bad.items():
            if file in (None, name):
                lines.append(f"  {kind}: {count:,}")
                lines.extend(f"    {row}" for row in self._first[name, kind])
        raise UserError("\n".join(lines))
