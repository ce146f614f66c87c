"""The posterior as a part of the ranker in use: what it says of a past, what statements imply, and what is claimed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.agent.recommender import Recommender
from llm4rec.builder import _check_without
from llm4rec.catalog.items import Item
from llm4rec.evaluation.policies import ablations, policy_named
from llm4rec.profiles.events import taste
from llm4rec.profiles.posterior import Observation, Prior, fold
from llm4rec.ranking._at_once import at_once
from llm4rec.ranking.alternatives import Alternative, alternative_scores
from llm4rec.ranking.base import Contribution, Model, Ranked
from llm4rec.ranking.ease import EaseConfig, EaseModel, EaseRanker, fit_ease_model
from llm4rec.ranking.fused import FusedConfig, FusedModel, Inputs, Weights, fit_fused
from llm4rec.ranking.fused_limits import Limits, left_out
from llm4rec.ranking.fused_ranker import FusedRanker
from llm4rec.ranking.history import History, empty, from_events, from_log
from llm4rec.ranking.log import Log, Pasts
from llm4rec.ranking.popularity import PopularityRanker, fit_popularity
from llm4rec.ranking.posterior_ranker import PosteriorRanker
from llm4rec.ranking.space import ItemSpace, fit_space
from llm4rec.ranking.tastes import How, TasteMatches
from llm4rec.tools import claims
from llm4rec.tools.base import TurnContext
from llm4rec.tools.checking import Grounds, check_text
from llm4rec.tools.claims import item_claims, part_words
from llm4rec.tools.evidence import past_reason, unsupported
from llm4rec.tools.results import Card, Claim
from llm4rec.tools.seldom import people_in_common
from llm4rec.tools.taste import hidden_rows, history_of, seen_rows, tastes_of
from numpy.typing import NDArray

WORLD, LATER = 10, 2
ITEMS = 2 * WORLD
LIVE = ITEMS + LATER
PARTS = ("popularity", "ease", "posterior")


@cache
def world() -> tuple[Log, EaseModel, ItemSpace]:
    """Half of the people choose among items 0-9, half among 10-19; each chooses one of the other half now and then."""
    rng = np.random.default_rng(4)
    lists = []
    for user in range(90):
        own = rng.permutation(WORLD)[: rng.integers(4, 9)] + WORLD * (user % 2)
        other = rng.permutation(WORLD)[: rng.integers(0, 2)] + WORLD * (1 - user % 2)
        lists.append(rng.permutation(np.concatenate([own, other])))
    log = Log.of_lists(lists, ITEMS)
    return log, fit_ease_model(log, EaseConfig(regularization=5.0)), fit_space(log)


def weights_of(seed: int, least: float = -1.0) -> Weights:
    rng = np.random.default_rng(seed)
    p = len(PARTS)
    return Weights(
        parts=PARTS,
        plain=rng.uniform(least, 1, p) + 0.5 * (least >= 0),
        by_user=rng.uniform(-0.3, 0.3, p) * (least < 0),
        by_item=rng.uniform(-0.3, 0.3, (2, p)) * (least < 0),
        items=rng.uniform(-0.5, 0.5, 2) * (least < 0),
        user_scale=(1.5, 0.8),
        item_scale=(2.0, 0.7),
        queries=100,
    )


def ranker(seed: int = 0, least: float = 0.0, live: int = LIVE) -> FusedRanker:
    log, ease, space = world()
    parts = {
        "popularity": PopularityRanker(log.counts.astype(np.float32), live),
        "ease": EaseRanker(ease, live, tau=ease.tau),
        "posterior": PosteriorRanker(space, live, popular=False),
    }
    return FusedRanker(parts, weights_of(seed, least), log.counts, live)


def posterior_of(one: FusedRanker) -> PosteriorRanker:
    part = one.rankers["posterior"]
    assert isinstance(part, PosteriorRanker)
    return part


def gates_of(one: FusedRanker, history: History) -> NDArray[np.float32]:
    """(n_items,): the multiplier of the posterior."""
    by_user, by_item, _ = one.weights.gates(np.array([len(history.chosen())]), one.counts)
    at = one.weights.parts.index("posterior")
    return by_user[0, at] + by_item[:, at]


def amounts_of(
    one: FusedRanker, history: History, part: str, tastes: TasteMatches | None = None
) -> NDArray[np.float64]:
    """(n_items,): the sums of a part's contributions."""
    told = [one.contributions(history, row, tastes) for row in range(one.n_items)]
    return np.array([sum(found.amount for found in row if found.part == part) for row in told])


