"""What may be said of an item: each of its claims and facts as the names it holds and the words it may be retold with.

The wording of claims is fixed (:mod:`.claims`), so that it can be read back. A claim that no form here fits, or that
says something is not so, may only be repeated word for word.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..catalog.text import fold, one_line
from .nouns import singular
from .plain_words import PLAIN
from .results import Card

#: Titles longer than this are called by their beginning.
LONG_TITLE = 44
_BREAK = re.compile(r"\s*(?:,|;|\||:|\(| - | – | — )\s*")
_TOKEN = re.compile(r"\d+(?:[.,]\d+)+|[^\W_]+(?:['’][^\W_]+)*")


@dataclass(frozen=True)
class Token:
    """A word: as written, folded for comparison, and where it stands."""

    surface: str
    folded: str
    start: int
    end: int


def tokens_of(text: str) -> list[Token]:
    """Words and numbers of a text. A hyphen parts words; the ``'s`` of a possessive is a word of its own."""
    found: list[Token] = []
    for match in _TOKEN.finditer(text):
        surface, start = unicodedata.normalize("NFC", match.group().replace("’", "'")), match.start()
        if len(surface) > 2 and surface[-2:] in ("'s", "'S"):
            cut = match.end() - 2
            found.append(Token(surface[:-2], fold(surface[:-2]) or surface[:-2], start, cut))
            found.append(Token("'s", "'s", cut, match.end()))
        else:
            folded = surface.casefold() if "'" in surface else fold(surface) or surface
            found.append(Token(surface, folded, start, match.end()))
    return found


def words_of(text: str) -> tuple[str, ...]:
    """The folded words of a text."""
    return tuple(token.folded for token in tokens_of(text))


@dataclass(frozen=True)
class Phrase:
    """Words that count only together: a title, a name, a label."""

    text: str
    folded: tuple[str, ...]
    surfaces: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Phrase:
        tokens = tokens_of(text)
        return cls(text, tuple(token.folded for token in tokens), tuple(token.surface for token in tokens))

    @property
    def plain(self) -> bool:
        """Whether plain words would say the same: such a name ("Her", "Up") must be written as it is."""
        return all(word in PLAIN for word in self.folded)


def called(title: str) -> str:
    """What an item is called in a sentence: its title, or the beginning of a long one, up to a natural break."""
    line = one_line(title, 120)
    if len(line) <= LONG_TITLE:
        return line
    head = _BREAK.split(line, maxsplit=1)[0]
    if len(head) > LONG_TITLE or len(head.split()) < 2:
        head = " ".join(line[: LONG_TITLE + 1].split()[:-1]) or line[:LONG_TITLE]
    return head.rstrip(" ,;:-–—([&")


@dataclass(frozen=True)
class Frame:
    """One claim or fact.

    Attributes:
        verbatim: its words, which may be said as they are.
        objects: what it names, in words; each only as a whole.
        words: what it may be retold with, beside plain words, keys and loose ones.
        keys: words that say what the object has to do with the item: one must stand beside an object.
        loose: words that say it too, wherever they stand.
        quoted: whether an object counts only in quotation marks.
        bare: whether an object may stand without a key.
        first: keys that an object must precede ("soon after").
        numbers: what it counts, by unit.
        of_user: whether it is true of the user, whatever the item.
    """

    verbatim: tuple[str, ...] = ()
    objects: tuple[Phrase, ...] = ()
    words: frozenset[str] = frozenset()
    keys: frozenset[str] = frozenset()
    loose: frozenset[str] = frozenset()
    quoted: bool = False
    bare: bool = False
    first: frozenset[str] = frozenset()
    numbers: Mapping[str, float] = field(default_factory=dict)
    of_user: bool = False

    def holds(self, word: str) -> bool:
        """Whether it may be retold with the word."""
        return word in self.words or word in self.keys or word in self.loose


