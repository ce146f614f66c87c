"""Explanations are verified: what they say of ranks is what ranking again, one by one, finds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llm4rec.agent.recommender import Recommender
from llm4rec.graphs.respond import described
from llm4rec.profiles.events import taste
from llm4rec.ranking.alternatives import Alternative, alternative_scores
from llm4rec.ranking.base import Contribution
from llm4rec.ranking.tastes import Taste, TasteMatches, match_tastes
from llm4rec.tools.base import ListSource, TurnContext
from llm4rec.tools.claims import is_liked, search_claim
from llm4rec.tools.counterfactual import QUERY, Left, Standings, least_set, without_tastes
from llm4rec.tools.counterpoint import counterpoint, share_within, usual
from llm4rec.tools.evidence import Reason, measured_first, unsupported
from llm4rec.tools.explain import explain_row, rank_one
from llm4rec.tools.results import Card, Counterfactual, Evidence, Verification
from llm4rec.tools.search import search_cards
from llm4rec.tools.taste import debias_of, hidden_rows, history_of, tastes_of
from llm4rec.tools.verdict_words import verdict_words, verification_words
from llm4rec.tools.verify import candidates_of, label, measure
from llm4rec.tools.verify import verdict as verdict_of

#: Scores of alternatives differ from those of single rankings by rounding alone.
NEAR = 2e-3


@pytest.fixture(scope="module")
def shop_open(shop_built: Path) -> Iterator[Recommender]:
    with Recommender.open(shop_built, llm="rules") as opened:
        yield opened


def desk(recommender: Recommender, user: str) -> TurnContext:
    return TurnContext(user=user, thread="main", message="why", knowledge=recommender.knowledge)


def best(recommender: Recommender, user: str, k: int = 3) -> list[int]:
    row_of = recommender.knowledge.catalogue.row_of
    return [row_of[card.id] for card in recommender.recommend(user, k=k).cards]


def slow(context: TurnContext, row: int, left: Left) -> tuple[int, float, float]:
    """Rank, score, and distance to the nearest other score, from one ordinary ranking of everything."""
    knowledge = context.knowledge
    tastes = tastes_of(context)
    field = knowledge.catalogue.available & ~hidden_rows(context, tastes)
    field[row] = True
    if tastes is not None:
        stated = [t for t in context.profile.tastes if f"event:{t.event_id}" not in left.refs]
        kept = [Taste(t.attribute, t.term, t.polarity, f"event:{t.event_id}") for t in stated]
        encode = knowledge.searcher.text_encoder.encode
        tastes = match_tastes(knowledge.catalogue, kept, knowledge.ranker.views.get("text"), encode) if kept else None
    found = knowledge.ranker.recommend(
        history_of(context).without(left.refs),
        k=len(knowledge.catalogue),
        mask=field,
        tastes=tastes,
        repeats=True,
        debias=debias_of(context),
        reasons=False,
    )
    at = next(place for place, ranked in enumerate(found) if ranked.row == row)
    gap = min(abs(ranked.score - found[at].score) for ranked in found if ranked.row != row)
    return at + 1, found[at].score, gap


def agrees(context: TurnContext, row: int, left: Left, rank: int, score: float) -> None:
    slow_rank, slow_score, gap = slow(context, row, left)
    assert score == pytest.approx(slow_score, abs=NEAR)
    assert rank == slow_rank or gap < NEAR


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(user=st.integers(0, 39), drawn=st.sets(st.integers(0, 11), max_size=11), keep=st.booleans())
def test_without_and_only_are_ranked_as_one_by_one(
    shop_open: Recommender, user: int, drawn: set[int], keep: bool
) -> None:
    context = desk(shop_open, f"u{user}")
    row = best(shop_open, f"u{user}", 1)[0]
    standings = Standings(context, row, shown=False)
    refs = frozenset(standings.history.refs[at] for at in drawn if at < len(standings.history))
    left = standings.only(refs) if keep else Left(refs=refs)
    (found,) = standings.of([left])
    agrees(context, row, left, found.rank, found.score)


def test_opinions_and_stated_tastes_are_left_out_too(recommender: Recommender) -> None:
    for verdict, item in (("dislike", "p1"), ("dislike", "p10"), ("like", "p3"), ("like", "p20")):
        recommender.feedback("kim", verdict, item)  # type: ignore[arg-type]
    for at, (term, polarity) in enumerate((("Borealis", 1), ("staplers", -1))):
        event = taste(term=term, polarity=polarity, id=f"t{at}", user="kim", time=1.0, source="said")  # type: ignore[arg-type]
        recommender.knowledge.store.append(event)
    context = desk(recommender, "kim")
    row = best(recommender, "kim", 1)[0]
    standings = Standings(context, row, shown=False)
    assert standings.tastes is not None
    refs = sorted(standings.evidence)
    assert len(refs) >= 5
    asked = [Left(refs=frozenset(some)) for size in (1, 2, len(refs)) for some in combinations(refs, size)]
    for left, found in zip(asked, standings.of(asked), strict=True):
        agrees(context, row, left, found.rank, found.score)


def test_what_contributes_nothing_changes_nothing(shop_open: Recommender) -> None:
    context = desk(shop_open, "u1")
    row = best(shop_open, "u1", 1)[0]
    standings = Standings(context, row, shown=False)
    (found,) = standings.of([Left(refs=frozenset({"event:of nobody"}))])
    assert found == standings.now
    ranker, history = shop_open.knowledge.ranker, standings.history
    lamps = match_tastes(shop_open.knowledge.catalogue, [Taste("categories", "Light", 1, "event:a")])
    silent = np.zeros((1, ranker.n_items), dtype=np.float32)
    both = TasteMatches(("event:a", "event:b"), ("label", "nothing"), np.concatenate([lamps.signed, silent]))
    whole, less, none = alternative_scores(
        ranker,
        [
            Alternative(history, both),
            Alternative(history, without_tastes(both, {"event:b"})),
            Alternative(history, without_tastes(both, {"event:a", "event:b"})),
        ],
    )
    np.testing.assert_array_equal(whole, less)
    np.testing.assert_allclose(none, ranker.scores(history), atol=NEAR)
    assert np.abs(whole - none).max() > 0.01


@pytest.mark.parametrize("user", ["u1", "u4", "u9", "u17"])
def test_no_part_of_a_counterfactual_set_does_it(shop_open: Recommender, user: str) -> None:
    context = desk(shop_open, user)
    for row in best(shop_open, user):
        standings = Standings(context, row, shown=False)
        ranked = rank_one(context, standings, row)
        least = least_set(standings, candidates_of(standings, ranked.contributions, row))
        assert len(least.refs) <= 5
        rank, _, gap = slow(context, row, Left(refs=frozenset(least.refs)))
        assert least.standing.rank == rank or gap < NEAR
        assert least.found == (least.standing.rank > standings.top)
        for size in range(len(least.refs)):
            for part in combinations(least.refs, size):
                rank, _, gap = slow(context, row, Left(refs=frozenset(part)))
                assert not least.found or rank <= standings.top or gap < NEAR


@pytest.mark.parametrize("user", ["u2", "u5", "u11"])
def test_verdicts_say_what_ranking_again_finds(shop_open: Recommender, user: str) -> None:
    for row in best(shop_open, user):
        context = desk(shop_open, user)
        card = explain_row(context, row)
        assert 1 <= len(card.claims) <= 3
        found = card.verification
        assert found is not None
        assert found.rank == slow(context, row, Left())[0]
        history = history_of(context)
        for claim in card.claims:
            verdict = claim.verdict
            assert verdict is not None
            assert set(claim.evidence) <= set(context.evidence)
            refs = frozenset(claim.evidence) & frozenset(history.refs)
            if not refs or verdict.rank_without is None or verdict.score_without is None:
                continue
            agrees(context, row, Left(refs=refs), verdict.rank_without, verdict.score_without)
            assert verdict.label == label(verdict.rank, verdict.rank_without, found.top)
            only = Left(refs=frozenset(history.refs) - refs)
            assert verdict.rank_alone == slow(context, row, only)[0] or slow(context, row, only)[2] < NEAR
        told = [claim.verdict for claim in card.claims if claim.verdict is not None]
        falls = [verdict.rank_without for verdict in told if verdict.rank_without is not None]
        assert falls == sorted(falls, reverse=True)
        text = described(card)
        assert all(claim.text.replace("_", "") in text.replace("\\", "") for claim in card.claims)
        assert f"number {found.rank} of" in text


@pytest.mark.parametrize(
    ("rank", "without", "said"),
    [(3, 3, "unmoved"), (3, 2, "unmoved"), (3, 9, "contributes"), (3, 11, "necessary"), (40, 79, "contributes")],
)
def test_labels(rank: int, without: int, said: str) -> None:
    assert label(rank, without, 10) == said
    assert label(40, 80, 10) == "necessary"


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        ("shares brand Acme with Acme pen 1, on your record", ()),
        ("shares brand Cobalt with Acme pen 1, on your record", ("Cobalt",)),
        ("12 people chose Acme pen 1", ()),
        ("13 people chose Acme pen 1", ("13",)),
        ("its description mentions “ink pen”", ()),
        ("its description mentions “warm lamp”", ("warm lamp",)),
    ],
)
def test_what_no_record_holds_is_found(text: str, missing: tuple[str, ...]) -> None:
    records = (
        Evidence(id="log:u1:p0", text="in your log: Acme pen 1, rated 5"),
        Evidence(id="catalogue:p0:brand", text="brand: Acme"),
        Evidence(id="pair:p0:p1", text="12 people chose both"),
        Evidence(id="catalogue:p0:description", text="description: a smooth ink pen for letters"),
    )
    assert unsupported(Reason("plain", text, records, Left())) == missing
    assert unsupported(Reason("plain", "nothing", records, Left(), ("Delta Works",))) == ("Delta Works",)


def test_in_a_search_the_rank_is_that_of_the_list_and_the_request_is_verified(recommender: Recommender) -> None:
    recommender.chat("u1", "a warm dimmable light")
    turn = recommender.call("u1", "explain", {"ordinal": 2})
    (card,) = turn.cards
    found = card.verification
    assert found is not None
    assert (found.rank, found.listed) == (2, True)
    asked = [claim for claim in card.claims if not {e.split(":")[0] for e in claim.evidence} & {"log", "model"}]
    assert asked
    assert asked[0].verdict is not None
    assert asked[0].verdict.rank_without is not None
    context = desk(recommender, "u1")
    cards = search_cards(
        context,
        text="warm light",
        like=(),
        keep=np.ones(64, dtype=np.bool_),
        personal=True,
    )
    context.fill(cards, query="warm light", source=ListSource({}, context.pool))
    for shown in context.bus.cards:
        standings = Standings(context, context.knowledge.catalogue.row_of[shown.id], shown=True)
        assert standings.now.rank == shown.ordinal
        row = context.knowledge.catalogue.row_of[shown.id]
        (plain,) = standings.of([Left(wishes=frozenset({QUERY}))])
        assert plain.rank == Standings(context, row, shown=False).now.rank


def test_a_filter_is_left_out_of_the_request(recommender: Recommender) -> None:
    context = desk(recommender, "u1")
    items = context.knowledge.catalogue.item
    row = next(row for row in best(recommender, "u1", 30) if items(row).attributes["brand"] == "Acme")
    item = context.knowledge.catalogue.item(row)
    context.fill([Card.of(item, ordinal=1, score=0.0)], cited=("brand",), source=ListSource({"brand": "Acme"}))
    card = explain_row(context, row)
    asked = next(claim for claim in card.claims if claim.text == "as asked: brand Acme")
    assert asked.verdict is not None
    assert asked.verdict.rank_without == slow(context, row, Left())[0]
    assert asked.verdict.rank <= asked.verdict.rank_without


def test_what_was_disliked_speaks_against_it(recommender: Recommender) -> None:
    for item in ("p3", "p11", "p19"):
        recommender.feedback("kim", "dislike", item)
    for item in ("p0", "p1", "p8", "p9", "p16", "p17"):
        recommender.feedback("kim", "like", item)
    found = recommender.explain("kim", "p27").cards[0].verification
    assert found is not None
    assert found.counterpoint is not None
    assert found.counterpoint.text.startswith("you disliked 3 with the category Light")
    recommender.feedback("kim", "like", "p3")
    context = desk(recommender, "kim")
    against = counterpoint(context, context.knowledge.catalogue.item(27), Standings(context, 27, shown=False))
    assert against is None or "Light" not in against.text


def test_of_nobody_known_the_explanation_says_so(shop_open: Recommender) -> None:
    card = shop_open.explain("nobody at all", "p3").cards[0]
    assert card.verification is not None
    assert card.verification.counterfactual is None
    assert card.verification.rank == card.verification.rank_alone
    assert card.claims


def test_records_worth_measuring_are_those_that_add_most(shop_open: Recommender) -> None:
    context = desk(shop_open, "u3")
    row = best(shop_open, "u3", 1)[0]
    ranked = rank_one(context, Standings(context, row, shown=False), row)
    total: dict[str, float] = {}
    for one in ranked.contributions:
        total[one.ref] = total.get(one.ref, 0.0) + one.amount
    first = measured_first(ranked.contributions, row, 2)
    assert first[0] == max(total, key=lambda ref: total[ref])
    assert measured_first(replace(ranked, contributions=()).contributions, row) == []


@pytest.mark.parametrize("way", ["log", "like", "dislike"])
def test_that_it_is_known_is_no_reason_for_it(recommender: Recommender, way: str) -> None:
    context = desk(recommender, "u1")
    if way == "log":
        row = int(history_of(context).rows[-1])
    else:
        row = best(recommender, "u1", 1)[0]
        rank_before = Standings(context, row, shown=False).now.rank
        recommender.feedback("u1", way, context.knowledge.catalogue.ids[row])  # type: ignore[arg-type]
        context = desk(recommender, "u1")
        assert Standings(context, row, shown=False).now.rank <= rank_before + 3
    own = next(ref for ref, of in zip(history_of(context).refs, history_of(context).rows, strict=True) if of == row)
    card = explain_row(context, row)
    assert any("on your record" in notice for notice in context.notices)
    assert own not in context.evidence
    assert max(abs(value) for value in card.parts.values()) < 50
    assert card.verification is not None


def test_of_a_low_grade_in_the_log_no_claim_says_that_it_pushes(shop_open: Recommender) -> None:
    context = desk(shop_open, "u1")
    history = history_of(context)
    low = next(ref for ref, weight in zip(history.refs, history.weights, strict=True) if weight < 0)
    row = int(history.rows[history.refs.index(low)])
    assert is_liked(context, Contribution(ref=low, row=row, amount=0.1, part="text"))


def test_of_a_fact_no_rank_is_told_without_it(recommender: Recommender) -> None:
    context = desk(recommender, "u1")
    standings = Standings(context, 0, shown=False)
    records = (Evidence(id="catalogue:p0:brand", text="brand: Acme"),)
    (one,) = measure(standings, [Reason("plain", "brand: Acme", records, Left())])
    assert verdict_of(standings, one).rank_without is None
    assert verdict_words(verdict_of(standings, one)) == "true, but did not move the rank"


def test_the_record_of_a_quoted_word_holds_it(recommender: Recommender) -> None:
    context = desk(recommender, "u1")
    text = "long " * 200 + "a submarine at the end " + "of it " * 90
    item = replace(context.knowledge.catalogue.item(0), description=text)
    (claim,) = search_claim(context, item, {"words": 1}, "submarine")
    assert claim.text == "its description mentions “submarine”"
    told = context.evidence[claim.evidence[0]].text
    assert "submarine" in told
    assert len(told) < 330


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1990.0] * 5 + [1995.0] * 6, "all of what you chose lie from 1990 to 1995"),
        ([1980.0, *[1990.0] * 30, 1999.0], "94 in 100 of what you chose lie from 1990 to 1990"),
    ],
)
def test_how_usual_a_number_is_is_counted(values: list[float], said: str) -> None:
    low, high = usual(np.array(values)) or (0.0, 0.0)
    assert share_within(np.array(values), low, high) + f" of what you chose lie from {low:g} to {high:g}" == said


def test_with_few_records_all_are_named_that_do_not_decide_it() -> None:
    least = Counterfactual(found=False, evidence=("e",), items=(), words=("Heat",), rank_without=2, ranked=1)
    found = Verification(
        rank=1,
        candidates=9,
        top=5,
        listed=True,
        rank_without=None,
        rank_alone=1,
        counterfactual=least,
        considered=1,
    )
    assert verification_words(found, ())[-1] == "Even without Heat it would be here (number 2)."
