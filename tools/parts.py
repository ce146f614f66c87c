"""A stretch of a sentence, word by word against what may be said of the one item it speaks of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from .frames import Frame, Phrase, Token
from .numerals import decade_at, number_at
from .plain_words import ARTICLES, PHRASES, PLAIN, REQUEST_MARKERS
from .sentences import quote_of

_COUNTED = frozenset(("picks", "options", "choices", "suggestions", "entries", "ones", "ideas", "reasons", "of"))
_FROM = frozenset(("from", "year", "in", "of", "dates", "released"))
_MYSELF = frozenset(("i", "i'd", "i'll", "i've", "i'm"))


class Unsupported(Exception):
    """A sentence fails; the message says why."""


@dataclass(frozen=True)
class About:
    """What a stretch may be about.

    Attributes:
        frames: what may be said of the item; where it speaks of none, what is true of the user.
        year: of the item.
        request: the user's own words.
        noted: what may be repeated word for word.
        counts: how many items there are to speak of.
    """

    frames: Sequence[Frame]
    year: float | str | tuple[str, ...] | None
    request: tuple[str, ...]
    noted: Sequence[tuple[str, ...]]
    counts: frozenset[int]


class Part:
    """A stretch of a sentence that speaks of one item (0: of none)."""

    def __init__(self, tokens: Sequence[Token], about: About, quotes: Sequence[tuple[int, int]], opening: int) -> None:
        self._tokens = tokens
        self._words = [token.folded for token in tokens]
        self._about = about
        self._frames = about.frames
        self._quotes = quotes
        self._opening = opening  # where the sentence begins: a capital is no name there
        self._objects: list[tuple[int, list[Frame]]] = []  # where, and the frames it is an object of
        self._keys: list[tuple[int, list[Frame]]] = []
        self._repeated: set[str] = set()  # words of claims that are said as they are

    def check(self) -> None:
        at = 0
        while at < len(self._tokens):
            at = self._cover(at)
        self._check_relations()

    def _cover(self, at: int) -> int:
        """The end of what accounts for the word here."""
        quote = quote_of(self._tokens[at : at + 1], self._quotes)
        if quote is not None:
            return self._cover_quote(at, quote)
        end = max((self._verbatim(at, words) for words in self._whole()), default=at)
        if end > at:
            self._repeated |= set(self._words[at:end])
            return end
        request = request_end(self._words, at, self._about.request)
        end = self._cover_object(at, quoted=False)
        if end > at and end >= request:
            return end
        if request > at:
            # a label that was asked for may begin with words of the request: "your wish for Graphic Novel"
            return next((p for p in range(at + 1, request) if self._object_end(p) > request), request)
        return self._cover_number(at) or self._cover_word(at)

    def _whole(self) -> Iterator[tuple[str, ...]]:
        yield from (frame.verbatim for frame in self._frames if frame.verbatim)
        yield from self._about.noted

    def _verbatim(self, at: int, words: tuple[str, ...]) -> int:
        end = at + len(words)
        return end if words and tuple(self._words[at:end]) == words else at

    def _cover_quote(self, at: int, quote: tuple[int, int]) -> int:
        """What is quoted must be, as a whole, something the item's claims name or a part of the request."""
        end = at
        while end < len(self._tokens) and self._tokens[end].start < quote[1]:
            end += 1
        words = tuple(self._words[at:end])
        if self._cover_object(at, quoted=True, until=end) == end or _run(words, self._about.request):
            return end
        raise Unsupported(f"“{text_of(self._tokens[at:end])}” is quoted from nowhere")

    def _object_end(self, at: int) -> int:
        objects = (phrase for frame in self._frames if not frame.quoted for phrase in frame.objects)
        return max((at + len(phrase.folded) for phrase in objects if stands(self._tokens, at, phrase)), default=at)

    def _cover_object(self, at: int, *, quoted: bool, until: int | None = None) -> int:
        found: dict[int, list[Frame]] = {}
        for frame in self._frames:
            for phrase in frame.objects:
                if (quoted or not frame.quoted) and stands(self._tokens, at, phrase):
                    found.setdefault(at + len(phrase.folded), []).append(frame)
        ends = [end for end in found if until is None or end == until]
        if not ends:
            return at
        self._objects.append((at, found[max(ends)]))
        return max(ends)

    def _cover_number(self, at: int) -> int:
        if (decade := decade_at(self._words, at)) is not None:
            year = self._about.year
            first, end = decade
            if isinstance(year, float) and first in _decades(year):
                return end
            raise Unsupported(f"{text_of(self._tokens[at:end])!r} is not when the item is from")
        number = number_at(self._words, at)
        if number is None:
            return 0
        value, end = number
        if value == 1 and self._words[at] == "one" and not self._unit(end):
            return 0  # "this one"
        if self._is_counted(value, at, end) or self._is_number(value, at, end):
            return end
        raise Unsupported(f"the number {text_of(self._tokens[at:end])} is nowhere in the evidence")

    def _unit(self, at: int) -> str:
        word = self._words[at] if at < len(self._words) else ""
        return word if any(word in frame.numbers for frame in self._frames) else ""

    def _is_counted(self, value: float, at: int, end: int) -> bool:
        after = self._words[end] if end < len(self._words) else ""
        before = self._words[at - 1] if at else ""
        return value in self._about.counts and (after in _COUNTED or before in ("these", "the", "all"))

    def _is_number(self, value: float, at: int, end: int) -> bool:
        """Whether the item has this number under the unit or the attribute that stands beside it."""
        year = self._about.year
        if isinstance(year, float) and value == year and (not at or self._words[at - 1] in (*_FROM, *ARTICLES)):
            return True
        near = [*self._words[max(0, at - 3) : at], *self._words[end : end + 1]]
        hours = "hour" in near[-1:] or "hours" in near[-1:]
        unit = self._unit(end)
        return any(
            frame.numbers[word] == (value * 60 if hours else value)
            for frame in self._frames
            for word in ([unit] if unit else near)
            if word in frame.numbers
        )

    def _cover_word(self, at: int) -> int:
        word = self._words[at]
        keyed = [frame for frame in self._frames if word in frame.keys or word in frame.loose]
        for phrase in PHRASES.get(word, ()):
            if tuple(self._words[at : at + len(phrase)]) == phrase:
                self._check_small(at, at + len(phrase))
                return at + len(phrase)
        if keyed:
            self._keys.append((at, keyed))
        elif word not in PLAIN and not any(frame.holds(word) for frame in self._frames):
            raise Unsupported(f"{self._tokens[at].surface!r} is nowhere in the evidence")
        self._check_small(at, at + 1)
        return at + 1

    def _check_small(self, at: int, end: int) -> None:
        """A plain word with a capital inside a sentence is somebody's name."""
        for token in self._tokens[at:end]:
            if token.surface[:1].isupper() and token.start > self._opening and token.folded not in _MYSELF:
                raise Unsupported(f"{token.surface!r} is nowhere in the evidence")

    def _check_relations(self) -> None:
        """Every key says something of the object next to it, and every object is said something of."""
        for at, frames in self._keys:
            word = self._words[at]
            if word in PLAIN or any(not frame.objects or word in frame.loose for frame in frames):
                continue
            beside = self._beside(at)
            if beside is None:
                raise Unsupported(f"{self._tokens[at].surface!r} is said of nothing")
            if not any(frame.holds(word) for frame in beside[1]):
                raise Unsupported(f"{self._tokens[at].surface!r} is not what the evidence says of that")
        told: list[Frame] = []
        for at, frames in self._objects:
            if not any(frame.bare for frame in frames) and self._words[at : at + 3] != ["you", "asked", "for"]:
                self._check_object(at, frames, told)
            told += frames

    def _check_object(self, at: int, frames: Sequence[Frame], told: Sequence[Frame]) -> None:
        """The key nearest before an object, else the first after it, must be one of its own.

        Args:
            told: frames of the objects before it.
        """
        keys = sorted(self._keys, key=lambda key: (key[0] > at, abs(key[0] - at)))
        own = [frame for frame in frames if frame.keys & self._repeated or any(frame in of for _, of in keys)]
        related = [
            place
            for place, of in keys
            if (self._words[place] not in PLAIN or any(frame in of for frame in own))
            and not any(self._words[place] in frame.loose for frame in of)
        ]
        if not own:
            raise Unsupported(f"{self._tokens[at].surface!r} is named without what it has to do with the item")
        if related and not self._repeated and not any(frame.quoted and frame in of for frame in own for _, of in keys):
            word = self._words[related[0]]
            if not any(frame.holds(word) for frame in frames):
                raise Unsupported(f"{word!r} is not what the evidence says of {self._tokens[at].surface!r}")
        after = {word for word in self._words[at:] if any(word in frame.first for frame in own)}
        before = {word for word in self._words[:at] if any(word in frame.first for frame in own)}
        if all(frame.first and frame not in told for frame in own) and before and not after:
            raise Unsupported("what came first is told last")

    def _beside(self, at: int) -> tuple[int, list[Frame]] | None:
        """The next object, else the one before."""
        after = [found for found in self._objects if found[0] > at]
        return min(after, default=None, key=_where) or max(self._objects, default=None, key=_where)