def _set(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PEOPLE = "people those others who chose choose chosen picked many went"
#: "on your record": true of whatever a claim names out of the history.
RECORD = "record"
_FORMS: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (r"its (?P<field>.+?) mentions? (?P<quotes>“.+”)$", "mentions"),
        (
            r"its (?P<field>title|text|picture) is close (?:in meaning )?to (?P<query>“.+”|the request|your picture)$",
            "near",
        ),
        (r"people who chose (?P<names>.+) chose this soon after$", "after"),
        (r"people who chose (?P<names>.+) chose this later$", "later"),
        (r"people who chose (?P<names>.+) also chose this$", "also"),
        (r"(?P<count>\d+) (?:people|person) chose both (?P<names>.+) and this$", "both"),
        (r"close in content to (?P<names>.+), on your record$", "content"),
        (r"its picture is close to that of (?P<names>.+), on your record$", "look"),
        (r"goes with (?P<names>.+), on your record$", "goes"),
        (r"you said you like (?P<names>.+)$", "taste"),
        (r"widely chosen \((?P<count>\d+) (?:people|person)\)(?:; nothing personal put it here)?$", "popular"),
        (r"follows from what you chose lately, taken together$", "lately"),
    )
)  # fmt: skip
_SHARES = re.compile(r"shares .+ with .+, on your record$")
_ON_RECORD = ", on your record"
_FACTS = re.compile(r"as asked: ")

_CHOSE = "people person those others chose choose picked went"
_HISTORY = _set(RECORD)
_ALLOWED: Mapping[str, Frame] = {
    "mentions": Frame(keys=_set("mention mentions mentioning mentioned word words says holds contains"), quoted=True),
    "near": Frame(words=_set("meaning asked"), keys=_set("close near nearest")),
    "after": Frame(
        words=_set("who chosen many soon next after on your"),
        keys=_set(_CHOSE),
        loose=_HISTORY,
        first=_set("soon next after went"),
    ),
    "later": Frame(
        words=_set("who chosen many later on your"), keys=_set(_CHOSE), loose=_HISTORY, first=_set("later went")
    ),
    "also": Frame(words=_set("who chosen many"), keys=_set(_CHOSE), loose=_HISTORY),
    "both": Frame(words=_set("who chosen many"), keys=_set(_CHOSE), loose=_HISTORY),
    "content": Frame(keys=_set("close near content similar"), loose=_HISTORY),
    "look": Frame(words=_set("close near look"), keys=_set("picture pictures"), loose=_HISTORY),
    "goes": Frame(keys=_set("goes go"), loose=_HISTORY),
    "taste": Frame(words=_set("said say told mentioned"), keys=_set("like liking taste"), of_user=True),
    "popular": Frame(words=_set("who chose picked many"), keys=_set("widely popular people person chosen")),
    "lately": Frame(
        words=_set("follows follow chose chosen choosing taken together"), keys=_set("lately recent recently choices")
    ),
    "shares": Frame(keys=_set("shares share sharing shared same common"), loose=_HISTORY),
}

#: Further words for an attribute, by a word of its name.
_SYNONYMS: Mapping[str, str] = {
    "cast": "starring stars actor actors",
    "actor": "starring stars cast",
    "actors": "starring stars cast",
    "director": "directed directors",
    "directors": "directed director",
    "author": "written writer authors",
    "authors": "written writer author",
    "price": "costs cost priced",
    "runtime": "minutes minute hours hour long runs",
    "duration": "minutes minute hours hour long runs",
    "minutes": "minute long runs",
    "maker": "made",
    "brand": "made",
    "year": "dates released decade",
}
#: Facts that an item's kind is said by: "as asked" and "fits" may be told of them.
_ASKED = _set("asked fits fit meets matches match")


def attribute_words(name: str) -> frozenset[str]:
    """What an attribute is called: the words of its name, in the singular and in the plural."""
    words: set[str] = set()
    for word in words_of(name.replace("_", " ")):
        words |= {word, singular(word), word.removesuffix("s"), f"{word}s", *_SYNONYMS.get(word, "").split()}
    return frozenset(words)


def facts_of(card: Card, *, asked: frozenset[str] = frozenset()) -> Iterator[Frame]:
    """The catalogue's facts of an item, a frame for each attribute.

    Args:
        asked: names of attributes that a claim says were asked for.
    """
    for name, value in card.attributes.items():
        words = attribute_words(name)
        more = words | (_ASKED if name in asked else frozenset())
        if isinstance(value, float):
            yield Frame(words=more, keys=words, numbers=dict.fromkeys([*words, name], value), bare=True)
        else:
            values = value if isinstance(value, tuple) else (value,)
            objects = tuple(phrase for one in values if (phrase := Phrase.of(one_line(one, 80))).folded)
            yield Frame(objects=objects, words=more, keys=words, bare=True)


def frames_of(card: Card, records: Mapping[str, str]) -> tuple[Frame, ...]:
    """Everything that may be said of a card.

    Args:
        records: text of the evidence by id: tells the two titles of a claim apart.
    """
    found: list[Frame] = []
    asked: set[str] = set()
    for claim in card.claims:
        if _FACTS.match(claim.text):
            asked |= {name for name in card.attributes if _is_told(name, claim.text)}
            found.append(Frame(verbatim=words_of(claim.text)))
            continue
        found.append(_frame_of(claim.text, [records.get(one, "") for one in claim.evidence], card))
    return (*found, *facts_of(card, asked=frozenset(asked)))