def stated(*rows: tuple[float, ...], threads: tuple[str | None, ...] = ()) -> TasteMatches:
    signed = np.zeros((len(rows), LIVE), dtype=np.float32)
    for line, row in zip(signed, rows, strict=True):
        line[: len(row)] = row
    refs = tuple(f"event:t{at}" for at in range(len(rows)))
    how: list[How] = ["label" for _ in rows]
    return TasteMatches(refs, tuple(how), signed, threads, "main")


opinions = st.sampled_from([1.0, 0.5, 0.1, 0.0, -0.2, -0.5, -1.0])
histories = st.lists(
    st.tuples(st.integers(0, LIVE - 1), opinions), max_size=LIVE, unique_by=lambda entry: entry[0]
).map(lambda e: from_events([row for row, _ in e], [weight for _, weight in e], [f"event:{row}" for row, _ in e]))
logged = st.tuples(st.permutations(range(ITEMS)), st.integers(0, ITEMS - 3)).map(
    lambda drawn: from_log(drawn[0][: drawn[1]], np.full(drawn[1], np.nan), (1, 5))
)
fits = st.lists(st.sampled_from([0.0, 0.0, 0.3, 1.0]), min_size=LIVE, max_size=LIVE)
tastes_drawn = st.lists(st.tuples(fits, st.sampled_from([1.0, -1.0])), min_size=1, max_size=3).map(
    lambda drawn: stated(*(tuple(polarity * fit for fit in row) for row, polarity in drawn))
)


# One state, at once


@given(st.integers(0, 2**16), st.integers(1, 6), st.integers(0, 14), st.sampled_from([0.5, 0.9, 1.0]))
def test_at_once_is_what_the_steps_come_to(seed: int, d: int, m: int, keep: float) -> None:
    rng = np.random.default_rng(seed)
    spread = rng.normal(size=(d, d))
    prior = Prior(rng.normal(size=d), spread @ spread.T + np.eye(d), keep)
    times = np.sort(rng.integers(0, 12, m)).astype(np.float64)
    vectors, targets, precisions = rng.normal(size=(m, d)), rng.normal(size=m), rng.uniform(0.1, 3, m)
    now = float(times.max(initial=0.0)) + rng.integers(0, 3)
    seen = [Observation(*of) for of in zip(vectors, targets, precisions, times, strict=True)]
    steps, once = fold(prior, seen, now=now), at_once(prior, vectors, targets, precisions, times, now=now)
    np.testing.assert_allclose(once.mean, steps.mean, rtol=1e-8, atol=1e-9)
    np.testing.assert_allclose(once.covariance, steps.covariance, rtol=1e-8, atol=1e-9)
    assert np.array_equal(once.covariance, once.covariance.T)


# What the part says of a past


@given(st.integers(0, 2**16), st.lists(logged, max_size=3))
@settings(max_examples=40)
def test_a_logged_history_is_ranked_as_by_the_model(drawn: int, pasts: list[History]) -> None:
    log, ease, space = world()
    models: dict[str, Model] = {
        "popularity": fit_popularity(log),
        "ease": ease,
        "posterior": PosteriorRanker(space, popular=False),
    }
    weights = weights_of(drawn)
    whole = FusedModel(models, weights, log.counts).score_many(Pasts.of(pasts, ITEMS))
    one = ranker(drawn, -1.0, ITEMS)
    for scores, history in zip(whole, pasts, strict=True):
        np.testing.assert_allclose(one.scores(history), scores, rtol=1e-4, atol=5e-4)


@given(histories, st.integers(0, 2**16))
@settings(max_examples=40)
def test_contributions_are_the_part_but_for_what_anybody_gets(history: History, drawn: int) -> None:
    one = ranker(drawn, -1.0)
    parts, gates = one.parts(history), gates_of(one, history)
    np.testing.assert_allclose(sum(parts.values()), one.scores(history), atol=1e-4)
    steady = np.abs(gates) > 0.05
    rest = (amounts_of(one, history, "posterior") - parts["posterior"])[steady] / gates[steady]
    assert np.ptp(rest) < 2e-2 if steady.any() else True
    assert "implied" not in parts
    assert "explore" not in parts


