"""Schemas narrowed to a message: what can be decoded is what was said."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from gbnf import random_string
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.agent.grammar import ToolSchema, plan_grammar
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.graphs.encoding import decode_plan
from llm4rec.graphs.grounding import WORDS, Ground, narrow, only_choice
from llm4rec.tools import toolbox
from llm4rec.tools.facets import choose_facets
from llm4rec.tools.mentions import MentionIndex, Mentions, labels_said, wanted_and_refused
from llm4rec.tools.wording import words_said

GENRES = ("Action", "Comedy", "Drama", "Family", "Horror", "Romance", "War")
FILMS = Catalogue.of(
    [
        Item(
            f"f{n}",
            title,
            "the heat of a family moment",
            attributes={
                "cast": (star,),
                "year": float(1950 + n),
                "runtime": float(80 + n),
                "genres": (GENRES[n % len(GENRES)],),
                "moods": (f"mood{n}",),
            },
        )
        for n, (title, star) in enumerate(
            [("Heat", "Al Pacino"), ("Das Boot", "Tom Hanks"), ("The Matrix", "Colin Hanks"), ("Ronin", "Jean Reno")]
            + [(f"Film {n}", f"Star Number{n}") for n in range(60)]
        )
    ]
)
FACETS = choose_facets(FILMS)
INDEX = MentionIndex(FILMS, FACETS)
TOOLS = toolbox(FACETS, ordinals=3)


def said(labels: Sequence[str], mentions: Mentions, *, loosely: bool) -> tuple[set[str], set[str]]:
    return wanted_and_refused(labels_said(labels, mentions.bare), mentions)


def narrowed(tool: str, message: str, **ground: Any) -> Mapping[str, Any]:
    made = narrow(TOOLS[tool].as_openai(), Ground(message=message, mentions=INDEX.read(message), labels=said, **ground))
    parameters: Mapping[str, Any] = made["function"]["parameters"]
    return parameters


def values(tool: str, message: str, **ground: Any) -> dict[str, Any]:
    """The arguments there is one choice for."""
    properties = narrowed(tool, message, **ground)["properties"]
    return {name: schema["enum"][0] for name, schema in properties.items() if len(schema.get("enum", ())) == 1}


def test_the_facets_are_as_supposed() -> None:
    assert [spec.name for spec in FACETS.numbers] == ["year", "runtime"]
    assert [spec.name for spec in FACETS.choices] == ["genres"]
    assert {spec.name for spec in FACETS.names} == {"cast", "moods"}


@pytest.mark.parametrize(
    ("message", "titles", "unknown", "names"),
    [
        ("I hated Heat", ("Heat",), (), ()),
        ("feel the heat", (), (), ()),
        ("heat", ("Heat",), (), ()),
        ("hated heat", ("Heat",), (), ()),
        ("the heat is on", (), (), ()),
        ("Heat was great", ("Heat",), (), ()),
        ("loved ronin", ("Ronin",), (), ()),
        ("was das boot any good", ("Das Boot",), (), ()),
        ("loved matrix", ("The Matrix",), (), ()),
        ("films with Al Pacino", (), (), ("Al Pacino",)),
        ("something with pacino", (), (), ("Al Pacino",)),
        ("something with hanks", (), (), ("hanks",)),
        ("something like Zardoz", (), ("Zardoz",), ()),
        ("a story set in Paris", (), (), ()),
        ("a mood1 film", (), (), ()),
        ("I don't like War", (), (), ()),
        ("Ronin or Das Boot", ("Ronin", "Das Boot"), (), ()),
    ],
)
def test_titles_and_names(
    message: str, titles: tuple[str, ...], unknown: tuple[str, ...], names: tuple[str, ...]
) -> None:
    read = INDEX.read(message)
    assert (read.titles, read.unknown, read.names) == (titles, unknown, names)


def test_refused_names_are_kept_apart() -> None:
    read = INDEX.read("not another Tom Hanks film, something with Al Pacino")
    assert (read.names, read.refused_names) == (("Al Pacino",), ("Tom Hanks",))
    assert values("search_items", "something with Al Pacino, without Tom Hanks") == {
        "query": "Al Pacino without Tom Hanks",
        "named": "Al Pacino",
        "not_named": "Tom Hanks",
    }


def test_a_search_is_made_of_the_telling_words() -> None:
    parameters = narrowed("search_items", "can you show me something with robots that feel please?")
    assert parameters["properties"] == {"query": {"type": "string", "enum": ["robots feel"]}}
    assert parameters["required"] == ["query"]


def test_a_wish_after_feedback_is_searched_for_alone() -> None:
    message = "hated Heat, something funnier please"
    assert values("search_items", message, told=True) == {"query": "funnier"}


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("something like Ronin", {"like": "Ronin"}),
        ("like Ronin, but funnier", {"like": "Ronin", "query": "funnier"}),
        ("more like number 2", {"like": "number 2"}),
        ("more like the last one", {"like": "last"}),
        ("more like that", {"like": "number 1"}),
    ],
)
def test_a_likeness_is_to_what_was_named(message: str, arguments: dict[str, Any]) -> None:
    assert values("search_items", message, like=True) == arguments
    assert "like" not in narrowed("search_items", message)["properties"]


def test_numbers_that_fit_must_be_used() -> None:
    message = "comedies from the 1960s under 100 minutes"
    filters = ({"search_items": {"genres": "Drama"}},)
    assert values("search_items", message, examples=filters) == {
        "query": "comedies 1960s",
        "genres": "Comedy",
        "year_min": 1960,
        "year_max": 1969,
        "runtime_max": 100,
    }
    assert "year_min" not in narrowed("search_items", "number 3")["properties"]


def test_labels_filter_where_the_nearest_example_filters_or_nothing_else_carries_them() -> None:
    assert "genres" not in narrowed("search_items", "a family tricks another")["properties"]
    assert values("recommend", "recommend a drama") == {"genres": "Drama"}
    assert values("recommend", "anything, no horror") == {"not_genres": "Horror"}


def test_a_disliked_taste_is_refused_by_what_follows() -> None:
    message = "horror bores me"
    ground = Ground(message=message, mentions=INDEX.read(message), labels=said, taste=True)
    after = ground.after({"verdict": "dislike", "about": "horror"})
    tool = narrow(TOOLS["recommend"].as_openai(), after)
    assert only_choice(tool) == {"not_genres": "Horror"}
    assert ground.after({"verdict": "like", "about": "horror"}) is ground


@pytest.mark.parametrize(
    ("message", "arguments"),
    [
        ("loved Heat", {"verdict": "like", "title": "Heat"}),
        ("didn't like Heat", {"verdict": "dislike", "title": "Heat"}),
        ("seen Heat", {"verdict": "seen", "title": "Heat"}),
        ("the second one was awful", {"verdict": "dislike", "ordinal": 2}),
        ("I've seen the last one", {"verdict": "seen", "ordinal": 3}),
        ("loved it", {"verdict": "like", "ordinal": 1}),
        ("4/5 for Heat", {"verdict": "like", "title": "Heat", "rating": 4}),
        ("Heat: 2 out of 10", {"verdict": "dislike", "title": "Heat", "rating": 1}),
        ("I loved Zardoz", {"verdict": "like", "title": "Zardoz"}),
    ],
)
def test_feedback_is_what_was_said(message: str, arguments: dict[str, Any]) -> None:
    assert values("record_feedback", message) == arguments


def test_a_taste_is_about_the_words_that_tell_it() -> None:
    properties = narrowed("record_feedback", "I hate slow films tonight", taste=True)["properties"]
    assert properties["about"][WORDS] == ["slow"]
    assert properties["verdict"]["enum"] == ["dislike"]
    assert properties["scope"]["enum"] == ["tonight"]
    assert INDEX.read("slow pens, not by Acme").told_words == ("Acme",)
    # a label is written as the catalogue writes it, so that it is matched as one
    assert values("record_feedback", "no comedies please", taste=True) == {"verdict": "dislike", "about": "Comedy"}
    assert values("record_feedback", "I like war films", taste=True) == {"verdict": "like", "about": "War"}


def test_it_is_what_was_spoken_of() -> None:
    question = "is it scary?"
    assert values("describe_item", question, focus={"ordinal": 2}) == {"ordinal": 2}
    assert values("describe_item", question, focus={"title": "Heat"}) == {"title": "Heat"}
    assert values("describe_item", "is the third scary?", focus={"ordinal": 2})["ordinal"] == 3


def test_a_comparison_is_with_the_list() -> None:
    shown = {"year": [1960.0, 1970.0, 1990.0], "runtime": [90.0, 100.0, 120.0]}
    assert values("recommend", "newer ones", shown=shown) == {"year_min": 1971}
    assert values("recommend", "shorter please", shown=shown) == {"runtime_max": 99}
    assert values("search_items", "older", shown=shown, query="robots") == {"query": "robots", "year_max": 1969}


def test_only_choice_needs_every_argument_fixed() -> None:
    bias = narrow(TOOLS["estimate_bias"].as_openai(), Ground("x", INDEX.read("x"), said))
    assert only_choice(bias) == {}
    open_question = narrow(TOOLS["record_feedback"].as_openai(), Ground("hm", INDEX.read("hm"), said))
    assert only_choice(open_question) is None


_GROUNDS = st.fixed_dictionaries(
    {
        "taste": st.booleans(),
        "like": st.booleans(),
        "told": st.booleans(),
        "focus": st.sampled_from([{}, {"ordinal": 2}]),
    }
)


_PIECES = (
    "loved",
    "Heat",
    "not",
    "Ronin",
    "comedy",
    "horror",
    "number",
    "2",
    "4/5",
    "1994",
    "under",
    "90",
    "it",
    ",",
    "?",
)


@given(st.text(max_size=200), st.sampled_from(sorted(TOOLS)), _GROUNDS)
def test_any_message_narrows(message: str, tool: str, ground: dict[str, Any]) -> None:
    for word in words_said(message):
        assert word in message
    parameters = narrowed(tool, message, **ground)
    assert set(parameters["required"]) <= set(parameters["properties"])
    for schema in parameters["properties"].values():
        assert schema.get("enum", [0]) != []


@given(
    st.lists(st.sampled_from(_PIECES), max_size=9),
    st.sampled_from(sorted(TOOLS)),
    _GROUNDS,
    st.integers(0, 10_000),
)
def test_what_the_grammar_lets_through_is_valid(words: list[str], tool: str, ground: dict[str, Any], seed: int) -> None:
    message = " ".join(words)
    made = narrow(TOOLS[tool].as_openai(), Ground(message=message, mentions=INDEX.read(message), labels=said, **ground))
    grammar = plan_grammar([ToolSchema.of(made)], max_calls=1)
    (call,) = decode_plan(random_string(grammar, random.Random(seed)))
    TOOLS[tool].arguments.model_validate(call["arguments"])
    fixed = only_choice(made)
    if fixed is not None:
        assert call["arguments"] == fixed
