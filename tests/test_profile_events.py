"""Events: what is accepted, what is refused, what is cleaned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.profiles import events
from llm4rec.profiles.events import Event, event_id
from profile_cases import contents, said
from pydantic import ValidationError

quick = settings(max_examples=60, deadline=None)
COMMON: dict[str, Any] = {"id": "e", "user": "ana", "time": 1.0}


def test_constructors_set_the_kind_and_its_fields() -> None:
    assert events.rating(item="x", value=4, **COMMON) == Event(kind="rating", item="x", value=4.0, **COMMON)
    assert events.like(item="x", **COMMON).kind == "like"
    assert events.dislike(item="x", **COMMON).kind == "dislike"
    assert events.seen(item="x", **COMMON).kind == "seen"
    assert events.skip(item="x", **COMMON).kind == "skip"
    taste = events.taste(term="crime", polarity=-1, attribute="genres", scope="tonight", thread="t", **COMMON)
    assert (taste.term, taste.polarity, taste.attribute, taste.scope) == ("crime", -1, "genres", "tonight")
    assert events.undo(target="other", **COMMON).target == "other"
    assert events.reset_dials(**COMMON) == Event(kind="reset_dials", **COMMON)
    assert events.like(item="x", offered="explore- diversity+", **COMMON).offered == "explore- diversity+"


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "like"},
        {"kind": "like", "item": "x", "value": 3.0},
        {"kind": "like", "item": "x", "term": "crime"},
        {"kind": "rating", "item": "x"},
        {"kind": "rating", "item": "x", "value": float("nan")},
        {"kind": "rating", "item": "x", "value": float("inf")},
        {"kind": "rating", "item": "x", "value": "4"},
        {"kind": "taste", "term": "crime", "polarity": 1},
        {"kind": "taste", "term": "crime", "polarity": 0, "scope": "always"},
        {"kind": "taste", "term": "crime", "polarity": True, "scope": "always"},
        {"kind": "taste", "term": "\x00\n", "polarity": 1, "scope": "always"},
        {"kind": "taste", "term": "x" * 201, "polarity": 1, "scope": "always"},
        {"kind": "taste", "term": "crime", "polarity": 1, "scope": "tonight"},
        {"kind": "taste", "term": "crime", "polarity": 1, "scope": "always", "item": "x"},
        {"kind": "undo"},
        {"kind": "undo", "target": "e"},
        {"kind": "undo", "target": "f", "item": "x"},
        {"kind": "adore", "item": "x"},
        {"kind": "reset_dials", "item": "x"},
        {"kind": "reset_dials", "offered": "explore-"},
        {"kind": "taste", "term": "crime", "polarity": 1, "scope": "always", "offered": "explore-"},
        {"kind": "like", "item": "x", "offered": ""},
        {"kind": "like", "item": "x", "offered": "explore"},
        {"kind": "like", "item": "x", "offered": "explore- "},
        {"kind": "like", "item": "x", "offered": "explore-\n"},
        {"kind": "like", "item": "x", "offered": "x\x1b[2J+"},
        {"kind": "like", "item": ""},
        {"kind": "like", "item": "x" * 501},
        {"kind": "like", "item": "a\x1b[2Jb"},
        {"kind": "like", "item": "a\nb"},
        {"kind": "like", "item": "a\ud800"},
        {"kind": "like", "item": "x", "source": "guessed"},
        {"kind": "like", "item": "x", "confidence": 1.5},
        {"kind": "like", "item": "x", "mood": "good"},
        {"kind": "like", "item": "x", "time": -1.0},
        {"kind": "like", "item": "x", "time": 1.6e12},
        {"kind": "like", "item": "x", "time": float("nan")},
    ],
)
def test_what_does_not_fit_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Event(**{**COMMON, **wrong})


def test_an_event_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        said(0).item = "i2"  # type: ignore[misc]


def test_text_is_cleaned_and_a_long_message_cut() -> None:
    event = said(0, kind="taste", term=" crime\x1b[31m\n film ", message="a\x00b\r\n" + "x" * 3_000)
    assert event.term == "crime [31m film"
    assert event.message is not None
    assert event.message.startswith("a b xxx")
    assert len(event.message) == events.MESSAGE_LENGTH
    assert said(0, message="\n\n").message is None


@quick
@given(st.data())
def test_an_event_reads_back_from_json_and_cleaning_is_done_once(data: st.DataObject) -> None:
    event = Event(id="e", user="ana", **data.draw(contents(["d"])))
    again = Event.model_validate_json(event.model_dump_json())
    assert again == event
    assert again.model_dump_json() == event.model_dump_json()


@quick
@given(st.text())
def test_no_text_field_holds_control_characters(text: str) -> None:
    message = said(0, message=text).message
    assert message is None or message.isprintable()


def test_same_as_leaves_out_the_time_and_the_place_in_the_list() -> None:
    event = said(0, message="m", offered="explore-")
    assert event.same_as(event.model_copy(update={"time": 9.0}))
    assert event.same_as(event.model_copy(update={"offered": "explore- recency+"}))
    for change in ({"item": "i2"}, {"kind": "dislike"}, {"message": None}, {"confidence": 0.5}, {"thread": "t2"}):
        assert not event.same_as(event.model_copy(update=change))


_parts = st.tuples(
    st.text(min_size=1, max_size=6, alphabet="ab:1"),
    st.integers(0, 12),
    st.integers(0, 12) | st.text(min_size=1, max_size=3, alphabet="ab"),
    st.integers(0, 12),
)


@quick
@given(_parts, _parts)
def test_event_ids_are_equal_only_for_the_same_place(
    one: tuple[str, int, int | str, int], other: tuple[str, int, int | str, int]
) -> None:
    assert (event_id(*one) == event_id(*other)) == (one == other)


@pytest.mark.parametrize(
    "parts", [("", 0, 0, 0), ("t", -1, 0, 0), ("t", 0, -1, 0), ("t", 0, 0, -1), ("t", 0, "", 0), ("t", 0, "a:b", 0)]
)
def test_event_id_refuses_what_could_make_two_places_one(parts: tuple[str, int, int | str, int]) -> None:
    with pytest.raises(ValueError, match=r"event id|count from 0|colon"):
        event_id(*parts)
