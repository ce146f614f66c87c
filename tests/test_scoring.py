"""Scoring of plans: each rule, in both directions."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessage, HumanMessage, ToolCall
from llm4rec.agent.tuning.heldout import (
    Record,
    Table,
    list_query,
    past_of,
    place_of,
    read_records,
    request_of,
    shells_for,
)
from llm4rec.agent.tuning.scoring import (
    Answer,
    Counts,
    Result,
    Scored,
    Share,
    ask,
    count_arguments,
    evaluate,
    fits,
    plan_right,
    same_name,
    valid,
)
from llm4rec.agent.tuning.shells import Shell, make_shell
from llm4rec.errors import TurnError, UserError
from llm4rec.graphs.planner import ASKED, PlanRequest
from pydantic import ValidationError

LIST = ("Heat", "Ronin", "Das Boot")
TOOLS = tuple(make_shell("films").tools())


def record(required: str = "", allowed: str = "", **fields: Any) -> Record:
    given: dict[str, Any] = {"kind": "k", "domain": "films", "say": "say", "args": {}, "reply": not required, **fields}
    return Record.model_validate({**given, "required": required.split(), "allowed": allowed.split()})


def call(name: str, /, **arguments: Any) -> dict[str, Any]:
    return {"name": name, "args": arguments}


def answer(*calls: Mapping[str, Any], **fields: Any) -> Answer:
    return Answer(**{"calls": calls, "seconds": 0.1, "failed": None, "valid": True, **fields})


# -- plans ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("required", "allowed", "called", "right"),
    [
        ("explain", "", "explain", True),
        ("explain", "", "", False),
        ("explain", "", "explain describe_item", False),
        ("explain", "describe_item", "explain describe_item", True),
        ("explain", "describe_item", "describe_item", False),
        ("record_feedback record_feedback", "", "record_feedback record_feedback", True),
        ("record_feedback record_feedback", "", "record_feedback", False),
        ("record_feedback", "", "record_feedback record_feedback", False),
        ("record_feedback", "record_feedback", "record_feedback record_feedback", True),
        ("search_items", "recommend", "search_items", True),
        ("search_items", "recommend", "recommend", True),
        ("recommend", "search_items", "search_items", True),
        ("search_items", "recommend", "search_items recommend", False),
        ("search_items", "recommend", "", False),
        ("search_items", "", "recommend", False),
        ("record_feedback recommend", "search_items", "record_feedback search_items", True),
        ("record_feedback recommend", "search_items", "search_items", False),
        ("record_feedback recommend", "search_items", "record_feedback", False),
        ("record_feedback", "search_items recommend", "record_feedback", True),
        ("record_feedback", "search_items recommend", "record_feedback recommend", True),
        ("record_feedback", "search_items recommend", "record_feedback recommend search_items", False),
        ("", "", "", True),
        ("", "", "recommend", False),
        ("", "recommend", "recommend", True),
        ("", "recommend", "explain", False),
    ],
)
def test_plans(required: str, allowed: str, called: str, right: bool) -> None:
    assert plan_right(record(required, allowed), called.split()) is right


@given(
    st.lists(st.sampled_from(TOOLS[2:]), max_size=3),
    st.sampled_from([(), ("search_items",), ("recommend",)]),
    st.permutations(TOOLS),
    st.randoms(use_true_random=False),
)
def test_the_required_tools_alone_are_right_in_any_order(
    others: list[str], listing: tuple[str, ...], tools: Sequence[str], random: Any
) -> None:
    required = [*others, *listing]
    allowed = [tool for tool in tools if tool not in required][:2]
    shuffled = random.sample(required, len(required))
    assert plan_right(record(" ".join(required), " ".join(allowed)), shuffled)
    strange = [tool for tool in TOOLS if tool not in (*required, *allowed)]
    assert not any(plan_right(record(" ".join(required), " ".join(allowed)), [*shuffled, tool]) for tool in strange)


# -- values ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "wanted", "fit"),
    [
        ("query", "a SUBMARINE thriller", "submarine", True),
        ("query", "boats", "submarine", False),
        ("query", "sub", "submarine", False),
        ("about", "café noir", "Cafe", True),
        ("without", "sad endings", "sad", True),
        ("genres", "comedy", "Comedy", True),
        ("genres", "Romantic Comedy", "Comedy", False),
        ("year_min", 1980, 1980, True),
        ("year_min", 1981, 1980, False),
        ("year_min", "1980", 1980, False),
        ("rating", True, 1, False),
        ("more", "year", "year", True),
        ("more", "runtime", "year", False),
        ("named", "Leto", "Jared Leto", True),
        ("named", "Meryl Streep", "Streep", True),
        ("named", "Merryl Streep", "Meryl Streep", True),
        ("named", "Tom Hanks", "Meryl Streep", False),
        ("like", "number 2", "Ronin", True),
        ("like", "Ronin", "number 2", True),
        ("like", "last", "number 3", True),
        ("like", "number 1", "Ronin", False),
        ("like", "number 9", "number 9", True),
        ("like", "number 9", "Ronin", False),
        ("item", (2, None), 2, True),
        ("item", (2, None), "Ronin", True),
        ("item", (None, "ronin"), 2, True),
        ("item", (None, "ronin"), "Ronin", True),
        ("item", (2, "Ronin"), 2, True),
        ("item", (1, "Ronin"), "Ronin", False),
        ("item", (1, None), "Ronin", False),
        ("item", (9, None), "Ronin", False),
    ],
)
def test_values(name: str, value: Any, wanted: str | int, fit: bool) -> None:
    assert fits(name, value, wanted, LIST) is fit


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The Lord of the Rings", "Lord of the Rings", True),
        ("Amélie", "amelie", True),
        ("Godfater", "Godfather", True),
        ("Us", "Us", True),
        ("Us", "All of Us Strangers", False),
        ("Heat", "The Wheatfield", False),
        ("Heat", "Ronin", False),
        ("", "Ronin", False),
    ],
)
def test_names(one: str, other: str, same: bool) -> None:
    assert same_name(one, other) is same
    assert same_name(other, one) is same


@given(st.text(max_size=30), st.text(max_size=30))
def test_names_are_compared_both_ways_alike(one: str, other: str) -> None:
    assert same_name(one, other) == same_name(other, one)


@pytest.mark.parametrize(
    ("text", "place"), [("number 2", 2), ("Number 12", 12), ("#3", 3), ("last", -1), ("Number 23, the film", None)]
)
def test_places(text: str, place: int | None) -> None:
    assert place_of(text) == place


# -- arguments ------------------------------------------------------------------------------------------------


def counted(of: Record, *calls: Mapping[str, Any]) -> tuple[int, int, int]:
    found = count_arguments(of, calls)
    return found.matched, found.wrong, found.missing


SEARCH = record(
    "search_items",
    args={"search_items": {"query": ["submarine", "u-boat"], "year_min": 1980}},
    may={"search_items": ["genres"]},
)


@pytest.mark.parametrize(
    ("arguments", "counts"),
    [
        ({"query": "submarine crew", "year_min": 1980}, (2, 0, 0)),
        ({"query": "U-Boat", "year_min": 1980, "genres": "War"}, (2, 0, 0)),
        ({"query": "submarine"}, (1, 0, 1)),
        ({"query": "boats", "year_min": 1980}, (1, 1, 1)),
        ({"query": "submarine", "year_min": 1990}, (1, 1, 1)),
        ({"query": "submarine", "year_min": 1980, "year_max": 1989}, (2, 1, 0)),
        ({"query": "submarine", "year_min": 1980, "named": "Sean Connery", "without": "war"}, (2, 2, 0)),
        ({}, (0, 0, 2)),
    ],
)
def test_arguments_of_a_search(arguments: dict[str, Any], counts: tuple[int, int, int]) -> None:
    assert counted(SEARCH, call("search_items", **arguments)) == counts


def test_what_is_not_called_is_missing_and_what_is_called_instead_is_wrong() -> None:
    assert counted(SEARCH) == (0, 0, 2)
    assert counted(SEARCH, call("describe_item", ordinal=1)) == (0, 1, 2)
    assert counted(SEARCH, call("record_feedback", verdict="like", title="Heat", rating=5)) == (0, 2, 2)


def test_a_query_that_was_not_expected_is_no_error() -> None:
    assert counted(record("search_items", args={}), call("search_items", query="boats")) == (0, 0, 0)
    assert counted(record("search_items", args={}), call("search_items", like="Heat")) == (0, 1, 0)


EITHER = record(
    "search_items",
    "recommend",
    args={"search_items": {"genres": "Comedy", "query": ["office"]}, "recommend": {"genres": "Comedy"}},
)


def test_either_list_is_held_to_its_own_arguments() -> None:
    assert counted(EITHER, call("search_items", genres="Comedy", query="office")) == (2, 0, 0)
    assert counted(EITHER, call("recommend", genres="Comedy")) == (1, 0, 0)
    assert counted(EITHER, call("recommend")) == (0, 0, 1)
    assert counted(EITHER) == (0, 0, 2)


def test_what_stands_in_unlabelled_takes_over_the_filters() -> None:
    unlabelled = record("search_items", "recommend", args={"search_items": {"genres": "Comedy", "query": ["office"]}})
    assert counted(unlabelled, call("recommend", genres="Comedy")) == (1, 0, 0)
    assert counted(unlabelled, call("recommend", genres="Drama")) == (0, 1, 1)


def test_an_allowed_tool_is_held_to_its_arguments_if_it_is_called() -> None:
    one = record("explain", "record_feedback", args={"record_feedback": {"verdict": ["seen", "dislike"]}})
    assert counted(one, call("explain")) == (0, 0, 0)
    assert counted(one, call("explain"), call("record_feedback", verdict="seen")) == (1, 0, 0)
    assert counted(one, call("explain"), call("record_feedback", verdict="like")) == (0, 1, 1)


@pytest.mark.parametrize("tool", ["describe_item", "explain", "record_feedback"])
def test_an_item_may_be_named_by_its_place(tool: str) -> None:
    by_place = record(tool, args={tool: {"ordinal": 2}}, list=LIST)
    by_title = record(tool, args={tool: {"title": "Ronin"}}, list=LIST)
    for one in (by_place, by_title):
        assert counted(one, call(tool, title="Ronin")) == (1, 0, 0)
        assert counted(one, call(tool, ordinal=2)) == (1, 0, 0)
        assert counted(one, call(tool, ordinal=3)) == (0, 1, 1)
        assert counted(one, call(tool)) == (0, 0, 1)


def test_an_item_left_open_may_be_given_but_a_taste_in_its_place_is_wrong() -> None:
    left_open = record("record_feedback", args={"record_feedback": {"verdict": "seen"}}, list=LIST)
    assert counted(left_open, call("record_feedback", verdict="seen", ordinal=1)) == (1, 0, 0)
    assert counted(left_open, call("record_feedback", verdict="seen", rating=4)) == (1, 1, 0)
    closed = record("record_feedback", args={"record_feedback": {"verdict": "like", "title": "Heat"}}, list=LIST)
    assert counted(closed, call("record_feedback", verdict="like", about="heat")) == (1, 1, 1)
    taste = record("record_feedback", args={"record_feedback": {"verdict": "like", "about": ["heat"]}})
    assert counted(taste, call("record_feedback", verdict="like", title="Heat")) == (1, 1, 1)


TWO = record(
    "record_feedback record_feedback",
    args={"record_feedback": {"verdict": "seen", "title": ["The Princess Bride", "Princess Bride", "Stardust"]}},
)


def test_two_calls_are_matched_as_sets() -> None:
    bride, dust = (call("record_feedback", verdict="seen", title=title) for title in ("princess bride", "Stardust"))
    assert counted(TWO, bride, dust) == counted(TWO, dust, bride) == (4, 0, 0)
    assert counted(TWO, bride, bride) == (3, 1, 1), "two spellings of one title are one title"
    assert counted(TWO, bride) == (2, 0, 2)
    assert counted(TWO, bride, call("record_feedback", verdict="like", title="Heat")) == (2, 2, 2)
    assert counted(TWO, bride, dust, dust) == (4, 2, 0)


def test_two_calls_by_place_and_by_title() -> None:
    both = record(
        "record_feedback record_feedback",
        args={"record_feedback": {"verdict": ["like", "dislike"], "ordinal": [2, 3]}},
        list=LIST,
    )
    calls = (
        call("record_feedback", verdict="dislike", ordinal=3),
        call("record_feedback", verdict="like", title="Ronin"),
    )
    assert counted(both, *calls) == (4, 0, 0)
    assert counted(both, calls[0], calls[0]) == (3, 1, 1)


NAMES = st.sampled_from(["genres", "year_min", "year_max", "query", "named", "without", "like"])
VALUES = {"genres": "Comedy", "year_min": 1980, "year_max": 1999, "query": "boats", "named": "Meryl Streep"}
ARGUMENTS = st.sets(NAMES).map(lambda names: {name: VALUES.get(name, "Das Boot") for name in names})


@given(ARGUMENTS, ARGUMENTS)
def test_every_expected_argument_is_matched_or_missing(expected: dict[str, Any], written: dict[str, Any]) -> None:
    found = count_arguments(record("search_items", args={"search_items": expected}), [call("search_items", **written)])
    assert found.matched + found.missing == len(expected)
    assert found.matched + found.wrong <= len(written)
    exact = count_arguments(record("search_items", args={"search_items": expected}), [call("search_items", **expected)])
    assert exact == Counts(matched=len(expected))


# -- records and requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {"required": ["explain"], "reply": True},
        {"required": [], "reply": False},
        {"required": ["explain"], "args": {"recommend": {"genres": "Comedy"}}},
        {"required": ["explain"], "may": {"recommend": ["genres"]}},
        {"required": ["search_items", "recommend"]},
        {"required": ["explain"], "say": ""},
        {"required": ["explain"], "domain": "cars"},
        {"required": ["explain"], "past": [{"say": "hi"}]},
        {"required": ["explain"], "surprise": 1},
    ],
)
def test_records_that_contradict_themselves(wrong: dict[str, Any]) -> None:
    fields = {"kind": "k", "domain": "films", "say": "s", "allowed": [], "args": {}, **wrong}
    with pytest.raises(ValidationError):
        Record.model_validate(fields)


def test_a_malformed_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "held.jsonl"
    good = {"kind": "k", "domain": "films", "say": "s", "required": ["explain"], "allowed": [], "args": {}}
    path.write_text(json.dumps(good) + "\n\n" + json.dumps({**good, "kind": ""}) + "\n", encoding="utf-8")
    with pytest.raises(UserError, match=r"held\.jsonl, line 3: kind"):
        read_records(path)


TALK = record(
    "search_items",
    say="newer ones",
    list=("Heat", "An Unheard-of Film"),
    past=[
        {"say": "hello", "reply": "Hello!"},
        {"say": "like Ronin", "plan": [["search_items", {"like": "Ronin"}]], "reply": "Here are two."},
    ],
    args={"search_items": {"like": "Ronin", "named": "Nobody Whom Anyone Knows", "more": "year"}},
)


def test_a_request_is_a_turn_of_a_thread() -> None:
    shell = shells_for([TALK])["films"]
    request = request_of(TALK, Table.of(shell))
    assert [type(message) for message in request.past] == [HumanMessage, AIMessage, HumanMessage, AIMessage, AIMessage]
    planned = request.past[3]
    assert isinstance(planned, AIMessage)
    assert [(one["name"], one["args"]) for one in planned.tool_calls] == [("search_items", {"like": "Ronin"})]
    assert [card.title for card in request.desk.bus.cards] == ["Heat", "An Unheard-of Film"]
    assert request.desk.bus.query == "like Ronin"
    assert request.desk.image is None
    ordinal = request.tools["explain"].as_openai()["function"]["parameters"]["properties"]["ordinal"]
    assert ordinal["maximum"] == 2
    names = {name for row in range(len(shell.catalogue)) for name in shell.catalogue.item(row).attributes["cast"]}
    assert "Nobody Whom Anyone Knows" in names
    assert shell.facets == shells_for([TALK])["films"].facets


def test_a_picture_comes_with_the_message() -> None:
    one = record("search_items", image=True)
    assert request_of(one, Table.of(make_shell("films"))).desk.image is not None


def test_what_the_list_answers() -> None:
    assert list_query(TALK.past) == "like Ronin"
    assert list_query(()) is None
    assert past_of(()) == []
    turns = record("explain", past=[{"say": "comedies", "plan": [["search_items", {"genres": "Comedy"}]]}]).past
    assert list_query(turns) == "comedies"
    turns = record("explain", past=[{"say": "anything", "plan": [["recommend", {}]]}]).past
    assert list_query(turns) is None


# -- many -----------------------------------------------------------------------------------------------------


class Fixed:
    """Plans as it is told, message by message; what is missing fails."""

    name = "fixed"

    def __init__(self, plans: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
        self._plans = plans

    def plan(self, request: PlanRequest) -> AIMessage:
        if request.desk.message not in self._plans:
            raise TurnError("cut off")
        calls = [
            ToolCall(name=c["name"], args=dict(c["args"]), id=str(at))
            for at, c in enumerate(self._plans[request.desk.message])
        ]
        return AIMessage("", tool_calls=calls, response_metadata={ASKED: 2})


def test_evaluation() -> None:
    records = [
        record("explain", say="why", args={"explain": {"ordinal": 2}}, list=LIST),
        record("recommend", say="any pen", domain="shop"),
        record("search_items", say="boats", args={"search_items": {"query": ["boat"]}}),
        record("explain", say="never answered"),
    ]
    plans = {
        "why": [call("explain", ordinal=2)],
        "any pen": [call("recommend", genres="Comedy")],
        "boats": [call("recommend")],
    }
    made: list[Shell] = []
    steps: list[None] = []

    def make(shell: Shell) -> Fixed:
        made.append(shell)
        return Fixed(plans)

    result = evaluate(make, records, shells_for(records), progress=lambda: steps.append(None))
    assert [shell.domain for shell in made] == ["films", "shop"]
    assert len(steps) == 4
    assert [one.record.say for one in result.scored] == ["why", "any pen", "boats", "never answered"]
    assert result.plan == Share(2, 4)
    assert result.right == Share(1, 4), "the shop has no genres"
    assert result.valid == Share(2, 4), "neither has its tool"
    assert result.f1 == pytest.approx(2 * 1 / (2 * 1 + 1 + 1))
    assert {name: part.plan for name, part in result.by(lambda one: one.domain).items()} == {
        "films": Share(1, 3),
        "shop": Share(1, 1),
    }
    row = result.row()
    assert row["planner"] == "fixed"
    assert row["failed"] == 1
    assert row["model calls a plan"] == 2.0
    told = json.loads(json.dumps(result.as_json()))
    assert told["plan_right"]["right"] == 2
    assert told["arguments"]["missing"] == 1
    assert set(told["by_domain"]) == {"films", "shop"}


def test_tokens_are_told_where_the_answer_tells_them() -> None:
    class Telling:
        name = "telling"

        def plan(self, request: PlanRequest) -> AIMessage:
            return AIMessage("hi", usage_metadata={"input_tokens": 90, "output_tokens": 7, "total_tokens": 97})

    one = record()
    got = ask(Telling(), request_of(one, Table.of(make_shell("films"))))
    assert got.tokens == (90, 7)
    assert got.asked == 1
    assert got.valid
    assert Result("telling", (Scored.of(one, got),)).row()["tokens read"] == 90


def test_schemas() -> None:
    tools = make_shell("films").tools(3)
    assert valid(tools, [call("explain", ordinal=3), call("search_items", genres="Comedy", more="year")])
    assert not valid(tools, [call("explain", ordinal=4)])
    assert not valid(tools, [call("search_items", genres="Cheese")])
    assert not valid(tools, [call("delete_everything")])
    assert valid(tools, [])


@given(st.lists(st.tuples(*[st.integers(0, 3)] * 3), min_size=1, max_size=30))
def test_the_interval_of_f1_is_in_bounds_and_repeats(counts: list[tuple[int, int, int]]) -> None:
    scored = tuple(Scored(record("explain"), answer(), True, Counts(*one)) for one in counts)
    result = Result("any", scored)
    low, high = result.f1_interval(resamples=50)
    assert 0 <= low <= high <= 1
    assert (low, high) == result.f1_interval(resamples=50)
    matched, wrong, missing = (sum(column) for column in zip(*counts, strict=True))
    whole = 2 * matched + wrong + missing
    assert result.f1 == pytest.approx(2 * matched / whole if whole else 1.0)


def test_without_arguments_there_is_nothing_wrong() -> None:
    assert Result("any", (Scored.of(record(), answer()),)).f1 == 1.0
    wrong = Scored.of(record(), answer(call("search_items", genres="Comedy")))
    assert not wrong.right
    assert Result("any", (wrong,)).f1 == 0.0
    failed = Scored.of(record(), answer(failed="cut off", valid=False))
    assert not failed.plan_right, "a turn that failed is no plain reply"
