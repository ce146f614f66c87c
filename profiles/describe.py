"""A profile in plain sentences, each with when and how it is known."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from datetime import UTC, datetime, tzinfo
from types import MappingProxyType
from typing import Final

from ..catalog.text import one_line
from .dials import Steering
from .events import ItemKind, Source
from .fold import ItemOpinion, Profile, Taste
from .leanings import How, Leaning

#: Not strftime's, which speak the language of the machine.
_MONTHS: Final = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_HOW: Final[dict[Source, str]] = {
    "said": "said on",
    "clicked": "clicked on",
    "imported": "imported, dated",
    "inferred": "inferred on",
}
_STATED: Final[dict[Source, str]] = {
    "said": "you said so on",
    "clicked": "you confirmed it on",
    "imported": "so said what was imported, dated",
    "inferred": "inferred on",
}
_KINDS: Final[tuple[ItemKind, ...]] = ("rating", "like", "dislike", "seen", "skip")
_MORE: Final[dict[ItemKind, tuple[str, str]]] = {
    "rating": ("You rated {} more item.", "You rated {} more items."),
    "like": ("You liked {} more item.", "You liked {} more items."),
    "dislike": ("You did not like {} more item.", "You did not like {} more items."),
    "seen": ("You know {} more item.", "You know {} more items."),
    "skip": ("You passed over {} more item.", "You passed over {} more items."),
}
_TITLE_LENGTH: Final = 120
_QUOTE_LENGTH: Final = 80
_TERM_LENGTH: Final = 60
NOTHING: Final = "Nothing is known of you yet."
_COUNTED: Final[dict[How, tuple[str, str]]] = {
    "rating": ("{} rating", "{} ratings"),
    "like": ("{} like", "{} likes"),
    "dislike": ("{} dislike", "{} dislikes"),
    "log": ("{} rating in your log", "{} ratings in your log"),
}
_CHOSEN: Final = "{} in your log"


def describe(
    profile: Profile,
    title_of: Callable[[str], str],
    *,
    now: float | None = None,
    zone: tzinfo = UTC,
    limit: int = 10,
    told: Container[str] = (),
    reasons: Mapping[str, str] = MappingProxyType({}),
) -> list[str]:
    """What is known of a person, said to that person: tastes for tonight, lasting tastes, then items by kind.

    Args:
        profile: as folded.
        title_of: title of an item id; called only for items that are named.
        now: Unix seconds; dates of the same year are then given without the year.
        zone: time zone of the dates.
        limit: items named of each kind, newest first; the others are counted.
        told: ids of the events of tastes that are told elsewhere, and left out here.
        reasons: by the event's id, what else there is to say of a taste.

    Returns:
        One sentence each, printable and on one line whatever the titles hold; `NOTHING` where there is nothing to say.
    """

    def known(record: Taste | ItemOpinion) -> str:
        how = f"{_HOW[record.source]} {date_words(record.time, now=now, zone=zone)}"
        # What was inferred is shown with the words it was inferred from, so that it can be contested.
        quoted = record.source == "inferred" and record.message
        return f'{how} from "{one_line(quoted, _QUOTE_LENGTH)}"' if quoted else how

    tastes = [t for t in profile.tastes if t.event_id not in told]
    tonight = [t for t in tastes if t.scope == "tonight"]
    lasting = [t for t in tastes if t.scope == "always"]
    lines = [_taste_line(t, known(t), reasons.get(t.event_id)) for t in (*reversed(tonight), *reversed(lasting))]
    for kind in _KINDS:
        lines.extend(_item_lines(kind, _newest_first(profile, kind), title_of, known, limit))
    return lines or [NOTHING]


def date_words(time: float, *, now: float | None = None, zone: tzinfo = UTC) -> str:
    """A time as a date, ``3 May 2026``; without the year where that is the year of ``now``. Both are Unix seconds."""
    date = datetime.fromtimestamp(time, zone)
    same = now is not None and datetime.fromtimestamp(now, zone).year == date.year
    return f"{date.day} {_MONTHS[date.month - 1]}{'' if same else f' {date.year}'}"


def leaning_line(leaning: Leaning, *, people: bool, chosen: bool, now: float | None = None, zone: tzinfo = UTC) -> str:
    """A leaning as a sentence with its counts, said to the person.

    Args:
        people: whether a log says what people choose; else the catalogue stands for it.
        chosen: whether some of what counts as liked was chosen and not graded.
        now, zone: as for `describe`.
    """
    seem = "You seem to lean" if leaning.inferred else "You lean"
    about = [one_line(leaning.attribute, _TERM_LENGTH)] if leaning.label else []
    about += ["inferred"] if leaning.inferred else []
    marks = f" ({'; '.join(about)})" if about else ""
    way = "to" if leaning.polarity == 1 else "away from"
    reasons = "; ".join(leaning_reasons(leaning, people=people, chosen=chosen, now=now, zone=zone))
    return f"{seem} {way} {one_line(leaning.term, _TERM_LENGTH)}{marks}: {reasons}."


def leaning_reasons(
    leaning: Leaning, *, people: bool, chosen: bool, now: float | None = None, zone: tzinfo = UTC
) -> list[str]:
    """What a leaning rests on, each in words; arguments as for `leaning_line`."""
    hows = hows_words(leaning.hows, chosen=chosen)
    if leaning.polarity == 1:
        verb = "chose" if chosen else "liked"
        whose = "of what people choose here" if people else "of the catalogue"
        counts = f"{leaning.count} of the {leaning.of} you {verb} ({hows}), against {_percent(leaning.usual)} {whose}"
    else:
        rest = round(leaning.usual * leaning.others)
        others = "one other" if leaning.others == 1 else f"{leaning.others} others"
        counts = f"you did not like {leaning.count} of the {leaning.of} you judged ({hows})"
        counts += f", and {rest or 'none'} of the {others}" if leaning.others else ""
    reasons = [counts]
    if leaning.stated is not None:
        how = _STATED[leaning.stated.source]
        reasons.append(f"{how} {date_words(leaning.stated.time, now=now, zone=zone)}")
    return reasons


def hows_words(hows: Iterable[tuple[How, int]], *, chosen: bool) -> str:
    """How it is known of items: ``3 ratings, 2 likes``. ``chosen``: what the log has was chosen and not graded."""
    return ", ".join(
        (_CHOSEN if how == "log" and chosen else _COUNTED[how][number != 1]).format(number) for how, number in hows
    )


def borne_out(
    count: int, of: int, labels: Sequence[str], hows: Iterable[tuple[How, int]], *, polarity: int, chosen: bool
) -> str:
    """What bears a stated taste out: ``7 of the 12 you liked are labelled Crime and Drama (7 ratings)``.

    Args:
        count, of: so many of the items liked (of a dislike, with ``polarity`` -1: not liked) are what was named.
        labels: that they carry; empty where the term itself is one.
        hows, chosen: as for `hows_words`.
    """
    verb = ("chose" if chosen else "liked") if polarity == 1 else "did not like"
    names = joined([one_line(label, _TERM_LENGTH) for label in labels])
    one = count == 1
    carry = f"{'is' if one else 'are'} labelled {names}" if labels else "has it" if one else "have it"
    return f"{count} of the {of} you {verb} {carry} ({hows_words(hows, chosen=chosen)})"


def joined(names: Sequence[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def mostly_line(attribute: str, shares: Sequence[tuple[str, int]], of: int, *, chosen: bool) -> str:
    """What most of the items liked are, where that is not sure enough to be told as a leaning.

    Args:
        shares: labels of the attribute with how many of the items liked have them, most first; at least one.
        of: items liked of which the attribute is known. chosen: as for `leaning_line`.
    """
    (first, most), *rest = [(one_line(label, _TERM_LENGTH), many) for label, many in shares]
    named = joined([f"{most} {'is' if most == 1 else 'are'} {first}", *(f"{many} {label}" for label, many in rest)])
    about = one_line(attribute, _TERM_LENGTH)
    verb = "chose" if chosen else "liked"
    return f"Of the {of} you {verb}, {named} ({about}; not sure enough to call it a leaning)."


def dial_lines(steering: Steering, *, now: float | None = None, zone: tzinfo = UTC) -> list[str]:
    """How lists are made for the person: a sentence for each dial that moved, and one for those that did not."""
    moved = [dial for dial in steering.dials if dial.value != dial.start]
    still = [dial for dial in steering.dials if dial.value == dial.start]
    lines = [dial.line() for dial in moved]
    if still:
        names = [f"{dial.name} {dial.value:.2f}" for dial in still]
        lines.append(f"{joined(names)} {'stands where it starts' if len(still) == 1 else 'stand where they start'}.")
    if steering.reset is not None:
        lines.append(f"The dials were reset on {date_words(steering.reset, now=now, zone=zone)}.")
    return [f"{line[0].upper()}{line[1:]}" for line in lines]


def _percent(share: float) -> str:
    return "under 1%" if share < 0.01 else f"{100 * share:.0f}%"


def _newest_first(profile: Profile, kind: ItemKind) -> list[tuple[str, ItemOpinion]]:
    return [(item, opinion) for item, opinion in reversed(tuple(profile.items.items())) if opinion.kind == kind]


def _taste_line(taste: Taste, known: str, reason: str | None) -> str:
    if taste.scope == "tonight":
        verb = "Tonight you want" if taste.polarity == 1 else "Tonight you do not want"
    elif taste.source == "inferred":
        verb = "You seem to like" if taste.polarity == 1 else "You seem not to like"
    else:
        verb = "You like" if taste.polarity == 1 else "You do not like"
    about = f"{taste.attribute}; " if taste.attribute else ""
    also = f"; {reason}" if reason else ""
    return f"{verb} {taste.term} ({about}{known}{also})."


def _item_lines(
    kind: ItemKind,
    found: list[tuple[str, ItemOpinion]],
    title_of: Callable[[str], str],
    known: Callable[[ItemOpinion], str],
    limit: int,
) -> Iterable[str]:
    for item, opinion in found[:limit]:
        title = one_line(title_of(item), _TITLE_LENGTH)
        yield f"{_item_clause(opinion, title)} ({known(opinion)})."
    more = len(found) - limit
    if more > 0:
        yield _MORE[kind][more > 1].format(f"{more:,}")


def _item_clause(opinion: ItemOpinion, title: str) -> str:
    match opinion.kind:
        case "rating":
            return f"You rated {title} {opinion.value:g}"
        case "like":
            return f"You liked {title}"
        case "dislike":
            return f"You did not like {title}"
        case "seen":
            return f"You know {title}"
        case "skip":
            return f"You passed over {title}"
