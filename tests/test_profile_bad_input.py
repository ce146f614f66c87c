"""What a profile has to put up with, in both stores and through the commands people use: clocks that go back, items
that nobody knows, people who contradict themselves, and stores of a newer version.

Damaged stores are the business of `test_profile_damage`, users of very many events that of `test_profile_many`.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import profile_places
import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.errors import UserError
from llm4rec.profiles.events import taste
from llm4rec.profiles.fold import TONIGHT
from llm4rec.profiles.opening import open_store
from llm4rec.profiles.postgres import PostgresProfileStore
from llm4rec.profiles.schema import Migration, migrations
from llm4rec.profiles.store import ProfileStore, SqliteProfileStore
from llm4rec.profiles.transfer import export_user
from llm4rec.tools.results import Turn
from profile_cases import NOW, said
from profile_live import READING, run, told

DAY = 86_400.0


@pytest.fixture(params=profile_places.KINDS)
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    with profile_places.place(request.param, tmp_path) as where:
        yield where


@pytest.fixture
def live(shop: Path, where: str) -> Iterator[Recommender]:
    """A recommender over the shop that keeps its profiles there."""
    with Recommender.open(shop, llm="rules", profiles=where) as opened:
        yield opened


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets the clock, which then stands still."""
    return lambda at: monkeypatch.setattr(time, "time", lambda: at)


# A clock that goes back.


def test_the_last_word_counts_whatever_the_clock_says(live: Recommender, clock: Callable[[float], None]) -> None:
    clock(NOW + 4_000 * DAY)  # some machine was years ahead
    live.feedback("ana", "like", "p3")
    clock(NOW)
    live.feedback("ana", "dislike", "p3")
    clock(NOW - 4_000 * DAY)
    live.feedback("ana", "rating", "p5", value=4)
    assert [(item, opinion.kind) for item, opinion in live.profile("ana").items.items()] == [
        ("p3", "dislike"),
        ("p5", "rating"),
    ]
    history = told(live.history("ana", k=2).reply)
    assert ["Acme printer ink 1" in history[0], "Acme lamp 1" in history[1]] == [True, True]
    assert live.undo("ana") == "rating Acme printer ink 1"
    assert live.undo("ana") == "dislike Acme lamp 1"
    assert live.profile("ana").items["p3"].kind == "like"
    assert live.knowledge.store.latest("ana", 1)[0].kind == "undo"


def test_a_turn_with_the_clock_set_back_follows_the_one_before(
    live: Recommender, clock: Callable[[float], None]
) -> None:
    clock(NOW)
    first = live.chat("ana", "I love Acme")
    clock(NOW - 4_000 * DAY)
    second = live.chat("ana", "I hate Acme", k=50)
    assert (first.number, second.number) == (1, 2)
    assert len({*first.events, *second.events}) == 2
    assert [(one.term, one.polarity) for one in live.profile("ana").tastes] == [("Acme", -1)]
    assert second.cards
    assert not any(card.attributes["brand"] == "Acme" for card in second.cards)


def test_what_is_said_while_the_clock_stands_still_is_kept_each_time(
    live: Recommender, clock: Callable[[float], None]
) -> None:
    clock(NOW)
    live.feedback("ana", "like", "p1")
    live.feedback("ana", "dislike", "p2")
    live.undo("ana")
    live.feedback("ana", "dislike", "p2")
    live.call("ana", "record_feedback", {"verdict": "like", "about": "Acme"})
    live.call("ana", "record_feedback", {"verdict": "dislike", "about": "Cobalt"})
    profile = live.profile("ana")
    assert {item: opinion.kind for item, opinion in profile.items.items()} == {"p1": "like", "p2": "dislike"}
    assert {(one.term, one.polarity) for one in profile.tastes} == {("Acme", 1), ("Cobalt", -1)}
    assert {event.time for event in live.knowledge.store.events("ana")} == {NOW}


def test_a_taste_for_tonight_from_a_clock_ahead_counts_tonight_and_not_for_ever(
    live: Recommender, clock: Callable[[float], None]
) -> None:
    def brands() -> set[object]:
        return {card.attributes["brand"] for card in live.recommend("ana", k=50).cards}

    ahead = NOW + 30 * DAY
    live.knowledge.store.append(
        taste(id="t", user="ana", time=ahead, thread="main", term="Acme", polarity=-1, scope="tonight")
    )
    clock(NOW)
    assert "Acme" not in brands(), "it was just said, by whatever clock"
    clock(ahead + TONIGHT + 60)
    assert "Acme" in brands(), "the evening is over"


# Items that the catalogue does not hold.


GHOSTS = (
    said(0, item="ghost-1"),
    said(1, item="ghost-2 [bold]", kind="dislike"),
    said(2, item="ghost-3", kind="rating", value=5.0),
    said(3, item="ghost-4", kind="seen"),
    said(4, item="*ghost-5*", kind="skip"),
)


def test_events_for_unknown_items_are_kept_shown_by_their_id_and_rank_nothing(live: Recommender) -> None:
    def ranked(user: str) -> list[tuple[str, float]]:
        return [(card.id, card.score) for card in live.recommend(user, k=10).cards]

    before = ranked("ana"), ranked("u1")
    live.knowledge.store.append_many(GHOSTS)
    live.knowledge.store.append_many(event.model_copy(update={"user": "u1", "id": f"u1{event.id}"}) for event in GHOSTS)
    assert (ranked("ana"), ranked("u1")) == before
    assert set(live.profile("ana").items) == {event.item for event in GHOSTS}
    history = " ".join(told(live.history("ana", k=10).reply))
    assert all(str(event.item) in history for event in GHOSTS)
    turn = live.chat("ana", "surprise me")
    assert turn.cards
    assert not turn.notices
    assert "ghost-3" in live.chat("ana", "what have I rated?").reply
    assert live.undo("ana") == "skip *ghost-5*"
    assert live.knowledge.store.forget_item("ana", "ghost-3").events == 1


