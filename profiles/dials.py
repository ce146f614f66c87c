"""How lists are made for one person, steered by what that person took and turned down of what was shown.

There are four dials. A verdict on a shown item is one vote on each: taking an item that a higher dial would show more
of, or turning down one that it would show less of, is a vote for more; the other two are votes for less. Which side of
its list an item lay on is written into the event when the verdict is given (`Event.offered`), so that the dials are a
function of the events alone: undoing or forgetting an event takes its vote with it, and nothing is kept elsewhere.

An item is compared with the others of its own list, half of which lie on either side. What was shown, and how much of
it, therefore favours neither side (clicks as preferences within a list: Joachims 2002, "Optimizing search engines using
clickthrough data"). Exploring has no such halves: there, what was found by exploring stands against what was ranked by
what is known, so that exploring pays where what is thought best is turned down.

The share of votes for more has a Beta posterior (Gelman et al. 2013, "Bayesian data analysis", section 2.1). With *m*
votes for more, *l* for less, and a prior of `PRIOR` imagined votes either way, its mean, brought from [0, 1] to
[-1, 1], tilts the dial towards one of its bounds:

    tilt = (m - l) / (2 PRIOR + m + l)
    value = start + tilt (high - start)    where tilt > 0,    else    start + tilt (start - low)

which is the start exactly where nothing speaks for another value, moves with every vote, and never reaches a bound.

The rules:

1. Events count as they stand (`fold.standing`): undone ones do not.
2. Only what a person said or clicked of an item in a list that was shown; not what was imported, inferred, or said of
   items found elsewhere. ``seen``, and a rating in the middle of the scale, are no verdicts.
3. Of several verdicts on an item the last one holds, and a skip never replaces an opinion. What holds counts as given
   when the last one was.
4. The last `WINDOW` votes on each dial count, because tastes move; among them the order means nothing.
5. A reset lets all that was appended before it steer no more. It is an event, and can be undone.
6. What a request gives explicitly is used as given.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal, cast, get_args

from .events import Event
from .fold import DEFAULT_SCALE, rating_weight, standing

DialName = Literal["explore", "diversity", "debias", "recency"]
NAMES: Final[tuple[DialName, ...]] = get_args(DialName)

#: Imagined votes either way: one vote moves a dial a ninth of the way to its bound, eight alike half of it.
PRIOR: Final = 4
#: Latest votes that count on each dial: at most five sevenths of the way.
WINDOW: Final = 20


@dataclass(frozen=True, slots=True)
class Dials:
    """How lists are made; the defaults are where everybody starts.

    Attributes:
        explore: temperature of the draw from what is known of a taste, in [0, 1]; 0 ranks by its mean.
        diversity: how varied a list is, in [0, 1].
        debias: how much of what makes items likely for everybody is taken off their scores besides what the causal
            report derives, in [0, 1]; 0 leaves that as it is.
        recency: what the ages of past events are multiplied by: above 1 what was chosen lately counts for more than
            the ranker has it, below 1 for less.
    """

    explore: float = 0.0
    diversity: float = 0.4
    debias: float = 0.0
    recency: float = 1.0

    def given(self, **explicit: float | None) -> Dials:
        """These dials, with those that a request gives in their place; None is not given.

        Raises:
            TypeError: there is no dial of a name.
        """
        return replace(self, **{name: value for name, value in explicit.items() if value is not None})


START: Final = Dials()
#: Lowest and highest value that steering gives a dial. Beyond these, lists got measurably worse for somebody
#: (`ranking.diversity`, `ranking.debias`), or there is nothing to turn: correcting for popularity is never undone.
BOUNDS: Final[Mapping[DialName, tuple[float, float]]] = MappingProxyType(
    {"explore": (0.0, 0.5), "diversity": (0.1, 0.7), "debias": (0.0, 0.6), "recency": (0.5, 2.0)}
)


@dataclass(frozen=True, slots=True)
class Dial:
    """One dial as steered, and why.

    Attributes:
        value: in [low, high]. start: where it stands while nothing speaks for another value.
        taken_more, taken_less, refused_more, refused_less: verdicts that count: items taken, and turned down, that a
            higher dial (``more``) or a lower one (``less``) would show more of.
        reason: in words and counts, without the name and without a full stop.
    """

    name: DialName
    value: float
    start: float
    low: float
    high: float
    taken_more: int = 0
    taken_less: int = 0
    refused_more: int = 0
    refused_less: int = 0
    reason: str = ""

    @property
    def more(self) -> int:
        """Votes for more."""
        return self.taken_more + self.refused_less

    @property
    def less(self) -> int:
        """Votes for less."""
        return self.taken_less + self.refused_more

    def line(self) -> str:
        """As a person reads it: ``diversity 0.45, from 0.40: 3 of your last 4 verdicts ...``."""
        where = f", from {self.start:.2f}" if self.value != self.start else ""
        return f"{self.name} {self.value:.2f}{where}: {self.reason}."


@dataclass(frozen=True, slots=True)
class Steering:
    """The dials of one person, in the order of `NAMES`.

    Attributes:
        reset: Unix seconds of the last reset that stands; None where there is none.
    """

    dials: tuple[Dial, ...]
    reset: float | None = None

    def values(self) -> Dials:
        """The values alone."""
        return Dials(**{dial.name: dial.value for dial in self.dials})


@dataclass(frozen=True, slots=True)
class _Verdict:
    taken: bool
    sides: Mapping[DialName, int]


def dials_for(
    events: Iterable[Event],
    *,
    scale: tuple[float, float] | None = None,
    explore: float | None = None,
    diversity: float | None = None,
    debias: float | None = None,
    recency: float | None = None,
) -> Dials:
    """Where the dials stand for the person whose events these are.

    Args:
        events: of one person, in the order they were appended; none give `START`.
        scale: lowest and highest rating, 1 to 5 by default.
        explore, diversity, debias, recency: what a request gives explicitly, which is used as it is.

    Raises:
        EventConflict: two events share an id and say different things.
    """
    found = steer(events, scale=scale).values()
    return found.given(explore=explore, diversity=diversity, debias=debias, recency=recency)


def steer(events: Iterable[Event], *, scale: tuple[float, float] | None = None) -> Steering:
    """The dials with their reasons, by the rules at the top of this module. Arguments as for `dials_for`."""
    verdicts, reset = _verdicts(standing(events), scale or DEFAULT_SCALE)
    return Steering(tuple(_dial(name, verdicts) for name in NAMES), reset)


def offer_text(sides: Mapping[DialName, int]) -> str | None:
    """What `Event.offered` says of an item's place in its list: ``explore- diversity+``.

    Args:
        sides: by dial 1, where a higher dial would show more items like it, -1 where it would show fewer; 0, and dials
            left out, where neither can be told.

    Returns:
        None where nothing can be told.
    """
    told = [f"{name}{'+' if sides[name] > 0 else '-'}" for name in NAMES if sides.get(name)]
    return " ".join(told) or None


def sides_of(offered: str) -> dict[DialName, int]:
    """The sides that a text of `offer_text` names. Dials that this version does not know are left out."""
    found: dict[DialName, int] = {}
    for part in offered.split():
        if part[:-1] in NAMES:
            found[cast(DialName, part[:-1])] = 1 if part.endswith("+") else -1
    return found


def _verdicts(counted: Iterable[Event], scale: tuple[float, float]) -> tuple[list[_Verdict], float | None]:
    """The verdict that holds of each item offered, oldest first, and when the dials were last reset."""
    held: dict[str, _Verdict] = {}
    offers: dict[str, Mapping[DialName, int]] = {}
    opinions: set[str] = set()  # items of which more than a skip is known
    reset = None
    for event in counted:
        if event.kind == "reset_dials":
            held, offers, opinions, reset = {}, {}, set(), event.time
            continue
        if event.item is None or event.source not in ("said", "clicked") or event.kind in ("seen", "taste"):
            continue
        if event.kind == "skip" and event.item in opinions:
            continue
        if event.kind != "skip":
            opinions.add(event.item)
        if event.offered:
            offers[event.item] = sides_of(event.offered)
        held.pop(event.item, None)
        taken = _taken(event, scale)
        # Said again later, of an item that no list shows by then: it is still the verdict on what was shown.
        if taken is not None and event.item in offers:
            held[event.item] = _Verdict(taken, offers[event.item])
    return list(held.values()), reset


def _taken(event: Event, scale: tuple[float, float]) -> bool | None:
    """Whether an event takes an item or turns it down; None: neither."""
    match event.kind:
        case "like":
            return True
        case "dislike" | "skip":
            return False
        case "rating":
            weight = rating_weight(cast(float, event.value), scale)
            return None if weight == 0 else weight > 0
        case _:
            return None


def _dial(name: DialName, verdicts: Iterable[_Verdict]) -> Dial:
    latest = deque((one for one in verdicts if name in one.sides), maxlen=WINDOW)
    start = getattr(START, name)
    low, high = BOUNDS[name]

    def many(taken: bool, side: int) -> int:
        return sum(one.taken == taken and one.sides[name] == side for one in latest)

    bare = Dial(name, start, start, low, high, many(True, 1), many(True, -1), many(False, 1), many(False, -1))
    tilt = (bare.more - bare.less) / (2 * PRIOR + bare.more + bare.less)
    moved = start + tilt * (high - start if tilt > 0 else start - low)
    dial = replace(bare, value=min(max(moved, low), high) + 0.0)  # no -0
    return replace(dial, reason=_reason(dial))


#: What lies on the side of more, and of less, as "1 ..." and "2 ..." are completed.
_MORE: Final[Mapping[DialName, tuple[str, str]]] = MappingProxyType(
    {
        "explore": ("found by exploring", "found by exploring"),
        "diversity": ("unlike the rest of its list", "unlike the rest of their lists"),
        "debias": ("less popular than most of its list", "less popular than most of their lists"),
        "recency": ("closer to what you chose lately", "closer to what you chose lately"),
    }
)
_LESS: Final[Mapping[DialName, tuple[str, str]]] = MappingProxyType(
    {
        "explore": ("ranked by what is known of you", "ranked by what is known of you"),
        "diversity": ("like the rest of its list", "like the rest of their lists"),
        "debias": ("more popular than most of its list", "more popular than most of their lists"),
        "recency": ("closer to what you chose longer ago", "closer to what you chose longer ago"),
    }
)


def _reason(dial: Dial) -> str:
    number = dial.more + dial.less
    if number == 0:
        return "it stands where it starts, as nothing you took or turned down speaks for another value"
    all_of = (
        "your one verdict on a recommendation" if number == 1 else f"your last {number} verdicts on recommendations"
    )
    if dial.more == dial.less:
        both = f"{dial.more} {_speak(dial.more)} for more and {dial.less} for less"
        return f"of {all_of}, {both}, so that it stands where it starts"
    up = dial.more > dial.less
    votes, way = (dial.more, "more") if up else (dial.less, "less")
    taken, refused = (dial.taken_more, dial.refused_less) if up else (dial.taken_less, dial.refused_more)
    sides, others = (_MORE, _LESS) if up else (_LESS, _MORE)
    did = []
    if taken:
        did.append(f"took {taken} {sides[dial.name][taken > 1]}")
    if refused:
        did.append(f"turned down {refused} {others[dial.name][refused > 1]}")
    who = f"{votes} of {all_of} {_speak(votes)}" if number > 1 else f"{all_of} speaks"
    # Where a dial starts at its bound, votes for that side leave it there.
    stays = f"; it starts at its {'highest' if up else 'lowest'} and stays there" if dial.value == dial.start else ""
    return f"{who} for {way} (you {' and '.join(did)}){stays}"


def _speak(number: int) -> str:
    return "speaks" if number == 1 else "speak"