@given(histories, st.integers(0, 2**16))
@settings(max_examples=40)
def test_what_was_turned_away_from_moves_as_its_share_says(history: History, drawn: int) -> None:
    """Whatever the multiplier's sign: what a refusal pulls down is never lifted by it."""
    one = ranker(drawn, -1.0)
    shares = posterior_of(one).shares(history, np.arange(LIVE, dtype=np.int64))
    refused = {history.refs[at]: at for at in np.flatnonzero(history.behaviour < 0)}
    for row in range(LIVE):
        for found in one.contributions(history, row):
            if found.part == "posterior" and found.ref in refused:
                assert found.direct
                assert found.amount * shares[row, refused[found.ref]] >= 0


def test_what_was_chosen_and_turned_away_from_are_read_together() -> None:
    part = posterior_of(ranker())
    chosen, refused = from_events([0, 1], [1, 1], ["a", "b"]), from_events([2], [-1], ["c"])
    both = from_events([0, 1, 2], [1, 1, -1], ["a", "b", "c"])
    together = part.scores(both)
    assert np.abs(together - part.scores(chosen) - part.scores(refused)).max() > 1e-4
    state = part.state(both)
    np.testing.assert_allclose(together, part.along(state.mean - part.space.mean), atol=1e-5)
    np.testing.assert_allclose(part.moves(both).sum(axis=0), state.mean - part.space.mean, atol=1e-8)


def test_a_refusal_takes_away_and_a_choice_adds() -> None:
    one = ranker()
    nothing = one.parts(empty())["posterior"]
    assert not nothing.any()
    liked, disliked = (one.parts(from_events([0], [opinion], ["e"]))["posterior"] for opinion in (1, -1))
    assert liked[1:WORLD].mean() > liked[WORLD:ITEMS].mean()
    assert disliked[1:WORLD].mean() < disliked[WORLD:ITEMS].mean()


def test_live_items_have_no_face() -> None:
    one = ranker()
    part = posterior_of(one)
    past = from_events([0, ITEMS], [1, 1], ["a", "live"])
    assert not part.scores(past)[ITEMS:].any()
    assert not part.moves(past)[1].any()
    assert not any(found.ref == "live" and found.part == "posterior" for found in one.contributions(past, 3))
    tastes = stated((1.0,) * 4)
    assert not one.parts(past, tastes)["implied"][ITEMS:].any()


# What statements imply


@given(histories, tastes_drawn)
@settings(max_examples=40)
def test_what_is_implied_is_what_the_state_learns_from_the_statements(history: History, tastes: TasteMatches) -> None:
    part = posterior_of(ranker())
    told = part.statements(tastes)
    moved = part.implied(history, told)
    assert moved.shape == (len(told), part.space.d)
    learned = part.state(history, stated=told, thread="main").mean - part.state(history).mean
    np.testing.assert_allclose(moved.sum(axis=0), learned, atol=1e-7)


@given(histories, tastes_drawn, st.integers(0, 2**16))
@settings(max_examples=40)
def test_no_statement_counts_twice_for_an_item(history: History, tastes: TasteMatches, drawn: int) -> None:
    one = ranker(drawn, -1.0)
    parts, part = one.parts(history, tastes), posterior_of(one)
    np.testing.assert_allclose(sum(parts.values()), one.scores(history, tastes), atol=1e-4)
    positive = np.maximum(gates_of(one, history), 0)
    expected = np.zeros(LIVE)
    told = [(at, part.statement(tastes, at)) for at in range(len(tastes.refs))]
    speaking = [(at, said) for at, said in told if said is not None]
    for (at, _), move in zip(speaking, part.implied(history, [said for _, said in speaking]), strict=True):
        expected += part.apart(move) * positive * (1 - np.abs(tastes.signed[at])) / part.usual
    np.testing.assert_allclose(parts["implied"], expected, atol=1e-4)
    # Where every statement fits wholly, nothing is left to be implied.
    assert not parts["implied"][(np.abs(tastes.signed) == 1).all(axis=0)].any()
    np.testing.assert_allclose(amounts_of(one, history, "implied", tastes), parts["implied"], atol=1e-4)
    # The other parts are what they are without anything stated.
    for name, values in one.parts(history).items():
        np.testing.assert_array_equal(parts[name], values)


