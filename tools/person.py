"""A person as known at a time: leanings with their reasons, tastes, opinions, dials, and the events behind them all.

Everything is a function of the build, the user's events, and the time: asked for an earlier time, it is what it would
have been then, and what came later does not exist. The catalogue, and what people choose, are those of the build as it
is now; rows of the log without a time are taken for older than anything.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Final, Literal

import numpy as np
from pydantic import Field

from ..catalog.text import fold as folded
from ..catalog.text import one_line
from ..errors import UserError
from ..profiles.describe import (
    NOTHING,
    borne_out,
    date_words,
    describe,
    dial_lines,
    leaning_line,
    leaning_reasons,
    mostly_line,
)
from ..profiles.dials import Dial, steer
from ..profiles.events import LATEST_TIME, Event, Polarity, Scope, Source, taste
from ..profiles.fold import Profile, Taste, fold
from ..profiles.leanings import FEWEST, How, Judged, Leaning, leanings_of
from ..ranking.history import rating_weights
from ..ranking.labels import labelling
from .base import Knowledge
from .borne_out import Backing, backing_of
from .results import Record, Versioned

#: From the beginning of a day to its last microsecond.
_DAY: Final = timedelta(days=1, microseconds=-1)
#: Labels told of, of what most of the items liked are.
_MOSTLY: Final = 3
#: Opinions that say whether an item was liked.
_HOWS: Final[dict[str, How]] = {"rating": "rating", "like": "like", "dislike": "dislike"}
_SETTLED: Final = (
    "What is inferred can be settled: say that you like it or do not, or confirm it with 'llm4rec profile confirm'."
)


class LeaningRecord(Record):
    """Something the person leans to or away from, with its reasons."""

    attribute: str
    term: str = Field(description="a label of the attribute; of a number, on which side of what it lies")
    polarity: Polarity = Field(description="1: to; -1: away from")
    count: int = Field(description="so many of the items liked have it; for -1: so many that have it were disliked")
    of: int = Field(description="of so many items liked; for -1: of so many judged items that have it")
    usual: float = Field(description="share to expect: of what people choose; for -1: of dislikes among the others")
    chance: float = Field(description="of as many or more, where there is no leaning")
    reasons: tuple[str, ...] = Field(description="in words")
    inferred: bool = Field(description="false where the person said so too")
    confirmable: bool = Field(description="whether `profile confirm` takes it")
    event: str | None = Field(default=None, description="id of the event that states it, where one does")
    text: str = Field(description="the whole as a sentence")


class TasteRecord(Record):
    """A taste that was stated, or inferred from what was said."""

    attribute: str | None = None
    term: str
    polarity: Polarity
    scope: Scope
    source: Source
    confidence: float
    time: float = Field(description="Unix seconds")
    event: str
    inferred: bool = Field(description="then `profile confirm` takes it")
    count: int | None = Field(default=None, description="so many of the items liked (disliked) are what it names")
    of: int | None = Field(default=None, description="of so many items liked (disliked)")


class DialRecord(Record):
    """One dial, steered by verdicts on recommendations."""

    name: str
    value: float
    start: float = Field(description="where it stands while nothing speaks for another value")
    low: float
    high: float
    more: int = Field(description="verdicts that speak for more, of those that count")
    less: int = Field(description="verdicts that speak for less")
    reason: str


class Person(Versioned):
    """What ``profile show --json`` prints."""

    schema_: Literal["llm4rec.person/1"] = Field(default="llm4rec.person/1", alias="schema")
    user: str
    at: float | None = Field(default=None, description="Unix seconds: as known then; left out: as known now")
    described: tuple[str, ...] = Field(description="in sentences, as `profile show` prints them")
    leanings: tuple[LeaningRecord, ...] = Field(description="at most six, the surest first")
    tastes: tuple[TasteRecord, ...] = Field(description="oldest first")
    dials: tuple[DialRecord, ...]
    dials_reset: float | None = Field(default=None, description="Unix seconds of the last reset that stands")
    logged: int = Field(description="items in the training log")
    undated: int = Field(default=0, description="of these, how many carry no time")
    events: tuple[Event, ...] = Field(description="as appended, those taken back and what took them back included")


def person_of(
    knowledge: Knowledge,
    user: str,
    *,
    at: float | None = None,
    thread: str | None = None,
    now: float | None = None,
    zone: tzinfo = UTC,
) -> Person:
    """What is known of a user, described.

    Args:
        at: Unix seconds: as known then; None: as known now.
        thread: a conversation, whose tastes for tonight count.
        now: Unix seconds; dates of the same year are told without the year, and tastes for tonight age.
        zone: of the dates.
    """
    events = tuple(e for e in knowledge.store.events(user) if at is None or e.time <= at)
    profile = fold(events, thread=thread, now=now if at is None else at, scale=knowledge.scale, user=user)
    log = _logged(knowledge, user, profile, LATEST_TIME if at is None else at)
    judged = [*log.judged, *_opinions(knowledge, profile)]
    leanings = leanings_of(knowledge.catalogue, judged, knowledge.counts, profile.tastes)
    people = bool(knowledge.counts.any())
    shown = tuple(_leaning_record(one, people, log.ungraded, now, zone) for one in leanings)

    told = {one.event for one in shown if one.event is not None}
    found = ((one, backing_of(knowledge.catalogue, one, judged)) for one in profile.tastes if one.event_id not in told)
    backed = {one.event_id: (one, backing) for one, backing in found if backing is not None}
    reasons = {event: _borne_out(one, backing, log.ungraded) for event, (one, backing) in backed.items()}
    sentences = describe(profile, knowledge.title, now=now, zone=zone, told=told, reasons=reasons)
    lines = [one.text for one in shown]
    lines += _mostly(knowledge, judged, leanings, log.ungraded)
    lines += [] if sentences == [NOTHING] and (lines or log.items) else sentences
    if any(one.confirmable for one in shown) or any(one.source == "inferred" for one in profile.tastes):
        lines.append(_SETTLED)
    if log.items:
        undated = f" {log.undated:,} of them without a time." if log.undated and at is not None else ""
        lines.append(f"{_many(log.items)} in your log (see 'llm4rec history').{undated}")
    steering = steer(events, scale=knowledge.scale)
    if events or log.items:
        lines += dial_lines(steering, now=now, zone=zone)
    return Person(
        user=user,
        at=at,
        described=tuple(lines),
        leanings=shown,
        tastes=tuple(_taste_record(one, backed.get(one.event_id, (one, None))[1]) for one in profile.tastes),
        dials=tuple(map(_dial_record, steering.dials)),
        dials_reset=steering.reset,
        logged=log.items,
        undated=log.undated,
        events=events,
    )


def moment_of(text: str, now: float) -> float:
    """A date or a time, as ISO 8601 writes it, in Unix seconds. A date means the end of that day; without a time zone
    it is UTC, as the dates shown are.

    Args:
        now: Unix seconds.

    Raises:
        UserError: it is none, lies ahead, or before 1970, where no event is.
    """
    given = text.strip()
    said = f"--at {one_line(given, 60)!r}"
    example = "give a date or a time, such as 2026-05-03 or 2026-05-03T18:30"
    try:
        found = datetime.fromisoformat(given)
        aware = found if found.tzinfo is not None else found.replace(tzinfo=UTC)
        start = aware.timestamp()
    except (ValueError, OverflowError):
        raise UserError(f"{said} is no date: {example}") from None
    if start > now:
        raise UserError(f"{said} lies ahead, and what will be known is not known yet: {example}")
    if start < 0:
        raise UserError(f"{said} lies before 1970, and nothing is dated so early: {example}")
    # No date of ISO 8601 is longer, and no time with its date is so short.
    return (aware + _DAY).timestamp() if len(given) <= len("2026-05-03") else start


def moment_words(moment: float) -> str:
    """A moment as a person reads it: ``3 May 2026, 18:30 UTC``."""
    return f"{date_words(moment)}, {datetime.fromtimestamp(moment, UTC):%H:%M} UTC"


def confirm(knowledge: Knowledge, user: str, term: str, *, attribute: str | None = None, now: float) -> Event:
    """Make what is inferred a stated taste that lasts: an event, kept when this returns.

    Args:
        term: of an inferred leaning or taste, without regard to case, accents and punctuation.
        attribute: its attribute, where several have the term.
        now: Unix seconds.

    Raises:
        UserError: nothing inferred is called so, or several things are.
    """
    person = person_of(knowledge, user, now=now)
    known: dict[tuple[str | None, str], Polarity] = {
        **{(one.attribute, one.term): one.polarity for one in person.tastes if one.inferred},
        **{(one.attribute, one.term): one.polarity for one in person.leanings if one.confirmable},
    }
    fitting = [
        (where, name)
        for where, name in known
        if folded(name) == folded(term) and (attribute is None or folded(where or "") == folded(attribute))
    ]
    said = repr(one_line(term, 60))
    if not fitting:
        there = ", ".join(one_line(name, 60) for _, name in known) or "nothing"
        raise UserError(f"nothing inferred is called {said}: inferred is {there}")
    if len(fitting) > 1:
        names = " or ".join(f"--attribute {one_line(where or '', 40)!r}" for where, _ in fitting)
        raise UserError(f"{said} is inferred of several attributes: say {names}")
    where, name = fitting[0]
    event = taste(
        id=f"confirm:{uuid.uuid4().hex}",
        user=user,
        time=now,
        term=name,
        attribute=where,
        polarity=known[where, name],
        source="clicked",
    )
    knowledge.store.append(event)
    return event


@dataclass(frozen=True, slots=True)
class _Logged:
    """What the log tells of a user: how many items, how many of them without a time, which were liked or not, and
    whether some of what counts as liked was chosen and not graded."""

    items: int
    undated: int
    judged: tuple[Judged, ...]
    ungraded: bool


def _logged(knowledge: Knowledge, user: str, profile: Profile, until: float) -> _Logged:
    logged, scale = knowledge.interactions.of_user(user), knowledge.interactions.scale
    there = logged.times <= until  # -1 where it is not known
    rows, values = logged.items[there], logged.values[there]
    weights = rating_weights(values, scale)
    ids = knowledge.catalogue.ids
    # What was said here takes the place of what the log says.
    open_to = np.array([ids[row] not in profile.items for row in rows], dtype=np.bool_)
    counted = np.flatnonzero(open_to & (weights != 0))
    no_scale = scale is None or scale[1] <= scale[0]
    return _Logged(
        items=len(rows),
        undated=int((logged.times[there] < 0).sum()),
        judged=tuple(Judged(int(rows[at]), bool(weights[at] > 0), "log") for at in counted),
        ungraded=bool(len(counted)) and (no_scale or bool(np.isnan(values[counted]).any())),
    )


def _opinions(knowledge: Knowledge, profile: Profile) -> Iterator[Judged]:
    row_of = knowledge.catalogue.row_of
    for item, opinion in profile.items.items():
        if item in row_of and opinion.kind in _HOWS and opinion.weight != 0:
            yield Judged(row_of[item], opinion.weight > 0, _HOWS[opinion.kind])


def _leaning_record(one: Leaning, people: bool, chosen: bool, now: float | None, zone: tzinfo) -> LeaningRecord:
    return LeaningRecord(
        attribute=one.attribute,
        term=one.term,
        polarity=one.polarity,
        count=one.count,
        of=one.of,
        usual=round(one.usual, 6),
        chance=one.chance,
        reasons=tuple(leaning_reasons(one, people=people, chosen=chosen, now=now, zone=zone)),
        inferred=one.inferred,
        confirmable=one.inferred and one.label,
        event=None if one.stated is None else one.stated.event_id,
        text=leaning_line(one, people=people, chosen=chosen, now=now, zone=zone),
    )


def _borne_out(one: Taste, backing: Backing, chosen: bool) -> str:
    told = (backing.count, backing.of, backing.labels, backing.hows)
    return borne_out(*told, polarity=one.polarity, chosen=chosen)


def _mostly(knowledge: Knowledge, judged: Sequence[Judged], leanings: Sequence[Leaning], chosen: bool) -> list[str]:
    """What most of the items liked are, for whom no leaning to a label of that attribute is told."""
    name = labelling(knowledge.catalogue.attributes)
    liked = [one.row for one in judged if one.liked]
    if name is None or any(one.attribute == name and one.polarity == 1 for one in leanings):
        return []
    filled = [labels for labels in knowledge.catalogue.frame[name].gather(liked).to_list() if labels]
    many = Counter(label for labels in filled for label in ({labels} if isinstance(labels, str) else set(labels)))
    most = sorted(many.items(), key=lambda pair: (-pair[1], pair[0]))[:_MOSTLY]
    shares = [(label, number) for label, number in most if number >= FEWEST]
    return [mostly_line(name, shares, len(filled), chosen=chosen)] if shares else []


def _taste_record(one: Taste, backing: Backing | None) -> TasteRecord:
    return TasteRecord(
        attribute=one.attribute,
        term=one.term,
        polarity=one.polarity,
        scope=one.scope,
        source=one.source,
        confidence=one.confidence,
        time=one.time,
        event=one.event_id,
        inferred=one.source == "inferred",
        count=None if backing is None else backing.count,
        of=None if backing is None else backing.of,
    )


def _dial_record(one: Dial) -> DialRecord:
    return DialRecord(
        name=one.name,
        value=one.value,
        start=one.start,
        low=one.low,
        high=one.high,
        more=one.more,
        less=one.less,
        reason=one.reason,
    )


def _many(items: int) -> str:
    return "1 item is" if items == 1 else f"{items:,} items are"