def request_end(words: Sequence[str], at: int, request: tuple[str, ...]) -> int:
    """Where the user's own words end that stand here after words that say that they are; ``at`` where none do."""
    for marker in REQUEST_MARKERS:
        begins = at + len(marker)
        if tuple(words[at:begins]) != marker:
            continue
        while begins < len(words) and words[begins] in ARTICLES:
            begins += 1
        end = begins
        while end < len(words) and _run(tuple(words[begins : end + 1]), request):
            end += 1
        return end
    return at


def _where(found: tuple[int, list[Frame]]) -> int:
    return found[0]


def text_of(tokens: Sequence[Token]) -> str:
    return " ".join(token.surface for token in tokens)


def stands(tokens: Sequence[Token], at: int, phrase: Phrase) -> bool:
    end = at + len(phrase.folded)
    if not phrase.folded or tuple(token.folded for token in tokens[at:end]) != phrase.folded:
        return False
    return not (phrase.surfaces and phrase.plain) or tuple(token.surface for token in tokens[at:end]) == phrase.surfaces


def _run(words: tuple[str, ...], text: tuple[str, ...]) -> bool:
    """Whether the words stand in the text side by side."""
    return bool(words) and any(text[at : at + len(words)] == words for at in range(len(text) - len(words) + 1))


def _decades(year: float) -> tuple[int, int]:
    """How a year's decade may be numbered: in full, and by its last two digits."""
    first = int(year // 10 * 10)
    return first, first % 100
