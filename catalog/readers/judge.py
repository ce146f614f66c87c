"""What a row of a log must be: which column says what, and what is wrong with a row."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

TimeUnit = Literal["s", "ms", "us", "ns", "text"]

#: The five fields of a row, whatever their columns are called.
FIELDS = ("user", "item", "value", "time", "order")
#: A time after the year 2100 means that the unit is another one.
_LATEST = 4_102_444_800
PER_SECOND = {"s": 1, "ms": 1_000, "us": 1_000_000, "ns": 1_000_000_000}
_TIME_FORMATS = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.fZ", "%Y-%m-%d")


@dataclass(frozen=True, slots=True)
class LogColumns:
    """Which columns of the source say what, and what a rating may be.

    Attributes:
        user, item: column names.
        value: the rating's column; None = every row is a positive event with no grade. An empty field has no grade.
        time: the time's column; None or an empty field = unknown.
        order: a column of whole numbers that orders a user's rows.
        time_unit: of the time: seconds to nanoseconds since 1970, or ``text`` (ISO 8601; without a zone it is UTC).
        low, high: smallest and largest rating that can be; None = any finite number.
        required: value and time may not be empty.
    """

    user: str
    item: str
    value: str | None = None
    time: str | None = None
    order: str | None = None
    time_unit: TimeUnit = "s"
    low: float | None = None
    high: float | None = None
    required: bool = False

    @property
    def by_field(self) -> dict[str, str | None]:
        """Column name of each of the five fields."""
        return dict(zip(FIELDS, (self.user, self.item, self.value, self.time, self.order), strict=True))

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name in self.by_field.values() if name is not None)


def judge(frame: pl.LazyFrame, items: pl.LazyFrame, columns: LogColumns) -> pl.LazyFrame:
    """Cast the fields and say what is wrong with each row, the first fault found."""
    text = {name: pl.col(name).str.strip_chars() for name in FIELDS}
    given = {name: text[name].is_not_null() & (text[name] != "") for name in FIELDS}
    stripped = frame.with_columns(user=text["user"], item=text["item"]).join(
        items, on="item", how="left", maintain_order="left"
    )
    value = text["value"].cast(pl.Float32, strict=False)
    order = _whole(text["order"])
    time = _seconds(text["time"], columns.time_unit)
    faults: list[tuple[pl.Expr, str]] = [
        (~given["user"].fill_null(False), "no user"),
        (~given["item"].fill_null(False), "no item"),
        (pl.col("known").is_null(), "unknown item"),
    ]
    if columns.value is not None:
        low = columns.low if columns.low is not None else float("-inf")
        high = columns.high if columns.high is not None else float("inf")
        if columns.required:
            faults.append((~given["value"].fill_null(False), "no rating"))
        faults += [
            (given["value"] & value.is_null(), "rating is not a number"),
            (given["value"] & ~value.is_finite(), "rating is not finite"),
            (given["value"] & ((value < low) | (value > high)), f"rating out of range {low:g} to {high:g}"),
        ]
    if columns.time is not None:
        if columns.required:
            faults.append((~given["time"].fill_null(False), "no time"))
        faults += [
            (given["time"] & time.is_null(), "time cannot be read"),
            (given["time"] & ((time < 0) | (time > _LATEST)), "time is not between 1970 and 2100 (is its unit right?)"),
        ]
    if columns.order is not None:
        faults.append((order.is_null(), "order is not a whole number"))
    verdict = pl.coalesce("fault", *(pl.when(wrong).then(pl.lit(kind)) for wrong, kind in faults))
    order = order if columns.order is not None else pl.col("line").cast(pl.Int64)
    kept = {
        "value": pl.when(given["value"]).then(value),
        "time": pl.when(given["time"]).then(time).cast(pl.Int64),
        "order": order,
    }
    raw = [pl.col(name).alias(f"raw_{name}") for name in ("value", "time", "order")]
    return stripped.with_columns(*raw, fault=verdict, **kept)


def _whole(text: pl.Expr) -> pl.Expr:
    """Text as Int64; a float that is whole (``"3.0"``) counts."""
    real = text.cast(pl.Float64, strict=False)
    whole = pl.when(real.is_finite() & (real == real.floor()) & (real.abs() < 2**53)).then(real)
    return pl.coalesce(text.cast(pl.Int64, strict=False), whole.cast(pl.Int64, strict=False))


def _seconds(text: pl.Expr, unit: TimeUnit) -> pl.Expr:
    """A time as Unix seconds, null where it cannot be read."""
    if unit == "text":
        plain = [text.str.to_datetime(form, strict=False, time_unit="us").dt.epoch("s") for form in _TIME_FORMATS]
        zoned = text.str.to_datetime("%Y-%m-%dT%H:%M:%S%.f%z", strict=False, time_unit="us").dt.epoch("s")
        return pl.coalesce(*plain, zoned)
    real = text.cast(pl.Float64, strict=False)
    number = pl.coalesce(
        text.cast(pl.Int64, strict=False), pl.when(real.is_finite() & (real.abs() < 2**62)).then(real).cast(pl.Int64)
    )
    return number // PER_SECOND[unit]
