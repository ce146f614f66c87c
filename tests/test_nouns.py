"""Words that change with a number, and what attributes are called."""

from __future__ import annotations

import pytest
from llm4rec.tools.nouns import named, people, singular


@pytest.mark.parametrize(("count", "said"), [(0, "0 people"), (1, "1 person"), (2, "2 people")])
def test_people(count: int, said: str) -> None:
    assert people(count) == said


@pytest.mark.parametrize(
    ("name", "one"),
    [
        ("genres", "genre"),
        ("categories", "category"),
        ("moods", "mood"),
        ("awards", "award"),
        ("boxes", "box"),
        ("movies", "movie"),
        ("main_genres", "main_genre"),
        ("cast", "cast"),
        ("series", "series"),
        ("tv_series", "tv_series"),
        ("class", "class"),
        ("status", "status"),
        ("bus", "bus"),
        ("year", "year"),
    ],
)
def test_one_of_an_attribute(name: str, one: str) -> None:
    assert singular(name) == one


def test_an_attribute_beside_its_values() -> None:
    assert named("genres", ("Horror",)) == "genre"
    assert named("genres", ("Horror", "War")) == "genres"
    assert named("stars", 4.5) == "stars"
    assert named("brands", "Acme") == "brands"