@pytest.mark.parametrize("polarity", [1.0, -1.0])
def test_a_statement_moves_what_goes_with_what_it_names(polarity: float) -> None:
    implied = ranker().parts(empty(), stated((polarity,) * 5))["implied"]
    assert not implied[:5].any()
    assert polarity * (implied[5:WORLD].mean() - implied[WORLD:ITEMS].mean()) > 0.05


def test_what_is_less_sure_implies_less() -> None:
    one = ranker()
    sure, unsure = (one.parts(empty(), stated((fit,) * 5))["implied"] for fit in (1.0, 0.25))
    assert 0 < unsure[5:WORLD].mean() < sure[5:WORLD].mean()


@given(st.integers(0, 2**16))
def test_an_item_like_all_is_set_apart_by_nothing(drawn: int) -> None:
    part = posterior_of(ranker())
    taste = np.random.default_rng(drawn).normal(size=part.space.d)
    apart = part.apart(taste)
    np.testing.assert_allclose(apart[:ITEMS].mean(), 0, atol=1e-6)
    np.testing.assert_allclose(np.diff(apart[:ITEMS]), np.diff(part.along(taste)[:ITEMS]), atol=1e-5)
    assert not apart[ITEMS:].any()


def test_a_statement_for_tonight_implies_nothing_elsewhere() -> None:
    one, part = ranker(), posterior_of(ranker())
    here, there = (stated((1.0,) * 5, threads=(thread,)) for thread in ("main", "other"))
    assert one.parts(empty(), here)["implied"].any()
    assert not one.parts(empty(), there)["implied"].any()
    assert [found.thread for found in part.statements(there)] == ["other"]
    assert [found.thread for found in part.statements(there, [None])] == [None]


def test_some_of_the_tastes() -> None:
    every = stated((1.0,), (0.0, 1.0), (0.0, 0.0, 1.0), threads=(None, "main", None))
    some = every.only([2, 1])
    assert (some.refs, some.threads, some.thread) == (("event:t2", "event:t1"), (None, "main"), "main")
    np.testing.assert_array_equal(some.signed, every.signed[[2, 1]])
    assert stated((1.0,)).only([0]).thread_of(0) is None


@given(st.lists(st.tuples(histories, st.none() | tastes_drawn), min_size=1, max_size=3), st.integers(0, 2**16))
@settings(max_examples=25)
def test_many_pasts_at_once_are_ranked_as_one_by_one(
    asked: list[tuple[History, TasteMatches | None]], drawn: int
) -> None:
    one = ranker(drawn, -1.0)
    found = alternative_scores(one, [Alternative(history, tastes) for history, tastes in asked])
    for line, (history, tastes) in zip(found, asked, strict=True):
        np.testing.assert_allclose(line, one.scores(history, tastes), rtol=1e-4, atol=2e-3)
    history, tastes = asked[0]
    silent = frozenset({"posterior", "implied"})
    (less,) = alternative_scores(one, [Alternative(history, tastes, silent)])
    rest = sum(values for name, values in one.parts(history, tastes).items() if name not in silent)
    np.testing.assert_allclose(less, rest, rtol=1e-4, atol=2e-3)


# How it is fitted


def test_how_the_space_is_weighed_is_searched_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def noted(*given: Any, **options: Any) -> ItemSpace:
        asked.append(options["like"])
        return fit_space(*given, **options)

    monkeypatch.setattr("llm4rec.ranking.space.fit_space", noted)
    config = FusedConfig(parts=("popularity", "posterior"), limits=Limits(least=1))
    model = fit_fused(world()[0], config=config)
    first, second = asked
    assert first is None
    posterior = model.models["posterior"]
    assert isinstance(posterior, PosteriorRanker)
    assert not posterior.popular
    for name in ("noise", "keep", "shrink", "learned_on"):
        assert getattr(posterior.space.info, name) == getattr(second, name)
    assert posterior.space.info.interactions == len(world()[0]) > second.interactions


