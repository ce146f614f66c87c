"""Conditions on attributes, as one boolean mask over the rows of a catalogue."""

from __future__ import annotations

import math
import re
import threading
import weakref
from collections import OrderedDict, defaultdict
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, assert_never

import numpy as np
import polars as pl
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, field_validator

from ..errors import UserError
from .items import Catalogue
from .text import fold

Op = Literal["is", "is_not", "at_least", "at_most", "contains"]

_SIGNS: dict[str, Op] = {">=": "at_least", "<=": "at_most", "!=": "is_not", "=": "is", "~": "contains"}
_SIGN_OF = {op: sign for sign, op in _SIGNS.items()}
_SPELLED = re.compile(r"(?P<attribute>[^<>=!~]+)(?P<sign>>=|<=|!=|=|~)(?P<value>.+)", re.DOTALL)
#: The title can be asked for like an attribute.
TITLE = "title"
#: Masks kept per catalogue. One is a byte per item.
_KEPT_MASKS = 256
#: Names listed in a message before it is cut.
_LISTED = 30

_Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=500)]


class Filter(BaseModel):
    """One condition, such as year at least 1990.

    An item whose value is unknown passes ``is_not`` and no other condition. For an attribute of several labels,
    ``is`` asks that one of them is the value, ``is_not`` that none is. Labels are compared without regard to case,
    accents, spaces and punctuation.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    attribute: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=100)] = Field(
        description="an attribute of the catalogue, or 'title'"
    )
    op: Op
    value: _Text | float

    @field_validator("value", mode="before")
    @classmethod
    def _number_or_text(cls, value: Any) -> Any:
        if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError("must be a finite number or a text")
        return value

    def __str__(self) -> str:
        value = f"{self.value:.15g}" if isinstance(self.value, float) else self.value
        return f"{self.attribute}{_SIGN_OF[self.op]}{value}"


def parse_filter(text: str) -> Filter:
    """Read a condition as people type it: ``year>=1990``, ``genres=Comedy``, ``genres!=Horror``, ``cast~hanks``.

    Raises:
        UserError: it is not of that form.
    """
    match = _SPELLED.fullmatch(text.strip())
    if match is not None:
        # Programmers write == for =.
        with suppress(ValidationError):  # an empty or overlong part is a misspelling like any other
            return Filter(attribute=match["attribute"], op=_SIGNS[match["sign"]], value=match["value"].lstrip("="))
    raise UserError(
        f"not a filter: {text[:200]!r}. Write name=value, name!=value, name>=number, name<=number or name~part, "
        "for example year>=1990"
    )


def mask(catalogue: Catalogue, filters: Iterable[Filter]) -> NDArray[np.bool_]:
    """Which items pass all conditions: shape (n_items,), a new array.

    The first use of an attribute indexes its column; masks of single conditions are kept with the catalogue.

    Raises:
        UserError: an attribute is unknown, or the condition does not fit its kind.
    """
    passed = np.ones(len(catalogue), dtype=np.bool_)
    columns = _columns(catalogue)
    for condition in filters:
        passed &= columns.mask(condition)
    return passed


def closest_values(catalogue: Catalogue, attribute: str, text: str, limit: int = 3) -> tuple[str, ...]:
    """Labels of an attribute that look most like ``text``, best first: for "did you mean". None for a number.

    Raises:
        UserError: the attribute is unknown.
    """
    from rapidfuzz import process

    column = _columns(catalogue).column(attribute)
    if isinstance(column, _Numbers):
        return ()
    found = process.extract(_spaced(text), column.spaced, limit=limit, score_cutoff=60)
    return tuple(column.values[position] for _, _, position in found)


@dataclass(frozen=True, slots=True)
class _Numbers:
    name: str
    values: NDArray[np.float64]  # NaN where unknown

    def mask(self, condition: Filter) -> NDArray[np.bool_]:
        if condition.op == "contains":
            raise UserError(f"{self.name} is a number: use {self.name}>=, {self.name}<= or {self.name}=, not ~")
        value = _number(condition.value)
        if value is None:
            raise UserError(
                f"{self.name} is a number, {condition.value!r} is not: write for example {self.name}>={self._example()}"
            )
        match condition.op:
            case "is":
                return np.equal(self.values, value)
            case "is_not":
                return np.not_equal(self.values, value)  # true for NaN, as wanted
            case "at_least":
                return np.greater_equal(self.values, value)
            case "at_most":
                return np.less_equal(self.values, value)
            case _:
                assert_never(condition.op)

    def _example(self) -> str:
        known = self.values[~np.isnan(self.values)]
        return f"{np.median(known):g}" if len(known) else "1"


@dataclass(frozen=True, slots=True)
class _Labels:
    """Distinct labels, and which row has which: pairs (rows[i], codes[i])."""

    name: str
    n_items: int
    values: list[str]
    spaced: list[str]
    codes_of: dict[str, list[int]]
    rows: NDArray[np.int64]
    codes: NDArray[np.int64]

    def mask(self, condition: Filter) -> NDArray[np.bool_]:
        text = f"{condition.value:.15g}" if isinstance(condition.value, float) else condition.value
        wanted: list[int]
        match condition.op:
            case "is" | "is_not":
                wanted = self.codes_of.get(_tight(text), [])
            case "contains":
                part = _spaced(text)
                wanted = [code for code, label in enumerate(self.spaced) if part in label]
            case "at_least" | "at_most":
                raise UserError(
                    f"{self.name} is no number: use {self.name}=, {self.name}!= or {self.name}~, "
                    f"not {_SIGN_OF[condition.op]}"
                )
            case _:
                assert_never(condition.op)
        chosen = np.zeros(len(self.values), dtype=np.bool_)
        chosen[wanted] = True
        passed = np.zeros(self.n_items, dtype=np.bool_)
        passed[self.rows[chosen[self.codes]]] = True
        return ~passed if condition.op == "is_not" else passed


@dataclass(slots=True)
class _Columns:
    """Indexed columns and masks of one catalogue. Safe to use from many threads."""

    frame: pl.DataFrame
    names: tuple[str, ...]
    indexed: dict[str, _Numbers | _Labels] = field(default_factory=dict)
    masks: OrderedDict[Filter, NDArray[np.bool_]] = field(default_factory=OrderedDict)
    lock: threading.RLock = field(default_factory=threading.RLock)

    def mask(self, condition: Filter) -> NDArray[np.bool_]:
        with self.lock:
            if condition in self.masks:
                self.masks.move_to_end(condition)
            else:
                self.masks[condition] = self.column(condition.attribute).mask(condition)
                if len(self.masks) > _KEPT_MASKS:
                    self.masks.popitem(last=False)
            return self.masks[condition]

    def column(self, asked: str) -> _Numbers | _Labels:
        with self.lock:
            name = self._resolve(asked)
            if name not in self.indexed:
                self.indexed[name] = _index(self.frame[name])
            return self.indexed[name]

    def _resolve(self, asked: str) -> str:
        if asked in self.names:
            return asked
        alike = [name for name in self.names if _tight(name) == _tight(asked)]
        if len(alike) == 1:
            return alike[0]
        from rapidfuzz import process

        closest = process.extractOne(_spaced(asked), [_spaced(name) for name in self.names], score_cutoff=60)
        hint = f" Did you mean {self.names[closest[2]]}?" if closest else ""
        more = f" and {len(self.names) - _LISTED} more" if len(self.names) > _LISTED else ""
        raise UserError(
            f"no attribute {asked!r} in this catalogue.{hint} It has: {', '.join(self.names[:_LISTED])}{more}"
        )


_kept: dict[int, _Columns] = {}
_kept_lock = threading.Lock()


def _columns(catalogue: Catalogue) -> _Columns:
    # A catalogue cannot be hashed (it holds a frame), so it is known by its address while it lives.
    key = id(catalogue)
    with _kept_lock:
        if key not in _kept:
            _kept[key] = _Columns(catalogue.frame, (*catalogue.attribute_names, TITLE))
            weakref.finalize(catalogue, _kept.pop, key, None)
        return _kept[key]


def _index(column: pl.Series) -> _Numbers | _Labels:
    if column.dtype.is_numeric():
        return _Numbers(column.name, column.cast(pl.Float64).fill_null(math.nan).to_numpy())
    pairs = pl.DataFrame({"row": np.arange(len(column), dtype=np.int64), "label": column})
    if isinstance(column.dtype, pl.List):
        pairs = pairs.explode("label")
    # An empty label says no more than a missing one.
    pairs = pairs.filter(pl.col("label").is_not_null() & (pl.col("label").str.strip_chars() != ""))
    pairs = pairs.with_columns(code=pl.col("label").rank("dense").cast(pl.Int64) - 1)
    values: list[str] = pairs.unique("code").sort("code")["label"].to_list()
    spaced = [_spaced(value) for value in values]
    codes_of: defaultdict[str, list[int]] = defaultdict(list)
    for code, label in enumerate(spaced):
        codes_of[label.replace(" ", "")].append(code)
    return _Labels(
        name=column.name,
        n_items=len(column),
        values=values,
        spaced=spaced,
        codes_of=dict(codes_of),
        rows=pairs["row"].to_numpy(),
        codes=pairs["code"].to_numpy(),
    )


def _spaced(label: str) -> str:
    # "C", "C++" and "C#" are three labels, and "Disney+" is "Disney Plus": these two signs are read as words.
    return fold(label.replace("+", " plus ").replace("#", " sharp ")) or label.casefold().strip()


def _tight(label: str) -> str:
    return _spaced(label).replace(" ", "")


def _number(value: str | float) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None
