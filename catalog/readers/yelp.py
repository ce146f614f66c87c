"""The Yelp academic data set: ``yelp_academic_dataset_business.json`` and ``yelp_academic_dataset_review.json``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...errors import UserError
from ..items import AttributeKind, AttributeValue
from ..problems import Problems
from .assembly import assemble
from .clean import labels, missing, number, plain
from .files import Record, json_records, require
from .judge import LogColumns
from .raw import Progress, RawData
from .table import ItemTable

_BUSINESS, _REVIEW = "yelp_academic_dataset_business.json", "yelp_academic_dataset_review.json"
_ATTRIBUTES: dict[str, AttributeKind] = {
    "categories": "labels",
    "city": "label",
    "state": "label",
    "price_range": "number",
}
_LOG = LogColumns("user_id", "business_id", "stars", "date", time_unit="text", low=1.0, high=5.0, required=True)


def detect(root: Path) -> bool:
    """Whether the folder holds the data set.

    Raises:
        UserError: one of its two files is absent.
    """
    there = [name for name in (_BUSINESS, _REVIEW) if _file(root, name).is_file()]
    if len(there) == 1:
        absent = _REVIEW if there[0] == _BUSINESS else _BUSINESS
        raise UserError(f"{root} has {there[0]} but no {absent}: both are needed")
    return bool(there)


def read_yelp(root: Path, progress: Progress, scratch: Path | None) -> RawData:
    """Read the Yelp academic data set. A business that has closed is kept, and is not available.

    Raises:
        UserError: a file is damaged, lacks a field, or more than 1 % of its rows are bad.
    """
    problems = Problems()
    path = _file(root, _BUSINESS)
    table = ItemTable(_ATTRIBUTES, problems)
    good = closed = 0
    for line, record in json_records(path, problems, progress=progress):
        if not good:
            require(path, list(record), ("business_id", "name"))
        item = str(record.get("business_id") or "").strip()
        if not item:
            problems.bad("no business_id", path.name, line, str(record))
            continue
        good += 1
        is_open = record.get("is_open", 1) != 0
        closed += not is_open
        table.add(item, plain(str(record.get("name") or "")), "", _attributes(record), available=is_open)
    problems.check(good + problems.bad_in(path.name), path.name)
    problems.settle("businesses that have closed, kept but never recommended", closed)
    return assemble(
        root,
        "yelp-academic",
        table,
        problems,
        lambda log: log.read(_file(root, _REVIEW), _LOG),
        progress=progress,
        scratch=scratch,
    )


def _file(root: Path, name: str) -> Path:
    packed = root / f"{name}.gz"
    return packed if packed.is_file() else root / name


def _attributes(record: Record) -> dict[str, AttributeValue | None]:
    details = record.get("attributes")
    price = details.get("RestaurantsPriceRange2") if isinstance(details, dict) else None
    return {
        "categories": labels(str(record.get("categories") or "").split(",")),
        "city": _label(record.get("city")),
        "state": _label(record.get("state")),
        "price_range": number(str(price)) if price is not None else None,
    }


def _label(value: Any) -> str | None:
    text = plain(str(value or ""))
    return None if missing(text) else text
