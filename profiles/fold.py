"""From events to a profile: one pure function.

The rules:

1. The order given is the order that counts. Times never reorder events, so a clock set back changes nothing.
2. An undone event, and the undo itself, are dropped as if they had never been; an undo that is undone is dropped
   too, so what it had taken back counts again. An undo reaches earlier events only.
3. The same event twice is one event.
4. Of several opinions on an item (rating, like, dislike) the last one holds. ``seen`` and ``skip`` say less than an
   opinion and never replace one: passing over something disliked does not make it less disliked. Between the two of
   them the last one holds.
5. Whatever was rated, liked, disliked or seen is in ``seen``; what was only skipped is not.
6. A taste for tonight counts in the thread it was said in and for twelve hours, and does not exist elsewhere.
7. Of several tastes on the same attribute and term (case, accents and spacing aside) the last one that counts holds.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, cast

from .events import Event, EventConflict, ItemKind, Polarity, Scope, Source

#: How long a taste for tonight holds, in seconds.
TONIGHT: Final = 12 * 3600.0
#: Weight of what is no rating, in [-1, 1], at full confidence.
WEIGHTS: Final[Mapping[str, float]] = MappingProxyType({"like": 1.0, "dislike": -1.0, "seen": 0.3, "skip": -0.2})
#: Of ratings, where the catalogue's log has none.
DEFAULT_SCALE: Final = (1.0, 5.0)
_OPINIONS = frozenset({"rating", "like", "dislike"})


@dataclass(frozen=True, slots=True)
class ItemOpinion:
    """What one person holds of one item, and the event that says so.

    Attributes:
        kind: of the event that holds.
        value: the rating as given; None for the other kinds.
        weight: in [-1, 1], the rating on its scale or the weight of the kind, times the event's confidence.
        event_id, time, source, message: of the event.
    """

    kind: ItemKind
    value: float | None
    weight: float
    event_id: str
    time: float
    source: Source
    message: str | None = None


@dataclass(frozen=True, slots=True)
class Taste:
    """Something wanted (polarity 1) or unwanted (-1), and the event that says so."""

    attribute: str | None
    term: str
    polarity: Polarity
    scope: Scope
    event_id: str
    time: float
    source: Source
    message: str | None = None
    confidence: float = 1.0


@dataclass(frozen=True, slots=True)
class Profile:
    """What is known of one person, here and now.

    Attributes:
        user: whose it is.
        items: opinion by item id, oldest first.
        tastes: oldest first, at most one for each attribute and term.
        seen: ids of the items the person knows.
        events: how many events it rests on (undone ones and undos not counted).
    """

    user: str
    items: Mapping[str, ItemOpinion]
    tastes: tuple[Taste, ...]
    seen: frozenset[str]
    events: int


def standing(events: Iterable[Event]) -> tuple[Event, ...]:
    """The events that count, in order: undone ones, undos and repetitions are gone.

    Raises:
        EventConflict: two events share an id and say different things.
    """
    known: dict[str, Event] = {}
    for event in events:
        first = known.setdefault(event.id, event)
        if first is not event and not first.same_as(event):
            raise EventConflict(f"event {event.id!r} is there twice and says different things")
    undone: set[str] = set()
    kept: list[Event] = []
    # Backwards, so that whether an undo counts is settled before the event it takes back is met.
    for event in reversed(known.values()):
        if event.id in undone:
            continue
        if event.kind == "undo":
            undone.add(cast(str, event.target))
        else:
            kept.append(event)
    return tuple(reversed(kept))


def fold(
    events: Iterable[Event],
    *,
    thread: str | None = None,
    now: float | None = None,
    scale: tuple[float, float] | None = None,
    user: str = "",
) -> Profile:
    """The profile that a person's events amount to, by the rules at the top of this module.

    Args:
        events: of one person, in the order they were appended.
        thread: the conversation asked for; without one no taste for tonight counts.
        now: Unix seconds; without it a taste for tonight does not age. An event from the future is just said.
        scale: lowest and highest rating, 1 to 5 by default; these become the weights -1 and 1, and ratings outside
            count as these.
        user: name in the profile when there are no events.

    Raises:
        ValueError: events of several users, or a scale that is empty or not finite.
        EventConflict: two events share an id and say different things.
    """
    low, high = scale or DEFAULT_SCALE
    if not (math.isfinite(high - low) and low < high):
        raise ValueError(f"a rating scale goes from a lower to a higher number, not from {low} to {high}")
    items: dict[str, ItemOpinion] = {}
    tastes: dict[tuple[str, str], Taste] = {}
    seen: set[str] = set()
    given = tuple(events)
    owners = sorted({event.user for event in given})
    if len(owners) > 1:
        raise ValueError(f"a profile is folded from one user's events, not from those of {', '.join(owners[:5])}")
    counted = standing(given)
    for event in counted:
        if event.kind == "taste":
            if _counts(event, thread, now):
                taste = _taste(event)
                key = (taste.attribute or "").casefold(), comparable(taste.term)
                tastes.pop(key, None)
                tastes[key] = taste
            continue
        item = event.item
        if item is None:  # a reset of the dials says nothing of items or tastes
            continue
        if event.kind != "skip":
            seen.add(item)
        held = items.get(item)
        if held is None or event.kind in _OPINIONS or held.kind not in _OPINIONS:
            items.pop(item, None)
            items[item] = _opinion(event, low, high)
    return Profile(
        user=owners[0] if owners else user,
        items=MappingProxyType(items),
        tastes=tuple(tastes.values()),
        seen=frozenset(seen),
        events=len(counted),
    )


def rating_weight(value: float, scale: tuple[float, float]) -> float:
    """A rating as a weight: the lowest of the scale is -1, its middle 0, the highest 1; outside is clipped."""
    low, high = scale
    return (min(max(value, low), high) - low) / (high - low) * 2.0 - 1.0


def comparable(term: str) -> str:
    """A term without case, accents and odd spacing, for telling whether two are the same.

    Punctuation stays: "C++" is not "C#".
    """
    bare = "".join(c for c in unicodedata.normalize("NFKD", term.casefold()) if not unicodedata.combining(c))
    return " ".join(bare.split()) or term


def _counts(event: Event, thread: str | None, now: float | None) -> bool:
    if event.scope == "always":
        return True
    return thread is not None and event.thread == thread and (now is None or now - event.time <= TONIGHT)


def _opinion(event: Event, low: float, high: float) -> ItemOpinion:
    weight = WEIGHTS[event.kind] if event.value is None else rating_weight(event.value, (low, high))
    return ItemOpinion(
        kind=cast(ItemKind, event.kind),
        value=event.value,
        weight=weight * event.confidence,
        event_id=event.id,
        time=event.time,
        source=event.source,
        message=event.message,
    )


def _taste(event: Event) -> Taste:
    return Taste(
        attribute=event.attribute,
        term=cast(str, event.term),
        polarity=cast(Polarity, event.polarity),
        scope=cast(Scope, event.scope),
        event_id=event.id,
        time=event.time,
        source=event.source,
        message=event.message,
        confidence=event.confidence,
    )
