"""What a request does not want, and what it wants more or less of, over a real workspace."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from statistics import median

import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.tools.results import Turn
from scripted import ScriptedChatModel, calls


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel()


@pytest.fixture
def talk(shop: Path, model: ScriptedChatModel) -> Iterator[Recommender]:
    with Recommender.open(shop, chat_model=model) as opened:
        yield opened


def prices(turn: Turn) -> list[float]:
    found = [card.attributes["price"] for card in turn.cards]
    assert all(isinstance(price, float) for price in found)
    return [float(str(price)) for price in found]


def test_a_label_is_left_out_for_this_request_alone(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(
        calls(("search_items", {"query": "light for my desk", "without": "Acme"})),
        calls(("recommend", {"without": "Acme"})),
        calls(("recommend", {})),
    )
    searched, ranked, after = (talk.chat("new", said, k=50) for said in ("no Acme", "no Acme again", "anything"))
    for turn in (searched, ranked):
        assert turn.cards
        assert not any(card.attributes["brand"] == "Acme" for card in turn.cards)
    assert any(card.attributes["brand"] == "Acme" for card in after.cards)
    assert not talk.knowledge.store.events("new")


def test_a_meaning_is_put_lower_and_not_left_out(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(
        calls(("search_items", {"query": "something for the office"})),
        calls(("search_items", {"query": "something for the office", "without": "ink cartridges for printers"})),
    )
    before, after = (talk.chat("new", said, k=40) for said in ("for the office", "for the office, no ink"))

    def places(turn: Turn) -> list[int]:
        return [place for place, card in enumerate(turn.cards) if "printer ink" in card.title]

    assert places(before)
    assert sum(place < 10 for place in places(after)) <= sum(place < 10 for place in places(before))
    mean_before = sum(places(before)) / len(places(before))
    assert not places(after) or sum(places(after)) / len(places(after)) > mean_before


def test_what_is_refused_is_not_searched_for(talk: Recommender, model: ScriptedChatModel) -> None:
    """A search for nothing but "no printer ink" finds what the person likes, not the texts that speak of ink."""
    model.enqueue(*(calls((tool, {"without": "printer ink"})) for tool in ("search_items", "recommend")))
    searched, ranked = (talk.chat("u1", said, k=10) for said in ("no printer ink", "no printer ink, please"))
    assert searched.cards
    assert [card.id for card in searched.cards] == [card.id for card in ranked.cards]


def test_the_same_list_is_made_again_without_it(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("recommend", {"without": "Acme"})), calls(("estimate_bias", {})))
    talk.chat("u1", "no Acme please")
    turn = talk.chat("u1", "are these just the popular ones?")
    assert turn.popularity is not None
    catalogue = talk.knowledge.catalogue
    for variant in turn.popularity.variants:
        assert variant.items
        assert not any(catalogue.item(catalogue.row_of[i.id]).attributes["brand"] == "Acme" for i in variant.items)


def test_cheaper_than_the_list_shown(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(
        calls(("recommend", {"price_min": 40})),
        calls(("recommend", {"less": "price"})),
        calls(("recommend", {"more": "price", "price_max": 90})),
    )
    first, cheaper, dearer = (talk.chat("u1", said) for said in ("from 40", "cheaper", "dearer, up to 90"))
    assert max(prices(cheaper)) < median(prices(first))
    assert min(prices(dearer)) > median(prices(cheaper))
    assert max(prices(dearer)) <= 90


def test_cheaper_than_what_it_should_be_like(talk: Recommender, model: ScriptedChatModel) -> None:
    catalogue = talk.knowledge.catalogue
    own = next(item for item in catalogue if item.title == "Delta Works lamp 2")
    model.enqueue(calls(("search_items", {"like": own.title, "less": "price"})))
    turn = talk.chat("new", "like the Delta Works lamp 2 but cheaper")
    price = own.attributes["price"]
    assert isinstance(price, float)
    assert turn.cards
    assert max(prices(turn)) < price


def test_cheaper_than_nothing_is_cheaper_than_most(talk: Recommender, model: ScriptedChatModel) -> None:
    model.enqueue(calls(("recommend", {"less": "price"})))
    turn = talk.chat("new", "cheaper")
    usual = median(float(item.attributes["price"]) for item in talk.knowledge.catalogue if "price" in item.attributes)
    assert turn.cards
    assert max(prices(turn)) < usual
    assert any("Nothing is shown to compare with: less price" in notice for notice in turn.notices)
