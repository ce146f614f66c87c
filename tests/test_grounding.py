"""Schemas narrowed to a message: what can be decoded is what was said."""

from __future__ import annotations

import json
import random
from collections.abc import Collection, Sequence
from typing import Any

import pytest
from gbnf import random_string
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.agent.grammar import ToolSchema, plan_grammar
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.graphs.grounding import WORDS, narrow
from llm4rec.tools.facets import choose_facets
from llm4rec.tools.mentions import MentionIndex, numbers_said, words_said

TOOL = {
    "type": "function",
    "function": {
        "name": "search",
        "description": "find",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"anyOf": [{"type": "string", "maxLength": 80}, {"type": "null"}], "default": None},
                "year_min": {
                    "anyOf": [{"type": "integer", "minimum": 0, "maximum": 4000}, {"type": "null"}],
                    "default": None,
                },
                "year_max": {
                    "anyOf": [{"type": "integer", "minimum": 0, "maximum": 4000}, {"type": "null"}],
                    "default": None,
                },
                "genres": {
                    "anyOf": [{"enum": ["A", "B", "C", "D", "E", "Comedy"], "type": "string"}, {"type": "null"}]
                },
                "ordinal": {
                    "anyOf": [{"type": "integer", "minimum": 1, "maximum": 5}, {"type": "null"}],
                    "ordinal": True,
                },
            },
            "required": [],
        },
    },
}


FILMS = Catalogue.of(
    [
        Item(f"f{n}", title, attributes={"cast": (star,), "year": float(1950 + n)})
        for n, (title, star) in enumerate(
            [("Heat", "Al Pacino"), ("Das Boot", "Tom Hanks"), ("The Matrix", "Colin Hanks")]
            + [(f"Film {n}", f"Star Number{n}") for n in range(60)]
        )
    ]
)
INDEX = MentionIndex(FILMS, choose_facets(FILMS))


def near(labels: Sequence[str]) -> Collection[str]:
    return {label for label in labels if label == "Comedy"}


def properties(message: str) -> dict[str, Any]:
    (tool,) = narrow([TOOL], message, INDEX.read(message), labels_near=near)
    found: dict[str, Any] = tool["function"]["parameters"]["properties"]
    return found


@pytest.mark.parametrize(
    ("message", "lows", "highs"),
    [
        ("a comedy from the eighties", (1980,), (1989,)),
        ("90s thrillers", (1990,), (1999,)),
        ("the 1950s", (1950,), (1959,)),
        ("from the 2010s", (2010,), (2019,)),
        ("after 2003", (2003,), ()),
        ("before 1960", (), (1960,)),
        ("under 90 minutes", (), (90,)),
        ("from 1960", (1960,), (1960,)),
        ("something sad", (), ()),
    ],
)
def test_numbers_are_those_said(message: str, lows: tuple[int, ...], highs: tuple[int, ...]) -> None:
    assert numbers_said(message) == (lows, highs)


def test_fields_follow_the_message() -> None:
    said = properties("funny ones from the eighties")
    assert said["query"][WORDS] == ["funny", "ones", "from", "the", "eighties"]
    assert said["year_min"]["enum"] == [1980]
    assert said["year_max"]["enum"] == [1989]
    assert said["genres"]["enum"] == ["Comedy"]
    assert "year_min" not in properties("funny ones")


def test_an_ordinal_needs_something_that_points() -> None:
    assert "ordinal" in properties("why the first one?")
    assert "ordinal" not in properties("something sad")


def test_a_tool_whose_required_field_cannot_be_made_is_left_out() -> None:
    function = {**TOOL["function"], "parameters": {**TOOL["function"]["parameters"], "required": ["ordinal"]}}  # type: ignore[dict-item]
    assert narrow([{"type": "function", "function": function}], "sad", INDEX.read("sad"), labels_near=near) == []


@given(st.text(max_size=200))
def test_any_message_narrows(message: str) -> None:
    for word in words_said(message):
        assert word in message
    for tool in narrow([TOOL], message, INDEX.read(message), labels_near=near):
        for schema in tool["function"]["parameters"]["properties"].values():
            assert schema.get("enum", [0]) != []


@given(st.text(min_size=1, max_size=120), st.integers(0, 10_000))
def test_what_the_grammar_lets_through_was_said(message: str, seed: int) -> None:
    tools = narrow([TOOL], message, INDEX.read(message), labels_near=near)
    grammar = plan_grammar([ToolSchema.of(tool) for tool in tools])
    for call in json.loads(random_string(grammar, random.Random(seed))):
        query = call["arguments"].get("query")
        if query is not None:
            said = iter(words_said(message))
            assert all(word in said for word in query.split(" ")), "words of the message, in order"
            assert len(query) <= 80


@pytest.mark.parametrize(
    ("message", "titles", "capitals", "names"),
    [
        ("I hated Heat", ("Heat",), (), ()),
        ("feel the heat", (), (), ()),
        ("heat", ("Heat",), (), ()),
        ("was das boot any good", ("Das Boot",), (), ()),
        ("films with Al Pacino", (), ("Al Pacino",), ("Al Pacino",)),
        ("something with pacino", (), (), ("Al Pacino",)),
        ("something with hanks", (), (), ("hanks",)),
        ("something like Zardoz", (), ("Zardoz",), ()),
    ],
)
def test_mentions(message: str, titles: tuple[str, ...], capitals: tuple[str, ...], names: tuple[str, ...]) -> None:
    read = INDEX.read(message)
    assert (read.titles, read.capitals, read.names) == (titles, capitals, names)


def test_titles_and_names_come_from_the_catalogue() -> None:
    tool = {
        "type": "function",
        "function": {
            "name": "t",
            "description": "",
            "parameters": {
                "type": "object",
                "properties": {
                    "title": {"type": "string"},
                    "named": {"type": "string"},
                    "not_named": {"type": "string"},
                },
            },
        },
    }

    def narrowed(message: str) -> dict[str, Any]:
        (one,) = narrow([tool], message, INDEX.read(message), labels_near=near)
        found: dict[str, Any] = one["function"]["parameters"]["properties"]
        return found

    assert narrowed("loved the matrix") == {"title": {"type": "string", "enum": ["The Matrix"]}}
    assert narrowed("no Al Pacino please").keys() == {"title", "named", "not_named"}
    assert narrowed("something quiet") == {}
