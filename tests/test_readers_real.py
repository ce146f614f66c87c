"""The real data sets: what is known of each is what is read."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from llm4rec.catalog.readers import RawData, read

pytestmark = pytest.mark.realdata


@pytest.fixture(scope="module")
def films(realdata: Path) -> RawData:
    return read(realdata / "ml-100k-posters")


def test_movielens_counts(films: RawData) -> None:
    assert films.kind == "movielens-100k"
    assert len(films.catalogue) == 1682
    assert films.users.height == 943
    assert films.interactions.collect().height == 100_000
    assert len(films.images) == 1663
    assert films.problems.counts == {}
    settled = films.problems.settled
    assert settled["items with no image"] == 19
    assert settled["further rows of metadata.csv for a film that has one, left out"] == 1746 - 1682
    assert {name: spec.kind for name, spec in films.catalogue.attributes.items()} == {
        "year": "number",
        "genres": "labels",
        "director": "labels",
        "cast": "labels",
        "writer": "labels",
        "country": "labels",
        "language": "labels",
        "runtime": "number",
        "certificate": "label",
        "awards": "label",
    }


def test_movielens_genres_are_those_of_u_item(films: RawData, realdata: Path) -> None:
    names = [line.split("|")[0] for line in (realdata / "ml-100k-posters" / "u.genre").read_text().split()]
    lines = (realdata / "ml-100k-posters" / "u.item").read_text(encoding="latin-1").splitlines()
    for line, item in zip(lines, films.catalogue, strict=True):
        fields = line.split("|")
        expected = [name for name, flag in zip(names, fields[5:], strict=True) if flag == "1" and name != "unknown"]
        assert list(item.attributes.get("genres", ())) == expected
        year = re.search(r"\((\d{4})\)", fields[1])
        assert item.attributes.get("year") == (float(year[1]) if year else None)


def test_movielens_has_no_title_with_a_moved_article(films: RawData) -> None:
    titles = films.catalogue.frame["title"].to_list()
    assert not [title for title in titles if re.search(r", (The|A|An|La|Le|L'|Der|Das|Il)(\)|$| \()", title)]
    assert not [title for title in titles if re.search(r"\(\d{4}\)", title)]


def test_movielens_overviews_belong_to_one_name(films: RawData) -> None:
    frame = films.catalogue.frame.filter(films.catalogue.frame["description"] != "")
    shared = frame.group_by("description").agg("title").filter(frame["description"].is_duplicated().any())
    names = {tuple(sorted(set(titles))) for _, titles in shared.iter_rows() if len(set(titles)) > 1}
    # The same film under two names, which both files agree on.
    assert names == {
        ("Der Bewegte Mann", "Maybe, Maybe Not (Der Bewegte Mann)"),
        ("Squeeze", "The Big Squeeze"),
    }


def test_the_film_named_unknown_has_nothing_of_another_film(films: RawData) -> None:
    item = films.catalogue.item(films.catalogue.row_of["267"])
    assert (item.title, item.description, item.attributes, item.available) == ("unknown", "", {}, False)


@pytest.mark.parametrize(
    ("name", "items", "interactions"), [("yelp", 20_033, 316_354), ("amazon-office", 3_459, 22_447)]
)
def test_tables_are_read_by_the_proposed_mapping(realdata: Path, name: str, items: int, interactions: int) -> None:
    raw = read(realdata / name)
    assert raw.kind == "mapping (proposed)"
    assert len(raw.catalogue) == items
    log = raw.interactions.collect()
    assert log.height == interactions
    assert log["value"].null_count() == log["time"].null_count() == interactions
    assert raw.problems.counts == {}


def test_yelp_categories_are_labels(realdata: Path) -> None:
    raw = read(realdata / "yelp")
    lines = (realdata / "yelp" / "items.jsonl").read_text(encoding="utf-8").splitlines()
    for line, item in zip(lines, raw.catalogue, strict=True):
        record = json.loads(line)
        expected = dict.fromkeys(part.strip() for part in record["categories"].split(",") if part.strip())
        assert item.attributes.get("categories", ()) == tuple(expected)


def test_amazon_descriptions_are_plain(realdata: Path) -> None:
    catalogue = read(realdata / "amazon-office").catalogue
    assert catalogue.attributes["brand"].kind == "label"
    for item in catalogue:
        assert not re.search(r"<!--|</?(p|br|b|div|span|ul|li|style)\b|&[a-z]+;", item.title + item.description), item
        assert not re.match(r"\[['\"]", item.description), item