def _is_told(name: str, text: str) -> bool:
    """Whether a claim of what was asked for says something of an attribute."""
    return bool(re.search(rf"(?:: |; )(?:{re.escape(name)}|{re.escape(singular(name))}) ", text))


def _frame_of(text: str, records: Sequence[str], card: Card) -> Frame:
    verbatim = words_of(text)
    if _SHARES.match(text):
        return _shares(text, verbatim, records)
    for form, kind in _FORMS:
        match = form.match(text)
        if match is None:
            continue
        parts = match.groupdict()
        base = _ALLOWED[kind]
        objects = _named(parts.get("names"), records)
        if "quotes" in parts:
            objects = [Phrase.of(one) for one in re.findall(r"“(.+?)”", parts["quotes"] or "")]
        extra: frozenset[str] = frozenset()
        if query := parts.get("query"):
            objects = [Phrase.of(one) for one in (query, "you asked for", "your request", "your wish")]
        if place := parts.get("field"):
            extra = frozenset(words_of(place.replace("_", " ")))
        numbers = dict.fromkeys(("people", "person"), float(parts["count"])) if parts.get("count") else {}
        return Frame(
            verbatim=verbatim,
            objects=tuple(objects),
            words=base.words | (frozenset() if base.quoted else extra),
            keys=base.keys,
            loose=base.loose | (extra if base.quoted else frozenset()),
            quoted=base.quoted,
            of_user=base.of_user,
            first=base.first,
            numbers=numbers,
        )
    return Frame(verbatim=verbatim)


def _shares(text: str, verbatim: tuple[str, ...], records: Sequence[str]) -> Frame:
    """``shares <relation> <label> with <title>``: the record of the path names the relation and the label."""
    base = _ALLOWED["shares"]
    rest, names = _shared(text, records)
    relation, _, label = rest.partition(" ")
    for record in records:
        one, colon, other = record.partition(": ")
        if colon and rest in (f"{one} {other}", f"{singular(one)} {other}"):
            relation, label = one, other
    objects = (Phrase.of(label), *_named(names, records))
    return Frame(verbatim, objects, attribute_words(relation), base.keys, base.loose)


def _shared(text: str, records: Sequence[str]) -> tuple[str, str]:
    """What is shared, and with which title: titles hold "with" too."""
    inner = text.removeprefix("shares ").removesuffix(_ON_RECORD)
    parts = inner.split(" with ")
    for at in range(1, len(parts)):
        names = " with ".join(parts[at:])
        if titles_in(names, records):
            return " with ".join(parts[:at]), names
    return " with ".join(parts[:-1]), parts[-1]


def _named(names: str | None, records: Sequence[str]) -> list[Phrase]:
    """The titles of a claim: all of them as they stand, and each one that the records tell apart, also shortened."""
    if not names:
        return []
    told = titles_in(names, records)
    return [Phrase.of(one) for one in dict.fromkeys([names, *told, *map(called, told)])]


def titles_in(names: str, records: Sequence[str]) -> tuple[str, ...]:
    """The one or two titles in what a claim names, by the records it rests on; none where they do not tell.

    Args:
        names: ``A`` or ``A and B``.
        records: texts of the evidence.
    """
    parts = names.split(" and ")
    for at in range(len(parts), 0, -1):
        found = tuple(filter(None, (" and ".join(parts[:at]), " and ".join(parts[at:]))))
        if all(any(_is_about(record, one) for record in records) for one in found):
            return found
    return ()


def shortened(text: str, records: Sequence[str]) -> str:
    """A claim with the long titles in it shortened to what they are called."""
    names = _shared(text, records)[1] if _SHARES.match(text) else None
    if names is None:
        found = [match.groupdict() for form, _ in _FORMS if (match := form.match(text))]
        names = found[0].get("names") if found else None
    if names is None:
        return text
    short = " and ".join(map(called, titles_in(names, records))) or names
    before, _, after = text.rpartition(names)
    return before + short + after


def _is_about(record: str, title: str) -> bool:
    return (
        record == f"in your log: {title}"
        or record.startswith(f"in your log: {title}, rated ")
        or (record.startswith("you said: ") and record.endswith(f", {title}"))
    )
