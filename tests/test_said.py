"""A taught planner writes words of the conversation."""

from __future__ import annotations

import random

import gbnf
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from llm4rec.agent.grammar import VOCABULARY as KEYWORD
from llm4rec.agent.grammar import GrammarError, ToolSchema, plan_grammar
from llm4rec.graphs.encoding import decode_plan
from llm4rec.graphs.said import VOCABULARY, within, words_of

SEARCH = {
    "type": "function",
    "function": {
        "name": "search_items",
        "description": "find",
        "parameters": {
            "type": "object",
            "properties": {
                "query": {"type": "string", "minLength": 1, "maxLength": 120},
                "like": {"type": "string", "minLength": 1, "maxLength": 120},
                "genres": {"type": "string", "enum": ["Comedy", "War"]},
                "year_min": {"type": "integer", "minimum": 1900, "maximum": 2030},
            },
            "additionalProperties": False,
        },
    },
}


def plans(tool: dict[str, object], count: int = 100) -> list[str]:
    grammar = plan_grammar([ToolSchema.of(tool)], max_calls=1)
    return [gbnf.random_string(grammar, random.Random(seed)) for seed in range(count)]


def test_grammar_and_planner_speak_of_the_same_keyword() -> None:
    assert KEYWORD == VOCABULARY


def test_words_are_those_of_the_message_the_list_and_the_turns_before() -> None:
    past = [
        HumanMessage("a heist, please"),
        AIMessage(
            "", tool_calls=[ToolCall(name="search_items", args={"query": "bank heist", "year_min": 1990}, id="1")]
        ),
    ]
    found = words_of("Kubrick's feel-good ones?", past, ["Das Boot"])
    assert found[0] == "Kubrick's"
    assert {"Kubrick", "kubrick", "feel-good", "feel", "good", "ones", "Das", "boot", "heist", "bank"} <= set(found)
    assert "Hitchcock" not in found
    assert "1990" not in found
    assert words_of("…", [], []) == []
    assert words_of("light...but not stupid?...no", [], []) == ["light", "but", "not", "stupid", "no"]


@given(message=st.text(max_size=80), seed=st.integers(0, 50))
@settings(max_examples=60, deadline=None)
def test_every_plan_under_the_words_is_made_of_them(message: str, seed: int) -> None:
    words = words_of(message, [], [])
    tool = within(SEARCH, words)
    if not words:
        assert tool == SEARCH
        return
    grammar = plan_grammar([ToolSchema.of(tool)], max_calls=1)
    (call,) = decode_plan(gbnf.random_string(grammar, random.Random(seed)))
    query = call["arguments"].get("query", "")
    assert len(query) <= 120
    assert set(query.split(" ")) <= {*words, ""}


def test_numbers_and_labels_stay_a_free_choice_and_likeness_may_name_a_place() -> None:
    tool = within(SEARCH, ["submarine"])
    written = " ".join(plans(tool))
    assert "War" in written
    assert "number" in written
    assert all("Hitchcock" not in plan for plan in plans(tool))
    assert SEARCH["function"]["parameters"]["properties"]["query"] == {  # type: ignore[index]
        "type": "string",
        "minLength": 1,
        "maxLength": 120,
    }


def test_a_word_that_does_not_fit_is_left_out() -> None:
    tool = within(SEARCH, ["x" * 200, "war"])
    assert all("xx" not in plan for plan in plans(tool, 30))


def test_what_is_no_list_of_words_is_refused() -> None:
    tool = {"name": "t", "parameters": {"type": "object", "properties": {"q": {"type": "string", VOCABULARY: "war"}}}}
    with pytest.raises(GrammarError, match="needs a list of words"):
        plan_grammar([ToolSchema.of(tool)], max_calls=1)