@pytest.mark.parametrize("arguments", READING, ids=" ".join)
def test_every_command_reads_unknown_items_dated_by_clocks_gone_wrong(
    shop: Path, where: str, arguments: tuple[str, ...]
) -> None:
    store = open_store(where)
    store.append_many(GHOSTS)
    dates = (4e9, 0.0, 253_402_214_400.0, 1e9)
    store.append_many(said(10 + n, item=f"p{n}", time=at) for n, at in enumerate(dates))
    store.close()
    done = run(shop, *arguments, "--profiles", where)
    assert done.code == 0, done.err
    if arguments == ("profile", "show"):
        assert all(str(event.item) in done.out for event in GHOSTS)


def test_an_export_with_unknown_items_is_read_back(live: Recommender, tmp_path: Path) -> None:
    live.knowledge.store.append_many(GHOSTS)
    saved = tmp_path / "ana.json"
    saved.write_text(export_user(live.knowledge.store, "ana"), encoding="utf-8")
    live.knowledge.store.forget_user("ana")
    assert live.import_profile("ana", saved).new == len(GHOSTS)
    assert live.knowledge.store.events("ana") == GHOSTS


# People who contradict themselves.


def test_the_last_of_contradictory_statements_holds(live: Recommender, shop: Path, where: str) -> None:
    def brands(turn: Turn) -> set[object]:
        assert turn.cards
        return {card.attributes["brand"] for card in turn.cards}

    for n in range(2):
        assert "Acme" not in brands(live.chat("ana", "I hate Acme", k=50)), n
        assert "Acme" in brands(live.chat("ana", "I love Acme", k=50)), n
    assert "Acme" not in brands(live.chat("ana", "I hate acme", k=50))
    assert [(one.term.casefold(), one.polarity) for one in live.profile("ana").tastes] == [("acme", -1)]
    assert live.profile("ana").events == 5, "none is lost: what was said can be taken back one by one"
    live.undo("ana")
    assert "Acme" in brands(live.chat("ana", "surprise me", k=50))
    shown = run(shop, "profile", "show", "--profiles", where).out
    assert ("You like Acme" in shown, "You do not like Acme" in shown) == (True, False)


def test_an_item_liked_disliked_and_rated_has_one_opinion_and_is_not_recommended(live: Recommender) -> None:
    live.feedback("ana", "like", "p3")
    live.feedback("ana", "dislike", "p3")
    live.feedback("ana", "rating", "p3", value=5)
    live.feedback("ana", "dislike", "p3")
    live.feedback("ana", "skip", "p3")
    assert {item: (one.kind, one.weight) for item, one in live.profile("ana").items.items()} == {"p3": ("dislike", -1)}
    assert "p3" not in {card.id for card in live.recommend("ana", k=50).cards}


def test_a_passing_wish_against_a_lasting_one_holds_for_its_evening(live: Recommender) -> None:
    live.chat("ana", "I hate Acme")
    live.chat("ana", "I love Acme tonight", thread="evening")
    here, there = (live.chat("ana", "surprise me", thread=thread, k=50).cards for thread in ("evening", "other"))
    assert any(card.attributes["brand"] == "Acme" for card in here)
    assert not any(card.attributes["brand"] == "Acme" for card in there)


# A store of a newer version.


def newer_store(where: str) -> ProfileStore:
    """A store as a later version of the package makes it."""
    if where.startswith("postgres"):
        known = migrations("migrations/postgres")
        later = Migration(len(known) + 1, ("CREATE TABLE {schema}.profile_extra (x int)",))
        return PostgresProfileStore(where, schema=(*known, later))
    known = migrations()
    later = Migration(len(known) + 1, ("CREATE TABLE profile_extra (x)",))
    return SqliteProfileStore(Path(where), schema=(*known, later))


@pytest.mark.parametrize("arguments", [*READING, ("profile", "undo"), ("profile", "forget", "--yes")], ids=" ".join)
def test_no_command_touches_a_store_of_a_newer_version(shop: Path, where: str, arguments: tuple[str, ...]) -> None:
    store = newer_store(where)
    store.append(said(0, item="p3"))
    store.close()
    done = run(shop, *arguments, "--profiles", where)
    assert done.code == 2, done.err
    assert "upgrade llm4rec, or use the version that wrote it" in done.err
    assert "schema version" in done.err
    assert "Traceback" not in done.err
    assert not done.out
    again = newer_store(where)
    assert again.events("ana") == (said(0, item="p3"),)
    again.close()


def test_an_export_of_a_newer_version_is_refused_by_name(live: Recommender, tmp_path: Path) -> None:
    saved = tmp_path / "ana.json"
    document = json.loads(export_user(live.knowledge.store, "ana")) | {"schema": "llm4rec.profile/99"}
    saved.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(UserError, match=r"llm4rec\.profile/99.*upgrade"):
        live.import_profile("ana", saved)
    assert live.knowledge.store.events("ana") == ()
