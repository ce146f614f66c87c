"""A profile in plain sentences, each with when and how it is known."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime, tzinfo
from typing import Final

from ..catalog.text import one_line
from .events import ItemKind, Source
from .fold import ItemOpinion, Profile, Taste

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


def describe(
    profile: Profile,
    title_of: Callable[[str], str],
    *,
    now: float | None = None,
    zone: tzinfo = UTC,
    limit: int = 10,
) -> list[str]:
    """What is known of a person, said to that person: tastes for tonight, lasting tastes, then items by kind.

    Args:
        profile: as folded.
        title_of: title of an item id; called only for items that are named.
        now: Unix seconds; dates of the same year are then given without the year.
        zone: time zone of the dates.
        limit: items named of each kind, newest first; the others are counted.

    Returns:
        One sentence each, printable and on one line whatever the titles hold; one sentence for an empty profile.
    """
    this_year = None if now is None else datetime.fromtimestamp(now, zone).year

    def known(record: Taste | ItemOpinion) -> str:
        date = datetime.fromtimestamp(record.time, zone)
        year = "" if date.year == this_year else f" {date.year}"
        how = f"{_HOW[record.source]} {date.day} {_MONTHS[date.month - 1]}{year}"
        # What was inferred is shown with the words it was inferred from, so that it can be contested.
        quoted = record.source == "inferred" and record.message
        return f'{how} from "{one_line(quoted, _QUOTE_LENGTH)}"' if quoted else how

    tonight = [t for t in profile.tastes if t.scope == "tonight"]
    lasting = [t for t in profile.tastes if t.scope == "always"]
    lines = [_taste_line(t, known(t)) for t in (*reversed(tonight), *reversed(lasting))]
    for kind in _KINDS:
        lines.extend(_item_lines(kind, _newest_first(profile, kind), title_of, known, limit))
    return lines or ["Nothing is known of you yet."]


def _newest_first(profile: Profile, kind: ItemKind) -> list[tuple[str, ItemOpinion]]:
    return [(item, opinion) for item, opinion in reversed(tuple(profile.items.items())) if opinion.kind == kind]


def _taste_line(taste: Taste, known: str) -> str:
    if taste.scope == "tonight":
        verb = "Tonight you want" if taste.polarity == 1 else "Tonight you do not want"
    elif taste.source == "inferred":
        verb = "You seem to like" if taste.polarity == 1 else "You seem not to like"
    else:
        verb = "You like" if taste.polarity == 1 else "You do not like"
    about = f"{taste.attribute}; " if taste.attribute else ""
    return f"{verb} {taste.term} ({about}{known})."


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
