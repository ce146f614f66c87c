"""How messages are worded: numbers, places, grades, refusals, opinions, parts."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.tools import wording
from llm4rec.tools.wording import LAST


@pytest.mark.parametrize(
    ("message", "lows", "highs"),
    [
        ("a comedy from the eighties", (1980,), (1989,)),
        ("90s thrillers", (1990,), (1999,)),
        ("the 1950s", (1950,), (1959,)),
        ("from the 2010s", (2010,), (2019,)),
        ("after 2003", (2004,), ()),
        ("before 1960", (), (1959,)),
        ("nothing before 1960", (1960,), ()),
        ("not older than 1990", (1990,), ()),
        ("1990 or later", (1990,), ()),
        ("from 1960", (1960,), (1960,)),
        ("from 1960 to 1970", (1960,), (1970,)),
        ("between 100 and 200", (100,), (200,)),
        ("under 90 minutes", (), (90,)),
        ("not longer than 100 min", (), (100,)),
        ("90 minutes or less", (), (90,)),
        ("under two hours", (), (120,)),
        ("at least an hour and a half", (90,), ()),
        ("for 20 dollars", (), (20,)),
        ("number 3", (), ()),
        ("we are 4 people", (), ()),
        ("something sad", (), ()),
    ],
)
def test_numbers_are_bounds_where_they_are_meant_as_bounds(
    message: str, lows: tuple[int, ...], highs: tuple[int, ...]
) -> None:
    assert wording.numbers_said(message) == (lows, highs)


@pytest.mark.parametrize(
    ("message", "places"),
    [
        ("why the first one?", (1,)),
        ("number two looks great", (2,)),
        ("more about 3", (3,)),
        ("#2 please", (2,)),
        ("i liked 1 and 3", (1, 3)),
        ("the last one", (LAST,)),
        ("last week", ()),
        ("#0", ()),
        ("top 5", ()),
        ("4/5 for it", ()),
        ("no two are alike", ()),
        ("under 3 hours", ()),
    ],
)
def test_places(message: str, places: tuple[int, ...]) -> None:
    assert wording.places_said(message) == places


@pytest.mark.parametrize(
    ("message", "grade"),
    [
        ("4/5 for it", (4, 5)),
        ("8 out of 10", (8, 10)),
        ("it gets a 5 from me", (5, None)),
        ("rate it 2", (2, None)),
        ("4 stars", (4, None)),
        ("I'd give the first one a 3", (3, None)),
        ("give me 3 more", None),
        ("9/5", None),
        ("nice", None),
    ],
)
def test_grades(message: str, grade: tuple[int, int | None] | None) -> None:
    assert wording.grade_said(message) == grade


@pytest.mark.parametrize(
    ("message", "opinion"),
    [
        ("loved it", "like"),
        ("I really liked it", "like"),
        ("it is not bad", "like"),
        ("I didn't like it", "dislike"),
        ("I don’t like it", "dislike"),
        ("not my thing", "dislike"),
        ("couldn't finish it", "dislike"),
        ("gave up on it, something good please", "dislike"),
        ("seen it", "seen"),
        ("seen it, give me something great", "seen"),
        ("seen it, it was boring", "dislike"),
        ("not that one", "dislike"),
        ("another time", "skip"),
        ("robots", None),
    ],
)
def test_opinions(message: str, opinion: str | None) -> None:
    assert wording.opinion_said(message) == opinion


def test_parts_of_a_message() -> None:
    message = "hated it, something funnier but no romance"
    assert wording.statement(message) == "hated it, no romance"
    assert wording.wish(message) == "something funnier"
    assert wording.beside("like it, but on a boat") == "on a boat"
    assert wording.wish("just robots") == wording.statement("just robots") == "just robots"


def test_refusals_reach_a_few_words_of_their_clause() -> None:
    assert wording.refused_words("a comedy without romance, with dogs") == {"romance", "with", "dogs"} - {
        "with",
        "dogs",
    }
    assert not wording.refuses("a comedy")


@given(st.text(max_size=300))
def test_anything_can_be_read(message: str) -> None:
    lows, highs = wording.numbers_said(message)
    assert all(number >= 0 for number in (*lows, *highs))
    assert all(place == LAST or place >= 1 for place in wording.places_said(message))
    assert wording.opinion_said(message) in ("like", "dislike", "seen", "skip", None)
    assert isinstance(wording.without_places(message), str)
    wording.wish(message), wording.statement(message), wording.beside(message), wording.grade_said(message)
