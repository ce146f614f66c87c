"""Amazon reviews: the 2018 release (5-core ``.json.gz`` and metadata) and the 2023 release (``.jsonl``).

2018: Ni, Li & McAuley, Justifying Recommendations using Distantly-Labeled Reviews and Fine-Grained Aspects,
EMNLP 2019. 2023: Hou et al., Bridging Language and Items for Retrieval and Recommendation, 2024.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
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

_META = re.compile(r"meta_(?P<category>.+)\.jsonl?(?:\.gz)?", re.IGNORECASE)
_REVIEWS = re.compile(r"(?P<category>.+?)(?:_5)?\.jsonl?(?:\.gz)?", re.IGNORECASE)
#: Some brands are the words of a link: "Visit Amazon's Knock Knock Page".
_PAGE = re.compile(r"Visit Amazon's (.+) Page")
_ATTRIBUTES: dict[str, AttributeKind] = {"brand": "label", "categories": "labels", "price": "number"}


@dataclass(frozen=True, slots=True)
class _Release:
    """Names of one release's fields."""

    kind: str
    item: str
    brand: str
    category: str
    log: LogColumns


_RELEASES = (
    _Release(
        "amazon-2018", "asin", "brand", "category",
        LogColumns("reviewerID", "asin", "overall", "unixReviewTime", low=1.0, high=5.0, required=True),
    ),
    _Release(
        "amazon-2023", "parent_asin", "store", "categories",
        LogColumns("user_id", "parent_asin", "rating", "timestamp", time_unit="ms", low=1.0, high=5.0, required=True),
    ),
)  # fmt: skip


def detect(root: Path) -> tuple[Path, Path] | None:
    """The metadata file and the review file of the folder; None when it holds no Amazon metadata.

    Raises:
        UserError: the reviews are missing, or there are several categories.
    """
    metas = sorted(path for path in root.iterdir() if _META.fullmatch(path.name) and path.is_file())
    if not metas:
        return None
    if len(metas) > 1:
        names = ", ".join(path.name for path in metas)
        raise UserError(f"{root} holds several categories ({names}): keep one category to a folder")
    found = _META.fullmatch(metas[0].name)
    category = found["category"].casefold() if found else ""
    reviews = [
        path
        for path in sorted(root.iterdir())
        if path != metas[0] and (match := _REVIEWS.fullmatch(path.name)) and match["category"].casefold() == category
    ]
    if not reviews:
        wanted = metas[0].name.removeprefix("meta_")
        raise UserError(f"{root} has {metas[0].name} but no reviews: put {wanted} (or its _5 form) beside it")
    if len(reviews) > 1:
        names = ", ".join(path.name for path in reviews)
        raise UserError(f"{root} holds several review files ({names}): keep one of them")
    return metas[0], reviews[0]


def read_amazon(root: Path, meta: Path, reviews: Path, progress: Progress, scratch: Path | None) -> RawData:
    """Read one category of Amazon reviews.

    Raises:
        UserError: a file is damaged, lacks a field, or more than 1 % of its rows are bad.
    """
    problems = Problems()
    release = _release(meta)
    table = ItemTable(_ATTRIBUTES, problems)
    good = 0
    for line, record in json_records(meta, problems, progress=progress):
        item = str(record.get(release.item) or "").strip()
        title = plain(str(record.get("title") or ""))
        if not item:
            problems.bad(f"no {release.item}", meta.name, line, str(record))
            continue
        good += 1
        if _not_a_title(title):
            table.add(item, "", "", _attributes(record, release, problems))
        else:
            table.add(item, title, _description(record), _attributes(record, release, problems))
    problems.check(good + problems.bad_in(meta.name), meta.name)
    return assemble(
        root,
        release.kind,
        table,
        problems,
        lambda log: log.read(reviews, release.log),
        progress=progress,
        scratch=scratch,
    )


def _release(meta: Path) -> _Release:
    first = next(json_records(meta, Problems()), None)
    if first is None:
        raise UserError(f"{meta} holds no item that can be read")
    for release in reversed(_RELEASES):
        if release.item in first[1]:
            return release
    require(meta, list(first[1]), ("asin", "title"))
    raise AssertionError("unreachable: 'asin' is absent here")


def _attributes(record: Record, release: _Release, problems: Problems) -> dict[str, AttributeValue | None]:
    brand = plain(str(record.get(release.brand) or ""))
    if page := _PAGE.fullmatch(brand):
        brand = page[1]
    brand = brand.removeprefix("by ").strip()
    written = str(record.get("price") or "").strip()
    # Some prices of the 2018 release are style sheets of the page; a price is short.
    price = number(written) if len(written) <= 40 else None
    if price is None and not missing(written):
        problems.settle("prices that are no number, left out")
    return {
        "brand": None if missing(brand) else brand,
        "categories": labels(part for part in _strings(record.get(release.category)) if len(part) <= 100),
        "price": price,
    }


def _description(record: Record) -> str:
    """The description, else the list of features."""
    text = plain(" ".join(_strings(record.get("description"))))
    return text or plain(" ".join(_strings(record.get("features", record.get("feature")))))


def _strings(value: Any) -> Iterable[str]:
    if isinstance(value, str):
        return [plain(value)]
    return [str(part) for part in value if part] if isinstance(value, list) else []


def _not_a_title(title: str) -> bool:
    """Some titles of the 2018 release are scripts of the page that was scraped."""
    return ("getTime" in title and "function" in title) or title.startswith("var ")
