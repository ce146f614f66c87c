"""``profile show``: a person described with reasons, now and at an earlier time; in chat, and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from llm4rec.agent.recommender import Recommender
from llm4rec.errors import UserError
from llm4rec.profiles.dials import START
from llm4rec.profiles.events import Event
from llm4rec.tools.person import Person, confirm, moment_of, moment_words, person_of
from profile_cases import said, undo_of
from terminal import command

MAY = datetime(2024, 5, 3, 18, 30, tzinfo=UTC).timestamp()
JUNE = datetime(2024, 6, 9, tzinfo=UTC).timestamp()
LATER = datetime(2025, 1, 1, tzinfo=UTC).timestamp()
#: Products of the brand Acme, and twelve of them.
ACME = (*range(8), *range(32, 40))


def kims() -> list[Event]:
    """Kim likes what is of Acme, said so of pens, is no friend of chairs any more, and took one like back."""
    events = [said(n, user="kim", item=f"p{number}", time=MAY + n) for n, number in enumerate(ACME[:12])]
    events.append(said(20, user="kim", kind="taste", term="smooth pens", time=MAY + 20))
    events.append(said(21, user="kim", kind="dislike", item="p12", time=JUNE))
    events.append(said(22, user="kim", item="p13", time=JUNE))
    return [*events, undo_of(events[-1], time=JUNE + 60)]


@pytest.fixture
def known(recommender: Recommender) -> Recommender:
    recommender.knowledge.store.append_many(kims())
    return recommender


@pytest.fixture
def workspace(shop: Path) -> Path:
    with Recommender.open(shop, llm="rules") as recommender:
        recommender.knowledge.store.append_many(kims())
    return shop


def test_a_person_described(known: Recommender) -> None:
    person = person_of(known.knowledge, "kim", now=LATER)
    acme = next(one for one in person.leanings if one.term == "Acme")
    assert (acme.attribute, acme.polarity, acme.count, acme.of) == ("brand", 1, 12, 12)
    assert acme.inferred
    assert acme.confirmable
    assert acme.reasons == (f"12 of the 12 you liked (12 likes), against {acme.usual:.0%} of what people choose here",)
    lines = list(person.described)
    assert lines[0] == f"You seem to lean to Acme (brand; inferred): {acme.reasons[0]}."
    assert "You like smooth pens (said on 3 May 2024)." in lines
    assert "You did not like Borealis chair 1 (said on 9 June 2024)." in lines
    assert not any("Borealis printer ink" in line for line in lines), "taken back"
    assert any(line.startswith("What is inferred can be settled") for line in lines)
    assert lines[-1] == "Explore 0.00, diversity 0.40, debias 0.00 and recency 1.00 stand where they start."
    assert len(person.events) == len(kims()), "what was taken back, and the undo, are kept"
    assert all(line.isprintable() for line in lines)


def test_what_is_confirmed_is_inferred_no_more_until_it_is_taken_back(known: Recommender) -> None:
    before = person_of(known.knowledge, "kim", now=LATER)
    event = confirm(known.knowledge, "kim", "ACME", now=LATER)
    assert (event.kind, event.term, event.attribute, event.polarity) == ("taste", "Acme", "brand", 1)
    assert event.scope == "always"
    after = person_of(known.knowledge, "kim", now=LATER)
    acme = next(one for one in after.leanings if one.term == "Acme")
    assert not acme.inferred
    assert acme.event == event.id
    assert acme.text == f"You lean to Acme (brand): {acme.reasons[0]}; you confirmed it on 1 January."
    assert sum("Acme" in line and "lean" in line for line in after.described) == 1
    assert "You like Acme" not in "".join(after.described), "it is told once"
    with pytest.raises(UserError, match="nothing inferred is called 'Acme'"):
        confirm(known.knowledge, "kim", "Acme", now=LATER)
    known.undo("kim", event.id)
    assert person_of(known.knowledge, "kim", now=LATER).described == before.described


def test_a_stated_taste_is_told_with_what_bears_it_out(recommender: Recommender) -> None:
    store, catalogue = recommender.knowledge.store, recommender.knowledge.catalogue
    acme = [item.id for item in catalogue.items(range(len(catalogue))) if item.attributes.get("brand") == "Acme"][:2]
    other = next(item.id for item in catalogue if item.attributes.get("brand") != "Acme")
    store.append_many(said(n, user="lee", item=item, time=MAY + n) for n, item in enumerate([*acme, other]))
    store.append(said(5, user="lee", kind="taste", term="cheap Acme things", time=MAY + 5))
    store.append(said(6, user="lee", kind="taste", term="gloomy", polarity=-1, time=MAY + 6))
    person = person_of(recommender.knowledge, "lee", now=LATER)
    reason = "2 of the 3 you liked are labelled Acme (2 likes)"
    assert f"You like cheap Acme things (said on 3 May 2024; {reason})." in person.described
    assert "You do not like gloomy (said on 3 May 2024)." in person.described
    assert [(one.count, one.of) for one in person.tastes] == [(2, 3), (None, None)]


def test_whose_likes_are_as_everybodys_is_told_of_them_without_a_leaning(recommender: Recommender) -> None:
    catalogue = recommender.knowledge.catalogue
    rows = range(0, len(catalogue), max(1, len(catalogue) // 9))
    likes = [said(n, user="lee", item=catalogue.ids[row], time=MAY + n) for n, row in enumerate(rows)]
    recommender.knowledge.store.append_many(likes)
    person = person_of(recommender.knowledge, "lee", now=LATER)
    assert not any(one.attribute == "categories" for one in person.leanings)
    of = len(likes)
    # Everything in the shop is of this category.
    line = next(line for line in person.described if line.startswith(f"Of the {of} you liked, {of} are Office"))
    assert line.endswith("(categories; not sure enough to call it a leaning).")


def test_an_inferred_taste_is_marked_and_can_be_confirmed(recommender: Recommender) -> None:
    how = {"source": "inferred", "confidence": 0.6, "message": "so cosy"}
    guess = said(0, user="lee", kind="taste", term="warm light", time=MAY, **how)
    recommender.knowledge.store.append(guess)
    person = person_of(recommender.knowledge, "lee", now=LATER)
    assert person.described[0] == 'You seem to like warm light (inferred on 3 May 2024 from "so cosy").'
    assert person.tastes[0].inferred
    confirm(recommender.knowledge, "lee", "Warm Light", now=LATER)
    settled = person_of(recommender.knowledge, "lee", now=LATER)
    assert settled.described[0] == "You like warm light (clicked on 1 January)."
    assert not any(one.inferred for one in settled.tastes)


def test_one_term_of_two_attributes_is_asked_for(recommender: Recommender) -> None:
    for n, attribute in enumerate(("brand", "categories")):
        fields = {"attribute": attribute, "term": "Light", "source": "inferred", "confidence": 0.5}
        recommender.knowledge.store.append(said(n, user="lee", kind="taste", **fields))
    with pytest.raises(UserError, match="--attribute 'brand' or --attribute 'categories'"):
        confirm(recommender.knowledge, "lee", "light", now=LATER)
    assert confirm(recommender.knowledge, "lee", "light", attribute="Categories", now=LATER).attribute == "categories"


def test_who_has_a_log_alone_is_described_by_it(recommender: Recommender) -> None:
    person = person_of(recommender.knowledge, "u1", now=LATER)
    assert person.logged == 12
    assert "12 items are in your log (see 'llm4rec history')." in person.described
    assert not any("Nothing is known" in line for line in person.described)
    hows = [one.reasons[0] for one in person.leanings if one.polarity == 1]
    assert all("in your log" in reason for reason in hows)


def test_what_is_said_here_takes_the_place_of_the_log(recommender: Recommender) -> None:
    knowledge = recommender.knowledge
    rows = knowledge.interactions.of_user("u1").items
    before = person_of(knowledge, "u1", now=LATER)
    knowledge.store.append_many(
        said(n, user="u1", kind="dislike", item=knowledge.catalogue.ids[row]) for n, row in enumerate(rows)
    )
    after = person_of(knowledge, "u1", now=LATER)
    assert before.logged == after.logged
    assert after.leanings == (), "everything is disliked now, and nothing more than all else"


# At a time.


def test_later_events_do_not_exist(known: Recommender) -> None:
    then = person_of(known.knowledge, "kim", at=MAY + 5, now=LATER)
    assert [event.item for event in then.events] == [f"p{number}" for number in ACME[:6]]
    assert then.at == MAY + 5
    in_june = person_of(known.knowledge, "kim", at=JUNE + 30, now=LATER)
    assert any("Borealis printer ink" in line for line in in_june.described), "not taken back yet"
    whole = person_of(known.knowledge, "kim", now=LATER)
    assert person_of(known.knowledge, "kim", at=LATER, now=LATER) == whole.model_copy(update={"at": LATER})
    nothing = person_of(known.knowledge, "kim", at=MAY - 1, now=LATER)
    assert nothing.described == ("Nothing is known of you yet.",)
    assert nothing.events == ()
    assert {one.name: one.value for one in nothing.dials}["diversity"] == START.diversity


def test_the_log_has_its_times_too(recommender: Recommender) -> None:
    times = recommender.knowledge.interactions.of_user("u1").times
    assert person_of(recommender.knowledge, "u1", at=float(times[0]), now=LATER).logged == 1
    assert "1 item is in your log (see 'llm4rec history')." in (
        person_of(recommender.knowledge, "u1", at=float(times[0]), now=LATER).described
    )
    assert person_of(recommender.knowledge, "u1", at=float(times[0]) - 1, now=LATER).described == (
        "Nothing is known of you yet.",
    )


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2024-05-03", datetime(2024, 5, 3, 23, 59, 59, 999999, tzinfo=UTC)),
        ("20240503", datetime(2024, 5, 3, 23, 59, 59, 999999, tzinfo=UTC)),
        (" 2024-05-03T18:30 ", datetime(2024, 5, 3, 18, 30, tzinfo=UTC)),
        ("2024-05-03 18:30:15", datetime(2024, 5, 3, 18, 30, 15, tzinfo=UTC)),
        ("2024-05-03T18:30Z", datetime(2024, 5, 3, 18, 30, tzinfo=UTC)),
        ("2024-05-03T18:30+02:00", datetime(2024, 5, 3, 16, 30, tzinfo=UTC)),
        ("2025-01-01", datetime(2025, 1, 1, 23, 59, 59, 999999, tzinfo=UTC)),
    ],
)
def test_a_date_is_its_whole_day_and_a_time_is_a_moment(text: str, moment: datetime) -> None:
    assert moment_of(text, LATER + 1) == moment.timestamp()
    assert moment_words(moment_of("2024-05-03T18:30", LATER)) == "3 May 2024, 18:30 UTC"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no date"),
        ("yesterday", "is no date"),
        ("2024-13-01", "is no date"),
        ("2023-02-29", "is no date"),
        ("1714761000", "is no date"),
        ("2024-05-03T18:30\x1b[2J", "is no date"),
        ("0001-01-01T00:00+23:59", "before 1970"),
        ("1969-12-31", "before 1970"),
        ("2025-01-02", "lies ahead"),
        ("9999-12-31", "lies ahead"),
    ],
)
def test_what_is_no_time_is_refused(text: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        moment_of(text, LATER)
    assert str(caught.value).isprintable()


# On the command line, and in chat.


def test_show(workspace: Path) -> None:
    mine = ("profile", "show", "--user", "kim", "-w", workspace)
    told = command(*mine)
    assert told.code == 0
    lines = told.out.splitlines()
    assert lines[0].startswith("You seem to lean to Acme (brand; inferred): 12 of the 12 you liked (12 likes)")
    document = command(*mine, "--json").document
    assert next(iter(document)) == "schema"
    assert document["schema"] == "llm4rec.person/1"
    assert document["described"] == lines
    assert "at" not in document
    person = Person.model_validate_json(json.dumps(document))
    assert person.events == tuple(kims()[:-1]) + person.events[-1:]
    assert {one.name for one in person.dials} == {"explore", "diversity", "debias", "recency"}
    assert all(one.low <= one.value <= one.high and one.reason for one in person.dials)


def test_show_at_a_time(workspace: Path) -> None:
    mine = ("profile", "show", "--user", "kim", "-w", workspace)
    told = command(*mine, "--at", "2024-05-03")
    assert told.out.startswith("As known on 3 May 2024, 23:59 UTC:\nYou seem to lean to Acme")
    assert "Borealis chair 1" not in told.out
    assert "Borealis chair 1" in command(*mine, "--at", "2024-06-10").out
    document = command(*mine, "--at", "2024-05-03T18:30:02", "--json").document
    assert document["at"] == MAY + 2
    assert len(document["events"]) == 3
    assert "is no date" in command(*mine, "--at", "soon").complaint
    before = command(*mine, "--at", "2020-01-01")
    assert before.out == "As known on 1 January 2020, 23:59 UTC:\nNothing is known of you yet.\n"


def test_confirm(workspace: Path) -> None:
    mine = ("--user", "kim", "-w", workspace)
    assert "'Zeppelin'" in command("profile", "confirm", "Zeppelin", *mine).complaint
    assert command("profile", "confirm", "acme", *mine).out == "Noted: you like Acme.\n"
    assert "You lean to Acme (brand): " in command("profile", "show", *mine).out
    assert command("profile", "undo", *mine).out == "Taken back: taste Acme.\n"


def test_in_chat_it_is_the_same(workspace: Path) -> None:
    shown = command("profile", "show", "--user", "kim", "-w", workspace).out
    chat = ("chat", "--json", "--llm", "rules", "--user", "kim", "-w", workspace)
    assert json.loads(command(*chat, stdin="/profile\n").out)["reply"] == shown.rstrip("\n")


def test_what_holds_tonight_is_told_in_its_own_conversation(recommender: Recommender) -> None:
    recommender.knowledge.store.append(said(0, user="kim", kind="taste", term="cheap", scope="tonight", time=MAY))
    here = person_of(recommender.knowledge, "kim", thread="t1", now=MAY + 60)
    assert here.described[0] == "Tonight you want cheap (said on 3 May)."
    assert not any("cheap" in line for line in person_of(recommender.knowledge, "kim", now=MAY + 60).described)
    next_day = person_of(recommender.knowledge, "kim", thread="t1", now=MAY + 86_400)
    assert not any("cheap" in line for line in next_day.described)
