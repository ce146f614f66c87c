"""The default planner: its demonstrations, how it uses them, and how often it is right on what people may say."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from llm4rec import prompts
from llm4rec.agent.planners import planner_of
from llm4rec.catalog.encoders import TextEncoder, load_text_encoder
from llm4rec.catalog.items import Catalogue, Item
from llm4rec.catalog.text import fold
from llm4rec.errors import TurnError
from llm4rec.graphs.demonstrations import DemonstrationIndex, Shape
from llm4rec.graphs.planner import LlmPlanner
from llm4rec.tools import toolbox
from llm4rec.tools.base import Bus
from llm4rec.tools.facets import choose_facets
from llm4rec.tools.wording import words_said
from PIL import Image
from planning_cases import FACETS, MENTIONS, Case, cases, outcomes, request_of, wilson
from pydantic import Field, ValidationError
from scripted import ScriptedChatModel, calls

TOOLS = toolbox(FACETS, ordinals=5)
LIST = ("Heat", "Ronin", "Das Boot")
#: Demonstrations that ask for a price fit a shop, and are left out where nothing has one.
SHOP = choose_facets(
    Catalogue.of([Item(f"p{n}", f"Pen {n}", attributes={"price": float(n), "brand": f"B{n % 3}"}) for n in range(250)])
)


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return load_text_encoder()


@pytest.fixture(scope="module")
def index(encoder: TextEncoder) -> DemonstrationIndex:
    return DemonstrationIndex(encoder.encode, TOOLS)


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel()


@pytest.fixture
def planner(model: ScriptedChatModel, index: DemonstrationIndex) -> LlmPlanner:
    return LlmPlanner(model, name="scripted", tools=TOOLS, demonstrations=index, mentions=MENTIONS.read)


def case(say: str, shown: tuple[str, ...] = ()) -> Case:
    return Case(kind="", say=say, shown=shown, tools=(), arguments={}, split="")


def planned(answer: AIMessage) -> list[tuple[str, dict[str, Any]]]:
    return [(call["name"], call["args"]) for call in answer.tool_calls]


# -- demonstrations -------------------------------------------------------------------------------------------


def test_no_case_is_a_demonstration(encoder: TextEncoder) -> None:
    said = [one.say for one in cases()]
    shown = [one.say for one in prompts.demonstrations()]
    assert not {fold(text) for text in said} & {fold(text) for text in shown}
    assert float((encoder.encode(said) @ encoder.encode(shown).T).max()) < 0.95


def test_the_cases_are_halved() -> None:
    splits = [one.split for one in cases()]
    assert splits.count("dev") == splits.count("held") == 50


@pytest.mark.parametrize("demonstration", prompts.demonstrations(), ids=lambda d: d.say)
def test_demonstrations_call_what_there_is(demonstration: prompts.Demonstration) -> None:
    assert bool(demonstration.reply) == (not demonstration.calls)
    own = {word.casefold() for word in words_said(demonstration.say, most=100)}
    for call in demonstration.calls:
        try:
            TOOLS[call["name"]].arguments.model_validate(call["arguments"])
        except ValidationError:
            toolbox(SHOP, ordinals=5)[call["name"]].arguments.model_validate(call["arguments"])
        for argument in ("query", "about"):
            text = call["arguments"].get(argument, "")
            for word in words_said(text):
                assert any(one.startswith(word.casefold()) for one in own), "said in the user's own words"


def test_no_demonstration_twice() -> None:
    shown = [fold(one.say) for one in prompts.demonstrations()]
    assert len(set(shown)) == len(shown)


def test_a_shop_is_not_shown_how_to_ask_for_a_genre(encoder: TextEncoder) -> None:
    shop = DemonstrationIndex(encoder.encode, toolbox(SHOP, ordinals=5))
    near = shop.nearest("comedies from the eighties", most=500)
    assert not any("genres" in call["arguments"] for demo, _ in near for call in demo.calls)
    assert shop.shape(MENTIONS.read("pens under 20 dollars")).tools in (("search_items",), ("recommend",))


def test_shapes_of_parts(index: DemonstrationIndex) -> None:
    shape = index.shape(MENTIONS.read("I stopped watching Magnolia, something with more jokes please"))
    assert shape == Shape(("record_feedback", "search_items"))
    assert index.shape(MENTIONS.read("thank you! something with cats now")).tools == ("search_items",)


# -- the planner ----------------------------------------------------------------------------------------------


def test_where_nothing_is_left_open_the_model_is_not_asked(planner: LlmPlanner, model: ScriptedChatModel) -> None:
    answer = planner.plan(request_of(case("who plays in the second one?", LIST)))
    assert planned(answer) == [("describe_item", {"ordinal": 2})]
    assert not model.seen


def test_what_is_open_is_asked_under_a_narrow_schema(planner: LlmPlanner, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("record_feedback", {"verdict": "dislike", "about": "sad endings"})))
    answer = planner.plan(request_of(case("I hate sad endings")))
    assert planned(answer) == [
        ("record_feedback", {"verdict": "dislike", "about": "sad endings"}),
        ("recommend", {}),
    ]
    ((bound,),) = model.bound
    assert bound["function"]["parameters"]["properties"]["verdict"]["enum"] == ["dislike"]


def test_small_talk_gets_a_plain_reply(planner: LlmPlanner, model: ScriptedChatModel) -> None:
    answer = planner.plan(request_of(case("hello!")))
    assert not answer.tool_calls
    assert answer.content in {demo.reply for demo in prompts.demonstrations() if demo.reply}
    assert not model.seen


def test_it_is_what_the_last_plan_was_about(planner: LlmPlanner) -> None:
    asked = [HumanMessage("tell me about Casablanca"), calls(("describe_item", {"title": "Casablanca"}))]
    request = dataclasses.replace(request_of(case("who is in it?", LIST)), past=asked)
    assert planned(planner.plan(request))[0][1]["title"] == "Casablanca"
    listed = [*asked, HumanMessage("robots"), calls(("search_items", {"query": "robots"}))]
    request = dataclasses.replace(request, past=listed)
    assert planned(planner.plan(request))[0][1]["ordinal"] == 1


def test_a_bare_bound_narrows_down_the_list(planner: LlmPlanner) -> None:
    request = request_of(case("newer ones please", LIST))
    assert planned(planner.plan(request)) == [("recommend", {"year_min": 1996})]
    request.desk.bus = Bus(request.desk.bus.cards, query="heist")
    assert planned(planner.plan(request)) == [("search_items", {"year_min": 1996, "query": "heist"})]


def test_a_picture_is_searched_by(planner: LlmPlanner) -> None:
    request = request_of(case("what is this?"))
    request.desk.image = Image.new("RGB", (8, 8))
    assert [name for name, _ in planned(planner.plan(request))] == ["search_items"]


def test_a_large_model_is_not_fenced(model: ScriptedChatModel, index: DemonstrationIndex) -> None:
    model.enqueue(calls(("recommend", {})))
    open_planner = LlmPlanner(model, name="scripted", tools=TOOLS, demonstrations=index)
    open_planner.plan(request_of(case("who plays in the second one?", LIST)))
    assert len(model.bound[0]) == len(TOOLS)
    replies = [str(message.content) for message in model.seen[0] if isinstance(message, AIMessage)]
    assert "[]" not in replies


def test_a_model_that_answers_with_something_else_ends_the_turn(index: DemonstrationIndex) -> None:
    class Odd(ScriptedChatModel):
        def bind_tools(self, tools: Any, **kwargs: Any) -> Any:
            class Bound:
                def invoke(self, prompt: Any) -> HumanMessage:
                    return HumanMessage("no")

            return Bound()

    odd = LlmPlanner(Odd(), name="odd", tools=TOOLS, demonstrations=index, mentions=MENTIONS.read)
    with pytest.raises(TurnError, match="HumanMessage"):
        odd.plan(request_of(case("I hate sad endings")))


def test_a_taught_model_reads_ahead_while_a_person_reads(index: DemonstrationIndex) -> None:
    class Reading(ScriptedChatModel):
        read: list[Any] = Field(default_factory=list)

        def warm(self, messages: Any) -> None:
            self.read.append(list(messages))

    model = Reading()
    past = [HumanMessage("a heist"), calls(("search_items", {"query": "heist"})), AIMessage("These 2 are for “heist”.")]
    LlmPlanner(model, name="taught", tools=TOOLS, demonstrations=None).read_ahead(past, ["Heat", "Ronin"])
    ((system, said, plan, new),) = model.read
    assert str(system.content).startswith("You plan for a recommender.")
    assert (said.content, plan.content) == ("a heist", '[search_items{"query":"heist"}]')
    assert new.content.startswith('List: 1 "Heat"; 2 "Ronin"\n')
    # the prompt behind demonstrations depends on the message: nothing of it is known ahead
    LlmPlanner(model, name="shown", tools=TOOLS, demonstrations=index).read_ahead(past, ["Heat"])
    assert len(model.read) == 1


def test_a_taught_model_is_kept_to_the_words_of_the_conversation() -> None:
    model = ScriptedChatModel()
    model.enqueue(calls(("recommend", {})))
    taught = LlmPlanner(model, name="taught", tools=TOOLS, demonstrations=None, own_words=True)
    taught.plan(request_of(case("a slow western", LIST)))
    (search,) = [tool for tool in model.bound[0] if tool["function"]["name"] == "search_items"]
    words = search["function"]["parameters"]["properties"]["query"]["x-vocabulary"]
    assert {"slow", "western", "Das", "Boot", "heat"} <= set(words)


# -- how often it is right ------------------------------------------------------------------------------------


def test_the_interval_is_wilsons() -> None:
    assert wilson(47, 50) == pytest.approx((0.838, 0.979), abs=1e-3)
    assert wilson(50, 50) == pytest.approx((0.929, 1.0), abs=1e-3)


@pytest.mark.slow
def test_the_default_model_plans_the_cases(encoder: TextEncoder) -> None:
    """50 and 47 of 50 plans were right where it was tuned and where it was not; the floor lies well below."""
    from llm4rec.agent.llm import load_chat_model

    model, name = load_chat_model(None, max_tokens=320, timeout=600)
    default = planner_of(model, name, tools=TOOLS, encode=encoder.encode, mentions=MENTIONS.read)
    found = outcomes(default, cases())
    for one in found:
        tools = request_of(one.case).tools
        for call in one.calls:
            tools[call["name"]].arguments.model_validate(call["args"])
    assert sum(one.tools_right for one in found) >= 85
    assert sum(one.right for one in found) >= 80
