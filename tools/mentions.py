"""What a message names of the catalogue: titles, names, labels, numbers; and whether it negates or points."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ..catalog.items import Catalogue
from ..catalog.text import fold
from .facets import Facets

#: Longest title looked for, in words.
LONGEST = 10
_POINTING = re.compile(
    r"\b(it|its|this|that|these|those|them|one|ones|first|second|third|fourth|fifth|last|number|top)\b|\b\d(?:st|nd|rd|th)?\b"
)
_NEGATION = re.compile(
    r"\b(no|not|without|except|never|nothing|hate[ds]?|dislike[ds]?|avoid|skip|off|stand"
    r"|don t|doesn t|didn t|won t|isn t|less|tired|sick|enough)\b"
)
_PASSING = re.compile(r"\b(tonight|today|this evening|right now|for now|this time)\b")
_DECADES = {
    "twenties": 1920,
    "thirties": 1930,
    "forties": 1940,
    "fifties": 1950,
    "sixties": 1960,
    "seventies": 1970,
    "eighties": 1980,
    "nineties": 1990,
}
_LOWER = re.compile(r"\b(after|since|newer than|later than|over|above|more than|at least|longer than)( the)?$")
_UPPER = re.compile(
    r"\b(before|until|up to|older than|earlier than|under|below|less than|at most|shorter than|max)( the)?$"
)
_NUMBER = re.compile(r"\d{1,4}")
_DECADE = re.compile(r"\b(?:(19|20))?(\d)0 ?s\b")
_WORD = re.compile(r"[^\W_]+(?:['’\-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class Mentions:
    """What one message names.

    Attributes:
        words: its words as written, each once, in order.
        titles: titles of the catalogue that stand in it, longest first.
        capitals: runs of capitalised words inside a sentence that are no title here: perhaps a title we lack.
        names: people, brands and so on of the catalogue that stand in it, as the catalogue writes them.
        lows, highs: numbers it names, as lower and as upper ends; a decade gives its first and last year.
        negates, points, passing: whether it says no, points at something shown, or speaks of tonight only.
    """

    words: tuple[str, ...]
    titles: tuple[str, ...]
    capitals: tuple[str, ...]
    names: tuple[str, ...]
    lows: tuple[int, ...]
    highs: tuple[int, ...]
    negates: bool
    points: bool
    passing: bool


class MentionIndex:
    """Titles and names of one catalogue, looked up by the words of a message. Made once per catalogue."""

    def __init__(self, catalogue: Catalogue, facets: Facets) -> None:
        self._titles: dict[str, str] = {}
        for title in catalogue.frame["title"].to_list():
            self._titles.setdefault(fold(title), title)
        self._names: dict[str, str] = {}
        surnames: dict[str, str | None] = {}
        for spec in facets.names:
            column = catalogue.frame[spec.name].drop_nulls()
            values = column.explode().drop_nulls() if spec.kind == "labels" else column
            for value in values.unique().sort().to_list():
                folded = fold(value)
                self._names.setdefault(folded, value)
                last = folded.split()[-1] if " " in folded else ""
                if len(last) >= 4:
                    # a surname that several people share names none of them; the surname itself still matches all
                    surnames[last] = value if last not in surnames else None
        for last, value in surnames.items():
            self._names.setdefault(last, value or last)

    def read(self, message: str) -> Mentions:
        """What ``message`` names."""
        text = fold(message)
        lows, highs = numbers_said(text)
        titles = self._titles_in(message)
        return Mentions(
            words=words_said(message),
            titles=titles,
            capitals=_capitals(message, titles),
            names=self._names_in(message, titles),
            lows=lows,
            highs=highs,
            negates=bool(_NEGATION.search(text)),
            points=bool(_POINTING.search(text)),
            passing=bool(_PASSING.search(text)),
        )

    def _titles_in(self, message: str) -> tuple[str, ...]:
        found: list[str] = []
        taken: set[int] = set()
        words = _WORD.findall(message)
        for size in range(min(LONGEST, len(words)), 0, -1):
            for start in range(len(words) - size + 1):
                span = range(start, start + size)
                title = self._titles.get(fold(" ".join(words[start : start + size])))
                if title is None or taken.intersection(span):
                    continue
                if size == 1 and not _written_as_name(words, start, message):
                    continue
                found.append(title)
                taken.update(span)
        return tuple(found)

    def _names_in(self, message: str, titles: Iterable[str]) -> tuple[str, ...]:
        in_titles = {word for title in titles for word in fold(title).split()}
        words = [fold(word) for word in _WORD.findall(message)]
        found: dict[str, None] = {}
        taken: set[int] = set()
        for size in range(min(4, len(words)), 0, -1):
            for start in range(len(words) - size + 1):
                span = range(start, start + size)
                key = " ".join(words[start : start + size])
                if key in self._names and not taken.intersection(span) and not set(key.split()) <= in_titles:
                    found[self._names[key]] = None
                    taken.update(span)
        return tuple(found)


def words_said(message: str, most: int = 24) -> tuple[str, ...]:
    """The message's words as they were written, each once, in order."""
    return tuple(dict.fromkeys(_WORD.findall(message)))[:most]


def numbers_said(message: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The numbers a message names, as lower and as upper ends.

    A decade gives its first and last year. "after", "at least" and the like make a number a lower end only,
    "before", "under" and the like an upper end only.
    """
    text = fold(message)
    lows: dict[int, None] = {}
    highs: dict[int, None] = {}
    starts = [(match.start(), start) for word, start in _DECADES.items() for match in re.finditer(rf"\b{word}\b", text)]
    for match in _DECADE.finditer(text):
        century = match.group(1) or ("20" if match.group(2) in "01" else "19")
        starts.append((match.start(), int(century + match.group(2) + "0")))
    spans = [(at, start, start + 9) for at, start in starts]
    rest = _DECADE.sub(lambda match: " " * len(match.group()), text)
    spans += [(match.start(), int(match.group()), int(match.group())) for match in _NUMBER.finditer(rest)]
    for at, low, high in sorted(spans):
        before = text[:at].rstrip()
        if not _UPPER.search(before):
            lows[low] = None
        if not _LOWER.search(before):
            highs[high] = None
    return tuple(lows), tuple(highs)


def _written_as_name(words: list[str], at: int, message: str) -> bool:
    """Whether a single word is written as a name: a capital inside a sentence, quoted, or the whole message."""
    word = words[at]
    if len(words) == 1:
        return True
    if re.search(rf"[\"'“‘]{re.escape(word)}[\"'”’]", message):
        return True
    if not word[:1].isupper():
        return False
    before = message[: message.find(word)].rstrip()
    return at > 0 and not before.endswith((".", "!", "?", ":"))


def _capitals(message: str, titles: Iterable[str]) -> tuple[str, ...]:
    known = {fold(title) for title in titles}
    runs = re.findall(r"(?<=[\w,;] )[A-Z][\w'’\-]*(?: (?:[A-Z][\w'’\-]*|of|the|and|in|to|a|\d+))*", message)
    cleaned = (re.sub(r"(?: (?:of|the|and|in|to|a))+$", "", run) for run in runs)
    return tuple(
        run for run in dict.fromkeys(cleaned) if len(run) > 1 and fold(run) not in known and run not in ("I'm", "I'd")
    )


def labels_said(labels: Iterable[str], message: str) -> set[str]:
    """Labels that stand in the message; a plain plural counts ("westerns")."""
    said = f" {fold(message)} "
    return {label for label in labels if any(f" {fold(label)}{ending} " in said for ending in ("", "s", "es"))}
