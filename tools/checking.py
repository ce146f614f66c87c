"""A written text, checked sentence by sentence against the evidence it was written from. No model is asked.

A sentence passes when every word of it is accounted for: a plain word that says nothing (:mod:`.plain_words`), the
title or the place of an item, or what the claims and facts of the items it speaks of hold (:mod:`.frames`). A word that
is not accounted for fails its sentence, true or not: names, numbers, years, praise, negations, what the user is said to
like. What a name has to do with the item is checked too, by the words that stand beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from .frames import Phrase, Token, called, frames_of, tokens_of, words_of
from .numerals import place_at
from .parts import About, Part, Unsupported, request_end, stands, text_of
from .plain_words import PLAIN
from .results import Card
from .sentences import is_whole, quote_of, quotes_of, split_sentences

_SINGULAR = frozenset(("it", "its", "this"))
_PLURAL = frozenset(("both", "these", "those", "they", "them", "their", "each", "either", "all"))
_JOINING = frozenset(("and", "or"))
_CLAUSE = frozenset(("and", "or", "then", "while", "but", "plus", "when", "where", "if"))
#: A clause that begins so may speak of what is named after it.
_SUBORDINATE = frozenset(("because", "since", "as", "if", "with", "for", "when", "while"))
#: Signs that may stand between words.
_SIGNS = frozenset(" .,;:!?'\"“”‘’()-–—…&\n")
#: Two words by which what was said of one item would be said of another.
_ELLIPSIS = frozenset((("as", "is"), ("as", "are"), ("as", "was"), ("so", "is"), ("so", "are"), ("so", "was")))


@dataclass(frozen=True)
class Verdict:
    """What became of one sentence.

    Attributes:
        reason: why it failed; empty where it passed.
        about: places in the list of the items it speaks of.
    """

    sentence: str
    ok: bool
    reason: str = ""
    about: tuple[int, ...] = ()


@dataclass(frozen=True)
class Grounds:
    """What a text may be about.

    Attributes:
        cards: the items told of, with their claims.
        request: the user's own words.
        listed: how many items the list shows.
        records: text of the evidence by id.
        noted: what was recorded of the user in this turn, as claims' texts: may be repeated word for word.
    """

    cards: Sequence[Card]
    request: str = ""
    listed: int = 0
    records: Mapping[str, str] = field(default_factory=dict)
    noted: Sequence[str] = ()


@dataclass(frozen=True)
class _Mark:
    """Where a sentence begins to speak of items: the words ``[start, end)`` name them."""

    start: int
    end: int
    items: tuple[int, ...]
    kind: str  # title, place, pronoun


class Checker:
    """Checks the sentences of one text in their order: "it" is what was spoken of last, and nothing is said twice."""

    def __init__(self, grounds: Grounds) -> None:
        self._grounds = grounds
        self._frames = {card.ordinal: frames_of(card, grounds.records) for card in grounds.cards}
        self._years = {card.ordinal: card.attributes.get("year") for card in grounds.cards}
        self._titles = [
            (Phrase.of(name), card.ordinal)
            for card in grounds.cards
            for name in dict.fromkeys((card.title, called(card.title)))
        ]
        self._request = words_of(grounds.request)
        self._noted = [words_of(one) for one in grounds.noted]
        self._focus: tuple[int, ...] = ()
        self._said: set[tuple[str, ...]] = set()
        self._text = ""

    @property
    def titles(self) -> list[str]:
        """Names that a sentence must not be cut in."""
        named = [name for card in self._grounds.cards for name in (card.title, called(card.title))]
        objects = (phrase.text for frames in self._frames.values() for frame in frames for phrase in frame.objects)
        return list(dict.fromkeys([*named, *objects]))

    def check(self, sentence: str) -> Verdict:
        """Whether a sentence is supported. What it speaks of is what "it" means in the next, even where it fails."""
        self._text = sentence
        tokens = tokens_of(sentence)
        marks: list[_Mark] = []
        try:
            quotes = quotes_of(sentence)
            marks = self._marks(tokens, quotes)
            self._check(sentence, tokens, quotes, marks)
        except (Unsupported, ValueError) as failure:
            return Verdict(sentence, False, str(failure), self._turn_to(marks))
        said = tuple(token.folded for token in tokens)
        if said in self._said:
            return Verdict(sentence, False, "was said already", self._turn_to(marks))
        self._said.add(said)
        return Verdict(sentence, True, about=self._turn_to(marks))

    def _turn_to(self, marks: Sequence[_Mark]) -> tuple[int, ...]:
        if marks:
            self._focus = marks[-1].items
        about = tuple(dict.fromkeys(item for mark in marks for item in mark.items))
        return about or self._focus

    # -- what a sentence speaks of ---------------------------------------------------------------------------

    def _marks(self, tokens: Sequence[Token], quotes: Sequence[tuple[int, int]]) -> list[_Mark]:
        marks: list[_Mark] = []
        at = 0
        while at < len(tokens):
            # what a claim names may begin with a card's title ("Alien Resurrection"), or hold such words as "third"
            past = max(self._object_end(tokens, at), request_end([t.folded for t in tokens], at, self._request))
            mark = self._title_at(tokens, at, quotes)
            if mark is None and past == at:
                mark = self._place_at(tokens, at, quotes) or (None if marks else self._pronoun_at(tokens, at))
            if mark is None or past > mark.end:
                at = max(at + 1, past)
                continue
            marks.append(mark)
            at = mark.end
        return _joined(tokens, marks)

    def _title_at(self, tokens: Sequence[Token], at: int, quotes: Sequence[tuple[int, int]]) -> _Mark | None:
        best: _Mark | None = None
        for phrase, item in self._titles:
            end = at + len(phrase.surfaces)
            if not phrase.surfaces or tuple(t.surface for t in tokens[at:end]) != phrase.surfaces:
                continue
            if phrase.plain and quote_of(tokens[at:end], quotes) is None and not self._dated(tokens, end, item):
                continue  # "It", "Her": a name only where it is marked as one
            if best is None or end > best.end:
                best = _Mark(at, end, (item,), "title")
        return best if best is None else self._with_year(tokens, best)

    def _place_at(self, tokens: Sequence[Token], at: int, quotes: Sequence[tuple[int, int]]) -> _Mark | None:
        if quote_of(tokens[at : at + 1], quotes) is not None:
            return None
        place = place_at([token.folded for token in tokens], at)
        if place is None:
            return None
        number, end = place
        if number not in self._frames:
            raise Unsupported(f"{text_of(tokens[at:end])!r} is no item that was told of")
        return _Mark(at, end, (number,), "place")

    def _with_year(self, tokens: Sequence[Token], mark: _Mark) -> _Mark:
        """A title together with the year behind it: "Heat (1995)"."""
        after = tokens[mark.end : mark.end + 1]
        if not after or not after[0].surface.isdigit() or self._text[after[0].start - 1] != "(":
            return mark
        if not self._dated(tokens, mark.end, mark.items[0]):
            raise Unsupported(f"{after[0].surface} is not the year of {text_of(tokens[mark.start : mark.end])}")
        return _Mark(mark.start, mark.end + 1, mark.items, mark.kind)

    def _dated(self, tokens: Sequence[Token], end: int, item: int) -> bool:
        year = self._years[item]
        return isinstance(year, float) and end < len(tokens) and tokens[end].surface == f"{year:.0f}"

    def _object_end(self, tokens: Sequence[Token], at: int) -> int:
        ends = [
            at + len(phrase.folded)
            for frames in self._frames.values()
            for frame in frames
            for phrase in frame.objects
            if stands(tokens, at, phrase)
        ]
        return max(ends, default=at)

    def _pronoun_at(self, tokens: Sequence[Token], at: int) -> _Mark | None:
        word = tokens[at].folded
        told = tuple(self._frames)
        if word in _SINGULAR:
            items = self._focus or (told if len(told) == 1 else ())
            return _Mark(at, at + 1, items, "pronoun") if items else None
        after = tokens[at + 1].folded if at + 1 < len(tokens) else ""
        if after == "who" or (word == "both" and self._object_end(tokens, at + 1) > at + 1):
            return None  # "those who chose", "chose both Brazil and this"
        if word in _PLURAL:
            items = self._focus if len(self._focus) > 1 else told
            known = len(items) > 1 and (items == self._focus or len(told) == self._grounds.listed or word == "both")
            return _Mark(at, at + 1, items if known else (), "pronoun")
        return None

    # -- whether it is so ------------------------------------------------------------------------------------

    def _check(
        self, sentence: str, tokens: Sequence[Token], quotes: Sequence[tuple[int, int]], marks: Sequence[_Mark]
    ) -> None:
        if not tokens:
            raise Unsupported("says nothing")
        self._check_signs(sentence, tokens)
        for first, second in pairwise(tokens):
            if (first.folded, second.folded) in _ELLIPSIS:
                raise Unsupported(f"“{first.surface} {second.surface}” says the same of something else")
        _check_identity(tokens, marks)
        if not marks and self._focus:
            try:
                Part(tokens, self._about(0), quotes, tokens[0].start).check()
                return
            except Unsupported:  # it says something, of what was spoken of last
                marks = [_Mark(0, 0, self._focus, "pronoun")]
        for part, items in self._parts(tokens, marks):
            for item in items or (0,):
                Part(part, self._about(item), quotes, tokens[0].start).check()

    def _check_signs(self, sentence: str, tokens: Sequence[Token]) -> None:
        inside = {at for token in tokens for at in range(token.start, token.end)}
        strange = next((c for at, c in enumerate(sentence) if at not in inside and c not in _SIGNS), None)
        if strange is not None and not any(strange in title for title in self.titles):
            raise Unsupported(f"the sign {strange!r} is none of a sentence")

    def _parts(
        self, tokens: Sequence[Token], marks: Sequence[_Mark]
    ) -> Iterator[tuple[Sequence[Token], tuple[int, ...]]]:
        """Stretches of a sentence, each with the items that it must be so of."""
        if not marks:
            yield tokens, ()
            return
        for at, mark in enumerate(marks):
            end = marks[at + 1].start if at + 1 < len(marks) else len(tokens)
            items = mark.items
            if mark.kind == "pronoun" and at + 1 < len(marks) and tokens[0].folded in _SUBORDINATE:
                items = (*items, *marks[at + 1].items)
            before = tokens[: mark.start] if not at else ()  # what leads up to the first speaks of it
            after = tokens[mark.start if mark.kind == "pronoun" else mark.end : end]
            yield [*before, *after], items

    def _about(self, item: int) -> About:
        """What may be said of an item; of none (0), what is the user's alone."""
        alone = tuple(frame for frames in self._frames.values() for frame in frames if frame.of_user)
        counts = frozenset((len(self._frames), self._grounds.listed)) - {0}
        return About(self._frames.get(item, alone), self._years.get(item), self._request, self._noted, counts)


