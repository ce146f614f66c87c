"""The dials: the arithmetic by example, the invariants, and what they do to a list."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.agent.recommender import Recommender
from llm4rec.profiles.dials import (
    BOUNDS,
    NAMES,
    PRIOR,
    START,
    WINDOW,
    DialName,
    Dials,
    Steering,
    dials_for,
    offer_text,
    sides_of,
    steer,
)
from llm4rec.profiles.events import Event, reset_dials, undo
from llm4rec.profiles.fold import standing
from llm4rec.profiles.schema import migrations
from llm4rec.profiles.store import SqliteProfileStore
from llm4rec.ranking.debias import Debias, adjustments
from llm4rec.ranking.fused_ranker import RankerConfig
from llm4rec.ranking.history import from_events
from llm4rec.tools.base import TurnContext
from llm4rec.tools.offers import side
from llm4rec.tools.taste import debias_of, history_of
from numpy.typing import NDArray
from profile_cases import NOW, said, sequences, undo_of
from terminal import command

quick = settings(max_examples=80, deadline=None)


def verdict(n: int, offered: str | None = "diversity+", *, kind: str = "like", item: str | None = None) -> Event:
    return said(n, kind=kind, item=item or f"i{n}", offered=offered)


def dial(steering: Steering, name: DialName) -> float:
    return next(one.value for one in steering.dials if one.name == name)


def diversity(events: Sequence[Event]) -> float:
    return dial(steer(events), "diversity")


# The arithmetic.


def test_nobody_starts_anywhere_else() -> None:
    assert steer([]).values() == START == Dials()
    assert dials_for([]) == START
    assert RankerConfig().diversity == START.diversity, "one list is made alike with and without a profile"
    assert [one.name for one in steer([]).dials] == list(NAMES)
    assert {one.reason for one in steer([]).dials} == {
        "it stands where it starts, as nothing you took or turned down speaks for another value"
    }


def test_a_vote_is_a_ninth_of_the_way() -> None:
    low, high = BOUNDS["diversity"]
    assert diversity([verdict(0)]) == pytest.approx(START.diversity + (high - START.diversity) / 9)
    assert diversity([verdict(0, "diversity-")]) == pytest.approx(START.diversity - (START.diversity - low) / 9)
    assert diversity([verdict(n) for n in range(2 * PRIOR)]) == pytest.approx((START.diversity + high) / 2)
    assert 2 * PRIOR + 1 == 9


@pytest.mark.parametrize("kind", ["dislike", "skip"])
def test_turning_down_is_a_vote_for_the_other_side(kind: str) -> None:
    assert diversity([verdict(0, "diversity-", kind=kind)]) == diversity([verdict(0, "diversity+")])
    assert diversity([verdict(0, "diversity+", kind=kind)]) == diversity([verdict(0, "diversity-")])


def test_each_dial_has_votes_of_its_own() -> None:
    found = steer([verdict(0, "explore- diversity+ debias+ recency-")]).values()
    assert found.explore == START.explore == BOUNDS["explore"][0]
    assert found.diversity > START.diversity
    assert found.debias > START.debias
    assert found.recency < START.recency


def test_exploring_pays_where_what_is_thought_best_is_turned_down() -> None:
    refused = [verdict(n, "explore-", kind="dislike") for n in range(6)]
    assert dial(steer(refused), "explore") > START.explore
    missed = [verdict(10 + n, "explore+", kind="dislike") for n in range(6)]
    assert dial(steer([*refused, *missed]), "explore") == START.explore


def test_a_rating_is_a_verdict_where_it_takes_sides() -> None:
    def rated(value: float) -> Event:
        return said(0, kind="rating", value=value, offered="diversity+")

    assert diversity([rated(4.0)]) > START.diversity > diversity([rated(2.0)])
    assert diversity([rated(3.0)]) == START.diversity
    assert dial(steer([rated(4.0)], scale=(1.0, 10.0)), "diversity") < START.diversity


@pytest.mark.parametrize(
    "event",
    [
        verdict(0, None),
        said(0, kind="seen", offered="diversity+"),
        said(0, source="imported", offered="diversity+"),
        said(0, source="inferred", offered="diversity+", confidence=0.5),
        said(0, kind="taste", term="crime"),
        verdict(0, "mood+"),
    ],
)
def test_what_is_no_verdict_on_a_recommendation_moves_nothing(event: Event) -> None:
    assert steer([event]).values() == START


# The order.


def test_the_last_verdict_on_an_item_holds() -> None:
    like, dislike = verdict(0, item="x"), verdict(1, kind="dislike", item="x")
    assert steer([like, dislike]) == steer([dislike])
    skip = verdict(2, kind="skip", item="x")
    assert steer([like, skip]) == steer([like]), "a skip never replaces an opinion"
    assert steer([skip, like]) == steer([like])
    middling = said(3, kind="rating", value=3.0, item="x", offered="diversity+")
    assert steer([like, middling]).values() == START


def test_what_is_said_again_elsewhere_is_still_the_verdict_on_what_was_shown() -> None:
    later = verdict(1, None, kind="dislike", item="x")
    assert steer([verdict(0, item="x"), later]).values() == steer([verdict(0, kind="dislike", item="x")]).values()
    known = said(2, kind="seen", item="x")
    assert steer([verdict(0, item="x"), known]) == steer([verdict(0, item="x")])


def test_older_votes_than_the_window_count_no_more() -> None:
    old = [verdict(n, "diversity-") for n in range(WINDOW)]
    new = [verdict(WINDOW + n) for n in range(WINDOW)]
    assert steer([*old, *new]) == steer(new)
    assert diversity([*old, *new[:1]]) < START.diversity
    others = [verdict(2 * WINDOW + n, "recency+") for n in range(WINDOW)]
    assert diversity([*new, *others]) == diversity(new), "each dial counts its own"


@quick
@given(
    st.lists(st.sampled_from(["diversity+", "diversity- explore+", "explore- recency+ debias-"]), max_size=WINDOW),
    st.randoms(use_true_random=False),
)
def test_within_the_window_the_order_means_nothing(offers: list[str], chance: random.Random) -> None:
    events = [verdict(n, offer, kind="like" if n % 3 else "dislike") for n, offer in enumerate(offers)]
    shuffled = list(events)
    chance.shuffle(shuffled)
    assert steer(shuffled) == steer(events)


# The invariants.


@quick
@given(sequences(most=60))
def test_every_dial_stays_within_its_bounds_and_says_why(events: tuple[Event, ...]) -> None:
    found = steer(events)
    for one in found.dials:
        low, high = BOUNDS[one.name]
        assert (one.low, one.high) == (low, high)
        assert low <= one.value <= high
        assert one.start == getattr(START, one.name)
        assert 0 <= one.more + one.less <= WINDOW
        assert (one.value > one.start) == (one.more > one.less and one.start < high)
        assert (one.value < one.start) == (one.more < one.less and one.start > low)
        assert one.line().isprintable()
        assert "-0.00" not in one.line()


@quick
@given(sequences(undos=False, most=25), st.sets(st.integers(0, 24)))
def test_undoing_any_subset_equals_leaving_it_out(events: tuple[Event, ...], chosen: set[int]) -> None:
    undos = [undo(id=f"u{n}", user="ana", time=NOW, target=events[n].id) for n in sorted(chosen) if n < len(events)]
    left = [event for n, event in enumerate(events) if n not in chosen]
    assert steer([*events, *undos]) == steer(left)
    restored = [undo(id=f"r{n}", user="ana", time=NOW, target=one.id) for n, one in enumerate(undos)]
    assert steer([*events, *undos, *restored]) == steer(events)


@quick
@given(sequences())
def test_the_dials_are_a_function_of_what_stands(events: tuple[Event, ...]) -> None:
    assert steer(events) == steer(standing(events))


@quick
@given(sequences(undos=False, most=15), st.sampled_from(NAMES), st.booleans())
def test_a_new_verdict_never_moves_a_dial_the_wrong_way(events: tuple[Event, ...], name: DialName, more: bool) -> None:
    before = steer(events)
    after = steer([*events, verdict(99, f"{name}{'+' if more else '-'}", item="new")])
    change = dial(after, name) - dial(before, name)
    assert change >= 0 if more else change <= 0
    assert all(dial(after, other) == dial(before, other) for other in NAMES if other != name)


@quick
@given(sequences(), sequences(undos=False, most=10))
def test_after_a_reset_it_is_as_at_first(before: tuple[Event, ...], after: tuple[Event, ...]) -> None:
    reset = reset_dials(id="reset", user="ana", time=NOW)
    assert steer([*before, reset]).values() == START
    assert steer([*before, reset]).reset == NOW
    renamed = [event.model_copy(update={"id": f"after {event.id}"}) for event in after]
    assert steer([*before, reset, *renamed]).values() == steer(renamed).values()
    taken_back = undo(id="back", user="ana", time=NOW, target="reset")
    assert steer([*before, reset, taken_back]) == steer(before)


def test_an_undone_verdict_gives_the_value_back() -> None:
    first, second = verdict(0), verdict(1)
    assert diversity([first, second, undo_of(second, time=NOW)]) == diversity([first])
    assert steer([first, undo_of(first, time=NOW)]).values() == START


def test_what_a_request_gives_wins() -> None:
    events = [verdict(n) for n in range(8)]
    found = dials_for(events, diversity=0.9, explore=0.0)
    assert found.diversity == 0.9
    assert (found.explore, found.debias, found.recency) == (START.explore, START.debias, START.recency)
    assert dials_for(events, recency=2.0).diversity == diversity(events)
    with pytest.raises(TypeError):
        START.given(loudness=1.0)


# In words.


@pytest.mark.parametrize(
    ("events", "line"),
    [
        (
            [verdict(0)],
            "diversity 0.43, from 0.40: your one verdict on a recommendation speaks for more "
            "(you took 1 unlike the rest of its list).",
        ),
        (
            [
                *(verdict(n) for n in range(5)),
                verdict(5, "diversity-", kind="skip"),
                *(verdict(n, "diversity-") for n in (6, 7)),
            ],
            "diversity 0.47, from 0.40: 6 of your last 8 verdicts on recommendations speak for more "
            "(you took 5 unlike the rest of their lists and turned down 1 like the rest of its list).",
        ),
        (
            [verdict(0), *(verdict(n, kind="dislike") for n in (1, 2))],
            "diversity 0.37, from 0.40: 2 of your last 3 verdicts on recommendations speak for less "
            "(you turned down 2 unlike the rest of their lists).",
        ),
        (
            [verdict(0), verdict(1, "diversity-")],
            "diversity 0.40: of your last 2 verdicts on recommendations, 1 speaks for more and 1 for less, so that it "
            "stands where it starts.",
        ),
    ],
)
def test_the_reason_in_words_and_counts(events: list[Event], line: str) -> None:
    assert steer(events).dials[1].line() == line


def test_a_dial_at_its_bound_says_that_it_stays_there() -> None:
    assert steer([verdict(n, "debias-") for n in range(3)]).dials[2].line() == (
        "debias 0.00: 3 of your last 3 verdicts on recommendations speak for less "
        "(you took 3 more popular than most of their lists); it starts at its lowest and stays there."
    )


@quick
@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from([-1, 0, 1])))
def test_a_place_in_a_list_is_written_and_read_back(sides: dict[DialName, int]) -> None:
    text = offer_text(sides)
    told = {name: way for name, way in sides.items() if way}
    assert (text is None) == (not told)
    if text is not None:
        assert sides_of(text) == told
        assert said(0, offered=text).offered == text


# In the store.


def test_a_step_done_again_keeps_the_place_first_written(tmp_path: Path) -> None:
    store = SqliteProfileStore(tmp_path / "p.sqlite")
    assert store.append(verdict(0, "explore- recency+"))
    assert not store.append(verdict(0, "explore- recency-"))
    assert store.events("ana") == (verdict(0, "explore- recency+"),)
    assert store.forget_item("ana", "i0").events == 1
    assert steer(store.events("ana")).values() == START
    store.close()


def test_a_store_from_before_the_dials_is_brought_up_to_date(tmp_path: Path) -> None:
    path = tmp_path / "p.sqlite"
    SqliteProfileStore(path, schema=migrations()[:1]).close()
    old = said(0).model_dump(exclude={"offered"})
    with sqlite3.connect(path) as connection:
        names = ", ".join(old)
        connection.execute(
            f"INSERT INTO profile_events ({names}) VALUES ({', '.join('?' * len(old))})", tuple(old.values())
        )
    connection.close()
    store = SqliteProfileStore(path)
    assert store.events("ana") == (said(0),)
    store.append(verdict(1))
    assert store.events("ana")[1].offered == "diversity+"
    store.close()


# In lists.


@pytest.mark.parametrize(
    ("values", "sides"),
    [([1.0, 2.0, 3.0], [-1, 0, 1]), ([5.0], [0]), ([1.0, 4.0], [-1, 1]), ([2.0, 2.0 + 1e-9, 2.0], [0, 0, 0])],
)
def test_a_side_is_above_or_below_the_middle_of_the_list(values: list[float], sides: list[int]) -> None:
    assert [side(np.array(values), at) for at in range(len(values))] == sides
    assert side(None, 0) == 0


def desk(recommender: Recommender, user: str) -> TurnContext:
    return TurnContext(user=user, thread="t", message="m", knowledge=recommender.knowledge)


def test_a_verdict_on_a_shown_item_is_written_with_its_place(recommender: Recommender) -> None:
    turn = recommender.chat("u1", "warm light for my desk")
    assert turn.listed
    ids = [card.id for card in turn.cards]
    rows = [recommender.knowledge.catalogue.row_of[one] for one in ids]
    counts = recommender.knowledge.counts[rows]
    written = [recommender.feedback("u1", "like", one).offered or "" for one in ids]
    for at, text in enumerate(written):
        sides = sides_of(text)
        assert sides["explore"] == -1
        expected = int(np.sign(np.median(counts) - counts[at]))
        assert sides.get("debias", 0) == expected
    told = [sides_of(text).get("diversity", 0) for text in written]
    assert told.count(1) == told.count(-1) == len(ids) // 2, "half of a list lies on either side"
    assert any("recency" in text for text in written), "u1 has a log"
    elsewhere = next(one for one in recommender.knowledge.catalogue.ids if one not in ids)
    assert recommender.feedback("u1", "like", elsewhere).offered is None
    assert recommender.feedback("u1", "like", ids[0], thread="another").offered is None


def test_who_is_new_has_nothing_recent(recommender: Recommender) -> None:
    turn = recommender.chat("kim", "warm light for my desk")
    assert "recency" not in (recommender.feedback("kim", "like", turn.cards[0].id).offered or "recency")


def test_what_a_person_says_of_the_list_steers_and_can_be_taken_back(recommender: Recommender) -> None:
    turn = recommender.chat("kim", "warm light for my desk")
    assert desk(recommender, "kim").dials == START
    recommender.feedback("kim", "dislike", turn.cards[0].id)
    assert desk(recommender, "kim").dials.explore > START.explore
    recommender.undo("kim")
    assert desk(recommender, "kim").dials == START
    assert desk(recommender, "u2").dials == START, "each has their own"


def test_the_dials_reach_what_ranks(recommender: Recommender) -> None:
    offered = "explore- diversity+ debias+ recency+"
    recommender.knowledge.store.append_many(
        said(n, user="u1", item=f"gone {n}", offered=offered) for n in range(2 * PRIOR)
    )
    plain, steered = desk(recommender, "u2"), desk(recommender, "u1")
    found = steered.dials
    assert found.explore == START.explore
    assert (found.diversity, found.debias, found.recency) == pytest.approx((0.55, 0.3, 1.5))
    assert debias_of(steered).besides == steered.dials.debias
    assert debias_of(plain).besides == 0.0
    assert debias_of(steered, 0.2) == Debias(debias_of(plain).per_doubling, dial=0.2), "what a request gives wins"
    oldest = float(history_of(steered).ages.max())
    recommender.reset_dials("u1")
    assert oldest == pytest.approx(1.5 * float(history_of(desk(recommender, "u1")).ages.max()))


def test_an_own_dial_comes_besides_what_the_build_derives() -> None:
    rng = np.random.default_rng(5)
    scores, seen = rng.normal(size=(3, 40)).astype(np.float32), rng.random((3, 40)) < 0.2
    counts, common = rng.integers(1, 99, 40), rng.normal(size=40)
    scores += np.log2(1 + counts).astype(np.float32)

    def added(debias: Debias) -> NDArray[np.float32]:
        return adjustments(debias, scores, seen, counts, common)

    both = added(Debias(0.4, besides=0.3))
    np.testing.assert_allclose(both, added(Debias(0.4)) + added(Debias(dial=0.3)), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(added(Debias(besides=0.3)), added(Debias(dial=0.3)))
    np.testing.assert_array_equal(added(Debias(0.4, dial=0.0, besides=0.3)), np.zeros_like(both))
    assert Debias().off
    assert not Debias(besides=0.1).off
    with pytest.raises(ValueError, match=r"lies in \[0, 1\]"):
        Debias(besides=1.5)


def test_ages_are_scaled_and_nothing_else() -> None:
    past = from_events((3, 1, 2), (1.0, 0.0, -1.0), ("a", "b", "c"))
    assert past.aged(1.0) is past
    older = past.aged(2.0)
    np.testing.assert_array_equal(older.ages, 2 * past.ages)
    np.testing.assert_array_equal(older.rows, past.rows)
    assert older.refs == past.refs


# On the command line.


def test_reset_dials(shop: Path) -> None:
    with Recommender.open(shop, llm="rules") as recommender:
        recommender.knowledge.store.append_many(said(n, user="kim", item=f"p{n}", offered="debias+") for n in range(4))
    mine = ("--user", "kim", "-w", shop)
    shown = command("profile", "show", *mine)
    assert (
        "Debias 0.20, from 0.00: 4 of your last 4 verdicts on recommendations speak for more "
        "(you took 4 less popular than most of their lists).\n"
    ) in shown.out
    assert "Explore 0.00, diversity 0.40 and recency 1.00 stand where they start.\n" in shown.out
    assert command("profile", "reset-dials", *mine).out == "The dials are back where they start.\n"
    after = command("profile", "show", *mine, "--json").document
    assert {one["name"]: one["value"] for one in after["dials"]}["debias"] == START.debias
    assert after["dials_reset"] > NOW
    assert command("profile", "undo", *mine).out == "Taken back: the reset of the dials.\n"
    assert command("profile", "show", *mine).out == shown.out
