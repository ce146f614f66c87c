"""Amazon reviews of 2018 and 2023, and the Yelp academic data set."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from llm4rec.catalog.items import Item
from llm4rec.catalog.readers import RawData, read
from llm4rec.errors import UserError


def write(path: Path, *objects: dict[str, Any]) -> None:
    content = "".join(json.dumps(o) + "\n" for o in objects).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def items(raw: RawData) -> list[Item]:
    return list(raw.catalogue)


META_2018: list[dict[str, Any]] = [
    {
        "asin": "B1",
        "title": "Pen &amp; Ink <b>Set</b>",
        "brand": "by\n    \n    Pilot",
        "category": ["Office Products", "Office &amp; School", "x" * 200],
        "description": ["<p>Smooth.</p>", "", "<!-- .css {} -->Blue"],
        "price": "$12.99",
        "also_buy": ["B2"],
    },
    {"asin": "B2", "title": "var aPageStart = (new Date()).getTime();", "price": ".a-section {margin: 0} " * 5},
    {"asin": "B1", "title": "The same again"},
    {"asin": "B3", "title": "Ruler", "description": [], "feature": ["30 cm", "wood"], "price": "N/A"},
]


def review(user: str, item: str, rating: float, time: int) -> dict[str, Any]:
    return {
        "reviewerID": user,
        "asin": item,
        "overall": rating,
        "unixReviewTime": time,
        "reviewText": "ok",
        "style": {},
    }


def test_amazon_2018(tmp_path: Path) -> None:
    write(tmp_path / "meta_Office_Products.json.gz", *META_2018)
    write(
        tmp_path / "Office_Products_5.json.gz", review("U1", "B1", 5.0, 1400000000), review("U2", "B3", 1.0, 1300000000)
    )
    raw = read(tmp_path)
    assert raw.kind == "amazon-2018"
    pen, script, ruler = items(raw)
    assert pen.title == "Pen & Ink Set"
    assert pen.description == "Smooth. Blue"
    assert pen.attributes == {"brand": "Pilot", "categories": ("Office Products", "Office & School"), "price": 12.99}
    assert (script.title, script.attributes) == ("B2", {})
    assert (ruler.description, ruler.attributes) == ("30 cm wood", {})
    assert raw.interactions.collect().rows() == [
        ("U1", "B1", 5.0, 1400000000, 1),
        ("U2", "B3", 1.0, 1300000000, 2),
    ]
    assert raw.problems.settled == {
        "prices that are no number, left out": 1,
        "items with no title, called by their id": 1,
        "items whose id came before, left out (the first one counts)": 1,
    }


@pytest.mark.parametrize("ending", [".jsonl", ".jsonl.gz"])
def test_amazon_2023(tmp_path: Path, ending: str) -> None:
    meta = {
        "parent_asin": "B1",
        "title": "Pen",
        "store": "Pilot",
        "main_category": "Office",
        "categories": ["Office Products", "Pens"],
        "price": 3.5,
        "description": ["Smooth."],
        "features": ["Blue"],
        "average_rating": 4.5,
    }
    write(tmp_path / f"meta_Office_Products{ending}", meta, {"parent_asin": "B2", "title": "Ink", "price": None})
    one = {"user_id": "U1", "parent_asin": "B1", "asin": "B1x", "rating": 4.0, "timestamp": 1588687728923}
    write(tmp_path / f"Office_Products{ending}", one)
    raw = read(tmp_path)
    assert raw.kind == "amazon-2023"
    assert items(raw)[0].attributes == {"brand": "Pilot", "categories": ("Office Products", "Pens"), "price": 3.5}
    assert raw.interactions.collect().rows() == [("U1", "B1", 4.0, 1588687728, 1)]


def test_amazon_faults_are_one_clear_line(tmp_path: Path) -> None:
    write(tmp_path / "meta_Pens.json.gz", *META_2018)
    with pytest.raises(UserError, match=r"has meta_Pens\.json\.gz but no reviews: put Pens\.json\.gz"):
        read(tmp_path)
    reviews = tmp_path / "Pens_5.json.gz"
    write(reviews, *[review("U", "B1", 5.0, n) for n in range(2_000)])
    content = reviews.read_bytes()
    reviews.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=r"Pens_5\.json\.gz is a gzip cut short"):
        read(tmp_path)
    write(reviews, review("U", "B1", 6.0, 1))
    with pytest.raises(UserError, match="rating out of range 1 to 5"):
        read(tmp_path)
    write(tmp_path / "meta_Ink.json.gz", *META_2018)
    with pytest.raises(UserError, match="several categories"):
        read(tmp_path)


def test_reviews_of_items_without_metadata_are_bad_rows(tmp_path: Path) -> None:
    write(tmp_path / "meta_Pens.json", *META_2018)
    good = [review(f"U{n}", "B1", 5.0, n) for n in range(200)]
    write(tmp_path / "Pens.json", *good, review("U", "B9", 5.0, 1))
    assert read(tmp_path).problems.counts == {"unknown item": 1}
    write(tmp_path / "Pens.json", *good[:50], review("U", "B9", 5.0, 1))
    with pytest.raises(UserError, match=r"Pens\.json:51"):
        read(tmp_path)


BUSINESS = {
    "business_id": "b1",
    "name": "Sal&#39;s Pizza",
    "city": "Tampa",
    "state": "FL",
    "stars": 4.0,
    "is_open": 1,
    "attributes": {"RestaurantsPriceRange2": "2"},
    "categories": "Pizza, Italian, Pizza",
}


def yelp_review(user: str, item: str, stars: float, date: str) -> dict[str, Any]:
    return {"review_id": "r", "user_id": user, "business_id": item, "stars": stars, "date": date, "text": "a\nb"}


def test_yelp(tmp_path: Path) -> None:
    closed = {"business_id": "b2", "name": "Gone", "is_open": 0, "attributes": None, "categories": None}
    write(tmp_path / "yelp_academic_dataset_business.json", BUSINESS, closed)
    write(
        tmp_path / "yelp_academic_dataset_review.json",
        yelp_review("u1", "b1", 5.0, "1970-01-02 00:00:01"),
        yelp_review("u1", "b2", 3.0, "2018-07-07 22:09:11"),
    )
    raw = read(tmp_path)
    assert raw.kind == "yelp-academic"
    assert items(raw) == [
        Item(
            "b1",
            "Sal's Pizza",
            attributes={"categories": ("Pizza", "Italian"), "city": "Tampa", "state": "FL", "price_range": 2.0},
        ),
        Item("b2", "Gone", available=False),
    ]
    assert raw.interactions.collect().rows() == [
        ("u1", "b1", 5.0, 86_401, 1),
        ("u1", "b2", 3.0, 1531001351, 2),
    ]
    assert raw.problems.settled == {"businesses that have closed, kept but never recommended": 1}


def test_yelp_with_one_file_absent_or_cut(tmp_path: Path) -> None:
    path = tmp_path / "yelp_academic_dataset_business.json"
    write(path, BUSINESS)
    with pytest.raises(UserError, match=r"no yelp_academic_dataset_review\.json"):
        read(tmp_path)
    (tmp_path / "yelp_academic_dataset_review.json").write_text(
        json.dumps(yelp_review("u1", "b1", 5.0, "2018-07-07 22:09:11")) + '\n{"review_id": "r", "user_'
    )
    with pytest.raises(UserError, match=r"yelp_academic_dataset_review\.json:2: '\{\"review_id"):
        read(tmp_path)