def check_text(text: str, grounds: Grounds) -> tuple[Verdict, ...]:
    """Each sentence of a text with its verdict; an end that is no whole sentence fails."""
    checker = Checker(grounds)
    sentences, rest = split_sentences(text, checker.titles)
    found = [checker.check(sentence) for sentence in sentences]
    if rest:
        found.append(checker.check(rest) if is_whole(rest) else Verdict(rest, False, "breaks off"))
    return tuple(found)


def _check_identity(tokens: Sequence[Token], marks: Sequence[_Mark]) -> None:
    """A place and a title that are said to be one must be: "Heat is second", "the second, Heat,".

    Raises:
        Unsupported: the list has it otherwise.
    """
    for before, mark in pairwise(marks):
        if "pronoun" in (before.kind, mark.kind) or before.items == mark.items:
            continue
        between = [token.folded for token in tokens[before.end : mark.start]]
        near = next((word for word in reversed(between) if word not in ("the", "number", "a", "my", "your")), "")
        apart = near in _CLAUSE if mark.kind == "place" else bool(_CLAUSE & set(between))
        alike = all(word in PLAIN or word.isdigit() for word in between)
        if "place" in (before.kind, mark.kind) and not apart and (mark.kind == "place" or alike):
            raise Unsupported("the list has them in other places")


def _joined(tokens: Sequence[Token], marks: Sequence[_Mark]) -> list[_Mark]:
    """ "A, B and C" are spoken of together."""
    found: list[_Mark] = []
    for mark in marks:
        if found and _is_joined(found[-1], [token.folded for token in tokens[found[-1].end : mark.start]], mark):
            last = found.pop()
            mark = _Mark(last.start, mark.end, (*last.items, *mark.items), "title")
        found.append(mark)
    return found


def _is_joined(before: _Mark, between: Sequence[str], mark: _Mark) -> bool:
    if not between:
        return before.kind == mark.kind == "title"
    return set(between) <= _JOINING | {"the", "of", "both"} and bool(_JOINING & set(between))
