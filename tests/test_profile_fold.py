"""The fold: each rule by example, then the invariants."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llm4rec.profiles.events import Event, EventConflict, undo
from llm4rec.profiles.fold import TONIGHT, WEIGHTS, Profile, comparable, fold, rating_weight, standing
from profile_cases import NOW, THREADS, said, sequences

quick = settings(max_examples=60, deadline=None)


def undone(n: int, target: Event) -> Event:
    return undo(id=f"u{n}", user=target.user, time=NOW, target=target.id)


def terms(profile: Profile) -> list[tuple[str | None, str, int]]:
    return [(t.attribute, t.term, t.polarity) for t in profile.tastes]


def test_nothing_is_a_profile_too() -> None:
    profile = fold((), user="ana")
    assert (profile.user, dict(profile.items), profile.tastes, profile.seen, profile.events) == (
        "ana",
        {},
        (),
        frozenset(),
        0,
    )


def test_each_kind_of_opinion() -> None:
    profile = fold(
        [
            said(0, item="a", kind="rating", value=5.0),
            said(1, item="b", kind="like"),
            said(2, item="c", kind="dislike", source="clicked"),
            said(3, item="d", kind="seen"),
            said(4, item="e", kind="skip", message="not that"),
        ]
    )
    assert [(i, o.kind, o.weight) for i, o in profile.items.items()] == [
        ("a", "rating", 1.0),
        ("b", "like", 1.0),
        ("c", "dislike", -1.0),
        ("d", "seen", WEIGHTS["seen"]),
        ("e", "skip", WEIGHTS["skip"]),
    ]
    assert profile.seen == {"a", "b", "c", "d"}
    assert -0.5 < WEIGHTS["skip"] < 0
    opinion = profile.items["e"]
    assert (opinion.event_id, opinion.time, opinion.message, opinion.source) == (
        "ana:4:0:0",
        NOW + 4,
        "not that",
        "said",
    )
    assert profile.items["a"].value == 5.0
    assert profile.events == 5


def test_the_last_opinion_holds_whatever_the_clock_says() -> None:
    profile = fold([said(0, kind="like", time=NOW), said(1, kind="dislike", time=NOW - 1e6)])
    assert profile.items["i1"].kind == "dislike"


@pytest.mark.parametrize("opinion", [{"kind": "like"}, {"kind": "dislike"}, {"kind": "rating", "value": 2.0}])
@pytest.mark.parametrize("less", ["seen", "skip"])
def test_seen_and_skip_never_replace_an_opinion(opinion: dict[str, Any], less: str) -> None:
    alone = fold([said(0, **opinion)])
    assert fold([said(0, **opinion), said(1, kind=less)]).items == alone.items
    assert fold([said(1, kind=less), said(0, **opinion)]).items == alone.items


def test_between_seen_and_skip_the_last_one_holds_and_what_is_known_stays_known() -> None:
    profile = fold([said(0, kind="seen"), said(1, kind="skip")])
    assert profile.items["i1"].kind == "skip"
    assert profile.seen == {"i1"}
    assert fold([said(0, kind="skip"), said(1, kind="seen")]).items["i1"].kind == "seen"


def test_skip_alone_is_not_seen() -> None:
    assert fold([said(0, kind="skip")]).seen == frozenset()


def test_opinions_stand_in_the_order_in_which_they_were_formed() -> None:
    profile = fold([said(0, item="a"), said(1, item="b"), said(2, item="a", kind="dislike")])
    assert list(profile.items) == ["b", "a"]


def test_confidence_scales_the_weight() -> None:
    assert fold([said(0, kind="dislike", source="inferred", confidence=0.5)]).items["i1"].weight == -0.5


@pytest.mark.parametrize(("value", "weight"), [(1, -1), (2, -0.5), (3, 0), (4, 0.5), (5, 1), (0, -1), (9, 1)])
def test_ratings_on_the_default_scale(value: float, weight: float) -> None:
    assert fold([said(0, kind="rating", value=float(value))]).items["i1"].weight == weight


def test_ratings_on_another_scale() -> None:
    assert fold([said(0, kind="rating", value=75.0)], scale=(0.0, 100.0)).items["i1"].weight == 0.5


@pytest.mark.parametrize("scale", [(5.0, 1.0), (3.0, 3.0), (0.0, float("inf")), (float("nan"), 5.0)])
def test_an_impossible_scale_is_refused(scale: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="scale"):
        fold([], scale=scale)


@quick
@given(
    st.floats(-1e308, 1e308),
    st.floats(-1e308, 1e308),
    st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6)).map(lambda p: (p[0], p[0] + p[1])),
)
def test_rating_weight_is_monotone_and_bounded(one: float, other: float, scale: tuple[float, float]) -> None:
    low, high = sorted((one, other))
    assert -1 <= rating_weight(low, scale) <= rating_weight(high, scale) <= 1
    assert (rating_weight(scale[0], scale), rating_weight(scale[1], scale)) == (-1, 1)


def test_an_undo_takes_back_and_an_undo_of_it_restores() -> None:
    first, second = said(0, kind="like"), said(1, kind="dislike")
    back = undone(0, second)
    assert fold([first, second, back]) == fold([first])
    assert fold([first, second, back, undone(1, back)]) == fold([first, second])
    again = [first, second, back, undone(1, back), undone(2, second)]
    assert fold(again) == fold([first])


def test_an_undo_reaches_earlier_events_of_the_list_alone() -> None:
    event = said(0)
    assert fold([undone(0, event), event]) == fold([event])
    assert standing([event, undone(0, said(9))]) == (event,)


def test_tonight_counts_in_its_thread_for_twelve_hours() -> None:
    event = said(0, kind="taste", term="light", scope="tonight", time=NOW)
    assert terms(fold([event], thread="t1", now=NOW + TONIGHT)) == [(None, "light", 1)]
    assert terms(fold([event], thread="t1", now=NOW + TONIGHT + 1)) == []
    assert terms(fold([event], thread="t1", now=NOW - 1e6)) == [(None, "light", 1)]
    assert terms(fold([event], thread="t1")) == [(None, "light", 1)]
    assert terms(fold([event], thread="t2", now=NOW)) == []
    assert terms(fold([event], now=NOW)) == []


def test_the_later_of_two_contradictory_tastes_holds() -> None:
    loves = said(0, kind="taste", attribute="genres", term="Crime")
    hates = said(1, kind="taste", attribute="Genres", term=" crime ", polarity=-1)
    other = said(2, kind="taste", attribute="mood", term="crime")
    free = said(3, kind="taste", term="crime")
    assert terms(fold([loves, hates, other, free])) == [
        ("Genres", "crime", -1),
        ("mood", "crime", 1),
        (None, "crime", 1),
    ]


def test_a_taste_for_tonight_hides_a_lasting_one_only_while_it_counts() -> None:
    lasting = said(0, kind="taste", term="horror")
    tonight = said(1, kind="taste", term="horror", polarity=-1, scope="tonight")
    assert terms(fold([lasting, tonight], thread="t1", now=NOW)) == [(None, "horror", -1)]
    assert terms(fold([lasting, tonight], thread="t2", now=NOW)) == [(None, "horror", 1)]
    assert terms(fold([lasting, tonight], thread="t1", now=NOW + 2 * TONIGHT)) == [(None, "horror", 1)]


def test_terms_are_compared_without_case_accents_and_spacing_but_with_signs() -> None:
    assert comparable("Crème  Brûlée") == comparable("creme brulee")
    assert comparable("C++") != comparable("C#")
    assert comparable("\u0301") != ""


def test_events_of_two_users_are_refused() -> None:
    with pytest.raises(ValueError, match="ana, bob"):
        fold([said(0), said(0, user="bob")])


def test_one_id_with_two_meanings_is_refused() -> None:
    with pytest.raises(EventConflict):
        fold([said(0), said(0, item="i2")])


def test_a_profile_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        fold([said(0)]).items["x"] = None  # type: ignore[index]


def reference(events: tuple[Event, ...]) -> set[str]:
    """Ids that count, by the definition: an event counts unless a later undo that counts refers to it."""

    def counts(position: int) -> bool:
        target = events[position].id
        return not any(e.target == target and counts(later) for later, e in enumerate(events) if later > position)

    return {e.id for n, e in enumerate(events) if e.kind != "undo" and counts(n)}


@quick
@given(sequences(most=12))
def test_what_stands_is_what_the_definition_says(events: tuple[Event, ...]) -> None:
    assert {e.id for e in standing(events)} == reference(events)


views = st.tuples(st.sampled_from([None, *THREADS]), st.sampled_from([None, NOW, NOW + 1e5]))


@quick
@given(sequences(), views)
def test_undone_events_are_as_if_they_had_never_been(
    events: tuple[Event, ...], view: tuple[str | None, float | None]
) -> None:
    thread, now = view
    left = [e for e in events if e.id in {s.id for s in standing(events)}]
    whole, without = (fold(e, thread=thread, now=now, user="ana") for e in (events, left))
    assert whole == without
    assert list(whole.items) == list(without.items)


@quick
@given(sequences(undos=False, most=12), st.sets(st.integers(0, 11)), views)
def test_undoing_any_subset_equals_leaving_it_out(
    events: tuple[Event, ...], chosen: set[int], view: tuple[str | None, float | None]
) -> None:
    thread, now = view
    undos = [undone(n, events[n]) for n in sorted(chosen) if n < len(events)]
    left = [e for n, e in enumerate(events) if n not in chosen]
    assert fold([*events, *undos], thread=thread, now=now) == fold(left, thread=thread, now=now, user=fold(events).user)
    restored = [undo(id=f"r{n}", user="ana", time=NOW, target=u.id) for n, u in enumerate(undos)]
    assert fold([*events, *undos, *restored], thread=thread, now=now) == fold(events, thread=thread, now=now)


@quick
@given(sequences(), st.randoms(use_true_random=False))
def test_repeated_events_change_nothing(events: tuple[Event, ...], chance: random.Random) -> None:
    repeated = list(events)
    for event in chance.choices(events, k=3) if events else ():
        repeated.append(event.model_copy(update={"time": NOW}))
    assert fold(repeated, thread="t1", now=NOW) == fold(events, thread="t1", now=NOW)


@quick
@given(sequences(), views)
def test_weights_stay_in_bounds_and_everything_names_an_event_that_stands(
    events: tuple[Event, ...], view: tuple[str | None, float | None]
) -> None:
    thread, now = view
    profile = fold(events, thread=thread, now=now)
    ids = {e.id for e in standing(events)}
    assert all(-1 <= o.weight <= 1 for o in profile.items.values())
    assert {o.event_id for o in profile.items.values()} | {t.event_id for t in profile.tastes} <= ids
    keys = [((t.attribute or "").casefold(), comparable(t.term)) for t in profile.tastes]
    assert len(keys) == len(set(keys))
    assert profile.seen <= profile.items.keys()
    assert all(t.scope == "always" or thread is not None for t in profile.tastes)
    assert profile.events == len(ids)