def test_a_space_is_made_like_another() -> None:
    info = world()[2].info.model_copy(update={"noise": 7.0, "keep": 0.5, "learned_on": 12, "ndcg": 0.3})
    again = fit_space(world()[0], like=info).info
    assert (again.noise, again.keep, again.learned_on, again.ndcg) == (7.0, 0.5, 12, 0.3)


@pytest.mark.parametrize(
    ("limits", "why"),
    [
        (Limits(posterior=9), "interactions, the limit is 9"),
        (Limits(posterior_items=19), "20 items, the limit is 19"),
    ],
)
def test_it_is_left_out_of_a_log_that_is_too_large(limits: Limits, why: str) -> None:
    found = left_out(("posterior",), Inputs(world()[0], limits=limits), 100)
    assert found["posterior"].endswith(why)


def test_it_is_a_part_by_name() -> None:
    assert "posterior" in FusedConfig().parts
    assert "fused-without-posterior" in ablations()
    assert "'posterior'" not in policy_named("fused-without-posterior").config
    assert "'posterior'" in policy_named("fused").config
    _check_without(("posterior",))


# What is claimed


def pair(recommender: Recommender, user: str, fine: Callable[[int], bool]) -> tuple[TurnContext, int, int]:
    """A record of a user, and an item they do not know, that so many people chose both of."""
    context = TurnContext(user=user, thread="t", message="", knowledge=recommender.knowledge)
    known = recommender.knowledge.interactions.of_user(user).items
    unseen = np.flatnonzero(~seen_rows(context))
    for past in known.tolist():
        for row in unseen.tolist():
            if fine(people_in_common(context, past, row) or 0):
                return context, past, row
    raise AssertionError("no such pair")


def said(context: TurnContext, past: int, row: int, user: str) -> list[str]:
    knowledge = context.knowledge
    ref = f"log:{user}:{knowledge.catalogue.ids[past]}"
    by = (Contribution(ref, past, 0.5, "posterior"),)
    ranked = Ranked(row=row, score=2.0, parts={"posterior": 1.0}, contributions=by)
    found = item_claims(context, knowledge.catalogue.item(row), ranked=ranked)
    assert all(set(claim.evidence) <= set(context.evidence) for claim in found)
    return [claim.text for claim in found]


def test_people_are_spoken_of_where_there_are_some(recommender: Recommender, monkeypatch: pytest.MonkeyPatch) -> None:
    context, past, row = pair(recommender, "u1", lambda both: both > 0)
    title = recommender.knowledge.title(recommender.knowledge.catalogue.ids[past])
    assert said(context, past, row, "u1") == [f"people who chose {title} chose this later"]
    ranked = Ranked(row=row, score=2.0, parts={"posterior": 1.0}, contributions=())
    ref = f"log:u1:{recommender.knowledge.catalogue.ids[past]}"
    reason = past_reason(
        context, context.knowledge.catalogue.item(row), ranked, "posterior", [Contribution(ref, past, 0.5, "posterior")]
    )
    assert (reason.kind, unsupported(reason)) == ("behaviour", ())
    assert any(record.id.startswith("pair:") for record in reason.records)
    monkeypatch.setattr(claims, "counts_people", lambda _: False)
    monkeypatch.setattr(claims, "people_in_common", lambda *_: None)
    assert said(context, past, row, "u1") == [f"goes with {title}, on your record"]


def test_of_nobody_it_is_not_said_what_they_chose(recommender: Recommender) -> None:
    context, past, row = pair(recommender, "u1", lambda both: both == 0)
    assert not any("chose this" in text for text in said(context, past, row, "u1"))
    disliked = part_words("posterior", "Alien", liked=False)
    assert disliked == "people who chose Alien, which you did not like, seldom choose this later"


def test_a_reply_may_retell_the_claim() -> None:
    claim = Claim(text="people who chose Heat chose this later", evidence=("log:u:h",))
    card = Card.of(Item(id="a", title="Alien"), ordinal=1, score=1.0, claims=(claim,))
    grounds = Grounds((card,), listed=1, records={"log:u:h": "in your log: Heat, rated 4"})
    told = check_text("People who chose Heat chose Alien later. People who chose Heat chose Alien soon.", grounds)
    assert [verdict.ok for verdict in told] == [True, False], told


