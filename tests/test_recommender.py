"""The library: one-shot calls, feedback, undo, forgetting, threads, asyncio."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from llm4rec import Filter, Recommender, UserError
from llm4rec.causal.report import Correction
from llm4rec.errors import ToolError
from llm4rec.graphs.state import ItemsReady, NodeStarted, TurnFinished
from openai_server import openai_server
from PIL import Image
from scripted import ScriptedChatModel, calls


def test_recommend_gives_provenance_and_evidence(recommender: Recommender) -> None:
    found = recommender.recommend("u3", k=10)
    assert len(found.cards) == 10
    evidence = {record.id for record in found.evidence}
    seen = {recommender.knowledge.catalogue.ids[r] for r in recommender.knowledge.interactions.of_user("u3").items}
    for card in found.cards:
        assert card.id not in seen
        assert card.parts
        assert card.claims
        assert all(claim.evidence and set(claim.evidence) <= evidence for claim in card.claims)


def test_the_diversity_dial(recommender: Recommender) -> None:
    def listed(**dials: float) -> list[str]:
        return [card.id for card in recommender.recommend("u3", k=10, **dials).cards]

    plain = recommender.recommend("u3", k=10, diversity=0).cards
    assert [card.score for card in plain] == sorted((card.score for card in plain), reverse=True)
    assert listed() == listed(diversity=0.4)
    assert listed(diversity=1)[0] == plain[0].id
    assert len({tuple(listed(diversity=dial)) for dial in (0, 0.4, 1)}) > 1
    text = recommender.knowledge.searcher.views["text"].base
    rows = recommender.knowledge.catalogue.row_of

    def alike(ids: list[str]) -> float:
        vectors = text[np.array([rows[item] for item in ids])]
        return float((vectors @ vectors.T)[np.triu_indices(len(ids), 1)].mean())

    assert alike(listed(diversity=1)) < alike(listed(diversity=0))
    assert listed(calibration=1) != listed(diversity=0, calibration=0)
    for wrong in ({"diversity": 1.5}, {"calibration": -0.1}):
        with pytest.raises(UserError, match="must be from 0 to 1"):
            listed(**wrong)


def test_the_dial_of_popularity(recommender: Recommender) -> None:
    counts, row_of = recommender.knowledge.counts, recommender.knowledge.catalogue.row_of

    def popular(debias: float | None) -> float:
        cards = recommender.recommend("u3", k=10, diversity=0, debias=debias).cards
        return float(np.mean([counts[row_of[card.id]] for card in cards]))

    assert popular(1) < popular(0)
    plain, dialled = (recommender.recommend("u3", k=50, diversity=0, debias=dial).cards for dial in (0, 0.5))
    assert not any("debias" in card.parts for card in plain)
    before = {card.id: card for card in plain}
    assert len({card.id for card in dialled} & before.keys()) > 20
    for card in dialled:
        rest = {name: value for name, value in card.parts.items() if name != "debias"}
        assert card.id not in before or rest == before[card.id].parts
        assert card.score == pytest.approx(sum(card.parts.values()), abs=1e-4)
    for wrong in (1.5, -0.1):
        for ask in (recommender.recommend, partial(recommender.chat, text="hello")):
            with pytest.raises(UserError, match="debias must be from 0 to 1"):
                ask("u3", debias=wrong)


def test_the_correction_of_the_build_is_the_default(recommender: Recommender) -> None:
    derived = Correction(strength=0.1, per_doubling=0.3, note="made for this test")
    knowledge = recommender.knowledge
    bias = knowledge.bias.model_copy(update={"correction": derived})
    recommender._knowledge = replace(knowledge, bias=bias)
    found = recommender.recommend("u3", k=50).cards
    history = recommender.knowledge.interactions.of_user("u3").items
    left = np.setdiff1d(np.arange(len(knowledge.catalogue)), history)
    doublings = np.log2(1 + knowledge.counts)
    added = {knowledge.catalogue.row_of[card.id]: card.parts["debias"] for card in found if "debias" in card.parts}
    assert added
    amounts = {row: added[row] / (doublings[left].mean() - doublings[row]) for row in added if abs(added[row]) > 1e-3}
    amount = next(iter(amounts.values()))
    assert 0 < amount <= 0.3 + 1e-5
    assert all(one == pytest.approx(amount, rel=1e-2) for one in amounts.values())
    assert not any("debias" in card.parts for card in recommender.recommend("u3", k=50, debias=0).cards)
    turn = recommender.chat("u3", "recommend me something")
    assert all("debias" in card.parts for card in turn.cards)
    why = recommender.call("u3", "explain", {"ordinal": 1})
    assert "debias" in why.cards[0].parts
    assert not any("debias" in card.parts for card in recommender.chat("u3", "recommend something", debias=0).cards)
    why = recommender.call("u3", "explain", {"ordinal": 1})  # as the list was made, not as the next would be
    assert "debias" not in why.cards[0].parts


def test_filters_hold(recommender: Recommender) -> None:
    wanted = (Filter(attribute="price", op="at_most", value=40.0), Filter(attribute="brand", op="is", value="acme"))
    for found in (recommender.recommend("u3", filters=wanted, k=20), recommender.search("desk", filters=wanted, k=20)):
        assert found.cards
        for card in found.cards:
            assert float(str(card.attributes["price"])) <= 40
            assert card.attributes["brand"] == "Acme"


def test_search_by_picture_finds_the_item(recommender: Recommender, shop: Path) -> None:
    images = recommender.knowledge.build.images
    card = next(c for c in recommender.search("lamp", k=20).cards if c.image)
    picture = Image.open(images / str(card.image)).convert("RGB")
    small = picture.crop((4, 4, picture.width - 4, picture.height - 4)).resize((48, 60))
    assert card.id in {c.id for c in recommender.search(image=small, k=5).cards}
    assert card.id in {c.id for c in recommender.search("lamp", image=small, k=5).cards}


def test_a_picture_of_what_is_known_already_says_so(recommender: Recommender) -> None:
    knowledge = recommender.knowledge
    card = next(c for c in recommender.search("lamp", k=20).cards if c.image)
    picture = Image.open(knowledge.build.images / str(card.image)).convert("RGB")
    before = recommender.chat("kim", "like this", image=picture)
    assert card.id in {c.id for c in before.cards}
    assert not any("you know already" in notice for notice in before.notices)
    recommender.feedback("kim", "seen", card.id)
    after = recommender.chat("kim", "like this", image=picture)
    assert card.id not in {c.id for c in after.cards}
    assert f"Your picture looks like {card.title}, which you know already." in after.notices


def test_more_like(recommender: Recommender) -> None:
    found = recommender.search(like=["Acme lamp 1"], k=3)
    assert all("lamp" in card.title for card in found.cards)
    assert "Acme lamp 1" not in {card.title for card in found.cards}


@pytest.mark.parametrize("wrong", ["unknown item", ""])
def test_unknown_items_are_refused(recommender: Recommender, wrong: str) -> None:
    with pytest.raises((UserError, ToolError)):
        recommender.feedback("u1", "like", wrong)
    assert not recommender.knowledge.store.events("u1")


def test_feedback_undo_and_what_follows(recommender: Recommender) -> None:
    first = recommender.recommend("new", k=5).cards[0]
    recommender.feedback("new", "seen", first.id)
    assert first.id not in {card.id for card in recommender.recommend("new", k=50).cards}
    assert first.title in recommender.undo("new")
    assert recommender.recommend("new", k=5).cards[0].id == first.id
    with pytest.raises(UserError, match="nothing to take back"):
        recommender.undo("new")


def test_likes_move_the_ranking(recommender: Recommender) -> None:
    before = [card.id for card in recommender.recommend("new", k=50).cards]
    for title in ("Acme lamp 1", "Borealis lamp 1"):
        recommender.feedback("new", "like", title)
    after = list(recommender.recommend("new", k=50).cards)
    lamps = [card.id for card in after if "lamp" in card.title]
    assert sum(before.index(i) if i in before else 50 for i in lamps) > sum(
        [c.id for c in after].index(i) for i in lamps
    )


def test_forgetting_a_user(recommender: Recommender, shop: Path) -> None:
    recommender.chat("forgetful", "I want a PLANTEDSTRING lamp")
    recommender.feedback("forgetful", "like", "Acme lamp 1")
    recommender.chat("other", "I want a KEPTSTRING lamp")
    receipt = recommender.forget("forgetful")
    assert receipt.events >= 1
    assert ("thread", 1) in {(one.unit, one.count) for one in receipt.removed}
    assert not recommender.known_user("forgetful")
    content = b"".join(path.read_bytes() for path in (shop / "state").iterdir() if path.is_file())
    assert b"PLANTEDSTRING" not in content
    assert b"KEPTSTRING" in content


def test_turns_from_many_threads(recommender: Recommender) -> None:
    def talk(number: int) -> tuple[str, int]:
        turn = recommender.chat(f"user{number % 4}", "recommend something", thread=f"t{number % 2}")
        assert turn.cards
        return f"{turn.user}/{turn.thread}", turn.number

    with ThreadPoolExecutor(8) as pool:
        done = list(pool.map(talk, range(24)))
    assert len(set(done)) == 24, "turns of one thread queue: every turn has its own number"


async def test_asyncio(recommender: Recommender) -> None:
    turns = await asyncio.gather(*(recommender.achat(f"a{n}", "a lamp") for n in range(3)))
    assert all(turn.cards for turn in turns)
    kinds = [type(event) async for event in recommender.astream("a1", "a chair")]
    assert kinds.index(ItemsReady) < kinds.index(TurnFinished)
    await recommender.afeedback("a1", "like", "Acme lamp 1")
    assert (await recommender.arecommend("a1", k=3)).cards
    assert (await recommender.asearch("a pen", k=3)).cards


def test_leaving_a_stream_early_loses_no_feedback(shop: Path) -> None:
    model = ScriptedChatModel()
    with Recommender.open(shop, chat_model=model) as recommender:
        model.enqueue(calls(("record_feedback", {"verdict": "like", "title": "Acme lamp 1"}), ("recommend", {})))
        for event in recommender.stream("leaver", "I like the Acme lamp"):
            if isinstance(event, ItemsReady):
                break
        assert len(recommender.knowledge.store.events("leaver")) == 1
        model.enqueue(calls(("recommend", {})))
        assert recommender.chat("leaver", "go on").cards


def test_a_message_can_be_stopped_from_another_thread(shop: Path) -> None:
    entered, release = threading.Event(), threading.Event()

    def slow(_: object) -> object:
        entered.set()
        release.wait(5)
        return calls(("recommend", {}))

    with Recommender.open(shop, chat_model=ScriptedChatModel(make=slow)) as recommender:
        seen: list[object] = []
        worker = threading.Thread(target=lambda: seen.extend(recommender.stream("u1", "hello")))
        worker.start()
        assert entered.wait(10)
        # another user's turn is not held up by the first one's thread lock
        assert recommender.recommend("u2", k=3).cards
        release.set()
        worker.join(20)
        assert isinstance(seen[-1], TurnFinished)
        assert isinstance(seen[0], NodeStarted)


def test_the_open_build_stays_readable_after_a_rebuild(shop: Path, tmp_path: Path) -> None:
    from conftest import write_shop
    from llm4rec.builder import build_workspace

    with Recommender.open(shop, llm="rules") as old:
        old.feedback("u1", "like", "Acme lamp 1")
        build_workspace(write_shop(tmp_path / "more", users=50), shop)
        assert old.recommend("u1").cards
        with Recommender.open(shop, llm="rules") as new:
            assert len(new.knowledge.interactions.user_ids) == 50
            assert len(new.profile("u1").items) == 1


def test_single_texts_are_encoded_once(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder = recommender.knowledge.searcher.text_encoder
    first = encoder.encode(["a warm lamp"])
    first[:] = 0  # what a caller does to its own copy is the caller's business
    loaded = encoder._loaded  # type: ignore[attr-defined]
    asked: list[list[str]] = []
    real = loaded.encode
    monkeypatch.setattr(loaded, "encode", lambda texts: (asked.append(list(texts)), real(texts))[1])
    again = encoder.encode(["a warm lamp"])
    assert not asked
    np.testing.assert_allclose(again, encoder.encode(["a warm lamp", "a pen"])[:1], atol=1e-5)
    assert asked == [["a warm lamp", "a pen"]]


def test_claims_about_the_past_come_from_what_pulls_an_item_up(recommender: Recommender) -> None:
    told = 0
    for user in ("u1", "u4", "u9"):
        for query in ("warm lamp", "steel stapler", "quiet headphones"):
            turn = recommender.chat(user, query, k=20)
            for card in turn.cards:
                for claim in card.claims:
                    for record in claim.evidence:
                        if record.startswith("model:"):
                            told += 1
                            assert card.parts[record.split(":")[1]] > 0, (card, claim)
    assert told


def test_a_model_on_a_server_plans_a_whole_turn(shop: Path) -> None:
    with openai_server("search_items", {"query": "warm lamp"}) as (url, seen):
        with Recommender.open(shop, llm=f"{url}#big") as recommender:
            turn = recommender.chat("kim", "light for my desk")
            assert [run.name for run in turn.tools] == ["search_items"]
            assert "lamp" in turn.cards[0].title
            assert turn.planner.startswith("big at 127.0.0.1")
        (_, _, body), *_ = seen
        offered = {tool["function"]["name"] for tool in body["tools"]}
        assert {"search_items", "recommend", "explain", "record_feedback"} <= offered
        assert body["messages"][0]["role"] == "system"
        assert "light for my desk" in body["messages"][-1]["content"]


def test_a_server_that_is_gone_leaves_the_rules_to_plan(shop: Path) -> None:
    with Recommender.open(shop, llm="http://127.0.0.1:9/v1#big", timeout=5) as recommender:
        turn = recommender.chat("kim", "a warm lamp")
    assert turn.cards
    assert any("rules planned this turn" in notice for notice in turn.notices)


def test_what_is_explained_is_what_was_recommended_with_the_dial(recommender: Recommender) -> None:
    (first,) = recommender.recommend("u3", k=1, debias=0.8).cards
    (why,) = recommender.explain("u3", first.id, debias=0.8).cards
    assert first.parts is not None
    assert why.parts is not None
    assert why.score == pytest.approx(first.score, abs=1e-4)
    assert why.parts["debias"] == pytest.approx(first.parts["debias"], abs=1e-4)
    with pytest.raises(UserError, match="from 0 to 1"):
        recommender.explain("u3", first.id, debias=2)
