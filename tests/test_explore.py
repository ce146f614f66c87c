"""Exploring: drawn from what is known, alike for a step that is repeated, said in the list, refused where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from llm4rec.agent.recommender import Recommender
from llm4rec.errors import UserError
from llm4rec.graphs.conversation import restore_bus
from llm4rec.profiles.dials import Dials
from llm4rec.ranking.fused_ranker import FusedRanker
from llm4rec.ranking.history import from_events
from llm4rec.ranking.posterior_part import Explore, explored
from llm4rec.ranking.posterior_ranker import PosteriorRanker
from llm4rec.ranking.space import ItemSpace, SpaceInfo
from llm4rec.ranking.tastes import TasteMatches
from llm4rec.tools.base import ListSource, TurnContext
from llm4rec.tools.explain import explain_row
from llm4rec.tools.exploring import checked, explore_of, explore_of_list
from llm4rec.tools.results import ItemList
from numpy.typing import NDArray
from scripted import ScriptedChatModel, calls
from terminal import command

N, D = 12, 4
EXPLORED = "shown to learn more of your taste: without exploring it would not be here"


def part_of(seed: int = 0, live: int = 0) -> PosteriorRanker:
    rng = np.random.default_rng(seed)
    said, asked = (rng.normal(size=(N, D)).astype(np.float32) for _ in range(2))
    info = SpaceInfo(n_users=9, interactions=99, window=5, noise=1, keep=1.0, shrink=0, views={}, learned_on=0)
    noise, variance = rng.uniform(0.5, 2, N).astype(np.float32), rng.uniform(0.5, 2, D)
    return PosteriorRanker(ItemSpace(said, asked, noise, rng.normal(size=D), variance, info), N + live, popular=False)


def drawn(part: PosteriorRanker, known: int, explore: Explore) -> NDArray[np.float32]:
    past = from_events(range(known), [1.0] * known, [f"e{at}" for at in range(known)])
    return explored(part, past, None, np.ones(part.n_items, dtype=np.float32), explore)


def set_apart(part: PosteriorRanker) -> NDArray[np.float64]:
    """(N, D): the faces, less their mean."""
    asked = part.space.asked.astype(np.float64)
    centred: NDArray[np.float64] = asked - asked.mean(axis=0)
    return centred


def desk(recommender: Recommender, number: int = 1, explore: float | None = None, thread: str = "main") -> TurnContext:
    return TurnContext(
        user="u3", thread=thread, message="m", knowledge=recommender.knowledge, explore=explore, number=number
    )


def without_posterior(ranker: FusedRanker) -> FusedRanker:
    """As of a build that left the part out."""
    names = tuple(name for name in ranker.rankers if name != "posterior")
    at = [ranker.weights.parts.index(name) for name in names]
    w = ranker.weights
    weights = replace(w, parts=names, plain=w.plain[at], by_user=w.by_user[at], by_item=w.by_item[:, at])
    parts = {name: ranker.rankers[name] for name in names}
    return FusedRanker(parts, weights, ranker.counts, ranker.n_items, views=ranker.views, items=ranker.items)


# What is drawn


@pytest.mark.parametrize("dial", [-0.1, 1.01, float("nan"), float("inf")])
def test_a_dial_lies_between_0_and_1(dial: float) -> None:
    with pytest.raises(UserError, match="explore must be from 0 to 1"):
        Explore(dial)
    with pytest.raises(ValueError, match="seed"):
        Explore(0.5, -1)


@given(st.integers(0, 2**16), st.integers(0, N), st.sampled_from([0.01, 0.25, 1.0]))
def test_the_dial_is_the_variance_of_what_is_drawn(seed: int, known: int, dial: float) -> None:
    part = part_of(seed % 7)
    whole, some = drawn(part, known, Explore(1.0, seed)), drawn(part, known, Explore(dial, seed))
    np.testing.assert_allclose(some, whole * np.sqrt(dial), rtol=1e-4, atol=1e-5)
    assert not drawn(part, known, Explore(0.0, seed)).any()
    assert np.array_equal(whole, drawn(part, known, Explore(1.0, seed)))
    assert not np.array_equal(whole, drawn(part, known, Explore(1.0, seed + 1)))


def test_it_is_drawn_from_the_posterior_on_the_scale_of_tastes() -> None:
    part = part_of(1)
    for known in (0, 3, 9):
        past = from_events(range(known), [1.0] * known, [f"e{at}" for at in range(known)])
        many = np.stack([drawn(part, known, Explore(1.0, seed)) for seed in range(3000)])
        unsure = np.sqrt(part.state(past).variances(set_apart(part)))
        np.testing.assert_allclose(many.std(axis=0), unsure / part.usual, rtol=0.1)
        np.testing.assert_allclose(many.mean(axis=0), 0, atol=0.15)


def test_for_somebody_unknown_it_spreads_items_as_tastes_do_and_less_the_more_is_known() -> None:
    part = part_of(2)
    spreads = [
        float(np.mean([drawn(part, known, Explore(1.0, seed)).var() for seed in range(400)])) for known in (0, 4, 12)
    ]
    assert spreads[0] == pytest.approx(1.0, abs=0.15)
    assert spreads[0] > spreads[1] > spreads[2]


def test_live_items_and_what_counts_against_are_left_alone() -> None:
    part = part_of(0, live=2)
    gates = np.ones(N + 2, dtype=np.float32)
    gates[3] = -1
    found = explored(part, from_events([0], [1.0], ["e"]), None, gates, Explore(1.0, 5))
    assert not found[N:].any()
    assert found[3] == 0
    assert np.count_nonzero(found) == N - 1


def test_what_was_stated_is_drawn_with() -> None:
    part = part_of(3)
    signed = np.zeros((1, N), dtype=np.float32)
    signed[0, :4] = 1
    tastes = TasteMatches(("event:t",), ("label",), signed)
    (told,) = part.statements(tastes)
    past, gates = from_events([0], [1.0], ["e"]), np.ones(N, dtype=np.float32)
    vector = told.vector @ np.linalg.pinv(set_apart(part))
    spreads = []
    for matches, statements in ((None, []), (tastes, [told])):
        state = part.state(past, stated=statements)
        expected = float(np.sqrt(told.vector @ state.covariance @ told.vector)) / part.usual
        draws = [vector @ explored(part, past, matches, gates, Explore(1.0, seed)) for seed in range(2000)]
        assert np.std(draws) == pytest.approx(expected, rel=0.08)
        spreads.append(expected)
    assert spreads[1] < 0.8 * spreads[0]


# In use


def test_a_repeated_step_draws_alike_and_another_turn_anew(recommender: Recommender) -> None:
    once, again = explore_of(desk(recommender, 3, 0.5)), explore_of(desk(recommender, 3, 0.5))
    assert once == again
    assert once.dial == 0.5
    others = [explore_of(desk(recommender, 4, 0.5)), explore_of(desk(recommender, 3, 0.5, thread="other"))]
    assert len({once.seed, *(other.seed for other in others)}) == 3
    awkward = [
        TurnContext(user=user, thread=thread, message="m", knowledge=recommender.knowledge, explore=0.5, number=1)
        for user, thread in (("a", "b/c"), ("a/b", "c"), ('a", "b', "c"))
    ]
    assert len({explore_of(one).seed for one in awkward}) == 3


def test_the_users_own_dial_counts_where_none_is_given(recommender: Recommender) -> None:
    context = desk(recommender)
    assert explore_of(context).off
    context._dials = Dials(explore=0.3)
    assert explore_of(context).dial == 0.3
    given_one = desk(recommender, explore=0.0)
    given_one._dials = Dials(explore=0.3)
    assert explore_of(given_one).off


def listed(recommender: Recommender, **options: float | str) -> ItemList:
    return recommender.recommend("u3", k=10, **options)  # type: ignore[arg-type]


def test_lists_say_that_they_explore_and_are_made_alike_again(recommender: Recommender) -> None:
    plain = listed(recommender)
    assert plain == listed(recommender, explore=0.0)
    assert plain.explore == 0
    assert not any("explore" in card.parts for card in plain.cards)
    found = listed(recommender, explore=1.0)
    assert found == listed(recommender, explore=1.0)
    assert found.explore == 1
    assert json.loads(found.model_dump_json())["explore"] == 1
    for card in found.cards:
        assert card.score == pytest.approx(sum(card.parts.values()), abs=1e-4)
    assert any(card.parts["explore"] for card in found.cards)
    other = listed(recommender, explore=1.0, thread="other")
    same = {card.id: card.parts["explore"] for card in found.cards}
    assert any(card.parts["explore"] != same[card.id] for card in other.cards if card.id in same)


def test_what_is_there_by_exploring_alone_says_so(recommender: Recommender) -> None:
    told = 0
    for thread in ("one", "two", "three", "four"):
        plain = {card.id for card in listed(recommender, thread=thread).cards}
        found = listed(recommender, explore=1.0, thread=thread)
        evidence = {record.id: record.text for record in found.evidence}
        for card in found.cards:
            texts = [claim.text for claim in card.claims]
            assert (EXPLORED in texts) == (card.id not in plain)
            if EXPLORED in texts:
                told += 1
                assert "does not explore is without it" in evidence[f"model:explore:{card.id}"]
    assert told


@pytest.fixture
def model() -> ScriptedChatModel:
    return ScriptedChatModel()


@pytest.mark.parametrize("tool", ["recommend", "search_items"])
def test_a_list_is_explained_by_what_it_was_made_with(shop: Path, model: ScriptedChatModel, tool: str) -> None:
    arguments = {"query": "something for the office"} if tool == "search_items" else {}
    with Recommender.open(shop, chat_model=model) as recommender:
        model.enqueue(calls((tool, arguments)), calls(("estimate_bias", {})))
        turn = recommender.chat("u3", "something", explore=1.0)
        assert turn.explore == 1
        assert any(card.parts["explore"] for card in turn.cards)
        check = recommender.chat("u3", "just the popular ones?").popularity  # another turn, which does not explore
        assert check is not None
        assert [item.id for item in check.variants[0].items] == [card.id for card in turn.cards]
        context = desk(recommender, number=0)
        context.bus = restore_bus(context, recommender._state("u3", "main"))
        source = context.bus.source
        assert source is not None
        assert (source.explore, source.turn) == (1.0, 1)
        for card in turn.cards:
            row = recommender.knowledge.catalogue.row_of[card.id]
            why = explain_row(context, row)
            assert why.parts["explore"] == pytest.approx(card.parts["explore"], abs=1e-4)
            if tool == "recommend":
                assert why.score == pytest.approx(card.score, abs=1e-3)


def test_what_came_by_exploring_is_kept_with_the_list(shop: Path, model: ScriptedChatModel) -> None:
    with Recommender.open(shop, chat_model=model) as recommender:
        kept = []
        for thread in ("one", "two", "three"):
            model.enqueue(calls(("recommend", {})))
            turn = recommender.chat("u3", "something", explore=1.0, thread=thread, k=10)
            context = desk(recommender, thread=thread)
            context.bus = restore_bus(context, recommender._state("u3", thread))
            source = context.bus.source
            assert source is not None
            by_claim = tuple(card.id for card in turn.cards if EXPLORED in [claim.text for claim in card.claims])
            assert source.explored == by_claim
            kept += source.explored
        assert kept


def test_a_thread_older_than_exploring_is_read(recommender: Recommender) -> None:
    request = {"query": None, "cited": [], "filters": {}, "pool": [], "debias": None}
    context = desk(recommender, number=9, explore=0.7)
    context.bus = restore_bus(context, {"shown": [], "request": request})
    assert context.bus.source == ListSource({})
    assert explore_of_list(context).off


# Where it cannot


def test_a_build_without_the_part_cannot_explore(recommender: Recommender) -> None:
    knowledge = recommender.knowledge
    recommender._knowledge = replace(knowledge, ranker=without_posterior(knowledge.ranker))
    assert not recommender.knowledge.ranker.explores
    asks: tuple[Callable[[float], object], ...] = (
        lambda dial: recommender.recommend("u3", explore=dial),
        lambda dial: recommender.chat("u3", "hello", explore=dial),
        lambda dial: checked(dial, recommender.knowledge.ranker),
    )
    for ask in asks:
        with pytest.raises(UserError, match="has no posterior and cannot explore"):
            ask(0.5)
        ask(0.0)
    context = desk(recommender)
    context._dials = Dials(explore=0.3)  # the user's own stays where everybody's is
    assert explore_of(context).off
    context.bus.show((), source=ListSource({}, explore=0.5, turn=1))  # of an earlier build
    assert explore_of_list(context).off


@pytest.mark.parametrize("dial", [1.5, -0.1, float("nan")])
def test_what_is_no_dial_is_refused(recommender: Recommender, dial: float) -> None:
    for ask in (
        lambda: recommender.recommend("u3", explore=dial),
        lambda: recommender.chat("u3", "hello", explore=dial),
        lambda: next(recommender.stream("u3", "hello", explore=dial)),
    ):
        with pytest.raises(UserError, match="explore must be from 0 to 1"):
            ask()


def test_on_the_command_line(shop_built: Path) -> None:
    asked = ("recommend", "--user", "u3", "-k", "10", "-w", shop_built)
    found = command(*asked, "--explore", "1", "--json").document
    assert found["explore"] == 1
    assert all("explore" in card["parts"] for card in found["cards"])
    assert found == command(*asked, "--explore", "1", "--json").document
    assert command(*asked, "--json").document["explore"] == 0
    assert "The list explores, with the dial at 0.5." in command(*asked, "--explore", "0.5").out
    assert "explores" not in command(*asked).out
    for wrong in ("1.5", "-0.1", "nan"):
        assert "explore must be from 0 to 1" in command(*asked, "--explore", wrong).complaint
        talk = ("chat", "--llm", "rules", "--explore", wrong, "-w", shop_built)
        assert "explore must be from 0 to 1" in command(*talk).complaint
    assert "(see 'llm4rec recommend --help')" in command(*asked, "--explore", "far").complaint


def test_in_a_chat(shop: Path) -> None:
    talk = ("chat", "--json", "--llm", "rules", "--user", "u3", "-w", shop)
    done = command(*talk, "--explore", "0.5", stdin="recommend me something\n/why 1\n")
    assert done.code == 0, done.err
    turn, why = (json.loads(line) for line in done.out.splitlines())
    assert turn["explore"] == 0.5
    assert why["cards"][0]["parts"]["explore"] == pytest.approx(turn["cards"][0]["parts"]["explore"], abs=1e-4)
    aloud = command(*(one for one in talk if one != "--json"), "--explore", "0.5", stdin="recommend me something\n")
    assert "explores, dial at 0.5" in aloud.out