# In use


def test_feedback_is_in_the_next_list(recommender: Recommender) -> None:
    def parts() -> dict[str, float]:
        return {card.id: card.parts["posterior"] for card in recommender.recommend("new", k=50).cards}

    assert not any(parts().values())
    recommender.feedback("new", "like", "Acme lamp 1")
    liked = parts()
    assert any(liked.values())
    recommender.undo("new")
    assert not any(parts().values())


def test_tastes_count_where_they_were_said_to(recommender: Recommender) -> None:
    store = recommender.knowledge.store
    # A taste for tonight holds for hours.
    common: dict[str, Any] = {"user": "kim", "time": time.time(), "source": "said"}
    store.append(taste(term="Acme", scope="tonight", id="t0", thread="one", **common))
    store.append(taste(term="Cobalt", polarity=-1, id="t1", thread="one", **common))

    def refs(thread: str) -> tuple[tuple[str, ...], tuple[str | None, ...]]:
        context = TurnContext(user="kim", thread=thread, message="", knowledge=recommender.knowledge)
        found = tastes_of(context)
        assert found is not None
        assert found.thread == thread
        return found.refs, found.threads

    assert refs("one") == (("event:t0", "event:t1"), ("one", None))
    assert refs("two") == (("event:t1",), (None,))
    first, second = (recommender.recommend("kim", k=50, thread=thread).cards for thread in ("one", "two"))
    for card in (*first, *second):
        assert {"tastes", "implied"} <= set(card.parts)
        assert card.attributes["brand"] != "Cobalt"
        assert card.score == pytest.approx(sum(card.parts.values()), abs=1e-4)
    acme = [card for card in first if card.attributes["brand"] == "Acme"]
    assert acme
    assert all(card.parts["tastes"] > 0 for card in acme)
    assert {card.parts["tastes"] for card in second} == {0.0}
    assert "implied" not in recommender.recommend("somebody", k=1).cards[0].parts


def test_what_was_inferred_pulls_down_and_hides_nothing(recommender: Recommender) -> None:
    common: dict[str, Any] = {"user": "kim", "time": 1.7e9, "thread": "one", "polarity": -1}
    recommender.knowledge.store.append(taste(term="Acme", id="t0", source="inferred", confidence=0.5, **common))
    context = TurnContext(user="kim", thread="one", message="", knowledge=recommender.knowledge)
    found = tastes_of(context)
    assert found is not None
    assert float(found.signed.min()) == -0.5
    assert not hidden_rows(context, found).any()
    recommender.knowledge.store.append(taste(term="Acme", id="t1", source="said", **common))
    context.forget_profile()
    brands = context.knowledge.catalogue.frame["brand"].to_numpy() == "Acme"
    assert np.array_equal(hidden_rows(context, tastes_of(context)), brands)


def test_a_dislike_that_implies_something_is_no_liking(recommender: Recommender) -> None:
    """Of a stated dislike no counterfactual says that it was liked, whatever it lifts."""
    recommender.feedback("kim", "like", "p3")
    recommender.feedback("kim", "like", "p11")
    event = taste(term="Cobalt", polarity=-1, id="t0", user="kim", time=1.7e9, thread="main")
    recommender.knowledge.store.append(event)
    for card in recommender.recommend("kim", k=5).cards:
        (why,) = recommender.explain("kim", card.id).cards
        assert why.verification is not None
        if why.verification.counterfactual is not None:
            assert not any("Cobalt" in word for word in why.verification.counterfactual.words)
        assert why.score == pytest.approx(card.score, abs=1e-3)


def test_ages_of_another_recency_are_read_as_they_are(recommender: Recommender) -> None:
    """Whatever the ages are made by, the part is the state that they come to."""
    context = TurnContext(user="u1", thread="t", message="", knowledge=recommender.knowledge)
    part = recommender.knowledge.ranker.require_posterior()
    history = history_of(context)
    for factor in (0.5, 2.0):
        aged = replace(history, ages=(history.ages * np.float32(factor)).astype(np.float32))
        state = part.state(aged)
        np.testing.assert_allclose(part.scores(aged), part.along(state.mean - part.space.mean), atol=1e-5)
