"""The graph, driven by a scripted model over a real workspace (real encoders, Chroma, SQLite, EASE)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from llm4rec.agent.recommender import Recommender
from llm4rec.errors import UserError
from llm4rec.graphs.encoding import decode_plan
from llm4rec.graphs.prompting import PAST_LIMIT
from llm4rec.graphs.state import ItemsReady, NodeStarted, TurnFinished
from scripted import ScriptedChatModel, calls


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel()


@pytest.fixture
def talk(shop: Path, model: ScriptedChatModel) -> Iterator[Recommender]:
    with Recommender.open(shop, chat_model=model) as opened:
        yield opened


def test_a_search_shows_items_with_claims(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("search_items", {"query": "warm light for my desk"})))
    turn = talk.chat("u1", "warm light for my desk")
    assert any("lamp" in card.title for card in turn.cards[:3])
    evidence = {record.id for record in turn.evidence}
    for card in turn.cards:
        assert card.claims
        assert all(set(claim.evidence) <= evidence for claim in card.claims)
    assert turn.tools[0].ok
    assert turn.planner == "a model of your own"


def test_the_list_comes_before_the_words(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("recommend", {})))
    events = list(talk.stream("u1", "surprise me"))
    kinds = [type(event) for event in events]
    nodes = [event.node for event in events if isinstance(event, NodeStarted)]
    assert nodes == ["recall", "plan", "act", "respond", "remember"]
    assert kinds.index(ItemsReady) < len(kinds) - 2
    assert isinstance(events[-1], TurnFinished)


def test_nothing_seen_is_recommended(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("recommend", {})))
    seen = {talk.knowledge.catalogue.ids[row] for row in talk.knowledge.interactions.of_user("u1").items}
    assert seen
    assert not seen & {card.id for card in talk.chat("u1", "surprise me", k=50).cards}


def test_feedback_is_committed_before_ranking(talk: Recommender, model: ScriptedChatModel) -> None:
    # the model names the search first; feedback runs first all the same
    model.enqueue(
        calls(
            ("search_items", {"query": "pen", "like": "Acme pen 1"}),
            ("record_feedback", {"verdict": "seen", "title": "Borealis pen 1"}),
        )
    )
    turn = talk.chat("new", "seen the Borealis pen, show me other pens", k=50)
    assert [run.name for run in turn.tools] == ["record_feedback", "search_items"]
    assert "Borealis pen 1" not in {card.title for card in turn.cards}
    assert turn.events
    assert len(talk.knowledge.store.events("new")) == 1


def test_a_disliked_label_vanishes_from_lists(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(
        calls(("record_feedback", {"verdict": "dislike", "about": "Acme"}), ("recommend", {})), calls(("recommend", {}))
    )
    first = talk.chat("new", "no Acme please", k=50)
    second = talk.chat("new", "and now?", k=50)
    for turn in (first, second):
        assert turn.cards
        assert not any(card.attributes["brand"] == "Acme" for card in turn.cards)


def test_a_taste_for_tonight_stays_in_its_thread(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("record_feedback", {"verdict": "dislike", "about": "Acme", "scope": "tonight"})))
    talk.chat("new", "no Acme tonight", thread="tonight")
    model.enqueue(calls(("recommend", {})), calls(("recommend", {})))
    here = talk.chat("new", "show", thread="tonight", k=50)
    there = talk.chat("new", "show", thread="tomorrow", k=50)
    assert not any(card.attributes["brand"] == "Acme" for card in here.cards)
    assert any(card.attributes["brand"] == "Acme" for card in there.cards)


def test_ordinals_point_at_the_last_list(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("search_items", {"query": "office chair"})))
    shown = talk.chat("u1", "a chair").cards
    model.enqueue(calls(("explain", {"ordinal": 2})), calls(("record_feedback", {"verdict": "like", "ordinal": 2})))
    why = talk.chat("u1", "why the second?")
    assert shown[1].title in why.reply.replace("\\", "")
    assert why.cards[0].id == shown[1].id
    liked = talk.chat("u1", "I like it")
    assert talk.profile("u1").items[shown[1].id].kind == "like"
    assert liked.events


def test_threads_survive_a_restart(shop: Path, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("search_items", {"query": "headphones"})), calls(("explain", {"ordinal": 1})))
    with Recommender.open(shop, chat_model=model) as before:
        shown = before.chat("u1", "headphones").cards
    with Recommender.open(shop, chat_model=model) as after:
        turn = after.chat("u1", "why the first?")
    assert turn.number == 2
    assert turn.cards[0].id == shown[0].id


def test_a_recoverable_error_is_planned_again(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(
        calls(("search_items", {"query": "pen", "price_min": 80, "price_max": 10})),
        calls(("search_items", {"query": "pen", "price_max": 80})),
    )
    turn = talk.chat("u1", "pens up to 80")
    assert [run.ok for run in turn.tools] == [False, True]
    assert turn.cards
    assert "price_min" in str(model.seen[1][-1].content)


def test_four_rounds_at_most(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(*(calls(("search_items", {"query": "pen", "price_min": 90 + i, "price_max": i})) for i in range(9)))
    turn = talk.chat("u1", "pens")
    assert len(turn.tools) == 4
    assert not turn.cards
    assert "could not" in turn.reply


def test_a_failing_call_that_is_planned_again_as_it_was_is_told(talk: Recommender, model: ScriptedChatModel) -> None:
    empty = calls(("search_items", {"query": "pen", "price_min": 90, "price_max": 10}))
    model.enqueue(empty, empty)
    turn = talk.chat("u1", "a pen from 90 up to 10")
    assert [run.ok for run in turn.tools] == [False, False]
    assert "price_min 90 is above price_max 10" in turn.reply.replace("\\", "")


def test_a_failing_model_is_said_and_rules_plan(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(RuntimeError("gone"))
    turn = talk.chat("u1", "recommend something")
    assert turn.cards
    assert any("language model failed" in notice for notice in turn.notices)


def test_an_unclear_title_is_asked_back(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("record_feedback", {"verdict": "like", "title": "pen"})))
    turn = talk.chat("u1", "I like the pen")
    assert not turn.events
    assert " or " in turn.reply
    assert len(model.seen) == 1


def test_a_plain_reply(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(AIMessage("Hello! What are you after?"))
    assert talk.chat("u1", "hi").reply.startswith("Hello!")


def test_the_prompt_has_a_constant_prefix_and_bounded_past(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(*(calls(("recommend", {})) for _ in range(6)))
    for turn in range(6):
        talk.chat("u1", f"message {turn}")
    prefixes = {str(prompt[0].content) for prompt in model.seen}
    assert len(prefixes) == 1
    assert max(len(prompt) for prompt in model.seen) < 30
    assert isinstance(model.seen[-1][-1], HumanMessage)


@pytest.mark.parametrize(
    ("text", "k", "complaint"), [("", 5, "empty"), ("x" * 5000, 5, "5000"), ("hi", 0, "k is 0"), ("hi", 51, "k is 51")]
)
def test_impossible_requests(talk: Recommender, text: str, k: int, complaint: str) -> None:
    with pytest.raises(UserError, match=complaint):
        talk.chat("u1", text, k=k)


def test_users_do_not_share_threads(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("search_items", {"query": "lamp"})), calls(("explain", {"ordinal": 1})))
    talk.chat("u1", "lamp")
    other = talk.chat("u2", "why the first?")
    assert other.number == 1
    assert not other.cards


def test_a_search_that_says_no_more_than_its_filters_is_a_ranking(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(
        calls(("search_items", {"query": "good Acme products", "brand": "Acme"})),
        calls(("recommend", {"brand": "Acme"})),
        calls(("search_items", {"query": "Acme desk lamp", "brand": "Acme"})),
    )
    searched, ranked, about = (
        [card.id for card in talk.chat("u1", said, k=8).cards]
        for said in ("good Acme products", "any Acme for me?", "an Acme desk lamp")
    )
    assert searched == ranked
    assert about != ranked


def test_a_plan_that_failed_is_no_past_turn_of_the_next(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(
        calls(("search_items", {"query": "lamp"})),
        calls(("recommend", {"brand": "Nobody"})),
        calls(("recommend", {})),
    )
    talk.chat("u1", "a lamp")
    talk.chat("u1", "and something from nobody?")
    first, failed = model.seen[1:]
    assert [m.content for m in failed[:-1]] == [m.content for m in first[:-1]]
    told = [str(m.content) for m in failed]
    assert '[search_items{"query":"lamp"}]' in told
    assert not any("Nobody" in text for text in told[:-1])
    assert "Last try failed" in str(failed[-1].content)
    assert sum("and something from nobody?" in str(m.content) for m in failed) == 1


def test_a_long_plan_stays_whole_in_the_prompt(talk: Recommender, model: ScriptedChatModel) -> None:
    words = {"query": "warm light " * 10, "like": "Acme pen 1", "without": "noise " * 9}
    model.enqueue(calls(("search_items", words), ("search_items", {**words, "query": "x"}), ("recommend", {})))
    longest = {"query": "warm light " * 10 + "for desks", "like": "y" * 80, "without": "z" * 60}
    model.enqueue(calls(("search_items", longest)))
    for said in ("one", "two", "three"):
        talk.chat("u1", said)
    told = [str(m.content) for m in model.seen[-1] if m.type == "ai" and "warm light warm" in str(m.content)]
    ((one,), (two,)) = map(decode_plan, told)
    assert one == {"name": "search_items", "arguments": words}
    assert set(two["arguments"]) == set(words)
    assert all(len(text) <= PAST_LIMIT for text in told)
