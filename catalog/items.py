"""What is recommended: items with free attributes, kept as one Polars frame, addressed by row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

AttributeKind = Literal["number", "label", "labels"]
AttributeValue = float | str | tuple[str, ...]

#: Columns every catalogue frame has; every other column is an attribute.
CORE_COLUMNS = ("id", "title", "description", "image", "available")
#: Decimals of a number that are told of at most: averages have as many as the machine.
FINEST = 3


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that can be recommended.

    ``attributes`` holds what the source says, by name: a number (year, price, runtime), a label
    (brand) or several labels (genres, cast). ``image`` is a file name inside the images folder of
    the build, never a path. Nothing here assumes films.
    """

    id: str
    title: str
    description: str = ""
    image: str | None = None
    attributes: Mapping[str, AttributeValue] = field(default_factory=dict)
    available: bool = True


@dataclass(frozen=True, slots=True)
class AttributeSpec:
    """What is known of one attribute over the whole catalogue.

    Attributes:
        name: as in the source, lower case.
        kind: ``number``, ``label`` (one string) or ``labels`` (several).
        filled: how many items have it.
        values: for labels, every distinct value when there are at most 200, most frequent first; else the top 200.
        distinct: how many distinct values there are (0 for numbers).
        low, high: for numbers, the smallest and the largest value.
        decimals: for numbers, how many decimals tell all values apart, from 0 (all whole) to `FINEST`.
    """

    name: str
    kind: AttributeKind
    filled: int
    values: tuple[str, ...] = ()
    distinct: int = 0
    low: float | None = None
    high: float | None = None
    decimals: int = 0


@dataclass(frozen=True)
class Catalogue:
    """All items of a build, in a fixed row order that every view and model shares.

    Attributes:
        frame: columns ``id`` (str, unique), ``title`` (str), ``description`` (str, may be empty),
            ``image`` (str or null), ``available`` (bool), then one column per attribute:
            Float64 for numbers, String for a label, List(String) for labels; null where unknown.
    """

    frame: pl.DataFrame

    def __len__(self) -> int:
        return self.frame.height

    def __iter__(self) -> Iterator[Item]:
        return (self.item(row) for row in range(len(self)))

    @cached_property
    def ids(self) -> tuple[str, ...]:
        return tuple(self.frame["id"].to_list())

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """Row position of each item id."""
        return {item_id: row for row, item_id in enumerate(self.ids)}

    @cached_property
    def available(self) -> NDArray[np.bool_]:
        """Shape (n_items,): which items may be shown."""
        return self.frame["available"].to_numpy().astype(np.bool_)

    @cached_property
    def attribute_names(self) -> tuple[str, ...]:
        return tuple(name for name in self.frame.columns if name not in CORE_COLUMNS)

    @cached_property
    def attributes(self) -> Mapping[str, AttributeSpec]:
        return {name: _describe_attribute(self.frame[name]) for name in self.attribute_names}

    def item(self, row: int) -> Item:
        record = self.frame.row(row, named=True)
        attributes: dict[str, AttributeValue] = {}
        for name in self.attribute_names:
            value = record[name]
            if value is None or value == []:
                continue
            attributes[name] = tuple(value) if isinstance(value, list) else value
        return Item(
            id=record["id"],
            title=record["title"],
            description=record["description"] or "",
            image=record["image"],
            attributes=attributes,
            available=record["available"],
        )

    def items(self, rows: Iterable[int]) -> list[Item]:
        return [self.item(int(row)) for row in rows]

    @classmethod
    def of(cls, items: Sequence[Item]) -> Catalogue:
        """Build from items; attribute kinds are taken from the values (a mixed one becomes labels)."""
        names: dict[str, AttributeKind] = {}
        for item in items:
            for name, value in item.attributes.items():
                kind: AttributeKind = (
                    "labels" if isinstance(value, tuple) else "label" if isinstance(value, str) else "number"
                )
                known = names.setdefault(name, kind)
                if known != kind:
                    names[name] = "labels"
        columns: dict[str, pl.Series] = {
            "id": pl.Series("id", [i.id for i in items], dtype=pl.String),
            "title": pl.Series("title", [i.title for i in items], dtype=pl.String),
            "description": pl.Series("description", [i.description for i in items], dtype=pl.String),
            "image": pl.Series("image", [i.image for i in items], dtype=pl.String),
            "available": pl.Series("available", [i.available for i in items], dtype=pl.Boolean),
        }
        for name, kind in names.items():
            values = [i.attributes.get(name) for i in items]
            if kind == "number":
                columns[name] = pl.Series(name, values, dtype=pl.Float64, strict=False)
            elif kind == "label":
                columns[name] = pl.Series(name, values, dtype=pl.String)
            else:
                columns[name] = pl.Series(
                    name,
                    [None if v is None else list(v) if isinstance(v, tuple) else [_plain(v)] for v in values],
                    dtype=pl.List(pl.String),
                )
        return cls(pl.DataFrame(columns))


def _plain(value: AttributeValue) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _describe_attribute(column: pl.Series) -> AttributeSpec:
    if column.dtype == pl.Float64:
        filled = column.drop_nulls().drop_nans()
        return AttributeSpec(
            name=column.name,
            kind="number",
            filled=len(filled),
            low=float(filled.min()) if len(filled) else None,  # type: ignore[arg-type]
            high=float(filled.max()) if len(filled) else None,  # type: ignore[arg-type]
            decimals=_decimals(filled.to_numpy()),
        )
    kind: AttributeKind = "labels" if isinstance(column.dtype, pl.List) else "label"
    known = column.drop_nulls()
    flat = known.explode().drop_nulls() if kind == "labels" else known
    counts = flat.value_counts(sort=True)
    return AttributeSpec(
        name=column.name,
        kind=kind,
        filled=len(known),
        values=tuple(counts[column.name].head(200).to_list()),
        distinct=counts.height,
    )


def _decimals(values: NDArray[np.float64]) -> int:
    """How many decimals the values have, `FINEST` where they have more."""
    known = values[np.isfinite(values)]
    return next((places for places in range(FINEST) if np.array_equal(np.round(known, places), known)), FINEST)
